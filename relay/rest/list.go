package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/relay/identity"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// read makes an endpoint of a question.
func read(f func(r *request, q *query) (any, *problem)) endpoint {
	return endpoint{scope: Read, run: func(r *request) (*answer, *problem) {
		q := &query{values: r.URL.Query()}
		v, p := f(r, q)
		if p != nil {
			return nil, p
		}
		return answerOf(http.StatusOK, v), nil
	}}
}

// query reads the parameters of a URL strictly.
type query struct {
	values url.Values
	known  []string
	fault  *problem
}

// text gives a parameter, "" where it is not there.
func (q *query) text(name string, ok func(string) bool, detail string) string {
	q.known = append(q.known, name)
	v, there := q.values[name]
	if !there {
		return ""
	}
	if len(v) != 1 || !ok(v[0]) {
		q.fail(name, detail)
		return ""
	}
	return v[0]
}

func (q *query) fail(name, detail string) {
	if q.fault == nil {
		q.fault = invalidParam(name, detail)
	}
}

func (q *query) room() string { return q.text("room", isRoom, "that is no name of a room") }

func (q *query) user() string { return q.text("user", identity.ValidID, "that is no id of a user") }

// page are the parameters of what is given in pages.
func (q *query) page() (after string, limit int) {
	cursor := q.text("cursor", func(s string) bool {
		_, err := base64.RawURLEncoding.DecodeString(s)
		return err == nil && len(s) <= 2*maxName
	}, "take it from the field next of the page before")
	b, _ := base64.RawURLEncoding.DecodeString(cursor) // it was checked
	limit = defaultPage
	n := q.text("limit", func(s string) bool {
		n, err := strconv.Atoi(s)
		return err == nil && n >= 1 && n <= maxPage
	}, "it must be from 1 to "+strconv.Itoa(maxPage))
	if n != "" {
		limit, _ = strconv.Atoi(n) // it was checked
	}
	return string(b), limit
}

// end finds parameters that are not known.
func (q *query) end() *problem {
	for name := range q.values {
		if !slices.Contains(q.known, name) {
			q.fail(cut(name), "there is no such parameter")
		}
	}
	return q.fault
}

// partial says what a question to the cluster has not been answered by.
type partial struct {
	Complete bool     `json:"complete"` // all servers have answered
	Missing  *missing `json:"missing,omitempty"`
}

// lacking makes that of an error that came with an answer.
func lacking(err error) (partial, *problem) {
	var lack *adapter.Incomplete
	switch {
	case err == nil:
		return partial{Complete: true}, nil
	case errors.As(err, &lack) && len(lack.MissingServers)+lack.SilentServers > 0:
		servers := lack.MissingServers
		if servers == nil {
			servers = []string{}
		}
		return partial{Missing: &missing{[]string{}, servers, lack.SilentServers}}, nil
	}
	return partial{}, newProblem("unavailable", "the other servers cannot be asked").wait(1)
}

// worse keeps what is missing of either.
func (p *partial) worse(o partial) {
	if !o.Complete {
		*p = o
	}
}

// within selects the sockets of a room and a user, "" are all.
func within(ns *sockeye.Namespace, room, user string) sockeye.Broadcast {
	switch {
	case room != "":
		return ns.To(room)
	case user != "":
		return ns.To(identity.UserRoom(user))
	}
	return ns.All()
}

// pageOf cuts a page out of sorted names.
func pageOf[T any](all []T, name func(T) string, after string, limit int) (page []T, next *string) {
	i, _ := slices.BinarySearchFunc(all, after, func(v T, after string) int {
		if name(v) <= after && after != "" {
			return -1
		}
		return 1
	})
	page = all[i:]
	if len(page) > limit {
		page = page[:limit]
		n := base64.RawURLEncoding.EncodeToString([]byte(name(page[limit-1])))
		next = &n
	}
	if len(page) == 0 {
		page = []T{}
	}
	return page, next
}

type socket struct {
	ID        string    `json:"id"`
	User      string    `json:"user,omitempty"`
	Name      string    `json:"name,omitempty"`
	Rooms     []string  `json:"rooms"`
	Address   string    `json:"address,omitempty"`
	Connected time.Time `json:"connectedAt"`
	Server    string    `json:"server,omitempty"`
}

