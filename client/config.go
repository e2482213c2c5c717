package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// Transports.
const (
	transportPolling   = "polling"
	transportWebSocket = "websocket"
)

// idleConns is how long an HTTP connection is kept that nothing needs, as after an upgrade. It is more than the time
// between two heartbeats, so that polling does not have to connect for each.
const idleConns = 30 * time.Second

// Config configures a [Manager]. Zero fields mean Node's defaults but where it is said.
//
// Node: socket.io-client/lib/manager.ts ManagerOptions
type Config struct {
	Path   string      // of requests; default "/socket.io/". A slash is added at the end
	Query  url.Values  // of requests, added to the query of the URL; with EIO3 also of namespaces other than "/"
	Header http.Header // of every request; Host is honored

	// Auth is sent when a namespace is connected to: a value that encodes to a JSON object. AuthFunc is asked for it
	// at every connect, with a context that ends with the connection; it may block. At most one of them may be set,
	// and neither with EIO3.
	Auth     any
	AuthFunc func(ctx context.Context, namespace string) (any, error)

	// Transports to use, of "polling" and "websocket": the connection opens with the first and moves from polling to
	// WebSocket where both are listed. Default polling, websocket.
	Transports       []string
	DisableUpgrades  bool // stay on the transport that the connection opened with
	TryAllTransports bool // when the first transport fails open with the next one
	RememberUpgrade  bool // open with WebSocket where that worked before, for this Manager

	// HTTPClient is used for polling, and its transport's TLS configuration, dialer and proxy for WebSocket too where
	// that is an *http.Transport; cookies of its Jar are kept and sent by both. nil = one of the Manager's own, like
	// http.DefaultTransport, with the proxy of the environment, to which the next three fields apply.
	HTTPClient  *http.Client
	TLS         *tls.Config
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Jar keeps cookies, such as those by which a load balancer finds the server again. nil = one of the Manager's
	// own. Differs from Node: there are cookies with withCredentials only.
	Jar http.CookieJar

	// Loop drives the WebSockets of several Managers together: for programs with thousands of them. It is to be closed
	// after them. nil = a goroutine for each connection.
	Loop *engineio.Loop

	Timeout           time.Duration // of the opening of a connection; 20 s
	PerMessageDeflate bool          // offer WebSocket compression

	Reconnect Reconnect

	// Retries makes events reliable: each event that is not volatile asks for an acknowledgement, and is sent again
	// up to that many times where none came within AckTimeout or the connection was lost. Only one is under way at a
	// time, in the order of emits. The server may get an event more than once. 0 = off.
	Retries int

	// AckTimeout bounds the wait for acknowledgements where the context has no deadline; with Retries, each try.
	// Default 30 s; negative = no limit. Differs from Node: there is no default.
	AckTimeout time.Duration

	// Queue bounds what waits to be sent: for the connection, and while there is none for each socket. When it is
	// full emits fail with [ErrQueueFull]. Differs from Node: there is no bound.
	Queue Queue

	// Inbox is how many events of a socket may wait for their handlers until reading from the connection pauses;
	// 1,024. A pause of more than the server's ping interval and timeout ends the connection.
	Inbox int

	Parser parser.Parser // default parser.JSON()

	// Limits bound packets of the server. The default of Bytes is MaxPayload.
	Limits     parser.Limits
	MaxPayload int64 // of a message that is received, in bytes; 64 MiB; negative = no limit. Differs from Node: no limit

	EIO3 bool // the server is one of Socket.IO 2, with version 3 of Engine.IO

	// Setup is called with each new socket before it can connect: the place to register handlers such that none
	// misses an event. It must not wait for the socket to be connected, which is only after it. nil = none.
	Setup func(s *Socket)

	// OnError is told of errors and panics ([*PanicError]) of the application's functions, and of events that were
	// given up after all Retries ([*EventError]). It may be called at the same time by several goroutines, must not
	// block and must not panic. nil = nobody is told.
	OnError func(err error)
}

// Queue bounds events that wait to be sent. An empty queue takes one of any size.
type Queue struct {
	MaxBytes   int // 16 MiB
	MaxPackets int // 65,536
}

// Reconnect says how a lost connection, or one that could not be opened, is made again. The n-th delay is
// Delay * 2^(n-1), more or less by up to Jitter of that, and at most MaxDelay.
//
// Node: socket.io-client/lib/contrib/backo2.ts
type Reconnect struct {
	Disabled bool
	Attempts int           // 0 = no limit
	Delay    time.Duration // 1 s
	MaxDelay time.Duration // 5 s
	Jitter   float64       // 0.5; 0 < Jitter <= 1; negative = none
}

