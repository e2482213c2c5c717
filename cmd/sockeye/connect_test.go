package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// partner is a server to talk to. It notes what it gets, acknowledges everything but "mute", and does what "show",
// "ask me" and "bye" say.
type partner struct {
	*sockeye.Server

	t    *testing.T
	web  *httptest.Server
	addr string

	mu  sync.Mutex
	got []string
}

func startPartner(t *testing.T, c sockeye.Config) *partner {
	t.Helper()
	c.AllowEIO3 = true
	p := &partner{t: t}
	var err error
	if p.Server, err = sockeye.New(c); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/", "/chat"} {
		p.Of(name).OnAny(sockeye.HandlerFunc(p.take))
	}
	p.Of("/closed").Use(func(context.Context, *sockeye.Socket) error {
		return &sockeye.ConnectError{Message: "no entry\x1b[2J", Data: map[string]int{"code": 7}}
	})
	p.web = httptest.NewServer(p)
	p.addr = strings.TrimPrefix(p.web.URL, "http://")
	t.Cleanup(p.stop)
	return p
}

func (p *partner) stop() {
	if err := p.Close(); err != nil {
		p.t.Error(err)
	}
	p.web.Close()
}

func (p *partner) take(ctx context.Context, m *sockeye.Message) error {
	p.mu.Lock()
	p.got = append(p.got, strings.TrimSpace(m.Event+" "+plainArgs(m.Args())))
	p.mu.Unlock()
	s := sockeye.SocketFrom(ctx)
	switch m.Event {
	case "mute":
		return nil
	case "show":
		args := make([]any, len(m.Args()))
		for i, a := range m.Args() {
			args[i] = a
		}
		return errors.Join(s.Emit("shown", args...), s.Emit("message", "for all", []byte{1, 2}), s.Disconnect(false))
	case "ask me":
		r, err := s.EmitWithAck(ctx, "question", 6, "times", 7)
		if err != nil {
			return err
		}
		return errors.Join(s.Emit("answer", r.Args()), s.Disconnect(false))
	case "bye":
		return s.Disconnect(true)
	}
	return m.Ack("ok", len(m.Args()))
}

// want waits until exactly these events have come.
func (p *partner) want(want ...string) {
	p.t.Helper()
	testkit.Eventually(p.t, fmt.Sprintf("the server gets %q", want), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Equal(p.got, want)
	})
}

// typist is a "connect" that is typed to by a pipe.
type typist struct {
	t           *testing.T
	out, errors *output
	pipe        *os.File
	cancel      context.CancelFunc
	code        chan int
}

func startTypist(t *testing.T, args ...string) *typist {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &typist{t: t, out: new(output), errors: new(output), pipe: w, cancel: cancel, code: make(chan int, 1)}
	in := invocation{
		args: append([]string{"connect"}, args...), env: environment(nil).get, stdin: r, stdout: p.out, stderr: p.errors,
	}
	done := make(chan struct{})
	go func() { // ends with the command
		defer close(done)
		p.code <- run(ctx, in)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = r.Close() // a test may have closed w already, and nobody
		_ = w.Close() // uses r any more
	})
	return p
}

func (p *typist) say(lines ...string) {
	p.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(p.pipe, l+"\n"); err != nil {
			p.t.Fatal(err)
		}
	}
}

// sees waits until the output, or what was said on standard error, has a text.
func (p *typist) sees(text string) {
	p.t.Helper()
	testkit.Eventually(p.t, "to see "+text, func() bool {
		return strings.Contains(p.out.String()+p.errors.String(), text)
	})
}

// ends closes the input and gives the exit code.
func (p *typist) ends() int {
	p.t.Helper()
	if err := p.pipe.Close(); err != nil {
		p.t.Error(err)
	}
	select {
	case code := <-p.code:
		return code
	case <-time.After(testkit.Scale(30 * time.Second)):
		p.t.Fatalf("does not end: %s %s", p.out, p.errors)
		return 0
	}
}

// TestTranscript_Connect is golden: nothing in it depends on what comes first.
func TestTranscript_Connect(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	transcript(t, "connect.txt", map[string]string{"SERVER": p.addr, "NOBODY": testkit.FreeAddr(t)})
}

