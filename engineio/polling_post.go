package engineio

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
)

// post takes messages. Only one may be under way.
//
// Node: engine.io/lib/transports/polling.ts onDataRequest
func (p *polling) post(w http.ResponseWriter, r *http.Request) {
	c := p.c
	c.mu.Lock()
	if c.state.Load() == stateClosed || c.t != p {
		c.mu.Unlock()
		p.s.refuse(w, r, badRequest("TRANSPORT_MISMATCH"), false)
		return
	}
	if p.posting {
		c.mu.Unlock()
		c.failed(p, ReasonTransportError, errOverlap)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.posting = true
	c.mu.Unlock()

	status := p.data(w, r)

	c.mu.Lock()
	p.posting = false
	c.mu.Unlock()
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	h := w.Header()
	h["Content-Type"] = typeHTML
	p.commonHeaders(h, r)
	p.s.headers(h, r, false)
	_, _ = w.Write(okBody) // whether the client reads it concerns only the client
}

// data reads and delivers the body of a POST and gives the status of the answer. While the connection is paused the
// answer waits: that is the back-pressure of this transport.
func (p *polling) data(w http.ResponseWriter, r *http.Request) (status int) {
	c := p.c
	binary := len(r.Header["Content-Type"]) > 0 && r.Header["Content-Type"][0] == typeBinary[0]
	if binary && c.protocol != 3 {
		c.failed(p, ReasonTransportError, errInvalidContent)
		return http.StatusBadRequest
	}
	if !p.unpaused(w, r) {
		c.failed(p, ReasonTransportError, errPostGone)
		return http.StatusBadRequest
	}
	buf := getBuffer()
	defer putBuffer(buf)
	err := readBody(w, r, buf, p.s.cfg.MaxPayload)
	switch {
	case errors.Is(err, errBodyTooLarge):
		// What net/http does not read itself would reset the connection before the client has read the answer.
		_, _ = io.CopyN(io.Discard, r.Body, p.s.cfg.MaxPayload) // the answer is the same
		return http.StatusRequestEntityTooLarge
	case err != nil:
		c.failed(p, ReasonTransportError, errPostGone)
		return http.StatusBadRequest
	}
	body, f := *buf, eio.V4
	if c.protocol == 3 {
		f = eio.V3Text
	}
	if p.script {
		var ok bool
		if body, ok = eio.ParseJSONP(body); !ok {
			return http.StatusOK
		}
	} else if binary {
		f = eio.V3Binary
	}
	if !c.enter(p) {
		return http.StatusBadRequest
	}
	ok := p.deliver(w, r, f, body)
	c.leave()
	if !ok || !p.unpaused(w, r) {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// deliver gives the packets of a payload to the handler, each when the connection is not paused: a body may hold a
// hundred thousand, which take many times its memory once they are decoded. It is false when the client has gone away
// before all were given.
func (p *polling) deliver(w http.ResponseWriter, r *http.Request, f eio.Format, body []byte) bool {
	c := p.c
	defer c.recovered("OnMessage")
	d := eio.NewDecoder(f, body)
	for d.Next() {
		if !p.unpaused(w, r) {
			c.end(ReasonTransportError, errPostGone)
			return false
		}
		state := c.state.Load()
		switch {
		case d.Packet.Type == eio.Close && state == stateOpen:
			p.awaitPoll(r)
			c.end(ReasonTransportClose, nil)
			return true
		case d.Packet.Type == eio.Close && state == stateClosing: // it need not be told any more
			c.end(ReasonForcedClose, nil)
			return true
		case !c.receive(d.Packet) && c.state.Load() != stateClosing:
			return true
		}
	}
	if err := d.Err(); err != nil && c.state.Load() == stateOpen {
		c.end(ReasonParseError, err)
	}
	return true
}

// unpaused waits while the connection is paused. It is false when the client has gone away.
func (p *polling) unpaused(w http.ResponseWriter, r *http.Request) bool {
	c := p.c
	for {
		c.mu.Lock()
		if !c.paused || c.state.Load() != stateOpen {
			c.mu.Unlock()
			return true
		}
		if c.resumed == nil {
			c.resumed = make(chan struct{})
		}
		resumed := c.resumed
		c.mu.Unlock()
		extendRead(w)
		select {
		case <-resumed:
		case <-r.Context().Done():
			return false
		}
	}
}

var errBodyTooLarge = errors.New("engineio: body too large")

// readBody reads the body of r into buf, at most limit bytes, within a time that depends on its announced length.
// The length counts bytes as they came: a Content-Encoding means nothing here.
func readBody(w http.ResponseWriter, r *http.Request, buf *[]byte, limit int64) error {
	wanted := min(max(r.ContentLength, 0), limit)
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime + time.Duration(wanted/bodyRate)*time.Second)) // not every writer can
	if r.ContentLength > limit {
		return errBodyTooLarge
	}
	b := (*buf)[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		*buf = b
		if int64(len(b)) > limit {
			return errBodyTooLarge
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
