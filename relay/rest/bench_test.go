package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
)

// discard takes an answer without keeping it.
type discard struct {
	head   http.Header
	status int
}

func (d *discard) Header() http.Header { return d.head }

func (d *discard) WriteHeader(status int) { d.status = status }

func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// What a request costs beside the network and the clients.
func BenchmarkHandler(b *testing.B) {
	io, err := sockeye.New(sockeye.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = io.Close() }) // it is open
	h, err := New(io, Config{Tokens: everything()})
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct{ name, path, body, key string }{
		{"emit", "/v1/emit", `{"to":{"users":["ann"]},"event":"order","args":[{"id":7,"state":"sent"}]}`, ""},
		{"emit once", "/v1/emit", `{"to":{"users":["ann"]},"event":"order","args":[{"id":7,"state":"sent"}]}`, "key"},
		{"emit 10 kB", "/v1/emit", `{"to":{"rooms":["r"]},"event":"order","args":["` + strings.Repeat("x", 10_000) + `"]}`, ""},
		{"batch of 100", "/v1/batch", `{"operations":[` + strings.TrimSuffix(strings.Repeat(`{"op":"emit","to":{"users":["ann"]},"event":"e"},`, 100), ",") + `]}`, ""},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bench.body)))
			for b.Loop() {
				r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, bench.path, strings.NewReader(bench.body))
				r.Header.Set("Authorization", "Bearer "+secret)
				r.Header.Set("Content-Type", kindJSON)
				if bench.key != "" {
					r.Header.Set("Idempotency-Key", bench.key)
				}
				w := &discard{head: http.Header{}}
				if h.ServeHTTP(w, r); w.status >= http.StatusBadRequest {
					b.Fatal(w.status)
				}
			}
		})
	}
}
