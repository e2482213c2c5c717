package interop

import (
	"encoding/base64"
	"slices"
	"sort"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/testkit"
)

// value turns the form of binary in scripts into bytes, script the other way round.
func value(t testing.TB, v any) any {
	t.Helper()
	switch v := v.(type) {
	case obj:
		if s, ok := v["$bin"].(string); ok {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		o := obj{}
		for k, x := range v {
			o[k] = value(t, x)
		}
		return o
	case list:
		return values(t, v)
	}
	return v
}

func script(v any) any {
	switch v := v.(type) {
	case []byte:
		return bin(base64.StdEncoding.EncodeToString(v))
	case obj:
		o := obj{}
		for k, x := range v {
			o[k] = script(x)
		}
		return o
	case list:
		l := make(list, len(v))
		for i := range v {
			l[i] = script(v[i])
		}
		return l
	}
	return v
}

// cluster is one Node server and two of ours on one Redis, each with three clients: <server>-a in red,
// <server>-b in red and blue, <server>-c in none.
type cluster struct {
	t       *testing.T
	kind    kind
	redis   *testkit.Redis
	servers map[string]server
	order   []string
	p       *peer // of the clients
	clients map[string]socket
	ids     map[string]string
	places  map[string]place // of the clients

	generation map[string]int
}

// clusterOptions choose what is not as usual. Of our servers one reaches Redis through rueidis and one through go-redis.
type clusterOptions struct {
	kind       kind              // of adapter; classic is the default
	specific   bool              // answers on channels of their own
	script     string            // of the Node server; server.mjs is the default
	adapter    string            // npm package of the Node server's adapter; that of the kind is the default
	namespaces []string          // besides those that every server has
	generation map[string]int    // of the clients; 4 is the default
	recovery   *sockeye.Recovery // connection state recovery, nil is none
}

// startServers starts a cluster without clients.
func startServers(t *testing.T, o clusterOptions) *cluster {
	t.Helper()
	redis := testkit.StartRedis(t)
	k := o.kind
	if k.name == "" {
		k = kinds[0]
	}
	c := &cluster{
		t: t, kind: k, redis: redis, order: []string{"node", "go1", "go2"}, generation: o.generation,
		clients: make(map[string]socket), ids: make(map[string]string), places: make(map[string]place),
		servers: make(map[string]server),
	}
	if c.generation == nil {
		c.generation = make(map[string]int)
	}
	node := startNode(t, redis, k, o)
	for _, name := range c.order {
		switch {
		case name == "node":
			c.servers[name] = node
		case allNode():
			c.servers[name] = startNode(t, redis, k, o)
		case name == "go1" && o.specific:
			c.servers[name] = startGo(t, specificPubSub(connect(t, redis), noFaults(t, k)), o)
		case name == "go1":
			c.servers[name] = startGo(t, k.ours(connect(t, redis), noFaults(t, k)), o)
		default:
			c.servers[name] = startGo(t, k.ours(connectGoRedis(t, redis), noFaults(t, k)), o)
		}
	}
	c.p = startPeer(t, "client.mjs")
	eventually(t, "three servers in the cluster", func() bool {
		for _, name := range slices.Concat(namespaces, o.namespaces) {
			var count int
			if node.p.do("servers", obj{"nsp": name}, &count); count != 3 && !k.mute {
				return false
			}
		}
		return true
	})
	if k.stream {
		c.prime("/")
	}
	return c
}

// startCluster starts a cluster with the clients.
func startCluster(t *testing.T, o clusterOptions) *cluster {
	t.Helper()
	c := startServers(t, o)
	for _, name := range c.order {
		c.open(name+"-a", name, "/", "red")
		c.open(name+"-b", name, "/", "red", "blue")
		c.open(name+"-c", name, "/")
	}
	return c
}

// open connects a client to a server.
func (c *cluster) open(name, server, nsp string, rooms ...string) socket {
	c.t.Helper()
	more := obj{"options": obj{"transports": list{"websocket"}, "auth": obj{"user": name}}}
	if g := c.generation[name]; g != 0 {
		more["generation"] = g
	}
	s := c.p.open(name, c.servers[server].url()+nsp, more)
	c.ids[name] = s.connected()
	c.clients[name] = s
	if len(rooms) > 0 {
		s.call("join", rooms)
	}
	c.enter(name, server, nsp, rooms...)
	return s
}

// openOver connects a client to a namespace over the connection of another client.
func (c *cluster) openOver(name, other, nsp string, rooms ...string) socket {
	c.t.Helper()
	s := c.p.open(name, nsp, obj{"over": other})
	c.ids[name] = s.connected()
	c.clients[name] = s
	if len(rooms) > 0 {
		s.call("join", rooms)
	}
	c.enter(name, c.places[other].server, nsp, rooms...)
	return s
}

// each runs a test for each server that begins an operation.
func (c *cluster) each(f func(t *testing.T, from string, s server)) {
	t := c.t
	for _, name := range c.order {
		t.Run("from "+name, func(t *testing.T) {
			c.use(t)
			f(t, name, c.servers[name])
		})
	}
	c.use(t)
}

// use makes failures those of t.
func (c *cluster) use(t *testing.T) {
	c.t, c.p.t = t, t
	for _, s := range c.servers {
		switch s := s.(type) {
		case *nodeServer:
			s.p.t = t
		case *goServer:
			s.t = t
		case *goEmitter:
			s.t = t
		}
	}
}

// forget clears what the clients have got.
func (c *cluster) forget() {
	for name := range c.clients {
		c.p.do("clear", obj{"name": name}, nil)
	}
}

// got gives the names of the clients that got an event, as often as they got it, sorted, after everything that
// from has sent came.
func (c *cluster) got(from, event string, args ...any) []string {
	c.t.Helper()
	return c.gotEach(from, event, func(string) list { return args })
}

// gotEach is like got where the arguments are not the same for all.
func (c *cluster) gotEach(from, event string, args func(client string) list) []string {
	c.t.Helper()
	c.servers[from].emit(selection{NSP: "/"}, "mark")
	var names []string
	for name, s := range c.clients {
		s.wait("event:mark", 1)
		for _, e := range s.events() {
			if e == event {
				names = append(names, name)
			}
		}
		if slices.Contains(names, name) {
			same(c.t, name+": arguments", s.wait("event:"+event, 1)[0], emptyNotNil(args(name)))
		}
		c.p.do("clear", obj{"name": name}, nil)
	}
	sort.Strings(names)
	return names
}

// all gives the clients of a kind ("a", "b", "c") on every server.
func all(kinds ...string) []string {
	var names []string
	for _, s := range []string{"go1", "go2", "node"} {
		for _, k := range kinds {
			names = append(names, s+"-"+k)
		}
	}
	return names
}
