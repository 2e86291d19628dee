package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/relay"
	"github.com/quittance/quittance/workers/tracing"
)

// run serves until ctx ends; then it answers what it has taken on, relays what that
// committed, and closes in reverse order.
func run(ctx context.Context, environ map[string]string) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	bank, err := cfg.acquirer()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	for _, warning := range cfg.Warnings() {
		log.Warn("a setting is unsafe in production", "setting", warning)
	}

	traces, endTraces, err := tracing.Start(ctx, "quittance-api", environ, log)
	if err != nil {
		return err
	}
	defer endTraces()

	books, err := store.Open(ctx, store.Config{
		URL: string(cfg.DatabaseURL), Secret: cfg.SecretKey, MaxConns: cfg.DatabaseConns, PublicURL: string(cfg.PublicURL), Grace: cfg.MessageGrace, Traces: traces,
	})
	if err != nil {
		return err
	}
	defer books.Close()

	m := newMetrics(books)
	connection := queue.Connect(string(cfg.AMQPURL), "api publisher", log, m.queue)
	connection.Trace(traces)
	defer workers.Begin(log, workers.Worker{Name: "connection", Run: connection.Run})()
	publisher := queue.NewPublisher(connection)
	defer workers.Begin(log, workers.Worker{Name: "publisher", Run: publisher.Run})()
	relayed := relay.New(books, publisher, log, m.relay)
	books.OnOutbox(relayed.Wake)
	defer workers.Begin(log, workers.Worker{Name: "relay", Run: relayed.Run})()

	waiter := api.NewWaiter(books, log, ctx.Done())
	admission := api.NewAdmission(books.OldestUntried, publisher.Ready, cfg.AdmissionAge)
	defer workers.Begin(log, workers.Worker{Name: "waiter", Run: waiter.Run}, workers.Worker{Name: "admission", Run: admission.Run})()

	apis, err := publicAPIs(cfg, books, waiter, admission, tokeniser{bank, m.acquirer})
	if err != nil {
		return err
	}
	handler, err := api.New(api.Config{CORSOrigins: cfg.CORSOrigins, TrustedProxies: cfg.TrustedProxies, Log: log, Metrics: m.api, Traces: traces}, apis...)
	if err != nil {
		return err
	}

	registry := m.registry()
	// The API is ready without the broker: what it accepts meanwhile waits in the outbox.
	monitor := workers.Worker{Name: "monitor", Run: func(ctx context.Context) error {
		return workers.Monitor(ctx, cfg.MonitorAddr, registry, workers.Check{Name: "postgresql", Test: books.Ready})
	}}
	defer workers.Begin(log, monitor, workers.Worker{Name: "database", Run: m.database.Run})()

	log.Info("api starts", "addr", cfg.HTTPAddr)
	return workers.Serve(ctx, cfg.HTTPAddr, handler)
}

// ready asks the api of the same environment whether it is ready: the health check of its
// image, which has no shell.
func ready(ctx context.Context, environ map[string]string) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	return workers.Ask(ctx, cfg.MonitorAddr, "/readyz")
}
