package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// The expiry of two payments waits for somebody's command on the first. Meanwhile the second,
// whose payer was in time, is confirmed and held: what it then waits for is not over.
func TestAnExpiryThatComesTooLateLetsNothingGo(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]store.CallOutcome{store.PaymentHolded: store.Approved, store.PaymentNeedsConfirmation: store.NeedsConfirmation} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			shop := db.Shop()
			first, ref := db.CardPayment(db.ShopInvoice(shop, hold))
			db.Finish(db.Call(ref), store.NeedsConfirmation)
			second, ref := db.CardPayment(db.ShopInvoice(shop, hold))
			db.Finish(db.Call(ref), store.NeedsConfirmation)
			if bytes.Compare(first.ID[:], second.ID[:]) > 0 {
				first, second = second, first // expiries are opened in this order
			}

			other, err := pgx.Connect(t.Context(), db.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close(t.Context())
			tx, err := other.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			const open = "INSERT INTO operations (id, type, resource, due_at) VALUES ($1, 'payment.confirm', $2, now())"
			if _, err := tx.Exec(t.Context(), open, store.NewOperationID(), first.ID); err != nil {
				t.Fatal(err)
			}

			db.Ahead(16 * time.Minute)
			expired := make(chan error, 1)
			go func() {
				_, err := db.ExpirePayments(t.Context(), 10)
				expired <- err
			}()
			for db.Count("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0 {
				time.Sleep(time.Millisecond)
			}
			db.Ahead(0) // the payer's command was begun in time
			db.Finish(db.Call(db.PaymentCommand(store.PaymentConfirm, second, 0)), answer)
			was := checkState(t, db, "confirmed", second.ID, db.Payment(second.ID).Status, name)
			const expiresAt = "SELECT extract(epoch FROM expires_at)::bigint FROM payments WHERE id = $1"
			until := db.Count(expiresAt, second.ID)
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-expired; err != nil {
				t.Fatal(err)
			}

			var late store.Ref
			const opened = "SELECT id, seq FROM operations WHERE type = 'payment.expire' AND resource = $1"
			if err := db.Pool().QueryRow(t.Context(), opened, second.ID).Scan(&late.ID, &late.Seq); err != nil {
				t.Fatal(err)
			}
			db.NoCall(late)
			checkState(t, db, "after an expiry that was none", second.ID, was.Status, was.PaymentStatus)
			if got := db.Count(expiresAt, second.ID); got != until {
				t.Errorf("it expires %d seconds later than it did", got-until)
			}
			db.CheckInvariants()
		})
	}
}
