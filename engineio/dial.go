package engineio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/ws"
)

const (
	transportPolling   = "polling"
	transportWebSocket = "websocket"
)

// DialConfig configures [Dial]. Zero fields mean defaults.
type DialConfig struct {
	// Transports to use, of "polling" and "websocket": the connection opens with the first and moves from polling to
	// WebSocket where both are listed. Default polling, websocket.
	Transports []string

	DisableUpgrades bool   // stay on the transport that the connection opened with
	Protocol        int    // 4 (default) or 3
	Path            string // default: that of the URL, or "/engine.io/" where it has none

	Header http.Header // of every request; Host is honored

	// HTTPClient is used for polling; nil = a client of its own. If its Transport is an *http.Transport, WebSocket uses
	// that one's TLS configuration, dialer and proxy; its Jar keeps cookies of both. Its Timeout must be above the
	// server's ping interval.
	HTTPClient *http.Client

	MaxPayload int64 // bounds a message, and the body of a poll, that is received; in bytes; 0 = no limit

	Timeout           time.Duration // of the opening; 20 s
	Queue             SendQueue     // bounds what waits to be sent
	PerMessageDeflate bool          // offer WebSocket compression

	// Loop drives the WebSocket together with others; nil = a goroutine of its own.
	Loop *Loop

	// Ended is called once for a connection that Dial gave: when OnClose has returned, the goroutines of the
	// connection have ended and its WebSocket is closed. It must not block. May be nil.
	Ended func()
}

// TransportError is what went wrong with a request or a WebSocket of the client side: why [Dial] failed, or the error
// of OnClose.
type TransportError struct {
	Transport string // "polling" or "websocket"
	Status    int    // of the HTTP answer; 0 = there was none
	Code      int    // why the server refused, such as CodeForbidden; -1 = it did not say
	Message   string // of the server; may be empty
	Err       error  // what went wrong where the server did not refuse; may be nil
}

