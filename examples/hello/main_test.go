package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// build makes the program, listening elsewhere: the port of the example may be taken.
func build(t *testing.T, addr string) string {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	moved := bytes.Replace(source, []byte("127.0.0.1:3000"), []byte(addr), 1)
	if bytes.Equal(moved, source) {
		t.Fatal("the example does not listen where the test expects it")
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
	bin := filepath.Join(dir, "hello")
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

func TestHello(t *testing.T) {
	t.Parallel()
	addr := testkit.FreeAddr(t)
	cmd := exec.Command(build(t, addr))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended already
		_ = cmd.Wait()         // "signal: killed" is what we want
	})
	dial := func() (client, *engineio.Conn) {
		c := client{make(chan string, 8)}
		var conn *engineio.Conn
		testkit.Eventually(t, "the server answers", func() (ok bool) {
			var err error
			conn, err = engineio.Dial(t.Context(), "http://"+addr+"/socket.io/", engineio.DialConfig{}, c)
			return err == nil
		})
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.Send([]byte("0"), false); err != nil {
			t.Fatal(err)
		}
		c.want(t, `0{"sid":"`)
		return c, conn
	}
	_, ann := dial()
	bob, _ := dial()
	if err := ann.Send([]byte(`2["chat","hello"]`), false); err != nil {
		t.Fatal(err)
	}
	bob.want(t, `2["chat","hello"]`)
}
