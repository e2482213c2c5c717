package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/presence"
	"github.com/sockeye-io/sockeye/relay/identity"
)

type user struct {
	User    string          `json:"user"`
	Sockets *int            `json:"sockets,omitempty"`
	Info    json.RawMessage `json:"info,omitempty"`
}

type userPage struct {
	Users []user  `json:"users"`
	Next  *string `json:"next"`
	partial
}

func listUsers(r *request, q *query) (any, *problem) {
	in := q.room()
	after, limit := q.page()
	if p := q.end(); p != nil {
		return nil, p
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	if r.h.c.Presence != nil {
		return r.present(ctx, in, after, limit)
	}
	all, lack, p := roomsOf(ctx, within(r.h.ns, in, ""), identity.UserRoom(""))
	if p != nil {
		return nil, p
	}
	page, next := pageOf(all, func(r room) string { return r.Room }, after, limit)
	users := make([]user, len(page))
	for i, u := range page {
		users[i] = user{User: u.Room, Sockets: &u.Sockets}
	}
	return userPage{users, next, lack}, nil
}

// present gives a page of what Presence knows.
func (r *request) present(ctx context.Context, in, after string, limit int) (any, *problem) {
	var page presence.Page
	var err error
	if in == "" {
		page, err = r.h.c.Presence.Users(ctx, after, limit)
	} else {
		page, err = r.h.c.Presence.UsersInRoom(ctx, in, after, limit)
	}
	lack, p := known(err)
	if p != nil {
		return nil, p
	}
	answer := userPage{Users: make([]user, len(page.Users)), partial: lack}
	for i, u := range page.Users {
		answer.Users[i] = user{User: u.ID, Info: u.Info}
	}
	if page.Next != "" {
		next := base64.RawURLEncoding.EncodeToString([]byte(page.Next))
		answer.Next = &next
	}
	return answer, nil
}

// known is [lacking] for Presence, which says what it knows of this server when its Redis is away.
func known(err error) (partial, *problem) {
	if errors.Is(err, presence.ErrPartial) {
		return partial{Missing: &missing{Sockets: []string{}, Servers: []string{}}}, nil
	}
	return lacking(err)
}

type userAnswer struct {
	user
	Online bool `json:"online"`
	partial
}

func oneUser(r *request, q *query) (any, *problem) {
	id := r.PathValue("user")
	if p := q.end(); p != nil {
		return nil, p
	}
	if !identity.ValidID(id) {
		return nil, newProblem("not_found", "")
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	n, err := r.h.ns.To(identity.UserRoom(id)).Count(ctx)
	lack, p := lacking(err)
	online := n > 0
	if r.h.c.Presence != nil && p == nil {
		var more partial
		if online, err = r.h.c.Presence.Online(ctx, id); err != nil {
			online = online || n > 0
		}
		more, p = known(err)
		lack.worse(more)
	}
	return userAnswer{user{User: id, Sockets: &n}, online, lack}, p
}

type counts struct {
	Sockets int `json:"sockets"`
	Users   int `json:"users"`
	Rooms   int `json:"rooms"`
	partial
}

// count counts all, or what is in a room.
func count(r *request, q *query) (any, *problem) {
	in := q.room()
	if p := q.end(); p != nil {
		return nil, p
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	c, p := r.countAll(ctx, within(r.h.ns, in, ""))
	if p != nil || r.h.c.Presence == nil {
		return c, p
	}
	var err error
	if in == "" {
		c.Users, err = r.h.c.Presence.Count(ctx)
	} else {
		c.Users, err = r.h.c.Presence.CountRoom(ctx, in)
	}
	more, p := known(err)
	c.worse(more)
	return c, p
}

func (r *request) countAll(ctx context.Context, b sockeye.Broadcast) (counts, *problem) {
	n, err := b.Count(ctx)
	lack, p := lacking(err)
	if p != nil {
		return counts{}, p
	}
	rooms, err := b.Rooms(ctx)
	more, p := lacking(err)
	lack.worse(more)
	c := counts{Sockets: n, partial: lack}
	for name := range rooms {
		switch {
		case isRoom(name):
			c.Rooms++
		case strings.HasPrefix(name, identity.UserRoom("")):
			c.Users++
		}
	}
	return c, p
}
