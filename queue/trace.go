package queue

import (
	"context"
	"maps"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// HeaderTrace is the header by which a message carries the span that published it: a W3C
// traceparent.
const HeaderTrace = "traceparent"

// Trace has a connection's messages traced: each is published in a span of its own, which its
// header names. It comes before Run. Without it, or with nil, no message has that header.
func (c *Connection) Trace(by trace.TracerProvider) {
	if by != nil {
		c.tracer = by.Tracer("github.com/quittance/quittance/queue")
	}
}

// Tracer is what Trace was given; nil without it.
func (c *Connection) Tracer() trace.Tracer { return c.tracer }

// Traced returns ctx below the span that published the message, where it carries one.
func (m Message) Traced(ctx context.Context) context.Context {
	return propagation.TraceContext{}.Extract(ctx, carrier(m.Headers))
}

// BeginSpan begins the span in which the message is worked on.
func (m Message) BeginSpan(ctx context.Context, by trace.Tracer) (context.Context, trace.Span) {
	return by.Start(m.Traced(ctx), "process "+m.Queue, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		semconv.MessagingSystemRabbitMQ, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
		semconv.MessagingDestinationName(m.Queue), semconv.MessagingMessageID(m.ID),
		attribute.String("quittance.operation.type", m.Type),
	))
}

// carrier is the headers of a message, as propagators read them.
type carrier map[string]any

func (c carrier) Get(name string) string {
	text, _ := c[name].(string)
	return text
}

func (c carrier) Set(name, value string) { c[name] = value }

func (c carrier) Keys() (names []string) {
	for name := range c {
		names = append(names, name)
	}
	return names
}

// beginSpans begins a span for each publication of a batch, and has it carry that. Where
// nothing is traced it returns the batch as it is.
func (c *Connection) beginSpans(ctx context.Context, batch []Publication) ([]Publication, []trace.Span) {
	if c.tracer == nil {
		return batch, nil
	}
	traced, spans := make([]Publication, len(batch)), make([]trace.Span, len(batch))
	for i, p := range batch {
		from := propagation.TraceContext{}.Extract(ctx, carrier{HeaderTrace: p.Trace})
		within, span := c.tracer.Start(from, "publish "+p.Queue, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			semconv.MessagingSystemRabbitMQ, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("publish"),
			semconv.MessagingDestinationName(p.exchange()), semconv.MessagingRabbitMQDestinationRoutingKey(p.Queue),
			semconv.MessagingMessageID(p.ID), attribute.String("quittance.operation.type", p.Type),
		))
		p.Headers = maps.Clone(p.Headers)
		if p.Headers == nil {
			p.Headers = make(map[string]any, 1)
		}
		propagation.TraceContext{}.Inject(within, carrier(p.Headers))
		traced[i], spans[i] = p, span
	}
	return traced, spans
}

// endSpans ends the spans of a batch with what became of it.
func endSpans(spans []trace.Span, results []error) {
	for i, span := range spans {
		if err := results[i]; err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
