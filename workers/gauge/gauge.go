// Package gauge shows what no process knows by itself: how much waits in the broker's queues,
// and what the whole database says about money that waits, the ledger, dead letters and standbys.
//
// Every process that runs this worker asks the broker: a queue's level is the same for all of
// them. The database is read by one, which keeps the watch; when it ends or loses its connection
// another takes over within seconds, and meanwhile nobody shows anything. What could not be read
// is not shown: an alert can tell silence from zero, and nothing could tell an old value from a
// new one.
//
// A reading is a few looks into small indexes, the sum of all balances aside; however long one
// takes, the next waits twenty times as long, so that the database has no more than a twentieth
// of one connection's work by all of this.
package gauge

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers"
)

const (
	often    = 5 * time.Second
	seldom   = time.Minute      // for what reads a whole table
	patience = 15 * time.Second // longer than the database's own: a reading that it ends does not cost the connection
	share    = 20               // of the time is not spent on reading, for each one that is
)

// books is what this worker needs of the store.
type books interface {
	KeepWatch(context.Context) (*store.Watch, error)
}

// levels is what it needs of the broker.
type levels interface {
	Levels(ctx context.Context, queues ...string) ([]queue.Level, error)
	Changed() <-chan struct{} // closed when the broker may have come or gone
}

type worker struct {
	books   books
	levels  levels
	log     *slog.Logger
	metrics *Metrics

	often, seldom time.Duration // between two readings
}

// New returns the worker: one part looks at the broker, the other at the database.
func New(b books, q levels, log *slog.Logger, m *Metrics) []workers.Worker {
	w := &worker{books: b, levels: q, log: log.With("worker", "gauge"), metrics: m, often: often, seldom: seldom}
	return []workers.Worker{{Name: "gauge queues", Run: w.watchQueues}, {Name: "gauge books", Run: w.watchBooks}}
}

// watchQueues shows the levels of all queues.
func (w *worker) watchQueues(ctx context.Context) error {
	defer w.metrics.queues.hide()
	var all []string
	for _, work := range queue.WorkQueues {
		all = append(all, work, queue.DeadQueue(work))
	}
	rungs := make(map[string]bool)
	for _, rung := range queue.RungQueues() {
		rungs[rung] = true
	}
	all = append(all, queue.RungQueues()...)
	r := reading{name: "queues", every: w.often, shown: &w.metrics.queues, read: func(ctx context.Context) ([]prometheus.Metric, error) {
		found, err := w.levels.Levels(ctx, all...)
		return ofQueues(found, rungs), err
	}}
	for ctx.Err() == nil {
		changed := w.levels.Changed()
		w.take(ctx, &r)
		pause(ctx, r.due, changed)
	}
	return nil
}

// watchBooks shows what the database says while this process keeps the watch. A database that is
// away is asked again, as often as a watch that another process keeps.
func (w *worker) watchBooks(ctx context.Context) error {
	for ctx.Err() == nil {
		watch, err := w.books.KeepWatch(ctx)
		switch {
		case err == nil && watch != nil:
			w.keep(ctx, watch)
		case err != nil && ctx.Err() == nil:
			w.log.Warn("watch not begun", "error", err)
		}
		pause(ctx, time.Now().Add(w.often), nil)
	}
	return nil
}

// keep keeps the watch until ctx ends or the watch is over. What was shown is hidden before
// anybody else may begin.
func (w *worker) keep(ctx context.Context, watch *store.Watch) {
	defer watch.End()
	all := w.readings(watch)
	defer func() {
		for _, r := range all {
			r.shown.hide()
		}
	}()
	w.log.Info("watch begun")
	for !watch.Over() {
		next := slices.MinFunc(all, func(a, b *reading) int { return a.due.Compare(b.due) })
		pause(ctx, next.due, nil)
		if ctx.Err() != nil {
			return
		}
		w.take(ctx, next)
	}
	w.log.Warn("watch lost")
}

// reading is one look at something, and when it is to be taken again.
type reading struct {
	name  string
	every time.Duration
	shown *shown
	read  func(context.Context) ([]prometheus.Metric, error)
	due   time.Time
}

// readings are all that the watch looks at. The ledger comes first: it says which currencies
// there are.
func (w *worker) readings(watch *store.Watch) []*reading {
	var currencies []money.Currency
	m := w.metrics
	return []*reading{
		{name: "ledger", every: w.seldom, shown: &m.ledger, read: func(ctx context.Context) ([]prometheus.Metric, error) {
			sums, err := watch.Imbalances(ctx)
			if err == nil {
				currencies = currenciesOf(sums)
			}
			return ofLedger(sums), err
		}},
		{name: "money", every: w.often, shown: &m.money, read: func(ctx context.Context) ([]prometheus.Metric, error) {
			found, err := watch.MoneyWaiting(ctx)
			return ofMoney(found, currencies), err
		}},
		{name: "kept", every: w.often, shown: &m.kept, read: func(ctx context.Context) ([]prometheus.Metric, error) {
			k, err := watch.Kept(ctx)
			return ofKept(k), err
		}},
		{name: "replication", every: w.often, shown: &m.replication, read: func(ctx context.Context) ([]prometheus.Metric, error) {
			r, err := watch.Replication(ctx)
			return ofReplication(r), err
		}},
	}
}

func currenciesOf(sums []money.Amount) (all []money.Currency) {
	for _, s := range sums {
		all = append(all, s.Currency)
	}
	return all
}

// take takes a reading and shows it until the one after the next should have replaced it; one
// that fails is hidden at once.
func (w *worker) take(ctx context.Context, r *reading) {
	began := time.Now()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := r.read(bounded)
	wait := max(r.every, share*time.Since(began))
	r.due = time.Now().Add(wait)
	switch {
	case err == nil:
		r.shown.show(found, r.due.Add(wait+patience))
	case errors.Is(err, queue.ErrNotConnected): // which the connection itself says
		r.shown.hide()
	case ctx.Err() == nil:
		r.shown.hide()
		w.log.Warn("gauges not read", "of", r.name, "error", err)
	}
}

// pause waits until then, until sooner is closed, or until ctx ends.
func pause(ctx context.Context, then time.Time, sooner <-chan struct{}) {
	timer := time.NewTimer(time.Until(then))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-sooner:
	case <-timer.C:
	}
}
