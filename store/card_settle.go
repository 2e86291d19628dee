package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// CallOutcome is what became of a call.
type CallOutcome string

// Unknown is everything but a clear answer. NeedsConfirmation is the clear answer that the
// payer must do something, at first or again.
const (
	Approved          CallOutcome = "approved"
	Declined          CallOutcome = "declined"
	NeedsConfirmation CallOutcome = "needs_confirmation"
	Unknown           CallOutcome = "unknown"
)

// CallResult is the acquirer's answer.
type CallResult struct {
	CardCall
	Outcome            CallOutcome
	Code               string // why it was declined: declined, insufficient_funds, wrong_code, …
	Message            string // a sentence for the payer
	Reference          string // the acquirer's
	SendOperationID    string // P2P
	ReceiveOperationID string // P2P
	Confirmation       *Confirmation
	Cause              string  // why it is unknown
	Ladder             []Delay // when to inquire, after the lease; the last one again and again. A Delay without a Name waits in its row
}

// FinishCall stores what became of a call: the intent's end, the transfers, the payment's
// state, the operation's end and what must follow, together or not at all. Results that arrive
// together are stored together. What is known already stays as it is: the outcome is stale.
//
// The intent is the truth, not the message: a clear answer counts however late it comes, and
// whoever brings it, even after the operation's message was given up.
//
// An unknown outcome ends nothing: a payment that is being authorised or confirmed is PENDING,
// any other stays as it was, and the acquirer is asked again later, for good. Then the Outcome
// is {Status: Running}.
func (s *Store) FinishCall(ctx context.Context, r CallResult) (Outcome, error) {
	f := &finishing{CallResult: r, trace: parentIn(ctx)}
	err := s.cardResults.do(ctx, f)
	if err == nil {
		err = f.verdict
	}
	if err != nil {
		return Outcome{}, fmt.Errorf("finish %s of %s: %w", r.Call, r.Payment, err)
	}
	return f.outcome, nil
}

// finishing is a result on its way into the database.
type finishing struct {
	CallResult
	trace   string // the attempt that brings it
	outcome Outcome
	verdict error // why it cannot be stored, where it is alone to blame
}

// finishCalls stores results that arrived together, but for a payment's second one: what it
// finds is what the first one leaves.
func (s *Store) finishCalls(ctx context.Context, all []*finishing) (later []int, err error) {
	now, later := splitTwins(all, func(f *finishing) (PaymentID, Once) { return f.Payment, Once{} })
	var enqueued bool
	err = s.inTx(ctx, func(tx pgx.Tx) (err error) {
		enqueued, err = s.settleCalls(ctx, tx, now)
		return err
		// The commit point. Before it the acquirer has done something that nobody wrote down: the
		// lease ends, the message comes again, and an inquiry brings the same answer. After it the
		// same result is stale.
	})
	if err == nil && enqueued {
		s.outboxFilled()
	}
	return later, err
}

// settleCalls is two round trips, whatever the number of results: lock and read, then write.
// It says whether it left rows in the outbox.
func (s *Store) settleCalls(ctx context.Context, tx pgx.Tx, results []*finishing) (enqueued bool, err error) {
	batch, err := lockForCalls(ctx, tx, results)
	if err != nil {
		return false, err
	}
	decided := batch.decide(results) // no SQL, no clock
	callbacks, err := s.writeCalls(ctx, tx, decided)
	return callbacks || decided.enqueues(), err
}

// cardStep is an operation on a payment by card, and the intent of its call.
type cardStep struct {
	operation   OperationID
	kind        OperationType
	seq         int64
	status      Status
	accepted    time.Time
	intent      IntentID
	state       string // of the intent
	leasedUntil time.Time
	inquiries   int
	amount      int64
	commission  int64
	payment     PaymentID
}

// known says that the call's outcome is: nothing can be added to it.
func (s cardStep) known() bool { return s.state == "approved" || s.state == "refused" }

// callBatch is what a set of results is decided on.
type callBatch struct {
	now           time.Time // of the database
	deciding      time.Time
	steps         map[IntentID]cardStep
	payments      map[PaymentID]*lockedPayment
	subscriptions map[InvoiceNumber]*lockedSubscription
	ledger        map[ledgerKey]LedgerAccountID
}

// The operation is locked before its intent is read, which nobody changes without it but to
// give a lease back.
const lockOperationsOfCallsSQL = `
SELECT now(), deciding_time()
FROM acquirer_intents i
JOIN operations o ON o.id = i.operation_id
WHERE i.id = ANY(@intents)
ORDER BY o.id
FOR NO KEY UPDATE OF o`

const lockPaymentsOfCallsSQL = `
SELECT p.id, p.invoice_id, p.client_id, p.system_type, p.type, p.currency, p.card_from_id, p.charge_due_at,
       p.amount, p.commission, p.held, p.completed, p.reversed, p.reversing, p.commission_reversed, p.commission_reversing,
       p.payment_status, p.send_operation_id, p.receive_operation_id, p.confirmation, p.refusal_code, p.refusal_message,
       p.expires_at, p.paid_at, p.finished_at, p.reversed_at, p.canceled_at,
       c.hold_for, ` + receiptAddress + ` <> '',
       p.number, p.created_at, i.external_id, i.extra_info, coalesce(i.callback_url, ''),
       (SELECT f.mask FROM cards f WHERE f.id = p.card_from_id), (SELECT t.mask FROM cards t WHERE t.id = p.card_to_id)
FROM payments p
JOIN clients c  ON c.id = p.client_id
JOIN invoices i ON i.number = p.invoice_id
WHERE p.id = ANY(@payments)
ORDER BY p.id
FOR NO KEY UPDATE OF p`

