package store

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quittance/quittance/store/money"
)

// genBatch draws a batch in which stale, repeated, closed and unaffordable payments are
// all likely.
func genBatch(t *rapid.T) (*paymentBatch, []Ref) {
	owner := rapid.Int64Range(1, 5)
	currency := rapid.SampledFrom([]money.Currency{810, 978})
	balance := rapid.OneOf(rapid.Int64Range(0, 100), rapid.Int64Range(math.MaxInt64-50, math.MaxInt64))
	b := &paymentBatch{
		now: time.Unix(1, 0), orders: make(map[OperationID]order),
		wallets: make(map[walletKey]*wallet), owners: make(map[int64]bool),
	}
	for n := range rapid.IntRange(0, 8).Draw(t, "wallets") {
		key := walletKey{owner.Draw(t, "owner"), currency.Draw(t, "currency")}
		b.wallets[key] = &wallet{id: LedgerAccountID(n + 1), balance: balance.Draw(t, "balance")}
		b.owners[key.owner] = true
	}
	var refs []Ref
	for n := range rapid.IntRange(0, 12).Draw(t, "orders") {
		o := order{
			id: OperationID{byte(n + 1)}, seq: rapid.Int64Range(1, 2).Draw(t, "seq"), number: InvoiceNumber{byte(n + 1)},
			status: rapid.SampledFrom([]Status{Accepted, Accepted, Running, Succeeded, Failed, Dead}).Draw(t, "status"),
			payer:  owner.Draw(t, "payer"), recipient: owner.Draw(t, "recipient"),
			amount:  money.Amount{Minor: rapid.Int64Range(1, 120).Draw(t, "amount"), Currency: currency.Draw(t, "in")},
			deleted: rapid.IntRange(0, 9).Draw(t, "closed") == 0,
		}
		if o.payer == o.recipient {
			o.recipient = o.payer%5 + 1 // the schema has no such invoice
		}
		b.orders[o.id] = o
	}
	for range rapid.IntRange(0, 20).Draw(t, "messages") {
		refs = append(refs, Ref{ID: OperationID{byte(rapid.IntRange(1, 13).Draw(t, "id"))}, Seq: rapid.Int64Range(1, 2).Draw(t, "at")})
	}
	return b, refs
}

func TestPaymentDecisionsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, refs := genBatch(t)
		before := make(map[LedgerAccountID]int64)
		for _, w := range b.wallets {
			before[w.id] = w.balance
		}
		orders := make(map[OperationID]order)
		for id, o := range b.orders {
			orders[id] = o
		}
		d := b.decide(refs)

		if len(d.outcomes) != len(refs) {
			t.Fatalf("%d outcomes for %d messages", len(d.outcomes), len(refs))
		}
		ended := make(map[OperationID]int)
		for i, ref := range refs {
			o, known := orders[ref.ID]
			open := known && o.seq == ref.Seq && o.status.Open()
			if !d.outcomes[i].Stale() {
				ended[ref.ID]++
				if !open {
					t.Fatalf("message %d about %+v had an effect", i, o)
				}
			} else if open && ended[ref.ID] == 0 {
				t.Fatalf("message %d about the open %+v had none", i, o)
			}
		}
		for id, n := range ended {
			if n != 1 {
				t.Fatalf("operation %s ended %d times", id, n)
			}
		}
		if len(d.ends) != len(ended) {
			t.Fatalf("%d ends for %d operations", len(d.ends), len(ended))
		}

		after := before
		paid := make(map[[16]byte]bool)
		for _, x := range d.transfers {
			if paid[x.reference] {
				t.Fatalf("invoice %x is paid twice", x.reference)
			}
			paid[x.reference] = true
			after[x.debit] -= x.amount.Minor
			if after[x.debit] < 0 {
				t.Fatalf("transfer %+v leaves %d", x, after[x.debit])
			}
			if after[x.credit] > math.MaxInt64-x.amount.Minor {
				t.Fatalf("transfer %+v overflows", x)
			}
			after[x.credit] += x.amount.Minor
		}
		for _, w := range b.wallets {
			if after[w.id] != w.balance {
				t.Fatalf("wallet %d: transfers say %d, the batch says %d", w.id, after[w.id], w.balance)
			}
		}
		for _, e := range d.ends {
			if paid[e.number] != (e.refusal == settled) {
				t.Fatalf("end %+v: transfer %v", e, paid[e.number])
			}
		}
	})
}

