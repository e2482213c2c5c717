package interop

import (
	"encoding/base64"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

// openBrowser starts a Chromium that is closed with the test, which fails with errors in the browser.
func openBrowser(t *testing.T) *peer {
	t.Helper()
	b := startPeer(t, "browser.mjs")
	b.do("start", obj{"executable": findChromium(t), "width": 1440, "height": 810}, nil)
	t.Cleanup(func() {
		var faults []string
		b.do("faults", nil, &faults)
		same(t, "errors in the browser", faults, []string{})
		b.do("stop", nil, nil)
	})
	return b
}

// TestBrowser_Workbench: what goes over the wire shows on the page, on two servers with one Redis, and what becomes of a
// session when its connection is dropped, and when its server goes and comes again.
func TestBrowser_Workbench(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	bin := buildServe(t)
	addr := testkit.FreeAddr(t)
	args := []string{"--redis", redis.URL(), "--redis-mode", "streams", "--recovery", "2m"}
	_, first := startServe(t, bin, append(args, "--addr", addr)...)
	two, _ := startServe(t, bin, args...)
	b := openBrowser(t)
	ann, bob := page{b, "ann"}, page{b, "bob"}
	ann.open("http://" + addr + "/")
	bob.open(two)
	for _, p := range []page{ann, bob} {
		p.see("#count", "2")
		p.see("#session", "new session")
		p.see("#latency", "ms")
		p.see("#latency-text", "ms")
		p.see("#server-name", "in a cluster")
		p.see("#transport", "websocket")
	}
	ann.rename("Ann")
	bob.rename("Bob")
	bob.see("#people", "Ann")
	if a, b := ann.text("#server"), bob.text("#server"); a[0] == "" || a[0] == b[0] {
		t.Errorf("the servers are called %q and %q", a, b)
	}
	ann.see("#people", "Bob")

	t.Run("acks", func(t *testing.T) {
		defer b.use(t)()
		ann.emit("server", "echo", `"ping", {"n": [1, 2]}`)
		ann.see("#events .out:not(.own) .rtt", "ms")
		ann.do("click", obj{"at": "#events .out:last-child summary"})
		ann.see("#events .out:last-child .reply", `"ping"`)
		ann.emit("server", "join", `""`)
		ann.see("#events .out:last-child .preview", `""`)
		ann.emit("server", "echo", `{not json`)
		ann.see("#compose-error", "no JSON")
		ann.emit("server", "connect", `1`)
		ann.see("#compose-error", "reserved")
	})
	t.Run("binary", func(t *testing.T) {
		defer b.use(t)()
		body := slices.Concat([]byte{0x89, 'P', 'N', 'G'}, make([]byte, 70_000))
		ann.do("upload", obj{"at": "#file", "file": "x.png", "body": obj{"$bin": base64.StdEncoding.EncodeToString(body)}})
		ann.emit("room", "photo", `{"name": "salmon"}`)
		bob.see("#events .in b", "photo")
		bob.see("#events .in .preview", "<70004 bytes: 89 50 4e 47 00")
		ann.emit("room", "bytes", `{"$hex": "00 ff"}`)
		bob.see("#events .in .preview", "<2 bytes: 00 ff>")
	})
	t.Run("hostile", func(t *testing.T) {
		defer b.use(t)()
		const evil = `<img src=x onerror="document.title='owned'">`
		ann.rename(evil[:39])
		ann.emit("room", evil, `"`+strings.ReplaceAll(evil, `"`, `\"`)+`", {"__proto__": {"polluted": 1}}`)
		bob.see("#events .in b", evil)
		bob.see("#people", evil[:39])
		ann.emit("room", "chat", `{"room": "__proto__", "name": {"a": 1}, "text": ["x"]}`)
		ann.emit("room", "chat", `null`)
		bob.see("#events .in .preview", "null")
		same(t, "elements made of what others send", bob.number("#events img, #people img, #log img"), 0)
		same(t, "title", bob.text("title"), list{"Sockeye"})
		ann.rename("Ann")
	})
	ann.do("click", obj{"at": "#clear"})
	same(t, "events after they were cleared", ann.number("#events li"), 0)
	if os.Getenv("UPDATE_DOCS") == "1" {
		picture(t, b, bin)
	}

	// Where there is no room for all, the arrow keys choose what is shown.
	ann.do("resize", obj{"width": 1180, "height": 720})
	ann.see("#title", "lobby")
	ann.do("press", obj{"at": "#tab-room", "key": "ArrowRight"})
	ann.see("#tab-events[aria-selected=true]", "Events")
	ann.see("#panel-events h2", "Events")
	ann.do("press", obj{"at": "#tab-events", "key": "ArrowRight"})
	ann.see("#tab-room[aria-selected=true]", "Room")
	ann.see("#panel-room h2", "lobby")
	ann.do("resize", obj{"width": 1440, "height": 810})

	// Dropped, switched to the other transport, and with the server gone: each time the session comes back.
	ann.do("click", obj{"at": "#away"})
	bob.say("while it was dropped")
	ann.see("#log .event", "session recovered")
	ann.see("#log", "while it was dropped")
	ann.do("select", obj{"at": "#transports", "value": "polling"})
	ann.see("#transport", "polling")
	ann.see("#session", "recovered")
	eventually(t, "both are seen", func() bool {
		return strings.Count(strings.Join(ann.text("#log .event"), "\n"), "session recovered") == 2
	})
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ann.see("#state-text", "reconnecting")
	bob.say("missed while the server was gone")
	eventually(t, "the port is free", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close() // it was only a question
		}
		return err != nil
	})
	startServe(t, bin, append(args, "--addr", addr)...)
	ann.see("#session", "recovered, with")
	ann.see("#log", "missed while the server was gone")
	ann.see("#count", "2")
	ann.say("back again")
	bob.see("#log", "back again")

	// Who leaves by will begins anew.
	ann.do("click", obj{"at": "#toggle"})
	ann.see("#state-text", "disconnected")
	bob.see("#log .event", "Ann has left")
	ann.do("click", obj{"at": "#toggle"})
	ann.see("#session", "new session")
	bob.see("#count", "2")
}

