package adapter

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

// A server that was named and has closed may have hidden one of which only the subscription was counted.
func TestRequest_Audience(t *testing.T) {
	t.Parallel()
	answer := func(servers ...string) func(*Requests, *Request) {
		return func(_ *Requests, q *Request) {
			for _, s := range servers {
				q.ServerAnswer(Answer{Server: s})
			}
		}
	}
	leave := func(server string) func(*Requests, *Request) {
		return func(r *Requests, _ *Request) { r.Gone(server, true) }
	}
	for _, c := range []struct {
		name            string
		named           []string
		others, counted int
		do              []func(*Requests, *Request)
		again           []int // what counting again gives, the last from then on; -1 for an error
		live, silent    []string
		complete        bool
		missing         Incomplete // without Err
		recounts        int
	}{
		{name: "all are named", named: []string{"a", "b"}, counted: 2, do: []func(*Requests, *Request){answer("a", "b")}, complete: true},
		{name: "not counted but named", named: []string{"a"}, counted: -1, do: []func(*Requests, *Request){answer("a")}, complete: true},
		{name: "one stranger", named: []string{"a"}, counted: 2, do: []func(*Requests, *Request){answer("a", "z")}, complete: true},
		{name: "a stranger of each kind", counted: 1, others: 1, do: []func(*Requests, *Request){answer("", "z")}, complete: true},
		{
			name: "one closes and one was hidden", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a"), answer("z")}, again: []int{1}, complete: true,
		},
		{
			name: "the one that was hidden is silent", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{1}, missing: Incomplete{Expected: 1, SilentServers: 1}, recounts: 9,
		},
		{
			name: "it has become known", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{1}, live: []string{"z"},
			missing: Incomplete{Expected: 1, SilentServers: 1}, recounts: 9,
		},
		{
			name: "nobody was hidden", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{0}, complete: true, recounts: 2,
		},
		{
			name: "one recount is not believed", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{0, 1, 0}, complete: true, recounts: 4,
		},
		{
			name: "Redis does not count", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{-1}, missing: Incomplete{Expected: 1, SilentServers: 1}, recounts: 9,
		},
		{
			name: "a stranger has closed", named: []string{"a"}, counted: 2,
			do: []func(*Requests, *Request){answer("a")}, again: []int{1}, live: []string{"a"}, complete: true, recounts: 2,
		},
		{
			name: "more open it meanwhile", named: []string{"a"}, counted: 1,
			do: []func(*Requests, *Request){leave("a"), answer("z")}, again: []int{7}, live: []string{"x"}, complete: true,
		},
		{
			name: "a silent one that is named", named: []string{"a", "s"}, counted: 2,
			do: []func(*Requests, *Request){leave("a"), answer("s")}, again: []int{1}, silent: []string{"s", "u"}, complete: true, recounts: 2,
		},
		{
			name: "others are not counted again", named: []string{"a"}, counted: 1, others: 1,
			do: []func(*Requests, *Request){leave("a")}, again: []int{0}, missing: Incomplete{Expected: 1, SilentServers: 1}, recounts: 2,
		},
		{
			name: "others have answered", named: []string{"a"}, counted: 1, others: 2,
			do: []func(*Requests, *Request){leave("a"), answer("", "n")}, again: []int{0}, complete: true, recounts: 2,
		},
		{
			name: "a named one answers without a name", named: []string{"a", "b"}, counted: 2,
			do: []func(*Requests, *Request){leave("a"), answer("")}, again: []int{1}, live: []string{"b"}, complete: true, recounts: 2,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var r Requests
				q := request(t, &r, OfServers)
				q.Name(c.named...)
				recounts := 0
				q.Audience(c.others, c.counted, func(context.Context) (int, []string, []string, error) {
					n := c.again[min(recounts, len(c.again)-1)]
					if recounts++; n < 0 {
						return 0, nil, nil, errors.New("away")
					}
					return n, c.live, c.silent, nil
				})
				for _, do := range c.do {
					do(&r, q)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := q.Wait(ctx, func(Response) {})
				if recounts != c.recounts {
					t.Errorf("counted again %d times, want %d", recounts, c.recounts)
				}
				if c.complete {
					if err != nil {
						t.Error(err)
					}
					return
				}
				var inc *Incomplete
				if !errors.As(err, &inc) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				inc.Err = nil
				if !reflect.DeepEqual(*inc, c.missing) {
					t.Errorf("%+v, want %+v", *inc, c.missing)
				}
			})
		})
	}
}
