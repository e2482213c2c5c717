package httpsession

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Ref names a session. As text and in logs it is a hash.
type Ref struct {
	Key   string // what the store knows it by; Room is derived from it
	Token string // what the cookie says of it, for the Backend
}

// String gives a hash, since who knows a key or token has the session.
func (r Ref) String() string { return strings.TrimPrefix(Room(r.Key), roomPrefix)[:8] }

// GoString implements fmt.GoStringer.
func (r Ref) GoString() string { return "httpsession.Ref(" + r.String() + ")" }

// MarshalText implements encoding.TextMarshaler.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// LogValue implements slog.LogValuer.
func (r Ref) LogValue() slog.Value { return slog.StringValue(r.String()) }

const roomPrefix = "sockeye-session:"

// Room is the room of the sockets of a session, by the key that the store has for it: "sockeye-session:" and the SHA-256 of
// the key in base64url. Whoever can disconnect a room of the cluster can so end the sockets of a session, as an Express
// application may on logout:
//
//	const hash = createHash("sha256").update(req.sessionID).digest("base64url");
//	emitter.in("sockeye-session:" + hash).disconnectSockets(true);
//
// Clients must not be let into rooms of this prefix.
func Room(key string) string {
	sum := sha256.Sum256([]byte(key))
	return roomPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Gone is what Backend.Touch says of a session that has ended.
const Gone time.Duration = -1

// Backend is one kind of session: how a request names it, where it is, and what it looks like. It is safe for concurrent use.
// See httpsession/express and httpsession/scssession.
type Backend interface {
	// Ref finds the session that a request names by its headers. It is false for none and for what is not valid, without
	// telling which; whether there is such a session is not asked.
	Ref(h http.Header) (Ref, bool)

	// Load reads a session. Errors: ErrNoSession.
	Load(ctx context.Context, ref Ref) (Record, error)

	// Touch puts off the end of sessions that an open socket keeps alive. For each it tells when it would end if nothing else
	// happened, 0 if it need not be touched at all, or Gone.
	Touch(ctx context.Context, refs []Ref) ([]time.Duration, error)

	// Exist tells of each session whether it is there.
	Exist(ctx context.Context, refs []Ref) ([]bool, error)

	// Delete ends a session. It is no error if it has ended.
	Delete(ctx context.Context, ref Ref) error
}

// Ender is a Backend that hears of sessions that end, such as by a logout in this process.
type Ender interface {
	// OnEnd sets the function that is to be told the key of a session that has ended. It is called once, before anything
	// else. f may wait for other servers, no longer than ctx.
	OnEnd(f func(ctx context.Context, key string))
}

// Record is a session that was read, with changes that are not written yet. It is used by one goroutine at a time.
type Record interface {
	// Get stores a value in dst, a pointer, and tells whether there is one.
	Get(key string, dst any) (bool, error)

	// Set changes a value.
	Set(key string, v any) error

	// Delete takes a value out.
	Delete(key string) error

	// Save writes the changes, if there are any. If others have written the session since it was read, the changes are made
	// in what they wrote, or without merge the error is ErrConflict. Errors: ErrNoSession if it has ended.
	Save(ctx context.Context, merge bool) error
}

// Contexter is a Record that is also found in a context, by functions of the library that it belongs to.
type Contexter interface {
	Context(ctx context.Context) context.Context
}
