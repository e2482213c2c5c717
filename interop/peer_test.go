package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// limit bounds each command to a peer.
const limit = 20 * time.Second

// bin is binary data, obj the arguments of a command or an object in an event.
type (
	obj  = map[string]any
	list = []any
)

func bin(s string) any { return obj{"$bin": s} } // s is base64, as it travels to and from a script

// peer is a Node process that runs one of the scripts. Its methods are safe for concurrent use.
type peer struct {
	t      testing.TB
	script string
	in     io.WriteCloser

	process *os.Process

	mu      sync.Mutex
	last    int
	pending map[int]chan reply
	gone    error
}

type reply struct {
	ID    int             `json:"id"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
}

// startPeer starts node/<script> and ends it with the test.
func startPeer(t testing.TB, script string) *peer {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		testkit.Need(t, "node on the PATH")
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "socket.io-client")); err != nil {
		testkit.Need(t, "the npm packages of interop/node (make setup)")
	}
	cmd := exec.Command(node, filepath.Join("node", script))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, script: script, in: in, process: cmd.Process, pending: make(map[int]chan reply)}
	done := make(chan struct{})
	go p.read(out, done)
	t.Cleanup(func() {
		_ = in.Close() // asks the script to end
		select {
		case <-done:
		case <-time.After(testkit.Scale(5 * time.Second)):
			_ = cmd.Process.Kill()
			<-done
		}
		_ = cmd.Wait()
	})
	return p
}

// read takes the answers. It ends when the process has closed its output.
func (p *peer) read(out io.Reader, done chan<- struct{}) {
	defer close(done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", p.script, lines.Text()) // something a library printed
			continue
		}
		p.mu.Lock()
		c := p.pending[r.ID]
		delete(p.pending, r.ID)
		p.mu.Unlock()
		if c != nil {
			c <- r
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = errors.Join(errors.New("the process has ended"), lines.Err())
	for _, c := range p.pending {
		close(c)
	}
	p.pending = nil
}

// try sends a command and gives its value.
func (p *peer) try(name string, args obj) (json.RawMessage, error) {
	c := make(chan reply, 1)
	p.mu.Lock()
	if p.gone != nil {
		p.mu.Unlock()
		return nil, p.gone
	}
	p.last++
	line := obj{"id": p.last, "do": name}
	for k, v := range args {
		if k == "id" || k == "do" {
			panic("reserved key")
		}
		line[k] = v
	}
	p.pending[p.last] = c
	b, err := json.Marshal(line)
	if err == nil {
		_, err = p.in.Write(append(b, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Scale(limit))
	defer cancel()
	select {
	case r, ok := <-c:
		switch {
		case !ok:
			return nil, errors.New("the process has ended")
		case r.Error != "":
			return nil, errors.New(r.Error)
		}
		return r.Value, nil
	case <-ctx.Done():
		return nil, errors.New("no answer in time")
	}
}

// do sends a command, stores its value in dst unless that is nil, and fails the test on an error.
func (p *peer) do(name string, args obj, dst any) {
	p.t.Helper()
	v, err := p.try(name, args)
	if err != nil {
		p.t.Fatalf("%s: %s %v: %v", p.script, name, args, err)
	}
	if dst == nil {
		return
	}
	if err := json.Unmarshal(v, dst); err != nil {
		p.t.Fatalf("%s: %s %v: %s: %v", p.script, name, args, v, err)
	}
}

// socket is a client in a peer.
type socket struct {
	p    *peer
	name string
}

// open makes a client; see client.mjs. Keys of more: generation (default 4), options, msgpack, over.
func (p *peer) open(name, url string, more obj) socket {
	p.t.Helper()
	args := obj{"name": name, "url": url, "generation": 4, "options": obj{}}
	maps.Copy(args, more)
	p.do("open", args, nil)
	return socket{p, name}
}

// connected waits for the connection and gives the id.
func (s socket) connected() string {
	s.p.t.Helper()
	var got []struct{ ID string }
	s.p.do("wait", obj{"name": s.name, "kind": "connect", "count": 1}, &got)
	return got[0].ID
}

// wait gives the first count values of a kind: "event:<name>" (lists of arguments), "disconnect" (reasons), …
func (s socket) wait(kind string, count int) list {
	s.p.t.Helper()
	var got list
	v, err := s.p.try("wait", obj{"name": s.name, "kind": kind, "count": count})
	if err != nil {
		log, lerr := s.p.try("log", obj{"name": s.name})
		s.p.t.Fatalf("%s waits for %d of %q: %v; it has %s %v", s.name, count, kind, err, log, lerr)
	}
	if err := json.Unmarshal(v, &got); err != nil {
		s.p.t.Fatal(err)
	}
	return got
}

// want checks the arguments of the first event of a name.
func (s socket) want(event string, args ...any) {
	s.p.t.Helper()
	same(s.p.t, s.name+" gets "+event, s.wait("event:"+event, 1)[0], emptyNotNil(args))
}

func (s socket) emit(event string, args ...any) {
	s.p.t.Helper()
	s.p.do("emit", obj{"name": s.name, "event": event, "args": emptyNotNil(args)}, nil)
}

// call emits with an acknowledgement and gives its arguments.
func (s socket) call(event string, args ...any) list {
	s.p.t.Helper()
	var got list
	s.p.do("call", obj{"name": s.name, "event": event, "args": emptyNotNil(args)}, &got)
	return got
}

func (s socket) disconnect() { s.p.do("disconnect", obj{"name": s.name}, nil) }

// transport is "polling" or "websocket".
func (s socket) transport() string {
	s.p.t.Helper()
	var got struct{ Transport string }
	s.p.do("state", obj{"name": s.name}, &got)
	return got.Transport
}

// events gives the names of the events that came, in order, with those of one name alone if any are given.
func (s socket) events() []string {
	s.p.t.Helper()
	var got []struct{ Kind string }
	s.p.do("log", obj{"name": s.name}, &got)
	var names []string
	for _, e := range got {
		if name, ok := strings.CutPrefix(e.Kind, "event:"); ok {
			names = append(names, name)
		}
	}
	return names
}

func emptyNotNil(args []any) []any {
	if args == nil {
		return []any{}
	}
	return args
}

// same compares by way of JSON, so that 1 and 1.0 or a struct and its map are equal.
func same(t testing.TB, what string, got, want any) {
	t.Helper()
	if g, w := plain(t, got), plain(t, want); !reflect.DeepEqual(g, w) {
		gb, _ := json.Marshal(g) // plain has marshaled it before
		wb, _ := json.Marshal(w)
		t.Fatalf("%s:\n got %s\nwant %s", what, gb, wb)
	}
}

func plain(t testing.TB, v any) any {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var p any
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, ok)
}
