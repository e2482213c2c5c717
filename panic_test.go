package sockeye_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// bomb panics when it is encoded or decoded.
type bomb struct{}

func (bomb) MarshalJSON() ([]byte, error) { panic("encoding") }
func (*bomb) UnmarshalJSON([]byte) error  { panic("decoding") }

// Each kind of function of the application may panic: the process lives, another socket is not affected, and
// the panic is reported.
func TestPanics(t *testing.T) {
	t.Parallel()
	type env struct {
		b    *bundle
		p    *peer
		s    *sockeye.Socket
		next <-chan *sockeye.Socket
	}
	evil := func(r *http.Request) bool { return r != nil && strings.Contains(r.URL.RawQuery, "evil") }
	refused := func(e env, header http.Header) {
		_, err := engineio.Dial(t.Context(), e.b.url+"?evil=1", engineio.DialConfig{Header: header}, &peer{t: t, in: make(chan message, 8)})
		if err == nil {
			t.Error("let in by a panic")
		}
	}
	tests := map[string]struct {
		cfg  sockeye.Config
		do   func(e env)
		in   string // what the report names; "" if it is left to another package
		none bool   // nothing to report
	}{
		"connection middleware": {do: func(e env) {
			e.b.Of("/x").Use(func(context.Context, *sockeye.Socket) error { panic("x") })
			e.p.send("0/x,")
			e.p.want(`4/x,{"message":"Internal error"}`)
		}, in: "connection middleware"},
		"OnConnection": {do: func(e env) {
			e.b.Of("/x").OnConnection(func(context.Context, *sockeye.Socket) { panic("x") })
			e.p.join("/x", "")
		}, in: "connection listener"},
		"On": {do: func(e env) {
			e.s.On("x", handlerFunc(func(context.Context, *sockeye.Message) error { panic("x") }))
			e.p.send(`2["x"]`)
		}, in: "handler"},
		"OnAny": {do: func(e env) {
			off := e.s.OnAny(handlerFunc(func(context.Context, *sockeye.Message) error { panic("x") }))
			e.s.On("x", handlerFunc(func(context.Context, *sockeye.Message) error { off(); return nil }))
			e.p.send(`2["x"]`)
		}, in: "catch-all handler"},
		"UseEvent": {do: func(e env) {
			e.s.UseEvent(func(next sockeye.Handler) sockeye.Handler {
				return handlerFunc(func(ctx context.Context, m *sockeye.Message) error {
					if m.Event == "x" {
						panic("x")
					}
					return next.ServeEvent(ctx, m)
				})
			})
			e.p.send(`2["x"]`)
		}, in: "event middleware"},
		"OnAnyOutgoing": {do: func(e env) {
			off := e.s.OnAnyOutgoing(func(string, []any) { panic("x") })
			_ = e.s.Emit("x")
			e.p.want(`2["x"]`)
			off()
		}, in: "outgoing listener"},
		"OnAnyOutgoing of a broadcast": {do: func(e env) {
			e.s.OnAnyOutgoing(func(event string, _ []any) {
				if event == "x" {
					panic("x")
				}
			})
			_ = e.b.To(e.s.ID()).Emit("x")
			e.p.want(`2["x"]`)
		}, in: "outgoing listener"},
		"OnDisconnecting": {do: func(e env) {
			e.s.OnDisconnecting(func(sockeye.Reason) { panic("x") })
			e.p.send(`1`)
			e.p.join("/", "")
		}, in: "disconnecting listener"},
		"OnDisconnect": {do: func(e env) {
			e.s.OnDisconnect(func(sockeye.Reason) { panic("x") })
			e.p.send(`1`)
			e.p.join("/", "")
		}, in: "disconnect listener"},
		"OnRoom": {do: func(e env) {
			e.b.Of("/").OnRoom(func(r sockeye.RoomEvent) {
				if r.Room == "x" {
					panic("x")
				}
			})
			_ = e.s.Join("x")
		}, in: "room listener"},
		"OfFunc": {do: func(e env) {
			e.b.OfFunc(func(context.Context, string, parserArg) error { panic("x") })
			e.p.send("0/x,")
			e.p.want(`4/x,{"message":"Invalid namespace"}`)
		}, in: "function of a dynamic namespace"},
		"argument of an acknowledgement": {do: func(e env) {
			e.s.On("x", handlerFunc(func(_ context.Context, m *sockeye.Message) error { return m.Ack(bomb{}) }))
			e.p.send(`21["x"]`)
		}, in: "handler"},
		"argument of an event": {do: func(e env) {
			e.s.On("x", handlerFunc(func(_ context.Context, m *sockeye.Message) error { var b bomb; return m.Scan(&b) }))
			e.p.send(`2["x",1]`)
		}, in: "handler"},
		"AllowRequest": {cfg: sockeye.Config{AllowRequest: func(r *http.Request) error {
			if evil(r) {
				panic("x")
			}
			return nil
		}}, do: func(e env) { refused(e, nil) }},
		"Origin.AllowFunc": {cfg: sockeye.Config{Origin: sockeye.OriginPolicy{AllowFunc: func(*http.Request, string) bool {
			panic("x")
		}}}, do: func(e env) { refused(e, http.Header{"Origin": {"https://elsewhere.example"}}) }},
		"ConnectionError hook": {cfg: sockeye.Config{
			AllowRequest: func(r *http.Request) error {
				if evil(r) {
					return errors.New("no")
				}
				return nil
			},
			Hooks: sockeye.Hooks{ConnectionError: func(*http.Request, int, string) { panic("x") }},
		}, do: func(e env) { refused(e, nil) }, in: "connection error hook"},
		"Headers hook": {cfg: sockeye.Config{Hooks: sockeye.Hooks{Headers: func(_ http.Header, r *http.Request) {
			if evil(r) {
				panic("x")
			}
		}}}, do: func(e env) {
			// Whether the request fails is not important.
			c, err := engineio.Dial(t.Context(), e.b.url+"?evil=1", engineio.DialConfig{}, &peer{t: t, in: make(chan message, 8)})
			if err == nil {
				_ = c.Close()
			}
		}},
		"Error hook": {cfg: sockeye.Config{Hooks: sockeye.Hooks{Error: func(context.Context, error) { panic("x") }}}, do: func(e env) {
			e.s.On("x", handlerFunc(func(context.Context, *sockeye.Message) error { return errors.New("x") }))
			e.p.send(`2["x"]`)
		}, none: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, tt.cfg)
			echo(b)
			c := sockets(b)
			other, _ := b.connect()
			get(t, "socket", c)
			p, _ := b.connect()
			tt.do(env{b, p, get(t, "socket", c), c})
			p.quiet()
			other.quiet()
			if tt.none {
				return
			}
			testkit.Eventually(t, "the panic is reported", func() bool { return len(b.faults.all()) > 0 })
			if in := b.faults.panics(); tt.in != "" && !slices.Contains(in, tt.in) {
				t.Errorf("reported %v, want a panic in %q", b.faults.all(), tt.in)
			}
		})
	}
}

func TestPanicError(t *testing.T) {
	t.Parallel()
	lines := &logs{}
	b := setup(t, sockeye.Config{Logger: lines.logger()})
	cause := errors.New("cause")
	b.On("x", handlerFunc(func(context.Context, *sockeye.Message) error { panic(cause) }))
	echo(b)
	p, id := b.connect()
	p.send(`2["x"]`)
	p.quiet()
	var pe *sockeye.PanicError
	var ee *sockeye.EventError
	err := errors.Join(b.faults.all()...)
	if !errors.As(err, &pe) || !errors.As(err, &ee) || !errors.Is(pe.Value.(error), cause) || len(pe.Stack) == 0 || ee.Event != "x" {
		t.Fatalf("reported %v", err)
	}
	if got, want := ee.Error(), `sockeye: event "x": sockeye: panic in handler: cause`; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if text := lines.String(); !strings.Contains(text, `"level":"ERROR"`) || !strings.Contains(text, id) || !strings.Contains(text, "panic_test.go") {
		t.Errorf("logged %s", text)
	}
}
