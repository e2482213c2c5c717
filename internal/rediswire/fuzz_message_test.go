package rediswire

import (
	"encoding/base64"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// knownError fails the test for an error that callers would not recognize.
func knownError(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return true
	}
	if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrReserved) {
		t.Fatal(err)
	}
	return false
}

// useMessage does with a message what an adapter may do.
func useMessage(t *testing.T, m *Message) {
	t.Helper()
	passOn(t, m.Packet.Args)
	passOn(t, m.Args)
	if m.Count < 0 || m.Target.Timeout < 0 || m.UID != "" && !PlainUID(m.UID) {
		t.Fatalf("%+v", m)
	}
	for _, f := range []Format{FormatAuto, FormatMsgpack} {
		b, err := AppendMessage(nil, m, f)
		if err != nil {
			continue // not every message that is read can be written
		}
		again, err := ParseMessage(b)
		if err != nil || !alike(m, &again) {
			t.Fatalf("%q: %+v %v, was %+v", b, again, err, m)
		}
	}
	fields, err := EntryFields(m, false)
	if err != nil {
		return
	}
	if again, err := ParseEntry(fields); err != nil || !alike(m, &again) {
		t.Fatalf("%q: %+v %v, was %+v", fields, again, err, m)
	}
}

func alike(a, b *Message) bool {
	return a.Type == b.Type && a.UID == b.UID && a.Namespace == b.Namespace && a.RequestID == b.RequestID &&
		a.Packet.Event == b.Packet.Event && len(a.Packet.Args) == len(b.Packet.Args) && len(a.Args) == len(b.Args) &&
		slices.Equal(a.Rooms, b.Rooms) && slices.Equal(a.Target.Rooms, b.Target.Rooms) &&
		slices.Equal(a.Target.Except, b.Target.Except) && a.Target.Flags == b.Target.Flags &&
		a.Target.Timeout == b.Target.Timeout && a.Close == b.Close && a.Count == b.Count && len(a.Sockets) == len(b.Sockets)
}

func useSession(t *testing.T, s *Session) {
	t.Helper()
	b, err := AppendSession(nil, s)
	if err != nil {
		return // data that only now turns out to be unreadable
	}
	again, err := ParseSession(string(b))
	if err != nil || again.ID != s.ID || again.PID != s.PID || again.Namespace != s.Namespace ||
		again.Turn != s.Turn || again.Pending != s.Pending || !slices.Equal(again.Rooms, s.Rooms) {
		t.Fatalf("%s: %+v %v, was %+v", b, again, err, s)
	}
}

func malformedMessages(tb testing.TB) (payloads [][]byte, entries []map[string]string) {
	tb.Helper()
	for _, v := range load(tb, "malformed-messages.json") {
		if v.Fields != nil {
			entries = append(entries, v.Fields)
		} else {
			payloads = append(payloads, unhex(tb, v.Payload))
		}
	}
	return payloads, entries
}

