package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/deadletter"
	"github.com/quittance/quittance/workers/relay"
	"github.com/quittance/quittance/workers/schedule"
)

// ward is where payments fall ill: a database and a broker, with workers that reach the database
// by way of a proxy which can cut.
type ward struct {
	*storetest.DB
	t      *testing.T
	broker string
	faults *storetest.Faults
	books  *store.Store // of the workers, but for that of dead letters
	shelf  *store.Store // of that
	log    *slog.Logger

	shelfFaults *storetest.Faults
	consuming   *queue.Connection

	mu  sync.Mutex
	ill map[store.OperationID]func() error // what happens instead of a payment

	payer, shop storetest.Account
}

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{DB: storetest.New(t), t: t, broker: queuetest.New(t), log: slog.New(slog.DiscardHandler), ill: make(map[store.OperationID]func() error)}
	w.faults, w.shelfFaults = storetest.NewFaults(t, w.URL), storetest.NewFaults(t, w.URL)
	w.books, w.shelf = storetest.Open(t, w.faults.URL), storetest.Open(t, w.shelfFaults.URL)
	w.payer, w.shop = w.Account(1000), w.DB.Account(0)
	publishing := queuetest.Connect(t, w.broker)
	w.consuming = queuetest.Connect(t, w.broker)
	publisher := queue.NewPublisher(publishing)
	w.begin(workers.Worker{Name: "publisher", Run: publisher.Run})
	relayed := relay.New(w.books, publisher, w.log, relay.NewMetrics())
	w.begin(workers.Worker{Name: "relay", Run: relayed.Run})
	return w
}

func (w *ward) begin(all ...workers.Worker) { w.t.Cleanup(workers.Begin(w.log, all...)) }

func (w *ward) beginDeadLetters() {
	w.begin(deadletter.New(w.shelf, w.consuming, w.log, deadletter.NewMetrics())...)
}

func (w *ward) beginSchedule() {
	w.begin(schedule.New(w.books, w.consuming, w.log, schedule.NewMetrics()))
}

// beginPayments pays as the payment worker does, but gives up after the first retry.
func (w *ward) beginPayments() {
	sets := &workers.Sets{
		Attempts: workers.Attempts{
			Queue: queue.Payments, Ladder: workers.Ladder(time.Second), Retry: w.books.RetryOperation, Probe: w.books.Ready,
			Log: w.log, Metrics: workers.NewMetrics(),
		},
		Settle: w.settle,
	}
	w.begin(sets.Worker("payment", w.consuming))
}

func (w *ward) settle(ctx context.Context, refs []store.Ref) ([]store.Outcome, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ref := range refs {
		if happens := w.ill[ref.ID]; happens != nil {
			if err := happens(); err != nil {
				return nil, err
			}
		}
	}
	return w.books.PayInvoices(ctx, refs)
}

// accepted is a payment that is ill.
func (w *ward) accepted(happens func() error) store.Ref {
	w.mu.Lock()
	defer w.mu.Unlock() // before its message can come
	ref := w.Accepted(w.payer, w.shop, 1)
	w.ill[ref.ID] = happens
	return ref
}

func (w *ward) cureAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ill)
}

// letterOf waits for the dead letter of an operation.
func (w *ward) letterOf(name string, id store.OperationID) store.DeadLetterRecord {
	w.t.Helper()
	w.Eventually("the dead letter of what "+name, 1, "SELECT count(*) FROM dead_letters WHERE operation_id = $1 AND resolved_at IS NULL", id)
	d, err := w.DeadLetter(w.t.Context(), int64(w.Count("SELECT id FROM dead_letters WHERE operation_id = $1 AND resolved_at IS NULL", id)))
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *ward) settledAll(n int) {
	w.t.Helper()
	w.Eventually("payments settled", n, "SELECT count(*) FROM operations WHERE status = 'succeeded'")
	if got := w.Balance(w.shop); got != int64(n) {
		w.t.Errorf("the shop has %d, want %d", got, n)
	}
	if waiting := w.Count("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL"); waiting != 0 {
		w.t.Errorf("%d dead letters wait still", waiting)
	}
	w.CheckInvariants()
}

func panics() error    { panic("a bug") }
func failing() error   { return errors.New("it fails") }
func forbidden() error { return &pgconn.PgError{Code: "23514", Message: "it is forbidden"} }

