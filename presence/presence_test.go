package presence_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/goredisdriver"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// identity is how the clients of these tests say who they are, and what rooms they want.
type identity struct {
	User  string   `json:"user"`
	Name  string   `json:"name,omitempty"`
	Rooms []string `json:"rooms,omitempty"`
}

func identityOf(s *sockeye.Socket) identity {
	var id identity
	if s.Auth(&id) != nil {
		return identity{}
	}
	return id
}

// node is a server with presence, and what its watcher was told.
type node struct {
	*presence.Presence

	t   testing.TB
	io  *sockeye.Server
	url string

	mu     sync.Mutex
	news   []string
	faults []error
}

// start starts a server; cluster may be nil.
func start(t testing.TB, cluster adapter.Cluster, o presence.Options) *node {
	t.Helper()
	io, err := sockeye.New(sockeye.Config{Adapter: cluster})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, io: io}
	o.User = func(s *sockeye.Socket) (string, bool) { id := identityOf(s).User; return id, id != "" }
	o.Info = func(s *sockeye.Socket) any { return map[string]string{"name": identityOf(s).Name} }
	o.OnFault = func(err error) {
		n.mu.Lock()
		n.faults = append(n.faults, err)
		n.mu.Unlock()
	}
	io.Use(func(_ context.Context, s *sockeye.Socket) error { return s.Join(identityOf(s).Rooms...) })
	io.On("join", sockeye.Func(func(ctx context.Context, room string) (bool, error) {
		return true, sockeye.SocketFrom(ctx).Join(room)
	}))
	io.On("leave", sockeye.Func(func(ctx context.Context, room string) (bool, error) {
		return true, sockeye.SocketFrom(ctx).Leave(room)
	}))
	if n.Presence, err = presence.New(io.Of("/"), o); err != nil {
		t.Fatal(err)
	}
	n.Watch(func(c presence.Change) {
		n.mu.Lock()
		defer n.mu.Unlock()
		sign := "-"
		if c.Online {
			sign = "+"
		}
		n.news = append(n.news, sign+c.Room+"/"+c.User.ID)
	})
	web := httptest.NewServer(io)
	n.url = web.URL
	t.Cleanup(func() {
		_ = n.Close() // the Redis of some tests is gone
		if err := io.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return n
}

func (n *node) told() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.news)
}

// faulty gives what went wrong.
func (n *node) faulty() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return errors.Join(n.faults...)
}

// connect connects a client, which a cleanup closes.
func (n *node) connect(user string, rooms ...string) *client.Socket {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), testkit.Scale(20*time.Second))
	defer cancel()
	c, err := client.Dial(ctx, n.url, client.Config{
		Auth: identity{user, strings.ToUpper(user), rooms}, Transports: []string{"websocket"}, Reconnect: client.Reconnect{Disabled: true},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Manager().Close() }) // closed by the test, perhaps
	return c
}

// order sends an event and waits until it is acknowledged.
func order(t *testing.T, c *client.Socket, event, room string) {
	t.Helper()
	if _, err := c.EmitWithAck(t.Context(), event, room); err != nil {
		t.Fatal(err)
	}
}

// sees waits until a place has exactly these users, for all questions that can be asked.
func (n *node) sees(room string, want ...string) {
	n.t.Helper()
	slices.Sort(want)
	var got string
	ok := func() bool {
		var ids []string
		page := presence.Page{}
		for {
			next, err := n.UsersInRoom(n.t.Context(), room, page.Next, 2)
			if err != nil {
				got = err.Error()
				return false
			}
			for _, u := range next.Users {
				if name, _ := json.Marshal(map[string]string{"name": strings.ToUpper(u.ID)}); string(u.Info) != string(name) {
					got = "info " + string(u.Info)
					return false
				}
				ids = append(ids, u.ID)
			}
			if page = next; page.Next == "" {
				break
			}
		}
		count, err := n.CountRoom(n.t.Context(), room)
		got = fmt.Sprint(ids, count, err)
		for _, id := range want {
			if there, err := n.InRoom(n.t.Context(), room, id); !there || err != nil {
				return false
			}
		}
		there, err2 := n.InRoom(n.t.Context(), room, "nobody")
		return slices.Equal(ids, want) && count == len(want) && err == nil && !there && err2 == nil
	}
	defer func() {
		if n.t.Failed() {
			n.t.Logf("got %s; faults: %v", got, n.faulty())
		}
	}()
	testkit.Eventually(n.t, fmt.Sprintf("in %q are %q", room, want), ok)
}

