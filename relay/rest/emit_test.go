package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const done = `{"accepted":true}`

func TestEmit_Targets(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	people := map[string]*person{
		"ann": n.join("ann", "red"), "ann2": n.join("ann", ""), "bob": n.join("bob", "red,blue"), "old": n.join("cid", "blue", true),
		"nobody": n.join("", "blue"),
	}
	id := func(name string) string {
		if name == "old" {
			return identity.HashID(people[name].ID())
		}
		return people[name].ID()
	}
	for _, test := range []struct{ name, selection, want string }{
		{"all", `"to":{"all":true}`, "ann ann2 bob nobody old"},
		{"room", `"to":{"rooms":["red"]}`, "ann bob"},
		{"rooms", `"to":{"rooms":["red","blue"]}`, "ann bob nobody old"},
		{"no such room", `"to":{"rooms":["green"]}`, ""},
		{"user", `"to":{"users":["ann"]}`, "ann ann2"},
		{"user of 2.x", `"to":{"users":["cid"]}`, "old"},
		{"socket", `"to":{"sockets":["` + id("ann2") + `"]}`, "ann2"},
		{"socket of 2.x", `"to":{"sockets":["` + id("old") + `"]}`, "old"},
		{"all kinds", `"to":{"rooms":["red"],"users":["cid"],"sockets":["` + id("nobody") + `"]}`, "ann bob nobody old"},
		{"except a room", `"to":{"all":true},"except":{"rooms":["red"]}`, "ann2 nobody old"},
		{"except a user", `"to":{"rooms":["red"]},"except":{"users":["ann"]}`, "bob"},
		{"except a socket", `"to":{"users":["ann"]},"except":{"sockets":["` + id("ann") + `"]}`, "ann2"},
		{"except nobody", `"to":{"users":["ann"]},"except":{}`, "ann ann2"},
	} {
		n.call("POST", "/v1/emit", `{`+test.selection+`,"event":"e","args":[`+fmt.Sprintf("%q", test.name)+`]}`).is(http.StatusAccepted, done)
		for name, p := range people {
			if slices.Contains(strings.Fields(test.want), name) {
				p.wants(`["e","` + test.name + `"]`)
			}
		}
	}
	for _, p := range people {
		p.nothing(n)
	}
}

func TestEmit_Arguments(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	p := n.join("ann", "")
	for _, args := range []string{
		`[]`, `[1,"two",null,true,{"three":[]}]`, `[{"$base64":"AQID"}]`, `[{"a":[{"$base64":""},7]},"$base64"]`,
		`[{"$base64":1}]`, `[{"$base64":"AQID","b":1}]`, `["\u00e9\ud83d\udc1f"]`,
	} {
		n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"e","args":`+args+`}`).is(http.StatusAccepted, done)
		if args == `[]` {
			p.wants(`["e"]`)
			continue
		}
		p.wants(`["e",` + args[1:])
	}
	n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"none","volatile":true}`).is(http.StatusAccepted, done)
	p.wants(`["none"]`)
	// Integers are not changed on the way.
	n.call("POST", "/v1/emit", `{"to":{"all":true},"event":"ask","args":[9007199254740993,{"$base64":"AQID"}],"ack":{}}`).
		is(http.StatusOK, `{"replies":[{"socket":"`+p.ID()+`","args":["ann",9007199254740993,{"$base64":"AQID"}]}],"received":1,"complete":true,"truncated":false}`)
}

func TestEmit_Acks(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	ann, bob, old := n.join("ann", "red"), n.join("bob", "red"), n.join("cid", "red", true)
	var got replies
	n.call("POST", "/v1/emit", `{"to":{"rooms":["red"]},"event":"ask","args":[7],"ack":{"timeout":10000}}`).into(&got)
	want := map[string]string{ann.ID(): "ann", bob.ID(): "bob", identity.HashID(old.ID()): "cid"}
	for _, r := range got.Replies {
		if len(r.Args) != 2 || r.Args[0] != want[r.Socket] || r.Args[1] != 7.0 {
			t.Errorf("reply %+v", r)
		}
		delete(want, r.Socket)
	}
	if len(want) > 0 || !got.Complete || got.Received != 3 || got.Missing != nil {
		t.Errorf("%+v, missing %v", got, want)
	}
	got = replies{}
	n.call("POST", "/v1/emit", `{"to":{"rooms":["red"]},"event":"silence","ack":{"timeout":1}}`).into(&got)
	if got.Complete || got.Missing == nil || len(got.Missing.Sockets) != 3 || slices.Contains(got.Missing.Sockets, old.ID()) ||
		!slices.Contains(got.Missing.Sockets, identity.HashID(old.ID())) || !slices.Contains(got.Missing.Sockets, ann.ID()) {
		t.Errorf("%+v %+v", got, got.Missing)
	}
	got = replies{}
	n.call("POST", "/v1/emit", `{"to":{"rooms":["red"]},"event":"ask","ack":{"limit":2}}`).into(&got)
	if len(got.Replies) != 2 || got.Received != 3 || !got.Truncated || !got.Complete {
		t.Errorf("limited: %+v", got)
	}
	n.call("POST", "/v1/emit", `{"to":{"rooms":["nobody"]},"event":"ask","ack":{}}`).
		is(http.StatusOK, `{"replies":[],"received":0,"complete":true,"truncated":false}`)
}

