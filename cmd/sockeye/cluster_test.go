package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// library is two servers, which are no relays, on one Redis.
type library struct {
	t     *testing.T
	redis *testkit.Redis
	mode  string
	urls  []string
}

func startLibrary(t *testing.T, mode string) *library {
	t.Helper()
	l := &library{t: t, redis: testkit.StartRedis(t), mode: mode}
	for range 2 {
		c, err := redisCluster(redisFlags{url: l.redis.URL(), mode: mode, prefix: "socket.io"}, environment(nil).get)
		if err != nil {
			t.Fatal(err)
		}
		server, err := sockeye.New(sockeye.Config{Adapter: c.adapter()})
		if err != nil {
			t.Fatal(err)
		}
		data := func(_ context.Context, s *sockeye.Socket) { s.SetData(map[string]any{"n": 1, "wide": "\u009b31m"}) }
		server.OnConnection(data)
		server.Of("/chat").OnConnection(data)
		web := httptest.NewServer(server)
		t.Cleanup(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			web.Close()
		})
		l.urls = append(l.urls, web.URL)
	}
	return l
}

// order runs a command over the Redis of the servers.
func (l *library) order(args ...string) (code int, stdout, stderr string) {
	l.t.Helper()
	flags := []string{args[0], "--redis", l.redis.URL(), "--redis-mode", l.mode, "--timeout", testkit.Scale(20 * time.Second).String()}
	return command(l.t, nil, append(flags, args[1:]...)...)
}

// done is order that must succeed; it gives what was printed.
func (l *library) done(args ...string) string {
	l.t.Helper()
	code, out, errs := l.order(args...)
	if code != exitOK || errs != "" {
		l.t.Fatalf("%q: exit %d: %s", args, code, errs)
	}
	return out
}

// visitor is a client that acknowledges every event with its name, but for those named "mute".
type visitor struct {
	t    *testing.T
	name string
	id   string

	mu   sync.Mutex
	got  []string
	left bool
}

func (l *library) visit(name string, server int, nsp string) *visitor {
	l.t.Helper()
	v := &visitor{t: l.t, name: name}
	conn, err := engineio.Dial(l.t.Context(), l.urls[server]+"/socket.io/", engineio.DialConfig{}, v)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	if err := conn.Send([]byte("0"+nsp), false); err != nil {
		l.t.Fatal(err)
	}
	testkit.Eventually(l.t, name+" is connected", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.id != ""
	})
	return v
}

func (*visitor) OnOpen(*engineio.Conn, *http.Request) {}

func (v *visitor) OnMessage(c *engineio.Conn, data []byte, _ bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := string(data)
	at := strings.IndexAny(text, "[{")
	switch {
	case text[0] == '0':
		var hello struct{ SID string }
		if json.Unmarshal(data[at:], &hello) == nil {
			v.id = hello.SID
		}
	case text[0] == '1':
		v.left = true
	case at > 0:
		v.got = append(v.got, text[at:])
		if at > 1 && text[1] != '/' && !strings.HasPrefix(text[at:], `["mute"`) {
			_ = c.Send([]byte("3"+text[1:at]+`["`+v.name+`"]`), false) // the connection may have ended
		}
	}
}

func (v *visitor) OnClose(*engineio.Conn, engineio.Reason, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left = true
}

// has waits for an event, and fails if any of others has come until then.
func (v *visitor) has(event string, others ...string) {
	v.t.Helper()
	testkit.Eventually(v.t, v.name+" has "+event, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return slices.Contains(v.got, event)
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, o := range others {
		if slices.Contains(v.got, o) {
			v.t.Errorf("%s has %s", v.name, o)
		}
	}
}

func (v *visitor) gone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.left
}

// modes runs a test in each mode.
func modes(t *testing.T, f func(t *testing.T, l *library)) {
	t.Helper()
	for _, mode := range []string{modePubSub, modeSharded, modeStreams} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, startLibrary(t, mode))
		})
	}
}

