// Package schedule looks again at whatever is not final by the time it was due.
//
// RabbitMQ is transport: a message, a queue or the whole broker may be lost. The rows are
// not, and each open one says when it should have been dealt with. What is late without a
// backlog to explain it is enqueued again; the copy that was thought lost is stale if it
// turns up.
package schedule

import (
	"context"
	"log/slog"
	"time"

	"github.com/quittance/quittance/workers"
)

const (
	interval  = time.Second
	batchSize = 500
)

// due is what this worker needs of the store.
type due interface {
	Queues() []string // those with operations
	EnqueueDue(ctx context.Context, queue string, depth, limit int) (int, error)
}

// depths is what it needs of the broker.
type depths interface {
	Depth(ctx context.Context, queue string) (int, error)
}

// worker enqueues again what is due.
type worker struct {
	due     due
	depths  depths
	log     *slog.Logger
	metrics *Metrics
}

// New returns the worker.
func New(d due, q depths, log *slog.Logger, m *Metrics) workers.Worker {
	w := &worker{due: d, depths: q, log: log.With("worker", "schedule"), metrics: m}
	return workers.Worker{Name: "schedule", Run: w.run}
}

func (w *worker) run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for _, q := range w.due.Queues() {
			w.runOnce(ctx, q)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// runOnce looks after one queue. While the broker cannot say how much waits in it, nothing
// is enqueued: the outbox would only grow.
func (w *worker) runOnce(ctx context.Context, name string) {
	for ctx.Err() == nil {
		depth, err := w.depths.Depth(ctx, name)
		if err != nil {
			w.log.Debug("schedule", "queue", name, "error", err)
			return
		}
		n, err := w.due.EnqueueDue(ctx, name, depth, batchSize)
		if ctx.Err() != nil {
			return // told to stop in the middle of it: that is no error
		}
		if err != nil {
			w.log.Error("schedule", "queue", name, "error", err)
			return
		}
		if n > 0 {
			w.log.Warn("enqueued again", "queue", name, "operations", n)
			w.metrics.again.WithLabelValues(name).Add(float64(n))
		}
		if n < batchSize {
			return
		}
	}
}
