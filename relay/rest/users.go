package rest

import (
	"github.com/sockeye-io/sockeye/relay/identity"
)

type user struct {
	User    string `json:"user"`
	Sockets int    `json:"sockets"`
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
	all, lack, p := roomsOf(ctx, within(r.h.ns, in, ""), identity.UserRoom(""))
	if p != nil {
		return nil, p
	}
	page, next := pageOf(all, func(r room) string { return r.Room }, after, limit)
	users := make([]user, len(page))
	for i, u := range page {
		users[i] = user{u.Room, u.Sockets}
	}
	return userPage{users, next, lack}, nil
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
	return userAnswer{user{id, n}, n > 0, lack}, p
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
	b := within(r.h.ns, in, "")
	n, err := b.Count(ctx)
	lack, p := lacking(err)
	if p != nil {
		return nil, p
	}
	rooms, err := b.Rooms(ctx)
	more, p := lacking(err)
	lack.worse(more)
	c := counts{Sockets: n, partial: lack}
	for name := range rooms {
		switch {
		case isRoom(name):
			c.Rooms++
		case len(name) > len(identity.UserRoom("")) && name[:len(identity.UserRoom(""))] == identity.UserRoom(""):
			c.Users++
		}
	}
	return c, p
}
