// Package recharge commits, rolls back and expires recharges, and books late money into
// suspense, in sets.
//
// As with payments, nothing outside the database takes part: an attempt either commits as
// a whole or did not happen, and a message that comes again does nothing. Only faults of a
// single message use up its attempts.
package recharge

import (
	"context"
	"log/slog"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// recharges is what this worker needs of the store.
type recharges interface {
	SettleRecharges(context.Context, []store.Ref) ([]store.Outcome, error)
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

// New returns the worker of the queue recharges.
func New(r recharges, c *queue.Connection, log *slog.Logger, m *workers.Metrics) workers.Worker {
	sets := &workers.Sets{
		Attempts: workers.Attempts{
			Queue: queue.Recharges, Ladder: workers.MoneyLadder, Retry: r.RetryOperation, Probe: r.Ready,
			Log: log, Metrics: m,
		},
		Settle: r.SettleRecharges,
	}
	return sets.Worker("recharge", c)
}
