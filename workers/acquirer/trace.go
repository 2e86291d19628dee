package acquirer

import (
	"context"

	otel "go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// beginSpan begins a call's span below that of ctx, whose trace the acquirer is told of. Where
// that records nothing there is none. It says which call it is, and nothing of what is sent.
func (c *Client) beginSpan(ctx context.Context, method, call string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	tracer := parent.TracerProvider().Tracer("github.com/quittance/quittance/workers/acquirer")
	return tracer.Start(ctx, method+" /"+call, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.HTTPRequestMethodKey.String(method), semconv.URLTemplate("/"+call), semconv.ServerAddress(c.host),
	))
}

// endSpan ends it with what went wrong, which repeats nothing that was sent.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(otel.Error, err.Error())
	}
	span.End()
}
