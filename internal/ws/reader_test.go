package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// record is a Sink that remembers.
type record struct {
	events []string
	fail   error // returned by the next Message
}

func (s *record) Message(op Op, payload []byte) error {
	s.events = append(s.events, fmt.Sprintf("%d:%s", op, abridge(payload)))
	return s.fail
}

func (s *record) Control(op Op, payload []byte) error {
	s.events = append(s.events, fmt.Sprintf("%d:%s", op, abridge(payload)))
	return nil
}

// abridge keeps long payloads out of failures.
func abridge(p []byte) string {
	if len(p) <= 200 {
		return string(p)
	}
	return fmt.Sprintf("<%d bytes, %x>", len(p), crc32.ChecksumIEEE(p))
}

var key = [4]byte{0xa1, 0x02, 0xc3, 0x84}

// frame builds a masked frame with any bits.
func frame(b0 byte, payload string) []byte {
	f := AppendMasked(nil, 0, false, key, []byte(payload))
	f[0] = b0
	return f
}

const fin = 0x80

// concat joins frames.
func concat(fs ...[]byte) []byte { return bytes.Join(fs, nil) }

// feeds are ways to cut the same bytes.
var feeds = []struct {
	name string
	cut  func(p []byte) [][]byte
}{
	{"whole", func(p []byte) [][]byte { return [][]byte{p} }},
	{"bytes", func(p []byte) [][]byte { return cutBy(p, 1) }},
	{"sevens", func(p []byte) [][]byte { return cutBy(p, 7) }},
	{"random", func(p []byte) [][]byte {
		rnd := rand.New(rand.NewPCG(1, uint64(len(p))))
		var out [][]byte
		for len(p) > 0 {
			n := min(1+rnd.IntN(4000), len(p))
			out, p = append(out, p[:n]), p[n:]
		}
		return out
	}},
}

func cutBy(p []byte, n int) [][]byte {
	var out [][]byte
	for len(p) > n {
		out, p = append(out, p[:n]), p[n:]
	}
	return append(out, p)
}

// run feeds a copy of p and gives what came of it.
func run(cfg *ReaderConfig, cut func([]byte) [][]byte, p []byte) ([]string, error) {
	r, s := NewReader(cfg), &record{}
	for _, piece := range cut(bytes.Clone(p)) {
		if err := r.Feed(piece, s); err != nil {
			return s.events, err
		}
	}
	r.Release()
	return s.events, nil
}

// check runs p with every way of feeding and compares.
func check(t *testing.T, cfg *ReaderConfig, p []byte, want []string, code uint16) {
	t.Helper()
	checkFeeds(t, cfg, p, want, code, nil)
}

// checkFeeds is check with some ways only.
func checkFeeds(t *testing.T, cfg *ReaderConfig, p []byte, want []string, code uint16, only []string) {
	t.Helper()
	for _, f := range feeds {
		if only != nil && !slices.Contains(only, f.name) {
			continue
		}
		got, err := run(cfg, f.cut, p)
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%s: got %q, want %q", f.name, got, want)
		}
		var e *Error
		switch {
		case code == 0 && err != nil:
			t.Errorf("%s: %v", f.name, err)
		case code != 0 && (!errors.As(err, &e) || e.Code != code):
			t.Errorf("%s: error %v, want code %d", f.name, err, code)
		}
	}
}

