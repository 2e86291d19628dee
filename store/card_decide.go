package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/quittance/quittance/store/money"
)

const day = 24 * time.Hour

// lockedPayment is a payment by card as it was found, and as it will be.
type lockedPayment struct {
	id          PaymentID
	invoice     InvoiceNumber
	client      int64
	systemType  SystemType
	kind        InvoiceType
	currency    money.Currency
	cardFrom    CardID
	chargeDueAt *time.Time // of a subscription's later charge
	holdFor     time.Duration
	hasAddress  bool   // a receipt can be mailed
	was         string // its paymentStatus, when it was found
	changed     bool
	event       EventType // what its shop is told; "" for nothing
	told        told
	trace       string // the attempt

	amount, commission                      int64
	held, completed                         int64
	reversed, reversing                     int64
	commissionReversed, commissionReversing int64
	paymentStatus                           string
	sendOperationID, receiveOperationID     string
	confirmation                            *Confirmation
	refusalCode, refusalMessage             string
	expiresAt, paidAt, finishedAt           *time.Time
	reversedAt, canceledAt                  *time.Time
}

// statusOf is the status that a paymentStatus is the finer one of.
var statusOf = map[string]string{
	PaymentOpen:              StatusNew,
	PaymentNeedsConfirmation: StatusNew,
	PaymentPending:           StatusNew,
	PaymentHolded:            StatusPaid,
	PaymentFinished:          StatusFinished,
	PaymentReversed:          StatusReversed,
	PaymentCanceled:          StatusCanceled,
	PaymentRejected:          StatusCanceled,
}

// allows says that the payment is in a state in which the operation begins, or in which an
// unknown answer to it left the payment.
func (p *lockedPayment) allows(kind OperationType) bool {
	switch kind {
	case PaymentAuthorise:
		return p.paymentStatus == PaymentOpen || p.paymentStatus == PaymentPending
	case PaymentConfirm:
		return p.paymentStatus == PaymentNeedsConfirmation || p.paymentStatus == PaymentPending
	case PaymentComplete:
		return p.paymentStatus == PaymentHolded
	case PaymentCancel, PaymentExpire:
		return p.paymentStatus == PaymentHolded || p.paymentStatus == PaymentNeedsConfirmation
	case PaymentReverse:
		return p.paymentStatus == PaymentFinished
	}
	return false
}

// eventOf is what a shop is told when a payment of its becomes that. Nobody has to act on
// what is still open.
var eventOf = map[string]EventType{
	PaymentHolded:   EventPaymentHolded,
	PaymentFinished: EventPaymentFinished,
	PaymentReversed: EventPaymentReversed,
	PaymentCanceled: EventPaymentCanceled,
	PaymentRejected: EventPaymentRejected,
}

// become is the one place where a payment's state changes. expiresAt is when the schedule
// worker ends the new state; nil for never.
func (p *lockedPayment) become(paymentStatus string, expiresAt *time.Time) {
	p.paymentStatus, p.expiresAt, p.changed = paymentStatus, expiresAt, true
	p.event = eventOf[paymentStatus]
	if paymentStatus != PaymentNeedsConfirmation {
		p.confirmation = nil
	}
}

const (
	expireAgainAfter = time.Hour // the acquirer would not let go of it
	wrongCode        = "wrong_code"
)

var paymentMovedOn = refusal{code: "invalid_state", message: "The payment's state does not allow the operation any more."}

// cardDecisions is what a set of results came to, ready to be written.
type cardDecisions struct {
	ends          []callEnd
	unknown       []callUnknown
	payments      []*lockedPayment
	subscriptions []*lockedSubscription
	ended         []endedSubscription
	transfers     []transfer
	receipts      []*lockedPayment
	now           time.Time
	deciding      time.Time
}

// callEnd ends an operation and its intent.
type callEnd struct {
	cardStep
	refusal   refusal
	reference string
}

// callUnknown says when to look at a call again.
type callUnknown struct {
	callDelay
	cause       string
	leasedUntil time.Time
}

// callDelay is an operation that waits.
type callDelay struct {
	cardStep
	Delay
}

func (d cardDecisions) enqueues() bool {
	for _, u := range d.unknown {
		if !u.inRow() {
			return true
		}
	}
	return len(d.receipts) > 0
}

