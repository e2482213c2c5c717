package ws

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"
)

// deflated is a compressed message in one masked frame.
func deflated(op byte, payload string) []byte {
	return frame(fin|bitRSV1|op, string(AppendDeflated(nil, []byte(payload))))
}

func TestReader_Deflate(t *testing.T) {
	t.Parallel()
	cfg := &ReaderConfig{MaxMessage: 1000, Deflate: true}
	z := AppendDeflated(nil, []byte(strings.Repeat("ab", 60)))
	text := strings.Repeat("ab", 60)
	final := new(bytes.Buffer)
	w, err := flate.NewWriter(final, 9)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte("final block")) // a buffer takes everything
	_ = w.Close()
	tests := []struct {
		name string
		in   []byte
		want []string
		code uint16
	}{
		{"text", deflated(1, "hello"), []string{"1:hello"}, 0},
		{"empty", deflated(1, ""), []string{"1:"}, 0},
		{"not compressed", frame(fin|1, "plain"), []string{"1:plain"}, 0},
		{"two", concat(deflated(1, "a"), deflated(2, "b")), []string{"1:a", "2:b"}, 0},
		{"fragments", concat(frame(1|bitRSV1, string(z[:3])), frame(fin|9, ""), frame(0, ""), frame(fin, string(z[3:]))), []string{"9:", "1:" + text}, 0},
		{"greatest", deflated(2, strings.Repeat("m", 1000)), []string{"2:" + abridge(bytes.Repeat([]byte("m"), 1000))}, 0},
		{"final block", frame(fin|2|bitRSV1, final.String()), []string{"2:final block"}, 0},
		{"example of the RFC", frame(fin|1|bitRSV1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), []string{"1:Hello"}, 0},
		{"stored block of the RFC", frame(fin|1|bitRSV1, "\x00\x05\x00\xfa\xffHello\x00"), []string{"1:Hello"}, 0},
		{"final block of the RFC", frame(fin|1|bitRSV1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"1:Hello"}, 0},
		{"too big by one", deflated(2, strings.Repeat("m", 1001)), nil, 1009},
		{"compressed data too big", frame(fin|2|bitRSV1, strings.Repeat("m", 1065)), nil, 1009},
		{"garbage", frame(fin|2|bitRSV1, "\xff\xff\xff"), nil, 1007},
		{"bad UTF-8", deflated(1, "a\xff"), nil, 1007},
		{"rsv1 on a continuation", concat(frame(2|bitRSV1, string(z[:3])), frame(fin|bitRSV1, string(z[3:]))), nil, 1002},
		{"rsv1 on a ping", frame(fin|9|bitRSV1, ""), nil, 1002},
		{"rsv2", frame(fin|1|bitRSV1|0x20, ""), nil, 1002},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check(t, cfg, tt.in, tt.want, tt.code)
		})
	}
}

// Data that cannot be compressed is a little longer when it is: that must not make it too big.
func TestReader_DeflateIncompressible(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 10, 1000, 70000, 1 << 20} {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		check(t, &ReaderConfig{MaxMessage: int64(size), Deflate: true}, deflated(2, string(p)), []string{"2:" + abridge(p)}, 0)
	}
}

// A megabyte that inflates to a gigabyte ends at the limit, and so does its memory.
func TestReader_DeflateBomb(t *testing.T) {
	const limit = 1 << 20
	var bomb []byte
	for block := AppendDeflated(nil, make([]byte, 1<<20)); len(bomb) < limit-len(block)-4; {
		bomb = append(append(bomb, block...), 0, 0, 0xff, 0xff)
	}
	in := frame(fin|2|bitRSV1, string(bomb))
	r := NewReader(&ReaderConfig{MaxMessage: limit, Deflate: true})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err := r.Feed(in, &record{})
	runtime.ReadMemStats(&after)
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeTooBig {
		t.Errorf("error %v", err)
	}
	// Everything that was ever allocated: the buffers of 4 KiB to 1 MiB, and the state of the stream.
	if n := after.TotalAlloc - before.TotalAlloc; n > 2*limit+limit/4 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestAppendDeflated_KeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	got := AppendDeflated([]byte("head"), []byte("hello"))
	if !bytes.HasPrefix(got, []byte("head")) {
		t.Fatalf("%q", got)
	}
	check(t, &ReaderConfig{MaxMessage: 9, Deflate: true}, frame(fin|1|bitRSV1, string(got[4:])), []string{"1:hello"}, 0)
}