func TestReader_Rules(t *testing.T) {
	t.Parallel()
	const maxMessage = 1000
	long := strings.Repeat("x", 126)
	huge := func(n uint64) []byte {
		return binary.BigEndian.AppendUint64([]byte{fin | 2, bitMask | 127}, n)
	}
	tests := []struct {
		name string
		in   []byte
		want []string
		code uint16
	}{
		{"text", frame(fin|1, "hello"), []string{"1:hello"}, 0},
		{"empty text", frame(fin|1, ""), []string{"1:"}, 0},
		{"binary", frame(fin|2, "\xff\x00"), []string{"2:\xff\x00"}, 0},
		{"two in one", concat(frame(fin|1, "a"), frame(fin|1, "b")), []string{"1:a", "1:b"}, 0},
		{"126", frame(fin|1, long), []string{"1:" + long}, 0},
		{"ping", frame(fin|9, "p"), []string{"9:p"}, 0},
		{"ping of 125", frame(fin|9, long[:125]), []string{"9:" + long[:125]}, 0},
		{"pong", frame(fin|10, ""), []string{"10:"}, 0},
		{"fragments", concat(frame(1, "a"), frame(0, "b"), frame(fin, "c")), []string{"1:abc"}, 0},
		{"empty fragments", concat(frame(1, ""), frame(0, ""), frame(fin, "")), []string{"1:"}, 0},
		{"ping within", concat(frame(1, "a"), frame(fin|9, "p"), frame(fin, "b")), []string{"9:p", "1:ab"}, 0},
		{"character cut by a fragment", concat(frame(1, "\xe2\x82"), frame(fin, "\xac")), []string{"1:\u20ac"}, 0},
		{"greatest", frame(fin|2, strings.Repeat("m", maxMessage)), []string{"2:" + abridge(bytes.Repeat([]byte("m"), maxMessage))}, 0},
		{"length not minimal", concat([]byte{fin | 1, bitMask | 126, 0, 1}, key[:], []byte{'a' ^ key[0]}), []string{"1:a"}, 0},

		{"rsv1", frame(fin|0x40|1, "a"), nil, 1002},
		{"rsv2", frame(fin|0x20|1, "a"), nil, 1002},
		{"rsv3", frame(fin|0x10|1, "a"), nil, 1002},
		{"rsv after a message", concat(frame(fin|1, "a"), frame(fin|0x70|1, "b")), []string{"1:a"}, 1002},
		{"garbage", []byte("test"), nil, 1002},
		{"opcode 3", frame(fin|3, "a"), nil, 1002},
		{"opcode 7", frame(fin|7, ""), nil, 1002},
		{"opcode 11", frame(fin|11, ""), nil, 1002},
		{"opcode 15", frame(fin|15, "a"), nil, 1002},
		{"not masked", AppendFrame(nil, Text, []byte("a")), nil, 1002},
		{"continuation of nothing", frame(fin, "a"), nil, 1002},
		{"continuation of nothing, open", frame(0, "a"), nil, 1002},
		{"continuation after the end", concat(frame(1, "a"), frame(fin, "b"), frame(fin, "c")), []string{"1:ab"}, 1002},
		{"message within a message", concat(frame(1, "a"), frame(fin|1, "b")), nil, 1002},
		{"binary within a text", concat(frame(1, "a"), frame(2, "b")), nil, 1002},
		{"ping fragmented", frame(9, "a"), nil, 1002},
		{"close fragmented", frame(8, ""), nil, 1002},
		{"ping of 126", frame(fin|9, long), nil, 1002},
		{"close of 126", frame(fin|8, long), nil, 1002},

		{"too big by one", frame(fin|2, strings.Repeat("m", maxMessage+1)), nil, 1009},
		{"2^62", huge(1 << 62), nil, 1009},
		{"2^63-1", huge(1<<63 - 1), nil, 1009},
		{"2^63", huge(1 << 63), nil, 1002},
		{"2^64-1", huge(1<<64 - 1), nil, 1002},
		{"sum of fragments", concat(frame(2, strings.Repeat("m", maxMessage)), frame(0, "x")), nil, 1009},
		{"sum above 2^63", concat(frame(2, "m"), binary.BigEndian.AppendUint64([]byte{fin, bitMask | 127}, 1<<63-1)), nil, 1009},

		{"bad UTF-8", frame(fin|1, "a\xff"), nil, 1007},
		{"surrogate", frame(fin|1, "\xed\xa0\x80"), nil, 1007},
		{"overlong", frame(fin|1, "\xc0\xaf"), nil, 1007},
		{"above U+10FFFF", frame(fin|1, "\xf4\x90\x80\x80"), nil, 1007},
		{"cut character", frame(fin|1, "a\xe2\x82"), nil, 1007},
		{"bad UTF-8 in fragments", concat(frame(1, "a\xe2"), frame(fin, "b")), nil, 1007},
		{"bad UTF-8 after long ASCII", frame(fin|1, strings.Repeat("a", 99)+"\x80"), nil, 1007},

		{"close", frame(fin|8, ""), []string{"8:"}, 0},
		{"close 1000", frame(fin|8, "\x03\xe8bye"), []string{"8:\x03\xe8bye"}, 0},
		{"close, then more", concat(frame(fin|8, ""), frame(fin|1, "a"), []byte("garbage")), []string{"8:"}, 0},
		{"close of one byte", frame(fin|8, "\x03"), nil, 1002},
		{"close with bad UTF-8", frame(fin|8, "\x03\xe8\xff"), nil, 1007},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check(t, &ReaderConfig{MaxMessage: maxMessage}, tt.in, tt.want, tt.code)
		})
	}
}