const readStepsSQL = `
SELECT o.id, o.type, o.seq, o.status, o.created_at, i.id, i.state, coalesce(i.leased_until, 'epoch'), i.inquiries,
       i.amount, i.commission, i.payment_id
FROM acquirer_intents i
JOIN operations o ON o.id = i.operation_id
WHERE i.id = ANY(@intents) AND o.finished_at IS NULL`

const lockSubscriptionsOfCallsSQL = `
SELECT u.invoice_id, u.interval_days, u.active, u.card_id, u.tries, u.paid_at, u.due_at, u.charge_at
FROM subscriptions u
WHERE u.invoice_id = ANY(ARRAY(SELECT p.invoice_id FROM payments p WHERE p.id = ANY(@payments) AND p.type = 'SUBSCRIBE'))
ORDER BY u.invoice_id
FOR NO KEY UPDATE`

// A ledger account never changes what it is. Its balance does, and is locked last, by whoever
// books something.
const readLedgerOfCallsSQL = `
SELECT l.id, k.kind, o.owner
FROM (SELECT 0 UNION SELECT p.client_id FROM payments p WHERE p.id = ANY(@payments)) AS o (owner)
CROSS JOIN unnest(ARRAY['acquirer_clearing', 'merchant', 'commission']) AS k (kind)
CROSS JOIN LATERAL (
	SELECT l.id FROM ledger_accounts l WHERE l.kind = k.kind AND l.owner = o.owner AND l.currency = @currency OFFSET 0
) l`

func lockForCalls(ctx context.Context, tx pgx.Tx, results []*finishing) (*callBatch, error) {
	intents := make([]IntentID, len(results))
	payments := make([]PaymentID, len(results))
	for i, r := range results {
		intents[i], payments[i] = r.Intent, r.Payment
	}
	args := pgx.NamedArgs{"intents": intents, "payments": payments, "currency": Hryvnia}
	b := &callBatch{
		steps: make(map[IntentID]cardStep), payments: make(map[PaymentID]*lockedPayment),
		subscriptions: make(map[InvoiceNumber]*lockedSubscription), ledger: make(map[ledgerKey]LedgerAccountID),
	}
	batch := &pgx.Batch{}
	batch.Queue(lockOperationsOfCallsSQL, args).Query(b.readTimes)
	batch.Queue(lockPaymentsOfCallsSQL, args).Query(b.readPayments)
	batch.Queue(readStepsSQL, args).Query(b.readSteps)
	batch.Queue(lockSubscriptionsOfCallsSQL, args).Query(b.readSubscriptions)
	batch.Queue(readLedgerOfCallsSQL, args).Query(b.readLedger)
	return b, wrap("lock calls", tx.SendBatch(ctx, batch).Close())
}

func (b *callBatch) readTimes(rows pgx.Rows) error {
	_, err := pgx.ForEachRow(rows, []any{&b.now, &b.deciding}, func() error { return nil })
	return err
}

func (b *callBatch) readPayments(rows pgx.Rows) error {
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*lockedPayment, error) {
		p := &lockedPayment{}
		err := row.Scan(&p.id, &p.invoice, &p.client, &p.systemType, &p.kind, &p.currency, &p.cardFrom, &p.chargeDueAt,
			&p.amount, &p.commission, &p.held, &p.completed, &p.reversed, &p.reversing, &p.commissionReversed, &p.commissionReversing,
			&p.paymentStatus, &p.sendOperationID, &p.receiveOperationID, &p.confirmation, &p.refusalCode, &p.refusalMessage,
			&p.expiresAt, &p.paidAt, &p.finishedAt, &p.reversedAt, &p.canceledAt,
			&p.holdFor, &p.hasAddress,
			&p.told.number, &p.told.createdAt, &p.told.externalID, &p.told.extraInfo, &p.told.callbackURL, &p.told.cardFrom, &p.told.cardTo)
		p.was = p.paymentStatus
		return p, err
	})
	for _, p := range found {
		b.payments[p.id] = p
	}
	return err
}

func (b *callBatch) readSteps(rows pgx.Rows) error {
	var s cardStep
	_, err := pgx.ForEachRow(rows, []any{
		&s.operation, &s.kind, &s.seq, &s.status, &s.accepted, &s.intent, &s.state, &s.leasedUntil, &s.inquiries,
		&s.amount, &s.commission, &s.payment,
	}, func() error {
		b.steps[s.intent] = s
		return nil
	})
	return err
}

func (b *callBatch) readSubscriptions(rows pgx.Rows) error {
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*lockedSubscription, error) {
		u := &lockedSubscription{}
		var days int
		err := row.Scan(&u.invoice, &days, &u.active, &u.card, &u.tries, &u.paidAt, &u.dueAt, &u.chargeAt)
		u.interval = time.Duration(days) * day
		return u, err
	})
	for _, u := range found {
		b.subscriptions[u.invoice] = u
	}
	return err
}

func (b *callBatch) readLedger(rows pgx.Rows) error {
	key := ledgerKey{currency: Hryvnia}
	var id LedgerAccountID
	_, err := pgx.ForEachRow(rows, []any{&id, &key.kind, &key.owner}, func() error {
		b.ledger[key] = id
		return nil
	})
	return err
}
