package engineio

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/sockeye-io/sockeye/internal/eio"
)

// maxErrorBody is how much is read of an answer that is not 200, in bytes.
const maxErrorBody = 4096

// openPolling does the handshake. What follows the open packet in its answer is delivered.
func (d *dialed) openPolling(ctx context.Context) error {
	body, format, kind, err := d.get(ctx, "")
	if err != nil {
		return err
	}
	dec := eio.NewDecoder(format, body)
	err = errNotOpen
	if dec.Next() {
		err = d.opened(dec.Packet, nil)
	} else if dec.Err() != nil {
		err = fmt.Errorf("%w: %w", errNotOpen, dec.Err())
	}
	if err != nil {
		if kind == "text/html" {
			err = fmt.Errorf("%w: it answers with a page", errNotOpen)
		}
		return &TransportError{Transport: transportPolling, Status: http.StatusOK, Code: -1, Err: err}
	}
	d.payload(&dec)
	return nil
}

// pollLoop polls. It ends when the connection ends or an upgrade has come so far.
func (d *dialed) pollLoop() {
	defer d.let()
	defer close(d.pollsDone)
	for {
		select {
		case <-d.stopPolls:
			return
		case <-d.ctx.Done():
			return
		default:
		}
		if !d.waitResumed(d.stopPolls) {
			return
		}
		body, format, _, err := d.get(d.ctx, d.hs.SID)
		if err != nil {
			d.lost(ReasonTransportError, err)
			return
		}
		d.hear()
		dec := eio.NewDecoder(format, body)
		d.payload(&dec)
	}
}

// payload delivers packets. A malformed one ends the connection; those before it count.
func (d *dialed) payload(dec *eio.Decoder) {
	if !d.c.enter(d) {
		return
	}
	defer d.c.leave()
	defer d.c.recovered("OnMessage")
	for dec.Next() {
		if !d.deliver(dec.Packet) {
			return
		}
	}
	if err := dec.Err(); err != nil {
		d.lost(ReasonParseError, err)
	}
}

// get polls once. kind is the media type of the answer.
func (d *dialed) get(ctx context.Context, sid string) (body []byte, f eio.Format, kind string, err error) {
	resp, err := d.do(ctx, http.MethodGet, sid, nil, "")
	if err != nil {
		return nil, 0, "", err
	}
	defer closeBody(resp)
	var r io.Reader = resp.Body
	if d.cfg.MaxPayload > 0 {
		r = io.LimitReader(r, d.cfg.MaxPayload+1)
	}
	if body, err = io.ReadAll(r); err == nil && d.cfg.MaxPayload > 0 && int64(len(body)) > d.cfg.MaxPayload {
		err = errBodyTooLong
	}
	if err != nil {
		return nil, 0, "", &TransportError{Transport: transportPolling, Status: resp.StatusCode, Code: -1, Err: err}
	}
	kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" will do
	switch {
	case d.cfg.Protocol == 4:
		f = eio.V4
	case kind == "application/octet-stream":
		f = eio.V3Binary
	default:
		f = eio.V3Text
	}
	return body, f, kind, nil
}

// postLoop sends by polling, and says goodbye. It ends when nothing is left to send, an upgrade takes over, or the
// connection ends.
func (d *dialed) postLoop() {
	defer d.let()
	for {
		closing := d.closing.Load() // before the queue: nothing is queued after it was set
		if err := d.postQueued(); err != nil {
			d.lost(ReasonTransportError, err)
		} else if closing {
			_ = d.postPackets([]eio.Packet{{Type: eio.Close}}) // it is over in any case
			d.closeNow()
		}
		if d.endPosting() {
			return
		}
	}
}

// endPosting tells postLoop to end if there is nothing more to do.
func (d *dialed) endPosting() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.more && d.ctx.Err() == nil && (!d.switching || d.closing.Load()) {
		d.more = false
		return false
	}
	d.posting = false
	if d.posted != nil {
		close(d.posted)
		d.posted = nil
	}
	return true
}

