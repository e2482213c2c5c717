package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// TestServe_NoRedis: one clear line, without the password.
func TestServe_NoRedis(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	host, port, _ := strings.Cut(addr, ":")
	for name, test := range map[string]struct {
		env  environment
		args []string
	}{
		"flag":        {nil, []string{"--redis", "redis://user:hidden@" + addr}},
		"environment": {environment{"REDIS_HOST": host, "REDIS_PORT": port, "REDIS_PASSWORD": "hidden"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := command(t, test.env, append([]string{"serve", "--addr", "127.0.0.1:0"}, test.args...)...)
			if code != exitError || out != "" {
				t.Errorf("exit %d, %q", code, out)
			}
			if !strings.HasPrefix(errs, "sockeye: cannot use Redis at "+addr+": ") || strings.Count(errs, "\n") != 1 ||
				strings.Contains(errs, "hidden") {
				t.Errorf("says %q", errs)
			}
			t.Log(errs)
		})
	}
}

// TestServe_MuteRedis: something that accepts connections and says nothing is no Redis either.
func TestServe_MuteRedis(t *testing.T) {
	t.Parallel()
	mute := listenMute(t)
	code, _, errs := command(t, nil, "serve", "--addr", "127.0.0.1:0", "--redis", "redis://"+mute)
	if code != exitError || !strings.HasPrefix(errs, "sockeye: cannot use Redis at "+mute+": ") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d: %s", code, errs)
	}
	t.Log(errs)
}

func TestServe_WrongPassword(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	// Set afterwards: the start waits for a Redis that answers without.
	c, err := net.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("CONFIG SET requirepass other\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, len("+OK\r\n"))); err != nil {
		t.Fatal(err)
	}
	code, _, errs := command(t, nil, "serve", "--addr", "127.0.0.1:0", "--redis", "redis://:hidden@"+r.Addr)
	if code != exitError || strings.Contains(errs, "hidden") || strings.Count(errs, "\n") != 1 {
		t.Errorf("exit %d: %s", code, errs)
	}
	t.Log(errs)
}

// TestServe_RedisGoes: degraded while Redis is away, well again afterwards, serving all the time.
func TestServe_RedisGoes(t *testing.T) {
	t.Parallel()
	r := testkit.StartRedis(t)
	env := environment{"REDIS_HOST": "127.0.0.1", "REDIS_PORT": strconv.Itoa(r.Port())}
	p := serving(t, env, "--addr", "127.0.0.1:0")
	if !strings.Contains(p.out.String(), ", with Redis at "+r.Addr+"\n") {
		t.Errorf("says %q", p.out)
	}
	health := func(want string) {
		t.Helper()
		testkit.Eventually(t, "healthz says "+want, func() bool {
			status, body := fetch(t, p.url+"/healthz")
			return status == http.StatusOK && strings.TrimSpace(body) == want
		})
	}
	health(`{"status":"ok","redis":"ok"}`)
	other := serving(t, nil, "--addr", "127.0.0.1:0", "--redis", r.URL())
	a, far := join(t, p.url), join(t, other.url)
	a.send(`2["message","before"]`)
	far.want(`2["message","before"]`)
	r.Stop()
	health(`{"status":"degraded","redis":"degraded"}`)
	near := join(t, p.url)
	a.send(`2["message","alone"]`)
	near.want(`2["message","alone"]`)
	r.Start()
	health(`{"status":"ok","redis":"ok"}`)
	testkit.Eventually(t, "both servers are back", func() bool {
		_, body := fetch(t, other.url+"/healthz")
		return strings.TrimSpace(body) == `{"status":"ok","redis":"ok"}`
	})
	a.send(`2["message","after"]`)
	for _, c := range []*chatter{near, far} {
		c.want(`2["message","after"]`)
	}
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
	}
}

// chatter is a client that speaks packets.
type chatter struct {
	t    *testing.T
	conn *engineio.Conn
	in   chan string
}

func (*chatter) OnOpen(*engineio.Conn, *http.Request)                   {}
func (c *chatter) OnMessage(_ *engineio.Conn, data []byte, _ bool)      { c.in <- string(data) }
func (c *chatter) OnClose(_ *engineio.Conn, r engineio.Reason, _ error) { c.in <- string(r) }

// join connects a client to the main namespace.
func join(t *testing.T, url string) *chatter {
	t.Helper()
	c := &chatter{t: t, in: make(chan string, 100)}
	conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	c.conn = conn
	c.send("0")
	if got := <-c.in; !strings.HasPrefix(got, `0{"sid":`) {
		t.Fatalf("received %q", got)
	}
	return c
}

func (c *chatter) send(packet string) {
	c.t.Helper()
	if err := c.conn.Send([]byte(packet), false); err != nil {
		c.t.Fatal(err)
	}
}

// want waits for a packet; what was sent while Redis was away may come before it.
func (c *chatter) want(packet string) {
	c.t.Helper()
	for {
		select {
		case got := <-c.in:
			if got == packet {
				return
			}
			if got != `2["message","alone"]` {
				c.t.Fatalf("received %q, want %q", got, packet)
			}
		case <-time.After(testkit.Scale(20 * time.Second)):
			c.t.Fatalf("not received: %q", packet)
		}
	}
}

// listenMute accepts connections and keeps them, without a word.
func listenMute(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends when l is closed
		defer close(done)
		var all []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			all = append(all, c)
		}
		for _, c := range all {
			_ = c.Close() // the other side may have closed it
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // once
		<-done
	})
	return l.Addr().String()
}