func FuzzMessage(f *testing.F) {
	for _, b := range capturedMessages(f) {
		f.Add(b)
	}
	payloads, _ := malformedMessages(f)
	for _, b := range payloads {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMessage(b); knownError(t, err) {
			useMessage(t, &m)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, e := range capturedEntries(f) {
		if len(e) == 8 {
			f.Add(e[1], e[3], e[5], e[7])
		}
	}
	_, entries := malformedMessages(f)
	for _, e := range entries {
		f.Add(e["uid"], e["nsp"], e["type"], e["data"])
	}
	f.Fuzz(func(t *testing.T, uid, nsp, kind, data string) {
		fields := []string{"uid", uid, "nsp", nsp, "type", kind, "data", data}
		_, _, _, peeked := PeekEntry(fields)
		m, err := ParseEntry(fields)
		if err == nil && !peeked {
			t.Fatalf("%q can be read, but not peeked at", fields)
		}
		if knownError(t, err) {
			useMessage(t, &m)
		}
	})
}

func FuzzSession(f *testing.F) {
	for _, s := range capturedSessions(f) {
		f.Add(unbase64(f, s))
	}
	f.Add([]byte("\x84\xa3pid\xa1p\xa3sid\xa1s\xa4form\xa7wrapped\xa4data\x81\xa5value\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if s, err := ParseSession(base64.StdEncoding.EncodeToString(raw)); knownError(t, err) {
			useSession(t, &s)
		}
	})
}

// mutations gives how many mutated messages the test tries: SOCKEYE_MUTATIONS, or few enough for every run.
func mutations(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("SOCKEYE_MUTATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 50_000
}

// mutate changes a message in a few places: bytes, lengths, parts of others.
func mutate(r *rand.Rand, dst []byte, corpus [][]byte) []byte {
	dst = append(dst[:0], corpus[r.IntN(len(corpus))]...)
	for range 1 + r.IntN(4) {
		if len(dst) == 0 {
			return dst
		}
		i := r.IntN(len(dst))
		switch r.IntN(8) {
		case 0:
			dst[i] = byte(r.Uint32())
		case 1:
			dst[i] ^= 1 << r.IntN(8)
		case 2:
			dst = dst[:i]
		case 3:
			dst = slices.Insert(dst, i, byte(r.Uint32()))
		case 4:
			dst = slices.Delete(dst, i, min(len(dst), i+1+r.IntN(8)))
		case 5:
			other := corpus[r.IntN(len(corpus))]
			from := r.IntN(len(other) + 1)
			dst = slices.Insert(dst, i, other[from:min(len(other), from+r.IntN(64))]...)
		case 6:
			odd := oddBytes[r.IntN(len(oddBytes))]
			dst = slices.Insert(dst, i, odd...)
		default:
			odd := oddBytes[r.IntN(len(oddBytes))]
			dst = slices.Replace(dst, i, min(len(dst), i+len(odd)), odd...)
		}
	}
	return dst
}

var oddBytes = [][]byte{
	[]byte("null"), []byte("{}"), []byte("[]"), []byte(`""`), []byte("-1"), []byte("1e999"), []byte(`"\ud800"`), []byte("{"),
	[]byte("\xc0"), []byte("\x80"), []byte("\x90"), []byte("\xa0"), []byte("\xff"), []byte("\xc1"), []byte("\xd4\x00\x00"),
	[]byte("\xdd\xff\xff\xff\xff"), []byte("\xdf\xff\xff\xff\xff"), []byte("\xdb\xff\xff\xff\xff"), []byte("\xc9\xff\xff\xff\xff"),
	[]byte("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), []byte("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), []byte("\x00"), []byte("__proto__"),
}

// Messages that were captured and then changed at random do no harm to any reader.
func TestParse_Mutations(t *testing.T) {
	t.Parallel()
	n := mutations(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %d mutations for each reader", seed, n)
	messages, _ := malformedMessages(t)
	messages = slices.AppendSeq(messages, maps.Values(capturedMessages(t)))
	var entries, sessions, classic [][]byte
	for _, e := range capturedEntries(t) {
		if len(e) == 8 {
			entries = append(entries, []byte(e[7]))
		}
	}
	for _, s := range capturedSessions(t) {
		sessions = append(sessions, unbase64(t, s))
	}
	for _, kind := range []string{"#", "-request#", "-response#"} {
		classic = slices.AppendSeq(classic, maps.Values(published(t, kind, captures...)))
	}
	readers := []struct {
		name   string
		corpus [][]byte
		read   func(t *testing.T, r *rand.Rand, b []byte) bool
	}{
		{"message", messages, func(t *testing.T, _ *rand.Rand, b []byte) bool {
			m, err := ParseMessage(b)
			if !knownError(t, err) {
				return false
			}
			useMessage(t, &m)
			return true
		}},
		{"entry", entries, func(t *testing.T, r *rand.Rand, b []byte) bool {
			kind := strconv.Itoa(r.IntN(15))
			m, err := ParseEntry([]string{"uid", "x", "nsp", "/", "type", kind, "data", string(b)})
			if !knownError(t, err) {
				return false
			}
			useMessage(t, &m)
			return true
		}},
		{"session", sessions, func(t *testing.T, _ *rand.Rand, b []byte) bool {
			s, err := ParseSession(base64.StdEncoding.EncodeToString(b))
			if !knownError(t, err) {
				return false
			}
			useSession(t, &s)
			return true
		}},
		{"classic", classic, func(t *testing.T, _ *rand.Rand, b []byte) bool { return readClassic(t, b) }},
	}
	for i, c := range readers {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			slices.SortFunc(c.corpus, func(a, b []byte) int { return strings.Compare(string(a), string(b)) })
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			var b []byte
			good := 0
			for range n {
				b = mutate(r, b, c.corpus)
				if c.read(t, r, slices.Clone(b)) {
					good++
				}
			}
			if good == 0 || good == n {
				t.Errorf("%d of %d are good: the mutations test nothing", good, n)
			}
		})
	}
}

func readClassic(t *testing.T, b []byte) bool {
	t.Helper()
	good := false
	if m, err := ParseBroadcast(b); knownError(t, err) {
		if p, err := m.Packet("/"); err == nil {
			good = true
			passOn(t, p.Args)
		}
	}
	if r, err := ParseRequest(b, "/"); err == nil {
		good = true
		passOn(t, r.Packet.Args)
	} else if !errors.Is(err, ErrElsewhere) {
		knownError(t, err)
	}
	if r, err := ParseResponse(b); knownError(t, err) {
		good = true
		passOn(t, r.Args())
		_, _, err := r.Remotes()
		knownError(t, err)
		_, err = r.Names("rooms")
		knownError(t, err)
	}
	return good
}
