package engineio

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
)

const (
	// writeTimeout is how long a peer may take nothing of what is sent to it.
	writeTimeout = 10 * time.Second

	// A request's body must come within bodyTime, and a second more for each bodyRate bytes announced.
	bodyTime = 10 * time.Second
	bodyRate = 1 << 10

	// autoLength is the size up to which net/http itself sets the length of an answer.
	autoLength = 2048

	// largeAnswer is the size from which an answer may block on a slow reader: what the socket's buffer may not take.
	largeAnswer = 32 << 10
)

// How the poll that is pending when a session ends is answered.
const (
	finalClose uint8 = '0' + uint8(eio.Close)
	finalNoop  uint8 = '0' + uint8(eio.Noop)
)

// polling is the transport of requests.
type polling struct {
	c      *Conn
	s      *Server
	signal chan struct{} // holds one: look again
	jsonp  string        // index of the callback
	script bool          // JSONP
	b64    bool

	// Guarded by c.mu.
	polled  bool        // a GET is pending
	posting bool        // a POST is under way
	waiting *time.Timer // for a poll that is told of the close
}

func (p *polling) name() string { return transportPolling }

func (p *polling) wake() {
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *polling) writable() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.polled
}

func (p *polling) flow() {} // requests look at c.paused themselves

// shut waits for a poll that can be told of the close.
func (p *polling) shut() {
	c := p.c
	c.mu.Lock()
	if !p.polled && c.t == p && c.state.Load() == stateClosing {
		p.linger()
	}
	c.mu.Unlock()
	p.wake()
}

// linger starts, or starts anew, the time in which a poll has to come for the close. c.mu is held.
func (p *polling) linger() {
	if p.waiting != nil {
		p.waiting.Reset(p.s.cfg.PollingCloseWait)
		return
	}
	p.waiting = time.AfterFunc(p.s.cfg.PollingCloseWait, p.unheard)
}

// unheard ends a closing connection whose client did not come back.
func (p *polling) unheard() { p.c.failed(p, ReasonForcedClose, nil) }

// cut answers the pending poll.
func (p *polling) cut(Reason) {
	c := p.c
	c.mu.Lock()
	waiting := p.waiting
	p.waiting = nil
	c.mu.Unlock()
	if waiting != nil {
		waiting.Stop()
	}
	p.wake()
}

// openPolling answers a handshake.
func (s *Server) openPolling(w http.ResponseWriter, r *http.Request, q *query) {
	p := &polling{s: s, signal: make(chan struct{}, 1), jsonp: q.j, script: q.hasJ, b64: q.b64}
	c := s.register(r, q.protocol(), func(c *Conn) transport {
		p.c = c
		return p
	})
	if c == nil {
		unavailable(w)
		return
	}
	c.startHeartbeat()
	c.open(r)

	h := w.Header()
	if s.cookie != nil {
		h["Set-Cookie"] = append(h["Set-Cookie"], s.cookie.header(c.sid))
	}
	s.headers(h, r, true)
	open := eio.Packet{Type: eio.Open, Data: s.handshake(c.sid, s.upgrades)}
	a := answer{body: eio.Append(nil, p.format(false), open), compress: true}
	p.write(w, r, &a, false)
}

