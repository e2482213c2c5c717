package engineio

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/netpoll"
	"github.com/sockeye-io/sockeye/internal/ws"
)

const (
	readChunk     = 4096
	writeChunk    = 16 << 10 // what is queued is written in pieces of about this size
	closeNoStatus = ws.CodeNoStatus

	// deflateFrom is the size in bytes from which messages are compressed, as in Node.
	deflateFrom = 1024
)

// What a socket is waiting for.
type socketStage uint8

const (
	stageOpening  socketStage = iota // the open packet
	stageProbing                     // the pong of the probe
	stageCarrying                    // packets
)

var (
	errStopped    = errors.New("engineio: connection ended")
	errProbe      = errors.New("engineio: wrong answer to a probe")
	probeResponse = []byte("probe")
)

// peerCloseError is a close frame of the server.
type peerCloseError struct{ code uint16 }

func (e *peerCloseError) Error() string {
	return fmt.Sprintf("engineio: the server closed the WebSocket with code %d", e.code)
}

// clientSocket is a WebSocket of the client side. While it is opened or probed the goroutine that does so reads and
// writes; then netpoll drives it.
type clientSocket struct {
	d       *dialed
	nc      net.Conn
	reader  ws.Reader
	first   []byte // read with the answer to the handshake
	deflate bool
	stage   socketStage // of the reader
	entered bool        // the reader is in the handler

	driven  netpoll.Conn // to be used once started; see conn
	started atomic.Bool
	flowing sync.Mutex // held over Pause and Resume of driven, so that the last wish wins

	// Used by Next only.
	batch []queued
	at    int           // how many of batch are written, or in out
	out   *[]byte       // what is being written; nil = nothing
	lead  bool          // the upgrade packet is to be sent first
	ended bool          // the close frame has been given to the driver
	small [4]eio.Packet // room for control packets

	mu sync.Mutex

	// Guarded by mu.
	pong  []byte // payload of the last ping frame, to be sent back; nil = none
	final []byte // the close frame of a connection that has ended; nil = it has not
	bye   *time.Timer
	gone  bool // Closed was called
}

// openSocket opens a connection that is WebSocket from the start.
func (d *dialed) openSocket(ctx context.Context) (*clientSocket, error) {
	s, err := d.dialSocket(ctx, "")
	if err != nil {
		return nil, err
	}
	if err := s.until(ctx, stageCarrying); err != nil {
		if d.c != nil {
			s.failed(err) // it was open already: OnClose tells
			return s, nil
		}
		_ = s.nc.Close() // it is of no use
		return nil, &TransportError{Transport: transportWebSocket, Code: -1, Err: err}
	}
	return s, nil
}

// dialSocket connects. The socket is closed when the connection ends.
func (d *dialed) dialSocket(ctx context.Context, sid string) (*clientSocket, error) {
	nc, first, deflate, resp, err := ws.Dial(ctx, d.target(transportWebSocket, sid), d.socketOptions()) //nolint:bodyclose // it is in memory
	d.keepCookies(resp)
	if err != nil {
		refusal := &TransportError{Transport: transportWebSocket, Code: -1, Err: err}
		if resp != nil {
			refusal.readAnswer(resp)
		}
		return nil, refusal
	}
	limit := d.cfg.MaxPayload
	if limit == 0 {
		limit = math.MaxInt64 >> 1
	} else {
		limit++ // of the type digit
	}
	s := &clientSocket{
		d: d, nc: nc, first: first, deflate: deflate,
		reader: ws.NewReader(&ws.ReaderConfig{MaxMessage: limit, Client: true, Deflate: deflate}),
	}
	if sid != "" {
		s.stage = stageProbing
	}
	return s, nil
}

// until reads until the stage is reached or ctx ends.
func (s *clientSocket) until(ctx context.Context, stage socketStage) error {
	stop := context.AfterFunc(ctx, func() { _ = s.nc.SetReadDeadline(time.Unix(1, 0)) }) // fails on a closed one only
	err := s.readTo(stage)
	if !stop() {
		return context.Cause(ctx) // the deadline is or will be set
	}
	return err
}

func (s *clientSocket) readTo(stage socketStage) error {
	first := s.first
	s.first = nil
	if err := s.reader.Feed(first, s); err != nil {
		return err
	}
	buf := make([]byte, readChunk)
	for s.stage != stage {
		n, err := s.nc.Read(buf)
		if ferr := s.reader.Feed(buf[:n], s); ferr != nil {
			return ferr
		}
		if err != nil && s.stage != stage {
			return err
		}
	}
	return nil
}

// probe tries to move the connection from polling to WebSocket. It ends when that is done or has failed, which does
// not harm the connection, or when the connection ends.
//
// Protocol: engine.io v4, "Upgrade".
func (d *dialed) probe() {
	defer d.let()
	ctx, stop := context.WithTimeout(d.ctx, probeLimit)
	defer stop()
	s, err := d.dialSocket(ctx, d.hs.SID)
	if err != nil {
		return
	}
	if err = s.write(s.appendText(nil, eio.Ping, probeResponse)); err == nil {
		err = s.until(ctx, stageCarrying)
	}
	if err != nil {
		_ = s.nc.Close() // polling goes on
		return
	}
	close(d.stopPolls)
	d.holdPosts()
	<-d.pollsDone
	if !d.switchTo(s) {
		_ = s.nc.Close() // of no use any more
		return
	}
	d.holds.Add(1)
	s.start()
}

// switchTo makes the socket the carrier, unless the connection is to end by polling.
func (d *dialed) switchTo(s *clientSocket) bool {
	d.mu.Lock()
	if d.ctx.Err() != nil || d.closing.Load() {
		d.mu.Unlock()
		return false
	}
	s.lead = true
	d.carrier.Store(s)
	d.mu.Unlock()
	d.release() // polling is over
	if d.e.upgraded != nil && d.c.enter(d) {
		defer d.c.leave()
		defer d.c.recovered("OnUpgrade")
		d.e.upgraded(d.c)
	}
	return true
}

// maskKey is a key that scripts cannot foresee, which is what masking is for.
func maskKey() (key [4]byte) {
	_, _ = rand.Read(key[:]) // it never fails
	return key
}
