package engineio

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
	"strings"
	"testing"
)

func TestAcceptedEncoding(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "", "gzip": "gzip", "GZIP": "gzip", "deflate": "deflate", "deflate, gzip": "gzip", "br": "", "*": "gzip",
		"gzip;q=0": "", "gzip;q=0, deflate": "deflate", "gzip;q=0, *": "deflate", "gzip;q=0,deflate;q=0,*": "",
		"gzip;q=x": "", "gzip; q=0.5": "gzip", "gzip;level=1": "gzip", "*;q=0": "", "identity": "", ",,,": "", ";": "", "gzipped": "",
		strings.Repeat(",", 8<<10) + "gzip": "gzip",
	} {
		if got := acceptedEncoding([]string{header}); got != want {
			t.Errorf("%.40q: %q, want %q", header, got, want)
		}
	}
}

func TestPolling_Compression(t *testing.T) {
	t.Parallel()
	long, short := strings.Repeat("long ", 300), strings.Repeat("x", 1022) // the type and it make 1,023 bytes
	for name, c := range map[string]struct {
		cfg        Config
		send       string
		noCompress bool
		accept     string
		encoding   string
	}{
		"gzip":              {Config{}, long, false, "gzip, deflate, br", "gzip"},
		"deflate":           {Config{}, long, false, "deflate", "deflate"},
		"at the threshold":  {Config{}, short + "x", false, "gzip", "gzip"},
		"below":             {Config{}, short, false, "gzip", ""},
		"own threshold":     {Config{HTTPCompression: 10}, short, false, "gzip", "gzip"},
		"switched off":      {Config{HTTPCompression: -1}, long, false, "gzip", ""},
		"not asked for":     {Config{}, long, false, "br", ""},
		"not for the event": {Config{}, long, true, "gzip", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.cfg)
			q := s.poll("4")
			if err := s.h.last(t).SendPrepared(SendOptions{NoCompress: c.noCompress}, Prepare([]byte(c.send), false)); err != nil {
				t.Fatal(err)
			}
			r := s.do("GET", q, "", "Accept-Encoding", c.accept)
			if got := r.header.Get("Content-Encoding"); got != c.encoding {
				t.Fatalf("encoding %q, want %q", got, c.encoding)
			}
			if got := r.header.Get("Content-Length"); got != strconv.Itoa(len(r.body)) {
				t.Errorf("length %s of %d bytes", got, len(r.body))
			}
			// Caches must know that answers differ by origin too.
			vary := r.header.Values("Vary")
			if len(vary) != 1 || !strings.Contains(vary[0], "Origin") || strings.Contains(vary[0], "Accept-Encoding") != (c.encoding != "") {
				t.Errorf("Vary: %q", vary)
			}
			if got := unpack(t, c.encoding, r.body); got != "4"+c.send {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
}

func unpack(t *testing.T, encoding, body string) string {
	t.Helper()
	var rd io.Reader = strings.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		rd, err = gzip.NewReader(rd)
	case "deflate":
		rd, err = zlib.NewReader(rd)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rd)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// T7: a compressed body is not unpacked. It is no payload, and ends the session.
func TestThreats_CompressedBody(t *testing.T) {
	t.Parallel()
	s := newSite(t, Config{})
	q := s.poll("4")
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, _ = zw.Write(bytes.Repeat([]byte("4"), 10<<20)) // a buffer takes everything
	_ = zw.Close()
	if r := s.do("POST", q, b.String(), "Content-Encoding", "gzip"); r.body != "ok" {
		t.Errorf("%+v", r)
	}
	if got := s.h.reasons(t, 1)[0]; got.reason != ReasonParseError {
		t.Errorf("%+v", got)
	}
}
