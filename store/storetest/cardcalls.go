package storetest

import (
	"time"

	"github.com/quittance/quittance/store"
)

// Lease is how long the builders' calls of the acquirer have to themselves.
const Lease = 8 * time.Second

// Inquiries is a ladder like the card worker's: it ends in waits that no broker holds.
var Inquiries = []store.Delay{{Name: "1s", Wait: time.Second}, {Name: "10m", Wait: 10 * time.Minute}, {Wait: time.Hour}}

// Call begins the call that the message asks for.
func (db *DB) Call(ref store.Ref) store.CardCall {
	db.t.Helper()
	call, begun, err := db.StartCall(db.t.Context(), ref, Lease)
	if err != nil {
		db.t.Fatal(err)
	}
	if !begun {
		db.t.Fatalf("the message %+v asks for no call", ref)
	}
	return call
}

// NoCall fails the test where the message asks for a call.
func (db *DB) NoCall(ref store.Ref) {
	db.t.Helper()
	call, begun, err := db.StartCall(db.t.Context(), ref, Lease)
	if err != nil {
		db.t.Fatal(err)
	}
	if begun {
		db.t.Fatalf("the message %+v asks for %s", ref, call.Call)
	}
}

// Result is an answer of the acquirer as it mostly is.
func Result(call store.CardCall, outcome store.CallOutcome) store.CallResult {
	r := store.CallResult{CardCall: call, Outcome: outcome, Reference: "reference", Ladder: Inquiries}
	switch outcome {
	case store.Declined:
		r.Code, r.Message = "declined", "The bank declined the payment."
	case store.NeedsConfirmation:
		r.Confirmation = &store.Confirmation{Type: "LOOKUP", Left: 3}
	case store.Unknown:
		r.Cause = "connection reset"
	}
	return r
}

// Finish stores the acquirer's answer.
func (db *DB) Finish(call store.CardCall, outcome store.CallOutcome) store.Outcome {
	db.t.Helper()
	return db.FinishWith(Result(call, outcome))
}

// FinishWith stores the acquirer's answer.
func (db *DB) FinishWith(r store.CallResult) store.Outcome {
	db.t.Helper()
	o, err := db.FinishCall(db.t.Context(), r)
	if err != nil {
		db.t.Fatal(err)
	}
	return o
}

// Paid pays an invoice, as far as an approved authorisation goes: PAY is finished, HOLD held.
func (db *DB) Paid(invoice store.NewShopInvoice) store.NewCardPayment {
	db.t.Helper()
	p, ref := db.CardPayment(invoice)
	db.Finish(db.Call(ref), store.Approved)
	return p
}

// PaymentCommand accepts a command of the payment's shop, and returns the message about it.
func (db *DB) PaymentCommand(kind store.OperationType, p store.NewCardPayment, amount int64) store.Ref {
	db.t.Helper()
	id, err := db.AcceptPaymentCommand(db.t.Context(), store.PaymentCommand{
		Type: kind, Payment: p.ID, Invoice: p.Invoice, Client: p.Client, Amount: amount, Code: "1234",
	})
	if err != nil {
		db.t.Fatal(err)
	}
	return store.Ref{ID: id, Seq: 1}
}

// Ref is the message that is believed about an operation now.
func (db *DB) Ref(id store.OperationID) store.Ref {
	db.t.Helper()
	return store.Ref{ID: id, Seq: int64(db.Count("SELECT seq FROM operations WHERE id = $1", id))}
}

// EndLeases makes the leases of all calls be over, as they are after a while.
func (db *DB) EndLeases() {
	db.t.Helper()
	db.Exec("UPDATE acquirer_intents SET leased_until = now() - interval '1 second' WHERE finished_at IS NULL AND leased_until IS NOT NULL")
}

// Ahead moves the deciding time.
func (db *DB) Ahead(ahead time.Duration) {
	db.t.Helper()
	if err := db.SetClockAhead(db.t.Context(), ahead); err != nil {
		db.t.Fatal(err)
	}
}

// Payment returns a payment by card.
func (db *DB) Payment(id store.PaymentID) store.CardPayment {
	db.t.Helper()
	p, err := db.Store.CardPayment(db.t.Context(), 0, id)
	if err != nil {
		db.t.Fatal(err)
	}
	return p
}
