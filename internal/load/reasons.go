package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"unicode"

	"github.com/sockeye-io/sockeye/engineio"
	"github.com/sockeye-io/sockeye/parser"
)

const (
	maxReasons = 32  // that are told apart; all others count as one
	maxReason  = 120 // bytes of one

	otherReasons = "other reasons"
)

// refusedError is what the server said when it refused.
type refusedError struct{ said string }

func (e *refusedError) Error() string { return e.said }

// refusal is what CONNECT_ERROR says.
func refusal(data parser.Arg) error {
	var object struct {
		Message string `json:"message"`
	}
	var text string
	if data.Scan(&object) == nil && object.Message != "" {
		text = object.Message
	} else if data.Scan(&text) != nil || text == "" {
		return &refusedError{"refused by the server"}
	}
	return &refusedError{"refused by the server: " + text}
}

// refused gives why an acknowledgement says no: it begins with an object whose ok is false, as that of "sockeye serve".
func refused(args []parser.Arg) string {
	if len(args) == 0 {
		return ""
	}
	var scratch [128]byte
	text, err := args[0].AppendJSON(scratch[:0])
	if err != nil || !bytes.Contains(text, []byte(`"ok"`)) {
		return ""
	}
	var answer struct {
		OK    *bool `json:"ok"`
		Error any   `json:"error"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.OK == nil || *answer.OK {
		return ""
	}
	switch e := answer.Error.(type) {
	case string:
		return e
	case map[string]any:
		if code, ok := e["code"].(string); ok && code != "" {
			return code
		}
	}
	return "not ok"
}

// reason is why a connection failed, in the few words that equal reasons share.
func reason(err error) string {
	if said, ok := errors.AsType[*refusedError](err); ok {
		return short(said.said)
	}
	for _, known := range []struct {
		err  error
		text string
	}{
		{syscall.ECONNREFUSED, "connection refused"},
		{syscall.ECONNRESET, "connection reset"},
		{syscall.EMFILE, "too many open files"},
		{syscall.ENFILE, "too many open files in the system"},
		{syscall.EADDRNOTAVAIL, "no free port"},
		{syscall.EADDRINUSE, "no free port"},
		{syscall.EHOSTUNREACH, "no route to host"},
		{syscall.ENETUNREACH, "network unreachable"},
		{syscall.EPIPE, "connection reset"},
	} {
		if errors.Is(err, known.err) {
			return known.text
		}
	}
	if t, ok := errors.AsType[*engineio.TransportError](err); ok && t.Status != 0 && t.Status != 200 && t.Status != 101 {
		if t.Message != "" {
			return short(fmt.Sprintf("status %d: %s", t.Status, t.Message))
		}
		return fmt.Sprintf("status %d", t.Status)
	}
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &name):
		return "name cannot be resolved"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &certificate):
		return short("certificate: " + certificate.Err.Error())
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the URL, which may have secrets
	}
	return short(err.Error())
}

// short makes a text of others fit for a line of a terminal.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "..."
	}
	return s
}

// count adds to the count of a reason.
func count(m map[string]int, reason string, n int) {
	if _, ok := m[reason]; !ok && len(m) >= maxReasons {
		reason = otherReasons
	}
	m[reason] += n
}
