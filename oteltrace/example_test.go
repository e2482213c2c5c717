package oteltrace_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/oteltrace"
)

// What a handler does with its context is in the trace of the event.
func ExampleAttach() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	provider := trace.NewTracerProvider() // with the exporter and sampler of the application
	defer oteltrace.Attach(srv, oteltrace.Options{TracerProvider: provider, Events: []string{"order"}})()

	srv.On("order", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var dish string
		if err := m.Scan(&dish); err != nil {
			return err
		}
		return srv.To("kitchen").EmitContext(ctx, "order", dish) // a span within that of the handler
	}))
}
