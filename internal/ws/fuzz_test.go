package ws

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// strict is a Sink that checks what a Reader promises.
type strict struct {
	record
	t     *testing.T
	limit int64
	ended bool
}

func (s *strict) Message(op Op, payload []byte) error {
	if s.ended || op != Text && op != Binary || int64(len(payload)) > s.limit || op == Text && !utf8.Valid(payload) {
		s.t.Errorf("message %d %q", op, payload)
	}
	return s.record.Message(op, payload)
}

func (s *strict) Control(op Op, payload []byte) error {
	code, reason := ParseClose(payload)
	bad := op == Close && (len(payload) == 1 || len(payload) > 0 && !validCode(code) || !utf8.Valid(reason))
	if s.ended || len(payload) > MaxControl || !isControl(op) || bad {
		s.t.Errorf("control %d %q", op, payload)
	}
	s.ended = op == Close
	return s.record.Control(op, payload)
}

// outcome feeds a copy of p in pieces.
func outcome(t *testing.T, cfg *ReaderConfig, pieces [][]byte) (events string, code uint16) {
	t.Helper()
	s := &strict{t: t, limit: cfg.MaxMessage}
	r := NewReader(cfg)
	for _, piece := range pieces {
		err := r.Feed(piece, s)
		if err == nil {
			continue
		}
		var e *Error
		if !errors.As(err, &e) || !validCode(e.Code) {
			t.Fatalf("error %v", err)
		}
		code = e.Code
		if r.part != nil {
			t.Error("memory kept after an error")
		}
		break
	}
	r.Release()
	return strings.Join(s.events, "|"), code
}

// sameHoweverCut checks that the cuts make no difference.
func sameHoweverCut(t *testing.T, cfg *ReaderConfig, p []byte, seed uint64) {
	t.Helper()
	events, code := outcome(t, cfg, [][]byte{bytes.Clone(p)})
	rnd := rand.New(rand.NewPCG(seed, 0))
	var pieces [][]byte
	for rest := bytes.Clone(p); len(rest) > 0; {
		n := min(1+rnd.IntN(1+rnd.IntN(40)), len(rest))
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	for _, cut := range [][][]byte{cutBy(bytes.Clone(p), 1), pieces} {
		if e, c := outcome(t, cfg, cut); e != events || c != code {
			t.Errorf("in %d pieces: %q, %d; whole: %q, %d", len(cut), e, c, events, code)
		}
	}
}

func seedFrames(f *testing.F) {
	f.Helper()
	for _, p := range [][]byte{
		frame(fin|1, "hello"),
		concat(frame(1, "a\xe2"), frame(fin|9, "p"), frame(0, ""), frame(fin, "\x82\xac"), frame(fin|8, "\x03\xe8bye")),
		frame(fin|2, strings.Repeat("x", 200)),
		concat(deflated(1, "hello hello hello"), deflated(2, "")),
		concat(split(1|bitRSV1, string(AppendDeflated(nil, []byte(strings.Repeat("ab", 400)))), 3), frame(fin|10, "")),
		AppendFrame(nil, Text, []byte("not masked")),
		{fin | 2, bitMask | 127, 0x80, 0, 0, 0, 0, 0, 0, 0},
		{fin | 2, bitMask | 126, 0xff},
	} {
		for seed := range uint64(2) {
			f.Add(p, seed, uint8(seed))
		}
	}
}

func FuzzReader(f *testing.F) {
	seedFrames(f)
	f.Fuzz(func(t *testing.T, p []byte, seed uint64, mode uint8) {
		cfg := &ReaderConfig{MaxMessage: 300, MaxFragments: 5, Client: mode&1 != 0, Deflate: mode&2 != 0}
		sameHoweverCut(t, cfg, p, seed)
	})
}

// The input is compressed data in one to three frames, so that more than its framing is tried.
func FuzzReaderDeflate(f *testing.F) {
	for _, s := range []string{"", "hello", strings.Repeat("ab", 1000), strings.Repeat("\u20ac", 100)} {
		f.Add(AppendDeflated(nil, []byte(s)), uint64(1), uint8(2))
	}
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), uint64(0), uint8(1))
	f.Add([]byte("\x00\x05\x00\xfa\xffHello\x00"), uint64(0), uint8(1))
	f.Fuzz(func(t *testing.T, z []byte, seed uint64, frames uint8) {
		cfg := &ReaderConfig{MaxMessage: 1000, Deflate: true}
		sameHoweverCut(t, cfg, split(bitRSV1|1+frames&1, string(z), len(z)/(1+int(frames%3))+1), seed)
	})
}

// What is written is read again, compressed or not, by a server and by a client.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("hello"), true, uint32(0x01020304))
	f.Add([]byte{}, false, uint32(0))
	f.Add(bytes.Repeat([]byte("\u20ac"), 100), true, uint32(0xffffffff))
	f.Fuzz(func(t *testing.T, payload []byte, asText bool, k uint32) {
		op := Binary
		if asText && utf8.Valid(payload) {
			op = Text
		}
		kept := bytes.Clone(payload)
		key := [4]byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)}
		z := AppendDeflated(nil, payload)
		want := event(op, string(payload))
		cfg := ReaderConfig{MaxMessage: int64(len(payload)), Deflate: true}
		for _, client := range []bool{false, true} {
			cfg.Client = client
			in := concat(AppendMasked(nil, op, false, key, payload), AppendMasked(nil, op, true, key, z))
			if client {
				in = concat(AppendFrame(nil, op, payload), AppendHeader(nil, op, true, len(z)), z)
			}
			if got, code := outcome(t, &cfg, [][]byte{in}); got != want+"|"+want || code != 0 {
				t.Errorf("client %t: %q, code %d", client, got, code)
			}
		}
		if !bytes.Equal(payload, kept) {
			t.Error("the payload was changed")
		}
	})
}

// Whatever the headers say, an answer is one that a client accepts, and the close reason is a prefix of what was given.
func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{
		"permessage-deflate; client_max_window_bits", "constructor", ",,;\"", `a; b="\",", permessage-deflate; server_max_window_bits=15`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := negotiate(http.Header{"Sec-Websocket-Extensions": {s}})
		if _, params := cutQuoted(got, ';'); got != "" && (!acceptable(params) || !strings.HasPrefix(got, agreed)) {
			t.Errorf("%q", got)
		}
		if first, ok := firstProtocol([]string{s}); ok && !isToken(first) {
			t.Errorf("subprotocol %q", first)
		}
		code, reason := ParseClose(ClosePayload(CodeNormal, s))
		if code != CodeNormal || !strings.HasPrefix(s, string(reason)) || !utf8.Valid(reason) || len(reason) > MaxControl-2 {
			t.Errorf("close %d %q", code, reason)
		}
	})
}
