package oteltrace_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/oteltrace"
)

// What is sent with the context of a span is in its trace, and what a handler does with its context in that of the event.
func ExampleAttach() {
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	spans := tracetest.NewSpanRecorder() // an application has an exporter in its place
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	defer oteltrace.Attach(srv, oteltrace.Options{TracerProvider: provider, Events: []string{"order", "ready"}})()

	srv.On("order", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		var dish string
		if err := m.Scan(&dish); err != nil {
			return err
		}
		return srv.To("kitchen").EmitContext(ctx, "order", dish) // a span within that of the handler
	}))

	ctx, request := provider.Tracer("app").Start(context.Background(), "POST /ready")
	if err := srv.To("waiters").EmitContext(ctx, "ready", "soup"); err != nil {
		fmt.Println(err)
	}
	request.End()
	for _, s := range spans.Ended() {
		fmt.Println(s.Name(), s.Parent().IsValid())
	}
	// Output:
	// broadcast ready true
	// POST /ready false
}
