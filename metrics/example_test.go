package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/metrics"
)

// The metrics are served beside the sockets, or better on a port that only Prometheus reaches.
func ExampleNew() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	m, err := metrics.New(srv, metrics.Options{Events: []string{"order", "chat"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/metrics", m.Handler())

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `sockeye_sockets{namespace="/"} 0`))
	// Output: 200 true
}
