package store

import (
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	decidingNow = time.Unix(1_000_000, 0).UTC()
	leasedNow   = time.Unix(2_000, 0).UTC()
)

// genCalls draws results of calls on payments in all their states, in which stale, late and
// impossible ones are all likely.
func genCalls(t *rapid.T) (*callBatch, []*finishing) {
	b := &callBatch{
		now: leasedNow.Add(-3 * time.Second), deciding: decidingNow, steps: make(map[IntentID]cardStep), payments: make(map[PaymentID]*lockedPayment),
		subscriptions: make(map[InvoiceNumber]*lockedSubscription), ledger: make(map[ledgerKey]LedgerAccountID),
	}
	for n, key := range []ledgerKey{
		{acquirerClearingKind, 0, Hryvnia},
		{commissionKind, 0, Hryvnia},
		{merchantKind, 1, Hryvnia},
		{acquirerClearingKind, 1, Hryvnia},
		{merchantKind, 2, Hryvnia}, // client 2 lacks one, client 3 all
	} {
		b.ledger[key] = LedgerAccountID(n + 1)
	}
	var results []*finishing
	for n := range rapid.IntRange(0, 8).Draw(t, "payments") {
		p := genPayment(t, byte(n+1))
		b.payments[p.id] = p
		if p.kind == Subscribe {
			due := decidingNow.Add(-time.Duration(rapid.IntRange(0, 200).Draw(t, "hours late")) * time.Hour)
			b.subscriptions[p.invoice] = &lockedSubscription{
				invoice: p.invoice, interval: time.Duration(rapid.IntRange(1, 40).Draw(t, "interval")) * day, active: true,
				tries: rapid.IntRange(0, 3).Draw(t, "tries"), paidAt: &due, dueAt: &due, chargeAt: &due,
			}
			if rapid.Bool().Draw(t, "is a later charge") {
				p.chargeDueAt = &due
			}
		}
		s := genStep(t, byte(n+1), p)
		b.steps[s.intent] = s
		r := &finishing{CallResult: CallResult{
			CardCall: CardCall{Intent: s.intent, Payment: p.id, LeasedUntil: leasedNow, Unknown: rapid.Bool().Draw(t, "inquired")},
			Outcome:  rapid.SampledFrom([]CallOutcome{Approved, Approved, Declined, NeedsConfirmation, Unknown, "nonsense"}).Draw(t, "outcome"),
			Code:     rapid.SampledFrom([]string{"", "declined"}).Draw(t, "code"),
			Ladder:   []Delay{{"1s", time.Second}, {Wait: time.Hour}}[:rapid.IntRange(0, 2).Draw(t, "ladder")],
		}}
		if rapid.IntRange(0, 4).Draw(t, "says how") > 0 {
			r.Confirmation = &Confirmation{Type: "LOOKUP", Left: 2}
		}
		switch rapid.IntRange(0, 9).Draw(t, "goes wrong") {
		case 0:
			r.LeasedUntil = leasedNow.Add(-time.Minute) // it lost its lease
		case 1:
			r.Intent = IntentID{99} // nobody knows it
		}
		results = append(results, r)
	}
	return b, results
}

