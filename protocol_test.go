package sockeye_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// protocolServer behaves as the black-box suite of the protocol wants it.
func protocolServer(t *testing.T, cfg sockeye.Config) *bundle {
	t.Helper()
	b := setup(t, cfg)
	handle := func(n *sockeye.Namespace) {
		n.OnConnection(func(_ context.Context, s *sockeye.Socket) {
			auth := parser.RawJSON([]byte("{}"))
			if err := s.Auth(&auth); err != nil {
				t.Error(err)
			}
			_ = s.Emit("auth", auth)
		})
		back := func(ctx context.Context, m *sockeye.Message) error {
			args := make([]any, len(m.Args()))
			for i, a := range m.Args() {
				args[i] = a
			}
			if m.Event == "message-with-ack" {
				return m.Ack(args...)
			}
			return sockeye.SocketFrom(ctx).Emit("message-back", args...)
		}
		n.On("message", sockeye.HandlerFunc(back))
		n.On("message-with-ack", sockeye.HandlerFunc(back))
	}
	handle(b.Of("/"))
	handle(b.Of("/custom"))
	return b
}

// TestProtocol has the cases of the protocol's black-box suite, each against a connection that has joined nothing.
func TestProtocol(t *testing.T) {
	t.Parallel()
	b := protocolServer(t, sockeye.Config{})
	joined := func(f func(p *peer)) func(p *peer) {
		return func(p *peer) {
			p.join("/", "")
			p.want(`2["auth",{}]`)
			f(p)
		}
	}
	tests := map[string]func(p *peer){
		"connect to the main namespace": func(p *peer) {
			if id := p.join("/", ""); len(id) != 20 {
				t.Errorf("id %q", id)
			}
			p.want(`2["auth",{}]`)
		},
		"connect to the main namespace with a payload": func(p *peer) {
			p.join("/", `{"token":"123"}`)
			p.want(`2["auth",{"token":"123"}]`)
		},
		"connect to a custom namespace": func(p *peer) {
			p.join("/custom", "")
			p.want(`2/custom,["auth",{}]`)
		},
		"connect to a custom namespace with a payload": func(p *peer) {
			p.join("/custom", `{"token":"abc"}`)
			p.want(`2/custom,["auth",{"token":"abc"}]`)
		},
		"refuse an unknown namespace": func(p *peer) {
			p.send("0/random")
			p.want(`4/random,{"message":"Invalid namespace"}`)
		},
		"refuse an invalid handshake": func(p *peer) {
			p.send("4abc")
			p.ended()
		},
		"refuse an event before connecting": func(p *peer) {
			p.send(`2["message"]`)
			p.ended()
		},
		"close on a second connect": joined(func(p *peer) {
			p.send("0")
			p.ended()
		}),
		"disconnect, then connect again": joined(func(p *peer) {
			p.send("1")
			p.join("/", "")
			p.want(`2["auth",{}]`)
		}),
		"disconnect one of two namespaces": joined(func(p *peer) {
			p.join("/custom", "")
			p.want(`2/custom,["auth",{}]`)
			p.send("1/custom", `2["message","message to main namespace"]`)
			p.want(`2["message-back","message to main namespace"]`)
		}),
		"multiplex": joined(func(p *peer) {
			p.join("/custom", "")
			p.want(`2/custom,["auth",{}]`)
			p.send(`2/custom,["message","a"]`)
			p.want(`2/custom,["message-back","a"]`)
			p.send(`2["message","b"]`)
			p.want(`2["message-back","b"]`)
		}),
		"plain text": joined(func(p *peer) {
			p.send(`2["message",1,"2",{"3":[true]}]`)
			p.want(`2["message-back",1,"2",{"3":[true]}]`)
		}),
		"binary": joined(func(p *peer) {
			p.send(`52-["message",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]`)
			p.sendBinary([]byte{1, 2, 3})
			p.sendBinary([]byte{4, 5, 6})
			p.want(`52-["message-back",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}}]`)
			p.wantBinary("\x01\x02\x03")
			p.wantBinary("\x04\x05\x06")
		}),
		"acknowledge plain text": joined(func(p *peer) {
			p.send(`2456["message-with-ack",1,"2",{"3":[false]}]`)
			p.want(`3456[1,"2",{"3":[false]}]`)
		}),
		"acknowledge binary": joined(func(p *peer) {
			p.send(`52-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			p.sendBinary([]byte{1, 2, 3})
			p.sendBinary([]byte{4, 5, 6})
			p.want(`62-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
			p.wantBinary("\x01\x02\x03")
			p.wantBinary("\x04\x05\x06")
		}),
		"close on an invalid packet":                 joined(func(p *peer) { p.send("abc"); p.ended() }),
		"close on an unknown packet type":            joined(func(p *peer) { p.send("8"); p.ended() }),
		"close on an event that is no array":         joined(func(p *peer) { p.send(`2{}`); p.ended() }),
		"close on an event without name":             joined(func(p *peer) { p.send(`2[]`); p.ended() }),
		"close on an event name that is an object":   joined(func(p *peer) { p.send(`2[{"toString":"foo"}]`); p.ended() }),
		"close on an event whose payload is cut":     joined(func(p *peer) { p.send(`2["message"`); p.ended() }),
		"close on a reserved name":                   joined(func(p *peer) { p.send(`2["disconnecting"]`); p.ended() }),
		"close on a disconnect with payload":         joined(func(p *peer) { p.send(`1{}`); p.ended() }),
		"close on a connect with a string":           func(p *peer) { p.send(`0"x"`); p.ended() },
		"close on an acknowledgement of no array":    joined(func(p *peer) { p.send(`31{}`); p.ended() }),
		"close on an event of an unjoined namespace": joined(func(p *peer) { p.send(`2/custom,["message"]`); p.ended() }),
		"close on binary without a packet":           joined(func(p *peer) { p.sendBinary([]byte{1}); p.ended() }),
		"close on text instead of an attachment": joined(func(p *peer) {
			p.send(`51-["message",{"_placeholder":true,"num":0}]`, `2["message"]`)
			p.ended()
		}),
		"close on an attachment that is not there": joined(func(p *peer) {
			p.send(`51-["message",{"_placeholder":true,"num":1}]`)
			p.sendBinary([]byte{1})
			p.ended()
		}),
		"close on too many attachments": joined(func(p *peer) { p.send(`511-["message"]`); p.ended() }),
		"close on a huge id": joined(func(p *peer) {
			p.send("2" + strings.Repeat("1", 400) + `["message"]`)
			p.ended()
		}),
	}
	for name, f := range tests {
		for _, transport := range []string{"websocket", "polling"} {
			t.Run(name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				sub := *b
				sub.t = t
				f(sub.dialWith(engineio.DialConfig{Transports: []string{transport}}, ""))
			})
		}
	}
}

