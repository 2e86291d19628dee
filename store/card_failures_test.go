package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// eachCall tells a story about each call of the acquirer, with both cuts. prepare brings a
// payment so far that the call is the next thing to do, and returns the message about it.
func eachCall(t *testing.T, story func(t *testing.T, db *faulty, ref store.Ref, p store.NewCardPayment, approved string, cut storetest.Cut, done bool)) {
	t.Helper()
	t.Parallel()
	for _, c := range []struct {
		call     store.Call
		kind     store.InvoiceType
		before   store.CallOutcome   // the authorisation's
		command  store.OperationType // "" for the authorisation itself
		approved string              // paymentStatus in the end
	}{
		{store.CallAuthorise, store.Pay, "", "", store.PaymentFinished},
		{store.CallConfirm, store.Pay, store.NeedsConfirmation, store.PaymentConfirm, store.PaymentFinished},
		{store.CallCapture, store.Hold, store.Approved, store.PaymentComplete, store.PaymentFinished},
		{store.CallVoid, store.Hold, store.Approved, store.PaymentCancel, store.PaymentCanceled},
		{store.CallRefund, store.Pay, store.Approved, store.PaymentReverse, store.PaymentReversed},
	} {
		for _, k := range cuts {
			t.Run(string(c.call)+", "+k.name, func(t *testing.T) {
				t.Parallel()
				db := newFaulty(t)
				p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), ofType(c.kind)))
				if c.command != "" {
					db.Finish(db.Call(ref), c.before)
					ref = db.PaymentCommand(c.command, p, 0)
				}
				story(t, db, ref, p, c.approved, k.cut, k.done)
			})
		}
	}
}

func TestStartTheCallAndCall(t *testing.T) {
	eachCall(t, func(t *testing.T, db *faulty, ref store.Ref, p store.NewCardPayment, approved string, cut storetest.Cut, done bool) {
		db.faults.CutNextCommit(cut)
		if _, begun, err := db.cutting.StartCall(t.Context(), ref, storetest.Lease); !errors.Is(err, store.ErrUnavailable) || begun {
			t.Fatalf("start: begun %v, %v; want unavailable: nothing may go out", begun, err)
		}
		db.CheckInvariants()

		// The process is gone. The message comes again, elsewhere.
		again := db.Elsewhere()
		if done { // as far as anybody knows the call is out
			again.NoCall(ref)
			db.EndLeases()
			ref = db.Ref(ref.ID)
		}
		call := again.Call(ref)
		if call.Unknown != done {
			t.Errorf("again: to inquire first: %v, want %v", call.Unknown, done)
		}
		if o := again.Finish(call, store.Approved); o.Status != store.Succeeded {
			t.Errorf("%+v", o)
		}
		if got := db.Payment(p.ID).PaymentStatus; got != approved {
			t.Errorf("the payment is %s, want %s", got, approved)
		}
		db.CheckInvariants()
	})
}

func TestFinishTheCallAndAcknowledge(t *testing.T) {
	eachCall(t, func(t *testing.T, db *faulty, ref store.Ref, p store.NewCardPayment, approved string, cut storetest.Cut, done bool) {
		call := db.Call(ref)
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishCall(t.Context(), storetest.Result(call, store.Approved)); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("finish: %v, want an outage: nothing may be acknowledged", err)
		}
		db.CheckInvariants()

		// The process is gone, and its lease with it. The message comes again, elsewhere.
		db.EndLeases()
		again := db.Elsewhere()
		if done {
			again.NoCall(ref)
		} else {
			inquiry := again.Call(ref)
			if !inquiry.Unknown || inquiry.Intent != call.Intent {
				t.Errorf("again: %+v, want the same call to be inquired about", inquiry)
			}
			if o := again.Finish(inquiry, store.Approved); o.Status != store.Succeeded {
				t.Errorf("%+v", o)
			}
		}
		if o := again.Finish(call, store.Approved); !o.Stale() {
			t.Errorf("the answer of before: %+v, want stale", o)
		}
		if got := db.Payment(p.ID).PaymentStatus; got != approved {
			t.Errorf("the payment is %s, want %s", got, approved)
		}
		db.CheckInvariants()
	})
}

func TestStoreThatItIsUnknownAndAcknowledge(t *testing.T) {
	eachCall(t, func(t *testing.T, db *faulty, ref store.Ref, p store.NewCardPayment, approved string, cut storetest.Cut, done bool) {
		call := db.Call(ref)
		db.Exec("DELETE FROM outbox")
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishCall(t.Context(), storetest.Result(call, store.Unknown)); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("finish: %v, want an outage: nothing may be acknowledged", err)
		}
		db.CheckInvariants()

		// The worker tells it once more; or it died, and the message comes again.
		again := db.Elsewhere()
		if o := again.Finish(call, store.Unknown); o.Stale() != done {
			t.Errorf("told again: %+v, want stale: %v", o, done)
		}
		again.NoCall(ref)
		if n := db.Count("SELECT count(*) FROM outbox"); n != 1 {
			t.Errorf("%d inquiries are enqueued, want 1", n)
		}
		db.EndLeases()
		again.Finish(again.Call(db.Ref(ref.ID)), store.Approved)
		if got := db.Payment(p.ID).PaymentStatus; got != approved {
			t.Errorf("the payment is %s, want %s", got, approved)
		}
		db.CheckInvariants()
	})
}

// The schedule worker's own steps: begun again by whoever looks next, and not twice.
func TestExpireThePaymentsAndEnqueue(t *testing.T) {
	t.Parallel()
	db := newFaulty(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), ofType(store.Hold)))
	db.Ahead(8 * 24 * time.Hour)
	db.faults.Down() // one statement: it happens, or it does not
	if _, err := db.cutting.ExpirePayments(t.Context(), 10); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("expire: %v, want unavailable", err)
	}
	for want := 1; want >= 0; want-- {
		if n, err := db.Elsewhere().ExpirePayments(t.Context(), 10); err != nil || n != want {
			t.Errorf("%d expire, %v; want %d", n, err, want)
		}
	}
	db.Finish(db.Call(refOf(db.DB, store.PaymentExpire)), store.Approved)
	checkState(t, db.DB, "in the end", p.ID, store.StatusCanceled, store.PaymentCanceled)
	db.CheckInvariants()
}

func TestChargeTheSubscriptionAndEnqueue(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		s := subscribe(t, db.DB, 30)
		db.Ahead(31 * 24 * time.Hour)
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.ChargeSubscriptions(t.Context(), 10); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("charge: %v, want unavailable", err)
		}
		db.CheckInvariants()
		want := 1
		if done {
			want = 0
		}
		if n, err := db.Elsewhere().ChargeSubscriptions(t.Context(), 10); err != nil || n != want {
			t.Errorf("%d are charged after that, %v; want %d", n, err, want)
		}
		s.answer(store.Approved)
		if n := len(s.read().Payments); n != 2 {
			t.Errorf("%d payments, want the first and one charge", n)
		}
		db.CheckInvariants()
	})
}
