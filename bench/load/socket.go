//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Socket.IO over WebSocket, as much of it as the benchmarks need.

const wsRequest = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

type sockets struct {
	*loop
	all   []*client
	ready int

	onReady func(*client)
	onEvent func(*client)
	onAck   func(c *client, id uint32)
}

func newSockets(l *loop) *sockets {
	return &sockets{loop: l, onReady: func(*client) {}, onEvent: func(*client) {}, onAck: func(*client, uint32) {}}
}

// connect opens n connections, at most 128 handshakes at once, and waits for all of them to be connected to "/".
func (s *sockets) connect(n int) error {
	dial := func() error {
		c, err := s.dial(s.upgrade)
		if err == nil {
			s.all = append(s.all, c)
		}
		return err
	}
	return s.ramp(n, dial, func() int { return s.ready })
}

// ramp starts n things, at most 128 that are not yet done at once, and waits for all.
func (l *loop) ramp(n int, begin func() error, done func() int) error {
	base, failed := done(), l.failed
	end := clock() + int64(2*time.Minute)
	for started := 0; done()-base < n; {
		if l.failed > failed {
			return fmt.Errorf("a connection failed: %w", l.lastErr)
		}
		for ; started < n && started-(done()-base) < 128; started++ {
			if err := begin(); err != nil {
				return err
			}
		}
		if err := l.serve(100 * time.Millisecond); err != nil {
			return err
		}
		if clock() > end {
			return fmt.Errorf("only %d of %d connections within 2 minutes", done()-base, n)
		}
	}
	return nil
}

func (s *sockets) upgrade(c *client) {
	c.feed = s.upgraded
	c.out = fmt.Appendf(c.out, wsRequest, s.host)
}

func (s *sockets) upgraded(c *client, p []byte) int {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return 0
	}
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 101")) {
		s.drop(c, fmt.Errorf("upgrade refused: %.60q", p))
		return 0
	}
	c.feed = s.frames
	return end + 4
}

func (s *sockets) frames(c *client, p []byte) int {
	op, payload, used := frame(p)
	if used == 0 {
		return 0
	}
	if op == 8 {
		s.drop(c, errors.New("close frame"))
		return 0
	}
	if op == 1 && len(payload) > 0 {
		s.message(c, payload)
	}
	return used
}

func (s *sockets) message(c *client, p []byte) {
	switch {
	case p[0] == '0':
		s.send(c, []byte("40"))
	case p[0] == '2':
		s.send(c, []byte("3"))
	case bytes.HasPrefix(p, []byte("40")):
		s.ready++
		s.onReady(c)
	case bytes.HasPrefix(p, []byte(`42["msg",`)):
		c.got++
		s.onEvent(c)
	case bytes.HasPrefix(p, []byte("43")):
		s.onAck(c, ackID(p))
	default:
		s.drop(c, fmt.Errorf("unexpected message %.60q", p))
	}
}

func ackID(p []byte) (id uint32) {
	for _, b := range p[2:] {
		if b < '0' || b > '9' {
			break
		}
		id = id*10 + uint32(b-'0')
	}
	return id
}

// send queues a text message; it goes out when the event has been served, or by flush.
func (s *sockets) send(c *client, p []byte) { c.out = appendText(c.out, p) }

func appendEcho(dst []byte, id uint32, payload string) []byte {
	dst = strconv.AppendUint(append(dst, "42"...), uint64(id), 10)
	dst = append(append(dst, `["echo","`...), payload...)
	return append(dst, `"]`...)
}
