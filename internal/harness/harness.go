// Package harness builds and runs programs of this module for tests, as a user would: the examples and sockeye itself.
package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// Replacement is a text of main.go that must be another one in a test, such as an address that may be taken.
type Replacement struct{ Old, New string }

// Build builds the program in a directory, "." or relative to it, and gives its path. The tests of a package share what is
// built in the same way.
func Build(t testing.TB, dir string, replaced ...Replacement) string {
	t.Helper()
	made, _ := builds.LoadOrStore(fmt.Sprintf("%q %q", dir, replaced), &build{})
	b, _ := made.(*build)
	b.once.Do(func() { b.bin, b.err = buildIn(dir, filepath.Join(testkit.SharedDir(t), rand.Text()), replaced) })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.bin
}

var builds sync.Map // of *build

type build struct {
	once sync.Once
	bin  string
	err  error
}

// buildIn builds into a new directory. No test's end ends it, as others wait for it too.
func buildIn(dir, into string, replaced []Replacement) (bin string, err error) {
	if err := os.Mkdir(into, 0o700); err != nil {
		return "", err
	}
	bin = filepath.Join(into, "program")
	args := []string{"build", "-buildvcs=false", "-o", bin}
	if len(replaced) > 0 {
		list, err := overlay(into, filepath.Join(dir, "main.go"), replaced)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", list)
	}
	cmd := exec.CommandContext(context.Background(), "go", append(args, ".")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// overlay writes the file with other texts in it, and what tells the compiler of it.
func overlay(tmp, file string, replaced []Replacement) (list string, err error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for _, r := range replaced {
		if !bytes.Contains(source, []byte(r.Old)) {
			return "", fmt.Errorf("%s does not contain %q", file, r.Old)
		}
		source = bytes.Replace(source, []byte(r.Old), []byte(r.New), 1)
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	other, list := filepath.Join(tmp, "main.go"), filepath.Join(tmp, "overlay.json")
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{path: other}})
	if err != nil {
		return "", err
	}
	return list, errors.Join(os.WriteFile(other, source, 0o600), os.WriteFile(list, content, 0o600))
}

// Program is a running program.
type Program struct {
	*testkit.Child

	URL string // the first that it printed

	mu  sync.Mutex
	out []string
}

// Start starts a program and waits until it has printed an address such as http://127.0.0.1:3000. It dies with the test.
func Start(t testing.TB, bin string, args ...string) *Program {
	t.Helper()
	return StartCmd(t, exec.CommandContext(context.Background(), bin, args...)) // it dies with the test
}

// StartAt starts a program that prints nothing and waits until something answers at addr, a host:port.
func StartAt(t testing.TB, bin, addr string) *Program {
	t.Helper()
	p, _, done := start(t, exec.CommandContext(context.Background(), bin)) // as above
	testkit.Eventually(t, "the program answers", func() bool {
		select {
		case <-done:
			t.Fatalf("the program has ended:\n%s", strings.Join(p.Output(), "\n"))
		default:
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
	p.URL = "http://" + addr
	return p
}

// StartCmd is Start for a command that is prepared otherwise; its output is the Program's.
func StartCmd(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p, ready, done := start(t, cmd)
	select {
	case p.URL = <-ready:
	case <-done:
		t.Fatalf("%s has ended:\n%s", cmd, strings.Join(p.Output(), "\n"))
	case <-time.After(testkit.Scale(30 * time.Second)):
		t.Fatalf("%s has not printed its address", cmd)
	}
	return p
}

// start starts a program. ready brings the first address that it prints, done is closed when it has ended.
func start(t testing.TB, cmd *exec.Cmd) (p *Program, ready chan string, done chan struct{}) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	p = &Program{}
	ready, done = make(chan string, 1), make(chan struct{})
	p.Child = testkit.StartChild(t, cmd)
	_ = w.Close() // the program has its own
	go p.read(r, ready, done)
	t.Cleanup(func() {
		p.Kill()
		<-done
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), strings.Join(p.Output(), "\n"))
		}
	})
	return p, ready, done
}

// read keeps what the program prints. It ends with the program.
func (p *Program) read(r io.ReadCloser, ready chan<- string, done chan<- struct{}) {
	defer close(done)
	defer func() { _ = r.Close() }() // only read from
	found := false
	for s := bufio.NewScanner(r); s.Scan(); {
		p.mu.Lock()
		p.out = append(p.out, s.Text())
		p.mu.Unlock()
		if i := strings.Index(s.Text(), "http://"); i >= 0 && !found {
			found = true
			url, _, _ := strings.Cut(s.Text()[i:], " ")
			ready <- strings.TrimRight(url, "/.,")
		}
	}
}

// Output gives the lines that it has printed so far.
func (p *Program) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.out...)
}

// Heard is an event that a Client got.
type Heard struct {
	Event string
	Args  string // JSON
}

// Client is a client that keeps what it hears.
type Client struct {
	*client.Socket

	t     testing.TB
	heard chan Heard
}

// Connect connects a client over WebSocket; more may change its configuration.
func Connect(t testing.TB, url string, more ...func(c *client.Config)) *Client {
	t.Helper()
	c := &Client{t: t, heard: make(chan Heard, 1000)}
	config := client.Config{Setup: func(s *client.Socket) {
		s.OnAny(client.HandlerFunc(func(_ context.Context, m *client.Message) error {
			args := make([]any, len(m.Args()))
			for i := range args {
				if err := m.Args()[i].Scan(&args[i]); err != nil {
					return err
				}
			}
			text, err := json.Marshal(args)
			c.heard <- Heard{m.Event, string(text)}
			return err
		}))
	}}
	for _, f := range more {
		f(&config)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Scale(30*time.Second))
	defer cancel()
	var err error
	if c.Socket, err = client.Dial(ctx, url, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Manager().Close() }) // closed by the test, perhaps
	return c
}

// Want waits for the next event, which must be this one; args are JSON.
func (c *Client) Want(event, args string) {
	c.t.Helper()
	select {
	case got := <-c.heard:
		if got.Event != event || !sameJSON(got.Args, args) {
			c.t.Fatalf("heard %s %s, want %s %s", got.Event, got.Args, event, args)
		}
	case <-time.After(testkit.Scale(20 * time.Second)):
		c.t.Fatalf("heard nothing, want %s %s", event, args)
	}
}

// Quiet checks that nothing more was heard.
func (c *Client) Quiet() {
	c.t.Helper()
	select {
	case got := <-c.heard:
		c.t.Errorf("heard %s %s", got.Event, got.Args)
	default:
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, err1 := json.Marshal(x)
	q, err2 := json.Marshal(y)
	return err1 == nil && err2 == nil && bytes.Equal(p, q)
}

// Pending tells whether there is something that was heard and not looked at.
func (c *Client) Pending() bool { return len(c.heard) > 0 }

// Heard looks at the next of what was heard and tells whether it is this one; args are JSON, and "" stands for any. It
// waits for nothing.
func (c *Client) Heard(event, args string) bool {
	select {
	case got := <-c.heard:
		return got.Event == event && (args == "" || sameJSON(got.Args, args))
	default:
		return false
	}
}
