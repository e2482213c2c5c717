package interop

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/admin"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser/msgpack"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/rueidisdriver"
)

// adminPassword is that of the user "admin" on all servers.
const adminPassword = "changeit"

func adminHash(t *testing.T) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(adminPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// adminStore keeps sessions in Redis.
func adminStore(t *testing.T, redis *testkit.Redis) admin.Store {
	t.Helper()
	d, err := rueidisdriver.FromURL(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close driver: %v", err)
		}
	})
	return admin.RedisStore{Redis: d}
}

// startAdmin starts a server of ours with the admin namespace, on a Redis if there is one.
func startAdmin(t *testing.T, redis *testkit.Redis, c sockeye.Config, o admin.Options, pages ...http.Handler) (url string, io *sockeye.Server) {
	t.Helper()
	o.Users = map[string]string{"admin": adminHash(t)}
	if redis != nil {
		c.Adapter = redisadapter.PubSub(connect(t, redis), redisadapter.PubSubOptions{})
	}
	io, err := sockeye.New(c)
	if err != nil {
		t.Fatal(err)
	}
	io.OnConnection(func(_ context.Context, s *sockeye.Socket) {
		var auth struct{ User string }
		_ = s.Auth(&auth) // without it the name is empty
		s.SetData(obj{"user": auth.User})
		s.On("hello", sockeye.HandlerFunc(func(_ context.Context, m *sockeye.Message) error {
			args := list{}
			for _, a := range m.Args() {
				args = append(args, a)
			}
			return s.Emit("hello to you", args...)
		}))
	})
	a, err := admin.Attach(io, o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", io)
	for _, p := range pages {
		mux.Handle("/ui/", http.StripPrefix("/ui", p))
	}
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("close admin: %v", err)
		}
		if err := io.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		web.Close()
	})
	return web.URL, io
}

// find waits for an event of a name whose arguments are right, and gives them.
func (s socket) find(event string, ok func(args list) bool) (args list) {
	s.p.t.Helper()
	eventually(s.p.t, s.name+" gets the right "+event, func() bool {
		var log []struct {
			Kind  string
			Value any
		}
		v, err := s.p.try("log", obj{"name": s.name})
		if err != nil {
			return false
		}
		if err := json.Unmarshal(v, &log); err != nil {
			s.p.t.Fatal(err)
		}
		for _, e := range log {
			if got, is := e.Value.(list); is && e.Kind == "event:"+event && ok(got) {
				args = got
				return true
			}
		}
		return false
	})
	return args
}

// TestAdmin_NodeAndGo has the server's half of the official package and ours in one cluster with one store of sessions. A
// page sees both, and acts on both, whichever it is connected to.
func TestAdmin_NodeAndGo(t *testing.T) {
	t.Parallel()
	redis := testkit.StartRedis(t)
	urls := map[string]string{}
	node := startPeer(t, "server-admin.mjs")
	var url string
	node.do("start", obj{"redis": redis.URL(), "password": adminHash(t), "serverId": "node"}, &url)
	urls["node"] = url
	store := adminStore(t, redis)
	urls["go"], _ = startAdmin(t, redis, sockeye.Config{}, admin.Options{Write: true, ServerID: "go", Store: store})

	p := startPeer(t, "client.mjs")
	open := func(name, server, nsp string, auth obj) socket {
		return p.open(name, urls[server]+nsp, obj{"options": obj{"transports": list{"websocket"}, "auth": auth}})
	}
	clients, ids := map[string]socket{}, map[string]string{}
	for server := range urls {
		clients[server] = open("client of "+server, server, "/", obj{"user": "user of " + server})
		ids[server] = clients[server].connected()
	}
	credentials := obj{"username": "admin", "password": adminPassword}
	refused := open("stranger", "go", "/admin", obj{"username": "admin", "password": "wrong"})
	var why []struct{ Message string }
	p.do("wait", obj{"name": refused.name, "kind": "connect_error", "count": 1}, &why)
	same(t, "refused", why[0].Message, "invalid credentials")

	for here, there := range map[string]string{"node": "go", "go": "node"} {
		first := open("first page of "+here, here, "/admin", credentials)
		session := first.wait("event:session", 1)[0].(list)[0]
		first.disconnect()
		eventually(t, "the session is saved", func() bool { // Node does not wait for that
			known, err := store.Has(t.Context(), session.(string))
			return err == nil && known
		})
		// The other server knows the session.
		page := open("page of "+there, there, "/admin", obj{"sessionId": session})
		page.connected()
		for server := range urls {
			page.find("server_stats", func(args list) bool { return args[0].(obj)["serverId"] == server })
		}
		sockets := page.find("all_sockets", func(args list) bool { return true })[0].(list)
		for server, id := range ids {
			found := false
			for _, v := range sockets {
				s, _ := v.(obj)
				if s["id"] != id {
					continue
				}
				found = true
				client, _ := s["clientId"].(string)
				if len(client) != 12 || s["transport"] != "websocket" {
					t.Errorf("page of %s: the socket of %s is of client %q, by %v", there, server, client, s["transport"])
				}
				same(t, "data", s["data"], obj{"user": "user of " + server})
			}
			if !found {
				t.Errorf("the page of %s has not listed the socket of %s", there, server)
			}
		}
		for server, id := range ids {
			is := func(args list) bool { return args[0] == "/" && args[1] == id }
			joins := func(room string) func(list) bool {
				return func(args list) bool { return args[0] == "/" && args[1] == room && args[2] == id }
			}
			clients[server].emit("hello", "from the client of "+server, bin("AQI="))
			got := page.find("event_received", is)
			same(t, "args", got[2], list{"hello", "from the client of " + server, bin("AQI=")})
			got = page.find("event_sent", is)
			same(t, "args", got[2], list{"hello to you", "from the client of " + server, bin("AQI=")})
			page.emit("join", "/", "room", id)
			page.find("room_joined", joins("room"))
			page.emit("emit", "/", "room", "news of "+there, 1)
			clients[server].find("news of "+there, func(args list) bool { return len(args) == 1 })
			page.emit("leave", "/", "room", id)
			page.find("room_left", joins("room"))
		}
	}
	page := open("last page", "go", "/admin", credentials)
	page.wait("event:all_sockets", 1)
	page.emit("_disconnect", "/", true)
	for server, id := range ids {
		same(t, "reason", clients[server].wait("disconnect", 1), list{"io server disconnect"})
		page.find("socket_disconnected", func(args list) bool { return args[1] == id })
	}
}

