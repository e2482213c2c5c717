package sockeye_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
	"github.com/sockeye-io/sockeye/parser/msgpack"
)

// recorded is a session of an official client with an official server: the messages of its engine connection, in
// order.
type recorded struct {
	Name   string
	Query  string
	End    string // who closed the connection first, "" if nobody did
	Frames []struct{ From, Text, Binary string }
}

// TestSessions_Recorded says what the client of each session said, and wants to hear what it heard.
func TestSessions_Recorded(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/sessions.json")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []recorded
	decode(t, string(text), &sessions)
	if len(sessions) < 9 {
		t.Fatalf("%d sessions", len(sessions))
	}
	for _, s := range sessions {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			cfg := sockeye.Config{AllowEIO3: strings.Contains(s.Query, "EIO=3")}
			if strings.Contains(s.Name, "msgpack") {
				cfg.Parser = msgpack.New()
			}
			b := setup(t, cfg)
			recordedServer(b, strings.Contains(s.Name, "root middleware"))
			dial := engineio.DialConfig{Protocol: 4}
			if cfg.AllowEIO3 {
				dial.Protocol = 3
			}
			p := b.dialWith(dial, "?"+s.Query)
			for i, f := range s.Frames {
				bin, err := hex.DecodeString(f.Binary)
				if err != nil {
					t.Fatal(err)
				}
				switch {
				case f.From == "client":
					if err := p.conn.Send(append([]byte(f.Text), bin...), f.Binary != ""); err != nil {
						t.Fatal(err)
					}
				case f.Binary != "" && cfg.Parser != nil:
					if m := p.receive(); unpacked(t, m.binary) != unpacked(t, bin) {
						t.Fatalf("frame %d: received %x (%s), want %x (%s)", i, m.binary, unpacked(t, m.binary), bin, unpacked(t, bin))
					}
				case f.Binary != "":
					p.wantBinary(string(bin))
				default:
					if got := p.next(); withoutSID(got) != withoutSID(f.Text) {
						t.Fatalf("frame %d: received %q, want %q", i, got, f.Text)
					}
				}
			}
			if s.End == "server" {
				p.ended()
			}
		})
	}
}

var sids = regexp.MustCompile(`"sid":"[A-Za-z0-9_-]{20}"`)

func withoutSID(s string) string { return sids.ReplaceAllString(s, `"sid":"..."`) }

// unpacked describes a packet of the MessagePack codec. Official servers put a pid without a value beside the sid.
func unpacked(t *testing.T, b []byte) string {
	t.Helper()
	var p parser.Packet
	if done, err := msgpack.New().NewDecoder(parser.Limits{}, 5).Add(&p, b, true); !done || err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	var data any
	if !p.Data.IsZero() {
		var err error
		if data, err = p.Data.Any(); err != nil {
			t.Fatal(err)
		}
	}
	if m, ok := data.(map[string]any); ok {
		delete(m, "pid")
	}
	args := make([]any, len(p.Args))
	for i, a := range p.Args {
		var err error
		if args[i], err = a.Any(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal([]any{p.Type, p.Namespace, p.HasID, p.ID, p.Event, args, data})
	if err != nil {
		t.Fatal(err)
	}
	return withoutSID(string(text))
}

// recordedServer does what the application of the recorded servers did.
func recordedServer(b *bundle, refuse bool) {
	echo(b)
	if refuse {
		b.Use(func(context.Context, *sockeye.Socket) error { return errors.New("root refused") })
	}
	on := func(event string, f func(ctx context.Context, s *sockeye.Socket) error) {
		b.On(event, sockeye.HandlerFunc(func(ctx context.Context, _ *sockeye.Message) error {
			return f(ctx, sockeye.SocketFrom(ctx))
		}))
	}
	on("ask", func(ctx context.Context, s *sockeye.Socket) error {
		_, err := s.EmitWithAck(ctx, "question", 1)
		return err
	})
	on("ask timeout", func(ctx context.Context, s *sockeye.Socket) error {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		_, err := s.EmitWithAck(ctx, "never")
		return err
	})
	on("cast", func(_ context.Context, s *sockeye.Socket) error {
		return errors.Join(b.Emit("all", 1), s.Compress(false).Emit("nocomp"))
	})
	on("cast ack", func(ctx context.Context, _ *sockeye.Socket) error {
		_, err := b.Of("/").All().EmitWithAck(ctx, "bq", "x")
		return err
	})
	on("leave me", func(_ context.Context, s *sockeye.Socket) error { return s.Disconnect(false) })
	on("kill me", func(_ context.Context, s *sockeye.Socket) error { return s.Disconnect(true) })

	welcome := func(_ context.Context, s *sockeye.Socket) {
		_ = s.Emit("welcome") // the client may be gone
	}
	b.Of("/chat").OnConnection(welcome)
	b.Of("/query")
	b.Of("/\u00e9t\u00e9")
	b.OfRegexp(regexp.MustCompile(`^/room-\d+$`)).OnConnection(welcome)
	b.OfFunc(func(_ context.Context, name string, auth parserArg) error {
		var a struct{ OK string }
		if name != "/fn" || auth.Scan(&a) != nil || a.OK != "1" {
			return errors.New("no")
		}
		return nil
	}).OnConnection(welcome)
	b.Of("/locked").Use(func(_ context.Context, s *sockeye.Socket) error {
		refusal := &sockeye.ConnectError{Message: "not authorized"}
		var a struct{ WithData bool }
		if s.Auth(&a) == nil && a.WithData {
			refusal.Data = refusalData{"E_AUTH", new(bool)}
		}
		return refusal
	})
	b.Of("/lockdata").Use(func(context.Context, *sockeye.Socket) error {
		return &sockeye.ConnectError{Message: "not authorized", Data: refusalData{Code: "E_AUTH"}}
	})
}

type refusalData struct {
	Code  string `json:"code"`
	Retry *bool  `json:"retry,omitempty"`
}
