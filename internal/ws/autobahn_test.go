package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// The cases of the Autobahn test suite, groups 1 to 7, 9, 10, 12 and 13, as far as they are about reading. A case
// says what must come of its bytes however they are cut; where Autobahn lets an endpoint choose, the
// strict choice is ours.

type autobahnCase struct {
	name    string
	in      []byte
	want    []string
	code    uint16
	deflate bool
}

const autobahnLimit = 16 << 20

func TestReader_Autobahn(t *testing.T) {
	t.Parallel()
	groups := []func() []autobahnCase{
		autobahnFraming, autobahnPings, autobahnReserved, autobahnOpcodes, autobahnFragments, autobahnUTF8,
		autobahnCloses, autobahnCloseCodes, autobahnSizes, autobahnDeflate,
	}
	total := 0
	for _, group := range groups {
		for _, c := range group() {
			total++
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				cfg := &ReaderConfig{MaxMessage: autobahnLimit, Deflate: c.deflate}
				if len(c.in) > 200_000 { // a byte at a time would take long
					checkFeeds(t, cfg, c.in, c.want, c.code, []string{"whole", "random"})
					return
				}
				check(t, cfg, c.in, c.want, c.code)
			})
		}
	}
	if total < 500 {
		t.Errorf("only %d cases", total)
	}
}

func text(n int) string { return strings.Repeat("*", n) }

// event is how the recorder writes a message.
func event(op Op, payload string) string { return fmt.Sprintf("%d:%s", op, abridge([]byte(payload))) }

// split cuts a message into frames of at most n bytes.
func split(op byte, payload string, n int) []byte {
	var out []byte
	b0 := op
	for len(payload) > n {
		out = append(out, frame(b0, payload[:n])...)
		b0, payload = b0&^0x0f&^bitRSV1, payload[n:]
	}
	return append(out, frame(b0|fin, payload)...)
}

func autobahnFraming() (cs []autobahnCase) {
	for g, op := range []Op{Text, Binary} {
		for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			p := text(n)
			cs = append(cs, autobahnCase{name: fmt.Sprintf("1.%d.%d", g+1, i+1), in: frame(fin|byte(op), p), want: []string{event(op, p)}})
		}
	}
	return cs
}

func autobahnPings() (cs []autobahnCase) {
	bin := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	for i, p := range []string{"", "Hello, world!", bin, text(125)} {
		for j, op := range []Op{Ping, Pong} {
			cs = append(cs, autobahnCase{name: fmt.Sprintf("2.%d.%d", i+1, j), in: frame(fin|byte(op), p), want: []string{event(op, p)}})
		}
	}
	cs = append(cs,
		autobahnCase{name: "2.5", in: frame(fin|9, text(126)), code: CodeProtocol},
		autobahnCase{name: "2.9", in: concat(frame(fin|10, "unsolicited"), frame(fin|9, "ping")), want: []string{"10:unsolicited", "9:ping"}},
	)
	var in []byte
	var want []string
	for i := range 10 {
		p := fmt.Sprintf("payload-%d", i)
		in, want = append(in, frame(fin|9, p)...), append(want, event(Ping, p))
	}
	return append(cs, autobahnCase{name: "2.10", in: in, want: want})
}

func autobahnReserved() (cs []autobahnCase) {
	for rsv := byte(1); rsv <= 7; rsv++ {
		for _, op := range []byte{0, 1, 2, 8, 9, 10} {
			name := fmt.Sprintf("3.%d.%d", rsv, op)
			bad := frame(fin|rsv<<4|op, "x")
			cs = append(cs,
				autobahnCase{name: name, in: bad, code: CodeProtocol},
				autobahnCase{name: name + " after a message", in: concat(frame(fin|1, "a"), bad, frame(fin|9, "")), want: []string{"1:a"}, code: CodeProtocol},
			)
		}
	}
	return cs
}