// hears waits until the watcher was told these changes and no others, in any order.
func (n *node) hears(want ...string) {
	n.t.Helper()
	slices.Sort(want)
	var got []string
	defer func() {
		if n.t.Failed() {
			n.t.Logf("told %q; faults: %v", got, n.faulty())
		}
	}()
	testkit.Eventually(n.t, fmt.Sprintf("%q are told", want), func() bool {
		got = n.told()
		slices.Sort(got)
		return slices.Equal(got, want)
	})
}

// shapes are the ways to keep presence: each makes servers of one cluster.
func shapes(t *testing.T) map[string]func(t *testing.T) func(o presence.Options) *node {
	t.Helper()
	return map[string]func(t *testing.T) func(o presence.Options) *node{
		"memory": func(t *testing.T) func(o presence.Options) *node {
			return func(o presence.Options) *node { return start(t, nil, o) }
		},
		"rueidis": func(t *testing.T) func(o presence.Options) *node {
			url := "redis://" + testkit.StartRedis(t).Addr
			return func(o presence.Options) *node { return overRueidis(t, url, o) }
		},
		"go-redis, streams": func(t *testing.T) func(o presence.Options) *node {
			addr := testkit.StartRedis(t).Addr
			return func(o presence.Options) *node {
				c := redis.NewClient(&redis.Options{Addr: addr})
				t.Cleanup(func() { _ = c.Close() }) // nothing is asked of it any more
				d, err := goredisdriver.New(c, goredisdriver.Options{})
				if err != nil {
					t.Fatal(err)
				}
				o.Redis = d
				return start(t, redisadapter.Streams(d, redisadapter.StreamsOptions{}), o)
			}
		},
		"cluster": func(t *testing.T) func(o presence.Options) *node {
			url := "redis+cluster://" + testkit.StartCluster(t, 3, 0).Nodes[0].Addr
			return func(o presence.Options) *node { return overRueidis(t, url, o) }
		},
	}
}

func overRueidis(t *testing.T, url string, o presence.Options) *node {
	t.Helper()
	d, err := rueidisdriver.FromURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Redis = d
	return start(t, redisadapter.PubSub(d, redisadapter.PubSubOptions{}), o)
}

// One server: sockets come and go, in rooms and out, several of one user.
func TestPresence_OneServer(t *testing.T) {
	t.Parallel()
	for name, open := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := open(t)(presence.Options{
				Grace: -1, Rooms: func(room string) bool { return room != "hidden" },
			})
			a1, a2 := n.connect("a", "r"), n.connect("a", "r", "q", "hidden")
			n.sees("", "a")
			n.sees("r", "a")
			n.sees("q", "a")
			b := n.connect("b}{\x00ü", "r}{")
			n.connect("") // nobody
			n.sees("", "a", "b}{\x00ü")
			n.sees("r}{", "b}{\x00ü")
			n.sees("hidden")
			order(t, b, "join", "r")
			n.sees("r", "a", "b}{\x00ü")
			order(t, b, "leave", "r}{")
			n.sees("r}{")
			if err := a1.Manager().Close(); err != nil {
				t.Fatal(err)
			}
			order(t, a2, "leave", "r")
			n.sees("r", "b}{\x00ü")
			n.sees("q", "a")
			if err := a2.Close(); err != nil { // the socket, not the connection
				t.Fatal(err)
			}
			n.sees("q")
			n.sees("", "b}{\x00ü")
			n.hears("+/a", "+r/a", "+q/a", "+/b}{\x00ü", "+r}{/b}{\x00ü", "+r/b}{\x00ü", "-r}{/b}{\x00ü", "-r/a", "-q/a", "-/a")
			if err := n.faulty(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Several servers: one user on two of them comes and goes once, and everybody is told.
func TestPresence_Servers(t *testing.T) {
	t.Parallel()
	for name, open := range shapes(t) {
		if name == "memory" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := open(t)
			nodes := []*node{one(presence.Options{Grace: -1}), one(presence.Options{Grace: -1}), one(presence.Options{Grace: -1})}
			all := func(f func(n *node)) {
				for _, n := range nodes {
					f(n)
				}
			}
			a0, a1 := nodes[0].connect("a", "r"), nodes[1].connect("a", "r")
			b := nodes[1].connect("b", "r")
			all(func(n *node) { n.sees("r", "a", "b") })
			all(func(n *node) { n.hears("+/a", "+r/a", "+/b", "+r/b") }) // what comes late would be left out
			if err := a0.Manager().Close(); err != nil {
				t.Fatal(err)
			}
			order(t, b, "leave", "r")
			all(func(n *node) { n.sees("r", "a") })
			all(func(n *node) { n.sees("", "a", "b") })
			if err := a1.Manager().Close(); err != nil {
				t.Fatal(err)
			}
			all(func(n *node) { n.sees("", "b") })
			all(func(n *node) { n.hears("+/a", "+r/a", "+/b", "+r/b", "-r/b", "-r/a", "-/a") })
		})
	}
}

