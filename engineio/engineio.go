// Package engineio is the Engine.IO protocol, versions 4 and 3, server and client, over HTTP long-polling
// and WebSocket. It is usable without Socket.IO.
//
// Not in this package: namespaces, events, acknowledgements (package sockeye).
package engineio

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Handler is told of connections and their messages by plain calls, in order for each connection and one
// at a time. It must not block. Methods may be called concurrently for different connections.
type Handler interface {
	// OnOpen comes first. r is the request that opened the connection; its body must not be touched.
	// It is nil on the client side.
	OnOpen(c *Conn, r *http.Request)

	// OnMessage gives one message. data is valid during the call.
	OnMessage(c *Conn, data []byte, binary bool)

	// OnClose comes last, once. err has the detail and may be nil.
	OnClose(c *Conn, reason Reason, err error)
}

// Reason is why a connection ended, in the protocol's words.
type Reason string

// The reasons of Engine.IO.
const (
	ReasonTransportError Reason = "transport error"
	ReasonTransportClose Reason = "transport close"
	ReasonForcedClose    Reason = "forced close"
	ReasonPingTimeout    Reason = "ping timeout"
	ReasonParseError     Reason = "parse error"
)

// Errors of Send.
var (
	ErrClosed    = errors.New("engineio: connection closed")
	ErrQueueFull = errors.New("engineio: send queue full")
	ErrDropped   = errors.New("engineio: volatile message dropped")
)

// The codes of a refused request. Protocol: engine.io, "connection_error".
const (
	CodeTransportUnknown   = 0
	CodeSessionUnknown     = 1
	CodeBadHandshakeMethod = 2
	CodeBadRequest         = 3
	CodeForbidden          = 4
	CodeUnsupportedVersion = 5
)

// ConnectionError is a refused request.
type ConnectionError struct {
	Request *http.Request
	Code    int
	Message string
	Context map[string]string
}

func (e *ConnectionError) Error() string { return "engineio: " + e.Message }

// Server is an http.Handler. It is safe for concurrent use.
type Server struct{}

// NewServer checks cfg, reporting all faults, and returns a running server.
func NewServer(cfg Config, h Handler) (*Server, error) { return nil, errors.ErrUnsupported }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Conns counts the open connections.
func (s *Server) Conns() int { return 0 }

// Shutdown refuses new connections, closes the open ones in order and waits for them, at most until ctx ends;
// then it closes them at once.
func (s *Server) Shutdown(ctx context.Context) error { return nil }

// Close closes everything at once and waits for the goroutines of the server.
func (s *Server) Close() error { return nil }

// Conn is a connection. Its methods are safe for concurrent use and, unless said otherwise, may be called
// from the handler.
type Conn struct{}

// ID is the session id: 20 characters. It is a secret.
func (c *Conn) ID() string { return "" }

// Protocol is 4 or 3.
func (c *Conn) Protocol() int { return 4 }

// Transport is the current one, "polling" or "websocket".
func (c *Conn) Transport() string { return "" }

// Value is what SetValue set; both are to be used by the handler only.
func (c *Conn) Value() any     { return nil }
func (c *Conn) SetValue(v any) {}

// What the opening request said, kept in a compact form and built anew by each call.
func (c *Conn) Header() http.Header      { return nil }
func (c *Conn) Query() map[string]string { return nil } // the last value of each key
func (c *Conn) URL() string              { return "" }  // the request target
func (c *Conn) RemoteAddr() string       { return "" }  // the address without port
func (c *Conn) Secure() bool             { return false }
func (c *Conn) Opened() time.Time        { return time.Time{} }

// Send queues one message, which it copies. It never blocks.
// Errors: ErrClosed, ErrQueueFull.
func (c *Conn) Send(data []byte, binary bool) error { return nil }

// SendOptions modify SendPrepared.
type SendOptions struct {
	Volatile   bool // drop (ErrDropped) unless the transport can take it at once
	NoCompress bool
	Force      bool // beyond the bounds of the queue
}

// SendPrepared queues messages together: all or none. It never blocks and allocates nothing in the
// common case. ps is not kept.
func (c *Conn) SendPrepared(o SendOptions, ps ...*Prepared) error { return nil }

// Buffered gives what waits to be sent.
func (c *Conn) Buffered() (bytes, packets int) { return 0, 0 }

// WaitBuffered waits until at most n bytes wait to be sent, the connection is closed (ErrClosed) or ctx ends.
// It must not be called from the handler.
func (c *Conn) WaitBuffered(ctx context.Context, n int) error { return nil }

// Pause stops reading, which pushes back on the peer; what has been read already is still given to the
// handler. A paused connection does not fail its heartbeat. Pauses do not count: one Resume ends them.
func (c *Conn) Pause()  {}
func (c *Conn) Resume() {}

// Close sends what is queued and closes with ReasonForcedClose.
func (c *Conn) Close() error { return nil }

// DialConfig configures [Dial]. Zero fields mean defaults.
type DialConfig struct {
	Transports        []string      // default polling then websocket
	DisableUpgrades   bool          //
	Protocol          int           // 4 (default) or 3
	Path              string        // default: that of the URL, or "/engine.io/" where it has none
	Header            http.Header   // of every request
	HTTPClient        *http.Client  // for polling; nil = a client of its own
	MaxPayload        int64         // bounds what is received; 0 = no limit
	Timeout           time.Duration // of the opening; 20 s
	Queue             SendQueue     //
	PerMessageDeflate bool          //
}

// Dial opens a connection to url (http, https, ws or wss). OnOpen comes before Dial returns.
func Dial(ctx context.Context, url string, cfg DialConfig, h Handler) (*Conn, error) {
	return nil, errors.ErrUnsupported
}
