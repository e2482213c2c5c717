package deploy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/harness"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// proxy is one that stands before three servers.
type proxy struct {
	name  string
	start func(t *testing.T, program, config string) *exec.Cmd // from the text of its configuration

	config  string
	fickle  [][2]string // replacements that make it send each request anywhere
	program string
}

var proxies = []proxy{
	{
		name: "nginx", program: "nginx", config: "nginx/sockeye.conf",
		fickle: [][2]string{{"hash $sockeye_route consistent;", "hash $request_id;"}},
		start: func(t *testing.T, program, config string) *exec.Cmd {
			t.Helper()
			dir := t.TempDir()
			var paths strings.Builder
			for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
				fmt.Fprintf(&paths, "%s_temp_path %s/%s;\n", what, dir, what)
			}
			main := "daemon off; master_process off; pid " + dir + "/pid; error_log stderr warn;\n" +
				"events { worker_connections 2000; }\nhttp { access_log off;\n" + paths.String() + config + "\n}\n"
			return exec.Command(program, "-p", dir, "-e", "stderr", "-c", file(t, dir, main))
		},
	},
	{
		name: "HAProxy", program: "haproxy", config: "haproxy/haproxy.cfg",
		fickle: [][2]string{{"balance source", "balance roundrobin"}, {"cookie sockeye_route insert", "# "}},
		start: func(t *testing.T, program, config string) *exec.Cmd {
			t.Helper()
			// No more files than a test may have.
			config = strings.Replace(config, "maxconn 50000", "maxconn 2000", 1)
			return exec.Command(program, "-db", "-f", file(t, t.TempDir(), config))
		},
	},
}

func file(t *testing.T, dir, text string) string {
	t.Helper()
	name := filepath.Join(dir, "config")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// run starts the proxy before servers and gives its URL.
func (p *proxy) run(t *testing.T, servers []*harness.Program, replaced ...[2]string) string {
	t.Helper()
	program, err := exec.LookPath(p.program)
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/" + p.program) // where only root looks
	}
	if err != nil {
		testkit.Need(t, p.program)
	}
	text := read(t, p.config)
	addr := testkit.FreeAddr(t)
	replaced = append(replaced, [2]string{"127.0.0.1:8080", addr})
	for i, s := range servers {
		replaced = append(replaced, [2]string{fmt.Sprint("127.0.0.1:300", i), strings.TrimPrefix(s.URL, "http://")})
	}
	for _, r := range replaced {
		if !strings.Contains(text, r[0]) {
			t.Fatalf("%s does not contain %q", p.config, r[0])
		}
		text = strings.Replace(text, r[0], r[1], 1)
	}
	cmd := p.start(t, program, text)
	cmd.Stderr = os.Stderr
	testkit.StartChild(t, cmd)
	url := "http://" + addr
	testkit.Eventually(t, p.name+" passes on", func() bool {
		res, err := http.Get(url + "/healthz")
		if err != nil {
			return false
		}
		_ = res.Body.Close() // nothing is read
		return res.StatusCode == http.StatusOK
	})
	return url
}

// three starts three servers on one Redis.
func three(t *testing.T, bin string) []*harness.Program {
	t.Helper()
	redis := testkit.StartRedis(t)
	var all []*harness.Program
	for range 3 {
		all = append(all, harness.Start(t, bin, "serve", "--addr", "127.0.0.1:0", "--redis", redis.URL(),
			"--trusted-proxies", "127.0.0.0/8", "--drain-delay", "3s", "--ping-interval", "5s"))
	}
	return all
}

// from has a client come from an address of its own; all of 127.0.0.0/8 is this machine.
func from(i int, transports ...string) func(c *client.Config) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}}
	return func(c *client.Config) {
		c.Transports = transports
		c.Reconnect = client.Reconnect{Delay: 100 * time.Millisecond, MaxDelay: time.Second}
		c.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		}
	}
}

var transports = [][]string{{"polling"}, {"polling", "websocket"}, {"websocket"}}

