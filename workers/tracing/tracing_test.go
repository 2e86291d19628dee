package tracing_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/workers/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"

// Off is no provider at all: nothing can be spent on what is not there.
func TestWhenThereIsTracing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		environ map[string]string
		on      bool
		problem string
	}{
		{name: "nobody takes traces"},
		{name: "only a name is set", environ: map[string]string{"OTEL_SERVICE_NAME": "x"}},
		{name: "an endpoint", environ: map[string]string{endpoint: "http://127.0.0.1:4318"}, on: true},
		{name: "an endpoint of traces", environ: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/x"}, on: true},
		{name: "the SDK is disabled", environ: map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "TRUE"}},
		{name: "traces are not exported", environ: map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "none"}},
		{name: "another exporter", environ: map[string]string{endpoint: "http://127.0.0.1:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, problem: "OTEL_TRACES_EXPORTER"},
		{name: "another protocol", environ: map[string]string{endpoint: "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, problem: "OTEL_EXPORTER_OTLP_PROTOCOL"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			by, end, err := tracing.Start(t.Context(), "test", row.environ, quiet)
			if row.problem != "" {
				if err == nil || !strings.Contains(err.Error(), row.problem) {
					t.Errorf("%v, want an error about %s", err, row.problem)
				}
				return
			}
			if err != nil || (by != nil) != row.on {
				t.Fatalf("the provider is %v (%v), want one: %v", by, err, row.on)
			}
			end()
		})
	}
}

// The process's end sends what is left, with the service's name, to where the standard's
// variables say; OTEL_SERVICE_NAME has the last word.
func TestWhatIsLeftIsSentByOTLP(t *testing.T) {
	for name, want := range map[string]string{"": "quittance-test", "ours": "ours"} {
		got := make(chan []byte, 1)
		collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // whatever arrived
			if r.URL.Path == "/v1/traces" && r.Header.Get("Content-Type") == "application/x-protobuf" {
				got <- body
			}
		}))
		t.Setenv(endpoint, collector.URL)
		t.Setenv("OTEL_SERVICE_NAME", name)
		by, end, err := tracing.Start(t.Context(), "quittance-test", map[string]string{endpoint: collector.URL}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		_, span := by.Tracer("test").Start(context.Background(), "a span of a test")
		span.End()
		end()
		select {
		case body := <-got:
			if !bytes.Contains(body, []byte(want)) || !bytes.Contains(body, []byte("a span of a test")) {
				t.Errorf("sent %q, want the service %s and its span", body, want)
			}
		default:
			t.Error("nothing was sent")
		}
		collector.Close()
	}
}
