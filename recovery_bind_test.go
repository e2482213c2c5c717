package sockeye_test

import (
	"context"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
)

func TestSocket_BindRecovery(t *testing.T) { withRecoveries(t, testBindRecovery) }

// Whoever has the secret of another user's session gets a session of their own, and nothing that the other has missed.
func testBindRecovery(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
	type profile struct{ User, Color string }
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		var auth struct{ User string }
		if err := s.Auth(&auth); err != nil {
			return err
		}
		s.SetData(profile{User: auth.User})
		s.BindRecovery("user:" + auth.User)
		return s.Join("user:" + auth.User)
	})
	c := sockets(b)
	p := b.dial()
	first := p.begin("/", `{"user":"ann"}`)
	s := get(t, "socket", c)
	var none profile
	if err := s.ScanRecovered(&none); err != nil || none != (profile{}) {
		t.Errorf("a new socket has the data of a session: %v %v", none, err)
	}
	s.SetData(profile{User: "ann", Color: "red"})
	if err := s.Emit("first"); err != nil {
		t.Fatal(err)
	}
	p.event(&first)
	b.settle()
	b.cut(p, s)
	if err := b.To("user:ann").Emit("secret"); err != nil {
		t.Fatal(err)
	}
	b.settle()

	auth := func(user string) string { return `{"user":"` + user + `",` + first.auth()[1:] }
	thief := b.dial()
	if got := thief.begin("/", auth("eve")); got.SID == first.SID || got.PID == first.PID {
		t.Error("another user has got the session")
	}
	stolen := get(t, "socket", c)
	if stolen.Recovered() || slices.Contains(stolen.Rooms(), "user:ann") {
		t.Errorf("another user: recovered %v, rooms %v", stolen.Recovered(), stolen.Rooms())
	}
	if err := stolen.Emit("next"); err != nil {
		t.Fatal(err)
	}
	var fresh session
	if got := thief.event(&fresh); !slices.Equal(got, []any{"next"}) {
		t.Errorf("another user received %v", got)
	}
}

func TestSocket_ScanRecovered(t *testing.T) { withRecoveries(t, testScanRecovered) }

func testScanRecovered(t *testing.T, a func() adapter.Cluster) {
	t.Helper()
	b := setup(t, sockeye.Config{Adapter: a(), Recovery: &sockeye.Recovery{}})
	b.Use(func(_ context.Context, s *sockeye.Socket) error {
		s.SetData("of the middleware")
		s.BindRecovery("user:ann")
		return s.Join("user:ann")
	})
	c := sockets(b)
	p := b.dial()
	first := p.begin("/", "")
	s := get(t, "socket", c)
	s.SetData(map[string]string{"color": "red"})
	if err := s.Emit("first"); err != nil {
		t.Fatal(err)
	}
	p.event(&first)
	b.settle()
	b.cut(p, s)
	again := b.dial()
	if got := again.begin("/", first.auth()); got.SID != first.SID {
		t.Fatal("not recovered")
	}
	s = get(t, "socket", c)
	var data map[string]string
	if err := s.ScanRecovered(&data); err != nil || data["color"] != "red" || s.Data() != "of the middleware" {
		t.Errorf("data of the session %v (%v), of the middleware %v", data, err, s.Data())
	}
}
