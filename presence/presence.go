package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/redisadapter"
)

// Errors of this package.
var (
	// ErrPartial is wrapped by errors of questions that Redis has not answered: what comes with it is what this server
	// knows of its own sockets.
	ErrPartial = errors.New("presence: redis does not answer; only sockets of this server are counted")

	// ErrClosed is returned after Close.
	ErrClosed = errors.New("presence: closed")

	// ErrOptions is wrapped by errors of New.
	ErrOptions = errors.New("presence: options")
)

const (
	defaultPrefix = "sockeye:presence"
	defaultExpiry = 30 * time.Second
	defaultGrace  = 3 * time.Second
	minExpiry     = time.Second

	maxID   = 512  // bytes of a user's id
	maxInfo = 1024 // bytes of what is known of a user
	maxPage = 1000
)

// Options configure a Presence.
type Options struct {
	// User names the user of a socket, by an id of at most 512 bytes of UTF-8; ok is false for a socket that is nobody.
	// It is asked when the socket connects, and by Update. nil: each socket is a user, by its id.
	User func(s *sockeye.Socket) (id string, ok bool)

	// Info is what is known of the user of a socket, such as a name: at most 1,024 bytes as JSON, else it is left out and
	// reported. The first socket of a user on a server says it. nil: nothing.
	Info func(s *sockeye.Socket) any

	// Rooms selects the rooms whose users are kept. nil: all but those of single sockets.
	Rooms func(room string) bool

	// Redis keeps who is online on all servers that have the same Prefix. nil: in memory, this server alone. It is
	// connected already, or by the adapter that it belongs to, and must stay open until Close has returned.
	Redis redisadapter.Commander

	// Prefix is how the keys begin. Default "sockeye:presence".
	Prefix string

	// Expiry is how long users of a server that was killed stay online at most; at least 1 s. Default 30 s.
	Expiry time.Duration

	// Grace is how long users stay online when their last socket has gone. Default 3 s; negative: not at all.
	Grace time.Duration

	// OnFault is told of what goes wrong in the background, such as that Redis does not answer. It must not block.
	OnFault func(err error)
}

// User is one who is online.
type User struct {
	ID   string          `json:"id"`
	Info json.RawMessage `json:"info,omitempty"` // what Options.Info says; not in the Change of one whose server was killed
}

// Change tells that a user has come or gone.
type Change struct {
	User   User   `json:"user"`
	Room   string `json:"room,omitempty"` // "" is the namespace
	Online bool   `json:"online"`
}

// Page is a part of the users of a place, in the order of their ids.
type Page struct {
	Users []User `json:"users"`
	Next  string `json:"next,omitempty"` // what to ask for next; "" after the last page
}

// Presence knows who is online. Its methods are safe for concurrent use.
type Presence struct {
	o     Options
	ns    *sockeye.Namespace
	store store
	local *local
	news  *news

	cancel context.CancelFunc // ends the goroutines
	ctx    context.Context
	wake   chan struct{} // holds one token when local has changes
	done   []<-chan struct{}
	offs   []func()
}

