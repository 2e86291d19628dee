// Package payment pays invoices from wallet to wallet, in sets.
//
// Nothing outside the database takes part, so an attempt either commits as a whole or did
// not happen; a message that comes again finds its operation final and does nothing. Only
// faults of a single message use up its attempts: while the database is down the messages
// wait.
package payment

import (
	"context"
	"log/slog"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// payments is what this worker needs of the store.
type payments interface {
	PayInvoices(context.Context, []store.Ref) ([]store.Outcome, error)
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

// New returns the worker of the queue payments.
func New(p payments, c *queue.Connection, log *slog.Logger, m *workers.Metrics) workers.Worker {
	sets := &workers.Sets{
		Attempts: workers.Attempts{
			Queue: queue.Payments, Ladder: workers.MoneyLadder, Retry: p.RetryOperation, Probe: p.Ready,
			Log: log, Metrics: m,
		},
		Settle: p.PayInvoices,
	}
	return sets.Worker("payment", c)
}
