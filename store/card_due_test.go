package store_test

import (
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// expire opens what expires at the moment, and fails the test where that is not as many.
func expire(t *testing.T, db *storetest.DB, what string, want int) {
	t.Helper()
	n, err := db.ExpirePayments(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Errorf("%s: %d expire, want %d", what, n, want)
	}
}

func TestAHoldThatIsNotCompletedIsLetGo(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), ofType(store.Hold)))
	db.Ahead(7*24*time.Hour - time.Minute)
	expire(t, db, "before its time", 0)
	db.Ahead(7*24*time.Hour + time.Minute)
	expire(t, db, "after 7 days", 1)
	expire(t, db, "while it is being let go", 0)

	call := db.Call(refOf(db, store.PaymentExpire))
	if call.Call != store.CallVoid || call.Of != p.Intent || call.Amount != hryvnias(51100) {
		t.Errorf("the call is %+v", call)
	}
	db.Finish(call, store.Declined)
	checkState(t, db, "the acquirer would not", p.ID, store.StatusPaid, store.PaymentHolded)
	expire(t, db, "as soon as it was refused", 0)
	db.CheckInvariants()

	db.Ahead(7*24*time.Hour + 2*time.Hour)
	expire(t, db, "an hour later", 1)
	db.Finish(db.Call(refOf(db, store.PaymentExpire)), store.Approved)
	if got := checkState(t, db, "in the end", p.ID, store.StatusCanceled, store.PaymentCanceled); got.CanceledAt == nil {
		t.Error("it says nothing of when")
	}
	expire(t, db, "in the end", 0)
	if n := ledger(db, "acquirer_clearing", 0); n != 0 {
		t.Errorf("%d moved for nothing", n)
	}
	db.CheckInvariants()
}

func TestAPaymentThatNobodyConfirmsIsLetGo(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	invoice := db.ShopInvoice(db.Shop(), nil)
	p, ref := db.CardPayment(invoice)
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	db.Ahead(14 * time.Minute)
	expire(t, db, "while there is time", 0)
	db.Ahead(16 * time.Minute)
	expire(t, db, "after a quarter of an hour", 1)
	db.Finish(db.Call(refOf(db, store.PaymentExpire)), store.Approved)
	checkState(t, db, "in the end", p.ID, store.StatusCanceled, store.PaymentCanceled)
	other := db.Paid(invoice) // with another card
	checkState(t, db, "another card", other.ID, store.StatusFinished, store.PaymentFinished)
	db.CheckInvariants()
}

func TestWhatIsUnderWayDoesNotExpire(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	held := db.Paid(db.ShopInvoice(shop, ofType(store.Hold)))
	complete := db.PaymentCommand(store.PaymentComplete, held, 0)
	pending, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(ref), store.Unknown)
	db.Paid(db.ShopInvoice(shop, nil))
	db.Ahead(365 * 24 * time.Hour)
	expire(t, db, "being completed, pending, finished", 0)
	db.Finish(db.Call(complete), store.Approved)
	checkState(t, db, "accepted in time", held.ID, store.StatusFinished, store.PaymentFinished)
	checkState(t, db, "unknown for a year", pending.ID, store.StatusNew, store.PaymentPending)
	db.CheckInvariants()
}

func TestEnqueuingWhatWaitsInItsRow(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	db.Exec("DELETE FROM outbox")
	retry, err := db.RetryOperation(t.Context(), store.Failure{Ref: ref, Cause: "fault", Ladder: []store.Delay{{Wait: time.Hour}}})
	if err != nil || retry != (store.Retry{Verdict: store.RetryStored}) {
		t.Fatalf("%+v, %v", retry, err)
	}
	if n := db.Count("SELECT count(*) FROM outbox"); n != 0 {
		t.Errorf("%d messages are enqueued for what waits in its row", n)
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE waits AND due_at - now() BETWEEN interval '59 minutes' AND interval '1 hour'"); n != 1 {
		t.Error("it is not due in an hour, and no later")
	}
	enqueueDue(t, db, 0)
	if n := db.Count("SELECT count(*) FROM outbox"); n != 0 {
		t.Error("it is enqueued before its time")
	}
	db.Exec("UPDATE operations SET due_at = now() - interval '1 second'")
	for _, again := range []string{"in its time", "once more"} {
		if n := enqueueDue(t, db, 1000); n != 0 {
			t.Errorf("%s: %d count as lost", again, n)
		}
		if n := db.Count("SELECT count(*) FROM outbox WHERE seq = 3 AND delay = ''"); n != 1 {
			t.Errorf("%s: %d messages, whatever the backlog, want 1", again, n)
		}
	}
	lose(db) // from here on it is like any other
	if n := enqueueDue(t, db, 0); n != 1 {
		t.Errorf("%d were lost, want 1", n)
	}
	if o := db.Settle(store.Ref{ID: ref.ID, Seq: 4}); o.Status != store.Succeeded {
		t.Errorf("%+v", o)
	}
	db.CheckInvariants()
}