// withDefaults fills in the defaults and reports all faults.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	bad := func(is bool, what string) {
		if is {
			errs = append(errs, errors.New("client: config: "+what))
		}
	}
	if len(c.Transports) == 0 {
		c.Transports = []string{transportPolling, transportWebSocket}
	}
	c.Transports = slices.Clone(c.Transports)
	for _, t := range c.Transports {
		bad(t != transportPolling && t != transportWebSocket, fmt.Sprintf("transport %q", t))
	}
	bad(c.Auth != nil && c.AuthFunc != nil, "Auth and AuthFunc")
	bad(c.EIO3 && (c.Auth != nil || c.AuthFunc != nil), "Auth, which protocol 4 has not, with EIO3")
	bad(c.HTTPClient != nil && (c.TLS != nil || c.DialContext != nil || c.Jar != nil), "HTTPClient with TLS, DialContext or Jar")
	bad(c.Timeout < 0, "negative Timeout")
	bad(c.Retries < 0, "negative Retries")
	bad(c.Queue.MaxBytes < 0 || c.Queue.MaxPackets < 0, "negative Queue")
	bad(c.Inbox < 0, "negative Inbox")
	r := &c.Reconnect
	bad(r.Attempts < 0 || r.Delay < 0 || r.MaxDelay < 0, "negative Reconnect")
	bad(r.Jitter > 1, "Jitter above 1")
	if err := errors.Join(errs...); err != nil {
		return c, err
	}
	if c.Path = or(c.Path, "/socket.io/"); !strings.HasSuffix(c.Path, "/") {
		c.Path += "/"
	}
	if !strings.HasPrefix(c.Path, "/") {
		c.Path = "/" + c.Path
	}
	c.Timeout = or(c.Timeout, 20*time.Second)
	c.AckTimeout = or(c.AckTimeout, 30*time.Second)
	c.Queue.MaxBytes = or(c.Queue.MaxBytes, 16<<20)
	c.Queue.MaxPackets = or(c.Queue.MaxPackets, 1<<16)
	c.Inbox = or(c.Inbox, 1024)
	r.Delay = or(r.Delay, time.Second)
	r.MaxDelay = or(r.MaxDelay, 5*time.Second)
	if r.Jitter = or(r.Jitter, 0.5); r.Jitter < 0 {
		r.Jitter = 0
	}
	c.MaxPayload = or(c.MaxPayload, 64<<20)
	c.Limits.Bytes = or(c.Limits.Bytes, int(c.MaxPayload))
	c.MaxPayload = max(c.MaxPayload, 0) // for which the engine says 0
	if c.Parser == nil {
		c.Parser = parser.JSON()
	}
	c.Query, c.Header = maps.Clone(c.Query), c.Header.Clone()
	return c, nil
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// splitURL gives the address of the server, with the query of the Config, and what the path says.
func splitURL(raw string, c *Config) (base, path string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", "", fmt.Errorf("client: %w", err)
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return "", "", fmt.Errorf("client: scheme %q", u.Scheme)
	}
	if u.Host == "" {
		return "", "", errors.New("client: no host in the URL")
	}
	path = u.Path
	u.Path, u.RawPath, u.Fragment = "", "", ""
	if more := c.Query.Encode(); more != "" {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += more
	}
	return u.String(), path, nil
}

// client makes the HTTP client of a Manager where none was given.
func (c Config) client() (*http.Client, *http.Transport) {
	if c.HTTPClient != nil {
		return c.HTTPClient, nil
	}
	own := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		own = t.Clone()
	}
	own.IdleConnTimeout = idleConns
	if c.TLS != nil {
		own.TLSClientConfig = c.TLS.Clone()
	}
	if c.DialContext != nil {
		own.DialContext = c.DialContext
	}
	jar := c.Jar
	if jar == nil {
		jar, _ = cookiejar.New(nil) // without options it cannot fail
	}
	return &http.Client{Transport: own, Jar: jar}, own
}

// engine makes the configuration of a connection that uses the given transports.
func (m *Manager) engine(transports []string) engineio.DialConfig {
	c := &m.cfg
	d := engineio.DialConfig{
		Transports: transports, DisableUpgrades: c.DisableUpgrades, Protocol: 4, Path: c.Path, Header: c.Header,
		HTTPClient: m.http, MaxPayload: c.MaxPayload, Timeout: c.Timeout, PerMessageDeflate: c.PerMessageDeflate,
		Loop: c.Loop, Ended: m.conns.Done,
		Queue: engineio.SendQueue{
			MaxBytes: c.Queue.MaxBytes, MaxPackets: c.Queue.MaxPackets, OnFull: engineio.DropNewest,
		},
	}
	if c.EIO3 {
		d.Protocol = 3
	}
	return d
}

// protocol is the revision of Socket.IO.
func (c Config) protocol() int {
	if c.EIO3 {
		return 4
	}
	return 5
}