// One message for each way to die arrives with its history, is explained, replayed and settled.
func TestEveryWayToDieIsExplainedReplayedAndSettled(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	w.beginDeadLetters()
	limit := w.accepted(nil)
	queuetest.Exhaust(t, w.broker, queue.Payments, 20) // as workers that die with it, and always again
	w.letterOf("was delivered too often", limit.ID)

	panicked, failed, impossible, healthy := w.accepted(panics), w.accepted(failing), w.accepted(forbidden), w.accepted(nil)
	garbage := queuetest.Publishing{Body: []byte{0, 1, 0xff}, MessageId: healthy.ID.String()}
	queuetest.Publish(t, w.broker, "commands", queue.Payments, garbage)
	w.beginPayments()

	for _, death := range []struct {
		name, reason, error string
		id                  store.OperationID
		attempts            int
		failed, replay      string // as they are explained
	}{
		{"panics", "rejected", "panic: a bug", panicked.ID, 2, "2 failed attempts on record", "runs the operation again"},
		{"fails", "rejected", "it fails", failed.ID, 2, "2 failed attempts on record", "runs the operation again"},
		{"is impossible", "rejected", "it is forbidden", impossible.ID, 1, "1 failed attempt on record", "runs the operation again"},
		{"was delivered too often", "delivery_limit", "delivered too often", limit.ID, 0, "The broker gave it up", "runs the operation again"},
		{"nobody can read", "rejected", "the body is not", healthy.ID, 0, "A message that nobody can read", "resolves the letter as moot"},
	} {
		d := w.letterOf(death.name, death.id)
		if d.Queue != "payments" || d.Reason != death.reason || !strings.Contains(d.Error, death.error) || len(d.Attempts) != death.attempts || d.Headers["x-death"] == nil {
			t.Errorf("what %s: %+v", death.name, d)
		}
		if string(d.Body) != string(garbage.Body) && !strings.Contains(string(d.Body), death.id.String()) {
			t.Errorf("what %s: its body is %q", death.name, d.Body)
		}
		w.Eventually("the end of what is sound", 1, "SELECT count(*) FROM operations WHERE id = $1 AND status = 'succeeded'", healthy.ID)
		said := deadTold[explanation](t, w.DB, "explain", idText(d.ID))
		if !strings.Contains(strings.Join(said.Failed, " "), death.failed) || !strings.Contains(said.Replay, death.replay) {
			t.Errorf("what %s is explained\n%s", death.name, said.text())
		}
	}
	w.CheckInvariants()
	w.cureAll()
	if did := deadTold[[]shownOutcome](t, w.DB, "replay", "--everything"); len(did) != 5 {
		t.Errorf("replayed: %+v", did)
	}
	w.settledAll(5)
}

// Whatever is lost between a death and its settlement, nothing of it is.
func TestNoDeathIsLost(t *testing.T) {
	t.Parallel()
	for _, loss := range []struct {
		name  string
		dies  func(w *ward, ref store.Ref) // until its letter is there
		after func(w *ward, ref store.Ref) // the replay has committed
	}{
		{name: "nothing"},
		{name: "the database, while the letter waits at the broker", dies: func(w *ward, _ store.Ref) {
			queuetest.AwaitDepth(w.t, w.broker, queue.DeadQueue(queue.Payments), 1)
			w.shelfFaults.Down()
			w.beginDeadLetters()
			w.shelfFaults.Up()
		}},
		{name: "the database, before the letter's commit", dies: func(w *ward, _ store.Ref) {
			w.shelfFaults.CutNextCommit(storetest.CommitNotDone)
			w.beginDeadLetters()
		}},
		{name: "the broker, with the letter", dies: func(w *ward, _ store.Ref) {
			queuetest.AwaitDepth(w.t, w.broker, queue.DeadQueue(queue.Payments), 1)
			queuetest.DeleteQueue(w.t, w.broker, queue.DeadQueue(queue.Payments))
			queuetest.CloseConnections(w.t, w.broker)
			w.beginSchedule() // which has it die once more
			w.beginDeadLetters()
		}},
		{name: "the letter's worker, between its commit and its acknowledgement", dies: func(w *ward, ref store.Ref) {
			w.shelfFaults.CutNextCommit(storetest.CommitDone)
			w.beginDeadLetters()
			w.letterOf("dies", ref.ID)
			queuetest.AwaitDepth(w.t, w.broker, queue.DeadQueue(queue.Payments), 0)
		}},
		{name: "the message of its replay, with its queue", after: func(w *ward, ref store.Ref) {
			w.Exec("DELETE FROM outbox") // it was published into a queue that is gone
			queuetest.DeleteQueue(w.t, w.broker, queue.Payments)
			queuetest.CloseConnections(w.t, w.broker)
			w.Exec("UPDATE operations SET due_at = now() WHERE id = $1", ref.ID) // the operator's grace, 30 s, goes by
		}},
		{name: "the database, after the replay", after: func(w *ward, _ store.Ref) {
			w.faults.Down()
			w.faults.Up()
		}},
	} {
		t.Run(loss.name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			ref := w.accepted(forbidden)
			w.beginPayments()
			if loss.dies == nil {
				w.beginDeadLetters()
			} else {
				loss.dies(w, ref)
			}
			d := w.letterOf("dies", ref.ID)
			w.CheckInvariants()
			w.cureAll()
			if did := deadTold[[]shownOutcome](t, w.DB, "replay", idText(d.ID)); did[0].Resolution != "replayed" {
				t.Errorf("replayed: %+v", did)
			}
			if loss.after != nil {
				loss.after(w, ref)
			}
			w.beginSchedule()
			w.settledAll(1)
			if n := w.Count("SELECT count(*) FROM dead_letters"); n != 1 {
				t.Errorf("it died %d times", n)
			}
		})
	}
}