func TestEmit(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, l *library) {
		a, b, chat := l.visit("a", 0, ""), l.visit("b", 1, ""), l.visit("c", 1, "/chat,")
		if out := l.done("emit", "news", "1", `{"a":[true]}`, "plain text", `"quoted"`, "-2.5", ""); out != "" {
			t.Errorf("prints %q", out)
		}
		want := `["news",1,{"a":[true]},"plain text","quoted",-2.5,""]`
		a.has(want)
		b.has(want)
		l.done("emit", "--text", "--except", a.id, "text", "{", "1")
		b.has(`["text","{","1"]`)
		l.done("emit", "--room", a.id, "--room", "nobody", "alone")
		l.done("emit", "-n", "chat", "other")
		l.done("emit", "last")
		a.has(`["last"]`, `["text","{","1"]`, `["other"]`)
		b.has(`["last"]`, `["alone"]`, `["other"]`)
		a.has(`["alone"]`)
		chat.has(`["other"]`, `["last"]`)
		testkit.Eventually(t, "the transport takes a volatile event", func() bool {
			l.done("emit", "--volatile", "perhaps")
			b.mu.Lock()
			defer b.mu.Unlock()
			return slices.Contains(b.got, `["perhaps"]`)
		})
	})
}

func TestEmit_Ack(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, l *library) {
		l.visit("a", 0, "")
		b := l.visit("b", 1, "")
		lines := strings.Split(l.done("emit", "--ack", "ask", "1"), "\n")
		slices.Sort(lines)
		if got := strings.Join(lines, " "); got != ` ["a"] ["b"]` {
			t.Errorf("prints %q", lines)
		}
		if out := l.done("emit", "--ack", "--room", b.id, "ask"); out != `["b"]`+"\n" {
			t.Errorf("prints %q", out)
		}
		code, out, errs := l.order("emit", "--ack", "--timeout", "200ms", "mute")
		if code != exitError || out != "" || errs != "sockeye: not everybody answered: 0 of 2 acknowledgements (the time is over)\n" {
			t.Errorf("exit %d, %q, %q", code, out, errs)
		}
	})
}

func TestOrders(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, l *library) {
		a, b := l.visit("a", 0, ""), l.visit("b", 1, "")
		l.visit("c", 0, "/chat,")
		l.done("join", "--all", "lobby", "two words")
		l.done("join", "--room", b.id, "-n", "/", "second")
		rooms := func(want string) {
			t.Helper()
			var out string
			testkit.Eventually(t, want, func() bool { out = l.done("rooms"); return out == want })
		}
		rooms("ROOM         SOCKETS\nlobby        2\nsecond       1\n\"two words\"  2\n")
		if out := l.done("rooms", "--json", "--except", a.id); out != `{"room":"lobby","sockets":1}
{"room":"second","sockets":1}
{"room":"two words","sockets":1}
` {
			t.Errorf("prints %s", out)
		}
		l.done("leave", "--all", "--except", b.id, "two words", "lobby")
		rooms("ROOM         SOCKETS\nlobby        1\nsecond       1\n\"two words\"  1\n")
		if out := l.done("sockets", "--count"); out != "2\n" {
			t.Errorf("counts %q", out)
		}
		if out := l.done("sockets", "--count", "--room", "second"); out != "1\n" {
			t.Errorf("counts %q", out)
		}
		l.done("disconnect", "--room", "second", "--close")
		testkit.Eventually(t, "b is gone", b.gone)
		testkit.Eventually(t, "one is left", func() bool { return l.done("sockets", "--count") == "1\n" })
		if a.gone() {
			t.Error("a is gone too")
		}
		l.done("disconnect", "--all")
		testkit.Eventually(t, "a is gone", a.gone)
		rooms("ROOM  SOCKETS\n")
		if out := l.done("sockets", "-n", "chat", "--count"); out != "1\n" {
			t.Errorf("counts %q in another namespace", out)
		}
	})
}

func TestSockets(t *testing.T) {
	t.Parallel()
	modes(t, func(t *testing.T, l *library) {
		a, b := l.visit("a", 0, ""), l.visit("b", 1, "")
		l.done("join", "--room", a.id, "z", "two words")
		testkit.Eventually(t, "a is in a room", func() bool { return l.done("sockets", "--room", "z", "--count") == "1\n" })
		lines := strings.Split(l.done("sockets"), "\n")
		if len(lines) != 4 || !strings.HasPrefix(lines[0], "ID ") {
			t.Fatalf("prints %q", lines)
		}
		for _, v := range []*visitor{a, b} {
			i := slices.IndexFunc(lines, func(s string) bool { return strings.HasPrefix(s, v.id+"  127.0.0.1") })
			if i < 1 || !strings.HasSuffix(lines[i], `  {"n":1,"wide":"\u009b31m"}`) {
				t.Errorf("prints %q", lines)
			} else if strings.Contains(lines[i], `"two words" z`) != (v == a) {
				t.Errorf("prints %q", lines[i])
			}
		}
		var got struct {
			ID, Address, Server string
			Rooms               []string
			Data                map[string]any
		}
		out := l.done("sockets", "--json", "--room", "z")
		if err := json.Unmarshal([]byte(out), &got); err != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("prints %q: %v", out, err)
		}
		if got.ID != a.id || got.Address == "" || !slices.Equal(got.Rooms, []string{"two words", "z"}) || got.Data["n"] != 1.0 {
			t.Errorf("prints %s", out)
		}
	})
}

