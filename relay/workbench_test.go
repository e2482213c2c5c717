package relay

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/relay/rest"
)

func TestServer_About(t *testing.T) {
	t.Parallel()
	peers := func() []Peer { return []Peer{{"two", "http://127.0.0.1:2/"}} }
	_, url := start(t, Config{Name: "one", Peers: peers})
	p, id := connect(t, url)
	p.want(`["sockeye:server"]`, ok)
	same(t, "open mode", p.wait("2"), fmt.Sprintf(`["sockeye:server",{"name":"one","cluster":false,"recovery":false,"identity":false,"presence":false,`+
		`"servers":[{"name":"two","url":"http://127.0.0.1:2/"}],"you":{"id":%q}}]`, id))
	p.want(`["sockeye:profile",{"name":"Ann"}]`, ok)
	p.want(`["sockeye:server"]`, ok)
	if got := p.wait("2"); !strings.Contains(got, fmt.Sprintf(`"you":{"id":%q,"name":"Ann"}`, id)) {
		t.Errorf("with a name: %s", got)
	}
}

// Two servers have names of their own, also where nobody gives them any.
func TestServer_AboutName(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for range 2 {
		s, _ := start(t, Config{})
		if !strings.HasPrefix(s.name, "server-") {
			t.Errorf("name %q", s.name)
		}
		names[s.name] = true
	}
	if len(names) != 2 {
		t.Errorf("names %v", names)
	}
}

func TestServer_AboutUser(t *testing.T) {
	t.Parallel()
	expires := time.Now().Add(time.Hour)
	who := names{"ann": {ID: "u1", Name: "Ann", Rooms: []string{"org:*"}, Expires: expires}}
	_, url := start(t, Config{Identity: who, Name: "one", IO: sockeye.Config{Recovery: &sockeye.Recovery{}}})
	p := as(t, url, "ann")
	p.want(`["sockeye:server"]`, ok)
	got := p.wait("2")
	for _, part := range []string{
		`"recovery":true,"identity":true,"presence":false,"servers":[]`, `"name":"Ann","user":"u1","rooms":["org:*"],"expires":` + strconv.FormatInt(expires.UnixMilli(), 10),
	} {
		if !strings.Contains(got, part) {
			t.Errorf("%s lacks %s", got, part)
		}
	}
}

// The users of sockets are told to those who may see who is there, so that two tabs of one are seen as such.
func TestServer_WhoTellsUsers(t *testing.T) {
	t.Parallel()
	who := names{"ann": {ID: "u1", Name: "Ann", Rooms: []string{"*"}}, "bob": {ID: "u2", Name: "Bob", Rooms: []string{"*"}}}
	_, url := start(t, Config{Identity: who})
	a := as(t, url, "ann")
	a.want(`["join","r"]`, ok)
	if got := a.call(`["sockeye:who","r"]`); !strings.Contains(got, `"name":"Ann","user":"u1"}]`) {
		t.Errorf("who: %s", got)
	}
	b := as(t, url, "bob")
	b.want(`["join","r"]`, ok)
	if got := a.wait("2"); !strings.HasPrefix(got, `["sockeye:here",`) || !strings.HasSuffix(got, `"name":"Bob","user":"u2"}]`) {
		t.Errorf("here: %s", got)
	}
	if err := b.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got := a.wait("2"); !strings.HasPrefix(got, `["sockeye:gone",`) || !strings.HasSuffix(got, `"name":"Bob","user":"u2"}]`) {
		t.Errorf("gone: %s", got)
	}
}

// record is a Presence that knows of a number of users.
type record struct {
	rest.Presence

	users int
	err   error
}

func (r *record) Count(context.Context) (int, error) { return r.users, r.err }

func TestServer_Online(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		known rest.Presence
		want  string
	}{
		"no record": {nil, `[{"ok":false,"error":{"code":"no_presence","message":"This server keeps no record of who is online."}}]`},
		"users":     {&record{users: 7}, `[{"ok":true,"users":7,"complete":true}]`},
		"partly":    {&record{users: 2, err: presence.ErrPartial}, `[{"ok":true,"users":2,"complete":false}]`},
		"not":       {&record{err: presence.ErrClosed}, `[{"ok":false,"error":{"code":"unavailable","message":"The other servers cannot be asked at the moment."}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := start(t, Config{REST: rest.Config{Presence: c.known}})
			p, _ := connect(t, url)
			p.want(`["sockeye:online"]`, c.want)
			p.want(`["sockeye:server"]`, ok)
			if got, want := p.wait("2"), `"presence":`+strconv.FormatBool(c.known != nil); !strings.Contains(got, want) {
				t.Errorf("%s lacks %s", got, want)
			}
		})
	}
}