func genPayment(t *rapid.T, n byte) *lockedPayment {
	p := &lockedPayment{
		id: PaymentID{n}, invoice: InvoiceNumber{n}, client: rapid.Int64Range(1, 3).Draw(t, "client"), currency: Hryvnia,
		systemType: rapid.SampledFrom([]SystemType{ECOM, BILLER, P2P}).Draw(t, "system"),
		kind:       rapid.SampledFrom([]InvoiceType{Pay, Hold, Subscribe}).Draw(t, "kind"),
		holdFor:    7 * day, hasAddress: rapid.Bool().Draw(t, "has an address"),
		amount: rapid.Int64Range(1, 1000).Draw(t, "amount"), commission: rapid.Int64Range(0, 50).Draw(t, "commission"),
		paymentStatus: rapid.SampledFrom([]string{
			PaymentOpen, PaymentNeedsConfirmation, PaymentPending, PaymentHolded, PaymentFinished, PaymentReversed, PaymentCanceled, PaymentRejected,
		}).Draw(t, "status"),
	}
	soon := decidingNow.Add(time.Hour)
	switch p.was = p.paymentStatus; p.paymentStatus {
	case PaymentNeedsConfirmation:
		p.confirmation, p.expiresAt = &Confirmation{Type: "3DS"}, &soon
	case PaymentHolded:
		p.held, p.expiresAt = p.amount, &soon
	case PaymentFinished:
		p.held, p.completed = p.amount, p.amount
		p.reversed = rapid.Int64Range(0, p.completed-1).Draw(t, "reversed")
		p.commissionReversed = rapid.Int64Range(0, p.commission).Draw(t, "commission reversed")
	case PaymentReversed:
		p.held, p.completed, p.reversed, p.commissionReversed = p.amount, p.amount, p.amount, p.commission
	}
	return p
}

// genStep draws an operation on the payment, mostly one that its state allows.
func genStep(t *rapid.T, n byte, p *lockedPayment) cardStep {
	kinds := []OperationType{PaymentAuthorise, PaymentConfirm, PaymentComplete, PaymentCancel, PaymentExpire, PaymentReverse}
	s := cardStep{
		operation: OperationID{n}, intent: IntentID{n}, payment: p.id, seq: 1, amount: p.amount, commission: p.commission,
		kind:        rapid.SampledFrom(kinds).Draw(t, "operation"),
		status:      rapid.SampledFrom([]Status{Running, Running, Running, Accepted, Dead}).Draw(t, "operation's status"),
		state:       rapid.SampledFrom([]string{"called", "called", "called", "unknown", "intended", "approved", "refused"}).Draw(t, "intent"),
		leasedUntil: leasedNow, inquiries: rapid.IntRange(0, 4).Draw(t, "inquiries"),
	}
	if rapid.IntRange(0, 4).Draw(t, "fits") > 0 {
		for _, kind := range kinds {
			if p.allows(kind) {
				s.kind = kind
			}
		}
	}
	switch s.kind {
	case PaymentComplete:
		s.amount = rapid.Int64Range(1, p.amount).Draw(t, "to complete")
	case PaymentReverse:
		left, commissionLeft := p.completed-p.reversed, p.commission-p.commissionReversed
		if p.paymentStatus != PaymentFinished {
			s.amount, s.commission = 0, 0
			break
		}
		s.amount = rapid.Int64Range(1, left).Draw(t, "to reverse")
		if s.commission = rapid.Int64Range(0, commissionLeft).Draw(t, "of commission"); s.amount == left {
			s.commission = commissionLeft
		}
		p.reversing, p.commissionReversing = s.amount, s.commission
	}
	return s
}

// fits says which promise of the schema a payment would break, or "".
func (p *lockedPayment) fits() string {
	status := statusOf[p.paymentStatus]
	finished := status == StatusFinished || status == StatusReversed
	waits := p.paymentStatus == PaymentNeedsConfirmation || p.paymentStatus == PaymentHolded
	switch {
	case status == "":
		return "status_is_known"
	case p.completed > p.held:
		return "never_completed_beyond_held"
	case (p.completed > 0) != finished:
		return "completed_exactly_if_finished"
	case p.completed != 0 && p.completed != p.amount:
		return "finished_with_what_was_completed"
	case p.held == 0 && (finished || status == StatusPaid):
		return "held_if_paid"
	case p.reversed < 0 || p.reversing < 0 || p.reversed+p.reversing > p.completed:
		return "never_reversed_beyond_completed"
	case p.commissionReversed < 0 || p.commissionReversing < 0 || p.commissionReversed+p.commissionReversing > p.commission:
		return "commission_never_reversed_beyond"
	case (status == StatusReversed) != (p.completed > 0 && p.reversed == p.completed):
		return "reversed_exactly_if_whole"
	case (p.confirmation != nil) != (p.paymentStatus == PaymentNeedsConfirmation):
		return "confirmation_exactly_if_needed"
	case (p.expiresAt != nil) != waits:
		return "what waits has its end"
	}
	return ""
}

func TestDecisionsOnCallsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, results := genCalls(t)
		before := make(map[PaymentID]lockedPayment)
		for id, p := range b.payments {
			if broken := p.fits(); broken != "" {
				t.Fatalf("the draw itself breaks %s: %+v", broken, p)
			}
			before[id] = *p
		}
		d := b.decide(results)

		touched := make(map[PaymentID]bool)
		for _, p := range d.payments {
			if touched[p.id] {
				t.Fatalf("payment %s is written twice", p.id)
			}
			touched[p.id] = true
			if broken := p.fits(); broken != "" {
				t.Fatalf("%+v breaks %s", p, broken)
			}
			checkTold(t, before[p.id], *p)
		}
		checkEnded(t, d)
		ended := make(map[IntentID]refusal)
		for _, e := range d.ends {
			ended[e.intent] = e.refusal
		}
		waits := make(map[IntentID]callUnknown)
		for _, u := range d.unknown {
			waits[u.intent] = u
		}
		moved := make(map[[16]byte]map[TransferKind]int64)
		for _, x := range d.transfers {
			if moved[x.reference] == nil {
				moved[x.reference] = make(map[TransferKind]int64)
			}
			if moved[x.reference][x.kind] != 0 || x.amount.Minor <= 0 || x.debit == x.credit || x.debit == 0 || x.credit == 0 {
				t.Fatalf("transfer %+v", x)
			}
			moved[x.reference][x.kind] = x.amount.Minor
		}

		for i, r := range results {
			s, known := b.steps[r.Intent]
			if !known {
				continue
			}
			why, isEnd := ended[r.Intent]
			unknown, isUnknown := waits[r.Intent]
			was, is := before[s.payment], *b.payments[s.payment]
			switch {
			case r.verdict != nil && (isEnd || isUnknown || touched[s.payment] || moved[r.Intent] != nil):
				t.Fatalf("result %d has an effect, and the error %v", i, r.verdict)
			case r.verdict != nil:
				continue
			case s.known() && (isEnd || isUnknown || touched[s.payment]):
				t.Fatalf("result %d changes what is known", i)
			case isEnd != (r.outcome.Status == Succeeded || r.outcome.Status == Failed), isUnknown != (r.outcome.Status == Running):
				t.Fatalf("result %d is told %+v", i, r.outcome)
			case isEnd && (why == settled) != (r.outcome.Status == Succeeded), isEnd && why != settled && why.code == "":
				t.Fatalf("result %d: %+v is told %+v", i, why, r.outcome)
			case isEnd && s.kind == PaymentReverse && (is.reversing != 0 || is.commissionReversing != 0):
				t.Fatalf("result %d leaves %d and %d set aside", i, is.reversing, is.commissionReversing)
			case r.Outcome == Unknown && isEnd, r.Outcome != Unknown && isUnknown:
				t.Fatalf("result %d, %s, ended: %v, unknown: %v", i, r.Outcome, isEnd, isUnknown)
			case isUnknown && unknown.Wait <= 0:
				t.Fatalf("result %d is looked at again at once", i)
			}
			got := moved[r.Intent]
			want := make(map[TransferKind]int64)
			if n := is.completed - was.completed; n != 0 && touched[s.payment] {
				want[CardPaymentTransfer], want[CardCommissionTransfer] = n, is.commission
			}
			if n := is.reversed - was.reversed; n != 0 && touched[s.payment] {
				want[CardReversalTransfer], want[CommissionReversalTransfer] = n, is.commissionReversed-was.commissionReversed
			}
			maps.DeleteFunc(want, func(_ TransferKind, minor int64) bool { return minor == 0 })
			if len(got)+len(want) > 0 && !maps.Equal(got, want) {
				t.Fatalf("result %d: transfers %v, want %v for what became of the payment", i, got, want)
			}
			if len(want) > 0 && r.Outcome != Approved {
				t.Fatalf("result %d moves money although it is %s", i, r.Outcome)
			}
		}
		for _, u := range d.subscriptions {
			if u.active && !u.chargeAt.After(decidingNow) {
				t.Fatalf("subscription %+v is charged again at once", u)
			}
		}
	})
}

