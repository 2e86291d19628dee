package store

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// An operation's row has the span that it follows from: the request that was accepted, or the
// attempt that settled what somebody is told of. Whatever becomes of its messages, all attempts
// at it are in that one trace.

// parentIn is the span of ctx as a W3C traceparent; "" for none.
func parentIn(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, header)
	return header["traceparent"]
}

const instrumentation = "github.com/quittance/quittance/store"

// span begins a span below that of ctx. Where there is none, or it is not recorded, there is
// nothing to begin and nothing to pay.
func span(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, trace.SpanFromContext(context.Background())
	}
	return parent.TracerProvider().Tracer(instrumentation).Start(ctx, name)
}
