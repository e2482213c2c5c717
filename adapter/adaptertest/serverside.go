package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

func lower(h http.Header) http.Header {
	l := http.Header{}
	for k, v := range h {
		l[strings.ToLower(k)] = v
	}
	return l
}

// serverSideArguments are arguments that may be sent to servers, as given and as they must arrive.
func serverSideArguments(w *world) (given, want []any) {
	given, want = arguments()
	if w.lacks(ServerSideText) {
		binary := func(v any) bool {
			_, ok := v.([]byte)
			m, _ := v.(map[string]any)
			return ok || m["deep"] != nil
		}
		given, want = slices.DeleteFunc(given, binary), slices.DeleteFunc(want, binary)
	}
	return given, want
}

func testServerSide(t *testing.T, w *world) {
	t.Helper()
	nodes := w.open(t, "/")
	given, want := serverSideArguments(w)
	for k, n := range nodes {
		event := fmt.Sprintf("from %d", k)
		if err := n.Adapter.ServerSide(t.Context(), packet(n, event, given...), nil); err != nil {
			t.Fatal(err)
		}
		if err := n.Adapter.ServerSide(t.Context(), packet(n, "end"), nil); err != nil {
			t.Fatal(err)
		}
	}
	for k, n := range nodes {
		testkit.Eventually(t, "events of the others", func() bool { return len(n.Events()) >= 2*(len(nodes)-1) })
		var got, all []string
		for _, r := range n.Events() {
			got = append(got, r.Event)
			if r.Event != "end" && !reflect.DeepEqual(r.Args, want) {
				t.Errorf("server %d got\n%#v\nwant\n%#v", k, r.Args, want)
			}
		}
		for other := range nodes {
			if other != k {
				all = append(all, fmt.Sprintf("from %d", other), "end")
			}
		}
		slices.Sort(got)
		slices.Sort(all)
		if !slices.Equal(got, all) {
			t.Errorf("server %d got %q, want %q", k, got, all)
		}
	}
}

func testServerSideAnswers(t *testing.T, w *world) {
	t.Helper()
	nodes := w.open(t, "/")
	given, want := serverSideArguments(w)
	for k, n := range nodes {
		n.Listen("ask", func(args []any) ([]parser.Arg, bool) {
			if !reflect.DeepEqual(args, want) {
				t.Errorf("server %d got\n%#v\nwant\n%#v", k, args, want)
			}
			return values(given, k), true
		})
	}
	for k, n := range nodes {
		seen := map[float64]bool{}
		a := answers{t: t}
		if err := n.Adapter.ServerSide(deadline(t), packet(n, "ask", given...), a.add); err != nil {
			t.Fatal(err)
		}
		for _, x := range a.got {
			vs, err := plain(x.Args)
			if err != nil || len(vs) == 0 || !reflect.DeepEqual(vs[0], want) {
				t.Errorf("answer\n%#v, %v\nwant\n%#v", vs, err, want)
			}
			if len(vs) == 2 {
				seen[vs[1].(float64)] = true
			} else if !w.lacks(FirstServerAnswer) {
				t.Errorf("%d arguments in an answer", len(vs))
			}
			if x.Socket != "" {
				t.Errorf("answer of socket %q", x.Socket)
			}
		}
		if len(a.got) != len(nodes)-1 || seen[float64(k)] {
			t.Errorf("server %d has %d answers of %v", k, len(a.got), seen)
		}
	}
}

// testServerSideIncomplete covers servers that nobody listens on.
func testServerSideIncomplete(t *testing.T, w *world) {
	t.Helper()
	nodes := w.open(t, "/")
	n, others := nodes[0], nodes[1:]
	last := nodes[len(nodes)-1]
	for _, o := range others {
		if o != last {
			o.Listen("ask", func([]any) ([]parser.Arg, bool) { return values("yes"), true })
		}
	}
	if len(others) == 0 {
		if err := n.Adapter.ServerSide(deadline(t), packet(n, "ask"), func(adapter.Answer) { t.Error("an answer") }); err != nil {
			t.Error(err)
		}
		return
	}
	cause := errors.New("the test is tired")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 1)
	a := answers{t: t}
	go func() { // ends when ctx does
		done <- n.Adapter.ServerSide(ctx, packet(n, "ask"), a.add)
	}()
	testkit.Eventually(t, "all were asked", func() bool { return a.len() == len(others)-1 && len(last.Events()) == 1 })
	cancel(cause)
	var inc *adapter.Incomplete
	if err := <-done; !errors.As(err, &inc) || !errors.Is(err, cause) {
		t.Fatalf("error %v", err)
	}
	if inc.Expected != len(others) || inc.Received != len(others)-1 {
		t.Errorf("%+v", inc)
	}
}

// testNamespaces covers T22 for namespaces: each is alone, whatever it is called.
func testNamespaces(t *testing.T, w *world) {
	t.Helper()
	spaces := []string{
		"/", "/a", "/a#", "/a#b", "/*", "/?", "/[a]", "/[", "/\\", "/\u00e9t\u00e9", "/\U0001F41F", "/a b", "/a,b", "/a/b", "/%23",
	}
	worlds := map[string][]*node{}
	for _, name := range spaces {
		worlds[name] = w.open(t, name)
		for k, n := range worlds[name] {
			sayID(n.connect(t, id(k, 0), "red"))
		}
	}
	if _, err := w.clusters[0].Open(NewHost(t, "/")); err == nil {
		t.Error("a namespace was opened twice")
	}
	for _, name := range spaces {
		for _, n := range worlds[name] {
			broadcast(t, n, adapter.Options{}, name)
			broadcast(t, n, adapter.Options{Rooms: []string{"red"}}, name)
			if got, err := n.Count(deadline(t), adapter.Options{}); err != nil || got != w.suite.servers {
				t.Errorf("%s: count %d, %v", name, got, err)
			}
			a := answers{t: t}
			if err := n.BroadcastWithAck(deadline(t), packet(n, name), adapter.Options{}, a.add); err != nil || a.len() != w.suite.servers {
				t.Errorf("%s: %d answers, %v", name, a.len(), err)
			}
		}
	}
	for _, name := range spaces {
		barrier(t, worlds[name])
		for _, s := range sockets(worlds[name]) {
			got := names(s)
			if len(got) != 3*w.suite.servers || slices.ContainsFunc(got, func(e string) bool { return e != name }) {
				t.Errorf("%s: %s got %q", name, s.id, got)
			}
		}
	}
}