// decide settles results, no two of them of one payment, and fills in their outcomes. It
// reads and uses up nothing but the batch.
func (b *callBatch) decide(results []*finishing) cardDecisions {
	all := cardDecisions{now: b.now, deciding: b.deciding}
	for _, r := range results {
		r.outcome, r.verdict = Outcome{}, nil
		step, found := b.steps[r.Intent]
		p := b.payments[r.Payment]
		if !found || p == nil || step.payment != p.id || step.known() {
			continue // stale
		}
		p.trace = r.trace
		var one cardDecisions // which has no effect where it comes to an error
		if r.Outcome == Unknown {
			b.leaveUnknown(&one, r, step, p)
		} else if r.verdict = b.end(&one, r, step, p); r.verdict != nil {
			continue
		}
		if p.changed {
			one.payments = append(one.payments, p)
		}
		all.add(one)
	}
	return all
}

func (d *cardDecisions) add(one cardDecisions) {
	d.ends = append(d.ends, one.ends...)
	d.unknown = append(d.unknown, one.unknown...)
	d.payments = append(d.payments, one.payments...)
	d.subscriptions = append(d.subscriptions, one.subscriptions...)
	d.ended = append(d.ended, one.ended...)
	d.transfers = append(d.transfers, one.transfers...)
	d.receipts = append(d.receipts, one.receipts...)
}

// leaveUnknown has the call looked at again: at first when its lease ends, then as the
// ladder says. Only who has the lease may say so, and once.
func (b *callBatch) leaveUnknown(d *cardDecisions, r *finishing, step cardStep, p *lockedPayment) {
	if !step.status.Open() || step.state != "called" || !step.leasedUntil.Equal(r.LeasedUntil) {
		return // stale
	}
	u := callUnknown{callDelay: callDelay{cardStep: step}, cause: r.Cause, leasedUntil: step.leasedUntil}
	if !r.Unknown || len(r.Ladder) == 0 {
		u.Delay = rungCovering(step.leasedUntil.Sub(b.now)) // the call itself may still be under way
	} else {
		u.Delay = r.Ladder[max(0, min(step.inquiries-1, len(r.Ladder)-1))]
		u.leasedUntil = b.now // this was an inquiry: nothing comes of it any more
	}
	if begins(step.kind) && p.allows(step.kind) && p.paymentStatus != PaymentPending {
		p.become(PaymentPending, nil)
	}
	d.unknown = append(d.unknown, u)
	r.outcome = Outcome{Status: Running}
}

// begins says that the operation is what takes, or holds, the payer's money.
func begins(kind OperationType) bool { return kind == PaymentAuthorise || kind == PaymentConfirm }

// end settles a clear answer.
func (b *callBatch) end(d *cardDecisions, r *finishing, step cardStep, p *lockedPayment) error {
	end := callEnd{cardStep: step, reference: r.Reference}
	var err error
	switch {
	case r.Outcome == NeedsConfirmation && begins(step.kind):
		end.refusal, err = b.needsConfirmation(r, step, p)
	case r.Outcome == Declined:
		end.refusal = r.refusal()
		b.decline(d, end.refusal, step, p)
	case r.Outcome == Approved:
		err = b.approve(d, r, step, p)
	default:
		err = fmt.Errorf("an answer that is no answer to it: %q", r.Outcome)
	}
	if err != nil {
		return err
	}
	d.ends = append(d.ends, end)
	r.outcome = end.refusal.outcome(step.kind, b.now.Sub(step.accepted))
	return nil
}

// refusal is why the acquirer declined. An operation without a code would have succeeded.
func (r *finishing) refusal() refusal {
	why := refusal{code: clip(r.Code, 100), message: clip(r.Message, 1000)}
	if why.code == "" {
		why.code = "declined"
	}
	if why.message == "" {
		why.message = "The acquirer declined it."
	}
	return why
}

// errMovedUnderACall says that the acquirer has moved money for a payment whose state does not
// allow it. The slots of operations rule it out: somebody has to look.
var errMovedUnderACall = errors.New("the acquirer did what the payment's state does not allow")

// needsConfirmation leaves it to the payer. A confirmation that was answered so had the wrong
// code, and may be tried again.
func (b *callBatch) needsConfirmation(r *finishing, step cardStep, p *lockedPayment) (refusal, error) {
	if !p.allows(step.kind) {
		return refusal{}, errMovedUnderACall
	}
	if r.Confirmation == nil {
		return refusal{}, errors.New("the payer has to confirm, and nobody says how")
	}
	p.confirmation = r.Confirmation
	p.become(PaymentNeedsConfirmation, b.in(paymentLife))
	if step.kind == PaymentAuthorise {
		return settled, nil
	}
	r.Code = wrongCode
	return r.refusal(), nil
}

func (b *callBatch) in(wait time.Duration) *time.Time {
	t := b.deciding.Add(wait)
	return &t
}

