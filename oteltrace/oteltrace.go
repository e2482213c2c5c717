// Package oteltrace makes spans of OpenTelemetry of what a server does: of the handlers of each event that a client
// sends, and, within such a span or any other, of broadcasts and of waiting for acknowledgements. The context of a handler
// carries its span, so that what the handler calls with it is part of the trace.
//
// Spans have the names of events and namespaces, and types of errors. They have no arguments, no ids of sockets, no rooms
// and, unless that is asked for, no texts of errors.
//
// Not in this package: exporters and sampling, which the application sets up; the trace of a client, since Socket.IO has
// no place for it; metrics (package metrics).
package oteltrace

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
)

// Options configure [Attach].
type Options struct {
	// TracerProvider makes the tracer. nil: the global one, as it is at Attach.
	TracerProvider trace.TracerProvider

	// Events are the names that spans may have. Clients choose the names of their events, and what shows traces
	// expects few names of spans: the spans of other events are named "handle event", and have the name as an attribute
	// alone. Default none.
	Events []string

	// ErrorTexts adds the texts of errors to spans, which may have data of users in them.
	ErrorTexts bool

	// Roots makes spans of broadcasts and acknowledgements also where the context has none, as with Emit, which has no
	// context.
	Roots bool
}

// Attributes of spans beside those of the conventions.
const (
	// EventKey is the name of the event, at most 128 bytes of it.
	EventKey = attribute.Key("sockeye.event")

	// RepliesKey is the number of acknowledgements that came.
	RepliesKey = attribute.Key("sockeye.replies")
)

const (
	scope    = "github.com/sockeye-io/sockeye/oteltrace"
	maxEvent = 128 // bytes
)

// tracer makes the spans of a server.
type tracer struct {
	trace.Tracer

	o     Options
	names map[string]struct{} // of Options.Events
}

// Attach makes spans of what srv does from now on until stop is called. It may be called for several servers.
//
// Differs from Node: there are instrumentations by others, which wrap the methods of a server.
func Attach(srv *sockeye.Server, o Options) (stop func()) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	t := &tracer{Tracer: o.TracerProvider.Tracer(scope), o: o, names: map[string]struct{}{}}
	for _, e := range o.Events {
		t.names[e] = struct{}{}
	}
	return srv.Observe(sockeye.Observer{Received: t.received, Broadcast: t.broadcast, Asked: t.asked})
}

// start starts a span.
func (t *tracer) start(
	ctx context.Context, does string, kind trace.SpanKind, op attribute.KeyValue, n *sockeye.Namespace, event string,
) (context.Context, trace.Span) {
	name := does + " event"
	if _, ok := t.names[event]; ok {
		name = does + " " + event
	}
	return t.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(
		semconv.MessagingSystemKey.String("socket.io"), op,
		semconv.MessagingDestinationName(clip(n.Name())), EventKey.String(clip(event)),
	))
}

// clip gives text as an attribute may have it.
func clip(s string) string {
	if len(s) > maxEvent {
		s = s[:maxEvent]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// end ends a span with what came of it.
func (t *tracer) end(span trace.Span, err error) {
	if err != nil {
		text := ""
		if t.o.ErrorTexts {
			text = err.Error()
		}
		span.SetStatus(codes.Error, text)
		span.SetAttributes(semconv.ErrorType(err))
	}
	span.End()
}

// received is the span of handlers.
func (t *tracer) received(
	ctx context.Context, s *sockeye.Socket, m *sockeye.Message,
) (handlers context.Context, done func(error)) {
	ctx, span := t.start(ctx, "handle", trace.SpanKindConsumer, semconv.MessagingOperationTypeProcess, s.Namespace(), m.Event)
	return ctx, func(err error) { t.end(span, err) }
}

// within tells whether what is done with ctx gets a span.
func (t *tracer) within(ctx context.Context) bool {
	return t.o.Roots || trace.SpanContextFromContext(ctx).IsValid()
}

// broadcast is the span of a broadcast.
func (t *tracer) broadcast(ctx context.Context, n *sockeye.Namespace, event string) (done func(error)) {
	if !t.within(ctx) {
		return nil
	}
	_, span := t.start(ctx, "broadcast", trace.SpanKindProducer, semconv.MessagingOperationTypeSend, n, event)
	return func(err error) { t.end(span, err) }
}

// asked is the span of waiting for acknowledgements.
func (t *tracer) asked(ctx context.Context, n *sockeye.Namespace, event string) (done func(int, error)) {
	if !t.within(ctx) {
		return nil
	}
	_, span := t.start(ctx, "ask", trace.SpanKindClient, semconv.MessagingOperationTypeSend, n, event)
	return func(replies int, err error) {
		span.SetAttributes(RepliesKey.Int(replies))
		t.end(span, err)
	}
}