// Error says at which transport what went wrong.
func (e *TransportError) Error() string {
	text := "engineio: " + e.Transport
	if e.Status != 0 && e.Status != http.StatusOK {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives Err.
func (e *TransportError) Unwrap() error { return e.Err }

var (
	errNotOpen     = errors.New("the server did not open a connection")
	errBodyTooLong = errors.New("answer above MaxPayload")
)

// Dial opens a connection to rawURL (http, https, ws or wss). OnOpen comes before Dial returns; its request
// is nil. ctx, with cfg.Timeout, bounds the opening only. The goroutines of the connection end soon after OnClose: see
// DialConfig.Ended. A handler that is an [UpgradeHandler] is told of the upgrade.
//
// Errors: what is wrong with the arguments, or *[TransportError].
//
// Protocol: engine.io v4 and v3, client side.
func Dial(ctx context.Context, rawURL string, cfg DialConfig, h Handler) (*Conn, error) {
	d, err := newDialed(ctx, rawURL, cfg, h)
	if err != nil {
		return nil, err
	}
	opening, stop := context.WithTimeout(ctx, d.cfg.Timeout)
	defer stop()
	var socket *clientSocket
	if d.cfg.Transports[0] == transportWebSocket {
		socket, err = d.openSocket(opening)
	} else {
		err = d.openPolling(opening)
	}
	if err != nil {
		d.cancel()
		d.release()
		return nil, err
	}
	d.start(socket)
	d.let()
	return d.c, nil
}

// newDialed checks the arguments, reporting all faults.
func newDialed(ctx context.Context, rawURL string, cfg DialConfig, h Handler) (*dialed, error) {
	var errs []error
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("engineio: dial: %w", err)
	}
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		errs = append(errs, fmt.Errorf("engineio: dial: scheme %q", u.Scheme))
	}
	if u.Host == "" {
		errs = append(errs, errors.New("engineio: dial: no host"))
	}
	if cfg.Path != "" {
		u.Path, u.RawPath = cfg.Path, ""
	} else if u.Path == "" || u.Path == "/" {
		u.Path, u.RawPath = "/engine.io/", ""
	}
	u.Fragment = ""
	if len(cfg.Transports) == 0 {
		cfg.Transports = []string{transportPolling, transportWebSocket}
	}
	for _, t := range cfg.Transports {
		if t != transportPolling && t != transportWebSocket {
			errs = append(errs, fmt.Errorf("engineio: dial: transport %q", t))
		}
	}
	if cfg.Protocol == 0 {
		cfg.Protocol = 4
	}
	if cfg.Protocol != 3 && cfg.Protocol != 4 {
		errs = append(errs, fmt.Errorf("engineio: dial: protocol %d", cfg.Protocol))
	}
	if cfg.MaxPayload < 0 || cfg.Timeout < 0 {
		errs = append(errs, errors.New("engineio: dial: negative limit"))
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	if h == nil {
		errs = append(errs, errors.New("engineio: dial: no handler"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	d := &dialed{
		cfg: cfg, base: u, client: cfg.HTTPClient,
		posting:   true, // until start
		stopPolls: make(chan struct{}), pollsDone: make(chan struct{}),
		e: env{
			handler: h, queue: cfg.Queue.withDefaults(), start: time.Now(),
			fault: func(error) {}, // OnClose is told
		},
	}
	d.e.told = func(*Conn) { d.let() }
	if u, ok := h.(UpgradeHandler); ok {
		d.e.upgraded = u.OnUpgrade
	}
	d.holds.Store(2) // Dial itself, and OnClose
	if d.client == nil {
		d.own = ownTransport()
		d.client = &http.Client{Transport: d.own}
	}
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return d, nil
}

func ownTransport() *http.Transport {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// target is the address of requests. sid is empty for the opening one.
func (d *dialed) target(transport, sid string) *url.URL {
	u := *d.base
	var q strings.Builder
	q.WriteString(u.RawQuery)
	if u.RawQuery != "" {
		q.WriteByte('&')
	}
	fmt.Fprintf(&q, "EIO=%d&transport=%s", d.cfg.Protocol, transport)
	if sid != "" {
		q.WriteString("&sid=" + url.QueryEscape(sid))
	}
	u.RawQuery = q.String()
	return &u
}

// socketOptions makes WebSocket use what the HTTP client uses.
func (d *dialed) socketOptions() ws.DialOptions {
	o := ws.DialOptions{Header: d.cfg.Header.Clone(), Deflate: d.cfg.PerMessageDeflate}
	tr, ok := d.client.Transport.(*http.Transport)
	if d.client.Transport == nil {
		tr, ok = http.DefaultTransport.(*http.Transport)
	}
	if ok {
		tr = tr.Clone()
		o.NetDial, o.Proxy, o.TLS = tr.DialContext, tr.Proxy, tr.TLSClientConfig
		if o.TLS != nil {
			o.TLS.NextProtos = nil // polling may have agreed to HTTP/2, which has another WebSocket
		}
	}
	if d.client.Jar == nil {
		return o
	}
	if o.Header == nil {
		o.Header = http.Header{}
	}
	carrier := http.Request{Header: o.Header}
	for _, c := range d.client.Jar.Cookies(d.site()) {
		carrier.AddCookie(c)
	}
	return o
}

// keepCookies does for the answer to a WebSocket what the HTTP client does for others.
func (d *dialed) keepCookies(resp *http.Response) {
	if resp == nil || d.client.Jar == nil {
		return
	}
	if all := resp.Cookies(); len(all) > 0 {
		d.client.Jar.SetCookies(d.site(), all)
	}
}

// site is what cookies belong to, as for the HTTP client.
func (d *dialed) site() *url.URL {
	u := *d.base
	if host := d.cfg.Header.Get("Host"); host != "" {
		u.Host = host
	}
	return &u
}

// opened takes the open packet: it makes the Conn and calls OnOpen. s is nil when it came by polling.
func (d *dialed) opened(p eio.Packet, s *clientSocket) error {
	if p.Type != eio.Open || p.Binary {
		return errNotOpen
	}
	hs, err := eio.ParseHandshake(p.Data)
	if err != nil {
		return err
	}
	d.hs = hs
	d.e.interval, d.e.timeout = hs.PingInterval, hs.PingTimeout
	secure := ""
	if d.base.Scheme == "https" {
		secure = "1"
	}
	first := transportPolling
	if s != nil {
		first = transportWebSocket
		d.carrier.Store(s)
	}
	blob := d.target(first, "").RequestURI() + "\n" + d.base.Hostname() + "\n" + secure + "\n"
	c := newConn(&d.e, hs.SID, d.cfg.Protocol, blob)
	c.t = d
	d.c = c
	d.hear()
	c.open(nil)
	return nil
}

// wantsUpgrade tells whether to move from polling to WebSocket.
func (d *dialed) wantsUpgrade() bool {
	return !d.cfg.DisableUpgrades && slices.Contains(d.cfg.Transports, transportWebSocket) &&
		slices.Contains(d.hs.Upgrades, transportWebSocket)
}

// codeOf finds the code of a refusal of which only the text is known.
func codeOf(message string) int {
	for code := CodeTransportUnknown; code <= CodeUnsupportedVersion; code++ {
		if codeMessage(code) == message {
			return code
		}
	}
	return -1
}