// decline ends what was to begin the payment, and leaves it as it was otherwise.
func (b *callBatch) decline(d *cardDecisions, why refusal, step cardStep, p *lockedPayment) {
	if step.kind == PaymentReverse {
		p.reversing -= step.amount
		p.commissionReversing -= step.commission
		p.changed = true
	}
	if !p.allows(step.kind) {
		return
	}
	switch {
	case step.kind == PaymentConfirm && step.state == "intended": // dropped, and nothing was asked: the payer may confirm again until his time is over
	case begins(step.kind):
		p.refusalCode, p.refusalMessage, p.canceledAt = why.code, why.message, &b.deciding
		p.become(PaymentRejected, nil)
		b.chargeFailed(d, p)
	case step.kind == PaymentExpire && why != paymentMovedOn:
		p.expiresAt, p.changed = b.in(expireAgainAfter), true
	}
}

// approve books what the acquirer did.
func (b *callBatch) approve(d *cardDecisions, r *finishing, step cardStep, p *lockedPayment) error {
	if !p.allows(step.kind) {
		return errMovedUnderACall
	}
	switch step.kind {
	case PaymentAuthorise, PaymentConfirm:
		p.sendOperationID, p.receiveOperationID = clip(r.SendOperationID, 255), clip(r.ReceiveOperationID, 255)
		p.held, p.paidAt = step.amount, &b.deciding
		if p.kind == Hold {
			p.become(PaymentHolded, b.in(p.holdFor))
			return nil
		}
		return b.complete(d, step, p)
	case PaymentComplete:
		return b.complete(d, step, p)
	case PaymentCancel, PaymentExpire:
		p.canceledAt = &b.deciding
		p.become(PaymentCanceled, nil)
		b.chargeFailed(d, p)
		return nil
	case PaymentReverse:
		return b.reverse(d, step, p)
	}
	return fmt.Errorf("nobody knows how to settle %s", step.kind)
}

// complete finishes a payment with what its step took.
func (b *callBatch) complete(d *cardDecisions, step cardStep, p *lockedPayment) error {
	p.amount, p.commission, p.completed, p.finishedAt = step.amount, step.commission, step.amount, &b.deciding
	p.become(PaymentFinished, nil)
	if err := b.book(d, step, p, CardPaymentTransfer, CardCommissionTransfer); err != nil {
		return err
	}
	if p.hasAddress {
		d.receipts = append(d.receipts, p)
	}
	if u := b.subscriptions[p.invoice]; u != nil && p.kind == Subscribe {
		u.paid(p, b.deciding)
		d.subscriptions = append(d.subscriptions, u)
	}
	return nil
}

// reverse gives back a part of a payment, or the whole.
func (b *callBatch) reverse(d *cardDecisions, step cardStep, p *lockedPayment) error {
	p.reversed, p.reversing = p.reversed+step.amount, p.reversing-step.amount
	p.commissionReversed, p.commissionReversing = p.commissionReversed+step.commission, p.commissionReversing-step.commission
	p.changed, p.event = true, EventPaymentPartlyReversed
	if p.reversed == p.completed {
		p.reversedAt = &b.deciding
		p.become(PaymentReversed, nil)
	}
	return b.book(d, step, p, CardReversalTransfer, CommissionReversalTransfer)
}

// book adds the two transfers of a step: the amount's and, where there is any, the
// commission's. From card to card the money does not become the shop's: it leaves again.
func (b *callBatch) book(d *cardDecisions, step cardStep, p *lockedPayment, ofAmount, ofCommission TransferKind) error {
	acquirer := ledgerKey{acquirerClearingKind, 0, p.currency}
	recipient := ledgerKey{merchantKind, p.client, p.currency}
	if p.systemType == P2P {
		recipient.kind = acquirerClearingKind
	}
	if err := b.post(d, step, p, ofAmount, step.amount, acquirer, recipient); err != nil || step.commission == 0 {
		return err
	}
	return b.post(d, step, p, ofCommission, step.commission, acquirer, ledgerKey{commissionKind, 0, p.currency})
}

func (b *callBatch) post(d *cardDecisions, step cardStep, p *lockedPayment, kind TransferKind, minor int64, from, to ledgerKey) error {
	if kind == CardReversalTransfer || kind == CommissionReversalTransfer {
		from, to = to, from
	}
	debit, credit := b.ledger[from], b.ledger[to]
	if debit == 0 || credit == 0 {
		return fmt.Errorf("client %d has no ledger accounts in %d", p.client, p.currency)
	}
	d.transfers = append(d.transfers, transfer{
		kind: kind, reference: step.intent, operation: step.operation, debit: debit, credit: credit,
		amount: money.Amount{Minor: minor, Currency: p.currency}, at: b.now,
	})
	return nil
}