func TestConfig_ConnectTimeout(t *testing.T) {
	t.Parallel()
	b := protocolServer(t, sockeye.Config{ConnectTimeout: testkit.Scale(time.Second)}) // p must join in time
	p := b.dial()
	p.join("/", "")
	p.want(`2["auth",{}]`)
	p.send("1")
	silent, lost := b.dial(), b.dial()
	lost.send("0/random")
	lost.want(`4/random,{"message":"Invalid namespace"}`)
	silent.ended()
	lost.ended()
	// One that has joined is not closed: were it, this would be its first message.
	p.join("/", "")
}

// TestOddPackets has what official servers do with odd packets that come after CONNECT.
func TestOddPackets(t *testing.T) {
	t.Parallel()
	b := protocolServer(t, sockeye.Config{})
	echo(b)
	open := map[string]string{ // to what comes before the answer to the next event
		`2`: "", `2[1]`: "", `3`: "", `31`: "", `3[]`: "", `31[]`: "", `2["error"]`: "", `2["error","x"]`: "",
		`2["connection"]`: "", `2["__proto__"]`: "",
		`0/nope,`:                     `4/nope,{"message":"Invalid namespace"}`,
		`2["echo",{"__proto__":"x"}]`: `2["echo",{"__proto__":"x"}]`,
	}
	for packet, answer := range open {
		p := b.dial()
		p.join("/", "")
		p.want(`2["auth",{}]`)
		p.send(packet)
		if answer != "" {
			p.want(answer)
		}
		p.quiet()
	}
	for _, packet := range []string{
		``, ` `, `9x`, `2{}`, `2[]`, `2[null]`, `2[true]`, `4`, `4"x"`, `5-["x"]`, `50-["x"]`, `51-`, `5`, `51`, `5a-`,
		`51.23-`, `5-1-`, `45999999999-["x"]`, `0/`, `0`, `0,{}`, `7`, `8`, `3{}`, `2["connect"]`, `2["connect_error"]`,
		`2["disconnect"]`, `2["disconnecting"]`, `2["newListener"]`, `2["removeListener"]`, `1/nope,`, `2/nope,["x"]`,
		`29007199254740993["x"]`,
	} {
		p := b.dial()
		p.join("/", "")
		p.want(`2["auth",{}]`)
		p.send(packet)
		if m := p.receive(); m.closed == "" {
			t.Errorf("%q: received %q, want the end of the connection", packet, m.text)
		}
	}
	// A DISCONNECT, and then an event of a namespace that is not joined any more.
	p := b.dial()
	p.join("/", "")
	p.want(`2["auth",{}]`)
	p.send(`1`, `2["echo"]`)
	p.ended()
	testkit.Eventually(t, "connections are gone", func() bool { return b.Conns() <= len(open) })
}
