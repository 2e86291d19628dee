package api

import (
	"context"
	"net/http"
	"net/netip"
	"slices"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// tracing gives each request a span: that of its route, since the path may hold a session id.
type tracing struct {
	tracer  trace.Tracer
	proxies []netip.Prefix
}

func newTracing(by trace.TracerProvider, trusted []string) *tracing {
	t := &tracing{tracer: by.Tracer("github.com/quittance/quittance/api")}
	for _, text := range trusted { // which gin has checked
		if p, err := netip.ParsePrefix(text); err == nil {
			t.proxies = append(t.proxies, p)
		} else if a, err := netip.ParseAddr(text); err == nil {
			t.proxies = append(t.proxies, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return t
}

func (t *tracing) trace(c *gin.Context) {
	ctx, span := t.begin(c)
	defer span.End()
	c.Request = c.Request.WithContext(ctx)
	c.Next()

	status := c.Writer.Status()
	span.SetAttributes(semconv.HTTPResponseStatusCode(status), attribute.String("quittance.request.id", c.Writer.Header().Get(requestIDHeader)))
	if id := c.Writer.Header().Get(operationHeader); id != "" {
		span.SetAttributes(attribute.String("quittance.operation.id", id))
	}
	if ours := c.Errors.Last(); ours != nil {
		span.RecordError(ours.Err)
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
}

// begin begins the span of a request. It goes on with the caller's trace only where one of our
// own proxies brings it: anybody else could have us keep traces without end, or mix theirs with
// those of others. Theirs is linked.
func (t *tracing) begin(c *gin.Context) (context.Context, trace.Span) {
	ctx, name := c.Request.Context(), methodOf(c.Request)
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(semconv.HTTPRequestMethodKey.String(name)),
	}
	if route := c.FullPath(); route != "" {
		name += " " + route
		options = append(options, trace.WithAttributes(semconv.HTTPRoute(route)))
	}
	called := propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(c.Request.Header))
	if t.trusts(c.RemoteIP()) {
		ctx = called
	} else if s := trace.SpanContextFromContext(called); s.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: s}))
	}
	return t.tracer.Start(ctx, name, options...)
}

func (t *tracing) trusts(peer string) bool {
	address, err := netip.ParseAddr(peer)
	return err == nil && slices.ContainsFunc(t.proxies, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
}

// methodOf is the request's method, or what the conventions have for one that nobody knows.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "_OTHER"
}
