package api_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/quittance/quittance/api"
)

const (
	theirTrace  = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + theirTrace + "-b7ad6b7169203331-01"
)

func TestTheTraceOfARequest(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, method, path, header string
		proxies                    []string
		span                       string
		goesOn, links              bool
	}{
		{name: "a request begins a trace, and shows its route only", method: "GET", path: "/things/secret", span: "GET /things/:id"},
		{name: "a stranger's trace is linked", method: "GET", path: "/things/secret", header: traceparent, span: "GET /things/:id", links: true},
		{name: "a proxy's trace goes on", method: "GET", path: "/things/secret", header: traceparent, proxies: []string{"192.0.2.0/24"}, span: "GET /things/:id", goesOn: true},
		{name: "one address is trusted", method: "GET", path: "/things/secret", header: traceparent, proxies: []string{"192.0.2.1"}, span: "GET /things/:id", goesOn: true},
		{name: "others are trusted", method: "GET", path: "/things/secret", header: traceparent, proxies: []string{"10.0.0.0/8"}, span: "GET /things/:id", links: true},
		{name: "what is no trace is ignored", method: "GET", path: "/things/secret", header: "00-0-0-01", span: "GET /things/:id"},
		{name: "an address that is none of ours", method: "POST", path: "/secret", span: "POST"},
		{name: "a method that nobody knows", method: "SECRET", path: "/things/secret", span: "_OTHER"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			var log bytes.Buffer
			handler, err := api.New(api.Config{
				Log: slog.New(slog.NewJSONHandler(&log, nil)), Metrics: api.NewMetrics(), TrustedProxies: row.proxies,
				Traces: sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)),
			}, api.API{Prefix: "/things", Mistake: 400, Shape: api.PlainShape, Routes: []api.Route{
				{Method: "GET", Path: "/things/:id", Handle: func(c *gin.Context) error { c.Status(http.StatusNoContent); return nil }},
			}})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(row.method, row.path, nil) // from 192.0.2.1
			if row.header != "" {
				r.Header.Set("traceparent", row.header)
			}
			handler.ServeHTTP(httptest.NewRecorder(), r)

			ended := spans.Ended()
			if len(ended) != 1 || ended[0].Name() != row.span {
				t.Fatalf("the spans are %v, want one, %q", ended, row.span)
			}
			s, trace := ended[0], ended[0].SpanContext().TraceID().String()
			if goesOn, links := trace == theirTrace, len(s.Links()) == 1; goesOn != row.goesOn || links != row.links {
				t.Errorf("it goes on: %v, it links: %v, want %v and %v", goesOn, links, row.goesOn, row.links)
			}
			for _, a := range s.Attributes() {
				if strings.Contains(strings.ToLower(a.Value.String()), "secret") {
					t.Errorf("the span shows %s=%s", a.Key, a.Value.String())
				}
			}
			if !strings.Contains(log.String(), `"trace":"`+trace+`"`) {
				t.Errorf("the log does not name the trace %s: %s", trace, log.String())
			}
		})
	}
}
