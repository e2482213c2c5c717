package engineio

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// query has the parameters that concern the engine.
type query struct {
	transport, sid, eio, j string
	hasJ                   bool
	b64                    bool
}

// parseQuery reads a raw query: the last value of a repeated key wins. It allocates only for escapes.
func parseQuery(raw string) (q query) {
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		k, v, _ := strings.Cut(part, "=")
		switch unescapeQuery(k) {
		case "transport":
			q.transport = unescapeQuery(v)
		case "sid":
			q.sid = unescapeQuery(v)
		case "EIO":
			q.eio = unescapeQuery(v)
		case "j":
			q.j, q.hasJ = unescapeQuery(v), true
		case "b64":
			q.b64 = v != ""
		}
	}
	return q
}

func (q *query) protocol() int {
	if q.eio == "4" {
		return 4
	}
	return 3
}

// isUpgrade tells whether r asks for another protocol on its connection.
func isUpgrade(r *http.Request) bool {
	return len(r.Header["Upgrade"]) > 0 && hasToken(r.Header["Connection"], "upgrade")
}

// hasToken looks for a token in lists separated by commas.
func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// refusal is why a request is refused; code is negative when it is not.
type refusal struct {
	code    int
	message string // "" = that of the code
	status  int    // of the answer; 0 = that of the code
	context map[string]string
}

var accepted = refusal{code: -1}

// busy refuses for what another time may be right; of one address with the status for that.
func busy(why string) refusal {
	status := http.StatusServiceUnavailable
	if why == tooManyOf {
		status = http.StatusTooManyRequests
	}
	return refusal{
		code: CodeForbidden, message: "Too many connections", status: status, context: map[string]string{"name": why},
	}
}

func badRequest(name string) refusal {
	return refusal{code: CodeBadRequest, context: map[string]string{"name": name}}
}

// verify makes the checks of a request in the order of Node: the first that fails wins. c is the session that the
// request belongs to, nil for one that opens a session.
//
// Differs from Node: the version of the protocol is checked before a WebSocket is accepted, too.
// Node: engine.io/lib/server.ts verify
func (s *Server) verify(r *http.Request, q *query, d *originDecision, upgrade bool) (c *Conn, _ refusal) {
	if !s.offers(q.transport) {
		ctx := map[string]string{}
		if q.transport != "" {
			ctx["transport"] = q.transport
		}
		return nil, refusal{code: CodeTransportUnknown, context: ctx}
	}
	if !d.ok {
		return nil, refusal{code: d.code, context: d.context}
	}
	if q.hasJ && !s.allowsJSONP(r) {
		return nil, badRequest("JSONP_NOT_ALLOWED")
	}
	if q.sid != "" {
		return s.verifySession(r, q, upgrade)
	}
	if r.Method != http.MethodGet {
		return nil, refusal{code: CodeBadHandshakeMethod, context: map[string]string{"method": r.Method}}
	}
	if q.transport == transportWebSocket && !upgrade {
		return nil, badRequest("TRANSPORT_HANDSHAKE_ERROR")
	}
	if s.isClosing() {
		return nil, busy(serverCloses)
	}
	if err := s.allowed(r); errors.Is(err, ErrTooManyConnections) {
		return nil, busy(tooMany)
	} else if err != nil {
		return nil, refusal{
			code: CodeForbidden, message: err.Error(), context: map[string]string{"message": err.Error()},
		}
	}
	if q.protocol() != 4 && !s.cfg.AllowEIO3 {
		return nil, refusal{code: CodeUnsupportedVersion, context: map[string]string{"protocol": "3"}}
	}
	addr, _ := s.remote(r)
	if why := s.admission.full(addr); why != "" {
		return nil, busy(why)
	}
	return nil, accepted
}