func TestConnect_Sends(t *testing.T) {
	t.Parallel()
	for name, flags := range map[string][]string{
		"upgrade": nil, "polling": {"--transport", "polling"}, "websocket": {"--transport", "websocket"},
		"protocol 2": {"--protocol", "2"}, "both ways round": {"--transport", "websocket", "--transport", "polling"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPartner(t, sockeye.Config{})
			c := startTypist(t, append(flags, p.addr)...)
			c.say("hello world", `1 {"a":[true]}`, "", "/emit other", `/emit "two words" x`, "//slash", `"1"`)
			if code := c.ends(); code != exitOK || c.out.String() != "" {
				t.Errorf("exit %d %s%s", code, c.out, c.errors)
			}
			p.want("message hello world", `message 1 {"a":[true]}`, "other", "two words x", "message /slash", `message "1"`)
		})
	}
}

// TestConnect_KeepsOrder: events with and without acknowledgement come in the order of the lines.
func TestConnect_KeepsOrder(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	c := startTypist(t, p.addr)
	var want []string
	for n := range 200 {
		c.say(fmt.Sprintf("%s n%d", []string{"/emit e", "/ack e"}[n%2], n))
		want = append(want, fmt.Sprintf("e n%d", n))
	}
	if code := c.ends(); code != exitOK || strings.Count(c.out.String(), `"ok" 1`) != 100 {
		t.Errorf("exit %d %s%s", code, c.out, c.errors)
	}
	p.want(want...)
}

func TestConnect_Msgpack(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{Parser: msgpack.New()})
	c := startTypist(t, "--parser", "msgpack", "--ack", p.addr)
	c.say("hello")
	if code := c.ends(); code != exitOK || c.out.String() != "ack #1 \"ok\" 1\n" {
		t.Errorf("exit %d %s%s", code, c.out, c.errors)
	}
}

