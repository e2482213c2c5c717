package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/redisadapter"
	"github.com/sockeye-io/sockeye/redisadapter/redistest"
	"github.com/sockeye-io/sockeye/relay/identity"
)

func TestLists(t *testing.T) {
	t.Parallel()
	hub := redistest.NewHub()
	a := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), Config{})
	b := start(t, redisadapter.PubSub(hub.Driver(), redisadapter.PubSubOptions{}), Config{})
	before := time.Now().Add(-time.Second)
	ann, ann2, old := a.join("ann", "red,blue"), b.join("ann", "red"), b.join("cid", "red", true)
	a.join("bob", "")
	nobody := b.join("", "a/b?c")
	for _, n := range []*node{a, b} {
		n.call("GET", "/v1/count", "").is(http.StatusOK, `{"sockets":5,"users":3,"rooms":3,"complete":true}`)
		n.call("GET", "/v1/count?room=red", "").is(http.StatusOK, `{"sockets":3,"users":2,"rooms":2,"complete":true}`)
		n.call("GET", "/v1/count?room=none", "").is(http.StatusOK, `{"sockets":0,"users":0,"rooms":0,"complete":true}`)
		n.call("GET", "/v1/rooms", "").is(http.StatusOK, `{"rooms":[{"room":"a/b?c","sockets":1},{"room":"blue","sockets":1},
			{"room":"red","sockets":3}],"next":null,"complete":true}`)
		n.call("GET", "/v1/rooms?prefix=b", "").is(http.StatusOK, `{"rooms":[{"room":"blue","sockets":1}],"next":null,"complete":true}`)
		n.call("GET", "/v1/rooms/"+url.PathEscape("a/b?c"), "").is(http.StatusOK, `{"room":"a/b?c","sockets":1,"complete":true}`)
		n.call("GET", "/v1/rooms/none", "").is(http.StatusOK, `{"room":"none","sockets":0,"complete":true}`)
		n.call("GET", "/v1/users", "").is(http.StatusOK, `{"users":[{"user":"ann","sockets":2},{"user":"bob","sockets":1},{"user":"cid","sockets":1}],
			"next":null,"complete":true}`)
		n.call("GET", "/v1/users?room=blue", "").is(http.StatusOK, `{"users":[{"user":"ann","sockets":1}],"next":null,"complete":true}`)
		n.call("GET", "/v1/users/ann", "").is(http.StatusOK, `{"user":"ann","sockets":2,"online":true,"complete":true}`)
		n.call("GET", "/v1/users/eve", "").is(http.StatusOK, `{"user":"eve","sockets":0,"online":false,"complete":true}`)
		var page socketPage
		n.call("GET", "/v1/sockets?user=ann", "").into(&page)
		if len(page.Sockets) != 2 || page.Next != nil {
			t.Fatalf("%+v", page)
		}
		want := []string{ann.ID(), ann2.ID()}
		slices.Sort(want)
		for i, s := range page.Sockets {
			if s.ID != want[i] || s.User != "ann" || s.Name != "ANN" || s.Address != "127.0.0.1" || s.Connected.Before(before) || len(s.Rooms) == 0 {
				t.Errorf("%+v", s)
			}
		}
		r := n.call("GET", "/v1/sockets/"+identity.HashID(old.ID()), "")
		var one socket
		r.into(&one)
		if one.User != "cid" || !slices.Equal(one.Rooms, []string{"red"}) || strings.Contains(r.body, old.ID()) {
			t.Errorf("%s", r.body)
		}
		n.call("GET", "/v1/sockets/"+old.ID(), "").fails(http.StatusNotFound, "not_found", "")
		n.call("GET", "/v1/sockets/red", "").fails(http.StatusNotFound, "not_found", "")
		n.call("GET", "/v1/sockets/sockeye:user:ann", "").fails(http.StatusNotFound, "not_found", "")
		n.call("GET", "/v1/rooms/sockeye:user:ann", "").fails(http.StatusNotFound, "not_found", "")
		n.call("GET", "/v1/users/%00", "").fails(http.StatusNotFound, "not_found", "")
		if r := n.call("GET", "/v1/sockets/"+nobody.ID(), ""); strings.Contains(r.body, `"user"`) {
			t.Errorf("%s", r.body)
		}
		// What clients have sent to connect is nobody's business.
		if body := n.call("GET", "/v1/sockets", "").body; strings.Contains(body, "eaders") || strings.Contains(body, "EIO") || strings.Contains(body, "auth") {
			t.Errorf("%s", body)
		}
	}
}

