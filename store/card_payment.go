package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// The status of a payment by card, and its finer paymentStatus, as the original shows them.
const (
	StatusNew      = "NEW"
	StatusPaid     = "PAID"
	StatusFinished = "FINISHED"
	StatusReversed = "REVERSED"
	StatusCanceled = "CANCELED"

	PaymentOpen              = "OPEN"               // being authorised
	PaymentNeedsConfirmation = "NEEDS_CONFIRMATION" // by the payer
	PaymentPending           = "PENDING"            // the acquirer's answer is unknown
	PaymentHolded            = "HOLDED"
	PaymentFinished          = "FINISHED"
	PaymentReversed          = "REVERSED"
	PaymentCanceled          = "CANCELED"
	PaymentRejected          = "REJECTED"
)

// paymentLife is how long a payer may take to confirm a payment.
const paymentLife = 15 * time.Minute

// CardPayment is a payment by card.
type CardPayment struct {
	ID                 PaymentID
	Invoice            InvoiceNumber
	Number             int64
	ReceiptID          string
	Client             int64 // the shop's row
	ClientNumber       int64
	SystemType         SystemType
	Type               InvoiceType
	Amount             money.Amount // what the shop gets
	Commission         int64        // minor units, on top
	Reversed           int64        // minor units of Amount that were given back
	CommissionReversed int64        // minor units of Commission that went with it
	Status             string
	PaymentStatus      string
	CardFrom           Card
	CardTo             Card // zero but for P2P
	SendOperationID    string
	ReceiveOperationID string
	Email              string
	Confirmation       *Confirmation // exactly while NEEDS_CONFIRMATION
	RefusalCode        string        // exactly if REJECTED
	RefusalMessage     string
	StepOpen           bool // a command has been accepted that may change the state
	CreatedAt          time.Time
	UpdatedAt          time.Time
	PaidAt             *time.Time
	FinishedAt         *time.Time
	ReversedAt         *time.Time
	CanceledAt         *time.Time
}

// HasReceipt says that the payment was made, even if it was given back since.
func (p CardPayment) HasReceipt() bool {
	return p.Status == StatusFinished || p.Status == StatusReversed
}

// GivenBack is what the payer got back, in minor units.
func (p CardPayment) GivenBack() int64 { return p.Reversed + p.CommissionReversed }

// Confirmation is what the payer has to do.
type Confirmation struct {
	Type string            `json:"type"`           // "3DS": post Form to URL, and confirm with the PaRes that comes back; "LOOKUP": confirm with a code
	URL  string            `json:"url,omitempty"`  // of the bank's page
	Form map[string]string `json:"form,omitempty"` // PaReq
	Left int               `json:"left"`           // tries
}

// ErrPaymentNotFound says that no payment by card has this id, of this invoice and client.
var ErrPaymentNotFound = errors.New("payment not found")

// cardPaymentColumns are those of payment p of client c, with its cards f and t. OFFSET 0 makes
// the open step one look into the index: of many payments, the planner would read all open steps.
const cardPaymentColumns = `
p.id, p.invoice_id, p.number, p.receipt_id, p.client_id, c.client_id::bigint, p.system_type, p.type, p.amount, p.currency, p.commission,
p.reversed, p.commission_reversed, p.status, p.payment_status, p.card_from_id, f.mask, f.expiry, f.brand,
p.card_to_id, coalesce(t.mask, ''), coalesce(t.expiry, ''), coalesce(t.brand, ''), p.send_operation_id, p.receive_operation_id,
coalesce(p.email, ''), p.confirmation, p.refusal_code, p.refusal_message,
p.status IN ('NEW', 'PAID') AND EXISTS (
	SELECT
	FROM operations o
	WHERE ` + isOpenStep + `
	OFFSET 0
),
p.created_at, p.updated_at, p.paid_at, p.finished_at, p.reversed_at, p.canceled_at`

const joinCardPayment = `
JOIN clients c ON c.id = p.client_id
JOIN LATERAL (SELECT f.mask, f.expiry, f.brand FROM cards f WHERE f.id = p.card_from_id OFFSET 0) f ON true
LEFT JOIN LATERAL (SELECT t.mask, t.expiry, t.brand FROM cards t WHERE t.id = p.card_to_id OFFSET 0) t ON true`

const readCardPaymentSQL = `
SELECT ` + cardPaymentColumns + `
FROM payments p` + joinCardPayment + `
WHERE p.id = @payment AND (@client::bigint = 0 OR p.client_id = @client)`

// CardPayment returns a payment by card, or ErrPaymentNotFound. client 0 is whoever knows
// the id.
func (s *Store) CardPayment(ctx context.Context, client int64, id PaymentID) (CardPayment, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readCardPaymentSQL, pgx.NamedArgs{"payment": id, "client": client})
	p, err := pgx.CollectExactlyOneRow(rows, scanCardPayment)
	if errors.Is(err, pgx.ErrNoRows) {
		return CardPayment{}, ErrPaymentNotFound
	}
	return p, unavailable(wrap("read payment "+id.String(), err))
}

func scanCardPayment(row pgx.CollectableRow) (p CardPayment, err error) {
	err = row.Scan(p.columns()...)
	return p, err
}

// columns are where cardPaymentColumns go.
func (p *CardPayment) columns() []any {
	return []any{
		&p.ID, &p.Invoice, &p.Number, &p.ReceiptID, &p.Client, &p.ClientNumber, &p.SystemType, &p.Type, &p.Amount.Minor,
		&p.Amount.Currency, &p.Commission, &p.Reversed, &p.CommissionReversed, &p.Status, &p.PaymentStatus, &p.CardFrom.ID, &p.CardFrom.Mask, &p.CardFrom.Expiry,
		&p.CardFrom.Brand, &p.CardTo.ID, &p.CardTo.Mask, &p.CardTo.Expiry, &p.CardTo.Brand, &p.SendOperationID, &p.ReceiveOperationID,
		&p.Email, &p.Confirmation, &p.RefusalCode, &p.RefusalMessage, &p.StepOpen,
		&p.CreatedAt, &p.UpdatedAt, &p.PaidAt, &p.FinishedAt, &p.ReversedAt, &p.CanceledAt,
	}
}
