package workers

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// attempt is what is done about a message: under which seq of its operation, and in which span.
type attempt struct {
	store.Ref
	span trace.Span // one that records nothing where nothing is traced
}

// begin begins an attempt. What follows from it goes on from its span.
func (a *Attempts) begin(ctx context.Context, m queue.Message, ref store.Ref) (context.Context, attempt) {
	if a.tracer == nil {
		return ctx, attempt{Ref: ref, span: trace.SpanFromContext(context.Background())}
	}
	ctx, span := m.BeginSpan(ctx, a.tracer)
	header := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, header)
	ref.Trace = header[queue.HeaderTrace]
	return ctx, attempt{Ref: ref, span: span}
}

// traced adds the trace to a line of the log, where there is one.
func (at attempt) traced(line ...any) []any {
	if s := at.span.SpanContext(); s.IsValid() {
		line = append(line, "trace", s.TraceID().String())
	}
	return line
}

// came says in the span what the attempt came to; cause is why it came to nothing, or nil.
func (at attempt) came(outcome string, cause error) {
	if !at.span.IsRecording() {
		return
	}
	at.span.SetAttributes(attribute.String("quittance.outcome", outcome))
	fail(at.span, cause)
}

// fail records an error in a span.
func fail(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}

// beginSettling begins the span in which a set is settled. It is below its first message's, and
// those of the others link to it: a span has one parent.
func (s *Sets) beginSettling(ctx context.Context, set []member) (context.Context, trace.Span) {
	if s.tracer == nil {
		return ctx, set[0].span
	}
	ctx, span := s.tracer.Start(trace.ContextWithSpan(ctx, set[0].span), "settle "+s.Queue,
		trace.WithAttributes(attribute.Int("messaging.batch.message_count", len(set))))
	for _, m := range set[1:] {
		m.span.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	return ctx, span
}
