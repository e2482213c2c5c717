package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye"
)

// Bounds on what a page that connects may try.
const (
	maxName     = 256              // bytes
	maxPassword = 1024             // bytes
	tryWindow   = time.Minute      // in which there are
	maxTries    = 5                // passwords of one client address, and
	maxSessions = 60               // sessions of one that were not good
	tryTimeout  = 10 * time.Second // for a turn at bcrypt, and for the store
)

// What a page gets that may not enter.
var (
	errCredentials = &sockeye.ConnectError{Message: "invalid credentials"}
	errSeparate    = &sockeye.ConnectError{Message: "not here"}
	errUnavailable = &sockeye.ConnectError{Message: "sessions are not available"}
)

// errTooMany tells a page when it may try again.
func errTooMany(wait time.Duration) error {
	seconds := int((wait + time.Second - 1) / time.Second)
	return &sockeye.ConnectError{Message: "too many attempts", Data: struct {
		Code       string `json:"code"`
		RetryAfter int    `json:"retryAfter"`
	}{"too_many_attempts", seconds}}
}

// authenticator knows who may enter.
type authenticator struct {
	users    []user
	dummy    []byte // hash for names that are not known
	store    Store
	sessions *tries
	tries    *tries
	turns    chan struct{} // bounds the comparisons at one time
	log      *slog.Logger
}

type user struct {
	name string
	sum  [sha256.Size]byte
	hash []byte
}

// ticket is how a page has entered.
type ticket struct {
	user    string // "" where a session stands for it
	session string // "" until one is made
}

func newAuthenticator(o *Options) (*authenticator, error) {
	a := &authenticator{
		store: o.Store, sessions: newTries(maxSessions), tries: newTries(maxTries),
		turns: make(chan struct{}, 2), log: o.Logger,
	}
	cost := bcrypt.MinCost
	for name, hash := range o.Users {
		a.users = append(a.users, user{name, sha256.Sum256([]byte(name)), []byte(hash)})
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, errors.New("admin: not a bcrypt hash") // validate has seen that it is one
		}
		cost = max(cost, c)
	}
	dummy, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, err
	}
	a.dummy = dummy
	return a, nil
}

// credentials are what a page sends. A field of another type is one that is missing.
type credentials struct{ session, user, password string }

func credentialsOf(s *sockeye.Socket) (c credentials) {
	var auth any
	if s.Auth(&auth) != nil {
		return c
	}
	fields, ok := auth.(map[string]any)
	if !ok {
		return c
	}
	c.session, _ = fields["sessionId"].(string)
	c.user, _ = fields["username"].(string)
	c.password, _ = fields["password"].(string)
	return c
}

// enter tells how a page may enter, or gives the error that it gets. A good session wins over a password.
//
// Node: @socket.io/admin-ui initAuthenticationMiddleware
func (a *authenticator) enter(ctx context.Context, s *sockeye.Socket) (ticket, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	c, addr := credentialsOf(s), s.Handshake().Address
	if validSession(c.session) {
		known, err := a.resume(ctx, c.session, addr)
		if known {
			return ticket{session: c.session}, nil
		}
		if err != nil && c.password == "" {
			return ticket{}, err
		}
	}
	if c.user == "" || c.password == "" || len(c.user) > maxName || len(c.password) > maxPassword {
		return ticket{}, errCredentials
	}
	now := time.Now()
	if wait := a.tries.begin(addr, now); wait > 0 {
		return ticket{}, errTooMany(wait)
	}
	if ok, err := a.compare(ctx, c.user, c.password); err != nil || !ok {
		return ticket{}, errors.Join(err, errCredentials)
	}
	a.tries.undo(addr, now)
	return ticket{user: c.user}, nil
}

// resume looks for a session.
func (a *authenticator) resume(ctx context.Context, id, addr string) (known bool, err error) {
	now := time.Now()
	if wait := a.sessions.begin(addr, now); wait > 0 {
		return false, errTooMany(wait)
	}
	known, err = a.store.Has(ctx, id)
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "admin sessions are not available", slog.Any("error", err))
		return false, errUnavailable
	}
	if known {
		a.sessions.undo(addr, now)
	}
	return known, nil
}

// compare takes as long for a name that is not known as for one that is.
func (a *authenticator) compare(ctx context.Context, name, password string) (bool, error) {
	sum := sha256.Sum256([]byte(name))
	hash, known := a.dummy, 0
	for i := range a.users {
		if same := subtle.ConstantTimeCompare(a.users[i].sum[:], sum[:]); same == 1 {
			hash, known = a.users[i].hash, 1
		}
	}
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	// bcrypt looks at 72 bytes; the package refuses to make a hash of more, but compares it.
	good := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
	return good && known == 1, nil
}

// begin makes a session for one who has entered with a password.
func (a *authenticator) begin(ctx context.Context, ttl time.Duration) (id string, err error) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never returns an error
	id = hex.EncodeToString(b[:])
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return id, a.store.Save(ctx, id, ttl)
}

// validSession tells whether id could be one that we or Node have made: those are 32 or 16 hexadecimal digits.
func validSession(id string) bool {
	if len(id) < 16 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// separateKey marks requests that came by the listener for pages.
type separateKey struct{}

// Separate marks the requests that next gets as coming by a listener of their own, which Options.Separate asks for:
//
//	go http.ListenAndServe("127.0.0.1:9001", a.Separate(io))
//
// A page must not have joined another namespace over the same connection before, as the official one has not.
func (*Admin) Separate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), separateKey{}, true)))
	})
}

func isSeparate(ctx context.Context) bool {
	r := sockeye.RequestFrom(ctx)
	if r == nil {
		return false
	}
	marked, _ := r.Context().Value(separateKey{}).(bool)
	return marked
}
