// Package tracing sends a process's traces to whom OpenTelemetry's own variables name, by OTLP
// over HTTP. Where they name nobody nothing is traced: there is no provider, and so no span, no
// header, no goroutine.
//
// Spans wait in memory for a few seconds. The known hole: what waits when a process is killed,
// or does not fit while nobody takes them, is lost. Traces are for looking at; nothing rests on
// them.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// flushTime bounds what the end of a process waits for whoever takes the traces.
const flushTime = 5 * time.Second

// Start returns the provider of spans of the service with this name, unless OTEL_SERVICE_NAME
// has another, and what ends it: whoever ended the last span calls end, which sends what is left.
// The provider is nil where environ has nothing traced.
//
// environ only decides that: all the rest the SDK reads from the environment by itself.
func Start(ctx context.Context, service string, environ map[string]string, log *slog.Logger) (by trace.TracerProvider, end func(), err error) {
	on, err := wanted(environ)
	if err != nil || !on {
		return nil, func() {}, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("tracing", "error", err) }))
	return To(ctx, exporter, service, log)
}

// To is Start with an exporter that is there, whatever the environment says.
func To(ctx context.Context, exporter sdk.SpanExporter, service string, log *slog.Logger) (trace.TracerProvider, func(), error) {
	of, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName(service)), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("tracing: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(of))
	end := func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushTime)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last traces are lost", "error", err)
		}
	}
	return provider, end, nil
}

// wanted says whether somebody takes traces. What is set and not understood is said, and not
// taken for off.
func wanted(environ map[string]string) (bool, error) {
	disabled := strings.EqualFold(environ["OTEL_SDK_DISABLED"], "true") || environ["OTEL_TRACES_EXPORTER"] == "none"
	if disabled || environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "" && environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "" {
		return false, nil
	}
	if e := environ["OTEL_TRACES_EXPORTER"]; e != "" && e != "otlp" {
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: there are otlp and none", e)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := environ[name]; p != "" && p != "http/protobuf" {
			return false, fmt.Errorf("%s is %q: there is http/protobuf, usually at port 4318", name, p)
		}
	}
	return true, nil
}
