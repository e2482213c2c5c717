package oteltrace_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/internal/testkit"
	"github.com/sockeye-io/sockeye/oteltrace"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// bundle is a running server whose spans are kept.
type bundle struct {
	*sockeye.Server

	t     *testing.T
	url   string
	spans *tracetest.SpanRecorder
	stop  func()
}

func setup(t *testing.T, o oteltrace.Options) *bundle {
	t.Helper()
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(srv)
	b := &bundle{Server: srv, t: t, url: web.URL, spans: tracetest.NewSpanRecorder()}
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
	o.TracerProvider = tp
	b.stop = oteltrace.Attach(srv, o)
	t.Cleanup(func() {
		if err := errors.Join(srv.Close(), tp.Shutdown(context.WithoutCancel(t.Context()))); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	return b
}

func (b *bundle) connect(nsp string, setup func(*client.Socket)) *client.Socket {
	b.t.Helper()
	s, err := client.Dial(b.t.Context(), b.url+nsp, client.Config{Transports: []string{"websocket"}, Setup: setup})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = s.Close() }) // it may be closed already
	return s
}

// span waits for the end of a span of a name.
func (b *bundle) span(name string) sdktrace.ReadOnlySpan {
	b.t.Helper()
	var span sdktrace.ReadOnlySpan
	testkit.Eventually(b.t, name, func() bool {
		ended := b.spans.Ended()
		i := slices.IndexFunc(ended, func(s sdktrace.ReadOnlySpan) bool { return s.Name() == name })
		if i >= 0 {
			span = ended[i]
		}
		return i >= 0
	})
	return span
}

// text is everything that a span tells.
func text(s sdktrace.ReadOnlySpan) string {
	var b strings.Builder
	b.WriteString(s.Name() + " " + s.Status().Description)
	for _, a := range s.Attributes() {
		b.WriteString(" " + string(a.Key) + "=" + a.Value.String())
	}
	for _, e := range s.Events() {
		b.WriteString(" " + e.Name)
	}
	return b.String()
}

// What a handler does with its context is in its trace.
func TestTrace_Propagation(t *testing.T) {
	t.Parallel()
	b := setup(t, oteltrace.Options{Events: []string{"work", "news", "question"}})
	n := b.Of("/x")
	n.On("work", sockeye.HandlerFunc(func(ctx context.Context, m *sockeye.Message) error {
		s := sockeye.SocketFrom(ctx)
		if !trace.SpanFromContext(ctx).IsRecording() {
			t.Error("no span in the context of the handler")
		}
		if err := n.EmitContext(ctx, "news", "secret"); err != nil {
			return err
		}
		if _, err := s.EmitWithAck(ctx, "question", "secret"); err != nil {
			return err
		}
		if err := n.Emit("unrelated"); err != nil { // it has no context
			return err
		}
		return m.Ack("secret")
	}))
	c := b.connect("/x", func(s *client.Socket) {
		s.On("question", client.HandlerFunc(func(_ context.Context, m *client.Message) error { return m.Ack("secret") }))
	})
	if _, err := c.EmitWithAck(t.Context(), "work", "secret"); err != nil {
		t.Fatal(err)
	}
	work := b.span("handle work")
	if work.Parent().IsValid() || work.SpanKind() != trace.SpanKindConsumer || work.Status().Code == codes.Error {
		t.Errorf("%v", work)
	}
	for name, kind := range map[string]trace.SpanKind{
		"broadcast news": trace.SpanKindProducer, "ask question": trace.SpanKindClient,
	} {
		s := b.span(name)
		if s.Parent().SpanID() != work.SpanContext().SpanID() || s.SpanKind() != kind {
			t.Errorf("%s is not within the span of the handler", name)
		}
	}
	if got := text(b.span("ask question")); !strings.Contains(got, "sockeye.replies=1") ||
		!strings.Contains(got, "messaging.destination.name=/x") || !strings.Contains(got, "sockeye.event=question") {
		t.Error(got)
	}
	for _, s := range b.spans.Ended() {
		if got := text(s); strings.Contains(got, "secret") || strings.Contains(got, c.ID()) || strings.Contains(got, "unrelated") {
			t.Errorf("told %s", got)
		}
	}
}

func TestTrace_Errors(t *testing.T) {
	t.Parallel()
	for name, texts := range map[string]bool{"types": false, "texts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, oteltrace.Options{Events: []string{"fails", "panics"}, ErrorTexts: texts})
			b.On("fails", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error {
				return &sockeye.PeerError{Data: "secret"}
			}))
			b.On("panics", sockeye.HandlerFunc(func(context.Context, *sockeye.Message) error { panic("secret") }))
			c := b.connect("", nil)
			for _, e := range []string{"fails", "panics"} {
				if err := c.Emit(e); err != nil {
					t.Fatal(err)
				}
				s := b.span("handle " + e)
				if s.Status().Code != codes.Error || !strings.Contains(text(s), "error.type=") {
					t.Errorf("%s: %s", e, text(s))
				}
				if got := s.Status().Description != ""; got != texts {
					t.Errorf("%s: %s", e, text(s))
				}
			}
			if s := text(b.span("handle panics")); strings.Contains(s, "secret") != texts {
				t.Error(s)
			}
		})
	}
}

// Names that clients choose are no names of spans, and short.
func TestTrace_NamesAreFew(t *testing.T) {
	t.Parallel()
	b := setup(t, oteltrace.Options{})
	c := b.connect("", nil)
	for _, e := range []string{"a", "b", strings.Repeat("x", 10_000)} {
		if err := c.Emit(e); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "spans", func() bool { return len(b.spans.Ended()) == 3 })
	for _, s := range b.spans.Ended() {
		if s.Name() != "handle event" || len(text(s)) > 400 {
			t.Error(text(s))
		}
	}
}

func TestTrace_RootsAndStop(t *testing.T) {
	t.Parallel()
	b := setup(t, oteltrace.Options{Roots: true, Events: []string{"news", "later"}})
	if err := b.Emit("news"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.To("nobody").EmitWithAck(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	b.span("broadcast news")
	b.span("ask event")
	b.stop()
	if err := b.Emit("later"); err != nil {
		t.Fatal(err)
	}
	if n := len(b.spans.Ended()); n != 2 {
		t.Errorf("%d spans", n)
	}
}

// Without a provider, not even a global one, nothing happens.
func TestTrace_NoProvider(t *testing.T) {
	t.Parallel()
	srv, err := sockeye.New(sockeye.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer oteltrace.Attach(srv, oteltrace.Options{})()
	if err := errors.Join(srv.EmitContext(t.Context(), "x"), srv.Close()); err != nil {
		t.Error(err)
	}
}
