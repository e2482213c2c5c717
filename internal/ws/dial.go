package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds the header of an answer, and of what is read with it.
const maxAnswer = 64 << 10

// maxRefusal bounds the body that is kept of an answer that refuses.
const maxRefusal = 4 << 10

// DialOptions configure [Dial].
type DialOptions struct {
	// Header is added to the request. Host is honored.
	Header http.Header

	// Deflate offers permessage-deflate.
	Deflate bool

	// TLS is used for wss and https; nil means the defaults, which verify the certificate.
	TLS *tls.Config

	// NetDial opens the connection below TLS. nil means a net.Dialer.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy gives the http or https proxy for a request, nil for none. Only its CONNECT method is used.
	Proxy func(r *http.Request) (*url.URL, error)
}

// Dial opens a connection to a ws, wss, http or https URL and does the opening handshake of a client.
// first is what the server sent after its answer already; deflate tells whether compression was agreed.
// resp is the answer whenever there is one, also beside a *[HandshakeError], with up to 4 KiB of its
// body. Redirects are not followed. ctx bounds the handshake only.
//
// Protocol: RFC 6455, 4.1.
func Dial(ctx context.Context, u *url.URL, o DialOptions) (nc net.Conn, first []byte, deflate bool, resp *http.Response, err error) {
	r, key, err := request(ctx, u, o)
	if err != nil {
		return nil, nil, false, nil, err
	}
	if nc, err = connect(ctx, r, o); err != nil {
		return nil, nil, false, nil, fmt.Errorf("ws: connect to %s: %w", r.URL.Host, err)
	}
	resp, first, err = exchange(ctx, nc, r)
	if err == nil {
		deflate, err = checkAnswer(resp, key, o.Deflate)
	}
	if err != nil {
		_ = nc.Close() // of no use any more
		return nil, nil, false, resp, err
	}
	resp.Body = http.NoBody // what follows is not a body
	return nc, first, deflate, resp, nil
}

// request builds the request; key is its key.
func request(ctx context.Context, u *url.URL, o DialOptions) (r *http.Request, key string, err error) {
	target := *u
	switch u.Scheme {
	case "ws", "http":
		target.Scheme = "http"
	case "wss", "https":
		target.Scheme = "https"
	default:
		return nil, "", fmt.Errorf("ws: cannot dial scheme %q", u.Scheme)
	}
	target.Fragment = ""
	r, err = http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, "", fmt.Errorf("ws: build the request: %w", err)
	}
	for name, values := range o.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	if user := u.User; user != nil && r.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key = base64.StdEncoding.EncodeToString(nonce[:])
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", key)
	if o.Deflate {
		r.Header.Set("Sec-WebSocket-Extensions", agreed)
	}
	return r, key, nil
}

// connect opens the connection, through the proxy if there is one, with TLS if the URL wants it.
func connect(ctx context.Context, r *http.Request, o DialOptions) (net.Conn, error) {
	dial := o.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var proxy *url.URL
	if o.Proxy != nil {
		var err error
		if proxy, err = o.Proxy(r); err != nil {
			return nil, fmt.Errorf("choose a proxy: %w", err)
		}
	}
	addr := hostPort(r.URL)
	if proxy != nil {
		if proxy.Scheme != "http" && proxy.Scheme != "https" {
			return nil, fmt.Errorf("proxy of scheme %q: %w", proxy.Scheme, errors.ErrUnsupported)
		}
		return throughProxy(ctx, dial, proxy, addr, r, o)
	}
	nc, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return secure(ctx, nc, r.URL, o)
}

func throughProxy(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error),
	proxy *url.URL, addr string, r *http.Request, o DialOptions,
) (net.Conn, error) {
	nc, err := dial(ctx, "tcp", hostPort(proxy))
	if err == nil {
		nc, err = secure(ctx, nc, proxy, o)
	}
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	c := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		token := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		c.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	resp, early, err := exchange(ctx, nc, c) //nolint:bodyclose // what follows is the connection
	if err == nil && (resp.StatusCode != http.StatusOK || len(early) > 0) {
		err = fmt.Errorf("answered %s", resp.Status)
	}
	if err != nil {
		_ = nc.Close() // of no use any more
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return secure(ctx, nc, r.URL, o)
}

// secure does the TLS handshake if the URL wants it. It closes nc when it fails.
func secure(ctx context.Context, nc net.Conn, u *url.URL, o DialOptions) (net.Conn, error) {
	if u.Scheme != "https" {
		return nc, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = u.Hostname()
	}
	cfg.NextProtos = []string{"http/1.1"}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close() // of no use any more
		return nil, err
	}
	return tc, nil
}

// exchange writes a request and reads the answer, and what came with it. ctx ends it early.
func exchange(ctx context.Context, nc net.Conn, r *http.Request) (*http.Response, []byte, error) {
	interrupt := context.AfterFunc(ctx, func() {
		_ = nc.SetDeadline(time.Unix(1, 0)) // what is under way fails then
	})
	resp, first, err := roundTrip(nc, r)
	if !interrupt() {
		return resp, nil, fmt.Errorf("ws: handshake: %w", context.Cause(ctx))
	}
	if err != nil {
		return resp, nil, fmt.Errorf("ws: handshake: %w", err)
	}
	return resp, first, nil
}

func roundTrip(nc net.Conn, r *http.Request) (*http.Response, []byte, error) {
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, nil, err
	}
	if _, err := nc.Write(b.Bytes()); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReader(io.LimitReader(nc, maxAnswer))
	resp, err := http.ReadResponse(br, r) // the body is replaced, the connection is closed by Dial
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols && r.Method != http.MethodConnect {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // a part is better than nothing
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp, nil, nil
	}
	var first []byte
	if n := br.Buffered(); n > 0 {
		held, err := br.Peek(n)
		if err != nil {
			return nil, nil, err
		}
		first = bytes.Clone(held)
	}
	return resp, first, nil
}

// checkAnswer tells whether the answer accepts the handshake and whether compression was agreed.
func checkAnswer(resp *http.Response, key string, offered bool) (deflate bool, err error) {
	h := resp.Header
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return false, &HandshakeError{resp.StatusCode, "unexpected status " + resp.Status}
	case !hasToken(h["Upgrade"], "websocket") || !hasToken(h["Connection"], "upgrade"):
		return false, &HandshakeError{resp.StatusCode, "invalid Upgrade header"}
	case h.Get("Sec-WebSocket-Accept") != acceptKey(key):
		return false, &HandshakeError{resp.StatusCode, "invalid Sec-WebSocket-Accept header"}
	}
	extensions := strings.Join(h["Sec-Websocket-Extensions"], ",")
	if extensions == "" {
		return false, nil
	}
	name, params := cutQuoted(extensions, ';')
	if !offered || !strings.EqualFold(trim(name), "permessage-deflate") || !acceptable(params) {
		return false, &HandshakeError{resp.StatusCode, "unacceptable Sec-WebSocket-Extensions header"}
	}
	return true, nil
}

// acceptable tells whether we can work with what the server agreed to: it must not keep its context, and our
// window is always 15 bits.
func acceptable(params string) bool {
	noContext := false
	for params != "" {
		var param string
		param, params = cutQuoted(params, ';')
		name, value, _ := strings.Cut(param, "=")
		switch strings.ToLower(trim(name)) {
		case "server_no_context_takeover":
			noContext = true
		case "client_no_context_takeover":
		case "server_max_window_bits":
			if !validWindow(unquote(trim(value))) {
				return false
			}
		default: // client_max_window_bits was not offered
			return false
		}
	}
	return noContext
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}
