package event

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/parser"
)

// sent is an Acker, a Target and a Caller that keeps what it is given.
type sent struct {
	event string
	args  []parser.Arg
	acks  [][]parser.Arg
	reply Reply
	err   error
}

func (s *sent) SendAck(_ uint64, args []any) error {
	s.acks = append(s.acks, AppendArgs(nil, args))
	return s.err
}

func (s *sent) Emit(event string, args ...any) error {
	s.event, s.args = event, AppendArgs(nil, args)
	return s.err
}

func (s *sent) EmitContext(_ context.Context, event string, args ...any) error {
	return s.Emit(event, args...)
}

func (s *sent) EmitWithAck(_ context.Context, event string, args ...any) (Reply, error) {
	return s.reply, s.Emit(event, args...)
}

// bus is a Listener.
type bus map[string]Handler

func (b bus) On(event string, h Handler) func() {
	b[event] = h
	return func() { delete(b, event) }
}

func raw(args ...string) []parser.Arg {
	var as []parser.Arg
	for _, a := range args {
		as = append(as, parser.RawJSON([]byte(a)))
	}
	return as
}

func text(t *testing.T, args []parser.Arg) []string {
	t.Helper()
	texts := make([]string, 0, len(args))
	for _, a := range args {
		b, err := a.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(b))
	}
	return texts
}

func message(name string, a Acker, args ...string) *Message {
	m := new(Message)
	m.Init(name, raw(args...), a, 7)
	return m
}

type move struct {
	Args

	X, Y int
	Note string
	skip bool
}