// TestConnect_Handshake: what the flags say arrives.
func TestConnect_Handshake(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{Path: "/app/"})
	came := make(chan *sockeye.Handshake, 1)
	p.Of("/chat").OnConnection(func(_ context.Context, s *sockeye.Socket) { came <- s.Handshake() })
	file := filepath.Join(t.TempDir(), "auth.json")
	if err := os.WriteFile(file, []byte(`{"token":"abc"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startTypist(t, "-n", "chat", "--path", "/app", "--auth", "@"+file, "--header", "X-One: 1", "--header", "X-Two:  2 ",
		"--query", "a=b=c", p.web.URL+"?d=e")
	if code := c.ends(); code != exitOK {
		t.Fatalf("exit %d: %s", code, c.errors)
	}
	h := <-came
	var auth struct{ Token string }
	if err := h.Auth.Scan(&auth); err != nil || auth.Token != "abc" {
		t.Errorf("auth %+v, %v", auth, err)
	}
	if h.Headers.Get("X-One") != "1" || h.Headers.Get("X-Two") != "2" || h.Query["a"] != "b=c" || h.Query["d"] != "e" {
		t.Errorf("%v %v", h.Headers, h.Query)
	}
}

func TestConnect_TLS(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	web := httptest.NewUnstartedServer(p)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	t.Cleanup(web.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flags []string
		code  int
	}{
		"known": {[]string{"--ca", ca}, exitOK}, "insecure": {[]string{"--insecure"}, exitOK}, "unknown": {nil, exitError},
		"known to websockets": {[]string{"--ca", ca, "--transport", "websocket"}, exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startTypist(t, append(test.flags, "--ack", web.URL)...)
			if test.code == exitOK {
				c.say("hello")
			}
			if code := c.ends(); code != test.code {
				t.Errorf("exit %d: %s%s", code, c.out, c.errors)
			}
			if test.code == exitError {
				c.sees("certificate")
			}
		})
	}
}

// records are the lines of --json.
func (p *typist) records() (types []string, all []map[string]any) {
	p.t.Helper()
	for line := range strings.Lines(p.out.String()) {
		var r map[string]any
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			p.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
		types = append(types, fmt.Sprint(r["type"]))
	}
	return types, all
}

// TestConnect_Reconnects loses the connection while lines are typed; nothing is lost.
func TestConnect_Reconnects(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{Recovery: &sockeye.Recovery{}})
	proxy := testkit.StartProxy(t, p.addr)
	c := startTypist(t, "--json", proxy.Addr)
	c.say("before")
	p.want("message before")
	proxy.Cut()
	c.sees(`"reconnecting"`)
	c.say("while away", "/ack e while away")
	proxy.Heal()
	p.want("message before", "message while away", "e while away")
	c.say("after")
	if code := c.ends(); code != exitOK {
		t.Errorf("exit %d: %s", code, c.errors)
	}
	p.want("message before", "message while away", "e while away", "message after")
	types, all := c.records()
	slices.Sort(types[1:])
	if want := []string{"connect", "ack", "connect", "disconnect", "reconnecting"}; !slices.Equal(slices.Compact(types), want) {
		t.Errorf("%q", types)
	}
	if first := all[0]; first["id"] == "" || first["namespace"] != "/" || first["recovered"] != false {
		t.Errorf("%v", first)
	}
	for _, text := range []string{"connected to ", "disconnected: transport ", "connecting again, attempt 1", "connected again to "} {
		c.sees(text)
	}
}

// TestConnect_ServerRestarts kills the process of the server and starts it again.
func TestConnect_ServerRestarts(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	serve := func() *testkit.Child {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "serve", "--addr", addr)
		cmd.Env = append(os.Environ(), commandVariable+"=1")
		child := testkit.StartChild(t, cmd)
		testkit.Eventually(t, "the server to listen", func() bool {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err == nil {
				_ = c.Close() // it was only tried
			}
			return err == nil
		})
		return child
	}
	server := serve()
	c := startTypist(t, "--json", addr)
	c.sees("connected to")
	server.Kill()
	c.sees("connecting again, attempt 1")
	serve()
	c.sees("connected again")
	if code := c.ends(); code != exitOK {
		t.Errorf("exit %d: %s", code, c.errors)
	}
	types, _ := c.records()
	types = slices.DeleteFunc(types, func(s string) bool { return s == "event" })
	slices.Sort(types[1:])
	if want := []string{"connect", "connect", "disconnect", "reconnecting"}; !slices.Equal(types[:min(len(types), 4)], want) {
		t.Errorf("%q", types)
	}
}

func TestConnect_NoReconnect(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	proxy := testkit.StartProxy(t, p.addr)
	c := startTypist(t, "--no-reconnect", "-q", proxy.Addr)
	c.say("hello")
	p.want("message hello")
	proxy.Cut()
	if code := <-c.code; code != exitError || !strings.HasPrefix(c.errors.String(), "sockeye: the connection to "+proxy.Addr+" is lost: ") {
		t.Errorf("exit %d: %s", code, c.errors)
	}
}

// TestConnect_Interrupted: a signal ends it, whatever it waits for.
func TestConnect_Interrupted(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	silent := testkit.StartProxy(t, p.addr)
	silent.Hang(testkit.ToServer)
	for name, test := range map[string]struct {
		args  []string
		line  string
		ready func(c *typist)
	}{
		"connecting":       {[]string{silent.Addr}, "", func(*typist) { testkit.Eventually(t, "a connection", func() bool { return silent.Connections() > 0 }) }},
		"idle":             {[]string{p.addr}, "", func(c *typist) { c.sees("connected to") }},
		"listening":        {[]string{"-l", p.addr}, "", func(c *typist) { c.sees("connected to") }},
		"acknowledgements": {[]string{"--ack", p.addr}, "/emit mute", func(c *typist) { c.sees("connected to") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startTypist(t, test.args...)
			if test.line != "" {
				c.say(test.line)
				if err := c.pipe.Close(); err != nil {
					t.Error(err)
				}
			}
			test.ready(c)
			c.cancel()
			if code := <-c.code; code != exitInterrupted {
				t.Errorf("exit %d: %s", code, c.errors)
			}
		})
	}
}

// TestConnect_Replies answers the server by hand.
func TestConnect_Replies(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	c := startTypist(t, p.addr)
	c.say("/emit \"ask me\"")
	c.sees("/reply 1 ARGUMENTS")
	c.say("/reply 2 no", "/reply x", "/reply 1 42", "/reply 1 43")
	c.sees("answer [42]\n")
	if code := c.ends(); code != exitError {
		t.Errorf("exit %d: %s", code, c.errors)
	}
	for _, text := range []string{"no event 2 waits", "/reply needs", "has ended the connection"} {
		c.sees(text)
	}
	if strings.Contains(c.out.String(), "43") {
		t.Errorf("%s", c.out)
	}
}

// TestConnect_Wait prints what comes after the end of input.
func TestConnect_Wait(t *testing.T) {
	t.Parallel()
	p := startPartner(t, sockeye.Config{})
	c := startTypist(t, "--wait", "1h", "-q", p.addr)
	c.say("hello")
	if err := c.pipe.Close(); err != nil {
		t.Error(err)
	}
	p.want("message hello")
	if err := p.Emit("late", "news"); err != nil {
		t.Fatal(err)
	}
	c.sees("late news\n")
	if err := p.To().Disconnect(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if code := <-c.code; code != exitError {
		t.Errorf("exit %d: %s", code, c.errors)
	}
}
