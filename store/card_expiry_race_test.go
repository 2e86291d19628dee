package store_test

import (
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// While an expiry waits for somebody else's row, the payer who was in time confirms, and that
// is settled: what the expiry was opened upon is over, and what the payment waits for now is
// not. Here it is opened by hand, as the statement that waited opens it.
func TestAnExpiryThatComesTooLateLetsNothingGo(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]store.CallOutcome{store.PaymentHolded: store.Approved, store.PaymentNeedsConfirmation: store.NeedsConfirmation} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), hold))
			db.Finish(db.Call(ref), store.NeedsConfirmation)
			db.Finish(db.Call(db.PaymentCommand(store.PaymentConfirm, p, 0)), answer)
			was := checkState(t, db, "confirmed", p.ID, db.Payment(p.ID).Status, name)
			const expiresAt = "SELECT extract(epoch FROM expires_at)::bigint FROM payments WHERE id = $1"
			until := db.Count(expiresAt, p.ID)

			late := store.Ref{ID: store.NewOperationID(), Seq: 1}
			db.Exec("INSERT INTO operations (id, type, resource, due_at) VALUES ($1, 'payment.expire', $2, now())", late.ID, p.ID)
			db.Exec("INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission) VALUES ($1, $2, $3, 'void', 50000, 1100)",
				store.NewIntentID(), late.ID, p.ID)
			db.NoCall(late)
			checkState(t, db, "after an expiry that was none", p.ID, was.Status, was.PaymentStatus)
			if got := db.Count(expiresAt, p.ID); got != until {
				t.Errorf("it expires %d seconds later than it did", got-until)
			}
			db.CheckInvariants()
		})
	}
}
