package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye"
)

// MaxID is how long the id of a user may be, in bytes.
const MaxID = 256

// User is who a socket speaks for. It must not be changed.
type User struct {
	// ID names the user, in at most [MaxID] bytes of UTF-8 without control characters. It is "" for an anonymous one.
	ID string

	// Name is what others are shown; "" where nothing is known.
	Name string

	// Rooms are the names of the rooms that the user may join, where the rules ask for that; "*" stands for any run of
	// characters.
	Rooms []string

	// Claims are the texts that rules of rooms may refer to, by the name of the claim.
	Claims map[string][]string

	// Expires is when the socket is disconnected, unless it is renewed before; the zero time is never.
	Expires time.Time
}

// Anonymous tells that it is not known who that is.
func (u User) Anonymous() bool { return u.ID == "" }

// Authenticator says who wants to connect. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate is asked by a connection middleware, so that [sockeye.RequestFrom] gives the request that opened the
	// connection. An *Error refuses the socket with its code, any other with [CodeUnavailable].
	Authenticate(ctx context.Context, s *sockeye.Socket) (User, error)
}

// Renewer is an Authenticator whose users can go on after [User.Expires], by another token.
type Renewer interface {
	// Renew checks a token that a connected client has sent. Errors are as those of Authenticate.
	Renew(ctx context.Context, token string) (User, error)
}

// Func is a function as an [Authenticator].
type Func func(ctx context.Context, s *sockeye.Socket) (User, error)

// Authenticate calls f.
func (f Func) Authenticate(ctx context.Context, s *sockeye.Socket) (User, error) { return f(ctx, s) }

// The codes of an [Error], which are part of the interface to clients.
const (
	CodeMissing     = "token_missing"       // there is none, and one is needed
	CodeInvalid     = "token_invalid"       // malformed, of another issuer or audience, or not signed by a known key
	CodeExpired     = "token_expired"       // it was valid once
	CodeEarly       = "token_not_yet_valid" // it will be valid later
	CodeOtherUser   = "user_changed"        // it is of another user than the one that is connected
	CodeUnavailable = "unavailable"         // it cannot be said at the moment
)

// Error refuses somebody. A client gets the code and the message, and nothing of Err.
type Error struct {
	Code    string
	Message string
	Err     error // the reason in detail, for the log; it has no part of a token in it
}

// Error gives the message, with the detail.
func (e *Error) Error() string {
	if e.Err != nil {
		return "identity: " + e.Message + ": " + e.Err.Error()
	}
	return "identity: " + e.Message
}

// Unwrap gives the detail.
func (e *Error) Unwrap() error { return e.Err }

// UserRoom is the name of the room that every socket of a user is in, on all servers of a cluster, so that an emitter
// reaches the user by it. Clients cannot join it by themselves.
func UserRoom(id string) string { return "sockeye:user:" + id }

// ReservedRoom tells whether a room of that name is the server's own: those of this package and of package relay, which
// begin with "sockeye:", and those of package httpsession, "sockeye-session:". Clients must not be let into them.
func ReservedRoom(name string) bool {
	return strings.HasPrefix(name, "sockeye:") || strings.HasPrefix(name, "sockeye-session:")
}

// PublicID is what others may be told of a socket whose handshake had that query. The id of a 2.x client in the main
// namespace is the id of its session, with which whoever knows it can read and write in its name: there it is a hash.
func PublicID(id string, query map[string]string) string {
	if query["EIO"] == "4" {
		return id
	}
	return HashID(id)
}

// HashID is the public id of a 2.x client's socket.
func HashID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// SocketRoom is the name of the room that a socket is in whose id is not its public one, so that it can be reached by
// that. Clients cannot join it by themselves.
func SocketRoom(public string) string { return "sockeye:socket:" + public }

// ValidID tells whether id may be that of a user.
func ValidID(id string) bool {
	if id == "" || len(id) > MaxID || !utf8.ValidString(id) {
		return false
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
