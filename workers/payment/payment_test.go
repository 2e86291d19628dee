package payment_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/payment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a store that goes away when its worker has taken messages, until told.
type watched struct {
	*storetest.DB
	taken   chan int      // how many messages were handed over while it was away
	back    chan struct{} // closed when it is back
	settled chan []store.Outcome
}

func (w *watched) PayInvoices(ctx context.Context, refs []store.Ref) ([]store.Outcome, error) {
	select {
	case <-w.back:
	default:
		w.taken <- len(refs)
		return nil, store.ErrUnavailable
	}
	outcomes, err := w.DB.PayInvoices(ctx, refs)
	w.settled <- outcomes
	return outcomes, err
}

func (w *watched) Ready(context.Context) error {
	select {
	case <-w.back:
	default:
		if len(w.taken) > 0 {
			return errors.New("away")
		}
	}
	return nil
}

func TestAMessageIsHeldThroughAnOutageAndPaysOnce(t *testing.T) {
	t.Parallel()
	broker := queuetest.New(t)
	w := &watched{DB: storetest.New(t), taken: make(chan int, 100), back: make(chan struct{}), settled: make(chan []store.Outcome, 10)}
	payer, shop := w.Account(100), w.Account(0)
	ref := w.Accepted(payer, shop, 7)
	worker := payment.New(w, queuetest.Connect(t, broker), slog.New(slog.NewTextHandler(io.Discard, nil)), workers.NewMetrics())
	queuetest.Run(t, worker.Run)

	copies := make([]queuetest.Publishing, 2)
	for i := range copies {
		copies[i].Body = fmt.Appendf(nil, `{"id":"%s","seq":%d}`, ref.ID, ref.Seq)
	}
	queuetest.Publish(t, broker, "commands", queue.Payments, copies...)
	queuetest.AwaitDepth(t, broker, queue.Payments, 0) // the worker has them, and the database is away
	close(w.back)

	paid := 0
	for got := 0; got < len(copies); {
		select {
		case outcomes := <-w.settled:
			for _, o := range outcomes {
				got++
				if o.Status == store.Succeeded {
					paid++
				}
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the messages were not handed over again")
		}
	}
	if paid != 1 || w.Balance(shop) != 7 {
		t.Errorf("paid %d times, the shop has %d; want once and 7", paid, w.Balance(shop))
	}
	w.CheckInvariants()
}
