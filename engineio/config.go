package engineio

import (
	"log/slog"
	"net/http"
	"time"
)

// Config configures a [Server]. The zero value is Node's default, but for what is marked
// "Differs from Node:", which is safe by default. A negative duration or size disables or means "no limit"
// where that is said.
type Config struct {
	// Path is the prefix under which the server answers. Default "/engine.io/".
	Path string

	// Transports that are offered, of "polling" and "websocket". Default both.
	Transports []string

	// DisableUpgrades keeps a connection on the transport that it began with.
	DisableUpgrades bool

	// AllowEIO3 serves clients of protocol 3 too (Socket.IO 2.x).
	AllowEIO3 bool

	// JSONP answers polling requests with j=… as scripts.
	//
	// Differs from Node: off.
	JSONP bool

	PingInterval   time.Duration // 25 s
	PingTimeout    time.Duration // 20 s
	UpgradeTimeout time.Duration // 10 s

	// PollingCloseWait is how long a closed polling connection waits for a poll to tell it. Default 30 s.
	PollingCloseWait time.Duration

	// MaxPayload bounds a message and the body of a request, in bytes, after decompression. Default 1,000,000.
	MaxPayload int64

	// MaxFragments bounds the fragments of one WebSocket message. Default 131,072.
	//
	// Differs from Node: the limit holds here in every version.
	MaxFragments int

	// Origin is the policy for requests with an Origin header, of any transport.
	Origin OriginPolicy

	// CORS decides the CORS answer headers beyond the origin; see [CORS].
	CORS CORS

	// Cookie is set on the answer to a polling handshake, its Value replaced by the session id. nil: none.
	Cookie *http.Cookie

	// AllowRequest may refuse a request that opens a session: an error of its own text is sent with code 4. One that is
	// or wraps ErrTooManyConnections says that a later request may succeed.
	AllowRequest func(r *http.Request) error

	// HTTPCompression is the size in bytes from which polling answers are compressed. 0 = 1,024, negative = never.
	HTTPCompression int

	// PerMessageDeflate offers WebSocket compression (no context takeover). Off by default, as in Node.
	PerMessageDeflate bool

	// DeflateThreshold is the size in bytes from which messages are compressed. Default 1,024.
	DeflateThreshold int

	// Queue bounds what waits for one connection.
	Queue SendQueue

	// Admission bounds the connections.
	Admission Admission

	// TrustProxy tells whether X-Forwarded-Proto and X-Forwarded-For of r may be believed. nil: never.
	TrustProxy func(r *http.Request) bool

	// Logger, nil = silent.
	Logger *slog.Logger

	Hooks Hooks
}

// SendQueue bounds what waits to be sent on one connection. An empty queue always takes one message.
type SendQueue struct {
	MaxBytes   int // 1,000,000
	MaxPackets int // 1,024
	OnFull     FullPolicy
}

// FullPolicy is what happens when a queue is full; Send returns ErrQueueFull in each case but DropOldest.
type FullPolicy uint8

// The policies.
const (
	CloseConnection FullPolicy = iota // close with ReasonTransportError
	DropNewest                        // the message is not queued
	DropOldest                        // the oldest queued messages make room
)

// OriginPolicy holds for every transport.
//
// Differs from Node: for WebSocket too, and without an allow list only the same origin passes.
type OriginPolicy struct {
	// Allow lists origins such as https://example.com, patterns such as https://*.example.com (any number
	// of labels, never the bare domain), or "*" for all. Requests without Origin and of the same origin always pass.
	Allow []string

	// AllowFunc may allow further origins.
	AllowFunc func(r *http.Request, origin string) bool

	// Credentials allows cookies in cross-origin requests; refused together with "*".
	Credentials bool
}

// CORS has the parts of a CORS answer that do not depend on the origin.
type CORS struct {
	Methods        []string      // default GET, POST
	AllowedHeaders []string      // default: what the preflight asks for
	ExposedHeaders []string      //
	MaxAge         time.Duration // 0 = not sent
}

// Hooks are optional and may be nil. They may be called concurrently.
type Hooks struct {
	// ConnectionError is told of a refused request. Node: the connection_error event.
	ConnectionError func(e *ConnectionError)

	// InitialHeaders may change the headers of the answer that opens a session; Headers those of every
	// answer of the polling transport with status 200 and of every WebSocket handshake.
	InitialHeaders func(h http.Header, r *http.Request)
	Headers        func(h http.Header, r *http.Request)

	// Fault is told of a panic in a callback and of other surprises that were survived.
	Fault func(err error)
}
