package redisadapter_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
)

// T22: names of rooms that are like other names deliver as on one server. The own uids of the servers are among them.
func TestOddRooms(t *testing.T) {
	t.Parallel()
	pairs := map[string]func(t *testing.T) (hub *redistest.Hub, a, b *server){
		"classic": func(t *testing.T) (hub *redistest.Hub, a, b *server) {
			t.Helper()
			hub, a, b, _, _ = pair(t, options{SpecificResponses: true})
			return hub, a, b
		},
	}
	for _, mode := range modes {
		pairs[string(mode)] = func(t *testing.T) (hub *redistest.Hub, a, b *server) {
			t.Helper()
			hub, a, b, _, _ = shardedPair(t, shardedOptions{Mode: mode})
			return hub, a, b
		}
	}
	for name, open := range pairs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hub, a, b := open(t)
			rooms := append(uids(t, hub, a, b), "#", "x#", "##", "*", "[a", "?", `\`, " ", "", "\x00", "\r\n", "\U0001F41F",
				twenty, fish20, "socket.io#/#", "/#r", legacy, strings.Repeat("long", 128), "socket-of-a-aaaaaaaa")
			var sockets []*adaptertest.Socket
			for i, room := range rooms {
				for _, s := range []*server{a, b} {
					sockets = append(sockets, s.host.Connect(t, fmt.Sprintf("%d-%p", i, s), room))
				}
			}
			settle(t, a, b)
			for i, room := range rooms {
				for k, s := range []*server{a, b} {
					one, but := adapter.Options{Rooms: []string{room}}, adapter.Options{Rooms: []string{room, "nowhere"}, Except: []string{"r"}}
					if err := s.Broadcast(t.Context(), packet(fmt.Sprintf("%d from %d", i, k)), one); err != nil {
						t.Fatal(err)
					}
					if err := s.Broadcast(t.Context(), packet(fmt.Sprintf("%d, two rooms, from %d", i, k)), but); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i, s := range sockets {
				n := i / 2
				want := []string{
					fmt.Sprintf("%d from 0", n), fmt.Sprintf("%d from 1", n),
					fmt.Sprintf("%d, two rooms, from 0", n), fmt.Sprintf("%d, two rooms, from 1", n),
				}
				if s.InRoom("r") {
					want = want[:2]
				}
				testkit.Eventually(t, fmt.Sprintf("all events for %q", rooms[n]), func() bool { return len(s.Got()) >= len(want) })
				have := got(s)
				slices.Sort(have)
				if !slices.Equal(have, want) {
					t.Errorf("room %q: %q, want %q", rooms[n], have, want)
				}
			}
			if st := b.stats(); st.Malformed > 0 || len(b.host.Faults()) > 0 {
				t.Errorf("%+v %v", st, b.host.Faults())
			}
		})
	}
}

// uids gives those of the servers, which are part of the names of channels.
func uids(t *testing.T, hub *redistest.Hub, servers ...*server) []string {
	t.Helper()
	var all []string
	for _, s := range servers {
		before := len(published(hub))
		if err := s.ServerSide(bounded(t), packet("who"), nil); err != nil {
			t.Fatal(err)
		}
		uid := regexp.MustCompile(`"uid":"([^"]+)"`).FindSubmatch(published(hub)[before].Payload)
		if uid == nil {
			t.Fatal("no uid")
		}
		all = append(all, string(uid[1]))
	}
	return all
}

// A name that is not UTF-8 would arrive as another one, and is refused: nothing is delivered, ordered or published.
func TestInvalidRooms(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	for name, s := range map[string]*server{
		"classic": start(t, hub.Driver(), options{}), "sharded": startSharded(t, hub.Driver(), shardedOptions{}),
	} {
		socket := s.host.Connect(t, "socket-aaaaaaaaaaaaa", "r\xff")
		for _, o := range []adapter.Options{{Rooms: []string{"r\xff"}}, {Except: []string{"\xff"}}} {
			_, fetched := s.Fetch(t.Context(), o)
			for what, err := range map[string]error{
				"broadcast": s.Broadcast(t.Context(), packet("e"), o),
				"ask":       s.BroadcastWithAck(t.Context(), packet("e"), o, nil),
				"order":     s.Command(t.Context(), adapter.Command{Disconnect: true}, o),
			} {
				if !errors.Is(err, redisadapter.ErrRoomName) {
					t.Errorf("%s: %s: %v", name, what, err)
				}
			}
			if fetched != nil {
				t.Errorf("%s: nobody was asked: %v", name, fetched)
			}
		}
		if err := s.Command(t.Context(), adapter.Command{Join: []string{"\xff"}}, adapter.Options{}); !errors.Is(err, redisadapter.ErrRoomName) {
			t.Errorf("%s: join: %v", name, err)
		}
		if len(socket.Got()) > 0 || len(socket.Orders()) > 0 {
			t.Errorf("%s: %v %v", name, socket.Got(), socket.Orders())
		}
	}
	if sent := published(hub); len(sent) > 0 {
		t.Errorf("%d messages were published", len(sent))
	}
}

// A room whose name is longer than sockets may join is skipped when a peer orders it; others of the order are not.
func TestLongRooms(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 513)
	join := `{"type":%s,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"rooms":["%s","%s"]},"uid":"0123456789abcdef","nsp":"/"}`
	classic := `{"uid":"abcdef","type":%s,"opts":{"rooms":[],"except":[]},"rooms":["%s","%s"]}`
	hub := redistest.NewHub()
	for name, c := range map[string]struct {
		s      *server
		inject func(payload []byte)
		order  string
	}{
		"classic": {
			start(t, hub.Driver(), options{}),
			func(b []byte) { hub.Inject("socket.io-request#/#", b) }, fmt.Sprintf(classic, "2", long, long[1:]),
		},
		"sharded": {
			startSharded(t, hub.Driver(), shardedOptions{}),
			func(b []byte) { hub.InjectSharded("socket.io#/#", b) }, fmt.Sprintf(join, "4", long, long[1:]),
		},
	} {
		socket := c.s.host.Connect(t, "socket-aaaaaaaaaaaaa")
		c.inject([]byte(c.order))
		testkit.Eventually(t, name+": the longest name that is joined", func() bool { return socket.InRoom(long[1:]) })
		testkit.Eventually(t, name+": the other is counted", func() bool { return c.s.stats().Malformed == 1 })
		if socket.InRoom(long) || len(c.s.host.Faults()) != 1 {
			t.Errorf("%s: joined, or not reported: %v", name, c.s.host.Faults())
		}
	}
}
