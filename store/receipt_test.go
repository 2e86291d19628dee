package store_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestAReceiptIsSentWhereThereIsAnAddress(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	invoice := func(email string, reusable bool) store.NewShopInvoice {
		return db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Email, n.Reusable = email, reusable })
	}
	for _, story := range []struct {
		name    string
		invoice store.NewShopInvoice
		email   string // the payer's
		want    string
	}{
		{"nobody gave one", invoice("", false), "", ""},
		{"the shop gave one", invoice("shop@example.com", false), "", "shop@example.com"},
		{"the shop gave one to all who pay", invoice("shop@example.com", true), "", ""},
		{"the payer gave one", invoice("", false), "payer@example.com", "payer@example.com"},
		{"the payer gave one to what anybody may pay", invoice("shop@example.com", true), "payer@example.com", "payer@example.com"},
		{"the payer's goes before the shop's", invoice("shop@example.com", false), "payer@example.com", "payer@example.com"},
	} {
		n := storetest.NewCardPayment(story.invoice, db.Card(shop, "4111111111"))
		n.Email = story.email
		id, err := db.CreateCardPayment(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Receipt(t.Context(), n.ID); !errors.Is(err, store.ErrNoReceipt) {
			t.Errorf("%s, before it is paid: %v", story.name, err)
		}
		db.Exec("DELETE FROM outbox")
		db.Finish(db.Call(store.Ref{ID: id, Seq: 1}), store.Approved)
		want := 0
		if story.want != "" {
			want = 1
		}
		if got := db.Count("SELECT count(*) FROM outbox WHERE queue = 'receipts' AND type = 'receipt.send' AND seq = 1"); got != want {
			t.Errorf("%s: %d mails are enqueued, want %d", story.name, got, want)
		}
		receipt, err := db.Receipt(t.Context(), n.ID)
		if err != nil || receipt.Amount.Minor != 50000 || receipt.ClientName != shop.Name || receipt.InvoiceNumber == 0 || receipt.CardFrom.Mask != "4111111111" {
			t.Errorf("%s: the receipt is %+v, %v", story.name, receipt, err)
		}
		if want == 0 {
			continue
		}
		ref := refOf(db, store.ReceiptSend)
		mail, begun, err := db.StartReceipt(t.Context(), ref)
		if err != nil || !begun || mail.To != story.want || mail.Operation != ref.ID || mail.Client != shop.Client {
			t.Errorf("%s: %+v, %v, %v", story.name, mail, begun, err)
		}
		if diff := cmp.Diff(receipt, mail.Receipt); diff != "" {
			t.Errorf("%s: the mail's receipt: -want +got\n%s", story.name, diff)
		}
		if o, err := db.FinishReceipt(t.Context(), ref, "", ""); err != nil || o.Status != store.Succeeded {
			t.Errorf("%s: sent: %+v, %v", story.name, o, err)
		}
		if o, err := db.FinishReceipt(t.Context(), ref, "refused", "no such mailbox"); err != nil || !o.Stale() {
			t.Errorf("%s: sent twice: %+v, %v", story.name, o, err)
		}
		if _, begun, err := db.StartReceipt(t.Context(), ref); err != nil || begun {
			t.Errorf("%s: once more: %v, %v", story.name, begun, err)
		}
	}
	if _, err := db.Receipt(t.Context(), store.NewPaymentID()); !errors.Is(err, store.ErrPaymentNotFound) {
		t.Errorf("of nothing: %v", err)
	}
	db.CheckInvariants()
}

func TestMailTheReceiptAndAcknowledge(t *testing.T) {
	t.Parallel()
	db := newFaulty(t)
	db.Paid(db.ShopInvoice(db.Shop(), func(n *store.NewShopInvoice) { n.Email = "payer@example.com" }))
	ref := refOf(db.DB, store.ReceiptSend)
	db.faults.Down() // one statement each: it happens, or it does not
	if _, begun, err := db.cutting.StartReceipt(t.Context(), ref); !errors.Is(err, store.ErrUnavailable) || begun {
		t.Errorf("start: %v, %v; want unavailable", begun, err)
	}
	if _, err := db.cutting.FinishReceipt(t.Context(), ref, "", ""); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("finish: %v, want unavailable", err)
	}
	for range 2 { // the process died after it had mailed: it mails again
		if _, begun, err := db.StartReceipt(t.Context(), ref); err != nil || !begun {
			t.Errorf("started: %v, %v", begun, err)
		}
	}
	o, err := db.FinishReceipt(t.Context(), store.Ref{ID: ref.ID, Seq: ref.Seq + 1}, "refused", "no such mailbox")
	if err != nil || o.Status != store.Failed || o.Code != "refused" || o.Type != store.ReceiptSend {
		t.Errorf("refused for good: %+v, %v", o, err)
	}
	db.CheckInvariants()
}
