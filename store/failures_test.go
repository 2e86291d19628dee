package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// Each place that writes twice, cut before its commit (failed and not done) and after it
// (failed but done). The caller is told the same both times; a restarted process must come
// to the same end from either.

var cuts = []struct {
	name string
	cut  storetest.Cut
	done bool
}{
	{"failed and not done", storetest.CommitNotDone, false},
	{"failed but done", storetest.CommitDone, true},
}

// faulty is a database with a store behind a proxy that cuts, and a sound one beside it.
type faulty struct {
	*storetest.DB // sound: also the restarted process
	cutting       *store.Store
	faults        *storetest.Faults
}

func newFaulty(t *testing.T) *faulty {
	db := storetest.New(t)
	faults := storetest.NewFaults(t, db.URL)
	return &faulty{DB: db, cutting: storetest.Open(t, faults.URL), faults: faults}
}

// eachCut tells one story with both cuts.
func eachCut(t *testing.T, story func(t *testing.T, db *faulty, cut storetest.Cut, done bool)) {
	t.Helper()
	t.Parallel()
	for _, c := range cuts {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			story(t, newFaulty(t), c.cut, c.done)
		})
	}
}

func TestAcceptAndEnqueue(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop := db.Account(1000), db.Account(0)
		payment := db.Invoice(payer, shop, 300)
		payment.Once = store.Once{Scope: "payer", Key: "k", Request: "r", Answer: store.Answer{Status: 201, Body: []byte("yes")}}

		db.faults.CutNextCommit(cut)
		_, err := db.cutting.AcceptPayment(t.Context(), payment)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("accept: %v, want unavailable", err)
		}
		want := 0
		if done {
			want = 1
		}
		for _, table := range []string{"operations", "outbox", "idempotency_keys"} {
			if got := db.Count("SELECT count(*) FROM " + table); got != want {
				t.Errorf("%s: %d rows, want %d", table, got, want)
			}
		}
		db.CheckInvariants()

		// The client asks again.
		id, err := db.AcceptPayment(t.Context(), payment)
		var replay *store.Replay
		if done {
			if !errors.As(err, &replay) || string(replay.Answer.Body) != "yes" {
				t.Fatalf("again: %v, want the stored answer", err)
			}
			id = replay.Answer.Operation
		} else if err != nil {
			t.Fatal(err)
		}
		if o := db.Settle(store.Ref{ID: id, Seq: 1}); o.Status != store.Succeeded {
			t.Errorf("settled: %+v", o)
		}
		if got := db.Balance(shop); got != 300 {
			t.Errorf("the shop has %d, want 300", got)
		}
		db.CheckInvariants()
	})
}

func TestPublishAndDelete(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop := db.Account(1000), db.Account(0)
		db.Accepted(payer, shop, 300)

		var published []store.Ref
		publish := func(_ context.Context, rows []store.OutboxRow) []error {
			for _, r := range rows {
				published = append(published, store.Ref{ID: r.MessageID, Seq: r.Seq})
			}
			return make([]error, len(rows))
		}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.RelayOutbox(t.Context(), 10, publish); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("relay: %v, want unavailable", err)
		}
		if _, err := db.RelayOutbox(t.Context(), 10, publish); err != nil {
			t.Fatal(err)
		}
		want := 2 // once for each relay: a lost delete costs a duplicate
		if done {
			want = 1
		}
		if len(published) != want {
			t.Errorf("published %d times, want %d", len(published), want)
		}
		for _, ref := range published {
			db.Settle(ref)
		}
		if got := db.Balance(shop); got != 300 {
			t.Errorf("the shop has %d, want 300", got)
		}
		if got := db.Count("SELECT count(*) FROM outbox"); got != 0 {
			t.Errorf("%d rows are left in the outbox", got)
		}
		db.CheckInvariants()
	})
}