// Each proxy keeps a client at its server, all clients hear each other, and one server that is told to end is taken over
// by the others.
func TestProxies(t *testing.T) {
	t.Parallel()
	bin := harness.Build(t, "../cmd/sockeye")
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			servers := three(t, bin)
			url := p.run(t, servers)
			clients := make([]*harness.Client, 24)
			var wg sync.WaitGroup
			for i := range clients {
				wg.Go(func() { clients[i] = harness.Connect(t, url, from(i, transports[i%3]...)) })
			}
			wg.Wait()
			if t.Failed() {
				return
			}
			official := node(t, url)
			all := map[string]bool{}
			for _, c := range clients {
				all[c.ID()] = true
			}
			if len(all) != len(clients) {
				t.Fatalf("%d ids", len(all))
			}
			talk(t, clients, official, "before")

			servers[1].Terminate()
			if code := servers[1].Wait(); code != 0 {
				t.Errorf("a server that was told to end: exit code %d", code)
			}
			for i, c := range clients {
				testkit.Eventually(t, fmt.Sprint("client ", i, " is connected"), c.Connected)
			}
			talk(t, clients, official, "after")
			moved := 0
			for _, c := range clients {
				if !all[c.ID()] {
					moved++
				}
			}
			if moved == 0 || moved == len(clients) {
				t.Errorf("%d of %d clients had to connect again: they were not spread", moved, len(clients))
			}
		})
	}
}

// talk has one client say something until all others, and the official ones, have heard it: who is just coming back from
// another server misses what is said meanwhile.
func talk(t *testing.T, clients []*harness.Client, official *harness.Program, text string) {
	t.Helper()
	missing := map[*harness.Client]bool{}
	for _, c := range clients[1:] {
		missing[c] = true
	}
	testkit.Eventually(t, text+" is heard by all", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(5*time.Second))
		defer cancel()
		if _, err := clients[0].EmitWithAck(ctx, "message", text); err != nil {
			return false
		}
		for c := range missing {
			for c.Pending() {
				if c.Heard("message", fmt.Sprintf("[%q]", text)) {
					delete(missing, c)
				}
			}
		}
		out := strings.Join(official.Output(), "\n")
		return len(missing) == 0 && strings.Contains(out, "polling heard "+text) && strings.Contains(out, "default heard "+text)
	})
}

// node runs two official clients, which keep no cookies.
func node(t *testing.T, url string) *harness.Program {
	t.Helper()
	modules, err := filepath.Abs("../interop/node/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "socket.io-client")); err != nil {
		testkit.Need(t, "the npm packages of interop/node")
	}
	cmd := exec.Command("node", "client.cjs", url)
	cmd.Dir, cmd.Env = "testdata", append(os.Environ(), "NODE_PATH="+modules)
	return harness.StartCmd(t, cmd)
}

// Without stickiness clients that poll are lost: the tests above would see it.
func TestProxies_Fickle(t *testing.T) {
	t.Parallel()
	bin := harness.Build(t, "../cmd/sockeye")
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			url := p.run(t, three(t, bin), p.fickle...)
			failed := 0
			for i := range 5 {
				var c client.Config
				from(i, "polling")(&c)
				ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(20*time.Second))
				s, err := client.Dial(ctx, url, c)
				cancel()
				if err != nil {
					failed++
					continue
				}
				_ = s.Manager().Close() // it was in luck
			}
			if failed == 0 {
				t.Error("clients that poll got along without stickiness")
			}
		})
	}
}

// What the comments of the configurations say of the settings of serve is so.
func TestProxies_Comments(t *testing.T) {
	t.Parallel()
	for _, p := range proxies {
		for _, name := range []string{"ping-interval (25 s)", "ping-timeout (20 s)"} {
			if !strings.Contains(regexp.MustCompile(`\s+`).ReplaceAllString(read(t, p.config), " "), name) {
				t.Errorf("%s does not mention %s", p.config, name)
			}
		}
	}
}
