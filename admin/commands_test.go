package admin

import (
	"errors"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/parser"
)

// TestCommands_Fields sends values of each type in each place of each command. None harms, and those that are not what is
// asked for are refused.
func TestCommands_Fields(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true, Write: true})
	p := s.page(nil)
	c := s.join("/", client.Config{})
	call := func(name string, args ...any) (refused string) {
		t.Helper()
		r, err := p.EmitWithAck(t.Context(), name, args...)
		if err != nil {
			t.Fatal(name, args, err)
		}
		var a answer
		if err := r.Scan(&a); err != nil || a.OK == (a.Error != "") {
			t.Fatal(name, args, a, err)
		}
		return a.Error
	}
	goods := map[string][]any{
		"emit":        {"/", "nobody", "event", 1},
		"join":        {"/", "room", "nobody"},
		"leave":       {"/", "room", "nobody"},
		"_disconnect": {"/", false, "nobody"},
	}
	for name, good := range goods {
		if e := call(name, good...); e != "" {
			t.Errorf("%s %v: %s", name, good, e)
		}
		for i := range good {
			for kind, v := range kinds {
				args := append([]any{}, good...)
				args[i] = v
				e := call(name, args...)
				allowed := name == "emit" && i == 3 || // arguments of the event
					name == "_disconnect" && i == 1 && (v == true || v == false) ||
					name != "_disconnect" && i == 1 && name != "emit" && v == "x" || // a room
					name == "emit" && i == 2 && v == "x" || // an event
					i == filterOf(name) && (v == "x" || v == nil || v == "")
				if i == filterOf(name) && name == "_disconnect" && (v == nil || v == "") {
					c = s.join("/", client.Config{}) // it was not spared
				}
				if allowed != (e == "") {
					t.Errorf("%s with %s at %d: %q", name, kind, i, e)
				}
			}
			if i < 2 || name == "emit" && i < 3 {
				if e := call(name, good[:i]...); e == "" {
					t.Errorf("%s with %d arguments", name, i)
				}
			}
		}
	}
	for name := range goods {
		if name != "emit" {
			if e := call(name, append(append([]any{}, goods[name]...), 1)...); e == "" {
				t.Errorf("%s with one more", name)
			}
		}
		for _, nsp := range []any{"/none", "none", "//", "/admin/", "/ ", "\x00", strings.Repeat("/", 300)} {
			if e := call(name, append([]any{nsp}, goods[name][1:]...)...); e == "" {
				t.Errorf("%s in %q", name, nsp)
			}
		}
	}
	for _, reserved := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		if e := call("emit", "/", nil, reserved); !strings.Contains(e, "reserved") {
			t.Errorf("%s: %q", reserved, e)
		}
	}
	if e := call("emit", "/admin", nil, "config", map[string]any{}); !strings.Contains(e, "no events for pages") {
		t.Errorf("an event for pages: %q", e)
	}
	var names []string
	for n := range s.io.Namespaces() {
		names = append(names, n.Name())
	}
	same(t, "namespaces", names, []string{"/", "/admin"})
	if !c.Connected() {
		t.Error("the client is out")
	}
}

// filterOf is the place of the filter.
func filterOf(name string) int {
	if name == "emit" {
		return 1
	}
	return 2
}

// A page that may only look can do nothing.
func TestCommands_ReadOnly(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true})
	p := s.page(nil)
	c := s.join("/", client.Config{})
	for _, order := range [][]any{
		{"_disconnect", "/", true}, {"emit", "/", nil, "no"}, {"join", "/", "no"}, {"leave", "/", c.ID()},
	} {
		must(t, p.Emit(order[0].(string), order[1:]...))
	}
	// The next connection of the page comes after its orders.
	must(t, p.Close())
	testkit.Eventually(t, "the page is gone", func() bool { return len(s.a.Pages()) == 0 })
	sock, ok := s.io.Of("/").Socket(c.ID())
	if !ok || len(sock.Rooms()) != 1 || len(c.all()) != 0 || !c.Connected() {
		t.Error("an order was obeyed")
	}
}

// Binary arguments stay so.
func TestCommands_Binary(t *testing.T) {
	t.Parallel()
	s := setup(t, Options{Open: true, Write: true})
	p := s.page(nil)
	c := s.join("/", client.Config{})
	must(t, p.Emit("emit", "/", c.ID(), "bytes", []byte{1, 2}, map[string]any{"in": []byte{3}}))
	same(t, "arguments", c.find("bytes", nil), []any{[]byte{1, 2}, map[string]any{"in": []byte{3}}})
}

func FuzzCommands(f *testing.F) {
	for _, seed := range []string{
		`["/","room","filter"]`, `["/",null,"event",1,{"a":[]}]`, `["/",true]`, `["/",false,""]`, `[1]`, `[null,null,null]`, `[]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p parser.Packet
		d := parser.JSON().NewDecoder(parser.Limits{}, 5)
		if done, err := d.Add(&p, []byte(`2["x",`+strings.TrimPrefix(text, "[")), false); err != nil || !done {
			return
		}
		for name, kind := range commands {
			c, err := kind.parse(p.Args)
			if err != nil {
				continue
			}
			if c.namespace == "" || len(c.namespace) > maxName || len(c.filter) > maxRoom || len(c.room) > maxRoom ||
				len(c.event) > maxName || parser.Reserved(c.event) {
				t.Errorf("%s %s: %+v", name, text, c)
			}
		}
	})
}

// An order that the cluster cannot carry out is told as such.
func TestCommands_Errors(t *testing.T) {
	t.Parallel()
	io, err := sockeye.New(sockeye.Config{})
	must(t, err)
	a := &Admin{io: io, nsp: io.Of("/admin")}
	must(t, io.Close())
	var m sockeye.Message
	m.Init("join", []parser.Arg{parser.Value("/"), parser.Value("r")}, nil, 0)
	if _, err := a.run(t.Context(), &m); err == nil || errors.Is(err, errArguments) {
		t.Errorf("error %v", err)
	}
}