// checkTold: a shop is told exactly if its payment came to something else, or gave back more.
func checkTold(t *rapid.T, was, is lockedPayment) {
	want := EventType("")
	switch {
	case is.paymentStatus != was.paymentStatus:
		want = eventOf[is.paymentStatus]
	case is.reversed != was.reversed:
		want = EventPaymentPartlyReversed
	}
	if is.event != want {
		t.Fatalf("%s, %d reversed, became %s, %d reversed: its shop is told %q, want %q", was.paymentStatus, was.reversed, is.paymentStatus, is.reversed, is.event, want)
	}
}

// checkEnded: whoever is told that a subscription ended has one that did.
func checkEnded(t *rapid.T, d cardDecisions) {
	over := make(map[InvoiceNumber]bool)
	for _, u := range d.subscriptions {
		over[u.invoice] = !u.active
	}
	for _, u := range d.ended {
		if !over[u.invoice] || u.reason != "declined" {
			t.Fatalf("%+v is told, and goes on", u)
		}
		delete(over, u.invoice) // told twice is wrong, too
	}
}

// clone copies a batch and its results, so that they can be decided twice.
func (b *callBatch) clone(results []*finishing) (*callBatch, []*finishing) {
	twin := *b
	twin.payments, twin.subscriptions = make(map[PaymentID]*lockedPayment), make(map[InvoiceNumber]*lockedSubscription)
	for id, p := range b.payments {
		copied := *p
		twin.payments[id] = &copied
	}
	for id, u := range b.subscriptions {
		copied := *u
		twin.subscriptions[id] = &copied
	}
	copies := make([]*finishing, len(results))
	for i, r := range results {
		copied := *r
		copies[i] = &copied
	}
	return &twin, copies
}

// Results about different payments are nothing to each other: a set that fails is stored one
// by one.
func TestResultsAreDecidedOneByOneAsTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		together, all := genCalls(t)
		alone, each := together.clone(all)
		together.decide(all)
		for i, r := range each {
			alone.decide([]*finishing{r})
			if all[i].outcome != r.outcome || (all[i].verdict == nil) != (r.verdict == nil) {
				t.Fatalf("result %d: %+v together, %+v alone", i, all[i], r)
			}
		}
		unexported := cmp.AllowUnexported(lockedPayment{}, lockedSubscription{}, told{})
		if diff := cmp.Diff(together.payments, alone.payments, unexported); diff != "" {
			t.Fatalf("payments: -together +alone\n%s", diff)
		}
		if diff := cmp.Diff(together.subscriptions, alone.subscriptions, unexported); diff != "" {
			t.Fatalf("subscriptions: -together +alone\n%s", diff)
		}
	})
}

func TestASubscriptionMovesOnToADateThatIsToCome(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Duration(rapid.IntRange(1, 366).Draw(t, "interval")) * day
		due := decidingNow.Add(-time.Duration(rapid.IntRange(-1000, 100_000).Draw(t, "minutes late")) * time.Minute)
		u := &lockedSubscription{interval: interval, active: true, tries: 3}
		u.paid(&lockedPayment{chargeDueAt: &due, cardFrom: CardID{1}}, decidingNow)
		late := u.dueAt.Sub(due)
		if !u.dueAt.After(decidingNow) || late%interval != 0 || late <= 0 || (late > interval && u.dueAt.Add(-interval).After(decidingNow)) {
			t.Fatalf("due %s, paid %s: next %s, every %s", due, decidingNow, u.dueAt, interval)
		}
		if u.tries != 0 || !u.chargeAt.Equal(*u.dueAt) || !u.paidAt.Equal(decidingNow) {
			t.Fatalf("%+v", u)
		}
	})
}