// With presence the record of who is online is asked.
func TestLists_Presence(t *testing.T) {
	t.Parallel()
	p := &record{users: []string{"ann", "bob", "cid"}}
	n := start(t, nil, Config{Presence: p})
	n.join("ann", "red")
	n.call("GET", "/v1/users?limit=2", "").is(http.StatusOK, `{"users":[{"user":"ann","info":{"of":""}},{"user":"bob","info":{"of":""}}],
		"next":"Ym9i","complete":true}`)
	n.call("GET", "/v1/users?limit=2&cursor=Ym9i&room=red", "").is(http.StatusOK, `{"users":[{"user":"cid","info":{"of":"red"}}],"next":null,"complete":true}`)
	n.call("GET", "/v1/users/bob", "").is(http.StatusOK, `{"user":"bob","sockets":0,"online":true,"complete":true}`)
	n.call("GET", "/v1/users/ann", "").is(http.StatusOK, `{"user":"ann","sockets":1,"online":true,"complete":true}`)
	n.call("GET", "/v1/count", "").is(http.StatusOK, `{"sockets":1,"users":3,"rooms":1,"complete":true}`)
	n.call("GET", "/v1/count?room=red", "").is(http.StatusOK, `{"sockets":1,"users":1,"rooms":1,"complete":true}`)
	p.err = fmt.Errorf("away: %w", presence.ErrPartial)
	nobody := `"complete":false,"missing":{"sockets":[],"servers":[],"silentServers":0}}`
	n.call("GET", "/v1/users?limit=3", "").is(http.StatusOK, `{"users":[{"user":"ann","info":{"of":""}},{"user":"bob","info":{"of":""}},
		{"user":"cid","info":{"of":""}}],"next":null,`+nobody)
	n.call("GET", "/v1/users/ann", "").is(http.StatusOK, `{"user":"ann","sockets":1,"online":true,`+nobody)
	n.call("GET", "/v1/count", "").is(http.StatusOK, `{"sockets":1,"users":3,"rooms":1,`+nobody)
	p.err = presence.ErrClosed
	for _, path := range []string{"/v1/users", "/v1/users/ann", "/v1/count", "/v1/count?room=red"} {
		n.call("GET", path, "").fails(http.StatusServiceUnavailable, "unavailable", "")
	}
}

// record is who is online: all users, of whom the last one is in each room.
type record struct {
	users []string
	err   error
}

func (p *record) Online(_ context.Context, user string) (bool, error) {
	return slices.Contains(p.users, user), p.err
}

func (p *record) Count(context.Context) (int, error) { return len(p.users), p.err }

func (p *record) CountRoom(context.Context, string) (int, error) { return 1, p.err }

func (p *record) Users(ctx context.Context, after string, n int) (presence.Page, error) {
	return p.UsersInRoom(ctx, "", after, n)
}

func (p *record) UsersInRoom(_ context.Context, room, after string, n int) (presence.Page, error) {
	var page presence.Page
	for _, u := range p.users {
		switch {
		case u <= after:
		case len(page.Users) == n:
			page.Next = page.Users[n-1].ID
			return page, p.err
		default:
			page.Users = append(page.Users, presence.User{ID: u, Info: json.RawMessage(fmt.Sprintf(`{"of":%q}`, room))})
		}
	}
	return page, p.err
}

// Pages have everything once, also while it changes.
func TestLists_Pages(t *testing.T) {
	t.Parallel()
	n := start(t, nil, Config{})
	var rooms []string
	for i := range 25 {
		rooms = append(rooms, fmt.Sprintf("room %02d", i))
	}
	p := n.join("ann", strings.Join(rooms, ","))
	var got []string
	cursor := ""
	for pages := 1; ; pages++ {
		var page roomPage
		n.call("GET", "/v1/rooms?limit=10"+cursor, "").into(&page)
		for _, r := range page.Rooms {
			got = append(got, r.Room)
		}
		if page.Next == nil {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		cursor = "&cursor=" + url.QueryEscape(*page.Next)
		n.call("POST", "/v1/leave", `{"to":{"all":true},"rooms":["room 03","room 09"]}`).is(http.StatusAccepted, done)
		n.call("POST", "/v1/join", `{"to":{"sockets":["`+p.ID()+`"]},"rooms":["room 04 and a half"]}`).is(http.StatusAccepted, done)
	}
	if !slices.Equal(got, rooms) {
		t.Errorf("got %v", got)
	}
	var page roomPage
	n.call("GET", "/v1/rooms?limit=1000&cursor=", "").into(&page)
	if len(page.Rooms) != 24 || page.Next != nil {
		t.Errorf("%+v", page)
	}
}

func TestPageOf(t *testing.T) {
	t.Parallel()
	self := func(s string) string { return s }
	all := []string{"a", "b", "c", "d"}
	for _, test := range []struct {
		after string
		limit int
		want  string
		next  bool
	}{
		{"", 4, "abcd", false}, {"", 3, "abc", true}, {"", 1, "a", true}, {"a", 2, "bc", true}, {"b", 2, "cd", false}, {"bb", 9, "cd", false}, {"d", 9, "", false},
	} {
		page, next := pageOf(all, self, test.after, test.limit)
		if strings.Join(page, "") != test.want || (next != nil) != test.next {
			t.Errorf("after %q, %d: %v, next %v", test.after, test.limit, page, next)
		}
	}
	if b, err := json.Marshal(first(pageOf[string](nil, self, "", 1))); err != nil || string(b) != "[]" {
		t.Errorf("an empty page: %s %v", b, err)
	}
}

func first[T, U any](v T, _ U) T { return v }