func autobahnOpcodes() (cs []autobahnCase) {
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		for i, payload := range []string{"", "reserved opcode payload"} {
			bad := frame(fin|op, payload)
			cs = append(cs,
				autobahnCase{name: fmt.Sprintf("4.%d.%d", op, i), in: bad, code: CodeProtocol},
				autobahnCase{name: fmt.Sprintf("4.%d.%d after a message", op, i), in: concat(frame(fin|1, "a"), bad), want: []string{"1:a"}, code: CodeProtocol},
				autobahnCase{name: fmt.Sprintf("4.%d.%d within a message", op, i), in: concat(frame(1, "a"), bad), code: CodeProtocol},
			)
		}
	}
	return cs
}

func autobahnFragments() []autobahnCase {
	f := func(name string, code uint16, want []string, frames ...[]byte) autobahnCase {
		return autobahnCase{name: name, in: concat(frames...), want: want, code: code}
	}
	ping := frame(fin|9, "ping")
	return []autobahnCase{
		f("5.1", CodeProtocol, nil, frame(9, "fragment1"), frame(fin, "fragment2")),
		f("5.2", CodeProtocol, nil, frame(10, "fragment1"), frame(fin, "fragment2")),
		f("5.3", 0, []string{"1:fragment1fragment2"}, frame(1, "fragment1"), frame(fin, "fragment2")),
		f("5.6", 0, []string{"9:ping", "1:fragment1fragment2"}, frame(1, "fragment1"), ping, frame(fin, "fragment2")),
		f("5.9", CodeProtocol, nil, frame(fin, "non-continuation payload"), frame(fin|1, "Hello, world!")),
		f("5.12", CodeProtocol, nil, frame(0, "non-continuation payload"), frame(fin|1, "Hello, world!")),
		f("5.15", CodeProtocol, []string{"1:fragment1fragment2"}, frame(1, "fragment1"), frame(fin, "fragment2"), frame(0, "fragment3"), frame(fin|1, "fragment4")),
		f("5.16", CodeProtocol, nil, frame(0, "fragment1"), frame(1, "fragment2"), frame(fin, "fragment3")),
		f("5.17", CodeProtocol, nil, frame(fin, "fragment1"), frame(1, "fragment2"), frame(fin, "fragment3")),
		f("5.18", CodeProtocol, nil, frame(1, "fragment1"), frame(fin|1, "fragment2")),
		f("5.19", 0, []string{"9:ping", "9:ping", "1:fragment1fragment2fragment3fragment4fragment5"},
			frame(1, "fragment1"), frame(0, "fragment2"), ping, frame(0, "fragment3"), frame(0, "fragment4"), ping, frame(fin, "fragment5")),
	}
}