func TestReader_CloseCodes(t *testing.T) {
	t.Parallel()
	for code := range 6000 {
		valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code < 5000
		r, s := NewReader(&ReaderConfig{}), &record{}
		err := r.Feed(frame(fin|8, string([]byte{byte(code >> 8), byte(code)})), s)
		if valid != (err == nil) || valid != (len(s.events) == 1) {
			t.Errorf("%d: %v, %q", code, err, s.events)
		}
	}
}

func TestReader_Client(t *testing.T) {
	t.Parallel()
	cfg := &ReaderConfig{MaxMessage: 100, Client: true}
	check(t, cfg, AppendFrame(nil, Text, []byte("hi")), []string{"1:hi"}, 0)
	check(t, cfg, concat([]byte{1, 1, 'a'}, AppendFrame(nil, Ping, nil), []byte{fin, 1, 'b'}), []string{"9:", "1:ab"}, 0)
	check(t, cfg, frame(fin|1, "hi"), nil, 1002)
}

func TestReader_SinkErrorStops(t *testing.T) {
	t.Parallel()
	r, s := NewReader(&ReaderConfig{MaxMessage: 9}), &record{fail: errors.New("enough")}
	if err := r.Feed(concat(frame(fin|1, "a"), frame(fin|1, "b")), s); !errors.Is(err, s.fail) {
		t.Errorf("error %v", err)
	}
	if err := r.Feed(frame(fin|1, "c"), s); err != nil || len(s.events) != 1 {
		t.Errorf("after the error: %v, %q", err, s.events)
	}
}

func TestReader_Fragments(t *testing.T) {
	t.Parallel()
	cfg := &ReaderConfig{MaxMessage: 1 << 20, MaxFragments: 1000}
	build := func(frames int, payload string) []byte {
		p := frame(2, payload)
		for range frames - 2 {
			p = append(p, frame(0, payload)...)
		}
		return append(p, frame(fin, payload)...)
	}
	check(t, cfg, build(1000, ""), []string{"2:"}, 0)
	check(t, cfg, build(1001, ""), nil, 1008)
	check(t, cfg, build(1001, "x"), nil, 1008)
}

// A million tiny frames are refused after the default number of them, and cost no more than their payload.
func TestReader_FragmentFlood(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"", "x"} {
		r, s := NewReader(&ReaderConfig{MaxMessage: 1 << 20}), &record{}
		err := r.Feed(frame(2, payload), s)
		n := 1
		for ; err == nil && n < 1_000_000; n++ {
			err = r.Feed(frame(0, payload), s)
		}
		var e *Error
		if !errors.As(err, &e) || e.Code != CodePolicy || n != defaultFragments+1 {
			t.Errorf("after %d frames: %v", n, err)
		}
	}
}

