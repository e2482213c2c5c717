package engineio

import (
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/eio"
	"github.com/sockeye-io/sockeye/internal/ws"
)

// Prepared is one message, encoded once for any number of connections. It is immutable and safe for concurrent use.
type Prepared struct {
	frame []byte // as a server sends it by WebSocket, protocol 4: header, '4' for text, data
	other atomic.Pointer[otherFrames]
	data  uint8 // where the data begins in frame
	bin   bool
}

// otherFrames are made when the first connection that wants them comes.
type otherFrames [numVariants]struct {
	once  sync.Once
	frame []byte
}

// Variants of a message beside Prepared.frame.
const (
	v3Binary = iota
	v3Base64
	plainDeflated
	v3BinaryDeflated
	v3Base64Deflated
	numVariants
)

// Prepare copies data, which must be UTF-8 unless binary is set.
func Prepare(data []byte, binary bool) *Prepared {
	head := ws.MaxHeader + 1
	op, n := ws.Binary, len(data)
	if !binary {
		op, n = ws.Text, n+1
	}
	if n <= 125 {
		head = 2 + 1
	}
	frame := ws.AppendHeader(make([]byte, 0, head+len(data)), op, false, n)
	if !binary {
		frame = append(frame, '0'+byte(eio.Message))
	}
	start := len(frame)
	return &Prepared{frame: append(frame, data...), data: uint8(start), bin: binary}
}

// payload is the data, which must not be changed.
func (p *Prepared) payload() []byte { return p.frame[p.data:] }

func (p *Prepared) binary() bool { return p.bin }

// size is the length of the data in bytes.
func (p *Prepared) size() int { return len(p.frame) - int(p.data) }

// packet is the message as the payloads of polling take it.
func (p *Prepared) packet() eio.Packet {
	return eio.Packet{Type: eio.Message, Binary: p.bin, Data: p.payload()}
}

// wsFrame is the frame that a server sends to a client of the protocol; b64 is whether it cannot take binary messages,
// which concerns protocol 3 only. The bytes must not be changed.
func (p *Prepared) wsFrame(protocol int, b64 bool) []byte {
	switch {
	case !p.bin || protocol != 3:
		return p.frame
	case b64:
		return p.variant(v3Base64)
	default:
		return p.variant(v3Binary)
	}
}

// deflated is wsFrame for a connection with permessage-deflate: compressed, unless that would be longer.
func (p *Prepared) deflated(protocol int, b64 bool) []byte {
	switch {
	case !p.bin || protocol != 3:
		return p.variant(plainDeflated)
	case b64:
		return p.variant(v3Base64Deflated)
	default:
		return p.variant(v3BinaryDeflated)
	}
}

func (p *Prepared) variant(which int) []byte {
	others := p.other.Load()
	if others == nil {
		others = new(otherFrames)
		if !p.other.CompareAndSwap(nil, others) {
			others = p.other.Load()
		}
	}
	v := &others[which]
	v.once.Do(func() { v.frame = p.build(which) })
	return v.frame
}

func (p *Prepared) build(which int) []byte {
	switch which {
	case v3Binary:
		frame := make([]byte, 0, ws.MaxHeader+1+p.size())
		frame = ws.AppendHeader(frame, ws.Binary, false, 1+p.size())
		return eio.AppendBinary(frame, 3, p.packet())
	case v3Base64:
		n := eio.LenText(3, p.packet())
		frame := make([]byte, 0, ws.MaxHeader+n)
		frame = ws.AppendHeader(frame, ws.Text, false, n)
		return eio.AppendText(frame, 3, p.packet())
	case v3BinaryDeflated:
		return deflateFrame(p.variant(v3Binary))
	case v3Base64Deflated:
		return deflateFrame(p.variant(v3Base64))
	default:
		return deflateFrame(p.frame)
	}
}

// deflateFrame compresses the payload of a frame that a server sends, or returns frame itself if that is not longer.
func deflateFrame(frame []byte) []byte {
	op, body := ws.Op(frame[0]&0x0f), framePayload(frame)
	packed := ws.AppendDeflated(make([]byte, 0, len(body)/2), body)
	if len(packed) >= len(body) {
		return frame
	}
	out := ws.AppendHeader(make([]byte, 0, ws.MaxHeader+len(packed)), op, true, len(packed))
	return append(out, packed...)
}

// framePayload is what follows the header of an unmasked frame.
func framePayload(frame []byte) []byte {
	switch frame[1] {
	case 126:
		return frame[4:]
	case 127:
		return frame[10:]
	default:
		return frame[2:]
	}
}
