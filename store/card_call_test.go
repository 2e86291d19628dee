package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

// ofType is what a builder's invoice is of.
func ofType(kind store.InvoiceType) func(*store.NewShopInvoice) {
	return func(n *store.NewShopInvoice) { n.Type = kind }
}

func hryvnias(minor int64) money.Amount { return money.Amount{Minor: minor, Currency: store.Hryvnia} }

// checkState compares a payment's two states and what it is worth.
func checkState(t *testing.T, db *storetest.DB, what string, id store.PaymentID, status, paymentStatus string) store.CardPayment {
	t.Helper()
	p := db.Payment(id)
	if p.Status != status || p.PaymentStatus != paymentStatus {
		t.Errorf("%s: the payment is %s/%s, want %s/%s", what, p.Status, p.PaymentStatus, status, paymentStatus)
	}
	return p
}

// ledger returns the balance of a ledger account in hryvnias.
func ledger(db *storetest.DB, kind string, owner int64) int {
	return db.Count("SELECT balance FROM ledger_accounts WHERE kind = $1 AND owner = $2 AND currency = 980", kind, owner)
}

func TestACallSaysAllThatTheAcquirerMustKnow(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	p, authorise := db.CardPayment(db.ShopInvoice(shop, ofType(store.Hold)))
	begun := db.Call(authorise)
	want := store.CardCall{
		Intent: p.Intent, Operation: authorise.ID, Payment: p.ID, Type: store.PaymentAuthorise, Call: store.CallAuthorise,
		Amount: hryvnias(51100), Commission: 1100, Token: "token of 4111111111",
	}
	check := func(what string, got store.CardCall) {
		t.Helper()
		if got.Accepted.IsZero() || time.Until(got.LeasedUntil) < storetest.Lease/2 {
			t.Errorf("%s: accepted %s, leased until %s", what, got.Accepted, got.LeasedUntil)
		}
		got.Accepted, got.LeasedUntil = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
	}
	check("authorise", begun)

	db.Finish(begun, store.NeedsConfirmation)
	confirm := db.Call(db.PaymentCommand(store.PaymentConfirm, p, 0))
	want = store.CardCall{
		Intent: confirm.Intent, Operation: confirm.Operation, Payment: p.ID, Type: store.PaymentConfirm, Call: store.CallConfirm,
		Amount: hryvnias(51100), Commission: 1100, Code: "1234", Of: p.Intent,
	}
	check("confirm", confirm)

	db.Finish(confirm, store.Approved)
	capture := db.Call(db.PaymentCommand(store.PaymentComplete, p, 10000))
	want = store.CardCall{
		Intent: capture.Intent, Operation: capture.Operation, Payment: p.ID, Type: store.PaymentComplete, Call: store.CallCapture,
		Amount: hryvnias(10300), Commission: 300, Of: p.Intent,
	}
	check("capture", capture)

	db.Finish(capture, store.Approved)
	refund := db.Call(db.PaymentCommand(store.PaymentReverse, p, 5000))
	want = store.CardCall{
		Intent: refund.Intent, Operation: refund.Operation, Payment: p.ID, Type: store.PaymentReverse, Call: store.CallRefund,
		Amount: hryvnias(5150), Commission: 150, Of: p.Intent,
	}
	check("refund", refund)
	db.Finish(refund, store.Approved)

	q, authorise := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.SystemType, n.CardTo = store.P2P, db.Card(shop, "5269610005").ID
	}))
	want = store.CardCall{
		Intent: q.Intent, Operation: authorise.ID, Payment: q.ID, Type: store.PaymentAuthorise, Call: store.CallAuthorise,
		Amount: hryvnias(51100), Commission: 1100, Capture: true, Token: "token of 4111111111", TokenTo: "token of 5269610005",
	}
	check("from card to card", db.Call(authorise))
	db.CheckInvariants()
}

