package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// three connects three sockets: a in rooms r1 and r12, b in r2 and r12, c in none.
func three(t *testing.T, b *bundle) (ps []*peer, ss []*sockeye.Socket) {
	t.Helper()
	c := sockets(b)
	for _, rooms := range [][]string{{"r1", "r12"}, {"r2", "r12"}, nil} {
		p, _ := b.connect()
		s := get(t, "socket", c)
		if err := s.Join(rooms...); err != nil {
			t.Fatal(err)
		}
		ps, ss = append(ps, p), append(ss, s)
	}
	return ps, ss
}

func TestBroadcast_Selects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	echo(b)
	ps, ss := three(t, b)
	n := b.Of("/")
	all := n.All()
	tests := map[string]struct {
		to   sockeye.Broadcast
		want string
	}{
		"all":                     {all, "abc"},
		"to nothing is everybody": {all.To(), "abc"},
		"server to":               {b.To("r1"), "a"},
		"room":                    {n.To("r1"), "a"},
		"two rooms":               {n.To("r1", "r2"), "ab"},
		"chained":                 {n.To("r1").To("r2"), "ab"},
		"overlapping, once each":  {n.To("r1", "r12", "r2"), "ab"},
		"own id":                  {n.To(ss[2].ID()), "c"},
		"unknown room":            {n.To("nobody"), ""},
		"except":                  {n.Except("r1"), "bc"},
		"except nothing":          {n.Except(), "abc"},
		"server except":           {b.Except("r12"), "c"},
		"room except room":        {n.To("r12").Except("r2"), "a"},
		"except an id":            {n.Except(ss[0].ID()), "bc"},
		"broadcast":               {ss[0].Broadcast(), "bc"},
		"broadcast to":            {ss[0].Broadcast().To("r12"), "b"},
		"socket to":               {ss[0].To("r12"), "b"},
		"socket except":           {ss[0].Except("r2"), "c"},
		"local":                   {all.Local(), "abc"},
		"compress":                {all.Compress(false).Compress(true), "abc"},
	}
	for name, tt := range tests {
		if err := tt.to.Emit("e", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n, err := tt.to.Count(t.Context()); n != len(tt.want) || err != nil {
			t.Errorf("%s: counts %d, %v", name, n, err)
		}
		if found, err := tt.to.FetchSockets(t.Context()); len(found) != len(tt.want) || err != nil {
			t.Errorf("%s: fetches %d, %v", name, len(found), err)
		}
		for i, p := range ps {
			if strings.Contains(tt.want, string(rune('a'+i))) {
				p.want(`2["e","` + name + `"]`)
			}
			p.quiet()
		}
	}
}

// plainCluster makes adapters that have no methods beside those of adapter.Adapter.
type plainCluster struct{ adapter.Cluster }

func (c plainCluster) Open(h adapter.Host) (adapter.Adapter, error) {
	a, err := c.Cluster.Open(h)
	return struct{ adapter.Adapter }{a}, err
}

func TestBroadcast_Rooms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]adapter.Cluster{"listed": adapter.Memory(), "fetched": plainCluster{adapter.Memory()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sockeye.Config{Adapter: c})
			_, ss := three(t, b)
			all := b.Of("/").All()
			for _, q := range []struct {
				of   sockeye.Broadcast
				want map[string]int
			}{
				{all, map[string]int{"r1": 1, "r2": 1, "r12": 2}},
				{all.Local(), map[string]int{"r1": 1, "r2": 1, "r12": 2}},
				{all.To("r2"), map[string]int{"r2": 1, "r12": 1}},
				{all.Except("r12"), map[string]int{}},
				{all.To(ss[0].ID()), map[string]int{"r1": 1, "r12": 1}},
			} {
				if got, err := q.of.Rooms(t.Context()); err != nil || !maps.Equal(got, q.want) {
					t.Errorf("%v, %v; want %v", got, err, q.want)
				}
			}
		})
	}
}

