package emitter_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/emitter"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

func check[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestBroadcast_Selects(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		a := c.connect("a", 0, "/", "red")
		b := c.connect("b", 1, "/", "red", "blue")
		d := c.connect("d", 1, "/")
		twenty := strings.Repeat("x", 20) // as long as the id of a socket
		odd := c.connect("odd", 0, "/", "a#b", twenty, "*", "ä[")
		for _, test := range []struct {
			name string
			to   emitter.Broadcast
			want []string
		}{
			{"all", c.e.All(), []string{"a", "b", "d", "odd"}},
			{"no rooms", c.e.To(), []string{"a", "b", "d", "odd"}},
			{"one room", c.e.To("blue"), []string{"b"}},
			{"the same room twice", c.e.To("blue", "blue"), []string{"b"}},
			{"two rooms", c.e.To("red").To("blue"), []string{"a", "b"}},
			{"nobody's room", c.e.To("green"), nil},
			{"except", c.e.Except("blue"), []string{"a", "d", "odd"}},
			{"room except", c.e.To("red").Except("blue"), []string{"a"}},
			{"except a socket", c.e.Except(a.id, d.id), []string{"b", "odd"}},
			{"one socket", c.e.To(d.id), []string{"d"}},
			{"volatile", c.e.Volatile(), []string{"a", "b", "d", "odd"}},
			{"not compressed", c.e.Compress(false).To("blue"), []string{"b"}},
			{"room with #", c.e.To("a#b"), []string{"odd"}},
			{"room of 20 characters", c.e.To(twenty), []string{"odd"}},
			{"room *", c.e.To("*"), []string{"odd"}},
			{"room with [", c.e.To("ä["), []string{"odd"}},
		} {
			if err := test.to.Emit("news", test.name); err != nil {
				t.Fatal(err)
			}
			check(t, test.name, c.heard(`["news","`+test.name+`"]`, a, b, d, odd), test.want)
		}
	})
}

