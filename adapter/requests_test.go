package adapter

import (
	"context"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Za-z0-9_-]{6}$`)
	seen := map[string]bool{}
	chars := map[rune]bool{}
	for range 1000 {
		id := NewID()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		for _, c := range id {
			chars[c] = true
		}
	}
	if len(chars) != 64 {
		t.Errorf("%d characters are used, want 64", len(chars))
	}
}

// request opens one and returns what its Wait collects.
func request(t *testing.T, r *Requests, of Kind) *Request {
	t.Helper()
	q, err := r.New(of)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestRequests_Table(t *testing.T) {
	t.Parallel()
	var r Requests
	a, b := request(t, &r, OfServers), request(t, &r, OfSockets)
	if a.ID() == b.ID() || r.Find(a.ID()) != a || r.Find(b.ID()) != b || r.Find("none") != nil || r.Len() != 2 {
		t.Error("wrong table")
	}
	a.Close()
	a.Close()
	if r.Find(a.ID()) != nil || r.Len() != 1 {
		t.Error("a closed request is found")
	}
	for range maxRequests - 1 {
		request(t, &r, OfServers)
	}
	if _, err := r.New(OfServers); !errors.Is(err, ErrTooManyRequests) {
		t.Errorf("error %v", err)
	}
	r.Close()
	r.Close()
	if _, err := r.New(OfServers); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := b.Wait(t.Context(), func(Response) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
}

// TestRequest_Completes covers who must have answered what, in any order.
func TestRequest_Completes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		of        Kind
		do        func(q *Request)
		responses int
		want      Incomplete // without Err; zero where complete
	}{
		{"no other server", OfServers, func(q *Request) { q.Expect(0) }, 0, Incomplete{}},
		{"negative number", OfServers, func(q *Request) { q.Expect(-1) }, 0, Incomplete{}},
		{"servers", OfServers, func(q *Request) {
			q.ServerAnswer(Answer{Server: "a"})
			q.Expect(2)
			q.ServerAnswer(Answer{Server: "b"})
		}, 2, Incomplete{}},
		{"anonymous servers", OfServers, func(q *Request) {
			q.Expect(2)
			q.ServerAnswer(Answer{})
			q.ServerAnswer(Answer{})
		}, 2, Incomplete{}},
		{"one server twice", OfServers, func(q *Request) {
			q.Expect(2)
			q.ServerAnswer(Answer{Server: "a"})
			q.ServerAnswer(Answer{Server: "a"})
		}, 1, Incomplete{Expected: 2, Received: 1, SilentServers: 1}},
		{"number unknown", OfServers, func(q *Request) { q.ServerAnswer(Answer{Server: "a"}) }, 1, Incomplete{Received: 1}},
		{"remotes", OfServers, func(q *Request) {
			q.Expect(1)
			q.Remotes("a", []Remote{{ID: "x"}, {ID: "y"}})
		}, 1, Incomplete{}},
		{"sockets", OfSockets, func(q *Request) {
			q.Expect(2)
			q.Heard("a", 2)
			q.SocketAnswer(Answer{})
			q.Heard("b", 0)
			q.SocketAnswer(Answer{Socket: "x"})
		}, 2, Incomplete{}},
		{"answers before the count", OfSockets, func(q *Request) {
			q.SocketAnswer(Answer{})
			q.Heard("a", 1)
			q.Expect(1)
		}, 1, Incomplete{}},
		{"socket missing", OfSockets, func(q *Request) {
			q.Expect(1)
			q.Heard("a", 2)
			q.Heard("a", 2)
			q.SocketAnswer(Answer{})
		}, 1, Incomplete{Expected: 2, Received: 1}},
		{"named servers", OfServers, func(q *Request) {
			q.Name("a", "b")
			q.Expect(2)
			q.ServerAnswer(Answer{Server: "b"})
			q.ServerAnswer(Answer{Server: "a"})
		}, 2, Incomplete{}},
		{"more named than counted", OfServers, func(q *Request) {
			q.Name("a", "b")
			q.Expect(0)
			q.ServerAnswer(Answer{Server: "b"})
		}, 1, Incomplete{Expected: 2, Received: 1, MissingServers: []string{"a"}}},
		{"a stranger does not answer for a named one", OfServers, func(q *Request) {
			q.Name("a")
			q.Expect(1)
			q.ServerAnswer(Answer{Server: "b"})
		}, 1, Incomplete{Expected: 1, Received: 1, MissingServers: []string{"a"}}},
		{"an anonymous one may be a named one", OfServers, func(q *Request) {
			q.Name("a")
			q.Expect(2)
			q.ServerAnswer(Answer{Server: "b"})
			q.ServerAnswer(Answer{})
		}, 2, Incomplete{}},
		{"named and silent", OfServers, func(q *Request) {
			q.Name("b", "a")
			q.Expect(4)
			q.ServerAnswer(Answer{})
		}, 1, Incomplete{Expected: 4, Received: 1, MissingServers: []string{"a", "b"}, SilentServers: 1}},
		{"parts", OfServers, func(q *Request) {
			q.Name("a")
			q.Expect(1)
			q.Part(Response{Rooms: map[string]int{"x": 1}})
		}, 1, Incomplete{Expected: 1, MissingServers: []string{"a"}}},
		{"server silent", OfSockets, func(q *Request) {
			q.Expect(3)
			q.Heard("a", 1)
			q.Heard("b", -5)
			q.SocketAnswer(Answer{})
		}, 1, Incomplete{Expected: 1, Received: 1, SilentServers: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r Requests
				q := request(t, &r, c.of)
				c.do(q)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				n := 0
				err := q.Wait(ctx, func(Response) { n++ })
				if n != c.responses {
					t.Errorf("%d responses, want %d", n, c.responses)
				}
				want := c.want
				if reflect.DeepEqual(want, Incomplete{}) {
					if err != nil {
						t.Errorf("error %v", err)
					}
					return
				}
				var inc *Incomplete
				if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("error %v", err)
				}
				if inc.Expected != want.Expected || inc.Received != want.Received || inc.SilentServers != want.SilentServers ||
					!slices.Equal(inc.MissingServers, want.MissingServers) {
					t.Errorf("%+v, want %+v", inc, want)
				}
				if r.Len() != 0 {
					t.Error("the request is still open")
				}
				q.SocketAnswer(Answer{}) // late ones are nothing
				q.ServerAnswer(Answer{})
				q.Heard("z", 1)
			})
		})
	}
}

// Nobody waits for a server that is gone, whenever that becomes known.
func TestRequest_ServerGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		of   Kind
		do   func(r *Requests, q *Request)
		want *Incomplete // nil where complete
	}{
		{"before it answers", OfServers, func(r *Requests, q *Request) {
			q.Expect(2)
			q.ServerAnswer(Answer{Server: "b"})
			r.Gone("a", false)
		}, &Incomplete{Expected: 2, Received: 1, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"before the others are counted", OfServers, func(r *Requests, q *Request) {
			r.Gone("a", false)
			r.Gone("a", false)
			q.ServerAnswer(Answer{Server: "b"})
			q.Expect(2)
		}, &Incomplete{Expected: 2, Received: 1, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"after it answered", OfServers, func(r *Requests, q *Request) {
			q.ServerAnswer(Answer{Server: "a"})
			q.ServerAnswer(Answer{Server: "b"})
			r.Gone("a", false)
			q.Expect(2)
		}, nil},
		{"one that comes back", OfServers, func(r *Requests, q *Request) {
			r.Gone("a", false)
			q.ServerAnswer(Answer{Server: "a"})
			q.ServerAnswer(Answer{Server: "b"})
			q.Expect(2)
		}, nil},
		{"an unknown one", OfServers, func(r *Requests, q *Request) {
			q.ServerAnswer(Answer{Server: "a"})
			q.ServerAnswer(Answer{Server: "b"})
			r.Gone("z", false)
			q.Expect(2)
		}, nil},
		{"the one that answered without a name is another", OfServers, func(r *Requests, q *Request) {
			q.ServerAnswer(Answer{Server: "b"})
			q.ServerAnswer(Answer{})
			q.Expect(3)
			r.Gone("a", false)
		}, &Incomplete{Expected: 3, Received: 2, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"before it said how many sockets it asked", OfSockets, func(r *Requests, q *Request) {
			q.Expect(2)
			q.Heard("b", 1)
			q.SocketAnswer(Answer{Server: "b"})
			r.Gone("a", false)
		}, &Incomplete{Expected: 1, Received: 1, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"before all of its sockets answered", OfSockets, func(r *Requests, q *Request) {
			q.Expect(2)
			q.Heard("a", 3)
			q.Heard("b", 0)
			q.SocketAnswer(Answer{Server: "a"})
			r.Gone("a", false)
		}, &Incomplete{Expected: 3, Received: 1, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"in order", OfServers, func(r *Requests, q *Request) {
			r.Gone("a", true)
			q.ServerAnswer(Answer{Server: "b"})
			q.Expect(2)
		}, nil},
		{"in order before the last other", OfServers, func(r *Requests, q *Request) {
			q.Expect(2)
			r.Gone("a", true)
			r.Gone("b", false)
		}, &Incomplete{Expected: 1, MissingServers: []string{"b"}, Err: ErrServerLeft}},
		{"in order before all of its sockets answered", OfSockets, func(r *Requests, q *Request) {
			q.Expect(2)
			q.Heard("a", 2)
			r.Gone("b", true)
			r.Gone("a", true)
		}, &Incomplete{Expected: 2, MissingServers: []string{"a"}, Err: ErrServerLeft}},
		{"whose sockets answer after all", OfSockets, func(r *Requests, q *Request) {
			q.SocketAnswer(Answer{Server: "a"})
			q.Heard("a", 2)
			q.Heard("b", 0)
			r.Gone("a", false)
			q.SocketAnswer(Answer{Server: "a"})
			q.Expect(2)
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var r Requests
			q := request(t, &r, c.of)
			q.Name("a", "b")
			c.do(&r, q)
			err := q.Wait(t.Context(), func(Response) {})
			if c.want == nil {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			var inc *Incomplete
			if !errors.As(err, &inc) || !reflect.DeepEqual(inc, c.want) {
				t.Errorf("%+v, want %+v", err, c.want)
			}
		})
	}
}

func TestRequest_ServersBounded(t *testing.T) {
	t.Parallel()
	q := newRequest(OfServers)
	for i := range maxServers + 10 {
		q.ServerAnswer(Answer{Server: strconv.Itoa(i)})
	}
	if len(q.tally.servers) != maxServers || q.tally.heard != maxServers {
		t.Errorf("%d servers", len(q.tally.servers))
	}
}

// TestRequest_OneCallAtATime covers answers from many goroutines while Wait is at work.
func TestRequest_OneCallAtATime(t *testing.T) {
	t.Parallel()
	var r Requests
	q := request(t, &r, OfSockets)
	const servers, sockets = 8, 200
	var wg sync.WaitGroup
	for s := range servers {
		wg.Go(func() {
			q.Heard(strconv.Itoa(s), sockets)
			for i := range sockets {
				q.SocketAnswer(Answer{Socket: strconv.Itoa(s*sockets + i)})
			}
		})
	}
	q.Expect(servers)
	seen := map[string]bool{} // unguarded: the race detector watches
	if err := q.Wait(t.Context(), func(a Response) { seen[a.Socket] = true }); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if len(seen) != servers*sockets {
		t.Errorf("%d answers, want %d", len(seen), servers*sockets)
	}
}

func TestRequest_ResponsesBounded(t *testing.T) {
	t.Parallel()
	q := newRequest(OfSockets)
	for range maxQueued + 10 {
		q.SocketAnswer(Answer{})
	}
	if len(q.queue) != maxQueued || q.tally.answers != maxQueued {
		t.Errorf("%d responses are queued", len(q.queue))
	}
}

func TestIncomplete_Error(t *testing.T) {
	t.Parallel()
	e := &Incomplete{Expected: 3, Received: 2, Err: ErrSocketLeft}
	if got, want := e.Error(), "adapter: 2 of 3 answers received: adapter: sockets left before they answered"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e = &Incomplete{Expected: 2, Received: 2, MissingServers: []string{"a"}, SilentServers: 1, Err: context.DeadlineExceeded}
	if got, want := e.Error(), "adapter: 2 of 2 answers received, 2 servers silent: context deadline exceeded"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
