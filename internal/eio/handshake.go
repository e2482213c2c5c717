package eio

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Handshake is what the open packet says. Durations are whole milliseconds on the wire.
type Handshake struct {
	SID          string
	Upgrades     []string
	PingInterval time.Duration
	PingTimeout  time.Duration
	MaxPayload   int64 // 0: not said (servers of protocol 3)
}

// AppendHandshake appends the JSON of the open packet, its keys in the order of Node. SID and Upgrades must need no
// escaping.
//
// Protocol: engine.io v4, "Handshake".
func AppendHandshake(dst []byte, h Handshake) []byte {
	dst = append(dst, `{"sid":"`...)
	dst = append(dst, h.SID...)
	dst = append(dst, `","upgrades":[`...)
	for i, u := range h.Upgrades {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"')
		dst = append(dst, u...)
		dst = append(dst, '"')
	}
	dst = append(dst, `],"pingInterval":`...)
	dst = strconv.AppendInt(dst, h.PingInterval.Milliseconds(), 10)
	dst = append(dst, `,"pingTimeout":`...)
	dst = strconv.AppendInt(dst, h.PingTimeout.Milliseconds(), 10)
	dst = append(dst, `,"maxPayload":`...)
	dst = strconv.AppendInt(dst, h.MaxPayload, 10)
	return append(dst, '}')
}

// maxMillis keeps the sum of two durations of a handshake far from overflow: 10 years.
const maxMillis = 10 * 365 * 24 * 3600 * 1000

// ParseHandshake decodes the data of an open packet. Errors wrap ErrMalformed; numbers that cannot be durations are
// malformed.
//
// Protocol: engine.io v4, "Handshake".
func ParseHandshake(data []byte) (Handshake, error) {
	var wire struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval float64  `json:"pingInterval"`
		PingTimeout  float64  `json:"pingTimeout"`
		MaxPayload   float64  `json:"maxPayload"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return Handshake{}, fmt.Errorf("%w: handshake", ErrMalformed)
	}
	if wire.SID == "" || wire.PingInterval <= 0 || wire.PingInterval > maxMillis ||
		wire.PingTimeout < 0 || wire.PingTimeout > maxMillis || wire.MaxPayload < 0 || wire.MaxPayload > maxLength {
		return Handshake{}, fmt.Errorf("%w: handshake", ErrMalformed)
	}
	return Handshake{
		SID: wire.SID, Upgrades: wire.Upgrades,
		PingInterval: time.Duration(wire.PingInterval * float64(time.Millisecond)),
		PingTimeout:  time.Duration(wire.PingTimeout * float64(time.Millisecond)),
		MaxPayload:   int64(wire.MaxPayload),
	}, nil
}
