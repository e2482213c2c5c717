package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// build makes the program, for another Redis: the port of the example may be taken.
func build(t *testing.T, addr string) string {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	moved := bytes.Replace(source, []byte("127.0.0.1:6379"), []byte(addr), 1)
	if bytes.Equal(moved, source) {
		t.Fatal("the example does not look for Redis where the test expects it")
	}
	main, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(dir, "main.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{main: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"main.go": moved, "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bin := filepath.Join(dir, "emitter")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-overlay", filepath.Join(dir, "overlay.json"), "-o", bin, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// client keeps what it receives.
type client struct{ in chan string }

func (c client) OnOpen(*engineio.Conn, *http.Request)            {}
func (c client) OnMessage(_ *engineio.Conn, data []byte, _ bool) { c.in <- string(data) }
func (c client) OnClose(*engineio.Conn, engineio.Reason, error)  {}
func (c client) want(t *testing.T, prefix string) {
	t.Helper()
	select {
	case got := <-c.in:
		if !strings.HasPrefix(got, prefix) {
			t.Fatalf("received %q, want %q", got, prefix)
		}
	case <-time.After(testkit.Scale(10 * time.Second)):
		t.Fatal("nothing received")
	}
}

func TestEmitter(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	bin := build(t, redis.Addr)
	driver, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	io, err := sockeye.New(sockeye.Config{Adapter: redisadapter.PubSub(driver, redisadapter.PubSubOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(io)
	t.Cleanup(func() {
		if err := io.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	c := client{make(chan string, 8)}
	conn, err := engineio.Dial(t.Context(), web.URL+"/socket.io/", engineio.DialConfig{}, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	if err := conn.Send([]byte("0"), false); err != nil {
		t.Fatal(err)
	}
	c.want(t, `0{"sid":"`)

	out, err := exec.CommandContext(t.Context(), bin, "hello", "there").CombinedOutput()
	if err != nil || string(out) != "sent to 1 clients\n" {
		t.Errorf("%v\n%s", err, out)
	}
	c.want(t, `2["chat","hello there"]`)
}
