package ws

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"
)

// HandshakeError is a request that is not a valid opening handshake, or an answer that does not accept it.
type HandshakeError struct {
	Status int    // of the answer
	Text   string // body of the answer
}

func (e *HandshakeError) Error() string { return "ws: handshake: " + e.Text }

// CheckRequest tells whether r is a valid opening handshake. Errors: *[HandshakeError].
func CheckRequest(r *http.Request) error { return nil }

// AcceptOptions configure [Accept].
type AcceptOptions struct {
	Header  http.Header   // added to the 101
	Deflate bool          // agree to permessage-deflate when the client offers it
	Timeout time.Duration // to write the 101; 0 = 10 s
}

// Accept answers an opening handshake and takes the connection over.
func Accept(w http.ResponseWriter, r *http.Request, o AcceptOptions) (nc net.Conn, first []byte, deflate bool, err error) {
	return nil, nil, false, errors.ErrUnsupported
}

// DialOptions configure [Dial].
type DialOptions struct {
	Header  http.Header // added to the request; Host is honored
	Deflate bool        // offer permessage-deflate
	TLS     *tls.Config
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)
	Proxy   func(*http.Request) (*url.URL, error)
}

// Dial opens a connection to a ws, wss, http or https URL and does the opening handshake of a client.
func Dial(ctx context.Context, u *url.URL, o DialOptions) (nc net.Conn, first []byte, deflate bool, resp *http.Response, err error) {
	return nil, nil, false, nil, errors.ErrUnsupported
}
