package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// step is a command on a payment and what the acquirer answers to it.
type step struct {
	command store.OperationType // "" for the authorisation that comes first
	amount  int64
	answer  store.CallOutcome
}

func TestAPaymentComesToWhatTheAcquirerAnswers(t *testing.T) {
	t.Parallel()
	type books struct{ Merchant, Commission, Clearing int }
	const (
		confirm  = store.PaymentConfirm
		complete = store.PaymentComplete
		cancel   = store.PaymentCancel
		reverse  = store.PaymentReverse
		yes, no  = store.Approved, store.Declined
	)
	for _, story := range []struct {
		name          string
		kind          store.InvoiceType
		steps         []step
		status        string
		paymentStatus string
		books         books
	}{
		{"a payment is approved", store.Pay, []step{{answer: yes}}, "FINISHED", "FINISHED", books{50000, 1100, -51100}},
		{"a payment is declined", store.Pay, []step{{answer: no}}, "CANCELED", "REJECTED", books{}},
		{"a payer must confirm", store.Pay, []step{{answer: store.NeedsConfirmation}}, "NEW", "NEEDS_CONFIRMATION", books{}},
		{"a payer confirms", store.Pay, []step{{answer: store.NeedsConfirmation}, {confirm, 0, yes}}, "FINISHED", "FINISHED", books{50000, 1100, -51100}},
		{"a payer gets the code wrong", store.Pay, []step{{answer: store.NeedsConfirmation}, {confirm, 0, store.NeedsConfirmation}}, "NEW", "NEEDS_CONFIRMATION", books{}},
		{"a payer gets the code right at last", store.Pay, []step{{answer: store.NeedsConfirmation}, {confirm, 0, store.NeedsConfirmation}, {confirm, 0, yes}}, "FINISHED", "FINISHED", books{50000, 1100, -51100}},
		{"a payer gets the code wrong for good", store.Pay, []step{{answer: store.NeedsConfirmation}, {confirm, 0, no}}, "CANCELED", "REJECTED", books{}},
		{"a hold is approved", store.Hold, []step{{answer: yes}}, "PAID", "HOLDED", books{}},
		{"a hold is confirmed", store.Hold, []step{{answer: store.NeedsConfirmation}, {confirm, 0, yes}}, "PAID", "HOLDED", books{}},
		{"a hold is completed", store.Hold, []step{{answer: yes}, {complete, 0, yes}}, "FINISHED", "FINISHED", books{50000, 1100, -51100}},
		{"a hold is completed with less", store.Hold, []step{{answer: yes}, {complete, 20000, yes}}, "FINISHED", "FINISHED", books{20000, 500, -20500}},
		{"a completion is refused", store.Hold, []step{{answer: yes}, {complete, 0, no}}, "PAID", "HOLDED", books{}},
		{"a hold is cancelled", store.Hold, []step{{answer: yes}, {cancel, 0, yes}}, "CANCELED", "CANCELED", books{}},
		{"a cancellation is refused", store.Hold, []step{{answer: yes}, {cancel, 0, no}}, "PAID", "HOLDED", books{}},
		{"a payment is reversed", store.Pay, []step{{answer: yes}, {reverse, 0, yes}}, "REVERSED", "REVERSED", books{}},
		{"a payment is reversed in part", store.Pay, []step{{answer: yes}, {reverse, 20000, yes}}, "FINISHED", "FINISHED", books{30000, 660, -30660}},
		{"a payment is reversed in two parts", store.Pay, []step{{answer: yes}, {reverse, 20000, yes}, {reverse, 0, yes}}, "REVERSED", "REVERSED", books{}},
		{"a reversal is refused", store.Pay, []step{{answer: yes}, {reverse, 20000, no}}, "FINISHED", "FINISHED", books{50000, 1100, -51100}},
		{"a reversal is refused, and accepted the next time", store.Pay, []step{{answer: yes}, {reverse, 0, no}, {reverse, 0, yes}}, "REVERSED", "REVERSED", books{}},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			shop := db.Shop()
			p, ref := db.CardPayment(db.ShopInvoice(shop, ofType(story.kind)))
			for _, s := range story.steps {
				if s.command != "" {
					ref = db.PaymentCommand(s.command, p, s.amount)
				}
				call := db.Call(ref)
				o := db.Finish(call, s.answer)
				if good := s.answer == yes || s.answer == store.NeedsConfirmation && s.command == ""; (o.Status == store.Succeeded) != good || o.Type != call.Type || !good && o.Code == "" {
					t.Errorf("%s, answered %s: %+v", call.Type, s.answer, o)
				}
				if again := db.Finish(call, s.answer); !again.Stale() {
					t.Errorf("the same answer again: %+v, want stale", again)
				}
				db.NoCall(ref)
				db.CheckInvariants()
			}
			checkState(t, db, "in the end", p.ID, story.status, story.paymentStatus)
			got := books{ledger(db, "merchant", shop.Client), ledger(db, "commission", 0), ledger(db, "acquirer_clearing", 0)}
			if diff := cmp.Diff(story.books, got); diff != "" {
				t.Errorf("the books: -want +got\n%s", diff)
			}
		})
	}
}

func TestAPaymentShowsWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	db.Ahead(48 * time.Hour)
	now, _, err := db.DecidingTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	recently := func(what string, at *time.Time, want bool) {
		t.Helper()
		if (at != nil) != want || want && (at.Before(now) || at.After(now.Add(time.Minute))) {
			t.Errorf("%s is %v, want a time: %v", what, at, want)
		}
	}

	declined, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	r := storetest.Result(db.Call(ref), store.Declined)
	r.Code, r.Message = "insufficient_funds\x00", "Not enough\x00 money."
	if o := db.FinishWith(r); o.Code != "insufficient_funds" {
		t.Errorf("%+v, want the acquirer's code", o)
	}
	p := db.Payment(declined.ID)
	if p.RefusalCode != "insufficient_funds" || p.RefusalMessage != "Not enough money." {
		t.Errorf("it was refused with %q, %q", p.RefusalCode, p.RefusalMessage)
	}
	recently("canceled at", p.CanceledAt, true)
	recently("paid at", p.PaidAt, false)

	silent, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	r = storetest.Result(db.Call(ref), store.Declined)
	r.Code, r.Message = "", ""
	if o := db.FinishWith(r); o.Status != store.Failed || o.Code != "declined" {
		t.Errorf("declined without a word: %+v, want it to fail all the same", o)
	}
	checkState(t, db, "declined without a word", silent.ID, store.StatusCanceled, store.PaymentRejected)

	toCard, ref := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.SystemType, n.CardTo = store.P2P, db.Card(shop, "5269610005").ID
	}))
	r = storetest.Result(db.Call(ref), store.Approved)
	r.SendOperationID, r.ReceiveOperationID = "sent", "received"
	db.FinishWith(r)
	p = db.Payment(toCard.ID)
	if p.SendOperationID != "sent" || p.ReceiveOperationID != "received" {
		t.Errorf("from card to card: %q and %q", p.SendOperationID, p.ReceiveOperationID)
	}
	recently("paid at", p.PaidAt, true)
	recently("finished at", p.FinishedAt, true)
	if n := ledger(db, "acquirer_clearing", shop.Client); n != 50000 {
		t.Errorf("%d went on to cards, want 50000", n)
	}
	if n := ledger(db, "merchant", shop.Client); n != 0 {
		t.Errorf("the shop has %d of it", n)
	}
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, toCard, 0)), store.Approved)
	recently("reversed at", db.Payment(toCard.ID).ReversedAt, true)

	unconfirmed, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	r = storetest.Result(db.Call(ref), store.NeedsConfirmation)
	r.Confirmation = &store.Confirmation{Type: "3DS", URL: "https://bank.example", Form: map[string]string{"PaReq": "x"}, Left: 3}
	db.FinishWith(r)
	if diff := cmp.Diff(r.Confirmation, db.Payment(unconfirmed.ID).Confirmation); diff != "" {
		t.Errorf("what the payer has to do: -want +got\n%s", diff)
	}
	r = storetest.Result(db.Call(db.PaymentCommand(store.PaymentConfirm, unconfirmed, 0)), store.NeedsConfirmation)
	r.Confirmation = &store.Confirmation{Type: "LOOKUP", Left: 2}
	if o := db.FinishWith(r); o.Status != store.Failed || o.Code != "wrong_code" {
		t.Errorf("a wrong code: %+v", o)
	}
	if diff := cmp.Diff(r.Confirmation, db.Payment(unconfirmed.ID).Confirmation); diff != "" {
		t.Errorf("what is left to the payer: -want +got\n%s", diff)
	}
	if n := db.Count("SELECT count(*) FROM acquirer_intents WHERE finished_at IS NOT NULL AND (secret IS NOT NULL OR reference <> 'reference')"); n != 0 {
		t.Errorf("%d finished calls keep a secret, or no reference", n)
	}
	db.CheckInvariants()
}

