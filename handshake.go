package sockeye

import (
	"net/http"
	"net/url"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

// Handshake is what a client said when it connected. The request itself is at hand in connection middleware only:
// see RequestFrom.
//
// Node: socket.io/lib/socket-types.ts Handshake
type Handshake struct {
	Headers http.Header
	Query   map[string]string // of the request that opened the connection; the last value of each key
	Auth    parser.Arg        // what the client sent for this namespace; the zero Arg for nothing
	Address string            // of the client, without port
	URL     string            // the request target
	Time    time.Time         // when the connection was opened
	Secure  bool              // whether it came over TLS
	XDomain bool              // whether the request had an Origin
}

// Handshake gives what the client said when it connected. It is made anew by each call.
//
// Node: socket.io/lib/socket.ts handshake
func (s *Socket) Handshake() *Handshake {
	e := s.conn.eng
	h := &Handshake{
		Headers: e.Header(), Query: e.Query(), Auth: s.auth(),
		Address: e.RemoteAddr(), URL: e.URL(), Time: e.Opened(), Secure: e.Secure(),
	}
	h.XDomain = h.Headers.Get("Origin") != ""
	return h
}

// Auth scans what the client sent for this namespace, the auth option of the JavaScript client, into dst. If it
// sent nothing dst is left as it is.
//
// Protocol: socket.io v5, "Connection to a namespace"
func (s *Socket) Auth(dst any) error {
	a := s.auth()
	if a.IsZero() {
		return nil
	}
	return a.Scan(dst)
}

func (s *Socket) auth() parser.Arg {
	if e := s.more.Load(); e != nil {
		return e.auth
	}
	return parser.Arg{}
}

// jsTime is how JavaScript prints a date in UTC.
const jsTime = "Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)"

// wire is a handshake as other servers see it. Clients that sent no auth have an empty object there.
func (h *Handshake) wire() adapter.Handshake {
	auth := h.Auth
	if auth.IsZero() {
		auth = parser.RawJSON([]byte("{}"))
	}
	return adapter.Handshake{
		Headers: h.Headers, Query: h.Query, Auth: auth, Address: h.Address, URL: h.URL,
		Issued: h.Time.UnixMilli(), Time: h.Time.UTC().Format(jsTime), Secure: h.Secure, XDomain: h.XDomain,
	}
}

func handshakeOf(w *adapter.Handshake) Handshake {
	h := Handshake{
		Headers: make(http.Header, len(w.Headers)), Query: w.Query, Auth: w.Auth, Address: w.Address, URL: w.URL,
		Time: time.UnixMilli(w.Issued), Secure: w.Secure, XDomain: w.XDomain,
	}
	for k, v := range w.Headers { // Node has lower-case names
		k = http.CanonicalHeaderKey(k)
		h.Headers[k] = append(h.Headers[k], v...)
	}
	return h
}

// rebuild makes a request of what is kept of it.
func rebuild(e *engineio.Conn) *http.Request {
	target := e.URL()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		u = &url.URL{Path: "/"}
	}
	h := e.Header()
	return &http.Request{
		Method: http.MethodGet, URL: u, RequestURI: target, Header: h, Host: h.Get("Host"), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: e.RemoteAddr(),
	}
}