// servePolling serves a request of an open session.
func (s *Server) servePolling(w http.ResponseWriter, r *http.Request, c *Conn) {
	p, ok := c.current().(*polling)
	if !ok { // upgraded since it was looked at
		s.refuse(w, r, badRequest("TRANSPORT_MISMATCH"), false)
		return
	}
	switch r.Method {
	case http.MethodGet:
		p.get(w, r)
	case http.MethodPost:
		p.post(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// get serves a poll. Only one may be pending.
//
// Node: engine.io/lib/transports/polling.ts onPollRequest
func (p *polling) get(w http.ResponseWriter, r *http.Request) {
	c := p.c
	p.awaitUpgrade(r)
	c.mu.Lock()
	switch {
	case c.state.Load() == stateClosed:
		c.mu.Unlock()
		p.s.refuse(w, r, refusal{code: CodeSessionUnknown, context: map[string]string{"sid": c.sid}}, false)
		return
	case c.t != p:
		c.mu.Unlock()
		p.s.awaitWritten(r, c)
		p.s.refuse(w, r, badRequest("TRANSPORT_MISMATCH"), false)
		return
	case p.polled:
		c.mu.Unlock()
		c.failed(p, ReasonTransportError, errOverlap)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.polled = true
	a, ok := p.take()
	c.mu.Unlock()
	waited := !ok
	if waited {
		if a, ok = p.wait(w, r); !ok {
			c.failed(p, ReasonTransportError, errPollGone)
			return
		}
	}
	if a.pooled != nil && r.Context().Err() != nil { // what was taken would be lost unnoticed: writing tells of it too late
		c.end(ReasonTransportError, errPollGone)
		return
	}
	p.s.headers(w.Header(), r, false)
	p.write(w, r, &a, waited)
	if a.last {
		c.end(ReasonForcedClose, nil)
	}
}

// wait waits until there is an answer; it is false when the client has gone away.
func (p *polling) wait(w http.ResponseWriter, r *http.Request) (answer, bool) {
	if serverOf(r).ReadTimeout > 0 {
		extendRead(w)
	}
	done := r.Context().Done()
	for {
		select {
		case <-p.signal:
		case <-done:
			p.c.mu.Lock()
			p.polled = false
			p.c.mu.Unlock()
			return answer{}, false
		}
		p.c.mu.Lock()
		a, ok := p.take()
		p.c.mu.Unlock()
		if ok {
			return a, true
		}
	}
}

// answer is the body of a poll's answer.
type answer struct {
	body     []byte
	pooled   *[]byte // to be given back
	binary   bool
	compress bool
	last     bool // it tells of the close
}

// format of the payload; binary says that a packet is.
func (p *polling) format(binary bool) eio.Format {
	switch {
	case p.c.protocol != 3:
		return eio.V4
	case binary && !p.b64 && !p.script:
		return eio.V3Binary
	default:
		return eio.V3Text
	}
}

// take makes the answer of the pending poll from all that is there, if anything is. c.mu is held.
//
// Messages and the close never share an answer: clients act on a close at once, and on the messages before it a moment
// later, when they count for nothing any more. An orderly DISCONNECT would then look like a lost connection.
//
// Node: engine.io/lib/socket.ts close, which waits until the queue is empty
func (p *polling) take() (a answer, ok bool) {
	c := p.c
	state := c.state.Load()
	switch {
	case state == stateClosed:
		p.polled = false
		return p.packets(p.final()), true
	case c.t != p: // upgraded: the poll ends without saying anything
		p.polled = false
		return p.packets(finalNoop), true
	case len(c.q.items) == 0 && c.ctl == 0 && state == stateOpen:
		return answer{}, false
	}
	p.polled = false
	messages, binary := len(c.q.items), false
	for _, it := range c.q.items {
		binary = binary || it.p.binary()
		a.compress = a.compress || !it.noCompress
	}
	f := p.format(binary)
	a.binary = f == eio.V3Binary
	a.pooled = getBuffer()
	b := (*a.pooled)[:0]
	b = appendControl(b, f, c.ctl)
	c.ctl = 0
	for _, it := range c.q.items {
		b = eio.Append(b, f, it.p.packet())
	}
	c.taken()
	c.q.took()
	c.q.landed()
	c.notifyDrained()
	switch {
	case state == stateClosing && messages > 0:
		p.linger()
	case state == stateClosing:
		if len(b) == 0 { // as Node does
			b = eio.Append(b, f, eio.Packet{Type: eio.Noop})
		}
		b = eio.Append(b, f, eio.Packet{Type: eio.Close})
		a.last = true
	}
	a.body = b
	return a, true
}

// final is how a poll learns that the session has ended. c.mu is held.
//
// Node: a client that closes reads noop, others read close.
func (p *polling) final() uint8 {
	if p.c.reason == ReasonTransportClose {
		return finalNoop
	}
	return finalClose
}

func (p *polling) packets(types ...uint8) (a answer) {
	f := p.format(false)
	for _, t := range types {
		a.body = eio.Append(a.body, f, eio.Packet{Type: eio.Type(t - '0')})
	}
	return a
}

func appendControl(b []byte, f eio.Format, ctl uint8) []byte {
	for _, k := range [...]struct {
		bit uint8
		t   eio.Type
	}{{ctlPing, eio.Ping}, {ctlPong, eio.Pong}, {ctlNoop, eio.Noop}} {
		if ctl&k.bit != 0 {
			b = eio.Append(b, f, eio.Packet{Type: k.t})
		}
	}
	return b
}

// Values of headers, shared by all answers.
var (
	typeText    = []string{"text/plain; charset=UTF-8"}
	typeBinary  = []string{"application/octet-stream"}
	typeScript  = []string{"text/javascript; charset=UTF-8"}
	noStore     = []string{"no-store"}
	noXSSFilter = []string{"0"}
	okBody      = []byte("ok")
)

// write sends the answer of a poll or handshake.
func (p *polling) write(w http.ResponseWriter, r *http.Request, a *answer, waited bool) {
	h := w.Header()
	body := a.body
	switch {
	case p.script:
		body = eio.AppendJSONP(make([]byte, 0, len(body)*9/8+16), p.jsonp, body)
		h["Content-Type"] = typeScript
	case a.binary:
		h["Content-Type"] = typeBinary
	default:
		h["Content-Type"] = typeText
	}
	p.commonHeaders(h, r)
	if t := p.s.cfg.HTTPCompression; a.compress && t > 0 && len(body) >= t {
		body = compressBody(h, r, body)
	}
	if len(body) >= autoLength {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	rc := http.NewResponseController(w)
	large := len(body) >= largeAnswer
	if large || waited && serverOf(r).WriteTimeout > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout + time.Duration(len(body)/bodyRate)*time.Second)) // optional
	}
	_, err := w.Write(body)
	if large && err == nil {
		err = rc.Flush()
		_ = rc.SetWriteDeadline(time.Time{}) // as above
	}
	if a.pooled != nil {
		*a.pooled = a.body
		putBuffer(a.pooled)
	}
	switch {
	case err == nil:
	case a.pooled != nil: // packets are lost
		p.c.end(ReasonTransportError, err)
	default:
		p.c.failed(p, ReasonTransportError, err)
	}
}

func (p *polling) commonHeaders(h http.Header, r *http.Request) {
	h["Cache-Control"] = noStore
	if ua := r.Header["User-Agent"]; len(ua) > 0 && (strings.Contains(ua[0], ";MSIE") || strings.Contains(ua[0], "Trident/")) {
		h["X-Xss-Protection"] = noXSSFilter
	}
}

// noServer stands for an unknown http.Server.
var noServer = new(http.Server)

func serverOf(r *http.Request) *http.Server {
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		return s
	}
	return noServer
}

// extendRead keeps the read timeout of the http.Server, or that of a body, from ending a request that waits.
func extendRead(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // not every writer can
}
