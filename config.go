package sockeye

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// Config configures a [Server]. The zero value is Node's default, but for the fields marked "Differs from
// Node:", which are safe by default. A negative duration or limit disables where that is said.
//
// Node: socket.io/lib/index.ts ServerOptions
type Config struct {
	// Path is the prefix under which the server answers. Default "/socket.io/".
	Path string

	// Transports that are offered, of "polling" and "websocket". Default both.
	Transports []string

	// DisableUpgrades keeps a connection on the transport that it began with.
	DisableUpgrades bool

	// AllowEIO3 serves clients of Socket.IO 2.x too.
	AllowEIO3 bool

	// JSONP answers polling requests of old browsers as scripts.
	//
	// Differs from Node: off.
	JSONP bool

	// PingInterval is the time between heartbeats (default 25 s), PingTimeout how long one may take (20 s).
	PingInterval, PingTimeout time.Duration

	// ConnectTimeout closes a connection that has joined no namespace by then. Default 45 s, negative = never.
	ConnectTimeout time.Duration

	// AttachmentTimeout closes a connection on which a packet has come without all its attachments by then.
	// Default 10 s, negative = never.
	//
	// Differs from Node: it waits forever.
	AttachmentTimeout time.Duration

	// UpgradeTimeout bounds a change of transport. Default 10 s.
	UpgradeTimeout time.Duration

	// PollingCloseWait is how long a closed polling connection waits for a poll to tell it. Default 30 s.
	PollingCloseWait time.Duration

	// StartTimeout bounds the start of Adapter in New. Default 5 s, negative = none.
	StartTimeout time.Duration

	// AckTimeout bounds the wait for acknowledgements where the context has no deadline. Default 30 s,
	// negative = none.
	//
	// Differs from Node: there is none.
	AckTimeout time.Duration

	// MaxPayload bounds a message and the body of a request, in bytes, after decompression. Default 1,000,000.
	MaxPayload int64

	// MaxFragments bounds the fragments of one WebSocket message. Default 131,072.
	MaxFragments int

	// Origin is the policy for requests with an Origin header.
	//
	// Differs from Node: it holds for WebSocket too.
	Origin OriginPolicy

	// CORS has what the answers to cross-origin requests say beside the origin.
	CORS CORS

	// Cookie is set on the answer to a polling handshake, its Value replaced by the session id. nil: none.
	Cookie *http.Cookie

	// AllowRequest may refuse a request that opens a connection; the client gets the text of the error.
	AllowRequest func(r *http.Request) error

	// HTTPCompression is the size in bytes from which polling answers are compressed. 0 = 1,024, negative = never.
	HTTPCompression int

	// PerMessageDeflate offers WebSocket compression, for messages of DeflateThreshold bytes (default 1,024) and more.
	PerMessageDeflate bool
	DeflateThreshold  int

	// TrustProxy tells whether X-Forwarded-Proto and X-Forwarded-For of a request may be believed. nil: never.
	TrustProxy func(r *http.Request) bool

	// Recovery switches connection state recovery on; nil = off. The adapter must be able to do it.
	Recovery *Recovery

	// Adapter connects servers to a cluster; it belongs to one server, which starts and closes it. nil: in
	// memory, this server alone.
	Adapter adapter.Cluster

	// Parser encodes packets. nil: parser.JSON().
	Parser parser.Parser

	// Queue bounds what waits to be sent to one client.
	Queue SendQueue

	// Limits bound what one client can make the server keep.
	Limits Limits

	// Rate bounds how fast one client may send. The zero value does not.
	Rate Rate

	// Admission bounds the connections that the server takes. The zero value does not.
	Admission Admission

	// RemoveEmpty closes a dynamic namespace when its last socket has left, unless the application got it by Of.
	//
	// Node: cleanupEmptyChildNamespaces
	RemoveEmpty bool

	// Logger, nil = silent. Session ids and payloads are never logged.
	Logger *slog.Logger

	// Hooks are told of what goes wrong and may change headers.
	Hooks Hooks
}

// Recovery configures connection state recovery: a client that comes back soon gets its id, rooms and data
// back and the events that it missed.
//
// Protocol: socket.io v5, "Connection state recovery"
type Recovery struct {
	// MaxDisconnection is how long a client may be away. Default 2 min.
	MaxDisconnection time.Duration

	// SkipMiddlewares lets recovered sockets in without asking the connection middleware again.
	//
	// Differs from Node: off.
	SkipMiddlewares bool
}

// The parts of the configuration that belong to the transports.
type (
	// OriginPolicy is the policy for requests with an Origin header, of any transport.
	OriginPolicy = engineio.OriginPolicy

	// CORS has what the answers to cross-origin requests say beside the origin.
	CORS = engineio.CORS

	// SendQueue bounds what waits to be sent to one client: 1,000,000 bytes and 1,024 packets by default. When
	// it is full an emit returns ErrQueueFull and what FullPolicy says happens.
	SendQueue = engineio.SendQueue

	// FullPolicy is what happens when a queue is full.
	FullPolicy = engineio.FullPolicy
)

