package interop

import (
	"bufio"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// program is the command, built once for the tests that use it at the same time.
var program struct {
	mu    sync.Mutex
	dir   string
	users int
}

// buildServe builds the command, as a user does.
func buildServe(t *testing.T) string {
	t.Helper()
	program.mu.Lock()
	defer program.mu.Unlock()
	if program.users == 0 {
		dir, err := os.MkdirTemp("", "sockeye-interop-") //nolint:usetesting // that of t would end with t
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "sockeye"), "../cmd/sockeye")
		if out, err := cmd.CombinedOutput(); err != nil {
			_ = os.RemoveAll(dir)
			t.Fatalf("go build: %v\n%s", err, out)
		}
		program.dir = dir
	}
	program.users++
	t.Cleanup(func() {
		program.mu.Lock()
		defer program.mu.Unlock()
		if program.users--; program.users == 0 {
			if err := os.RemoveAll(program.dir); err != nil {
				t.Error(err)
			}
		}
	})
	return filepath.Join(program.dir, "sockeye")
}

// startServe runs "sockeye serve" with a free port and gives the address of its page.
func startServe(t *testing.T, bin string, args ...string) (url string, cmd *exec.Cmd) {
	t.Helper()
	client, err := filepath.Abs("../web/node_modules/socket.io-client/dist")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(client); err != nil {
		testkit.Need(t, "the npm packages of web (make setup)")
	}
	cmd = exec.Command(bin, append([]string{"serve", "--addr", "127.0.0.1:0", "--client-dir", client}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("sockeye serve: %v", err)
		}
	})
	line, err := lines.ReadString('\n')
	go func() { // ends when the process closes its output
		defer close(done)
		_, _ = io.Copy(io.Discard, lines) // the process must not block on it
	}()
	if err != nil {
		t.Fatalf("sockeye serve ended at once: %v", err)
	}
	url, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "Sockeye listens on "), ",")
	return url, cmd
}

func findChromium(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	testkit.Need(t, "chromium on the PATH")
	return ""
}

// TestBrowser_Chat: two tabs on two servers with one Redis, the official bundle on the demo page.
func TestBrowser_Chat(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	redis := testkit.StartRedis(t)
	bin := buildServe(t)
	one, _ := startServe(t, bin, "--redis", redis.URL())
	two, _ := startServe(t, bin, "--redis", redis.URL())

	b := startPeer(t, "browser.mjs")
	b.do("start", obj{"executable": chromium, "width": 1180, "height": 720}, nil)
	defer b.do("stop", nil, nil)
	ann, bob := page{b, "ann"}, page{b, "bob"}
	ann.open(one)
	bob.open(two)
	for _, p := range []page{ann, bob} {
		p.see("#state-text", "connected")
		p.see("#transport", "websocket")
	}
	ann.rename("Ann")
	bob.rename("Bob")
	for _, p := range []page{ann, bob} {
		p.see("#people", "Ann")
		p.see("#people", "Bob")
		p.see("#count", "2")
	}

	ann.say("Hello from the first server")
	bob.see("#log", "Hello from the first server")
	bob.say("Hello, Ann. This is the second one")
	ann.see("#log li", "Bob")
	ann.see("#log", "This is the second one")

	// A room that only one of them is in, then both.
	ann.enter("salmon run")
	ann.see("#title", "# salmon run")
	ann.say("Anyone here?")
	bob.enter("salmon run")
	ann.see("#people", "Bob")
	bob.say("Now I am")
	ann.see("#log", "Now I am")
	for _, said := range bob.text("#log p") {
		if said == "Anyone here?" {
			t.Error("a message to a room came to one who was not in it")
		}
	}

	// What others send is text, never markup.
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	ann.say(evil)
	bob.see("#log p", "<img src=x")
	same(t, "elements made of a message", bob.number("#log img, #log script"), 0)
	same(t, "title", bob.text("title"), list{"Sockeye"})

	// Leaving, on the page and by going away.
	bob.do("click", obj{"at": "#leave"})
	ann.see("#log", "Bob has left")
	ann.see("#count", "1")

	// On a phone nothing sticks out.
	ann.do("resize", obj{"width": 360, "height": 640})
	var sticksOut bool
	b.do("overflow", obj{"name": "ann"}, &sticksOut)
	same(t, "the page is wider than a phone", sticksOut, false)
	for _, tab := range []string{"events", "link"} {
		ann.do("click", obj{"at": "#tab-" + tab})
		b.do("overflow", obj{"name": "ann"}, &sticksOut)
		same(t, tab+" is wider than a phone", sticksOut, false)
	}

	var faults []string
	b.do("faults", nil, &faults)
	same(t, "errors in the browser", faults, []string{})
}

// TestBrowser_Reconnects: the page says so when its server goes, and is back in its rooms when it comes again.
func TestBrowser_Reconnects(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	bin := buildServe(t)
	addr := testkit.FreeAddr(t)
	_, cmd := startServe(t, bin, "--addr", addr)
	b := startPeer(t, "browser.mjs")
	b.do("start", obj{"executable": chromium, "width": 1180, "height": 720}, nil)
	defer b.do("stop", nil, nil)
	ann, bob := page{b, "ann"}, page{b, "bob"}
	ann.open("http://" + addr + "/")
	bob.open("http://" + addr + "/")
	ann.see("#count", "2")
	ann.enter("salmon")
	bob.enter("salmon")
	ann.see("#count", "2")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ann.see("#state-text", "connecting")
	eventually(t, "the port is free", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close() // it was only a question
		}
		return err != nil
	})
	startServe(t, bin, "--addr", addr)
	for _, p := range []page{ann, bob} {
		p.see("#state-text", "connected")
		p.see("#title", "# salmon")
		p.see("#count", "2")
	}
	ann.say("still here")
	bob.see("#log", "still here")
}

// page is a tab of the browser.
type page struct {
	b    *peer
	name string
}

func (p page) do(command string, args obj) {
	p.b.t.Helper()
	all := obj{"name": p.name}
	maps.Copy(all, args)
	p.b.do(command, all, nil)
}

func (p page) open(url string) { p.b.t.Helper(); p.b.do("open", obj{"name": p.name, "url": url}, nil) }

func (p page) see(at, text string) {
	p.b.t.Helper()
	if _, err := p.b.try("see", obj{"name": p.name, "at": at, "text": text}); err != nil {
		p.b.t.Fatalf("%s does not see %q in %s, but %q: %v", p.name, text, at, p.text(at), err)
	}
}

func (p page) text(at string) (all []string) {
	p.b.t.Helper()
	p.b.do("text", obj{"name": p.name, "at": at}, &all)
	return all
}

func (p page) number(at string) (n int) {
	p.b.t.Helper()
	p.b.do("count", obj{"name": p.name, "at": at}, &n)
	return n
}

func (p page) say(text string) {
	p.b.t.Helper()
	p.do("fill", obj{"at": "#text", "text": text})
	p.do("press", obj{"at": "#text", "key": "Enter"})
	p.see("#log li.mine p", text)
}

func (p page) rename(name string) {
	p.b.t.Helper()
	p.do("fill", obj{"at": "#name", "text": name})
	p.do("press", obj{"at": "#name", "key": "Enter"})
}

func (p page) enter(room string) {
	p.b.t.Helper()
	p.do("fill", obj{"at": "#room", "text": room})
	p.do("press", obj{"at": "#room", "key": "Enter"})
	p.see("#title", room)
}
