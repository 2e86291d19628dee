package store

import (
	"cmp"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// PaymentCommand is a command on a payment by card.
type PaymentCommand struct {
	Type    OperationType // PaymentConfirm, PaymentComplete, PaymentCancel or PaymentReverse
	Payment PaymentID
	Invoice InvoiceNumber // of which it must be
	Client  int64         // whose it must be; 0 for the payer, who may confirm and, until then, cancel
	Amount  int64         // minor units to complete or reverse; 0: all there is
	Code    string        // of a confirmation
	Once    Once
}

// Why a command is not accepted. Nothing was done.
var (
	ErrPaymentState   = errors.New("the payment's state does not allow it")
	ErrStepInProgress = errors.New("another command on the payment is in progress")
	ErrBeyondHeld     = errors.New("the amount is more than is held")
	ErrBeyondLeft     = errors.New("the amount is more than is left to give back")
)

// AcceptPaymentCommand accepts a command: a client completes or cancels what is held,
// reverses what is finished (any part that is left, whatever else is open) and confirms what
// needs it. Its errors are ErrPaymentNotFound, those above, *Replay and ErrKeyReused.
//
// The payment's state stays as it is until the acquirer has answered; only what a reversal
// will give back is set aside here, so that all that are open give back no more than there is.
func (s *Store) AcceptPaymentCommand(ctx context.Context, c PaymentCommand) (OperationID, error) {
	operation := NewOperationID()
	c.Once.Answer.Operation = operation
	err := s.inTxAgain(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, c.Once); err != nil {
			return err
		}
		found, err := readForPaymentCommand(ctx, tx, c)
		if err != nil {
			return err
		}
		call, err := c.decide(found)
		if err != nil {
			return err
		}
		return s.openPaymentCommand(ctx, tx, operation, c, found, call)
		// The commit point: the command is kept from here on.
	})
	if err != nil {
		return OperationID{}, unavailable(wrap("accept "+string(c.Type)+" of "+c.Payment.String(), err))
	}
	s.outboxFilled()
	return operation, nil
}

// foundForCommand is what a command on a payment meets in the database.
type foundForCommand struct {
	chargedPayment
	status        string
	paymentStatus string
	past          bool // its time to be confirmed, or completed, is over
	busy          bool // a step is open
}

// IS TRUE: by its invoice the payment would be one of many.
const readForPaymentCommandSQL = `
SELECT p.amount, p.commission, p.commission_millipercents, p.commission_fixed, p.itemised, p.completed,
       p.reversed + p.reversing, p.commission_reversed + p.commission_reversing, p.status, p.payment_status,
       coalesce(p.expires_at <= clock.now, false), o.id IS NOT NULL
FROM payments p
CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
LEFT JOIN LATERAL (
	SELECT o.id
	FROM operations o
	WHERE ` + isOpenStep + `
	LIMIT 1
) o ON true
WHERE p.id = @payment AND (p.invoice_id = @invoice) IS TRUE AND (@client::bigint = 0 OR p.client_id = @client)`

// Reversals of a payment are accepted one after the other. Nothing that is locked already is
// waited for after this: the operation is a new one.
const lockForReversalSQL = readForPaymentCommandSQL + `
FOR NO KEY UPDATE OF p`

func readForPaymentCommand(ctx context.Context, tx pgx.Tx, c PaymentCommand) (f foundForCommand, err error) {
	sql := readForPaymentCommandSQL
	if c.Type == PaymentReverse {
		sql = lockForReversalSQL
	}
	err = tx.QueryRow(ctx, sql, pgx.NamedArgs{"payment": c.Payment, "invoice": c.Invoice, "client": c.Client}).Scan(
		&f.amount, &f.commission, &f.tariff.Millipercents, &f.tariff.Fixed, &f.itemised, &f.completed,
		&f.givenBack, &f.commissionGivenBack, &f.status, &f.paymentStatus, &f.past, &f.busy)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, ErrPaymentNotFound
	}
	return f, wrap("read payment", err)
}

// decide is pure: it returns the call to make, or why there is none.
func (c PaymentCommand) decide(f foundForCommand) (newIntent, error) {
	byPayer := c.Client == 0
	unconfirmed, held := f.paymentStatus == PaymentNeedsConfirmation, f.paymentStatus == PaymentHolded
	allowed, call := false, newIntent{}
	switch c.Type {
	case PaymentConfirm:
		allowed, call = unconfirmed && !f.past, newIntent{call: CallConfirm, amount: f.amount, commission: f.commission, secret: c.Code}
	case PaymentComplete:
		allowed, call = held && !byPayer && !f.past, newIntent{call: CallCapture, amount: cmp.Or(c.Amount, f.amount)}
	case PaymentCancel:
		allowed, call = (held && !byPayer) || (unconfirmed && byPayer), newIntent{call: CallVoid, amount: f.amount, commission: f.commission}
	case PaymentReverse:
		return c.decideReversal(f)
	}
	switch {
	case !allowed:
		return newIntent{}, ErrPaymentState
	case f.busy:
		return newIntent{}, ErrStepInProgress
	case call.amount < 0 || call.amount > f.amount:
		return newIntent{}, ErrBeyondHeld
	}
	if c.Type == PaymentComplete {
		call.commission = f.commissionOn(call.amount)
	}
	return call, nil
}

func (c PaymentCommand) decideReversal(f foundForCommand) (newIntent, error) {
	part := cmp.Or(c.Amount, f.left())
	switch {
	case f.status != StatusFinished || c.Client == 0 || part == 0:
		return newIntent{}, ErrPaymentState
	case part < 0 || part > f.left():
		return newIntent{}, ErrBeyondLeft
	}
	return newIntent{call: CallRefund, amount: part, commission: f.commissionBack(part)}, nil
}

// Whoever changes the state of a payment that is not finished holds its open step. Once ours
// is inserted nobody else has one, so what this statement sees, with a snapshot of its own,
// stands.
const stillAllowsStepSQL = `
SELECT
FROM payments p
WHERE p.id = @payment AND p.payment_status = @payment_status`

const setAsideSQL = `
UPDATE payments
SET reversing = reversing + @amount, commission_reversing = commission_reversing + @commission, updated_at = deciding_time()
WHERE id = @payment AND status = 'FINISHED' AND reversed + reversing = @given_back AND completed - reversed - reversing >= @amount`

// openPaymentCommand writes what was decided. A payment that moved on since it was read leaves
// a statement short, and the whole is read and decided again.
func (s *Store) openPaymentCommand(ctx context.Context, tx pgx.Tx, operation OperationID, c PaymentCommand, f foundForCommand, call newIntent) error {
	call.id, call.payment = NewIntentID(), c.Payment
	batch := &pgx.Batch{}
	s.openPaymentOperation(ctx, batch, operation, c.Type, c.Payment)
	if c.Type == PaymentReverse {
		batch.Queue(setAsideSQL, pgx.NamedArgs{
			"payment": c.Payment, "amount": call.amount, "commission": call.commission, "given_back": f.givenBack,
		}).Exec(affects(1))
	} else {
		batch.Queue(stillAllowsStepSQL, pgx.NamedArgs{"payment": c.Payment, "payment_status": f.paymentStatus}).Exec(affects(1))
	}
	s.intend(batch, operation, call)
	return tx.SendBatch(ctx, batch).Close()
}