// A user whose last socket goes and comes again within the grace, on whatever server, was never gone.
func TestPresence_Grace(t *testing.T) {
	t.Parallel()
	for name, open := range shapes(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := open(t)
			o := presence.Options{Grace: testkit.Scale(2 * time.Second)}
			nodes := []*node{one(o)}
			if name != "memory" {
				nodes = append(nodes, one(o))
			}
			c := nodes[0].connect("a", "r")
			nodes[0].sees("r", "a")
			for i := range 4 {
				next := nodes[i%len(nodes)].connect("a", "r")
				if err := c.Manager().Close(); err != nil {
					t.Fatal(err)
				}
				c = next
			}
			if err := c.Manager().Close(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "the socket has gone", func() bool {
				return nodes[0].io.Conns()+nodes[len(nodes)-1].io.Conns() == 0
			})
			for _, n := range nodes {
				n.sees("")
				n.hears("+/a", "+r/a", "-r/a", "-/a")
			}
		})
	}
}

// Update has a socket belong to somebody else.
func TestPresence_Update(t *testing.T) {
	t.Parallel()
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(io)
	defer web.Close()
	defer io.Close()
	p, err := presence.New(io.Of("/"), presence.Options{
		User:  func(s *sockeye.Socket) (string, bool) { id, ok := s.Data().(string); return id, ok },
		Grace: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	io.On("login", sockeye.Func(func(ctx context.Context, user string) (bool, error) {
		s := sockeye.SocketFrom(ctx)
		s.SetData(user)
		p.Update(s)
		return true, s.Join("r")
	}))
	c, err := client.Dial(t.Context(), web.URL, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Manager().Close()
	for _, user := range []string{"a", "b", strings.Repeat("x", 513), "c"} {
		order(t, c, "login", user)
		want := 1
		if len(user) > 500 {
			want = 0
		}
		testkit.Eventually(t, "one is online, who is valid", func() bool {
			n, err := p.CountRoom(t.Context(), "r")
			ok, err2 := p.Online(t.Context(), user)
			return err == nil && err2 == nil && n == want && ok == (want == 1)
		})
	}
}

// What New refuses, and what comes after Close.
func TestPresence_Misuse(t *testing.T) {
	t.Parallel()
	if _, err := presence.New(nil, presence.Options{}); !errors.Is(err, presence.ErrOptions) {
		t.Error(err)
	}
	n := start(t, nil, presence.Options{})
	if _, err := presence.New(n.io.Of("/"), presence.Options{Expiry: time.Millisecond}); !errors.Is(err, presence.ErrOptions) {
		t.Error(err)
	}
	for range 2 {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	n.connect("a", "r")
	if _, err := n.Users(t.Context(), "", 0); !errors.Is(err, presence.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Online(t.Context(), "a"); !errors.Is(err, presence.ErrClosed) {
		t.Error(err)
	}
	if _, err := n.Count(t.Context()); !errors.Is(err, presence.ErrClosed) {
		t.Error(err)
	}
}

// A watcher that panics does not end the others, and one that was taken out hears nothing more.
func TestPresence_Watch(t *testing.T) {
	t.Parallel()
	n := start(t, nil, presence.Options{Grace: -1})
	n.Watch(func(presence.Change) { panic("watcher") })
	heard := make(chan presence.Change, 10)
	off := n.Watch(func(c presence.Change) { heard <- c })
	n.connect("a")
	if c := <-heard; c.User.ID != "a" || !c.Online || string(c.User.Info) != `{"name":"A"}` {
		t.Errorf("%+v", c)
	}
	off()
	n.connect("b")
	n.hears("+/a", "+/b")
	if len(heard) > 0 {
		t.Error("it was told after it was taken out")
	}
	if err := n.faulty(); err == nil || !strings.Contains(err.Error(), "watcher") {
		t.Errorf("faults %v", err)
	}
}