func TestMessage_Scan(t *testing.T) {
	t.Parallel()
	var (
		n int
		s string
		m move
		p *move
	)
	tests := map[string]struct {
		args []string
		dst  []any
		want []any
		bad  bool
	}{
		"in order":        {args: []string{`1`, `"a"`}, dst: []any{&n, &s}, want: []any{1, "a"}},
		"fewer wanted":    {args: []string{`2`, `"b"`}, dst: []any{&n}, want: []any{2}},
		"fewer there":     {args: []string{`3`}, dst: []any{&n, &s}, want: []any{3, ""}},
		"skipped":         {args: []string{`3`, `"c"`}, dst: []any{nil, &s}, want: []any{nil, "c"}},
		"positional":      {args: []string{`4`, `5`, `"d"`}, dst: []any{&m}, want: []any{move{X: 4, Y: 5, Note: "d"}}},
		"positional, few": {args: []string{`4`}, dst: []any{&m}, want: []any{move{X: 4}}},
		"pointer to pointer": {
			args: []string{`4`, `5`}, dst: []any{&p}, want: []any{&move{X: 4, Y: 5}},
		},
		"after a positional one": {
			args: []string{`4`, `5`, `"d"`, `6`}, dst: []any{&m, &n}, want: []any{move{X: 4, Y: 5, Note: "d"}, 6},
		},
		"wrong type":               {args: []string{`"x"`}, dst: []any{&n}, bad: true},
		"wrong type in positional": {args: []string{`1`, `"x"`}, dst: []any{&m}, bad: true},
		"no pointer":               {args: []string{`1`}, dst: []any{m}, bad: true},
	}
	for name, tt := range tests {
		n, s, m, p = 0, "", move{}, nil
		err := message("e", nil, tt.args...).Scan(tt.dst...)
		if (err != nil) != tt.bad {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		for i, want := range tt.want {
			if want == nil {
				continue
			}
			if got := reflect.ValueOf(tt.dst[i]).Elem().Interface(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %d is %+v, want %+v", name, i, got, want)
			}
		}
	}
}

func TestAppendArgs_Positional(t *testing.T) {
	t.Parallel()
	var none *move
	tests := map[string]struct {
		in   []any
		want []string
	}{
		"plain":   {[]any{1, "a", nil}, []string{`1`, `"a"`, `null`}},
		"struct":  {[]any{move{X: 1, Y: 2, Note: "n", skip: true}}, []string{`1`, `2`, `"n"`}},
		"pointer": {[]any{&move{X: 1}, true}, []string{`1`, `0`, `""`, `true`}},
		"nil":     {[]any{none}, []string{`null`}},
		"empty":   {[]any{struct{ Args }{}}, []string{}},
	}
	for name, tt := range tests {
		if got := text(t, AppendArgs(nil, tt.in)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestMessage_AckAtMostOnce(t *testing.T) {
	t.Parallel()
	var s sent
	m := message("e", &s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	errs := map[error]int{}
	if !m.WantsAck() {
		t.Error("wants no ack")
	}
	for range 8 {
		wg.Go(func() {
			err := m.Ack(1)
			mu.Lock()
			errs[err]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(s.acks) != 1 || errs[nil] != 1 || errs[ErrAcked] != 7 || m.WantsAck() {
		t.Errorf("%d acks, %v", len(s.acks), errs)
	}
	if m = message("e", nil); m.WantsAck() || m.Ack(1) != nil {
		t.Error("an ack that nobody wants is an error")
	}
}

func TestEvent_RoundTrip(t *testing.T) {
	t.Parallel()
	const moved Event[move] = "moved"
	var s sent
	if err := moved.Emit(&s, move{X: 1, Y: 2, Note: "n"}); err != nil || s.event != "moved" || len(s.args) != 3 {
		t.Fatalf("%v, sent %q with %d arguments", err, s.event, len(s.args))
	}
	if err := moved.EmitContext(t.Context(), &s, move{X: 1, Y: 2, Note: "n"}); err != nil {
		t.Fatal(err)
	}
	b := bus{}
	var got move
	off := moved.On(b, func(_ context.Context, v move) error { got = v; return nil })
	m := new(Message)
	m.Init("moved", s.args, nil, 0)
	if err := b["moved"].ServeEvent(t.Context(), m); err != nil || got != (move{X: 1, Y: 2, Note: "n"}) {
		t.Errorf("%v, got %+v", err, got)
	}
	if err := b["moved"].ServeEvent(t.Context(), message("moved", nil, `{}`)); err == nil {
		t.Error("an argument that does not fit is no error")
	}
	if off(); len(b) != 0 {
		t.Error("off does nothing")
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	const double Call[int, int] = "double"
	boom := errors.New("boom")
	b := bus{}
	double.Handle(b, func(_ context.Context, n int) (int, error) {
		switch n {
		case 0:
			return 0, boom
		case 1:
			return 0, &PeerError{Data: "no"}
		}
		return 2 * n, nil
	})
	tests := map[string]struct {
		arg   string
		noAck bool
		acks  []string
		err   error
	}{
		"answer":                {arg: `21`, acks: []string{`42`}},
		"error":                 {arg: `0`, err: boom},
		"error for the peer":    {arg: `1`, acks: []string{`"no"`}},
		"nobody asks":           {arg: `21`, noAck: true},
		"nobody sees the error": {arg: `1`, noAck: true},
	}
	for name, tt := range tests {
		var s sent
		m := message("double", &s, tt.arg)
		if tt.noAck {
			m = message("double", nil, tt.arg)
		}
		if err := b["double"].ServeEvent(t.Context(), m); !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v", name, err)
		}
		var acks []string
		for _, a := range s.acks {
			acks = append(acks, text(t, a)...)
		}
		if !reflect.DeepEqual(acks, tt.acks) {
			t.Errorf("%s: acks %q, want %q", name, acks, tt.acks)
		}
	}
	s := sent{reply: NewReply("s", "", raw(`42`))}
	if n, err := double.Do(t.Context(), &s, 21); n != 42 || err != nil || text(t, s.args)[0] != "21" {
		t.Errorf("Do gives %d, %v", n, err)
	}
	s.reply = NewReply("s", "", raw(`"x"`))
	if _, err := double.Do(t.Context(), &s, 21); err == nil {
		t.Error("an answer that does not fit is no error")
	}
	s.err = boom
	if _, err := double.Do(t.Context(), &s, 21); !errors.Is(err, boom) {
		t.Errorf("Do gives %v", err)
	}
}

func TestFunc(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	tests := map[string]struct {
		fn   any
		args []string
		acks []string
		err  error
		bad  bool
	}{
		"nothing":        {fn: func() {}},
		"all":            {fn: func(_ context.Context, a int, b string) (string, int, error) { return b, a, nil }, args: []string{`1`, `"x"`}, acks: []string{`"x"`, `1`}},
		"only an error":  {fn: func(int) error { return boom }, args: []string{`1`}, err: boom},
		"missing is 0":   {fn: func(n int) int { return n + 1 }, acks: []string{`1`}},
		"peer error":     {fn: func() (int, error) { return 0, &PeerError{Data: "no"} }, acks: []string{`"no"`}},
		"does not fit":   {fn: func(int) int { return 1 }, args: []string{`"x"`}, bad: true},
		"nil result":     {fn: func() any { return nil }, acks: []string{`null`}},
		"positional":     {fn: func(m move) int { return m.X + m.Y }, args: []string{`1`, `2`}, acks: []string{`3`}},
		"positional out": {fn: func() move { return move{X: 1} }, acks: []string{`1`, `0`, `""`}},
	}
	for name, tt := range tests {
		var s sent
		err := Func(tt.fn).ServeEvent(t.Context(), message("e", &s, tt.args...))
		if tt.bad != (err != nil && tt.err == nil) || !errors.Is(err, tt.err) && tt.err != nil {
			t.Errorf("%s: error %v", name, err)
		}
		var acks []string
		for _, a := range s.acks {
			acks = append(acks, text(t, a)...)
		}
		if !reflect.DeepEqual(acks, tt.acks) {
			t.Errorf("%s: acks %q, want %q", name, acks, tt.acks)
		}
	}
}

func TestFunc_PanicsOnWhatItCannotCall(t *testing.T) {
	t.Parallel()
	var none func()
	for name, fn := range map[string]any{
		"nil": nil, "no function": 1, "nil function": none, "variadic": func(...int) {},
		"channel": func(chan int) {}, "callback": func(func()) {}, "context elsewhere": func(int, context.Context) {},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: accepted", name)
				}
			}()
			Func(fn)
		}()
	}
}

func TestAckError(t *testing.T) {
	t.Parallel()
	var err error = &AckError{Expected: 3, Received: 1, Err: context.DeadlineExceeded}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error("does not wrap its reason")
	}
	if got, want := err.Error(), "event: 1 of 3 acknowledgements: context deadline exceeded"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	err = &AckError{Expected: 3, Received: 1, MissingServers: []string{"a"}, SilentServers: 1, Err: context.DeadlineExceeded}
	if got, want := err.Error(), "event: 1 of 3 acknowledgements, 2 servers silent: context deadline exceeded"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMessage_ScanAllocs(t *testing.T) {
	m := message("e", nil, `1`, `"a"`)
	var n int
	var s string
	dst := []any{&n, &s}
	base := testing.AllocsPerRun(100, func() {
		_, _ = m.args[0].Scan(&n), m.args[1].Scan(&s)
	})
	if got := testing.AllocsPerRun(100, func() { _ = m.Scan(dst...) }); got > base {
		t.Errorf("%v allocations beside the %v of the arguments", got-base, base)
	}
}