// holdPosts lets nothing be posted any more, for an upgrade, and waits until nothing is.
func (d *dialed) holdPosts() {
	d.mu.Lock()
	d.switching = true
	var posted chan struct{}
	if d.posting {
		posted = make(chan struct{})
		d.posted = posted
	}
	d.mu.Unlock()
	if posted == nil {
		return
	}
	select {
	case <-posted:
	case <-d.ctx.Done():
	}
}

// postQueued sends what is queued by as many requests as the server's maxPayload asks for. A message that is greater
// alone is sent all the same.
//
// Node: engine.io-client/lib/socket.ts _getWritablePackets
func (d *dialed) postQueued() error {
	d.c.mu.Lock()
	ps := make([]eio.Packet, 0, len(d.c.q.items)+2)
	ps = withControl(ps, d.c.ctl)
	d.c.ctl = 0
	for _, it := range d.c.q.items {
		ps = append(ps, it.p.packet())
	}
	d.c.q.took()
	d.c.mu.Unlock()
	if len(ps) == 0 {
		return nil
	}
	err := d.postPackets(ps)
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.c.q.landed() {
		d.c.notifyDrained()
	}
	return err
}

func (d *dialed) postPackets(ps []eio.Packet) error {
	f := eio.V4
	kind := "text/plain;charset=UTF-8"
	if d.cfg.Protocol == 3 {
		f = eio.V3Text
		for _, p := range ps {
			if p.Binary {
				f, kind = eio.V3Binary, "application/octet-stream"
				break
			}
		}
	}
	var body []byte // not used again: the HTTP client may still read it after the answer
	for _, p := range ps {
		whole := len(body)
		body = eio.Append(body, f, p)
		if whole == 0 || d.hs.MaxPayload == 0 || int64(len(body)) <= d.hs.MaxPayload {
			continue
		}
		if err := d.postBody(body[:whole], kind); err != nil {
			return err
		}
		body = eio.Append(nil, f, p)
	}
	return d.postBody(body, kind)
}

func (d *dialed) postBody(body []byte, kind string) error {
	resp, err := d.do(d.ctx, http.MethodPost, d.hs.SID, body, kind)
	if err != nil {
		return err
	}
	closeBody(resp)
	return nil
}

// do makes one request. The error of an answer other than 200 tells what the server said.
func (d *dialed) do(ctx context.Context, method, sid string, body []byte, kind string) (*http.Response, error) {
	fail := func(err error) (*http.Response, error) {
		return nil, &TransportError{Transport: transportPolling, Code: -1, Err: err}
	}
	req, err := http.NewRequestWithContext(ctx, method, d.target(transportPolling, sid).String(), bytes.NewReader(body))
	if err != nil {
		return fail(err)
	}
	for k, vs := range d.cfg.Header {
		req.Header[http.CanonicalHeaderKey(k)] = vs
	}
	req.Host = req.Header.Get("Host")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return fail(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer closeBody(resp)
	refusal := &TransportError{Transport: transportPolling, Code: -1}
	refusal.readAnswer(resp)
	return nil, refusal
}

// readAnswer finds what an answer says of why it refuses: JSON or, to a WebSocket, text.
func (e *TransportError) readAnswer(resp *http.Response) {
	e.Status = resp.StatusCode
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		e.Err = fmt.Errorf("redirected to %.200q", to)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what can be read of it will do
	var said struct {
		Code    *int   `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && said.Code != nil {
		e.Code, e.Message, e.Err = *said.Code, said.Message, nil
		return
	}
	if code := codeOf(string(body)); code >= 0 {
		e.Code, e.Message, e.Err = code, string(body), nil
	}
}

// closeBody lets the connection be used again.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxErrorBody) // else it is just not used again
	_ = resp.Body.Close()                                // nothing depends on it
}
