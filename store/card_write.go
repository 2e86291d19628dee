package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// writeCalls stores the decisions with a handful of statements, whatever their number. It says
// whether somebody is to be told.
func (s *Store) writeCalls(ctx context.Context, tx pgx.Tx, d cardDecisions) (enqueued bool, err error) {
	if len(d.ends) == 0 && len(d.unknown) == 0 {
		return false, nil
	}
	batch := &pgx.Batch{}
	endCalls(batch, d.ends)
	s.keepUnknown(batch, d.unknown)
	s.openReceipts(batch, d.receipts)
	if err := writePayments(batch, d.payments, d.deciding); err != nil {
		return false, err
	}
	writeSubscriptions(batch, d.subscriptions, d.deciding)
	if _, err := s.writeEvents(batch, s.eventsOf(d), &enqueued); err != nil {
		return false, err
	}
	lockLedgerOf(batch, d.transfers)
	post(batch, d.transfers)
	err = tx.SendBatch(ctx, batch).Close()
	return enqueued, err
}

// What the call needed is gone with its end.
const endIntentsSQL = `
UPDATE acquirer_intents i
SET state = CASE d.code WHEN '' THEN 'approved' ELSE 'refused' END, secret = NULL, error = '', reference = d.reference,
    finished_at = clock_timestamp()
FROM unnest(@intents::uuid[], @codes::text[], @references::text[]) AS d (intent, code, reference)
WHERE i.id = d.intent AND i.finished_at IS NULL`

func endCalls(batch *pgx.Batch, all []callEnd) {
	if len(all) == 0 {
		return
	}
	var ends operationEnds
	var intents []IntentID
	var references []string
	for _, e := range all {
		ends.add(e.operation, e.seq, e.refusal)
		intents = append(intents, e.intent)
		references = append(references, clip(e.reference, 255))
	}
	ends.write(batch)
	batch.Queue(endIntentsSQL, pgx.NamedArgs{"intents": intents, "codes": ends.codes, "references": references}).Exec(affects(len(all)))
}

const keepUnknownSQL = `
UPDATE acquirer_intents i
SET state = 'unknown', inquiries = i.inquiries + 1, error = d.error, leased_until = d.leased_until
FROM unnest(@intents::uuid[], @errors::text[], @leases::timestamptz[]) AS d (intent, error, leased_until)
WHERE i.id = d.intent AND i.state = 'called'`

func (s *Store) keepUnknown(batch *pgx.Batch, all []callUnknown) {
	if len(all) == 0 {
		return
	}
	var delays []callDelay
	var intents []IntentID
	var errs []string
	var leases []time.Time
	for _, u := range all {
		delays = append(delays, u.callDelay)
		intents = append(intents, u.intent)
		errs = append(errs, clip(u.cause, 1000))
		leases = append(leases, u.leasedUntil)
	}
	s.delayCalls(batch, delays)
	batch.Queue(keepUnknownSQL, pgx.NamedArgs{"intents": intents, "errors": errs, "leases": leases}).Exec(affects(len(all)))
}

const delayOperationsSQL = `
UPDATE operations o
SET seq = o.seq + 1, due_at = now() + d.wait, waits = d.in_row
FROM unnest(@ids::uuid[], @seqs::bigint[], @waits::interval[], @in_row::boolean[]) AS d (id, seq, wait, in_row)
WHERE o.id = d.id AND o.seq = d.seq AND ` + isOpen

const enqueueDelayedSQL = `
INSERT INTO outbox (queue, delay, message_id, seq, type)
SELECT @queue, d.delay, d.id, d.seq + 1, d.type
FROM unnest(@ids::uuid[], @seqs::bigint[], @types::text[], @delays::text[], @in_row::boolean[]) AS d (id, seq, type, delay, in_row)
WHERE NOT d.in_row`

