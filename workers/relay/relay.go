// Package relay publishes what the outbox holds: the one way by which a message leaves.
//
// Every process that commits outbox rows runs a relay and wakes it after the commit; a
// slow tick finds what a process that died left behind. So the path of every day is the
// path of recovery too. A row is deleted only after the broker has confirmed its message,
// in the transaction that holds the row; whatever breaks in between makes a duplicate,
// which is stale when it comes, and never a loss.
package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

const (
	batchSize = 500
	loops     = 2                    // one claims while the other waits for confirms
	linger    = 2 * time.Millisecond // after a wake-up, for more rows to arrive
	slowTick  = time.Second
)

// outbox is what this worker needs of the store.
type outbox interface {
	RelayOutbox(context.Context, int, func(context.Context, []store.OutboxRow) []error) (store.Relayed, error)
	Outbox(context.Context) (store.OutboxState, error)
}

// publisher is what it needs of the broker.
type publisher interface {
	Ready() bool
	Changed() <-chan struct{} // closed when Ready may have changed
	Publish(context.Context, []queue.Publication) []error
}

// Relay moves rows from the outbox to the broker.
type Relay struct {
	outbox    outbox
	publisher publisher
	log       *slog.Logger
	metrics   *Metrics
	woken     chan struct{}
}

// New returns a relay that has not started yet.
func New(o outbox, p publisher, log *slog.Logger, m *Metrics) *Relay {
	return &Relay{outbox: o, publisher: p, log: log, metrics: m, woken: make(chan struct{}, loops)}
}

// Wake says that rows were committed. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.woken <- struct{}{}:
	default: // enough wake-ups are pending
	}
}

// Run relays until ctx ends and the batches under way are done.
func (r *Relay) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range loops {
		running.Go(func() { r.loop(ctx) })
	}
	running.Go(func() { r.watch(ctx) })
	running.Wait()
	return nil
}

// loop claims only while the publisher is ready: an outage leaves the rows where they are.
func (r *Relay) loop(ctx context.Context) {
	tick := time.NewTicker(slowTick)
	defer tick.Stop()
	for ctx.Err() == nil {
		changed := r.publisher.Changed()
		if r.publisher.Ready() && r.runOnce(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-tick.C:
		case <-r.woken:
			time.Sleep(linger)
		}
	}
}

// runOnce relays one batch, and says whether there may be more at once. A batch that was
// begun is finished even while the process stops.
func (r *Relay) runOnce(ctx context.Context) (more bool) {
	done, err := r.outbox.RelayOutbox(context.WithoutCancel(ctx), batchSize, r.publish)
	if err != nil {
		r.log.Error("relay", "error", err)
		return false
	}
	if done.Postponed > 0 {
		r.log.Warn("relay", "published", done.Published, "postponed", done.Postponed)
	}
	return done.Published+done.Postponed == batchSize
}

func (r *Relay) publish(ctx context.Context, rows []store.OutboxRow) []error {
	batch := make([]queue.Publication, len(rows))
	for i, row := range rows {
		batch[i] = queue.Publication{Queue: row.Queue, Delay: row.Delay, ID: row.MessageID.String(), Seq: row.Seq, Type: row.Type, Trace: row.Trace}
	}
	return r.publisher.Publish(ctx, batch)
}

// watch keeps the gauges of the outbox.
func (r *Relay) watch(ctx context.Context) {
	tick := time.NewTicker(5 * slowTick)
	defer tick.Stop()
	for {
		if state, err := r.outbox.Outbox(ctx); err == nil {
			r.metrics.rows.Set(float64(state.Rows))
			r.metrics.oldest.Set(state.Oldest.Seconds())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