// A request to one server reaches the clients of another, and their answers come back.
func TestEmit_Cluster(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), Config{})
	b := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), Config{})
	ann, old := a.join("ann", "red"), a.join("cid", "", true)
	b.call("POST", "/v1/emit", `{"to":{"users":["ann","cid"]},"event":"hello"}`).is(http.StatusAccepted, done)
	ann.wants(`["hello"]`)
	old.wants(`["hello"]`)
	// What the servers of this adapter say to each other has no ids of sockets beside the first argument of replies.
	var got replies
	b.call("POST", "/v1/emit", `{"to":{"all":true},"event":"ask","args":[1],"ack":{"timeout":10000}}`).into(&got)
	if len(got.Replies) != 2 || !got.Complete || got.Replies[0].Socket+got.Replies[1].Socket != "" {
		t.Errorf("%+v", got)
	}
	got = replies{}
	b.call("POST", "/v1/emit", `{"to":{"all":true},"event":"ask","ack":{"timeout":10000,"bySocket":true}}`).into(&got)
	want := map[string]string{ann.ID(): "ann", identity.HashID(old.ID()): "cid"}
	for _, r := range got.Replies {
		if len(r.Args) != 1 || r.Args[0] != want[r.Socket] {
			t.Errorf("reply %+v", r)
		}
		delete(want, r.Socket)
	}
	if len(want) > 0 || !got.Complete {
		t.Errorf("%+v, missing %v", got, want)
	}
	got = replies{}
	b.call("POST", "/v1/emit", `{"to":{"users":["ann"]},"event":"silence","ack":{"timeout":500,"bySocket":true}}`).into(&got)
	if got.Complete || len(got.Missing.Sockets) != 1 || got.Missing.Sockets[0] != ann.ID() {
		t.Errorf("%+v %+v", got, got.Missing)
	}
	b.call("POST", "/v1/join", `{"to":{"users":["ann"]},"rooms":["green"]}`).is(http.StatusAccepted, done)
	b.call("POST", "/v1/emit", `{"to":{"rooms":["green"]},"event":"in green"}`).is(http.StatusAccepted, done)
	ann.wants(`["ask",1]`, `["ask"]`, `["silence"]`, `["in green"]`)
	var page socketPage
	b.call("GET", "/v1/sockets?room=green", "").into(&page)
	if len(page.Sockets) != 1 || page.Sockets[0].User != "ann" || page.Sockets[0].ID != ann.ID() {
		t.Errorf("%+v", page)
	}
	var one user
	b.call("GET", "/v1/users/ann", "").into(&one)
	if one.Sockets == nil || *one.Sockets != 1 {
		t.Errorf("%+v", one)
	}
	b.call("POST", "/v1/disconnect", `{"to":{"users":["ann"]}}`).is(http.StatusAccepted, done)
	ann.disconnected()

	// Alone, it says what it cannot do.
	hub.Stop()
	b.call("GET", "/v1/count", "").fails(http.StatusServiceUnavailable, "unavailable", "")
	if r := b.call("POST", "/v1/emit", `{"to":{"all":true},"event":"e"}`); r.status != http.StatusServiceUnavailable || r.head.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	ann, bob := n.join("ann", "red"), n.join("bob", "red")
	n.call("POST", "/v1/join", `{"to":{"rooms":["red"]},"except":{"users":["bob"]},"rooms":["blue","green"]}`).is(http.StatusAccepted, done)
	n.call("GET", "/v1/rooms", "").is(http.StatusOK,
		`{"rooms":[{"room":"blue","sockets":1},{"room":"green","sockets":1},{"room":"red","sockets":2}],"next":null,"complete":true}`)
	n.call("POST", "/v1/leave", `{"to":{"all":true},"rooms":["red","blue","none"]}`).is(http.StatusAccepted, done)
	n.call("GET", "/v1/rooms", "").is(http.StatusOK, `{"rooms":[{"room":"green","sockets":1}],"next":null,"complete":true}`)
	n.call("POST", "/v1/disconnect", `{"to":{"sockets":["`+ann.ID()+`"]},"close":false}`).is(http.StatusAccepted, done)
	ann.disconnected()
	n.call("POST", "/v1/disconnect", `{"to":{"rooms":["red"]}}`).is(http.StatusAccepted, done)
	bob.nothing(n)
}