// delayCalls has operations of the queue cards looked at later, under another seq and without
// counting an attempt.
func (s *Store) delayCalls(batch *pgx.Batch, all []callDelay) {
	var ids []OperationID
	var seqs []int64
	var types []OperationType
	var waits []time.Duration
	var names []string
	var inRow []bool
	for _, d := range all {
		ids, seqs, types = append(ids, d.operation), append(seqs, d.seq), append(types, d.kind)
		waits, names, inRow = append(waits, d.until(s.grace)), append(names, d.Name), append(inRow, d.inRow())
	}
	args := pgx.NamedArgs{
		"ids": ids, "seqs": seqs, "types": types, "waits": waits, "delays": names, "in_row": inRow, "queue": queueOf[PaymentAuthorise],
	}
	batch.Queue(delayOperationsSQL, args).Exec(affects(len(all)))
	batch.Queue(enqueueDelayedSQL, args)
}

const writePaymentsSQL = `
UPDATE payments p
SET status = d.status, payment_status = d.payment_status, amount = d.amount, commission = d.commission, held = d.held,
    completed = d.completed, reversed = d.reversed, reversing = d.reversing,
    commission_reversed = d.commission_reversed, commission_reversing = d.commission_reversing,
    send_operation_id = d.send_operation_id, receive_operation_id = d.receive_operation_id, confirmation = d.confirmation,
    refusal_code = d.refusal_code, refusal_message = d.refusal_message, expires_at = d.expires_at, paid_at = d.paid_at,
    finished_at = d.finished_at, reversed_at = d.reversed_at, canceled_at = d.canceled_at, updated_at = @now
FROM unnest(@ids::uuid[], @was::text[], @statuses::text[], @payment_statuses::text[], @amounts::bigint[], @commissions::bigint[],
            @held::bigint[], @completed::bigint[], @reversed::bigint[], @reversing::bigint[],
            @commissions_reversed::bigint[], @commissions_reversing::bigint[], @sent::text[], @received::text[],
            @confirmations::jsonb[], @codes::text[], @messages::text[], @expire::timestamptz[], @paid::timestamptz[],
            @finished::timestamptz[], @reversed_at::timestamptz[], @canceled::timestamptz[])
     AS d (id, was, status, payment_status, amount, commission, held, completed, reversed, reversing,
           commission_reversed, commission_reversing, send_operation_id, receive_operation_id,
           confirmation, refusal_code, refusal_message, expires_at, paid_at, finished_at, reversed_at, canceled_at)
WHERE p.id = d.id AND p.payment_status = d.was`

// writePayments writes payments as they will be.
func writePayments(batch *pgx.Batch, all []*lockedPayment, now time.Time) error {
	if len(all) == 0 {
		return nil
	}
	var c paymentColumns
	for _, p := range all {
		if err := c.add(p); err != nil {
			return err
		}
	}
	batch.Queue(writePaymentsSQL, pgx.NamedArgs{
		"ids": c.ids, "was": c.was, "statuses": c.statuses, "payment_statuses": c.paymentStatuses, "amounts": c.amounts, "commissions": c.commissions,
		"held": c.held, "completed": c.completed, "reversed": c.reversed, "reversing": c.reversing,
		"commissions_reversed": c.commissionsReversed, "commissions_reversing": c.commissionsReversing, "sent": c.sent, "received": c.received,
		"confirmations": c.confirmations, "codes": c.codes, "messages": c.messages, "expire": c.expire, "paid": c.paid,
		"finished": c.finished, "reversed_at": c.reversedAt, "canceled": c.canceled, "now": now,
	}).Exec(affects(len(all)))
	return nil
}

// paymentColumns are what a payment's steps change.
type paymentColumns struct {
	ids                                       []PaymentID
	was, statuses, paymentStatuses            []string
	amounts, commissions, held, completed     []int64
	reversed, reversing                       []int64
	commissionsReversed, commissionsReversing []int64
	sent, received, codes, messages           []string
	confirmations                             [][]byte
	expire, paid, finished                    []*time.Time
	reversedAt, canceled                      []*time.Time
}