// T22: a room may have any name.
func TestBroadcast_OddRooms(t *testing.T) {
	t.Parallel()
	names := []string{
		"", " ", "#", "##", "x#", "#x", "x#y", "*", "?", "[a", "[a]", `\`, `a\*`, "/", "/chat", "/chat#", "emitter", "-request#/#",
		"\x00", "\n", "\r\n", "\u00e4", "\U0001f600", "0123456789abcdef", strings.Repeat("x", 20), strings.Repeat("\U0001f600", 10),
		strings.Repeat("y", 512),
	}
	each(t, func(t *testing.T, c *cluster) {
		in := c.connect("in", 0, "/", names...)
		out := c.connect("out", 1, "/")
		for _, name := range names {
			if err := errors.Join(c.e.To(name).Emit("ev"), c.e.To(name, name).Emit("ev")); err != nil {
				t.Fatal(err)
			}
			if got := c.heard(`["ev"]`, in, out); !slices.Equal(got, []string{"in", "in"}) {
				t.Errorf("%q: %v", name, got)
			}
			if err := c.e.Except(name).Emit("but"); err != nil {
				t.Fatal(err)
			}
			if got := c.heard(`["but"]`, in, out); !slices.Equal(got, []string{"out"}) {
				t.Errorf("all but %q: %v", name, got)
			}
		}
	})
}

func TestEmit_BinaryInDepth(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		k := c.connect("k", 1, "/", "room")
		for _, to := range []emitter.Broadcast{c.e.All(), c.e.To("room")} {
			if err := to.Emit("bin", []byte("one"), map[string]any{"deep": []any{[]byte("two"), 1.5}}); err != nil {
				t.Fatal(err)
			}
		}
		one := []string{
			`52-["bin",{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1},1.5]}]`, "one", "two",
		}
		check(t, "events", k.events(6), slices.Concat(one, one))
	})
}

func TestOf(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		a := c.connect("a", 0, "/chat", "red")
		b := c.connect("b", 1, "/", "red")
		chat := c.e.Of("chat") // the slash is added
		if chat.Name() != "/chat" || c.e.Name() != "/" {
			t.Errorf("%q, %q", chat.Name(), c.e.Name())
		}
		for _, err := range []error{
			chat.Emit("one"), chat.To("red").Emit("two"), c.e.Of("/chat").Emit("end"), chat.Of("/").Emit("end"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(t, "in /chat", a.events(3), []string{`["one"]`, `["two"]`, `["end"]`})
		check(t, "in /", b.events(1), []string{`["end"]`})
		if n, err := chat.Count(limited(t)); n != 1 || err != nil {
			t.Errorf("%d sockets in /chat, %v", n, err)
		}
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		a := c.connect("a", 0, "/", "red")
		b := c.connect("b", 1, "/", "red", "blue")
		d := c.connect("d", 1, "/")
		ctx := limited(t)
		in := func(room string, want ...string) {
			t.Helper()
			testkit.Eventually(t, "members of "+room, func() bool {
				var names []string
				for i, s := range c.servers {
					for _, k := range []*client{a, b, d} {
						if m, ok := s.Of("/").Socket(k.id); ok && slices.Contains(m.Rooms(), room) && i < 2 {
							names = append(names, k.name)
						}
					}
				}
				return slices.Equal(names, want)
			})
		}
		if err := c.e.To("red").Except("blue").Join(ctx, "one", "two"); err != nil {
			t.Fatal(err)
		}
		in("one", "a")
		if err := c.e.Join(ctx, "two"); err != nil {
			t.Fatal(err)
		}
		in("two", "a", "b", "d")
		if err := c.e.To(a.id, d.id).Leave(ctx, "one", "two"); err != nil {
			t.Fatal(err)
		}
		in("two", "b")
		in("one")
		if err := c.e.Leave(ctx, "two"); err != nil {
			t.Fatal(err)
		}
		in("two")
		if err := c.e.To("blue").Disconnect(ctx, false); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "b is disconnected", b.gone)
		if a.gone() || d.gone() {
			t.Error("others are disconnected too")
		}
		if err := c.e.Disconnect(ctx, true); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "all are disconnected", func() bool { return a.gone() && d.gone() })
	})
}

func TestServerSideEmit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		heard := make(chan string, 8)
		for i, s := range c.servers {
			s.Of("/").OnServerSide("hello", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
				var text string
				if err := m.Scan(&text); err != nil {
					return err
				}
				heard <- text
				return m.Ack(i)
			}))
		}
		ctx := limited(t)
		if err := c.e.ServerSideEmit(ctx, "hello", "one"); err != nil {
			t.Fatal(err)
		}
		replies, err := c.e.ServerSideEmitWithAck(ctx, "hello", "two")
		if err != nil {
			t.Fatal(err)
		}
		var answers []int
		for _, r := range replies {
			var n int
			if err := r.Scan(&n); err != nil {
				t.Fatal(err)
			}
			answers = append(answers, n)
		}
		slices.Sort(answers)
		check(t, "answers", answers, []int{0, 1})
		for _, want := range []string{"one", "two"} {
			for range 2 {
				select {
				case <-ctx.Done():
					t.Fatal("not heard: " + want)
				case <-heard:
				}
			}
		}
	})
}

func TestEmitWithAck(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		a := c.connect("a", 0, "/", "red")
		c.connect("b", 1, "/", "red")
		c.connect("d", 1, "/")
		ctx := limited(t)
		names := func(replies emitter.Replies, err error) []string {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
			var names []string
			for _, r := range replies {
				var name string
				if err := r.Scan(&name); err != nil {
					t.Error(err)
				}
				names = append(names, name)
			}
			slices.Sort(names)
			return names
		}
		check(t, "all", names(c.e.EmitWithAck(ctx, "q", 1)), []string{"a", "b", "d"})
		check(t, "red", names(c.e.To("red").EmitWithAck(ctx, "q")), []string{"a", "b"})
		check(t, "one socket", names(c.e.To(a.id).EmitWithAck(ctx, "q")), []string{"a"})
		check(t, "nobody", names(c.e.To("green").EmitWithAck(ctx, "q")), nil)

		short, cancel := context.WithTimeout(ctx, testkit.Scale(500*time.Millisecond)) // both are asked in time
		defer cancel()
		var incomplete *emitter.AckError
		replies, err := c.e.To("red").EmitWithAck(short, "mute")
		if !errors.As(err, &incomplete) || !errors.Is(err, context.DeadlineExceeded) ||
			incomplete.Expected != 2 || incomplete.Received != 0 || len(replies) != 0 {
			t.Errorf("%v, %v", replies, err)
		}
	})
}

func TestFetchSockets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		a := c.connect("a", 0, "/", "red")
		b := c.connect("b", 1, "/", "red", "blue")
		c.connect("d", 1, "/")
		ctx := limited(t)
		for _, test := range []struct {
			name string
			to   emitter.Broadcast
			want int
		}{
			{"all", c.e.All(), 3},
			{"red", c.e.To("red"), 2},
			{"red except blue", c.e.To("red").Except("blue"), 1},
			{"green", c.e.To("green"), 0},
		} {
			found, err := test.to.FetchSockets(ctx)
			if err != nil || len(found) != test.want {
				t.Errorf("%s: %d sockets, %v", test.name, len(found), err)
			}
			if n, err := test.to.Count(ctx); n != test.want || err != nil {
				t.Errorf("%s: counted %d, %v", test.name, n, err)
			}
		}
		found, err := c.e.To("blue").FetchSockets(ctx)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		s := found[0]
		slices.Sort(s.Rooms)
		want := []string{b.id, "blue", "red"}
		slices.Sort(want)
		check(t, "rooms", s.Rooms, want)
		if s.ID != b.id || s.Handshake.Address != "127.0.0.1" {
			t.Errorf("%+v", s)
		}
		if err := s.Emit("news"); err != nil {
			t.Error(err)
		}
		reply, err := s.EmitWithAck(ctx, "q")
		var name string
		if err := errors.Join(err, reply.Scan(&name)); err != nil || name != "b" {
			t.Errorf("%q, %v", name, err)
		}
		if name, err := emitter.Call[int, string]("q").Do(ctx, s, 1); err != nil || name != "b" {
			t.Errorf("%q, %v", name, err)
		}
		if err := emitter.Event[string]("typed").Emit(c.e, "x"); err != nil {
			t.Error(err)
		}
		if err := s.Join(ctx, "new"); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it has joined", func() bool {
			n, err := c.e.To("new").Count(ctx)
			return err == nil && n == 1
		})
		if err := s.Leave(ctx, "new"); err != nil {
			t.Fatal(err)
		}
		if err := s.Disconnect(ctx, false); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is disconnected", b.gone)
		testkit.Eventually(t, "it does not answer any more", func() bool {
			_, err := s.EmitWithAck(ctx, "q")
			return errors.Is(err, adapter.ErrSocketLeft)
		})
		if got := a.events(1); !slices.Contains(got, `["typed","x"]`) || slices.Contains(got, `["news"]`) {
			t.Errorf("events of another: %v", got)
		}
	})
}

// An emitter that asks is no server: the servers do not wait for it.
func TestEmitter_IsNoServer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c *cluster) {
		c.connect("a", 0, "/")
		ctx := limited(t)
		if n, err := c.e.Count(ctx); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for _, s := range c.servers {
			found, err := s.Of("/").All().FetchSockets(ctx)
			if err != nil || len(found) != 1 {
				t.Errorf("%d sockets, %v", len(found), err)
			}
			replies, err := s.Of("/").All().EmitWithAck(ctx, "q")
			if err != nil || len(replies) != 1 {
				t.Errorf("%v, %v", replies, err)
			}
		}
	})
}