func TestBroadcast_IsImmutable(t *testing.T) {
	t.Parallel()
	b := setup(t)
	echo(b)
	ps, _ := three(t, b)
	base := b.Of("/").To("r1")
	for range 3 {
		_ = base.To("r2")
		_ = base.Except("r1")
	}
	x, y := base.To("a1"), base.To("r2")
	if err := errors.Join(x.Emit("x"), y.Emit("y"), base.Emit("base")); err != nil {
		t.Fatal(err)
	}
	ps[0].want(`2["x"]`, `2["y"]`, `2["base"]`)
	ps[1].want(`2["y"]`)
	for _, p := range ps {
		p.quiet()
	}
}

func TestBroadcast_BinaryAndVolatile(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{PingInterval: time.Hour})
	c := sockets(b)
	p, _ := b.connect()
	if err := b.Emit("bin", map[string]any{"deep": [][]byte{[]byte("1"), []byte("2")}}); err != nil {
		t.Fatal(err)
	}
	p.want(`52-["bin",{"deep":[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]}]`)
	p.wantBinary("1")
	p.wantBinary("2")
	s := get(t, "socket", c)
	// A polling client that does not poll cannot take anything: a volatile event is dropped, which is no error.
	b.park()
	away := get(t, "socket", c)
	before := away.Buffered()
	err := errors.Join(b.Of("/").All().Volatile().Emit("v"), away.Volatile().Emit("v"), s.Emit("after"))
	if err != nil {
		t.Error(err)
	}
	if after := away.Buffered(); after > before {
		t.Errorf("%d bytes were queued", after-before)
	}
	for got := p.next(); got != `2["after"]`; got = p.next() {
		if got != `2["v"]` { // it is not dropped if it can be written at once
			t.Fatalf("received %q", got)
		}
	}
}

func TestBroadcast_EmitWithAck(t *testing.T) {
	t.Parallel()
	b := setup(t, sockeye.Config{AckTimeout: testkit.Scale(time.Second)}) // the answers must come in time
	ps, ss := three(t, b)
	type outcome struct {
		replies sockeye.Replies
		err     error
	}
	ask := func(to sockeye.Broadcast) <-chan outcome {
		o := make(chan outcome, 1)
		go func() {
			r, err := to.EmitWithAck(t.Context(), "q", "?")
			o <- outcome{r, err}
		}()
		return o
	}
	o := ask(b.Of("/").All())
	for i, p := range ps {
		p.want(`20["q","?"]`)
		p.send(fmt.Sprintf(`30["from %d",%d]`, i, i))
	}
	got := get(t, "replies", o)
	if got.err != nil || len(got.replies) != 3 {
		t.Fatalf("%v, %v", got.replies, got.err)
	}
	for _, r := range got.replies {
		var text string
		var n int
		if err := r.Scan(&text, &n); err != nil || r.Socket != ss[n].ID() || text != fmt.Sprint("from ", n) {
			t.Errorf("%+v: %q, %d, %v", r, text, n, err)
		}
	}

	// One that does not answer.
	o = ask(b.To("r12"))
	ps[0].want(`21["q","?"]`)
	ps[1].want(`21["q","?"]`)
	ps[1].send(`31["b"]`)
	got = get(t, "replies", o)
	var ae *sockeye.AckError
	if !errors.As(got.err, &ae) || !errors.Is(got.err, context.DeadlineExceeded) || ae.Expected != 2 || ae.Received != 1 ||
		!slices.Equal(ae.MissingSockets, []string{ss[0].ID()}) || len(got.replies) != 1 || got.replies[0].Socket != ss[1].ID() {
		t.Errorf("got %+v, %v", got.replies, got.err)
	}
	ps[0].send(`31["late"]`)

	// Nobody at all, and nobody but one who leaves.
	if got := get(t, "replies", ask(b.To("nobody"))); got.err != nil || len(got.replies) != 0 {
		t.Errorf("got %+v", got)
	}
	o = ask(b.To("r1"))
	ps[0].next()
	ps[0].send(`1`)
	if got := get(t, "replies", o); !errors.As(got.err, &ae) || !slices.Equal(ae.MissingSockets, []string{ss[0].ID()}) {
		t.Errorf("got %+v", got)
	}
	if _, err := b.To("r1").EmitWithAck(t.Context(), "connect"); !errors.Is(err, sockeye.ErrReservedEvent) {
		t.Error(err)
	}
}

