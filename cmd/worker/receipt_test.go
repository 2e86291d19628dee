package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
	"github.com/quittance/quittance/workers/receipt/mailtest"
)

const ended = "SELECT count(*) FROM operations WHERE type = 'receipt.send' AND status = $1 AND coalesce(error_code, '') = $2 AND attempts = 1"

// paidFor finishes a payment of an invoice that goes to an address.
func (p *process) paidFor(t *testing.T, email string, change ...func(*store.NewShopInvoice)) store.NewCardPayment {
	t.Helper()
	invoice := p.ShopInvoice(p.Shop(), func(n *store.NewShopInvoice) {
		n.Email = email
		for _, f := range change {
			f(n)
		}
	})
	card := store.Card{ID: store.NewCardID(), Mask: "4111111111", Expiry: "2099-12", Brand: "visa"}
	payment := store.NewCardPayment{
		ID: store.NewPaymentID(), Intent: store.NewIntentID(), Invoice: invoice.ID, Client: invoice.Shop.Client,
		Card: card, NewCard: true, Token: acquirertest.TokenOf(approved, card.Expiry), SavedToken: acquirertest.TokenOf(approved, card.Expiry),
	}
	if _, err := p.CreateCardPayment(t.Context(), payment); err != nil {
		t.Fatal(err)
	}
	p.Eventually("the payment", 1, "SELECT count(*) FROM payments WHERE id = $1 AND status = 'FINISHED'", payment.ID)
	return payment
}

func TestReceiptsAreMailed(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	inbox := mailtest.Start(t)
	p.environ["QUITTANCE_SMTP_URL"], p.environ["QUITTANCE_MAIL_FROM"] = inbox.URL(), "Quittance <receipts@quittance.example>"
	t.Cleanup(p.begin(t).stop)

	paid := p.paidFor(t, "payer@example.com")
	p.Eventually("the receipt", 1, ended, "succeeded", "")
	mails := inbox.Messages()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one", len(mails))
	}
	m, receipt := mails[0], p.Payment(paid.ID).ReceiptID
	if m.From != "receipts@quittance.example" || len(m.To) != 1 || m.To[0] != "payer@example.com" || !strings.Contains(m.Subject, receipt) {
		t.Errorf("from %s to %v: %s", m.From, m.To, m.Subject)
	}
	if len(m.Attachments) != 1 || m.Attachments[0].Name != "receipt-"+receipt+".pdf" || !strings.HasPrefix(string(m.Attachments[0].Content), "%PDF-") {
		t.Errorf("attached are %+v", m.Attachments)
	}

	p.paidFor(t, "") // nobody is to get it
	p.paidFor(t, "payer@example.com", func(n *store.NewShopInvoice) { n.Reusable = true })
	inbox.Refuse(550, "no such user")
	p.paidFor(t, "nobody@example.com")
	p.Eventually("the refused receipt", 1, ended, "failed", "mail_refused")
	if n := len(inbox.Messages()); n != 1 {
		t.Errorf("%d mails were taken in all, want one", n)
	}
	p.CheckInvariants()
}

// The mail server may be away for as long as it likes: receipts wait, and use up nothing.
func TestReceiptsWaitForTheMailServer(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	inbox := mailtest.Start(t)
	address := strings.TrimPrefix(inbox.URL(), "smtp://")
	p.environ["QUITTANCE_SMTP_URL"] = inbox.URL()
	t.Cleanup(p.begin(t).stop)
	p.paidFor(t, "payer@example.com")
	p.Eventually("the first receipt", 1, ended, "succeeded", "") // it runs

	inbox.Close()
	p.paidFor(t, "payer@example.com")
	p.paidFor(t, "payer@example.com")
	p.Eventually("a receipt that was tried", 1, "SELECT count(*) FROM operations WHERE type = 'receipt.send' AND status = 'running' AND attempts = 0")
	again, err := mailtest.Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Close)
	p.Eventually("all receipts", 3, ended, "succeeded", "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := again.Wait(ctx, 2); err != nil {
		t.Errorf("the mails that waited: %v", err)
	}
	p.CheckInvariants()
}

func TestWithoutAMailServerReceiptsSaySo(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.paidFor(t, "payer@example.com")
	p.Eventually("the receipt", 1, ended, "failed", "mail_off")
	p.CheckInvariants()
}
