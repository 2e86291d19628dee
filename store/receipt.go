package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Receipt is what a finished payment's receipt shows.
type Receipt struct {
	CardPayment
	InvoiceNumber int64
	Description   string
	Services      []Service
	ClientName    string
}

// ErrNoReceipt says that the payment is not finished: there is nothing to give a receipt for.
var ErrNoReceipt = errors.New("the payment has no receipt")

// receiptAddress is where the receipt of payment p, of invoice i, is mailed, empty for nowhere. The
// address of an invoice that many pay is none of theirs.
const receiptAddress = `coalesce(nullif(p.email, ''), CASE WHEN NOT i.reusable THEN i.email END, '')`

const readReceiptSQL = `
SELECT ` + cardPaymentColumns + `, i.invoice_number, i.description, i.services, c.name, ` + receiptAddress + `
FROM payments p` + joinCardPayment + `
JOIN invoices i ON i.number = p.invoice_id
WHERE p.id = @payment`

// Receipt returns the receipt of a finished, or reversed, payment. Its errors are
// ErrPaymentNotFound and ErrNoReceipt.
func (s *Store) Receipt(ctx context.Context, id PaymentID) (Receipt, error) {
	r, _, err := s.receipt(ctx, id)
	return r, err
}

func (s *Store) receipt(ctx context.Context, id PaymentID) (r Receipt, to string, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readReceiptSQL, pgx.NamedArgs{"payment": id})
	r, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (r Receipt, err error) {
		err = row.Scan(append(r.CardPayment.columns(), &r.InvoiceNumber, &r.Description, &r.Services, &r.ClientName, &to)...)
		return r, err
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Receipt{}, "", ErrPaymentNotFound
	case err != nil:
		return Receipt{}, "", unavailable(wrap("read receipt "+id.String(), err))
	case !r.HasReceipt():
		return Receipt{}, "", ErrNoReceipt
	}
	return r, to, nil
}

// ReceiptMail is a receipt to be mailed.
type ReceiptMail struct {
	Receipt
	To        string
	Operation OperationID
	Client    int64
}

const startReceiptSQL = `
UPDATE operations o
SET status = 'running', due_at = now() + @grace
WHERE o.id = @id AND o.seq = @seq AND o.type = @type AND ` + isOpen + `
RETURNING o.resource`

// StartReceipt returns what to mail for a message of the queue receipts; false says that the
// message is stale.
func (s *Store) StartReceipt(ctx context.Context, ref Ref) (ReceiptMail, bool, error) {
	var payment PaymentID
	err := s.pool.QueryRow(ctx, startReceiptSQL, pgx.NamedArgs{"id": ref.ID, "seq": ref.Seq, "type": ReceiptSend, "grace": s.grace}).Scan(&payment)
	if errors.Is(err, pgx.ErrNoRows) {
		return ReceiptMail{}, false, nil
	}
	if err != nil {
		return ReceiptMail{}, false, unavailable(wrap("start receipt "+ref.ID.String(), err))
	}
	r, to, err := s.receipt(ctx, payment)
	if err != nil {
		return ReceiptMail{}, false, err
	}
	return ReceiptMail{Receipt: r, To: to, Operation: ref.ID, Client: r.CardPayment.Client}, true, nil
}

// The mail is out, whatever became of its message meanwhile: seq does not matter.
const endReceiptSQL = `
UPDATE operations o
SET status = CASE @code WHEN '' THEN 'succeeded' ELSE 'failed' END,
    error_code = nullif(@code, ''), error_message = nullif(@message, ''), attempts = attempts + 1, finished_at = clock_timestamp()
WHERE o.id = @id AND o.type = @type AND ` + isOpen + `
RETURNING o.finished_at - o.created_at`

// FinishReceipt ends the operation: the mail was taken, or refused for good (code and
// message). After a crash before this commit the mail is sent again, with the same
// Message-ID.
func (s *Store) FinishReceipt(ctx context.Context, ref Ref, code, message string) (Outcome, error) {
	why := refusal{code: clip(code, 100), message: clip(message, 1000)}
	var waited time.Duration
	err := s.pool.QueryRow(ctx, endReceiptSQL, pgx.NamedArgs{"id": ref.ID, "type": ReceiptSend, "code": why.code, "message": why.message}).Scan(&waited)
	if errors.Is(err, pgx.ErrNoRows) {
		return Outcome{}, nil
	}
	if err != nil {
		return Outcome{}, unavailable(wrap("finish receipt "+ref.ID.String(), err))
	}
	return why.outcome(ReceiptSend, waited), nil
}
