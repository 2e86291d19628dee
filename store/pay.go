package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// Payment asks to pay an invoice from its payer's wallet.
type Payment struct {
	Session   SessionID // must be the payer's
	Number    InvoiceNumber
	Amount    money.Amount // must be the invoice's
	Recipient string       // must be the invoice's, as account number
	Once      Once         // its Answer.Operation is filled in here

	trace   string // the span that asks
	verdict error  // nil, a refusal, *Replay or ErrKeyReused
}

// Why a payment is not accepted. Nothing was done.
var (
	ErrPaidEarlier = errors.New("the invoice was paid earlier")
	ErrExpired     = errors.New("the invoice has expired")
	ErrInProgress  = errors.New("the invoice is being paid")
	ErrNotThePayer = errors.New("the session is not the payer's")
)

// Mismatch says that a field of the payment is not the invoice's. Nothing was done.
type Mismatch struct{ Field string }

func (m *Mismatch) Error() string { return m.Field + " is not the invoice's" }

// AcceptPayment accepts the command to pay an invoice and enqueues it, and returns the
// operation that will. The payer who asks again while the invoice is being paid gets the
// same operation. Its errors are those above, ErrInvoiceNotFound, ErrSessionNotFound,
// *Replay and ErrKeyReused.
func (s *Store) AcceptPayment(ctx context.Context, p Payment) (OperationID, error) {
	p.trace = parentIn(ctx)
	if err := s.payments.do(ctx, &p); err != nil {
		return OperationID{}, fmt.Errorf("accept payment of %s: %w", p.Number, err)
	}
	if p.verdict != nil {
		return OperationID{}, p.verdict
	}
	return p.Once.Answer.Operation, nil
}

// acceptPayments accepts what arrived together, but for twins.
func (s *Store) acceptPayments(ctx context.Context, payments []*Payment) (later []int, err error) {
	now, later := splitTwins(payments, func(p *Payment) (InvoiceNumber, Once) { return p.Number, p.Once })
	return later, s.acceptDistinct(ctx, now)
}

func (s *Store) acceptDistinct(ctx context.Context, payments []*Payment) error {
	var open []*Payment
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		invoices, err := readForPayment(ctx, tx, payments)
		if err != nil {
			return err
		}
		for i, p := range payments {
			p.Once.Answer.Operation, p.verdict = p.decide(invoices[i], NewOperationID())
		}
		err = s.claimDecided(ctx, tx, len(payments), func(i int) (Once, *error) { return payments[i].Once, &payments[i].verdict })
		if err != nil {
			return err
		}
		open = nil
		for i, p := range payments {
			if p.verdict == nil && invoices[i].open.IsZero() {
				open = append(open, p)
			}
		}
		return s.openPayments(ctx, tx, open)
		// The commit point. Before it nothing was accepted, and the client was told nothing.
		// After it the command is kept: a relay finds its outbox row even if this process
		// dies before it can answer or wake anybody.
	})
	if err == nil && len(open) > 0 {
		s.outboxFilled()
	}
	return err
}

// foundInvoice is what a payment meets in the database; what was not found is zero.
type foundInvoice struct {
	account   int64 // of the session
	payer     int64
	amount    money.Amount
	state     InvoiceState
	recipient string
	open      OperationID // the payment under way
}

// decide is pure: it returns the operation that will pay the invoice, fresh or the one that
// is at it, or a refusal.
func (p *Payment) decide(f foundInvoice, fresh OperationID) (OperationID, error) {
	switch {
	case f.state == 0:
		return OperationID{}, ErrInvoiceNotFound
	case f.account == 0:
		return OperationID{}, ErrSessionNotFound
	case f.state == Paid:
		return OperationID{}, ErrPaidEarlier
	case f.state == Expired:
		return OperationID{}, ErrExpired
	case f.account != f.payer && f.state == PaymentInProgress:
		return OperationID{}, ErrInProgress
	case f.account != f.payer:
		return OperationID{}, ErrNotThePayer
	case p.Amount.Minor != f.amount.Minor:
		return OperationID{}, &Mismatch{Field: "amount"}
	case p.Amount.Currency != f.amount.Currency:
		return OperationID{}, &Mismatch{Field: "currencyCode"}
	case p.Recipient != f.recipient:
		return OperationID{}, &Mismatch{Field: "recipient"}
	case !f.open.IsZero():
		return f.open, nil
	}
	return fresh, nil
}

