package ws

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

func TestAppendHeader(t *testing.T) {
	t.Parallel()
	tests := []struct {
		length int
		rsv1   bool
		want   string
	}{
		{0, false, "\x81\x00"},
		{125, false, "\x81\x7d"},
		{126, false, "\x81\x7e\x00\x7e"},
		{65535, true, "\xc1\x7e\xff\xff"},
		{65536, false, "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
		{1 << 24, true, "\xc1\x7f\x00\x00\x00\x00\x01\x00\x00\x00"},
	}
	for _, tt := range tests {
		if got := AppendHeader([]byte("x"), Text, tt.rsv1, tt.length); string(got) != "x"+tt.want {
			t.Errorf("%d: %x", tt.length, got)
		}
	}
}

// Examples of RFC 6455, 5.7.
func TestAppend_Examples(t *testing.T) {
	t.Parallel()
	if got := AppendFrame(nil, Text, []byte("Hello")); string(got) != "\x81\x05Hello" {
		t.Errorf("%x", got)
	}
	if got := AppendMasked(nil, Text, false, [4]byte{0x37, 0xfa, 0x21, 0x3d}, []byte("Hello")); string(got) != "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" {
		t.Errorf("%x", got)
	}
	if got := AppendFrame(nil, Ping, []byte("Hello")); string(got) != "\x89\x05Hello" {
		t.Errorf("%x", got)
	}
}

// What is written is exactly what was given, cut where a character ends.
func TestAppendClose(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("r", 123)
	tests := []struct {
		name, reason, want string
	}{
		{"empty", "", ""},
		{"short", "bye", "bye"},
		{"longest", long, long},
		{"too long", long + "s", long},
		{"cut before a character", long[:122] + "\u20ac", long[:122]},
		{"cut after a character", long[:120] + "\u20ac\u20ac", long[:120] + "\u20ac"},
		{"invalid UTF-8", "ok\xffmore", "ok"},
		{"replacement character", "\ufffd", "\ufffd"},
	}
	for _, tt := range tests {
		want := append([]byte{0x88, byte(2 + len(tt.want)), 0x03, 0xf1}, tt.want...)
		if got := AppendClose([]byte{}, CodeTooBig, tt.reason); !bytes.Equal(got, want) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	if got := AppendClose(nil, CodeNoStatus, "not sent"); string(got) != "\x88\x00" {
		t.Errorf("no status: %q", got)
	}
	if code, reason := ParseClose(nil); code != CodeNoStatus || reason != nil {
		t.Errorf("no status: %d %q", code, reason)
	}
	if got := ClosePayload(CodeNoStatus, ""); len(got) != 0 {
		t.Errorf("no status: %q", got)
	}
}

// The fast way masks as the definition does, for every length, alignment and cut.
func TestMask(t *testing.T) {
	t.Parallel()
	buf := make([]byte, 100)
	for start := range 8 {
		for n := range 80 {
			for cut := 0; cut <= n; cut += 1 + n/8 {
				p := buf[start : start+n]
				clear(p)
				rest := mask(p[:cut], binary.LittleEndian.Uint32(key[:]))
				mask(p[cut:], rest)
				for i := range p {
					if p[i] != key[i%4] {
						t.Fatalf("start %d, length %d, cut %d: byte %d", start, n, cut, i)
					}
				}
			}
		}
	}
}

func TestAppend_Allocs(t *testing.T) {
	payload, dst := bytes.Repeat([]byte("x"), 300), make([]byte, 0, 1000)
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendFrame(dst[:0], Text, payload)
		dst = AppendMasked(dst, Binary, false, key, payload)
		dst = AppendClose(dst, CodeNormal, "bye")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMask(b *testing.B) {
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		mask(p, 0x01020304)
	}
}

func BenchmarkReader(b *testing.B) {
	for _, bb := range []struct {
		name    string
		in      []byte
		deflate bool
	}{
		{"64", frame(fin|2, strings.Repeat("x", 64)), false},
		{"16384", frame(fin|2, strings.Repeat("x", 16384)), false},
		{"fragments", split(2, strings.Repeat("x", 16384), 1024), false},
		{"deflate", frame(fin|bitRSV1|2, string(AppendDeflated(nil, []byte(strings.Repeat("hello ", 300))))), true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r, s := NewReader(&ReaderConfig{MaxMessage: 1 << 20, Deflate: bb.deflate}), &counting{}
			p := make([]byte, len(bb.in))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				copy(p, bb.in)
				if err := r.Feed(p, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendDeflated(b *testing.B) {
	payload, dst := []byte(strings.Repeat(`{"event":"echo","n":17},`, 100)), make([]byte, 0, 4096)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendDeflated(dst[:0], payload)
	}
}