// An authorisation whose answer is lost is asked about until it is known, ever less often,
// and never declined for that.
func TestAnUnknownAuthorisationIsApprovedLater(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	p, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	call := db.Call(ref)
	db.Exec("DELETE FROM outbox")
	if diff := cmp.Diff(store.Outcome{Status: store.Running}, db.Finish(call, store.Unknown)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	checkState(t, db, "while nobody knows", p.ID, store.StatusNew, store.PaymentPending)
	if o := db.Finish(call, store.Unknown); !o.Stale() {
		t.Errorf("told twice: %+v, want stale", o)
	}
	db.NoCall(ref) // the seq has moved on
	db.CheckInvariants()

	for n, want := range []struct {
		delay string // of the message about the next inquiry; "" where it waits in its row
		wait  time.Duration
	}{{"10s", 10 * time.Second}, {"1s", time.Second}, {"10m", 10 * time.Minute}, {"", time.Hour}, {"", time.Hour}} {
		rows, inRow := 1, 0
		if want.delay == "" {
			rows, inRow = 0, 1
		}
		if got := db.Count("SELECT count(*) FROM outbox WHERE delay = $1 AND seq = $2 AND queue = 'cards' AND type = 'payment.authorise'", want.delay, n+2); got != rows {
			t.Errorf("inquiry %d: %d messages wait for %q, want %d", n+1, got, want.delay, rows)
		}
		if got := db.Count("SELECT count(*) FROM operations WHERE waits"); got != inRow {
			t.Errorf("inquiry %d: %d operations wait in their rows, want %d", n+1, got, inRow)
		}
		const due = "SELECT count(*) FROM operations WHERE due_at - now() BETWEEN $1::interval - interval '20 s' AND $1::interval + interval '2 s'"
		if got := db.Count(due, want.wait); got != 1 {
			t.Errorf("inquiry %d: it is not due in about %s", n+1, want.wait)
		}
		if n == 0 {
			db.EndLeases() // the others end theirs themselves
		}
		db.Exec("DELETE FROM outbox")
		inquiry := db.Call(db.Ref(ref.ID))
		if !inquiry.Unknown || inquiry.Intent != call.Intent {
			t.Errorf("inquiry %d: %+v", n+1, inquiry)
		}
		if o := db.Finish(inquiry, store.Unknown); o.Status != store.Running {
			t.Errorf("inquiry %d: %+v", n+1, o)
		}
		checkState(t, db, "while nobody knows", p.ID, store.StatusNew, store.PaymentPending)
	}
	db.Exec("UPDATE operations SET due_at = now() - interval '1 second'")
	if n, err := db.EnqueueDue(t.Context(), "cards", 100, 10); err != nil || n != 0 {
		t.Errorf("%d were lost, %v; want none", n, err)
	}
	if n := db.Count("SELECT count(*) FROM outbox WHERE delay = ''"); n != 1 {
		t.Errorf("%d messages for what waited in its row, whatever the backlog, want 1", n)
	}
	if o := db.Finish(db.Call(db.Ref(ref.ID)), store.Approved); o.Status != store.Succeeded {
		t.Errorf("known at last: %+v", o)
	}
	checkState(t, db, "in the end", p.ID, store.StatusFinished, store.PaymentFinished)
	if n := db.Count("SELECT attempts FROM operations"); n != 1 {
		t.Errorf("%d attempts are counted, want the one that ended it", n)
	}
	db.CheckInvariants()
}

func TestAnUnknownStepLeavesThePaymentAsItWas(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name          string
		kind          store.InvoiceType
		before        []step
		command       store.OperationType
		status, after string // while it is unknown; once it is approved
	}{
		{"a confirmation makes it pending", store.Pay, []step{{answer: store.NeedsConfirmation}}, store.PaymentConfirm, "PENDING", "FINISHED"},
		{"a completion", store.Hold, []step{{answer: store.Approved}}, store.PaymentComplete, "HOLDED", "FINISHED"},
		{"a cancellation", store.Hold, []step{{answer: store.Approved}}, store.PaymentCancel, "HOLDED", "CANCELED"},
		{"a reversal", store.Pay, []step{{answer: store.Approved}}, store.PaymentReverse, "FINISHED", "REVERSED"},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), ofType(story.kind)))
			for _, s := range story.before {
				db.Finish(db.Call(ref), s.answer)
			}
			ref = db.PaymentCommand(story.command, p, 0)
			if o := db.Finish(db.Call(ref), store.Unknown); o.Status != store.Running {
				t.Errorf("unknown: %+v", o)
			}
			if got := db.Payment(p.ID).PaymentStatus; got != story.status {
				t.Errorf("it is %s, want %s", got, story.status)
			}
			db.CheckInvariants()
			db.EndLeases()
			db.Finish(db.Call(db.Ref(ref.ID)), store.Approved)
			if got := db.Payment(p.ID).PaymentStatus; got != story.after {
				t.Errorf("it is %s, want %s", got, story.after)
			}
			db.CheckInvariants()
		})
	}
}

