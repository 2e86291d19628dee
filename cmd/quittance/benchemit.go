package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/relay"
)

// withEmitter gives f a store whose outbox this process relays, as api and worker do with
// theirs: what f commits is on its way at once.
func (b *bench) withEmitter(ctx context.Context, f func(*store.Store) error) error {
	file, err := os.Create(filepath.Join(b.root, ".local", "log", "bench-emitter.log"))
	if err != nil {
		return err
	}
	defer file.Close()
	log := slog.New(slog.NewJSONHandler(file, nil))
	o := &operator{environ: b.environ}
	return o.withStore(ctx, func(s *store.Store) error {
		connection := queue.Connect(b.environ["AMQP_URL"], "bench publisher", log, queue.NewMetrics())
		defer workers.Begin(log, workers.Worker{Name: "connection", Run: connection.Run})()
		publisher := queue.NewPublisher(connection)
		defer workers.Begin(log, workers.Worker{Name: "publisher", Run: publisher.Run})()
		relayed := relay.New(s, publisher, log, relay.NewMetrics())
		s.OnOutbox(relayed.Wake)
		defer workers.Begin(log, workers.Worker{Name: "relay", Run: relayed.Run})()
		return f(s)
	})
}
