// Package schedule looks again at whatever is not final by the time it was due.
//
// RabbitMQ is transport: a message, a queue or the whole broker may be lost. The rows are
// not, and each open one says when it should have been dealt with. What is late without a
// backlog to explain it is enqueued again; the copy that was thought lost is stale if it
// turns up.
//
// It also begins what nobody asks for: the expiry of recharges that were not committed, and
// of payments that were not confirmed or completed, in time; the charges of subscriptions
// that are due, and their end; the release of callbacks whose endpoints are enabled again;
// forgetting tokens, failed logins, sessions, leases and callbacks that are long past. Each step
// is bounded and may be taken by any number of processes at once.
package schedule

import (
	"context"
	"log/slog"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/workers"
)

const (
	interval       = time.Second
	forgetInterval = time.Minute
	batchSize      = 500
)

// books is what this worker needs of the store.
type books interface {
	Queues() []string // those with operations
	EnqueueDue(ctx context.Context, queue string, depth, limit int) (int, error)
	ExpireRecharges(ctx context.Context, limit int) (int, error)
	ExpirePayments(ctx context.Context, limit int) (int, error)
	ChargeSubscriptions(ctx context.Context, limit int) (int, error)
	EndSubscriptions(ctx context.Context, limit int) (int, error)
	ReleaseCallbacks(ctx context.Context, limit int) (int, error)
	Forget(ctx context.Context, limit int) (int, error)
}

// depths is what it needs of the broker.
type depths interface {
	Depth(ctx context.Context, queue string) (int, error)
}

type worker struct {
	books   books
	depths  depths
	log     *slog.Logger
	metrics *Metrics
}

// New returns the worker.
func New(b books, q depths, log *slog.Logger, m *Metrics) workers.Worker {
	w := &worker{books: b, depths: q, log: log.With("worker", "schedule"), metrics: m}
	return workers.Worker{Name: "schedule", Run: w.run}
}

func (w *worker) run(ctx context.Context) error {
	tick, forget := time.NewTicker(interval), time.NewTicker(forgetInterval)
	defer tick.Stop()
	defer forget.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-forget.C:
			w.inSteps(ctx, "forget what is over", w.books.Forget)
		}
	}
}

// look sees to everything that is due by now. Subscriptions end before they are charged.
func (w *worker) look(ctx context.Context) {
	w.inSteps(ctx, "expire recharges", w.whileThereIsRoom(queue.Recharges, w.books.ExpireRecharges))
	w.inSteps(ctx, "expire payments", w.whileThereIsRoom(queue.Cards, w.books.ExpirePayments))
	w.inSteps(ctx, "end subscriptions", w.books.EndSubscriptions)
	w.inSteps(ctx, "charge subscriptions", w.whileThereIsRoom(queue.Cards, w.books.ChargeSubscriptions))
	w.inSteps(ctx, "release callbacks", w.whileThereIsRoom(queue.CallbacksRetry, w.books.ReleaseCallbacks))
	for _, q := range w.books.Queues() {
		w.enqueueDue(ctx, q)
	}
}

// step does a bounded part of some work, and returns how much it did.
type step func(ctx context.Context, limit int) (int, error)

// crowded is how many messages of a queue are enough for what nobody asked for to wait:
// clients go first.
const crowded = 2 * batchSize

// whileThereIsRoom takes a step that fills a queue only while that has room for it, and the
// broker says so.
func (w *worker) whileThereIsRoom(name string, fill step) step {
	return func(ctx context.Context, limit int) (int, error) {
		depth, err := w.depths.Depth(ctx, name)
		if err != nil || depth >= crowded {
			w.log.Debug("schedule", "queue", name, "depth", depth, "error", err)
			return 0, nil
		}
		return fill(ctx, limit)
	}
}

// enqueueDue looks after one queue. While the broker cannot say how much waits in it,
// nothing is enqueued: the outbox would only grow.
func (w *worker) enqueueDue(ctx context.Context, name string) {
	n := w.inSteps(ctx, "enqueue again "+name, func(ctx context.Context, limit int) (int, error) {
		depth, err := w.depths.Depth(ctx, name)
		if err != nil {
			w.log.Debug("schedule", "queue", name, "error", err)
			return 0, nil
		}
		return w.books.EnqueueDue(ctx, name, depth, limit)
	})
	if n > 0 {
		w.log.Warn("enqueued again", "queue", name, "operations", n) // messages were lost, or whoever had them
		w.metrics.again.WithLabelValues(name).Add(float64(n))
	}
}

// inSteps takes bounded steps until there is nothing left to do, and returns how much was
// done.
func (w *worker) inSteps(ctx context.Context, what string, take step) (done int) {
	for ctx.Err() == nil {
		n, err := take(ctx, batchSize)
		if err != nil && ctx.Err() == nil { // told to stop in the middle of it: that is no error
			w.log.Error("schedule", "step", what, "error", err)
		}
		if err != nil {
			break
		}
		if done += n; n < batchSize {
			break
		}
	}
	if done > 0 {
		w.log.Info("schedule", "step", what, "rows", done)
	}
	return done
}
