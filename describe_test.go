package sockeye_test

import (
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/parser"
)

// What DescribeData makes of data is what FetchSockets tells; the data stays as it is, and a panic changes nothing.
func TestServer_DescribeData(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.connect()
	var s *sockeye.Socket
	for s = range b.Of("/").Sockets() {
		s.SetData("mine")
	}
	fetched := func() (data any) {
		t.Helper()
		all, err := b.Of("/").All().FetchSockets(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if err := all[0].Data.Scan(&data); err != nil {
			t.Fatal(err)
		}
		return data
	}
	offA := b.DescribeData(func(of *sockeye.Socket, data parser.Arg) parser.Arg {
		v, err := data.Any()
		return parser.Value([]any{of.ID(), v, err == nil})
	})
	offB := b.DescribeData(func(*sockeye.Socket, parser.Arg) parser.Arg { panic("no") })
	if got, ok := fetched().([]any); !ok || len(got) != 3 || got[0] != s.ID() || got[1] != "mine" {
		t.Errorf("fetched %v", got)
	}
	if s.Data() != "mine" {
		t.Errorf("data %v", s.Data())
	}
	if in := b.faults.panics(); len(in) != 1 {
		t.Errorf("panics %v", in)
	}
	offA()
	offB()
	if got := fetched(); got != "mine" {
		t.Errorf("fetched %v", got)
	}
}

// The sockets of a client have one ClientID, those of another client another one, and none is the secret id.
func TestSocket_ClientID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.Of("/a")
	b.connect("/", "/a")
	b.connect()
	seen := map[string]int{}
	for _, n := range []string{"/", "/a"} {
		for s := range b.Of(n).Sockets() {
			seen[s.ClientID()]++
		}
	}
	if len(seen) != 2 {
		t.Errorf("ids %v", seen)
	}
	for id := range seen {
		if len(id) != 12 {
			t.Errorf("length of %s", id)
		}
	}
}