// Whoever has the lease is alone with the call. Whoever comes meanwhile comes again when it
// is over, and then asks what became of it.
func TestALeaseIsAlone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	first := db.Call(ref)
	if first.Unknown {
		t.Error("a call that was never made is to be inquired about")
	}
	db.Exec("DELETE FROM outbox")
	db.NoCall(ref) // the broker delivers it again
	if n := db.Count("SELECT count(*) FROM outbox WHERE delay = '10s' AND seq = 2 AND message_id = $1", ref.ID); n != 1 {
		t.Errorf("%d messages wait for the rest of the lease, want 1", n)
	}
	if n := db.Count("SELECT attempts FROM operations"); n != 0 {
		t.Errorf("%d attempts are used up by waiting", n)
	}
	db.NoCall(ref) // and again: stale by now
	if n := db.Count("SELECT count(*) FROM outbox"); n != 1 {
		t.Errorf("%d messages wait, want 1", n)
	}
	db.EndLeases()
	second := db.Call(store.Ref{ID: ref.ID, Seq: 2})
	if !second.Unknown || second.Intent != first.Intent || second.Token != first.Token {
		t.Errorf("after the lease: %+v, want the same call, and to inquire first", second)
	}
	db.CheckInvariants()
}

func TestAReleasedCallIsBegunAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	release := func(call store.CardCall) {
		t.Helper()
		if err := db.ReleaseCall(t.Context(), call); err != nil {
			t.Fatal(err)
		}
	}
	first := db.Call(ref)
	release(first)
	second := db.Call(ref) // the same message
	if second.Unknown {
		t.Error("a call that was never sent is to be inquired about")
	}
	release(first) // late: the lease is another one's
	db.NoCall(ref)

	db.Finish(second, store.Unknown)
	db.EndLeases()
	inquiry := db.Call(db.Ref(ref.ID))
	release(inquiry)
	if again := db.Call(db.Ref(ref.ID)); !again.Unknown {
		t.Error("an inquiry that was not sent is forgotten: the call itself went out")
	}
	db.CheckInvariants()
}

// The acquirer says that it has news, or somebody else does.
func TestNewsAreInquiredAboutAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	waiting := func(what string, want int) {
		t.Helper()
		if n := db.Count("SELECT count(*) FROM outbox WHERE delay = ''"); n != want {
			t.Errorf("%s: %d messages are enqueued for now, want %d", what, n, want)
		}
	}
	inquire := func(intent store.IntentID) {
		t.Helper()
		if err := db.InquireNow(t.Context(), intent); err != nil {
			t.Fatal(err)
		}
	}
	db.Exec("DELETE FROM outbox")
	inquire(p.Intent)
	waiting("before it is called", 0)
	call := db.Call(ref)
	inquire(p.Intent)
	waiting("while it is called", 0)
	db.Finish(call, store.Unknown)
	inquire(store.NewIntentID())
	waiting("about nothing", 0)
	inquire(p.Intent)
	inquire(p.Intent)
	waiting("about what is unknown, twice", 1)

	call = db.Call(db.Ref(ref.ID)) // although the first lease is not over
	if !call.Unknown {
		t.Errorf("%+v, want to inquire first", call)
	}
	db.Finish(call, store.Approved)
	inquire(p.Intent)
	waiting("about what is known", 1)
	db.CheckInvariants()
}

// An operation whose payment was settled by something else has its call refused, and nothing
// goes out.
func TestACallThatCameTooLateIsNotMade(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), ofType(store.Hold)))
	complete := db.PaymentCommand(store.PaymentComplete, p, 0)
	db.Exec("UPDATE payments SET status = 'CANCELED', payment_status = 'CANCELED', expires_at = NULL WHERE id = $1", p.ID)
	db.Exec(`WITH canceled AS (
			INSERT INTO operations (id, type, resource, status, attempts, due_at, finished_at)
			VALUES (new_id(), 'payment.cancel', $1, 'succeeded', 1, now(), now())
			RETURNING id
		)
		INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, state, leased_until, finished_at)
		SELECT new_id(), c.id, p.id, 'void', p.held, p.commission, 'approved', now(), now()
		FROM canceled c, payments p
		WHERE p.id = $1`, p.ID)
	db.Exec(`INSERT INTO events (id, type, client_id, resource, body)
		SELECT n.id, 'payment.canceled', $1, $2, '{"id":"' || n.id || '","type":"payment.canceled","data":{"paymentStatus":"CANCELED"}}'
		FROM (SELECT new_id() AS id OFFSET 0) n`, p.Client, p.ID)
	db.NoCall(complete)
	o, err := db.Operation(t.Context(), complete.ID)
	if err != nil {
		t.Fatal(err)
	}
	if o.Status != store.Failed || o.ErrorCode != "invalid_state" {
		t.Errorf("the operation is %s with %q, want failed with invalid_state", o.Status, o.ErrorCode)
	}
	if n := db.Count("SELECT count(*) FROM acquirer_intents WHERE operation_id = $1 AND state = 'refused'", complete.ID); n != 1 {
		t.Error("its intent is open for ever")
	}
	checkState(t, db, "afterwards", p.ID, store.StatusCanceled, store.PaymentCanceled)
	db.CheckInvariants()
}

