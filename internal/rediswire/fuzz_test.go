package rediswire

import (
	"testing"

	"github.com/sockeye-io/sockeye/internal/mpack"
	"github.com/sockeye-io/sockeye/parser"
)

func seeds(f *testing.F, kind string) {
	f.Helper()
	for _, b := range published(f, kind, captures...) {
		f.Add(b)
	}
	for _, v := range load(f, "malformed.json") {
		f.Add(unhex(f, v.Payload))
	}
}

// passOn fails the test if an argument that was read cannot be passed on to clients, or if it can but not as one
// value.
func passOn(t *testing.T, args []parser.Arg) {
	t.Helper()
	for _, a := range args {
		b, err := a.AppendMsgpack(nil)
		if err != nil {
			continue
		}
		if rest, _, err := mpack.Check(b); err != nil || len(rest) > 0 {
			t.Errorf("%x: %d left, %v", b, len(rest), err)
		}
	}
}

// What can be read can be written, and then read as the same.
func FuzzBroadcast(f *testing.F) {
	seeds(f, "#")
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseBroadcast(b)
		if err != nil {
			return
		}
		p, err := m.Packet("/")
		if err != nil {
			return
		}
		passOn(t, p.Args)
		again, err := AppendBroadcast(nil, m.UID, &p, m.Target)
		if err != nil {
			return // an argument that only now turns out to be unreadable
		}
		m2, err := ParseBroadcast(again)
		if err != nil {
			t.Fatalf("%x: %v", again, err)
		}
		p2, err := m2.Packet("/")
		if err != nil || p2.Event != p.Event || len(p2.Args) != len(p.Args) || len(m2.Target.Rooms) != len(m.Target.Rooms) {
			t.Fatalf("%x: %+v %+v %v", again, p2, m2, err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	seeds(f, "-request#")
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b, "/")
		if err != nil {
			return
		}
		passOn(t, r.Packet.Args)
		if r.Legacy || r.Socket != "" {
			return
		}
		again, err := AppendRequest(nil, &r)
		if err != nil {
			return
		}
		r2, err := ParseRequest(again, "/")
		if err != nil || r2.Type != r.Type || r2.ID != r.ID || len(r2.Rooms) != len(r.Rooms) {
			t.Fatalf("%q: %+v %v", again, r2, err)
		}
	})
}

func FuzzResponse(f *testing.F) {
	seeds(f, "-response#")
	f.Fuzz(func(t *testing.T, b []byte) {
		id, peeked := PeekResponseID(string(b))
		r, err := ParseResponse(b)
		if err != nil {
			return
		}
		if peeked && len(id) != 6 {
			t.Errorf("id %q", id)
		}
		passOn(t, r.Args())
		sockets, ok, _ := r.Remotes()
		if !ok {
			return
		}
		again, err := ParseResponse(AppendFetchResponse(nil, &Request{ID: r.ID}, sockets))
		if err != nil {
			t.Fatal(err)
		}
		if same, ok, err := again.Remotes(); !ok || err != nil || len(same) != len(sockets) {
			t.Fatalf("%+v %v %v", same, ok, err)
		}
	})
}
