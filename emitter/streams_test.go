package emitter_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/rediswire"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

func TestStreams_Golden(t *testing.T) {
	t.Parallel()
	for _, v := range captures(t, "emitter-streams-0.1.1.json") {
		if v.Name == "emit: namespace without leading slash" {
			continue // its entries reach nobody
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			e, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{StreamName: "sn"})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if err := actions[v.Name](limited(t), e); err != nil {
				t.Fatal(err)
			}
			got := hub.Entries("sn")
			if want := v.Commands[0].Args; len(got) != 1 || !slices.Equal(got[0].Fields, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// Entries go where the servers look that spread namespaces over several streams.
func TestStreams_Count(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{StreamName: "s", StreamCount: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	names := map[string]bool{}
	for _, nsp := range []string{"/", "/a", "/chat", "/xyz", "/negative hash"} {
		name := rediswire.StreamName("s", nsp, 4)
		names[name] = true
		before := len(hub.Entries(name))
		if err := e.Of(nsp).EmitContext(limited(t), "ev"); err != nil {
			t.Fatal(err)
		}
		if n := len(hub.Entries(name)); n != before+1 {
			t.Errorf("%s: %d entries in %s", nsp, n, name)
		}
	}
	if len(names) < 2 {
		t.Error("only one stream was tried")
	}
}

// Servers with the classic adapter end when they get a question for those with streams.
func TestStreams_PrefixInUse(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	classic := redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{})
	if err := classic.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	defer classic.Close()
	open(t, classic)
	for name, test := range map[string]struct {
		o    redisadapter.StreamsOptions
		want error
	}{
		"same prefix":    {redisadapter.StreamsOptions{}, redisadapter.ErrPrefixInUse},
		"another prefix": {redisadapter.StreamsOptions{ChannelPrefix: "other"}, nil},
		"sharded":        {redisadapter.StreamsOptions{ShardedPubSub: true}, nil},
	} {
		e, err := emitter.Streams(hub.StreamDriver(), test.o)
		if err != nil {
			t.Fatal(err)
		}
		before := len(hub.Published())
		_, err = e.Count(limited(t))
		_, err2 := e.EmitWithAck(limited(t), "q")
		_, err3 := e.ServerSideEmitWithAck(limited(t), "q")
		for _, err := range []error{err, err2, err3} {
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, m := range hub.Published()[before:] {
			if test.want != nil || m.Channel == "socket.io#/#" && !m.Sharded {
				t.Errorf("%s: published on %s", name, m.Channel)
			}
		}
		if err := e.EmitContext(limited(t), "ev"); err != nil { // it goes by the stream
			t.Errorf("%s: %v", name, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An entry whose outcome is not known is there once in the end, and an equal one of another emitter, from before, is not
// taken for it.
func TestStreams_OutcomeUnknown(t *testing.T) {
	t.Parallel()
	for name, kept := range map[string]bool{"redis had it": true, "redis had it not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub := redistest.NewHub()
			other, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if err := other.EmitContext(limited(t), "tick"); err != nil {
				t.Fatal(err)
			}
			e, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			faults := 0 // used under the lock of the hub
			hub.AppendFault(func(redisadapter.Append) (bool, error) {
				if faults++; faults > 1 {
					return true, nil
				}
				return kept, errors.New("connection lost")
			})
			if err := e.EmitContext(limited(t), "tick"); err != nil {
				t.Fatal(err)
			}
			if n := len(hub.Entries("socket.io")); n != 2 {
				t.Errorf("%d entries", n)
			}
			if kept && faults != 1 || !kept && faults != 2 {
				t.Errorf("appended %d times", faults)
			}
		})
	}
}

func TestStreams_Options(t *testing.T) {
	t.Parallel()
	_, err := emitter.Streams(redistest.NewHub().StreamDriver(), redisadapter.StreamsOptions{StreamName: "\x00", MaxLen: -1})
	if err == nil || !strings.Contains(err.Error(), "StreamName") || !strings.Contains(err.Error(), "MaxLen") {
		t.Error(err)
	}
}

// Closing appends what is queued, and everything fails afterwards.
func TestStreams_Close(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	for range n {
		if err := e.Emit("ev"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := len(hub.Entries("socket.io")); got != n {
		t.Errorf("%d entries", got)
	}
	for name, err := range map[string]error{
		"emit": e.Emit("ev"), "emit, waiting": e.EmitContext(t.Context(), "ev"), "join": e.Join(t.Context(), "r"),
		"health": e.Health(),
	} {
		if !errors.Is(err, emitter.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// With PlainText binary travels as the JSON of a Buffer.
func TestStreams_PlainText(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	e, err := emitter.Streams(hub.StreamDriver(), redisadapter.StreamsOptions{PlainText: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.EmitContext(context.WithoutCancel(limited(t)), "bin", []byte{1}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the entry is there", func() bool { return len(hub.Entries("socket.io")) == 1 })
	fields := hub.Entries("socket.io")[0].Fields
	if data := fields[len(fields)-1]; !strings.Contains(data, `{"type":"Buffer","data":[1]}`) {
		t.Error(data)
	}
}
