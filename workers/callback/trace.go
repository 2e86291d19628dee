package callback

import (
	"context"
	"net/url"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/store"
)

// beginSpan begins the span of one call to a partner. Of the URL it says the host only: the rest
// may hold a secret. The partner is not told of the trace, which goes on at other partners and
// at the acquirer: whoever asks about a callback has its webhook-id, and that is here.
func beginSpan(ctx context.Context, c store.Callback) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	tracer := parent.TracerProvider().Tracer("github.com/quittance/quittance/workers/callback")
	ctx, span := tracer.Start(ctx, "POST", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		semconv.HTTPRequestMethodPost, attribute.String("quittance.webhook.id", c.Event.String()), attribute.Int("quittance.webhook.attempt", c.Attempts+1),
	))
	if u, err := url.Parse(c.URL); err == nil {
		span.SetAttributes(semconv.ServerAddress(u.Hostname()))
	}
	return ctx, span
}

// endSpan ends it with what the partner did, in the words of the log that its client may read.
func endSpan(span trace.Span, r store.CallbackResult, err error) {
	if r.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(r.Status))
	}
	switch {
	case err != nil:
		span.SetStatus(codes.Error, err.Error())
	case r.Outcome != store.Delivered:
		span.SetAttributes(semconv.ErrorTypeKey.String(string(r.Outcome)))
		span.SetStatus(codes.Error, r.Reason)
	}
	span.End()
}