// Two processes have called, since the first one's lease was over: it answers after all.
func TestOfTwoAnswersTheFirstThatComesCounts(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	slow := db.Call(ref)
	db.EndLeases()
	quick := db.Call(ref)
	if o := db.Finish(slow, store.Unknown); !o.Stale() {
		t.Errorf("the slow one knows nothing, and has lost its lease: %+v, want stale", o)
	}
	if o := db.Finish(slow, store.Approved); o.Status != store.Succeeded {
		t.Errorf("the slow one knows after all: %+v", o)
	}
	if o := db.Elsewhere().Finish(quick, store.Declined); !o.Stale() {
		t.Errorf("what is known already: %+v, want stale", o)
	}
	checkState(t, db, "in the end", p.ID, store.StatusFinished, store.PaymentFinished)

	// Twice at once, in one set or in two.
	_, ref = db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	call := db.Call(ref)
	elsewhere := db.Elsewhere()
	outcomes := make([]store.Outcome, 12)
	for _, err := range atOnce(len(outcomes), func(i int) (err error) {
		s := []*storetest.DB{db, elsewhere}[i%2]
		outcomes[i], err = s.FinishCall(t.Context(), storetest.Result(call, store.Approved))
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	counted := 0
	for _, o := range outcomes {
		if !o.Stale() {
			counted++
		}
	}
	if counted != 1 {
		t.Errorf("%d of 12 answers counted, want 1", counted)
	}
	db.CheckInvariants()
}

func TestSixReversalsAtOnceGiveBackNoMoreThanThereIs(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	p := db.Paid(db.ShopInvoice(shop, nil))
	processes := []*storetest.DB{db, db.Elsewhere()}
	accepted := make([]store.OperationID, 6)
	atOnce(6, func(i int) (err error) { // of 50000 at most two fit
		accepted[i], err = processes[i%2].AcceptPaymentCommand(t.Context(), store.PaymentCommand{
			Type: store.PaymentReverse, Payment: p.ID, Invoice: p.Invoice, Client: p.Client, Amount: 20000,
		})
		return err
	})
	for _, err := range atOnce(6, func(i int) error {
		if accepted[i].IsZero() {
			return nil
		}
		s := processes[(i+1)%2]
		call, begun, err := s.StartCall(t.Context(), store.Ref{ID: accepted[i], Seq: 1}, storetest.Lease)
		if err != nil || !begun {
			return err
		}
		_, err = s.FinishCall(t.Context(), storetest.Result(call, store.Approved))
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if got := db.Payment(p.ID); got.Reversed != 40000 || got.Status != store.StatusFinished {
		t.Errorf("%d are given back, and it is %s; want 40000, FINISHED", got.Reversed, got.Status)
	}
	if n := ledger(db, "merchant", shop.Client); n != 10000 {
		t.Errorf("the shop has %d, want 10000", n)
	}
	db.CheckInvariants()
}

// Results of strangers that arrive together are stored together, and one that cannot be
// stored is nobody else's trouble.
func TestManyResultsAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop, other := db.Shop(), db.Shop()
	calls := make([]store.CardCall, 40)
	for i := range calls {
		_, ref := db.CardPayment(db.ShopInvoice([]store.Shop{shop, other}[i%2], nil))
		calls[i] = db.Call(ref)
	}
	for i, err := range atOnce(len(calls), func(i int) error {
		r := storetest.Result(calls[i], []store.CallOutcome{store.Approved, store.Approved, store.Declined, store.Unknown}[i%4])
		if i == 7 {
			r.Outcome, r.Confirmation = store.NeedsConfirmation, nil // nobody says how
		}
		_, err := db.FinishCall(t.Context(), r)
		return err
	}) {
		if (err != nil) != (i == 7) {
			t.Errorf("result %d: %v", i, err)
		}
	}
	if n := ledger(db, "merchant", shop.Client) + ledger(db, "merchant", other.Client); n != 20*50000 {
		t.Errorf("the shops have %d, want 20 payments", n)
	}
	db.CheckInvariants()
}