func TestBatch(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{MaxBatch: 5})
	ann := n.join("ann", "")
	n.call("POST", "/v1/batch", `{"operations":[
		{"op":"join","to":{"users":["ann"]},"rooms":["r"]}, {"op":"emit","to":{"rooms":["r"]},"event":"one"},
		{"op":"emit","to":{"rooms":["r"]},"event":"two","args":[{"$base64":"AQ=="}]},
		{"op":"leave","to":{"users":["ann"]},"rooms":["r"]}, {"op":"emit","to":{"rooms":["r"]},"event":"three"}]}`).
		is(http.StatusOK, `{"results":[{"status":202},{"status":202},{"status":202},{"status":202},{"status":202}],"failed":0,"skipped":0}`)
	ann.wants(`["one"]`, `["two",{"$base64":"AQ=="}]`)
	ann.nothing(n)
	// One that goes wrong while it is done, which no check finds: a placeholder beside bytes.
	bad := `{"op":"emit","to":{"all":true},"event":"e","args":[{"_placeholder":true,"num":5},{"$base64":"AQ=="}]}`
	last := `{"op":"disconnect","to":{"users":["nobody"]}}`
	var got batchAnswer
	n.call("POST", "/v1/batch", `{"operations":[`+bad+`,`+last+`]}`).into(&got)
	if len(got.Results) != 2 || got.Failed != 1 || got.Skipped != 0 || got.Results[0].Problem == nil || got.Results[1].Status != 202 ||
		got.Results[0].Problem.Errors[0].Pointer != "/operations/0/args" {
		t.Errorf("%+v", got)
	}
	got = batchAnswer{}
	n.call("POST", "/v1/batch", `{"operations":[`+bad+`,`+last+`],"stopOnError":true}`).into(&got)
	if len(got.Results) != 1 || got.Failed != 1 || got.Skipped != 1 {
		t.Errorf("%+v", got)
	}
	// Nothing is done where one is malformed.
	good := `{"op":"emit","to":{"all":true},"event":"e"}`
	for _, test := range []struct{ ops, at string }{
		{`[` + good + `,{"op":"fly"}]`, "/operations/1/op"},
		{`[` + good + `,{"op":1}]`, "/operations/1/op"},
		{`[` + good + `,7]`, "/operations/1"},
		{`[` + good + `,{"op":"emit","to":{"all":true},"event":"e","ack":{}}]`, "/operations/1/ack"},
		{`[` + good + `,{"op":"join","to":{"all":true},"rooms":[1]}]`, "/operations/1/rooms/0"},
		{`[` + good + `,{"op":"disconnect","to":{"all":true},"event":"e"}]`, "/operations/1/event"},
		{`[]`, "/operations"},
		{`[` + strings.Repeat(good+",", 5) + good + `]`, "/operations"},
	} {
		n.call("POST", "/v1/batch", `{"operations":`+test.ops+`}`).fails(http.StatusUnprocessableEntity, "invalid_request", test.at)
	}
	ann.nothing(n)
}

func FuzzArguments(f *testing.F) {
	for _, s := range []string{`[1,{"$base64":"AQ=="}]`, `[{"a":[{"$base64":""}]}]`, `[{"$base64":"x"}]`, `["$base64",{"$base64":1,"b":2}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e emitRequest
		if decode(append(append([]byte(`{"to":{"all":true},"event":"e","args":`), b...), '}'), &e) != nil {
			return
		}
		args, p := arguments(e.Args, "")
		if p != nil {
			return
		}
		if _, err := json.Marshal(withoutBytes(args)); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	})
}

// withoutBytes makes texts of bytes, for encoding/json.
func withoutBytes(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutBytes(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = withoutBytes(v[k])
		}
	case []byte:
		return string(v)
	}
	return v
}