// describe leaves out what is a secret: headers, query and what the client has authenticated with.
func describe(r *sockeye.RemoteSocket) socket {
	s := socket{
		ID: identity.PublicID(r.ID, r.Handshake.Query), Rooms: []string{}, Address: r.Handshake.Address,
		Connected: r.Handshake.Time.UTC(), Server: r.Server,
	}
	user := identity.UserRoom("")
	for _, room := range r.Rooms {
		switch {
		case room == r.ID:
		case strings.HasPrefix(room, user):
			s.User = room[len(user):]
		case !identity.ReservedRoom(room):
			s.Rooms = append(s.Rooms, room)
		}
	}
	slices.Sort(s.Rooms)
	var data struct {
		Name string `json:"name"`
	}
	if r.Data.Scan(&data) == nil { // other programs of the cluster have data of other kinds
		s.Name = data.Name
	}
	return s
}

type socketPage struct {
	Sockets []socket `json:"sockets"`
	Next    *string  `json:"next"`
	partial
}

func listSockets(r *request, q *query) (any, *problem) {
	room, user := q.room(), q.user()
	after, limit := q.page()
	if p := q.end(); p != nil {
		return nil, p
	}
	if room != "" && user != "" {
		return nil, invalidParam("user", "room and user exclude each other")
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	found, err := within(r.h.ns, room, user).FetchSockets(ctx)
	lack, p := lacking(err)
	if p != nil {
		return nil, p
	}
	all := make([]socket, len(found))
	for i, s := range found {
		all[i] = describe(s)
	}
	slices.SortFunc(all, func(a, b socket) int { return strings.Compare(a.ID, b.ID) })
	page, next := pageOf(all, func(s socket) string { return s.ID }, after, limit)
	return socketPage{page, next, lack}, nil
}

func oneSocket(r *request, q *query) (any, *problem) {
	if p := q.end(); p != nil {
		return nil, p
	}
	t := target{Sockets: []string{r.PathValue("socket")}}
	if t.names("") != nil {
		return nil, newProblem("not_found", "")
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	found, err := r.h.ns.To(t.rooms()...).FetchSockets(ctx)
	for _, f := range found { // others may be in a room of that name
		if s := describe(f); s.ID == t.Sockets[0] {
			return s, nil
		}
	}
	if err != nil {
		return nil, newProblem("unavailable", "not all servers have answered").wait(1)
	}
	return nil, newProblem("not_found", "")
}

type room struct {
	Room    string `json:"room"`
	Sockets int    `json:"sockets"`
}

type roomPage struct {
	Rooms []room  `json:"rooms"`
	Next  *string `json:"next"`
	partial
}

// roomsOf asks for the rooms of sockets, and gives those whose name begins so, without that, in order.
func roomsOf(ctx context.Context, b sockeye.Broadcast, prefix string) ([]room, partial, *problem) {
	found, err := b.Rooms(ctx)
	lack, p := lacking(err)
	if p != nil {
		return nil, lack, p
	}
	var all []room
	for name, n := range found {
		if prefix == "" && identity.ReservedRoom(name) {
			continue
		}
		if name, ok := strings.CutPrefix(name, prefix); ok {
			all = append(all, room{name, n})
		}
	}
	slices.SortFunc(all, func(a, b room) int { return strings.Compare(a.Room, b.Room) })
	return all, lack, nil
}

func listRooms(r *request, q *query) (any, *problem) {
	prefix := q.text("prefix", isRoom, "that is no beginning of a room's name")
	after, limit := q.page()
	if p := q.end(); p != nil {
		return nil, p
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	all, lack, p := roomsOf(ctx, r.h.ns.All(), "")
	if p != nil {
		return nil, p
	}
	all = slices.DeleteFunc(all, func(r room) bool { return !strings.HasPrefix(r.Room, prefix) })
	page, next := pageOf(all, func(r room) string { return r.Room }, after, limit)
	return roomPage{page, next, lack}, nil
}

type roomAnswer struct {
	room
	partial
}

func oneRoom(r *request, q *query) (any, *problem) {
	name := r.PathValue("room")
	if p := q.end(); p != nil {
		return nil, p
	}
	if !isRoom(name) {
		return nil, newProblem("not_found", "")
	}
	ctx, done, p := r.ask()
	if p != nil {
		return nil, p
	}
	defer done()
	n, err := r.h.ns.To(name).Count(ctx)
	lack, p := lacking(err)
	return roomAnswer{room{name, n}, lack}, p
}