// Splitting a batch must not change what becomes of any payment: halving a set that fails
// relies on it.
func TestHalvesDecideWhatTheWholeDecides(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole, refs := genBatch(t)
		halved := &paymentBatch{now: whole.now, owners: whole.owners, orders: make(map[OperationID]order), wallets: make(map[walletKey]*wallet)}
		for id, o := range whole.orders {
			halved.orders[id] = o
		}
		for key, w := range whole.wallets {
			twin := *w
			halved.wallets[key] = &twin
		}
		cut := rapid.IntRange(0, len(refs)).Draw(t, "cut")

		all := whole.decide(refs).outcomes
		parts := append(halved.decide(refs[:cut]).outcomes, halved.decide(refs[cut:]).outcomes...)
		for i := range all {
			if all[i] != parts[i] {
				t.Fatalf("message %d: %+v as a whole, %+v cut at %d", i, all[i], parts[i], cut)
			}
		}
	})
}

func TestAPaymentIsAcceptedOnlyAsTheInvoiceWasIssued(t *testing.T) {
	t.Parallel()
	under, fresh := OperationID{1}, OperationID{2}
	fits := Payment{Amount: money.Amount{Minor: 10, Currency: 810}, Recipient: "shop"}
	invoice := foundInvoice{account: 1, payer: 1, amount: fits.Amount, state: AwaitingPayment, recipient: "shop"}
	for _, story := range []struct {
		name   string
		change func(*Payment, *foundInvoice)
		want   error // nil for a new operation
		same   bool  // the one under way
	}{
		{name: "it fits", change: func(*Payment, *foundInvoice) {}},
		{name: "there is no invoice", change: func(_ *Payment, f *foundInvoice) { f.state = 0 }, want: ErrInvoiceNotFound},
		{name: "there is no session", change: func(_ *Payment, f *foundInvoice) { f.account = 0 }, want: ErrSessionNotFound},
		{name: "it is paid", change: func(_ *Payment, f *foundInvoice) { f.state = Paid }, want: ErrPaidEarlier},
		{name: "it has expired", change: func(_ *Payment, f *foundInvoice) { f.state = Expired }, want: ErrExpired},
		{name: "somebody else pays", change: func(_ *Payment, f *foundInvoice) { f.account = 2 }, want: ErrNotThePayer},
		{name: "somebody else pays what is being paid", change: func(_ *Payment, f *foundInvoice) {
			f.account, f.state, f.open = 2, PaymentInProgress, under
		}, want: ErrInProgress},
		{name: "the amount is another", change: func(p *Payment, _ *foundInvoice) { p.Amount.Minor = 11 }, want: &Mismatch{Field: "amount"}},
		{name: "the currency is another", change: func(p *Payment, _ *foundInvoice) { p.Amount.Currency = 643 }, want: &Mismatch{Field: "currencyCode"}},
		{name: "the recipient is another", change: func(p *Payment, _ *foundInvoice) { p.Recipient = "thief" }, want: &Mismatch{Field: "recipient"}},
		{name: "the payer asks again", change: func(_ *Payment, f *foundInvoice) { f.state, f.open = PaymentInProgress, under }, same: true},
	} {
		p, f := fits, invoice
		story.change(&p, &f)
		id, err := p.decide(f, fresh)
		if story.want == nil && (err != nil || id.IsZero() || (id == under) != story.same) {
			t.Errorf("%s: operation %s, %v", story.name, id, err)
		}
		if story.want != nil && (err == nil || err.Error() != story.want.Error() || !id.IsZero()) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
}