// TestSockets_Partial: a server that does not answer costs its part, and the exit code.
func TestSockets_Partial(t *testing.T) {
	t.Parallel()
	for mode, channel := range map[string][2]string{
		modePubSub: {"SUBSCRIBE", "socket.io-request#/#"}, modeSharded: {"SSUBSCRIBE", "socket.io#/#"},
		modeStreams: {"SUBSCRIBE", "socket.io#/#"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			l := startLibrary(t, mode)
			l.visit("a", 0, "")
			subscribe(t, l.redis, channel[0], channel[1])
			code, out, errs := l.order("sockets", "--timeout", "300ms")
			if code != exitError || strings.Count(out, "\n") != 2 || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "2 of 3 answers") {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
			code, out, errs = l.order("sockets", "--timeout", "300ms", "--count")
			if code != exitError || out != "1\n" || !strings.Contains(errs, "2 of 3 answers") {
				t.Errorf("exit %d, %q, %q", code, out, errs)
			}
		})
	}
}

// TestEmit_Serve: two of "serve" hear what is said by the variables of their environment.
func TestEmit_Serve(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	host, port, _ := strings.Cut(r.Addr, ":")
	env := environment{"REDIS_HOST": host, "REDIS_PORT": port}
	one, two := serving(t, env, "--addr", "127.0.0.1:0"), serving(t, env, "--addr", "127.0.0.1:0")
	a, b := join(t, one.url), join(t, two.url)
	if code, _, errs := command(t, env, "emit", "news", "1"); code != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, c := range []*chatter{a, b} {
		c.want(`2["news",1]`)
	}
	if code, out, errs := command(t, env, "sockets", "--count"); code != exitOK || out != "2\n" {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestEmit_PrefixInUse: questions of the wrong mode are not asked.
func TestEmit_PrefixInUse(t *testing.T) {
	t.Parallel()
	l := startLibrary(t, modePubSub)
	l.mode = modeStreams
	code, out, errs := l.order("sockets")
	if code != exitError || out != "" || !strings.Contains(errs, "--redis-prefix") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestEmit_Unreachable(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	mute := listenMute(t)
	for _, args := range [][]string{
		{"emit", "news"}, {"sockets"}, {"rooms"}, {"join", "--all", "r"}, {"leave", "--all", "r"}, {"disconnect", "--all"},
	} {
		code, out, errs := command(t, nil, append([]string{args[0], "--redis", "redis://u:hidden@" + addr}, args[1:]...)...)
		if code != exitError || out != "" || !strings.HasPrefix(errs, "sockeye: cannot use Redis at "+addr+": ") ||
			strings.Count(errs, "\n") != 1 || strings.Contains(errs, "hidden") {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, errs)
		}
		code, _, errs = command(t, nil, append([]string{args[0], "--timeout", "100ms", "--redis", "redis://" + mute}, args[1:]...)...)
		if code != exitError || errs != "sockeye: cannot use Redis at "+mute+": no answer in time\n" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
}

// TestEmit_Refused: Redis may be there and not take the message.
func TestEmit_Refused(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t, "--rename-command", "SPUBLISH", "", "--rename-command", "XADD", "")
	for _, mode := range []string{modeSharded, modeStreams} {
		code, out, errs := command(t, nil, "emit", "--redis", r.URL(), "--redis-mode", mode, "--timeout", "3s", "news")
		if code != exitError || out != "" || strings.Count(errs, "\n") != 1 || !strings.HasSuffix(errs, "'\n") ||
			!strings.HasPrefix(errs, "sockeye: cannot use Redis at "+r.Addr+": unknown command '") {
			t.Errorf("exit %d, %q, %q", code, out, errs)
		}
		t.Log(errs)
	}
}

// subscribe is somebody who is counted as a server and never answers.
func subscribe(t *testing.T, r *testkit.Redis, verb, channel string) {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // once
	if _, err := c.Write([]byte(verb + " " + channel + "\r\n")); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("*3\r\n"))
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "*3\r\n" {
		t.Fatalf("subscribe: %q, %v", head, err)
	}
}

func (v *visitor) rename(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.name = name
}
