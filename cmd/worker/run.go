package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/callback"
	"github.com/quittance/quittance/workers/card"
	"github.com/quittance/quittance/workers/deadletter"
	"github.com/quittance/quittance/workers/gauge"
	"github.com/quittance/quittance/workers/payment"
	"github.com/quittance/quittance/workers/push"
	"github.com/quittance/quittance/workers/receipt"
	"github.com/quittance/quittance/workers/recharge"
	"github.com/quittance/quittance/workers/relay"
	"github.com/quittance/quittance/workers/schedule"
	"github.com/quittance/quittance/workers/tracing"
)

// run works until ctx ends; then each worker finishes what it holds, and everything is
// closed in reverse order.
func run(ctx context.Context, names []string, environ map[string]string) error {
	return runTraced(ctx, names, environ, tracing.Start)
}

// startTracing is how tracing is started: tracing.Start, but for tests.
type startTracing func(ctx context.Context, service string, environ map[string]string, log *slog.Logger) (trace.TracerProvider, func(), error)

func runTraced(ctx context.Context, names []string, environ map[string]string, start startTracing) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	out, err := cfg.outside(ctx)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	for _, warning := range cfg.Warnings() {
		log.Warn("a setting is unsafe in production", "setting", warning)
	}

	traces, endTraces, err := start(ctx, "quittance-worker", environ, log)
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

	// Publishing and consuming have connections of their own: a broker that blocks
	// publishers must not keep anybody from acknowledging.
	m := newMetrics(books)
	publishing := queue.Connect(string(cfg.AMQPURL), "worker publisher", log, m.queue)
	publishing.Trace(traces)
	defer workers.Begin(log, workers.Worker{Name: "publishing", Run: publishing.Run})()
	publisher := queue.NewPublisher(publishing)
	defer workers.Begin(log, workers.Worker{Name: "publisher", Run: publisher.Run})()
	consuming := queue.Connect(string(cfg.AMQPURL), "worker consumer", log, m.queue)
	consuming.Trace(traces)
	defer workers.Begin(log, workers.Worker{Name: "consuming", Run: consuming.Run})()

	relayed := relay.New(books, publisher, log, m.relay)
	books.OnOutbox(relayed.Wake)
	defer workers.Begin(log, workers.Worker{Name: "relay", Run: relayed.Run})()

	chosen, err := choose(kinds(cfg, books, out, consuming, log, m), names)
	if err != nil {
		return err
	}

	registry := m.registry()
	monitor := workers.Worker{Name: "monitor", Run: func(ctx context.Context) error {
		return workers.Monitor(ctx, cfg.MonitorAddr, registry,
			workers.Check{Name: "postgresql", Test: books.Ready},
			workers.Check{Name: "rabbitmq", Test: func(context.Context) error { return connected(publisher, consuming) }})
	}}
	defer workers.Begin(log, monitor, workers.Worker{Name: "database", Run: m.database.Run})()

	log.Info("worker runs", "workers", len(chosen))
	workers.Run(ctx, log, chosen...)
	return nil
}

// kinds builds all workers, by the names that a command line has for them.
func kinds(cfg config, books *store.Store, out outside, consuming *queue.Connection, log *slog.Logger, m *metrics) map[string][]workers.Worker {
	calling := card.Config{Timeout: cfg.AcquirerTimeout, NotifyURL: cfg.notifyURL()}
	return map[string][]workers.Worker{
		"payment":    {payment.New(books, consuming, log, m.workers)},
		"card":       {card.New(books, out.bank, calling, consuming, log, m.workers, m.card)},
		"recharge":   {recharge.New(books, consuming, log, m.workers)},
		"callback":   callback.New(books, cfg.callback(), consuming, log, m.workers, m.callback),
		"receipt":    {receipt.New(books, out.mailer, consuming, log, m.workers)},
		"push":       {push.New(books, out.pusher, consuming, log, m.workers, m.push)},
		"schedule":   {schedule.New(books, consuming, log, m.schedule)},
		"deadletter": deadletter.New(books, consuming, log, m.deadletter),
		"gauge":      gauge.New(books, consuming, log, m.gauge),
	}
}

// choose picks the named kinds of workers, or all of them.
func choose(kinds map[string][]workers.Worker, names []string) (chosen []workers.Worker, err error) {
	var known []string
	for name := range kinds {
		known = append(known, name)
	}
	slices.Sort(known)
	if len(names) == 0 {
		names = known
	}
	for _, name := range names {
		kind, ok := kinds[name]
		if !ok {
			return nil, fmt.Errorf("there is no worker %q: there are %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, kind...)
	}
	return chosen, nil
}

var errNotConnected = errors.New("not connected, or blocked by an alarm")

func connected(p *queue.Publisher, c *queue.Connection) error {
	if !p.Ready() || !c.Ready() {
		return errNotConnected
	}
	return nil
}

// ready asks the worker of the same environment whether it is ready: the health check of its
// image, which has no shell.
func ready(ctx context.Context, environ map[string]string) error {
	cfg, err := readConfig(environ)
	if err != nil {
		return err
	}
	return workers.Ask(ctx, cfg.MonitorAddr, "/readyz")
}
