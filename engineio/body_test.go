package engineio

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// dripping is a request's body that gives a byte each second and obeys the read deadline of its connection.
type dripping struct {
	*httptest.ResponseRecorder

	left     int
	deadline time.Time
}

func (d *dripping) SetReadDeadline(t time.Time) error {
	d.deadline = t
	return nil
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Second) // of the bubble
	if !time.Now().Before(d.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	d.left--
	p[0] = 'x'
	return 1, nil
}

func TestReadBody_SlowClients(t *testing.T) { // T14
	t.Parallel()
	for _, tc := range []struct {
		name    string
		length  int64 // as announced; negative = not at all
		bytes   int
		read    int // bytes that come before it ends
		timeout bool
	}{
		{"in time", 9, 9, 9, false},
		{"drips", 100, 100, 9, true},
		{"drips, chunked", -1, 100, 9, true},
		{"a long body has longer", 20 << 10, 25, 25, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dripping{ResponseRecorder: httptest.NewRecorder(), left: tc.bytes}
				r := &http.Request{Body: io.NopCloser(d), ContentLength: tc.length}
				var buf []byte
				err := readBody(d, r, &buf, 1<<20)
				if errors.Is(err, os.ErrDeadlineExceeded) != tc.timeout || len(buf) != tc.read {
					t.Errorf("%d bytes, %v", len(buf), err)
				}
			})
		})
	}
}

func TestReadBody_Limit(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		length int64
		bytes  int
		ok     bool
	}{
		{"the limit", 10, 10, true},
		{"one more", 11, 11, false},
		{"the limit, chunked", -1, 10, true},
		{"one more, chunked", -1, 11, false},
		{"empty", 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{
				Body: io.NopCloser(strings.NewReader(strings.Repeat("x", tc.bytes))), ContentLength: tc.length,
			}
			var buf []byte
			err := readBody(httptest.NewRecorder(), r, &buf, 10)
			if errors.Is(err, errBodyTooLarge) == tc.ok || tc.ok && len(buf) != tc.bytes {
				t.Errorf("%d bytes, %v", len(buf), err)
			}
		})
	}
}
