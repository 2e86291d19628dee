package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// dropped is how an operation fails that an operator gave up.
var dropped = refusal{"dropped", "The operation could not be completed, and was given up by an operator.", TechnicalError}

// drop ends dead operations, which are locked, and does for each type what its worker does when
// it refuses. It says whether it left rows in the outbox.
//
// A recharge's commit or rollback leaves it created, with its slot free; so does its expiry,
// which is opened again since its time is over; late money stays unbooked until it is accepted
// again. A callback, a push and a receipt are just not sent.
func (s *Store) drop(ctx context.Context, tx pgx.Tx, dead []deadOperation) (enqueued bool, err error) {
	var calls []deadOperation
	var payments []OperationID
	var marks []callbackMark
	var ends countedEnds
	for _, o := range dead {
		if !o.intent.IsZero() {
			calls = append(calls, o) // which end with their intents
			continue
		}
		ends.add(o.id, o.attempts, dropped)
		switch o.kind {
		case InvoicePay:
			payments = append(payments, o.id)
		case CallbackSend:
			marks = append(marks, callbackMark{id: o.id})
		}
	}
	if enqueued, err = s.dropCalls(ctx, tx, calls); err != nil {
		return false, err
	}
	batch := &pgx.Batch{}
	told, err := s.dropPayments(ctx, tx, batch, payments)
	if err != nil {
		return false, err
	}
	ends.write(batch)
	markCallbacks(batch, marks)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return false, wrap("drop operations", err)
	}
	return enqueued || *told, nil
}

// dropCalls refuses calls of the acquirer that were never made. Those of one payment come one
// after the other: each finds what the one before it left.
func (s *Store) dropCalls(ctx context.Context, tx pgx.Tx, calls []deadOperation) (enqueued bool, err error) {
	for len(calls) > 0 {
		now, later := splitTwins(calls, func(o deadOperation) (PaymentID, Once) { return o.resource, Once{} })
		refused := make([]*finishing, len(now))
		for i, o := range now {
			call := CardCall{Intent: o.intent, Operation: o.id, Payment: o.resource, Type: o.kind}
			refused[i] = &finishing{CallResult: CallResult{CardCall: call, Outcome: Declined, Code: dropped.code, Message: dropped.message}}
		}
		more, err := s.settleCalls(ctx, tx, refused)
		if err != nil {
			return false, err
		}
		for _, r := range refused {
			if r.verdict != nil || r.outcome.Status != Failed {
				return false, fmt.Errorf("%s of %s did not end: %v", r.Type, r.Payment, r.verdict)
			}
		}
		enqueued = enqueued || more
		left := make([]deadOperation, len(later))
		for i, n := range later {
			left[i] = calls[n]
		}
		calls = left
	}
	return enqueued, nil
}

// dropPayments lets invoices be paid again, and tells their payers' phones.
func (s *Store) dropPayments(ctx context.Context, tx pgx.Tx, batch *pgx.Batch, ids []OperationID) (enqueued *bool, err error) {
	enqueued = new(bool)
	if len(ids) == 0 {
		return enqueued, nil
	}
	orders, now, err := lockOrders(ctx, tx, lockPaymentsSQL, ids)
	if err != nil {
		return nil, err
	}
	var numbers []InvoiceNumber
	var states []InvoiceState
	var errs []InvoiceError
	var events []event
	for _, o := range orders {
		end := paymentEnd{order: o, refusal: dropped}
		numbers, states, errs = append(numbers, o.number), append(states, dropped.nextState()), append(errs, dropped.invoice)
		if o.payerPhone {
			events = append(events, end.refused(now))
		}
	}
	batch.Queue(endPaymentsSQL, pgx.NamedArgs{"numbers": numbers, "states": states, "errors": errs}).Exec(affects(len(ids)))
	_, err = s.writeEvents(batch, events, enqueued)
	return enqueued, err
}