// New begins to watch a namespace. The error wraps ErrOptions.
func New(ns *sockeye.Namespace, o Options) (*Presence, error) {
	if o.Expiry == 0 {
		o.Expiry = defaultExpiry
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Prefix == "" {
		o.Prefix = defaultPrefix
	}
	switch {
	case ns == nil:
		return nil, fmt.Errorf("%w: no namespace", ErrOptions)
	case o.Expiry < minExpiry:
		return nil, fmt.Errorf("%w: Expiry %v is less than %v", ErrOptions, o.Expiry, minExpiry)
	}
	o.Grace = max(0, o.Grace)
	if o.User == nil {
		o.User = func(s *sockeye.Socket) (string, bool) { return s.ID(), true }
	}
	if o.Rooms == nil {
		o.Rooms = func(string) bool { return true }
	}
	p := &Presence{o: o, ns: ns, wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.local = newLocal(p.signal)
	p.news = newNews(p.fault)
	if o.Redis == nil {
		p.store = newMemory()
	} else {
		p.store = newRedis(o.Redis, o.Prefix, ns.Name(), o.Expiry)
	}
	p.offs = append(p.offs,
		ns.OnServerSide(eventName, sockeye.HandlerFunc(p.heard)),
		ns.OnRoom(p.room))
	ns.OnConnection(func(_ context.Context, s *sockeye.Socket) { p.connected(s) })
	for s := range ns.Sockets() {
		p.connected(s)
	}
	p.start(p.news.run)
	p.start(p.keep)
	return p, nil
}

func (p *Presence) start(f func(context.Context)) {
	done := make(chan struct{})
	p.done = append(p.done, done)
	go func() {
		defer close(done)
		f(p.ctx)
	}()
}

// Close ends the watching. The users of this server stay online for Options.Grace, as their clients may come back to
// another one, and then until the others notice, which is within Options.Expiry. Further calls do nothing.
func (p *Presence) Close() error {
	if !p.local.close() {
		return nil
	}
	for _, off := range p.offs {
		off()
	}
	p.cancel()
	for _, done := range p.done {
		<-done
	}
	ctx, cancel := context.WithTimeout(context.Background(), retireTime)
	defer cancel()
	if err := p.store.retire(ctx, p.local, p.o.Grace); err != nil {
		return fmt.Errorf("presence: close: %w", err)
	}
	return nil
}

// Watch has f told of each user who comes or goes from now on, in the namespace and in rooms, on any server. f is called
// by one goroutine, one change at a time; when 65,536 wait, further ones are dropped and reported. A change that Redis
// has not confirmed yet is not told.
func (p *Presence) Watch(f func(c Change)) (off func()) { return p.news.watch(f) }

// Update asks Options.User and Options.Info of a socket again.
func (p *Presence) Update(s *sockeye.Socket) {
	id, info, ok := p.userOf(s)
	p.local.update(s.ID(), id, info, ok)
}

// Online tells whether a user is online. The error is ErrClosed, that of ctx, or wraps ErrPartial.
func (p *Presence) Online(ctx context.Context, user string) (bool, error) {
	return p.InRoom(ctx, "", user)
}

// InRoom tells whether a user is in a room, as Online does.
func (p *Presence) InRoom(ctx context.Context, room, user string) (bool, error) {
	if p.local.isClosed() {
		return false, ErrClosed
	}
	ok, err := p.store.has(ctx, room, user)
	if err != nil {
		return p.local.has(room, user), partial(ctx, err)
	}
	return ok, nil
}

// Count counts the users who are online. Errors as of Online.
func (p *Presence) Count(ctx context.Context) (int, error) { return p.CountRoom(ctx, "") }

// CountRoom counts the users in a room. Errors as of Online.
func (p *Presence) CountRoom(ctx context.Context, room string) (int, error) {
	if p.local.isClosed() {
		return 0, ErrClosed
	}
	n, err := p.store.count(ctx, room)
	if err != nil {
		return p.local.count(room), partial(ctx, err)
	}
	return n, nil
}

// Users gives up to n users who are online (at most 1,000, which 0 stands for too), with ids after that one; "" is
// before all. Who comes or goes meanwhile may be on a page or not; all others are on exactly one. Errors as of Online.
func (p *Presence) Users(ctx context.Context, after string, n int) (Page, error) {
	return p.UsersInRoom(ctx, "", after, n)
}

// UsersInRoom gives the users in a room, as Users does.
func (p *Presence) UsersInRoom(ctx context.Context, room, after string, n int) (Page, error) {
	if p.local.isClosed() {
		return Page{}, ErrClosed
	}
	if n <= 0 || n > maxPage {
		n = maxPage
	}
	users, err := p.store.users(ctx, room, after, n+1)
	if err != nil {
		users = p.local.users(room, after, n+1)
		err = partial(ctx, err)
	}
	page := Page{Users: users}
	if users == nil {
		page.Users = []User{} // as JSON an empty list
	}
	if len(users) > n {
		page.Users = users[:n]
		page.Next = users[n-1].ID
	}
	return page, err
}

func partial(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrPartial, err)
}

// connected follows a socket.
func (p *Presence) connected(s *sockeye.Socket) {
	id, info, ok := p.userOf(s)
	if !p.local.add(s.ID(), id, info, ok) {
		return
	}
	s.OnDisconnect(func(sockeye.Reason) { p.local.remove(s.ID()) })
	// What changes while the rooms are read is told by room too, before or after.
	for range 2 {
		rooms := s.Rooms()
		p.local.setRooms(s.ID(), p.selected(s.ID(), rooms))
	}
	if !s.Connected() {
		p.local.remove(s.ID())
	}
}

func (p *Presence) selected(socket string, rooms []string) map[string]struct{} {
	set := make(map[string]struct{}, len(rooms))
	for _, room := range rooms {
		if p.keeps(socket, room) {
			set[room] = struct{}{}
		}
	}
	return set
}

func (p *Presence) keeps(socket, room string) bool {
	return room != socket && room != "" && p.o.Rooms(room)
}

// room is told of rooms that sockets join and leave.
func (p *Presence) room(e sockeye.RoomEvent) {
	switch e.Kind {
	case "join-room":
		if p.keeps(e.Socket, e.Room) {
			p.local.join(e.Socket, e.Room)
		}
	case "leave-room":
		p.local.leave(e.Socket, e.Room)
	}
}

func (p *Presence) userOf(s *sockeye.Socket) (id string, info json.RawMessage, ok bool) {
	if id, ok = p.o.User(s); !ok {
		return "", nil, false
	}
	if id == "" || len(id) > maxID || !utf8.ValidString(id) {
		p.fault(fmt.Errorf("presence: the id of a user has %d bytes, or is not UTF-8: not kept", len(id)))
		return "", nil, false
	}
	if p.o.Info == nil {
		return id, nil, true
	}
	info, err := json.Marshal(p.o.Info(s))
	if err == nil && len(info) > maxInfo {
		err = fmt.Errorf("%d bytes", len(info))
	}
	if err != nil {
		p.fault(fmt.Errorf("presence: what is known of user %q: %w", id, err))
		return id, nil, true
	}
	return id, info, true
}

func (p *Presence) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Presence) fault(err error) {
	if p.o.OnFault != nil {
		p.o.OnFault(err)
	}
}
