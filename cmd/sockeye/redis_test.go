package main

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

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
	r.Stop()
	health(`{"status":"degraded","redis":"degraded"}`)
	if status, _ := fetch(t, p.url+"/socket.io/?EIO=4&transport=polling"); status != http.StatusOK {
		t.Errorf("a new client: %d", status)
	}
	r.Start()
	health(`{"status":"ok","redis":"ok"}`)
	if code := p.stop(); code != exitOK {
		t.Errorf("exit %d: %s", code, p.errors)
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
