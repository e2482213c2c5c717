package ws

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// CheckRequest tells whether r is a valid opening handshake. Errors: *[HandshakeError].
//
// Protocol: RFC 6455, 4.2.1. Node: ws/lib/websocket-server.js handleUpgrade.
func CheckRequest(r *http.Request) error {
	switch {
	case r.Method != http.MethodGet:
		return &HandshakeError{http.StatusMethodNotAllowed, "Invalid HTTP method"}
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return &HandshakeError{http.StatusBadRequest, "Invalid HTTP version"}
	case !hasToken(r.Header["Connection"], "upgrade") || !hasToken(r.Header["Upgrade"], "websocket"):
		return &HandshakeError{http.StatusBadRequest, "Invalid Upgrade header"}
	case len(r.Header["Sec-Websocket-Key"]) != 1 || !validKey(r.Header.Get("Sec-WebSocket-Key")):
		return &HandshakeError{http.StatusBadRequest, "Missing or invalid Sec-WebSocket-Key header"}
	}
	if v := r.Header["Sec-Websocket-Version"]; len(v) != 1 || v[0] != "13" && v[0] != "8" {
		return &HandshakeError{http.StatusBadRequest, textVersion}
	}
	if _, ok := firstProtocol(r.Header["Sec-Websocket-Protocol"]); !ok {
		return &HandshakeError{http.StatusBadRequest, "Invalid Sec-WebSocket-Protocol header"}
	}
	return nil
}

const textVersion = "Missing or invalid Sec-WebSocket-Version header"

// AcceptOptions configure [Accept].
type AcceptOptions struct {
	Header  http.Header   // added to the 101; what belongs to the handshake itself is left out
	Deflate bool          // agree to permessage-deflate when the client offers it
	Timeout time.Duration // to write the 101; 0 = 10 s
}

// ours are the headers of the 101 that the handshake itself sets, and those that must not be there.
var ours = map[string]bool{
	"Upgrade": true, "Connection": true, "Sec-Websocket-Accept": true, "Sec-Websocket-Extensions": true,
	"Content-Length": true, "Transfer-Encoding": true,
}

// Accept answers an opening handshake and takes the connection over from the HTTP server, whose handler should
// then return. first is what the client sent after the request already; deflate tells whether compression
// was agreed. The connection has no deadlines. The first subprotocol that the client asks for is
// agreed, as in Node, unless o.Header has one.
//
// A request that is refused is answered before Accept returns its *[HandshakeError]. After any other
// error it was answered too or the connection is closed.
//
// Protocol: RFC 6455, 4.2.
func Accept(w http.ResponseWriter, r *http.Request, o AcceptOptions) (nc net.Conn, first []byte, deflate bool, err error) {
	if err := CheckRequest(r); err != nil {
		refuse(w, err)
		return nil, nil, false, err
	}
	extension := ""
	if o.Deflate {
		extension = negotiate(r.Header)
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "Internal server error", http.StatusInternalServerError)
		return nil, nil, false, fmt.Errorf("ws: take over the connection: %w", err)
	}
	if first, err = takeOver(nc, rw.Reader, answer(r, o.Header, extension), o.Timeout); err != nil {
		_ = nc.Close() // it failed already
		return nil, nil, false, err
	}
	return nc, first, extension != "", nil
}

// refuse answers a request that is not a valid handshake.
func refuse(w http.ResponseWriter, err error) {
	var e *HandshakeError
	if !errors.As(err, &e) {
		return // CheckRequest has no other
	}
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", strconv.Itoa(len(e.Text)))
	if e.Text == textVersion {
		h.Set("Sec-WebSocket-Version", "13, 8")
	}
	if e.Status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet)
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write([]byte(e.Text)) // the peer may have gone; nothing is left to do
}

// answer is the 101.
func answer(r *http.Request, header http.Header, extension string) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	b.WriteString(acceptKey(r.Header.Get("Sec-WebSocket-Key")))
	b.WriteString("\r\n")
	if extension != "" {
		b.WriteString("Sec-WebSocket-Extensions: " + extension + "\r\n")
	}
	protocol, _ := firstProtocol(r.Header["Sec-Websocket-Protocol"]) // checked before
	if protocol != "" && header.Get("Sec-WebSocket-Protocol") == "" {
		b.WriteString("Sec-WebSocket-Protocol: " + protocol + "\r\n")
	}
	_ = header.WriteSubset(&b, ours) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// takeOver writes the answer and copies what the server's reader holds, which is then garbage.
func takeOver(nc net.Conn, br *bufio.Reader, answer []byte, limit time.Duration) ([]byte, error) {
	var first []byte
	if n := br.Buffered(); n > 0 {
		held, err := br.Peek(n)
		if err != nil {
			return nil, fmt.Errorf("ws: take over the connection: %w", err)
		}
		first = bytes.Clone(held)
	}
	if limit <= 0 {
		limit = 10 * time.Second
	}
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, fmt.Errorf("ws: take over the connection: %w", err)
	}
	if _, err := nc.Write(answer); err != nil {
		return nil, fmt.Errorf("ws: answer the handshake: %w", err)
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("ws: take over the connection: %w", err)
	}
	return first, nil
}