// The policies for a full queue.
const (
	CloseConnection = engineio.CloseConnection // the default; the reason is "transport error"
	DropNewest      = engineio.DropNewest
	DropOldest      = engineio.DropOldest
)

// Limits bound what one client can make the server keep. A zero field means its default, a negative one no
// limit.
//
// Differs from Node: only Attachments is limited there.
type Limits struct {
	Namespaces  int // joined or asked for on one connection; default 100
	Dynamic     int // namespaces of the server beyond which no dynamic one is made; default 10,000
	Rooms       int // of one socket; default 1,000
	Acks        int // acknowledgements that the server waits for from one socket; default 10,000
	Inbox       int // events of one socket that wait for its handlers before reading pauses; default 256
	Attachments int // of one packet; default 10
	Depth       int // nesting of arguments; default 64
	Args        int // of one event, its name among them, or acknowledgement; default 1,024
}

// Bounds on names.
const (
	maxRoomName      = 512 // bytes
	maxNamespaceName = 256 // bytes
)

const unlimited = int(^uint(0) >> 1)

// withDefaults fills in what is zero.
func withDefaults(c Config) Config {
	c.Path = or(c.Path, "/socket.io/")
	c.ConnectTimeout = or(c.ConnectTimeout, 45*time.Second)
	c.AckTimeout = or(c.AckTimeout, 30*time.Second)
	c.AttachmentTimeout = or(c.AttachmentTimeout, 10*time.Second)
	c.StartTimeout = or(c.StartTimeout, 5*time.Second)
	c.MaxPayload = or(c.MaxPayload, 1_000_000)
	c.Queue.MaxBytes = or(c.Queue.MaxBytes, 1_000_000)
	c.Queue.MaxPackets = or(c.Queue.MaxPackets, 1_024)
	c.Limits = c.Limits.withDefaults()
	c.Rate.Burst = or(c.Rate.Burst, time.Second)
	if c.Parser == nil {
		c.Parser = parser.JSON()
	}
	if c.Adapter == nil {
		c.Adapter = adapter.Memory()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (l Limits) withDefaults() Limits {
	bound := func(n, def int) int {
		if n < 0 {
			return unlimited
		}
		return or(n, def)
	}
	l.Namespaces = bound(l.Namespaces, 100)
	l.Dynamic = bound(l.Dynamic, 10_000)
	l.Acks = bound(l.Acks, 10_000)
	l.Inbox = bound(l.Inbox, 256)
	l.Rooms = or(l.Rooms, adapter.DefaultMaxRooms)
	return l
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// validate reports all faults of a configuration that has its defaults. Those of the transports are found by
// engineio.
func (c *Config) validate() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("sockeye: config: "+format, args...))
	}
	if !strings.HasPrefix(c.Path, "/") {
		fault("Path %q does not begin with a slash", c.Path)
	}
	if c.Limits.Inbox < 2 {
		fault("Limits.Inbox is below 2")
	}
	if c.Rate.Messages < 0 || c.Rate.Bytes < 0 || c.Rate.Burst < 0 {
		fault("Rate is negative")
	}
	if c.Admission.Pending < 0 {
		fault("Admission.Pending is negative")
	}
	if c.Recovery != nil {
		if c.Recovery.MaxDisconnection < 0 {
			fault("Recovery.MaxDisconnection is negative")
		}
		if rc, ok := c.Adapter.(adapter.RecoveryCluster); !ok || !rc.Recoverable() {
			fault("Recovery is set, but the adapter cannot do it")
		}
	}
	return errors.Join(faults...)
}

// engine gives the part of the configuration that belongs to the transports.
func (c *Config) engine(s *Server) engineio.Config {
	return engineio.Config{
		Path: c.Path, Transports: c.Transports, DisableUpgrades: c.DisableUpgrades, AllowEIO3: c.AllowEIO3, JSONP: c.JSONP,
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, UpgradeTimeout: c.UpgradeTimeout,
		PollingCloseWait: c.PollingCloseWait, MaxPayload: c.MaxPayload, MaxFragments: c.MaxFragments,
		Origin: c.Origin, CORS: c.CORS, Cookie: c.Cookie, AllowRequest: s.allowRequest(),
		HTTPCompression: c.HTTPCompression, PerMessageDeflate: c.PerMessageDeflate, DeflateThreshold: c.DeflateThreshold,
		Queue: c.Queue, TrustProxy: c.TrustProxy, Logger: c.Logger,
		Admission: engineio.Admission{
			Connections: c.Admission.Connections, PerAddress: c.Admission.PerAddress, Handshakes: c.Admission.Handshakes,
		},
		Hooks: engineio.Hooks{
			ConnectionError: s.connectionError,
			InitialHeaders:  c.Hooks.InitialHeaders,
			Headers:         c.Hooks.Headers,
			Fault:           func(err error) { s.report(context.Background(), err) },
		},
	}
}

// parserLimits gives the part of the configuration that belongs to the decoders.
func (c *Config) parserLimits() parser.Limits {
	return parser.Limits{
		Attachments: c.Limits.Attachments,
		Depth:       c.Limits.Depth,
		Args:        c.Limits.Args,
		Bytes:       int(min(c.MaxPayload, int64(unlimited))),
	}
}