func (s *Server) verifySession(r *http.Request, q *query, upgrade bool) (*Conn, refusal) {
	unknown := func() (*Conn, refusal) {
		return nil, refusal{code: CodeSessionUnknown, context: map[string]string{"sid": q.sid}}
	}
	c := s.sessions.get(q.sid)
	if c == nil {
		return unknown()
	}
	c.expire()
	if c.state.Load() == stateClosed {
		return unknown()
	}
	if now := c.Transport(); !upgrade && (now != q.transport || now != transportPolling) {
		s.awaitWritten(r, c)
		return nil, refusal{code: CodeBadRequest, context: map[string]string{
			"name": "TRANSPORT_MISMATCH", "transport": q.transport, "previousTransport": now,
		}}
	}
	if p := q.protocol(); p != c.Protocol() {
		return nil, refusal{code: CodeBadRequest, context: map[string]string{
			"name": "PROTOCOL_MISMATCH", "protocol": digit(p), "previousProtocol": digit(c.Protocol()),
		}}
	}
	return c, accepted
}

func digit(n int) string { return string(rune('0' + n)) }

func (s *Server) offers(transport string) bool {
	return transport == transportPolling && s.polling || transport == transportWebSocket && s.websocket
}

// allowsJSONP: a script of another site could read what JSONP answers, so that such requests must say where they come
// from; the Origin header is judged elsewhere.
func (s *Server) allowsJSONP(r *http.Request) bool {
	if !s.cfg.JSONP {
		return false
	}
	site := r.Header["Sec-Fetch-Site"]
	return len(r.Header["Origin"]) > 0 || len(site) == 0 || site[0] != "cross-site"
}

// allowed asks Config.AllowRequest. A panic refuses.
func (s *Server) allowed(r *http.Request) (err error) {
	if s.cfg.AllowRequest == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			s.fault(newPanicError("AllowRequest", p))
			err = errForbidden
		}
	}()
	return s.cfg.AllowRequest(r)
}

// trusts asks Config.TrustProxy. A panic is a no.
func (s *Server) trusts(r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			s.fault(newPanicError("TrustProxy", p))
			ok = false
		}
	}()
	return s.cfg.TrustProxy(r)
}

// decide asks the origin policy. A panic of AllowFunc refuses.
func (s *Server) decide(r *http.Request) (d originDecision) {
	defer func() {
		if p := recover(); p != nil {
			s.fault(newPanicError("AllowFunc", p))
			d = originDecision{code: CodeForbidden}
		}
	}()
	return s.origin.decide(r)
}

var (
	typeJSON = []string{"application/json"}
	typeHTML = []string{"text/html"}
	closing  = []string{"close"}

	retryAfter = []string{"1"}
)

// refuse answers a refused request and tells the hook.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, f refusal, upgrade bool) {
	s.counters.refusal(&f)
	message := f.message
	if message == "" {
		message = codeMessage(f.code)
	}
	h := w.Header()
	if f.status != 0 {
		h["Retry-After"], h["Connection"] = retryAfter, closing // at another server it may be right at once
	}
	if upgrade {
		h["Content-Type"], h["Connection"] = typeHTML, closing
		w.WriteHeader(cmp.Or(f.status, http.StatusBadRequest))
		_, _ = w.Write([]byte(message)) // the peer may be gone: there is nobody to tell
	} else {
		h["Content-Type"] = typeJSON
		status := http.StatusBadRequest
		if f.code == CodeForbidden {
			status = http.StatusForbidden
		}
		w.WriteHeader(cmp.Or(f.status, status))
		_, _ = w.Write(appendRefusal(nil, f.code, message)) // as above
	}
	if hook := s.cfg.Hooks.ConnectionError; hook != nil {
		defer s.survive("ConnectionError")
		hook(&ConnectionError{Request: r, Code: f.code, Message: codeMessage(f.code), Context: f.context})
	}
}

// appendRefusal appends the body of a refusal as JSON.
func appendRefusal(dst []byte, code int, message string) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	b := bytes.NewBuffer(dst)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(message); err != nil { // a string always can be encoded
		b.WriteString("null\n")
	}
	return append(bytes.TrimSuffix(b.Bytes(), []byte("\n")), '}')
}