// picture is the one in the README.
func picture(t *testing.T, b *peer, bin string) {
	t.Helper()
	addr := testkit.FreeAddr(t)
	startServe(t, bin, "--cluster", "3", "--addr", addr)
	ann, bob := page{b, "ann of the picture"}, page{b, "bob of the picture"}
	ann.open("http://" + addr + "/")
	ann.see("#peer-list", "server 3 of 3")
	bob.open("http://" + ann.text("#peer-list .mono")[1] + "/")
	bob.see("#server", "server 3 of 3")
	for p, name := range map[page]string{ann: "Ann", bob: "Bob"} {
		p.rename(name)
		p.enter("salmon run")
	}
	bob.see("#people", "Ann")
	ann.see("#people", "Bob")
	ann.say("Hello from the first server")
	bob.say("Hello, Ann. This is the third one")
	ann.see("#log", "third one")
	bob.emit("room", "temperature", `{"river": "Adams", "celsius": 8.4}`)
	bob.emit("room", "photo", `{"$hex": "89504e470d0a1a0a0000000d49484452"}`)
	ann.see("#events .in b", "photo")
	ann.do("click", obj{"at": "#away"})
	bob.say("Did you miss me?")
	ann.see("#session", "recovered")
	ann.see("#log", "miss me")
	ann.emit("server", "echo", `{"n": [1, 2, 3]}`)
	ann.see("#events .out:last-child .rtt", "ms")
	ann.do("click", obj{"at": "#link-title"})
	ann.do("resize", obj{"width": 1440, "height": 720})
	ann.do("screenshot", obj{"path": "../docs/demo.png"})
}

// TestBrowser_Identity: the page asks for a token, shows why one is refused and who one is, takes two tabs of a user for one
// person, and brings another token before the first one ends.
func TestBrowser_Identity(t *testing.T) {
	t.Parallel()
	bin := buildServe(t)
	url, _ := startServe(t, bin, "--jwt-secret", tokenSecret, "--jwt-warning", "1h", "--presence")
	b := openBrowser(t)
	ann, tab, bob := page{b, "ann"}, page{b, "tab"}, page{b, "bob"}
	ann.open(url)
	ann.see("#state-text", "refused")
	ann.see("#refused", "missing")
	ann.use("nonsense")
	ann.see("#refused", "invalid")

	expires := time.Now().Add(30 * time.Minute)
	token := func(user string, more ...string) string {
		return signed(t, obj{"sub": user, "name": strings.ToUpper(user[:1]) + user[1:], "rooms": append(more, "lobby"), "exp": expires.Unix()})
	}
	ann.use(token("ann", "river", "org:*"))
	ann.see("#state-text", "connected")
	ann.see("#you", "You are ann, until")
	ann.see("#allowed", "river, org:*, lobby")
	ann.see("#rooms", "# river")
	ann.see("#rooms", "# lobby")
	ann.do("click", obj{"at": "#rooms li:last-child button"})
	bob.open(url)
	bob.use(token("bob"))
	bob.see("#people", "Ann")
	same(t, "name of the token", bob.number("#people li"), 2)

	tab.open(url)
	tab.use(token("ann"))
	bob.see("#people li", "2 tabs")
	bob.see("#count", "2")
	bob.see("#online", "2 users, on all servers")
	tab.do("click", obj{"at": "#toggle"})
	bob.seeNo("#people li .tag")
	for _, said := range bob.text("#log .event") {
		if regexp.MustCompile(`Ann has (joined|left)`).MatchString(said) {
			t.Errorf("a second tab shows as %q", said)
		}
	}

	// The warning comes an hour before, which is at once.
	ann.see("#expiring", "Your token ends in")
	ann.use(token("bob"))
	ann.see("#refused", "user_changed")
	expires = expires.Add(2 * time.Hour)
	ann.use(token("ann"))
	ann.seeNo("#expiring:not([hidden])")
	ann.seeNo("#rooms li:nth-child(2)")
	ann.see("#notice", "river")
	ann.see("#state-text", "connected")
	ann.say("renewed")
	bob.see("#log", "renewed")
}

// emit fills the form of the page in.
func (p page) emit(to, event, args string) {
	p.b.t.Helper()
	p.do("select", obj{"at": "#to", "value": to})
	p.do("fill", obj{"at": "#args", "text": args})
	p.do("fill", obj{"at": "#event", "text": event})
	p.do("press", obj{"at": "#event", "key": "Enter"})
}

// use brings a token.
func (p page) use(token string) {
	p.b.t.Helper()
	p.do("fill", obj{"at": "#token", "text": token})
	p.do("press", obj{"at": "#token", "key": "Enter"})
}

func (p page) seeNo(at string) {
	p.b.t.Helper()
	eventually(p.b.t, "no "+at, func() bool { return p.number(at) == 0 })
}

// use makes failures those of t, until what it gives is called.
func (p *peer) use(t testing.TB) (back func()) {
	before := p.t
	p.t = t
	return func() { p.t = before }
}
