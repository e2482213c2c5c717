package relay

import (
	"strings"
	"testing"
)

const ok = `[{"ok":true}]`

func TestServer_Message(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	b, _ := connect(t, url)
	a.want(`["message",1,"two",{"three":[null]}]`, ok)
	same(t, "message", b.wait("2"), `["message",1,"two",{"three":[null]}]`)
	a.send(`2["msg"]`)
	same(t, "msg", b.wait("2"), `["msg"]`)
	// Large integers are not changed on the way.
	a.send(`2["msg",9007199254740993]`)
	if got := b.wait("2"); !strings.Contains(got, "9007199254740993") {
		t.Errorf("msg: %s", got)
	}
	a.nothing()
}

func TestServer_MessageBinary(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	b, _ := connect(t, url)
	a.send(`51-["message",{"a":[{"_placeholder":true,"num":0}]}]`)
	if err := a.conn.Send([]byte{1, 2, 3}, true); err != nil {
		t.Fatal(err)
	}
	same(t, "head", b.wait("51-"), `["message",{"a":[{"_placeholder":true,"num":0}]}]`)
	if got := b.wait("b"); got != "\x01\x02\x03" {
		t.Errorf("attachment %q", got)
	}
}

func TestServer_Rooms(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	b, _ := connect(t, url)
	c, _ := connect(t, url)
	publish := `["publish",{"room":"r","event":"news","data":{"n":1}}]`
	a.refused(publish, "not_in_room")
	a.want(`["join","r"]`, ok)
	a.want(`["join","r"]`, ok)
	b.want(`["join","r"]`, ok)
	a.want(publish, ok)
	same(t, "publish", b.wait("2"), `["news",{"n":1}]`)
	a.want(`["publish",{"room":"r","event":"bare"}]`, ok)
	same(t, "publish without data", b.wait("2"), `["bare"]`)
	a.want(`["publish",{"room":"r","event":"null","data":null}]`, ok)
	same(t, "publish null", b.wait("2"), `["null",null]`)
	b.want(`["leave","r"]`, ok)
	b.want(`["leave","r"]`, ok)
	b.refused(publish, "not_in_room")
	a.want(publish, ok)
	for _, p := range []*peer{a, b, c} {
		p.nothing()
	}
}

func TestServer_PublishBinary(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	b, _ := connect(t, url)
	a.want(`["join","r"]`, ok)
	b.want(`["join","r"]`, ok)
	for _, data := range []string{`P`, `{"deep":P}`, `[1,P]`} {
		data = strings.ReplaceAll(data, "P", `{"_placeholder":true,"num":0}`)
		a.send(`51-["publish",{"room":"r","event":"news","data":` + data + `}]`)
		if err := a.conn.Send([]byte("x"), true); err != nil {
			t.Fatal(err)
		}
		same(t, data, b.wait("51-"), `["news",`+data+`]`)
		if got := b.wait("b"); got != "x" {
			t.Errorf("%s: attachment %q", data, got)
		}
	}
}

func TestServer_Refuses(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, id := connect(t, url)
	_, other := connect(t, url)
	a.want(`["join","r"]`, ok)
	long := strings.Repeat("x", maxRoom+1)
	for _, test := range []struct{ event, code string }{
		{`["join"]`, "invalid_argument"},
		{`["join",1]`, "invalid_argument"},
		{`["join",null]`, "invalid_argument"},
		{`["join",["r"]]`, "invalid_argument"},
		{`["join","r","s"]`, "invalid_argument"},
		{`["join",""]`, "invalid_room"},
		{`["join","` + long + `"]`, "invalid_room"},
		{`["join","sockeye:watch:r"]`, "invalid_room"},
		{`["join","sockeye-session:x"]`, "invalid_room"},
		{`["join","` + other + `"]`, "forbidden"},
		{`["leave",{}]`, "invalid_argument"},
		{`["leave","` + id + `"]`, "forbidden"},
		{`["publish"]`, "invalid_argument"},
		{`["publish","r","e",1]`, "invalid_argument"},
		{`["publish",{"room":1,"event":"e"}]`, "invalid_argument"},
		{`["publish",{"event":"e"}]`, "invalid_room"},
		{`["publish",{"room":"r"}]`, "reserved_event"},
		{`["publish",{"room":"r","event":"disconnect"}]`, "reserved_event"},
		{`["publish",{"room":"r","event":"connect_error"}]`, "reserved_event"},
		{`["publish",{"room":"r","event":"sockeye:here"}]`, "reserved_event"},
		{`["publish",{"room":"r","event":"` + long + `"}]`, "reserved_event"},
		{`["publish",{"room":"s","event":"e"}]`, "not_in_room"},
		{`["sockeye:who","s"]`, "not_in_room"},
		{`["sockeye:who"]`, "invalid_argument"},
		{`["sockeye:profile",{"name":""}]`, "invalid_argument"},
		{`["sockeye:profile",{"name":"` + long + `"}]`, "invalid_argument"},
		{`["sockeye:profile","x"]`, "invalid_argument"},
	} {
		a.refused(test.event, test.code)
	}
	// The longest name is a name, and so are odd ones.
	for _, room := range []string{long[1:], "a room", "#", "*", "\u00e9\U0001f41f", "twenty-characters-ok"} {
		a.want(`["join","`+room+`"]`, ok)
	}
	// Without an acknowledgement nothing is answered.
	a.send(`2["join",1]`)
	a.send(`2["publish",{}]`)
	a.nothing()
}

func TestServer_RoomLimit(t *testing.T) {
	t.Parallel()
	_, url := start(t, Config{})
	a, _ := connect(t, url)
	for i := range 1100 {
		got := a.call(`["join","room ` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26) + `"]`)
		if got != ok {
			if !strings.Contains(got, "too_many_rooms") {
				t.Fatal(got)
			}
			return
		}
	}
	t.Error("no limit of rooms")
}
