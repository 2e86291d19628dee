package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

func TestAMessageHasItsEffectOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)

	for _, story := range []struct {
		name     string
		messages []store.Ref
		want     []store.Status
	}{
		{"a message with a seq that is to come is stale", []store.Ref{{ID: ref.ID, Seq: 2}}, []store.Status{""}},
		{"a message about nothing is stale", []store.Ref{{ID: store.NewOperationID(), Seq: 1}}, []store.Status{""}},
		{"of two copies in one batch the first pays", []store.Ref{ref, ref}, []store.Status{store.Succeeded, ""}},
		{"a copy that comes later is stale", []store.Ref{ref}, []store.Status{""}},
	} {
		outcomes, err := db.PayInvoices(t.Context(), story.messages)
		if err != nil {
			t.Fatalf("%s: %v", story.name, err)
		}
		if diff := cmp.Diff(story.want, statuses(outcomes)); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		db.CheckInvariants()
	}
	if got := db.Balance(shop); got != 300 {
		t.Errorf("the shop has %d, want 300", got)
	}
}

func statuses(outcomes []store.Outcome) (all []store.Status) {
	for _, o := range outcomes {
		all = append(all, o.Status)
	}
	return all
}

func TestARefusedPaymentReturnsItsInvoice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	rich, poor, shop, closing := db.Account(1000), db.Account(0), db.Account(0), db.Account(0)
	euros := db.Account(0)
	if _, err := db.OpenBalance(t.Context(), euros.Number, money.Amount{Minor: 500, Currency: 978}, [16]byte{1}); err != nil {
		t.Fatal(err)
	}

	for _, story := range []struct {
		name    string
		payment store.Payment
		meanwhile,
		code string
		invoice store.InvoiceError
	}{
		{name: "the payer has no money", payment: db.Invoice(poor, shop, 10), code: "insufficient_funds", invoice: store.InsufficientFunds},
		{name: "the payer has too little", payment: db.Invoice(rich, shop, 1001), code: "insufficient_funds", invoice: store.InsufficientFunds},
		{name: "the payer has other money", payment: db.Invoice(euros, shop, 10), code: "currency_mismatch", invoice: store.CurrencyMismatch},
		{
			name: "the recipient closed the account meanwhile", payment: db.Invoice(rich, closing, 10),
			meanwhile: "UPDATE accounts SET deleted = true WHERE account_number = '" + closing.Number + "'",
			code:      "recipient_cannot_receive", invoice: store.RecipientCannotReceive,
		},
	} {
		id, err := db.AcceptPayment(t.Context(), story.payment)
		if err != nil {
			t.Fatalf("%s: %v", story.name, err)
		}
		if story.meanwhile != "" {
			db.Exec(story.meanwhile)
		}
		outcomes, err := db.PayInvoices(t.Context(), []store.Ref{{ID: id, Seq: 1}})
		if err != nil {
			t.Fatalf("%s: %v", story.name, err)
		}
		if outcomes[0].Status != store.Failed || outcomes[0].Code != story.code {
			t.Errorf("%s: %+v, want failed, %s", story.name, outcomes[0], story.code)
		}
		invoice, err := db.Store.Invoice(t.Context(), story.payment.Number)
		if err != nil {
			t.Fatal(err)
		}
		if invoice.State != store.AwaitingPayment || invoice.Error != story.invoice {
			t.Errorf("%s: the invoice is in state %d with error %d, want 2 with %d", story.name, invoice.State, invoice.Error, story.invoice)
		}
		operation, err := db.Operation(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if operation.Status != store.Failed || operation.ErrorCode != story.code || operation.FinishedAt == nil || operation.Attempts != 1 {
			t.Errorf("%s: the operation is %+v", story.name, operation)
		}
	}
	db.CheckInvariants()
}

func TestARefusedInvoiceCanBePaidAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(0), db.Account(0)
	payment := db.Invoice(payer, shop, 10)
	first, err := db.AcceptPayment(t.Context(), payment)
	if err != nil {
		t.Fatal(err)
	}
	db.Settle(store.Ref{ID: first, Seq: 1})

	if _, err := db.OpenBalance(t.Context(), payer.Number, money.Amount{Minor: 10, Currency: storetest.RUR}, [16]byte{9}); err != nil {
		t.Fatal(err)
	}
	second, err := db.AcceptPayment(t.Context(), payment)
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("the second payment is the first operation, which is final")
	}
	if o := db.Settle(store.Ref{ID: second, Seq: 1}); o.Status != store.Succeeded {
		t.Errorf("the second payment: %+v, want succeeded", o)
	}
	db.CheckInvariants()
}

func TestAHotRecipientOfManyPayersIsCreditedInOneSet(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Account(0)
	var batch []store.Ref
	for range 40 {
		batch = append(batch, db.Accepted(db.Account(100), shop, 7))
	}
	if _, err := db.PayInvoices(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if got := db.Balance(shop); got != 280 {
		t.Errorf("the shop has %d, want 280", got)
	}
	db.CheckInvariants()
}

// Who holds a wallet, or an operation, holds up the payments that need it and no others.
func TestHeldRowsHoldUpOnlyWhatNeedsThem(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop, other, held := db.Account(1000), db.Account(0), db.Account(1000), db.Account(1)
	touched, alone := db.Accepted(other, held, 5), db.Accepted(payer, shop, 7)
	late := db.Accepted(payer, shop, 9)

	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	const wallet = `SELECT FROM ledger_accounts WHERE kind = 'wallet' AND owner = (SELECT id FROM accounts WHERE account_number = $1) FOR UPDATE`
	if _, err := tx.Exec(t.Context(), wallet, held.Number); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM operations WHERE id = $1 FOR UPDATE", late.ID); err != nil {
		t.Fatal(err)
	}
	batch := []store.Ref{touched, alone, late}
	outcomes, err := db.PayInvoices(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if !outcomes[0].Stale() || outcomes[1].Status != store.Succeeded || !outcomes[2].Stale() {
		t.Errorf("while rows are held: %+v, want only the second settled", outcomes)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcomes, err = db.PayInvoices(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if outcomes[0].Status != store.Succeeded || !outcomes[1].Stale() || outcomes[2].Status != store.Succeeded {
		t.Errorf("afterwards: %+v, want the others settled, each once", outcomes)
	}
	db.CheckInvariants()
}