func (c *paymentColumns) add(p *lockedPayment) error {
	var confirmation []byte // NULL
	if p.confirmation != nil {
		var err error
		if confirmation, err = json.Marshal(p.confirmation); err != nil {
			return err
		}
	}
	c.ids, c.was = append(c.ids, p.id), append(c.was, p.was)
	c.statuses, c.paymentStatuses = append(c.statuses, statusOf[p.paymentStatus]), append(c.paymentStatuses, p.paymentStatus)
	c.amounts, c.commissions = append(c.amounts, p.amount), append(c.commissions, p.commission)
	c.held, c.completed = append(c.held, p.held), append(c.completed, p.completed)
	c.reversed, c.reversing = append(c.reversed, p.reversed), append(c.reversing, p.reversing)
	c.commissionsReversed = append(c.commissionsReversed, p.commissionReversed)
	c.commissionsReversing = append(c.commissionsReversing, p.commissionReversing)
	c.sent, c.received = append(c.sent, p.sendOperationID), append(c.received, p.receiveOperationID)
	c.codes, c.messages = append(c.codes, p.refusalCode), append(c.messages, p.refusalMessage)
	c.confirmations = append(c.confirmations, confirmation)
	c.expire, c.paid, c.finished = append(c.expire, p.expiresAt), append(c.paid, p.paidAt), append(c.finished, p.finishedAt)
	c.reversedAt, c.canceled = append(c.reversedAt, p.reversedAt), append(c.canceled, p.canceledAt)
	return nil
}

const writeSubscriptionsSQL = `
UPDATE subscriptions u
SET active = d.active, card_id = d.card_id, tries = d.tries, paid_at = d.paid_at, due_at = d.due_at, charge_at = d.charge_at,
    updated_at = @now
FROM unnest(@invoices::uuid[], @active::boolean[], @cards::uuid[], @tries::smallint[], @paid::timestamptz[],
            @due::timestamptz[], @charge::timestamptz[]) AS d (invoice_id, active, card_id, tries, paid_at, due_at, charge_at)
WHERE u.invoice_id = d.invoice_id`

func writeSubscriptions(batch *pgx.Batch, all []*lockedSubscription, now time.Time) {
	if len(all) == 0 {
		return
	}
	var invoices []InvoiceNumber
	var active []bool
	var cards []CardID
	var tries []int
	var paid, due, charge []*time.Time
	for _, u := range all {
		invoices, active, cards, tries = append(invoices, u.invoice), append(active, u.active), append(cards, u.card), append(tries, u.tries)
		paid, due, charge = append(paid, u.paidAt), append(due, u.dueAt), append(charge, u.chargeAt)
	}
	batch.Queue(writeSubscriptionsSQL, pgx.NamedArgs{
		"invoices": invoices, "active": active, "cards": cards, "tries": tries, "paid": paid, "due": due, "charge": charge, "now": now,
	}).Exec(affects(len(all)))
}

const openReceiptsSQL = `
INSERT INTO operations (id, type, resource, due_at, trace_parent)
SELECT d.id, @type, d.payment, now() + @grace, nullif(d.trace, '')
FROM unnest(@ids::uuid[], @payments::uuid[], @traces::text[]) AS d (id, payment, trace)`

const enqueueReceiptsSQL = `
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, d.id, 1, @type
FROM unnest(@ids::uuid[]) AS d (id)`

// openReceipts has the receipts of finished payments mailed.
func (s *Store) openReceipts(batch *pgx.Batch, all []*lockedPayment) {
	if len(all) == 0 {
		return
	}
	ids := make([]OperationID, len(all))
	payments := make([]PaymentID, len(all))
	traces := make([]string, len(all))
	for i, p := range all {
		ids[i], payments[i], traces[i] = NewOperationID(), p.id, p.trace
	}
	args := pgx.NamedArgs{"ids": ids, "payments": payments, "traces": traces, "type": ReceiptSend, "queue": queueOf[ReceiptSend], "grace": s.grace}
	batch.Queue(openReceiptsSQL, args).Exec(affects(len(ids)))
	batch.Queue(enqueueReceiptsSQL, args)
}

const lockLedgerAccountsSQL = `
SELECT
FROM ledger_accounts l
WHERE l.id = ANY(@accounts)
ORDER BY l.id
FOR NO KEY UPDATE`

// lockLedgerOf locks what the transfers move: last, since everybody's payments meet there.
func lockLedgerOf(batch *pgx.Batch, transfers []transfer) {
	if len(transfers) == 0 {
		return
	}
	var accounts []LedgerAccountID
	for _, t := range transfers {
		accounts = append(accounts, t.debit, t.credit)
	}
	batch.Queue(lockLedgerAccountsSQL, pgx.NamedArgs{"accounts": accounts})
}
