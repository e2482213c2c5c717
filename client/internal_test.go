package client

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/parser"
)

func TestReconnect_Delay(t *testing.T) {
	t.Parallel()
	r := Reconnect{Delay: time.Second, MaxDelay: 5 * time.Second, Jitter: 0.5}
	for _, tt := range []struct {
		n      int
		random float64
		want   time.Duration
	}{
		{0, 0, 500 * time.Millisecond},
		{0, 0.5, time.Second},
		{0, 0.75, 1250 * time.Millisecond},
		{2, 0, 2 * time.Second},
		{2, 0.99, 5 * time.Second},
		{1000, 0, 5 * time.Second},
	} {
		if got := r.delay(tt.n, tt.random); got != tt.want {
			t.Errorf("after %d attempts with %v: %v, want %v", tt.n, tt.random, got, tt.want)
		}
	}
}

func TestAuthData(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		auth        any
		pid, offset string
		want        string
		bad         bool
	}{
		"nothing":              {want: ""},
		"null":                 {auth: (*int)(nil), want: ""},
		"auth":                 {auth: map[string]int{"a": 1}, want: `{"a":1}`},
		"no offset yet":        {auth: map[string]int{"a": 1}, pid: "p", want: `{"a":1}`},
		"recovery":             {pid: `p"`, offset: "o", want: `{"offset":"o","pid":"p\""}`},
		"both":                 {auth: map[string]int{"a": 1}, pid: "p", offset: "o", want: `{"offset":"o","pid":"p","a":1}`},
		"recovery, empty auth": {auth: struct{}{}, pid: "p", offset: "o", want: `{"offset":"o","pid":"p"}`},
		"no object":            {auth: 1, bad: true},
		"an array":             {auth: []int{1}, bad: true},
		"binary":               {auth: map[string]any{"a": []byte{1}}, bad: true},
	} {
		got, err := authData(tt.auth, tt.pid, tt.offset)
		if (err != nil) != tt.bad {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		text := ""
		if !got.IsZero() {
			b, err := got.AppendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		if text != tt.want {
			t.Errorf("%s: %s, want %s", name, text, tt.want)
		}
	}
}

func TestConnectError_Forms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		message string
		data    string
	}{
		`{"message":"no","data":{"a":1}}`: {"no", `{"a":1}`},
		`{"message":"no"}`:                {"no", ""},
		`"no"`:                            {"no", ""},
		`{"a":1}`:                         {"", `{"a":1}`},
		`[1]`:                             {"", `[1]`},
	} {
		e := connectError(parser.RawJSON([]byte(text)))
		data := ""
		if !e.Data.IsZero() {
			b, err := e.Data.AppendJSON(nil)
			if err != nil {
				t.Fatal(err)
			}
			data = string(b)
		}
		if e.Message != want.message || data != want.data {
			t.Errorf("%s: %q, %s", text, e.Message, data)
		}
	}
}