// autobahnTexts are byte sequences, and whether they are valid UTF-8. They follow the stress test of Markus Kuhn.
var autobahnTexts = []struct {
	group string
	valid bool
	texts []string
}{
	{"6.2", true, []string{"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!"}},
	{"6.3", false, []string{"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64"}},
	{"6.5", true, []string{"\xce\xba", "\xce\xba\xe1\xbd\xb9", "\xce\xba\xe1\xbd\xb9\xcf\x83", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"}},
	{"6.6", false, []string{"\xce", "\xce\xba\xe1", "\xce\xba\xe1\xbd", "\xce\xba\xe1\xbd\xb9\xcf", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce"}},
	{"6.7", true, []string{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"}},
	{"6.8", false, []string{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"}},
	{"6.9", true, []string{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"}},
	{"6.10", false, []string{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"}},
	{"6.11", true, []string{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"}},
	{"6.11", false, []string{"\xf4\x90\x80\x80"}},
	{"6.12", false, []string{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf"}},
	{"6.13", false, []string{"\xc0 \xc1 \xc2 \xdf ", "\xe0 \xe1 \xef ", "\xf0 \xf3 \xf7 ", "\xf8 \xfb ", "\xfc \xfd "}},
	{"6.14", false, []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}},
	{"6.15", false, []string{"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"}},
	{"6.16", false, []string{"\xfe", "\xff", "\xfe\xfe\xff\xff"}},
	{"6.17", false, []string{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"}},
	{"6.18", false, []string{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"}},
	{"6.19", false, []string{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"}},
	{"6.20", false, []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}},
	{"6.21", false, []string{
		"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
		"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
	}},
	{"6.22", true, noncharacters()},
	{"6.23", true, []string{"\xef\xbf\xb9", "\xef\xbf\xba", "\xef\xbf\xbb", "\xef\xbf\xbc", "\xef\xbf\xbd", "\xef\xbf\xbe", "\xef\xbf\xbf"}},
}

// noncharacters are the last two characters of each plane, which are valid.
func noncharacters() (out []string) {
	for plane := range rune(17) {
		out = append(out, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return out
}

func autobahnUTF8() (cs []autobahnCase) {
	cs = append(cs,
		autobahnCase{name: "6.1.1", in: frame(fin|1, ""), want: []string{"1:"}},
		autobahnCase{name: "6.1.2", in: concat(frame(1, ""), frame(0, ""), frame(fin, "")), want: []string{"1:"}},
		autobahnCase{name: "6.1.3", in: concat(frame(1, ""), frame(0, "middle"), frame(fin, "")), want: []string{"1:middle"}},
	)
	for _, g := range autobahnTexts {
		for i, s := range g.texts {
			var want []string
			code := CodeInvalidData
			if g.valid {
				want, code = []string{event(Text, s)}, 0
			}
			long := text(100) + s + text(100)
			wantLong := want
			if g.valid {
				wantLong = []string{event(Text, long)}
			}
			name := fmt.Sprintf("%s.%d %t", g.group, i+1, g.valid)
			cs = append(cs,
				autobahnCase{name: name, in: frame(fin|1, s), want: want, code: code},
				autobahnCase{name: name + " by bytes", in: split(1, s, 1), want: want, code: code},
				autobahnCase{name: name + " within text", in: frame(fin|1, long), want: wantLong, code: code},
				autobahnCase{name: name + " in a close", in: frame(fin|8, "\x03\xe8"+s), want: closeEvent(g.valid, "\x03\xe8"+s), code: code},
			)
		}
	}
	return cs
}

func closeEvent(valid bool, payload string) []string {
	if !valid {
		return nil
	}
	return []string{event(Close, payload)}
}

func autobahnCloses() []autobahnCase {
	f := func(name string, code uint16, want []string, frames ...[]byte) autobahnCase {
		return autobahnCase{name: name, in: concat(frames...), want: want, code: code}
	}
	normal := "\x03\xe8"
	return []autobahnCase{
		f("7.1.1", 0, []string{"1:Hello World!", "8:" + normal}, frame(fin|1, "Hello World!"), frame(fin|8, normal)),
		f("7.1.2", 0, []string{"8:" + normal}, frame(fin|8, normal), frame(fin|8, normal)),
		f("7.1.3", 0, []string{"8:" + normal}, frame(fin|8, normal), frame(fin|9, "")),
		f("7.1.4", 0, []string{"8:" + normal}, frame(fin|8, normal), frame(fin|1, "Hello World!")),
		f("7.1.5", 0, []string{"8:" + normal}, frame(1, "fragment1"), frame(fin|8, normal), frame(fin, "fragment2")),
		f("7.1.6", 0, []string{event(Text, text(256<<10)), "1:Hello World!", "8:" + normal},
			frame(fin|1, text(256<<10)), frame(fin|1, "Hello World!"), frame(fin|8, normal), frame(fin|9, "")),
		f("7.3.1", 0, []string{"8:"}, frame(fin|8, "")),
		f("7.3.2", CodeProtocol, nil, frame(fin|8, "a")),
		f("7.3.3", 0, []string{"8:" + normal}, frame(fin|8, normal)),
		f("7.3.4", 0, []string{"8:" + normal + "Hello World!"}, frame(fin|8, normal+"Hello World!")),
		f("7.3.5", 0, []string{event(Close, normal+text(123))}, frame(fin|8, normal+text(123))),
		f("7.3.6", CodeProtocol, nil, frame(fin|8, normal+text(124))),
		f("7.5.1", CodeInvalidData, nil, frame(fin|8, normal+"\xce\xba\xed\xa0\x80edited")),
	}
}

func autobahnCloseCodes() (cs []autobahnCase) {
	add := func(group string, valid bool, codes ...int) {
		for _, code := range codes {
			p := string([]byte{byte(code >> 8), byte(code)})
			for _, reason := range []string{"", "reason"} {
				c := autobahnCase{name: fmt.Sprintf("%s %d%s", group, code, reason), in: frame(fin|8, p+reason), code: CodeProtocol}
				if valid {
					c.want, c.code = []string{event(Close, p+reason)}, 0
				}
				cs = append(cs, c)
			}
		}
	}
	add("7.7", true, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999)
	add("7.9", false, 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
	add("7.13", false, 5000, 65535)
	return cs
}

func autobahnSizes() (cs []autobahnCase) {
	for g, op := range []Op{Text, Binary} {
		for i, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, autobahnLimit} {
			p := text(n)
			cs = append(cs, autobahnCase{name: fmt.Sprintf("9.%d.%d", g+1, i+1), in: frame(fin|byte(op), p), want: []string{event(op, p)}})
		}
		p := text(1 << 20)
		for i, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
			cs = append(cs, autobahnCase{name: fmt.Sprintf("9.%d.%d", g+3, i+1), in: split(byte(op), p, n), want: []string{event(op, p)}})
		}
		for i, n := range []int{0, 16, 64, 256, 1024} {
			one := frame(fin|byte(op), text(n))
			want := make([]string, 100)
			for j := range want {
				want[j] = event(op, text(n))
			}
			cs = append(cs, autobahnCase{name: fmt.Sprintf("9.%d.%d", g+7, i+1), in: bytes.Repeat(one, len(want)), want: want})
		}
	}
	p := text(65536)
	return append(cs, autobahnCase{name: "10.1.1", in: split(1, p, 1300), want: []string{event(Text, p)}})
}

// autobahnDeflate has messages of several kinds and sizes, whole and in fragments.
func autobahnDeflate() (cs []autobahnCase) {
	rnd := rand.New(rand.NewPCG(3, 4))
	kinds := []func(n int) string{
		func(n int) string { return strings.Repeat(`{"event":"echo","n":17,"ok":true},`, n/34+1)[:n] },
		func(n int) string {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(' ' + rnd.IntN(95))
			}
			return string(p)
		},
	}
	for k, kind := range kinds {
		for i, n := range []int{0, 16, 64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10, 128 << 10} {
			for j, cut := range []int{0, 1, 7, 256, 4 << 10} {
				if cut > 0 && n/cut > 5000 {
					continue
				}
				p := kind(n)
				z := string(AppendDeflated(nil, []byte(p)))
				if cut == 0 {
					cut = len(z) + 1
				}
				in := concat(split(1|bitRSV1, z, cut), frame(fin|9, ""), split(2|bitRSV1, z, cut))
				cs = append(cs, autobahnCase{
					name: fmt.Sprintf("12.%d.%d.%d", k+1, i+1, j), in: in, deflate: true,
					want: []string{event(Text, p), "9:", event(Binary, p)},
				})
			}
		}
	}
	return cs
}

// The offers of group 13: what is agreed never keeps a context and always has our window.
func TestNegotiate_Autobahn(t *testing.T) {
	t.Parallel()
	for _, params := range []string{
		"", "; server_no_context_takeover", "; client_max_window_bits=9", "; client_max_window_bits=15",
		"; client_max_window_bits; server_no_context_takeover", "; server_max_window_bits=15",
	} {
		got := negotiate(http.Header{"Sec-Websocket-Extensions": {"permessage-deflate" + params}})
		_, answer := cutQuoted(got, ';')
		if !acceptable(answer) || !strings.HasPrefix(got, agreed) {
			t.Errorf("%q: %q", params, got)
		}
	}
	for _, params := range []string{"; server_max_window_bits=9", "; server_no_context_takeover; server_max_window_bits=9"} {
		both := "permessage-deflate" + params + ", permessage-deflate"
		if got := negotiate(http.Header{"Sec-Websocket-Extensions": {both}}); got != agreed {
			t.Errorf("%q: %q", both, got)
		}
	}
}
