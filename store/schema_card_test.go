package store_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// What the schema refuses of payments by card, whoever writes it.
func TestTheSchemaDefendsPaymentsByCard(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	paid, held := db.Paid(db.ShopInvoice(shop, nil)), db.Paid(db.ShopInvoice(shop, ofType(store.Hold)))
	db.PaymentCommand(store.PaymentComplete, held, 0)
	open, _ := db.CardPayment(db.ShopInvoice(shop, nil))
	for _, story := range []struct {
		name    string
		payment store.PaymentID
		sql     string // about payment $1
		says    string
	}{
		{"nothing changes", paid.ID, "UPDATE payments SET updated_at = now() WHERE id = $1", ""},
		{"more is completed than is held", paid.ID, "UPDATE payments SET amount = 60000, completed = 60000 WHERE id = $1", "never_completed_beyond_held"},
		{"it is finished with nothing", held.ID, "UPDATE payments SET status = 'FINISHED', payment_status = 'FINISHED' WHERE id = $1", "completed_exactly_if_finished"},
		{"it is held with nothing", held.ID, "UPDATE payments SET held = 0 WHERE id = $1", "held_if_paid"},
		{"more is reversed than was completed", paid.ID, "UPDATE payments SET reversed = 30000, reversing = 20001 WHERE id = $1", "never_reversed_beyond_completed"},
		{"more commission is reversed than was taken", paid.ID, "UPDATE payments SET commission_reversing = 1101 WHERE id = $1", "commission_never_reversed_beyond"},
		{"the whole is reversed, and it stays finished", paid.ID, "UPDATE payments SET reversed = completed WHERE id = $1", "reversed_exactly_if_whole"},
		{"the two states do not fit", open.ID, "UPDATE payments SET payment_status = 'HOLDED' WHERE id = $1", "status_is_known"},
		{"it is to be confirmed, and nobody says how", open.ID, "UPDATE payments SET payment_status = 'NEEDS_CONFIRMATION' WHERE id = $1", "confirmation_exactly_if_needed"},
		{"a second payment of a one-time invoice", open.ID, "UPDATE payments SET invoice_id = '" + paid.Invoice.String() + "' WHERE id = $1", "one_payment_per_one_time_invoice"},
		{"a second open step", held.ID, "INSERT INTO operations (id, type, resource, due_at) VALUES (gen_random_uuid(), 'payment.cancel', $1, now())", "one_open_step_per_payment"},
		{"a second call of an operation", held.ID, "INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission) SELECT gen_random_uuid(), operation_id, payment_id, call, 1, 0 FROM acquirer_intents WHERE payment_id = $1", "one_intent_per_operation"},
		{"a call is known, and not since when", open.ID, "UPDATE acquirer_intents SET state = 'refused' WHERE payment_id = $1", "finished_exactly_if_known"},
		{"a call is known, and keeps its secret", open.ID, "UPDATE acquirer_intents SET state = 'refused', finished_at = now() WHERE payment_id = $1", "secret_is_gone_once_known"},
		{"a call is out, and nobody has its lease", open.ID, "UPDATE acquirer_intents SET state = 'called' WHERE payment_id = $1", "leased_once_called"},
	} {
		_, err := db.Pool().Exec(t.Context(), story.sql, story.payment)
		var pg *pgconn.PgError
		switch {
		case story.says == "" && err != nil:
			t.Errorf("%s: %v", story.name, err)
		case story.says != "" && (!errors.As(err, &pg) || pg.ConstraintName != story.says):
			t.Errorf("%s: %v, want %s", story.name, err, story.says)
		}
	}
	db.CheckInvariants()
}