func TestBroadcast_Commands(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ps, ss := three(t, b)
	ctx := t.Context()
	n := b.Of("/")
	if err := errors.Join(n.To("r12").Join(ctx, "x", "y"), n.To("r2").Leave(ctx, "x"), n.All().Join(ctx)); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"r1", "r12", "x", "y"}, {"r2", "r12", "y"}, nil} {
		got := ss[i].Rooms()[1:]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("socket %d is in %q, want %q", i, got, want)
		}
	}
	if err := n.To("r1").Disconnect(ctx, false); err != nil {
		t.Fatal(err)
	}
	ps[0].want("1")
	ps[0].join("/", "")
	if err := n.To("r2").Disconnect(ctx, true); err != nil {
		t.Fatal(err)
	}
	ps[1].want("1")
	ps[1].ended()
	if !ss[2].Connected() {
		t.Error("the third is disconnected too")
	}
}

func TestRemoteSocket(t *testing.T) {
	t.Parallel()
	b := setup(t)
	c := sockets(b)
	p := b.dialWith(engineio.DialConfig{}, "?q=1")
	p.join("/", `{"a":1}`)
	s := get(t, "socket", c)
	s.SetData(map[string]string{"user": "u"})
	ctx := t.Context()
	found, err := b.Of("/").All().FetchSockets(ctx)
	if err != nil || len(found) != 1 {
		t.Fatalf("%d, %v", len(found), err)
	}
	r := found[0]
	var data struct{ User string }
	var auth struct{ A int }
	if err := errors.Join(r.Data.Scan(&data), r.Handshake.Auth.Scan(&auth)); err != nil {
		t.Fatal(err)
	}
	if r.ID != s.ID() || data.User != "u" || auth.A != 1 || r.Handshake.Query["q"] != "1" || r.Handshake.Time.IsZero() ||
		!slices.Equal(r.Rooms, []string{s.ID()}) {
		t.Errorf("%+v", r)
	}
	if err := errors.Join(r.Emit("e", 1), r.EmitContext(ctx, "e", 2), r.Join(ctx, "x", "y"), r.Leave(ctx, "x")); err != nil {
		t.Fatal(err)
	}
	p.want(`2["e",1]`, `2["e",2]`)
	if !slices.Equal(s.Rooms(), []string{s.ID(), "y"}) {
		t.Errorf("rooms %q", s.Rooms())
	}
	go func() {
		p.want(`20["q"]`)
		p.send(`30["yes"]`)
	}()
	var answer string
	if reply, err := r.EmitWithAck(ctx, "q"); err != nil || reply.Scan(&answer) != nil || answer != "yes" {
		t.Errorf("%q, %v", answer, err)
	}
	if err := r.Disconnect(ctx, true); err != nil {
		t.Fatal(err)
	}
	p.want("1")
	p.ended()
	if _, err := r.EmitWithAck(ctx, "q"); err == nil {
		t.Error("a socket that has gone answers")
	}
}

func TestServer_SocketsIterator(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, ss := three(t, b)
	var got, want []string
	for s := range b.Of("/").Sockets() {
		got = append(got, s.ID())
	}
	for _, s := range ss {
		want = append(want, s.ID())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sockets %q, want %q", got, want)
	}
	for range b.Of("/").Sockets() {
		break
	}
	for range b.Namespaces() {
		break
	}
}