// What is announced is not allocated before it comes.
func TestReader_AnnouncedLengthIsNotAllocated(t *testing.T) {
	t.Parallel()
	cfg := &ReaderConfig{MaxMessage: 1 << 40}
	r := NewReader(cfg)
	head := binary.BigEndian.AppendUint64([]byte{fin | 2, bitMask | 127}, 1<<39)
	if err := r.Feed(append(append(head, key[:]...), "abc"...), &record{}); err != nil {
		t.Fatal(err)
	}
	if n := cap(r.part.buf); n > keptBuffer {
		t.Errorf("%d bytes allocated for 3", n)
	}
	r.Release()
	if r.part != nil {
		t.Error("memory kept")
	}
}

// Every prefix of valid input gives a prefix of what the whole gives, and no error.
func TestReader_Prefixes(t *testing.T) {
	t.Parallel()
	in := concat(frame(fin|1, "abc"), frame(1, "x"), frame(fin|9, "p"), frame(0, ""), frame(fin, strings.Repeat("y", 130)),
		frame(fin|2, strings.Repeat("z", 300)), frame(fin|8, "\x03\xe8"))
	cfg := &ReaderConfig{MaxMessage: 1000}
	all, err := run(cfg, feeds[0].cut, in)
	if err != nil || len(all) != 5 {
		t.Fatal(all, err)
	}
	for n := range in {
		for _, f := range feeds {
			got, err := run(cfg, f.cut, in[:n])
			if err != nil || strings.Join(got, "|") != strings.Join(all[:len(got)], "|") {
				t.Fatalf("%d bytes, %s: %q, %v", n, f.name, got, err)
			}
		}
	}
}

// counting is a Sink that allocates nothing.
type counting struct{ messages, bytes int }

func (s *counting) Message(_ Op, p []byte) error {
	s.messages++
	s.bytes += len(p)
	return nil
}

func (s *counting) Control(Op, []byte) error { return nil }

func TestReader_Allocs(t *testing.T) {
	cfg := &ReaderConfig{MaxMessage: 1 << 20}
	p := concat(frame(fin|1, "hello"), frame(fin|2, strings.Repeat("b", 70000)), frame(fin|9, ""))
	r, s := NewReader(cfg), &counting{}
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Feed(p, s); err != nil {
			t.Fatal(err)
		}
		mask(p[6:11], binary.LittleEndian.Uint32(key[:])) // Feed unmasked the text, which must be valid again
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestReader_ZeroCopy(t *testing.T) {
	t.Parallel()
	p := frame(fin|2, "hello")
	s := &alias{}
	r := NewReader(&ReaderConfig{MaxMessage: 100})
	if err := r.Feed(p, s); err != nil || s.at != &p[6] {
		t.Error("the message was copied", err)
	}
	if r.part != nil {
		t.Error("memory kept between messages")
	}
}

type alias struct{ at *byte }

func (s *alias) Message(_ Op, p []byte) error {
	s.at = &p[0]
	return nil
}

func (s *alias) Control(Op, []byte) error { return nil }

// A message that comes byte by byte costs time and memory in proportion to its length: its buffer doubles.
func TestReader_BytewiseIsLinear(t *testing.T) {
	const size = 1 << 20
	p := frame(fin|2, strings.Repeat("b", size))
	r, s := NewReader(&ReaderConfig{MaxMessage: size}), &counting{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range p {
		if err := r.Feed(p[i:i+1], s); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if s.messages != 1 || s.bytes != size {
		t.Errorf("%d messages, %d bytes", s.messages, s.bytes)
	}
	if n := after.Mallocs - before.Mallocs; n > 1000 {
		t.Errorf("%d allocations", n)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 3*size {
		t.Errorf("%d bytes allocated", n)
	}
}