// TestAdmin_Msgpack: a page that speaks MessagePack gets dates, as from Node.
func TestAdmin_Msgpack(t *testing.T) {
	t.Parallel()
	url, _ := startAdmin(t, nil, sockeye.Config{Parser: msgpack.New()}, admin.Options{})
	p := startPeer(t, "client.mjs")
	page := p.open("page", url+"/admin", obj{
		"msgpack": true, "options": obj{"auth": obj{"username": "admin", "password": adminPassword}},
	})
	page.connected()
	args := page.find("socket_connected", func(list) bool { return true })
	same(t, "a Date, which has no fields", args[1], obj{})
	page.find("server_stats", func(args list) bool { return args[0].(obj)["clientsCount"] == 1.0 })
}

// TestAdmin_Browser uses the official page as an operator does.
func TestAdmin_Browser(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	const dist = "node/node_modules/@socket.io/admin-ui/ui/dist"
	if _, err := os.Stat(dist); err != nil {
		testkit.Need(t, "the npm packages of interop/node (make setup)")
	}
	ui, err := admin.UI(os.DirFS(dist))
	if err != nil {
		t.Fatal(err)
	}
	url, io := startAdmin(t, nil, sockeye.Config{}, admin.Options{Write: true, ServerID: "salmon-1"}, ui)
	io.Of("/chat")
	p := startPeer(t, "client.mjs")
	ann := p.open("ann", url, obj{"options": obj{"auth": obj{"user": "Ann"}}})
	id := ann.connected()

	b := startPeer(t, "browser.mjs")
	b.do("start", obj{"executable": chromium, "width": 1280, "height": 860}, nil)
	defer b.do("stop", nil, nil)
	page := page{b, "admin"}
	page.open(url + "/ui/")
	const (
		fields = "form .v-text-field input"
		sign   = "form button[type=submit]"
		row    = ".v-data-table tbody tr"
	)
	page.do("fill", obj{"at": fields + " >> nth=0", "text": url})
	page.do("fill", obj{"at": fields + " >> nth=1", "text": "admin"})
	page.do("fill", obj{"at": fields + " >> nth=2", "text": "wrong"})
	page.do("click", obj{"at": sign})
	page.see("form", "Invalid credentials")
	page.do("fill", obj{"at": fields + " >> nth=2", "text": adminPassword})
	page.do("click", obj{"at": sign})
	page.see("header", "connected")

	menu := func(item string) { page.do("click", obj{"at": ".v-navigation-drawer a:has-text(\"" + item + "\")"}) }
	page.see("main .v-card", "/chat") // among the namespaces
	menu("Servers")
	page.see(row, "salmon-1")
	page.see(row, "Healthy")
	menu("Sockets")
	page.see(row, id)
	page.do("click", obj{"at": row + ":has-text(\"" + id + "\") td >> nth=0"})
	page.see("main", "127.0.0.1") // of the first request
	page.see("main", "Ann")
	page.do("fill", obj{"at": ".select-room input[type=text]", "text": "salmon run"})
	page.do("press", obj{"at": ".select-room input[type=text]", "key": "Enter"})
	page.do("click", obj{"at": sign})
	page.see(row, "salmon run")
	sock, _ := io.Of("/").Socket(id)
	eventually(t, "the socket is in the room", func() bool { return slices.Contains(sock.Rooms(), "salmon run") })

	// What happens appears by itself.
	menu("Events")
	ann.emit("hello", 1)
	page.see(row, "hello to you")
	page.see(row, "salmon run")
	bob := p.open("bob", url, obj{"options": obj{"auth": obj{"user": "Bob"}}})
	other := bob.connected()
	page.see(row, other)
	menu("Rooms")
	page.see(row, "salmon run")
	bob.disconnect()
	menu("Dashboard")
	page.see("main .v-card", "Bytes received and sent")
	if os.Getenv("UPDATE_DOCS") == "1" {
		page.do("screenshot", obj{"path": "../docs/admin.png"})
	}

	menu("Sockets")
	page.do("click", obj{"at": row + ":has-text(\"" + id + "\") button"})
	same(t, "reason", ann.wait("disconnect", 1), list{"io server disconnect"})

	// With a session the page is in at once.
	again := page
	again.open(url + "/ui/")
	again.see("header", "connected")
	b.faultless()
}

// faultless checks that nothing went wrong in the pages, but for fonts, which they want from somewhere else.
func (p *peer) faultless() {
	p.t.Helper()
	var faults []string
	p.do("faults", nil, &faults)
	font := regexp.MustCompile(`Failed to load resource|fonts\.googleapis\.com|cdn\.jsdelivr\.net`)
	for _, f := range faults {
		if !font.MatchString(f) {
			p.t.Errorf("in the browser: %s", f)
		}
	}
}