func TestSettleAndAcknowledge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop, poor := db.Account(1000), db.Account(0), db.Account(0)
		batch := []store.Ref{db.Accepted(payer, shop, 300), db.Accepted(poor, shop, 5)}

		db.faults.CutNextCommit(cut)
		_, err := db.cutting.PayInvoices(t.Context(), batch)
		if store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("settle: %v, want an outage: nothing may be acknowledged", err)
		}
		db.CheckInvariants()

		// The broker delivers the batch again.
		outcomes, err := db.PayInvoices(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if outcomes[0].Stale() != done || outcomes[1].Stale() != done {
			t.Errorf("again: %+v, want stale: %v", outcomes, done)
		}
		if got := db.Balance(shop); got != 300 {
			t.Errorf("the shop has %d, want 300", got)
		}
		db.CheckInvariants()
	})
}

func TestStoreTheRetryAndAcknowledge(t *testing.T) {
	ladder := []store.Delay{{Name: "1s", Wait: time.Second}}
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop := db.Account(1000), db.Account(0)
		ref := db.Accepted(payer, shop, 300)
		failure := store.Failure{Ref: ref, Cause: "a fault of this message", Ladder: ladder}

		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.RetryOperation(t.Context(), failure); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("retry: %v, want unavailable: the message is kept", err)
		}
		// The same message comes again, and fails again.
		retry, err := db.RetryOperation(t.Context(), failure)
		if err != nil {
			t.Fatal(err)
		}
		want := store.Retry{Verdict: store.RetryStored, Delay: "1s"}
		if done {
			want = store.Retry{Verdict: store.RetryStale}
		}
		if retry != want {
			t.Errorf("again: %+v, want %+v", retry, want)
		}
		if got := db.Count("SELECT count(*) FROM outbox WHERE delay = '1s' AND seq = 2"); got != 1 {
			t.Errorf("%d retries are enqueued, want 1", got)
		}
		if got := db.Count("SELECT attempts FROM operations"); got != 1 {
			t.Errorf("%d attempts are counted, want 1", got)
		}
		db.Settle(store.Ref{ID: ref.ID, Seq: 1}) // stale
		if o := db.Settle(store.Ref{ID: ref.ID, Seq: 2}); o.Status != store.Succeeded {
			t.Errorf("the retry: %+v", o)
		}
		db.CheckInvariants()
	})
}

func TestKeepTheDeadLetterAndAcknowledge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop := db.Account(1000), db.Account(0)
		ref := db.Accepted(payer, shop, 300)
		letters := []store.DeadLetter{{Queue: "payments", MessageID: ref.ID.String(), Seq: 1, Operation: ref.ID, Reason: "rejected", Error: "e"}}

		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.KeepDeadLetters(t.Context(), letters); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("keep: %v, want unavailable", err)
		}
		isNew, err := db.KeepDeadLetters(t.Context(), letters)
		if err != nil {
			t.Fatal(err)
		}
		if isNew[0] == done {
			t.Errorf("again: new %v, want %v", isNew[0], !done)
		}
		if got := db.Count("SELECT count(*) FROM dead_letters"); got != 1 {
			t.Errorf("%d dead letters, want 1", got)
		}
		if got := db.Count("SELECT count(*) FROM operations WHERE status = 'dead'"); got != 1 {
			t.Errorf("%d dead operations, want 1", got)
		}
		db.CheckInvariants()
	})
}

func TestALostDatabaseIsAnOutageAndComesBack(t *testing.T) {
	t.Parallel()
	db := newFaulty(t)
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 300)

	db.faults.Down()
	if _, err := db.cutting.AcceptPayment(t.Context(), payment); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("accept: %v, want unavailable", err)
	}
	if _, err := db.cutting.Operations(t.Context(), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("read: %v, want unavailable", err)
	}
	db.faults.Up()
	if _, err := db.cutting.AcceptPayment(t.Context(), payment); err != nil {
		t.Errorf("accept, after the database came back: %v", err)
	}
	db.CheckInvariants()
}
