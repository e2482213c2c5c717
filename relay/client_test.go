package relay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// peer is a bare client: it speaks packets, so that the tests see what is on the wire.
type peer struct {
	t    *testing.T
	conn *engineio.Conn

	mu      sync.Mutex
	packets []string // binary ones as "b" and their bytes
	last    int
}

func (p *peer) OnOpen(*engineio.Conn, *http.Request) {}

func (p *peer) OnMessage(_ *engineio.Conn, data []byte, binary bool) {
	s := string(data)
	if binary {
		s = "b" + s
	}
	p.mu.Lock()
	p.packets = append(p.packets, s)
	p.mu.Unlock()
}

func (p *peer) OnClose(*engineio.Conn, engineio.Reason, error) {}

// connect opens a connection to the main namespace and gives the id of the socket.
func connect(t *testing.T, url string) (p *peer, id string) {
	t.Helper()
	p = &peer{t: t}
	conn, err := engineio.Dial(t.Context(), url+"/socket.io/", engineio.DialConfig{Transports: []string{"websocket"}}, p)
	if err != nil {
		t.Fatal(err)
	}
	p.conn = conn
	t.Cleanup(func() { _ = conn.Close() }) // the server may have closed it
	p.send("0")
	var hello struct{ SID string }
	if err := json.Unmarshal([]byte(p.wait("0")), &hello); err != nil {
		t.Fatal(err)
	}
	return p, hello.SID
}

func (p *peer) send(packet string) {
	p.t.Helper()
	if err := p.conn.Send([]byte(packet), false); err != nil {
		p.t.Fatal(err)
	}
}

// wait takes the first packet that begins so, and gives the rest of it.
func (p *peer) wait(prefix string) (rest string) {
	p.t.Helper()
	testkit.Eventually(p.t, "a packet "+prefix, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for i, s := range p.packets {
			if after, ok := strings.CutPrefix(s, prefix); ok {
				rest = after
				p.packets = append(p.packets[:i], p.packets[i+1:]...)
				return true
			}
		}
		return false
	})
	return rest
}

// call emits with an acknowledgement and gives its arguments as JSON.
func (p *peer) call(event string) string {
	p.t.Helper()
	p.last++
	p.send(fmt.Sprintf("2%d%s", p.last, event))
	return p.wait(fmt.Sprintf("3%d", p.last))
}

// want sends an event and compares its acknowledgement.
func (p *peer) want(event, ack string) {
	p.t.Helper()
	same(p.t, event, p.call(event), ack)
}

// refused sends an event and compares the code of its refusal.
func (p *peer) refused(event, code string) {
	p.t.Helper()
	var acks []struct {
		OK    *bool
		Error struct{ Code, Message string }
	}
	got := p.call(event)
	if err := json.Unmarshal([]byte(got), &acks); err != nil || len(acks) != 1 || acks[0].OK == nil {
		p.t.Fatalf("%s: ack %s: %v", event, got, err)
	}
	if *acks[0].OK || acks[0].Error.Code != code || acks[0].Error.Message == "" {
		p.t.Errorf("%s: ack %s, want code %s", event, got, code)
	}
}

// nothing checks that no event has come: the answer to a question comes after it.
func (p *peer) nothing() {
	p.t.Helper()
	p.call(`["leave","nowhere"]`)
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.packets) > 0 {
		p.t.Errorf("unexpected packets: %q", p.packets)
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%s: %s: %v", what, got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %s: %v", what, want, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

// start serves a relay.
func start(t *testing.T, c Config) (*Server, string) {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		h.Close()
	})
	return s, h.URL
}