const readForPaymentSQL = `
SELECT asked.n, coalesce(a.id, 0), coalesce(i.payer_id, 0), coalesce(i.amount, 0), coalesce(i.currency, 0),
       coalesce(i.state, 0), coalesce(r.account_number, ''), o.id
FROM unnest(@sessions::bytea[], @numbers::uuid[]) WITH ORDINALITY AS asked (session, number, n)
LEFT JOIN sessions s   ON s.hash = asked.session
LEFT JOIN accounts a   ON a.id = s.account_id AND NOT a.deleted
LEFT JOIN invoices i   ON i.number = asked.number AND i.client_id IS NULL
LEFT JOIN accounts r   ON r.id = i.recipient_id
LEFT JOIN LATERAL (
	SELECT o.id FROM operations o WHERE o.resource = i.number AND o.type = 'invoice.pay' AND o.finished_at IS NULL LIMIT 1
) o ON true`

func readForPayment(ctx context.Context, tx pgx.Tx, payments []*Payment) ([]foundInvoice, error) {
	sessions := make([][]byte, len(payments))
	numbers := make([]InvoiceNumber, len(payments))
	for i, p := range payments {
		sessions[i], numbers[i] = hashOf(string(p.Session)), p.Number
	}
	rows, _ := tx.Query(ctx, readForPaymentSQL, pgx.NamedArgs{"sessions": sessions, "numbers": numbers})
	all := make([]foundInvoice, len(payments))
	var n int
	var f foundInvoice
	_, err := pgx.ForEachRow(rows, []any{&n, &f.account, &f.payer, &f.amount.Minor, &f.amount.Currency, &f.state, &f.recipient, &f.open},
		func() error {
			all[n-1] = f
			return nil
		})
	return all, err
}

// The operations come first, in the order of their invoices: whoever is opening a payment
// of the same invoice is waited for here, while no invoice is locked.
const openOperationsSQL = `
INSERT INTO operations (id, type, resource, due_at, trace_parent)
SELECT o.id, 'invoice.pay', o.number, now() + @grace, nullif(o.trace, '')
FROM unnest(@ids::uuid[], @numbers::uuid[], @traces::text[]) AS o (id, number, trace)
ORDER BY o.number
ON CONFLICT DO NOTHING`

const startPaymentsSQL = `
UPDATE invoices
SET state = 3, error_code = 0, updated_at = now()
WHERE number = ANY(@numbers) AND state = 2`

const enqueuePaymentsSQL = `
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, o.id, 1, @type
FROM unnest(@ids::uuid[]) AS o (id)`

// openPayments writes what was decided. A row that moved on since it was read leaves its
// statement short, and the whole is read and decided again.
func (s *Store) openPayments(ctx context.Context, tx pgx.Tx, payments []*Payment) error {
	if len(payments) == 0 {
		return nil
	}
	ids := make([]OperationID, len(payments))
	numbers := make([]InvoiceNumber, len(payments))
	traces := make([]string, len(payments))
	for i, p := range payments {
		ids[i], numbers[i], traces[i] = p.Once.Answer.Operation, p.Number, p.trace
	}
	batch := &pgx.Batch{}
	batch.Queue(openOperationsSQL, pgx.NamedArgs{"ids": ids, "numbers": numbers, "traces": traces, "grace": s.grace}).Exec(affects(len(ids)))
	batch.Queue(startPaymentsSQL, pgx.NamedArgs{"numbers": numbers}).Exec(affects(len(ids)))
	batch.Queue(enqueuePaymentsSQL, pgx.NamedArgs{"ids": ids, "queue": queueOf[InvoicePay], "type": InvoicePay})
	return tx.SendBatch(ctx, batch).Close()
}
