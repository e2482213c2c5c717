package engineio

import (
	"bytes"
	"encoding/base64"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/ws"
)

type sinkFunc func(op ws.Op, payload []byte) error

func (f sinkFunc) Message(op ws.Op, p []byte) error { return f(op, p) }
func (f sinkFunc) Control(op ws.Op, p []byte) error { return f(op, p) }

// readFrame reads one frame of a server.
func readFrame(t *testing.T, frame []byte) (op ws.Op, payload []byte) {
	t.Helper()
	r := ws.NewReader(&ws.ReaderConfig{MaxMessage: 1 << 30, Client: true, Deflate: true})
	n := 0
	err := r.Feed(bytes.Clone(frame), sinkFunc(func(o ws.Op, p []byte) error {
		op, payload = o, bytes.Clone(p)
		n++
		return nil
	}))
	if err != nil || n != 1 {
		t.Fatalf("%d messages, %v in %x", n, err, frame[:min(len(frame), 20)])
	}
	return op, payload
}

func TestPrepared_Frames(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 124, 125, 126, 65534, 65535, 65536, 100_000} {
		data := []byte(strings.Repeat("x", n))
		for _, binary := range []bool{false, true} {
			p := Prepare(data, binary)
			if !bytes.Equal(p.payload(), data) || p.size() != n || p.binary() != binary {
				t.Fatalf("%d bytes: payload or size is wrong", n)
			}
			for _, tc := range []struct {
				name     string
				protocol int
				b64      bool
				op       ws.Op
				want     string
			}{
				{"v4", 4, false, ws.Binary, string(data)},
				{"v4 with b64", 4, true, ws.Binary, string(data)},
				{"v3", 3, false, ws.Binary, "\x04" + string(data)},
				{"v3 with b64", 3, true, ws.Text, "b4" + base64.StdEncoding.EncodeToString(data)},
			} {
				if !binary {
					tc.op, tc.want = ws.Text, "4"+string(data)
				}
				for name, frame := range map[string][]byte{
					"plain": p.wsFrame(tc.protocol, tc.b64), "deflated": p.deflated(tc.protocol, tc.b64),
				} {
					op, got := readFrame(t, frame)
					if op != tc.op || string(got) != tc.want {
						t.Errorf("%s, %s, %d bytes, binary %v: op %v, %d bytes", tc.name, name, n, binary, op, len(got))
					}
				}
				if long := p.deflated(tc.protocol, tc.b64); n > 1000 && len(long) > n/2 {
					t.Errorf("%s, %d bytes: not compressed", tc.name, n)
				}
			}
		}
	}
}

func TestPrepared_NotLongerDeflated(t *testing.T) {
	t.Parallel()
	p := Prepare([]byte("abc"), false)
	if &p.deflated(4, false)[0] != &p.wsFrame(4, false)[0] {
		t.Error("compressed although that is longer")
	}
}

func TestPrepared_CopiesData(t *testing.T) {
	t.Parallel()
	data := []byte("abc")
	p := Prepare(data, false)
	data[0] = 'x'
	if string(p.payload()) != "abc" {
		t.Error("the data is shared")
	}
}

// The variants are made once, whoever asks first.
func TestPrepared_VariantsAreShared(t *testing.T) {
	t.Parallel()
	p := Prepare(bytes.Repeat([]byte("abc"), 1000), true)
	var wg sync.WaitGroup
	frames := make([][]byte, 16)
	for i := range frames {
		wg.Go(func() {
			if i%2 == 0 {
				frames[i] = p.wsFrame(3, true)
			} else {
				frames[i] = p.deflated(3, true)
			}
		})
	}
	wg.Wait()
	for i := range frames {
		if &frames[i][0] != &frames[i%2][0] {
			t.Errorf("frame %d was made anew", i)
		}
	}
}

func TestPrepare_Allocates2(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 64)
	var p *Prepared
	if n := testing.AllocsPerRun(100, func() { p = Prepare(data, false) }); n > 2 {
		t.Errorf("Prepare allocates %v times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _ = p.wsFrame(4, false) }); n != 0 {
		t.Errorf("wsFrame allocates %v times", n)
	}
	p = Prepare(data, true)
	if n := testing.AllocsPerRun(100, func() { _ = p.wsFrame(3, true) }); n != 0 {
		t.Errorf("wsFrame of protocol 3 allocates %v times once it was made", n)
	}
}