func TestACallOfADeadOperationKeepsItsSlot(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), ofType(store.Hold)))
	complete := db.PaymentCommand(store.PaymentComplete, p, 0)
	call := db.Call(complete)
	letter := store.DeadLetter{Queue: "cards", MessageID: complete.ID.String(), Seq: complete.Seq, Operation: complete.ID, Reason: "rejected", Error: "a bug"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	checkState(t, db, "while its step is dead", p.ID, store.StatusPaid, store.PaymentHolded)
	db.CheckInvariants()
	_, err := db.AcceptPaymentCommand(t.Context(), store.PaymentCommand{Type: store.PaymentCancel, Payment: p.ID, Invoice: p.Invoice, Client: p.Client})
	if !errors.Is(err, store.ErrStepInProgress) {
		t.Errorf("cancel: %v, want the dead step to keep its slot", err)
	}
	db.Ahead(30 * 24 * time.Hour)
	if n, err := db.ExpirePayments(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d expire, %v; want the dead step to keep its slot", n, err)
	}
	if o := db.Finish(call, store.Unknown); !o.Stale() {
		t.Errorf("that nobody knows: %+v, want stale", o)
	}
	if o := db.Finish(call, store.Approved); o.Status != store.Succeeded {
		t.Errorf("a clear answer: %+v, want it to count all the same", o)
	}
	checkState(t, db, "afterwards", p.ID, store.StatusFinished, store.PaymentFinished)
	db.CheckInvariants()
}

// A confirmation and an expiry go for the slot of the same payment.
func TestOfAConfirmationAndAnExpiryOneIsMade(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	for round := range 10 {
		p, ref := db.CardPayment(db.ShopInvoice(shop, nil))
		db.Finish(db.Call(ref), store.NeedsConfirmation)
		db.Exec("UPDATE payments SET expires_at = deciding_time() + interval '3 ms' WHERE id = $1", p.ID)
		errs := atOnce(4, func(i int) error {
			if i%2 == 0 {
				_, err := db.ExpirePayments(context.WithoutCancel(t.Context()), 10)
				return err
			}
			_, err := db.AcceptPaymentCommand(t.Context(), store.PaymentCommand{
				Type: store.PaymentConfirm, Payment: p.ID, Invoice: p.Invoice, Client: p.Client, Code: "1234",
			})
			if errors.Is(err, store.ErrStepInProgress) || errors.Is(err, store.ErrPaymentState) {
				err = nil
			}
			return err
		})
		for _, err := range errs {
			if err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if n := db.Count("SELECT count(*) FROM operations WHERE resource = $1 AND finished_at IS NULL", p.ID); n > 1 {
			t.Errorf("round %d: %d steps are open", round, n)
		}
	}
	db.CheckInvariants()
}

// The acquirer was told what is ours when the whole was held. Of a part, and of what goes back,
// something else is: the card that gets the rest must get what the books say.
func TestAPartFromCardToCardSaysWhatIsOurs(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	to := db.Card(shop, "5555555555")
	p := db.Paid(db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.SystemType, n.CardTo, n.Type = store.P2P, to.ID, store.Hold
	}))
	capture := db.Call(db.PaymentCommand(store.PaymentComplete, p, 20000))
	if capture.Amount != hryvnias(20500) || capture.Commission != 500 {
		t.Errorf("%s are captured, %d of them ours; want 500: of the hold it was told 1100", capture.Amount, capture.Commission)
	}
	db.Finish(capture, store.Approved)
	refund := db.Call(db.PaymentCommand(store.PaymentReverse, p, 10000))
	if refund.Amount != hryvnias(10250) || refund.Commission != 250 {
		t.Errorf("%s are refunded, %d of them ours; want 250", refund.Amount, refund.Commission)
	}
	db.Finish(refund, store.Approved)
	db.CheckInvariants()
}
