//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const pollURL = "/socket.io/?EIO=4&transport=polling"

// The stages of a polling client, each named after the answer that it waits for.
const (
	stageOpen = iota
	stageConnectPosted
	stageConnected
	stageEchoPosted
	stageAck
)

type pollers struct {
	*loop
	payload string
	ready   int
	done    int
	m       *meter
}

// polling: o.conns clients over HTTP long-polling, each on one connection: it posts an event and polls for its
// acknowledgement. An operation is such a round trip, of two requests.
func polling(l *loop, o options) (figures, error) {
	p := &pollers{loop: l, payload: o.payload}
	dial := func() error {
		_, err := l.dial(p.open)
		return err
	}
	if err := l.ramp(o.conns, dial, func() int { return p.ready }); err != nil {
		return figures{}, err
	}
	if err := l.serveFor(o.warm); err != nil {
		return figures{}, err
	}
	m, err := newMeter(o.pids)
	if err != nil {
		return figures{}, err
	}
	p.m, p.done = m, 0
	if err := l.serveFor(o.measure); err != nil {
		return figures{}, err
	}
	return m.figures(p.done)
}

func (p *pollers) open(c *client) {
	c.feed = p.answer
	c.sent = make([]int64, 1)
	p.get(c)
}

func (p *pollers) get(c *client) {
	c.out = append(append(append(c.out, "GET "+pollURL...), c.sid...), " HTTP/1.1\r\nHost: "...)
	c.out = append(append(c.out, p.host...), "\r\n\r\n"...)
}

func (p *pollers) post(c *client, body []byte) {
	c.out = append(append(append(c.out, "POST "+pollURL...), c.sid...), " HTTP/1.1\r\nHost: "...)
	c.out = append(append(c.out, p.host...), "\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(len(body)), 10), "\r\n\r\n"...)
	c.out = append(c.out, body...)
}

func (p *pollers) echo(c *client) {
	c.stage = stageEchoPosted
	c.sent[0] = p.now
	p.post(c, appendEcho(nil, c.seq, p.payload))
	c.seq++
}

func (p *pollers) answer(c *client, data []byte) int {
	body, used, err := httpAnswer(data)
	if err != nil {
		p.drop(c, err)
		return 0
	}
	if used == 0 {
		return 0
	}
	switch c.stage {
	case stageOpen:
		_, sid, _ := strings.Cut(string(body), `"sid":"`)
		sid, _, ok := strings.Cut(sid, `"`)
		if !ok {
			p.drop(c, fmt.Errorf("no session id in %.60q", body))
			return 0
		}
		c.sid = "&sid=" + sid
		c.stage = stageConnectPosted
		p.post(c, []byte("40"))
	case stageConnectPosted:
		c.stage = stageConnected
		p.get(c)
	case stageConnected:
		p.ready++
		p.echo(c)
	case stageEchoPosted:
		c.stage = stageAck
		p.get(c)
	case stageAck:
		if !bytes.HasPrefix(body, []byte("43")) && !bytes.Contains(body, []byte("\x1e43")) {
			p.get(c) // a ping or a noop
			break
		}
		if p.m != nil {
			p.done++
			p.m.add(p.now - c.sent[0])
		}
		p.echo(c)
	}
	return used
}

// httpAnswer finds the first answer of p, which must have status 200.
func httpAnswer(p []byte) (body []byte, used int, err error) {
	head, rest, ok := bytes.Cut(p, []byte("\r\n\r\n"))
	if !ok {
		return nil, 0, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return nil, 0, fmt.Errorf("answered %.80q", p)
	}
	n := -1
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			if n, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, 0, err
			}
		}
	}
	if n < 0 {
		return nil, 0, fmt.Errorf("no Content-Length in %.200q", head)
	}
	if len(rest) < n {
		return nil, 0, nil
	}
	return rest[:n], len(head) + 4 + n, nil
}
