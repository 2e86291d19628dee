package store

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/jackc/pgx/v5"
)

// NewCardPayment is a payment to be made.
type NewCardPayment struct {
	ID         PaymentID
	Intent     IntentID // of its authorisation: fresh, never that of a tokenisation
	Invoice    InvoiceNumber
	Client     int64  // who must have issued the invoice; 0 for a payer, who was shown it
	Amount     int64  // minor units, of an invoice with an open amount; 0: the invoice's
	Card       Card   // one of the shop's; stored with the payment where NewCard
	NewCard    bool   // it is not stored yet
	Token      string // to authorise with
	SavedToken string // of a NewCard: what later charges are authorised with
	Email      string
	Once       Once
}

// Why a payment is not accepted. Nothing was done.
var (
	ErrInvoiceInactive   = errors.New("the invoice can no longer be paid")
	ErrInvoicePaid       = errors.New("the invoice is paid")
	ErrPaymentInProgress = errors.New("another payment of the invoice is in progress")
	ErrAmountNeeded      = errors.New("the invoice's amount is open: one must be given")
	ErrAmountNotOpen     = errors.New("the invoice's amount is another one")
	ErrAmountTooLarge    = errors.New("the amount is too large")
	ErrCardExpired       = errors.New("the card has expired")
	ErrPaysOwnCard       = errors.New("the card is paid from itself")
)

// CreateCardPayment accepts a payment: it, its authorisation's intent and operation, and the
// message about it commit together. Its errors are ErrInvoiceNotFound, those above,
// ErrCardNotFound, *Replay and ErrKeyReused.
//
// Of two who pay a one-time invoice at once the unique index lets one insert its payment. The
// other waits for it, inserts nothing, and reads again why.
func (s *Store) CreateCardPayment(ctx context.Context, n NewCardPayment) (OperationID, error) {
	operation := NewOperationID()
	n.Once.Answer.Operation = operation
	err := s.inTxAgain(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, n.Once); err != nil {
			return err
		}
		found, err := s.readForCardPayment(ctx, tx, n)
		if err != nil {
			return err
		}
		p, err := n.decide(found)
		if err != nil {
			return err
		}
		return s.insertCardPayment(ctx, tx, operation, p)
		// The commit point. Before it nothing was accepted, and what was tokenised is worth
		// nothing; after it the payment is authorised even if this process dies before it can
		// answer.
	})
	if err != nil {
		return OperationID{}, unavailable(wrap("create payment "+n.ID.String(), err))
	}
	s.outboxFilled()
	return operation, nil
}

// inTxAgain is inTx, and again where a race was lost.
func (s *Store) inTxAgain(ctx context.Context, f func(pgx.Tx) error) (err error) {
	for range groupTries {
		if err = s.inTx(ctx, f); FaultOf(err) != FaultContention {
			break
		}
	}
	return err
}

// foundForCardPayment is what a new payment meets in the database; what was not found is zero.
type foundForCardPayment struct {
	client      int64
	systemType  SystemType
	kind        InvoiceType
	amount      int64 // 0: open
	reusable    bool
	services    []Service
	active      bool
	tariff      Tariff
	cardTo      CardID
	cardToToken string
	card        Card // as it is stored
	cardToken   string
	standing    string // the status of the payment that a one-time invoice has
	month       string // YYYY-MM
}

const readForCardPaymentSQL = `
SELECT i.client_id, i.system_type, i.type, coalesce(i.amount, 0), i.reusable, i.services,
       (i.pay_expires_at <= clock.now) IS NOT TRUE AND (s.active AND s.expires_at > clock.now) IS NOT FALSE AND NOT c.disabled,
       c.commission_millipercents, c.commission_fixed, i.card_to_id, t.token,
       f.id, coalesce(f.mask, ''), coalesce(f.expiry, ''), coalesce(f.brand, ''), f.token,
       coalesce(standing.status, ''), to_char(clock.now, 'YYYY-MM')
FROM invoices i
JOIN clients c            ON c.id = i.client_id
LEFT JOIN subscriptions s ON s.invoice_id = i.number
LEFT JOIN cards t         ON t.id = i.card_to_id
LEFT JOIN cards f         ON f.id = @card AND f.client_id = i.client_id
CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
LEFT JOIN LATERAL (
	SELECT p.status
	FROM payments p
	WHERE p.invoice_id = i.number AND p.one_time AND p.status <> 'CANCELED'
	LIMIT 1
) standing ON true
WHERE i.number = @invoice AND (@client::bigint = 0 OR i.client_id = @client)`

func (s *Store) readForCardPayment(ctx context.Context, tx pgx.Tx, n NewCardPayment) (f foundForCardPayment, err error) {
	var fromToken, toToken []byte
	err = tx.QueryRow(ctx, readForCardPaymentSQL, pgx.NamedArgs{"invoice": n.Invoice, "client": n.Client, "card": n.Card.ID}).Scan(
		&f.client, &f.systemType, &f.kind, &f.amount, &f.reusable, &f.services, &f.active, &f.tariff.Millipercents, &f.tariff.Fixed,
		&f.cardTo, &toToken, &f.card.ID, &f.card.Mask, &f.card.Expiry, &f.card.Brand, &fromToken, &f.standing, &f.month)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, ErrInvoiceNotFound
	}
	if err != nil || f.cardTo.IsZero() {
		return f, err
	}
	if f.cardToToken, err = s.openToken(toToken); err != nil {
		return f, err
	}
	f.cardToken, err = s.openToken(fromToken)
	return f, err
}

// openToken opens what a card's row holds; there may be none.
func (s *Store) openToken(sealed []byte) (string, error) {
	if sealed == nil {
		return "", nil
	}
	token, err := s.seal.open(sealed, cardContext)
	return string(token), err
}

// cardPaymentRow is a payment as it was decided to be stored.
type cardPaymentRow struct {
	NewCardPayment
	client     int64
	systemType SystemType
	kind       InvoiceType
	oneTime    bool
	commission int64
	tariff     Tariff
	itemised   bool
	cardTo     CardID
}

// decide is pure: it returns the payment to store, or why there is none.
func (n NewCardPayment) decide(f foundForCardPayment) (cardPaymentRow, error) {
	card := f.card
	if n.NewCard {
		card = n.Card
	}
	switch {
	case f.standing == StatusNew:
		return cardPaymentRow{}, ErrPaymentInProgress
	case f.standing != "":
		return cardPaymentRow{}, ErrInvoicePaid
	case !f.active:
		return cardPaymentRow{}, ErrInvoiceInactive
	case card.ID.IsZero():
		return cardPaymentRow{}, ErrCardNotFound
	case card.Expiry < f.month:
		return cardPaymentRow{}, ErrCardExpired
	case n.paysItself(f):
		return cardPaymentRow{}, ErrPaysOwnCard
	}
	amount, err := n.amountOf(f)
	if err != nil {
		return cardPaymentRow{}, err
	}
	n.Card, n.Amount = card, amount
	p := cardPaymentRow{
		NewCardPayment: n, client: f.client, systemType: f.systemType, kind: f.kind, oneTime: !f.reusable,
		tariff: f.tariff, itemised: len(f.services) > 0, cardTo: f.cardTo,
	}
	p.commission = p.tariff.Commission(amount)
	if p.itemised {
		p.commission = commissionOfServices(f.services)
	}
	return p, nil
}

// amountOf is the invoice's amount or, where that is open, the payer's.
func (n NewCardPayment) amountOf(f foundForCardPayment) (int64, error) {
	switch {
	case f.amount == 0 && n.Amount <= 0:
		return 0, ErrAmountNeeded
	case f.amount == 0 && n.Amount > MaxCardAmount:
		return 0, ErrAmountTooLarge
	case f.amount == 0:
		return n.Amount, nil
	case n.Amount != 0 && n.Amount != f.amount:
		return 0, ErrAmountNotOpen
	}
	return f.amount, nil
}

// paysItself says that a card would get what it pays: under the same id, or known to the
// acquirer by the same token.
func (n NewCardPayment) paysItself(f foundForCardPayment) bool {
	if f.cardTo.IsZero() {
		return false
	}
	return n.Card.ID == f.cardTo || f.cardToToken == n.Token || f.cardToToken == n.SavedToken || f.cardToToken == f.cardToken
}

const insertCardPaymentSQL = `
INSERT INTO payments (id, invoice_id, client_id, system_type, type, one_time, amount, commission, commission_millipercents,
                      commission_fixed, itemised, currency, card_from_id, card_to_id, email, receipt_id, created_at, updated_at)
VALUES (@payment, @invoice, @client, @system_type, @type, @one_time, @amount, @commission, @millipercents,
        @fixed, @itemised, @currency, @card, @card_to, nullif(@email::text, ''), @receipt, deciding_time(), deciding_time())
ON CONFLICT DO NOTHING`

// insertCardPayment writes what was decided. Where a competing payment came first, its
// statement falls short, and the whole is read and decided again.
func (s *Store) insertCardPayment(ctx context.Context, tx pgx.Tx, operation OperationID, p cardPaymentRow) error {
	batch := &pgx.Batch{}
	if p.NewCard {
		s.insertCard(batch, NewCard{Card: p.Card, Client: p.client, Token: p.SavedToken})
	}
	s.openPaymentOperation(ctx, batch, operation, PaymentAuthorise, p.ID)
	batch.Queue(insertCardPaymentSQL, pgx.NamedArgs{
		"payment": p.ID, "invoice": p.Invoice, "client": p.client, "system_type": p.systemType, "type": p.kind, "one_time": p.oneTime,
		"amount": p.Amount, "commission": p.commission, "millipercents": p.tariff.Millipercents, "fixed": p.tariff.Fixed,
		"itemised": p.itemised, "currency": Hryvnia, "card": p.Card.ID, "card_to": p.cardTo, "email": p.Email, "receipt": newReceiptID(),
	}).Exec(affects(1))
	s.intend(batch, operation, newIntent{id: p.Intent, payment: p.ID, call: CallAuthorise, amount: p.Amount, commission: p.commission, secret: p.Token})
	endLease(batch, p.Once)
	return tx.SendBatch(ctx, batch).Close()
}

// newReceiptID is random: twelve letters and digits, 60 bits.
func newReceiptID() string { return rand.Text()[:12] }

const openPaymentOperationSQL = `
INSERT INTO operations (id, type, resource, due_at, trace_parent)
VALUES (@operation, @type, @payment, now() + @grace, nullif(@trace::text, ''))
ON CONFLICT DO NOTHING`

const insertIntentSQL = `
INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, secret)
VALUES (@intent, @operation, @payment, @call, @amount, @commission, @secret)`

const enqueuePaymentOperationSQL = `
INSERT INTO outbox (queue, message_id, seq, type)
VALUES (@queue, @operation, 1, @type)`

// intentContext seals what a call of the acquirer needs and nobody else may see.
const intentContext = "intent"

// newIntent is a call of the acquirer to be made.
type newIntent struct {
	id         IntentID
	payment    PaymentID
	call       Call
	amount     int64 // the shop's part
	commission int64
	secret     string
}

// openPaymentOperation opens an operation on a payment, and enqueues it. Where a competing one
// is open, its statement falls short.
func (s *Store) openPaymentOperation(ctx context.Context, batch *pgx.Batch, id OperationID, kind OperationType, payment PaymentID) {
	args := pgx.NamedArgs{
		"operation": id, "type": kind, "payment": payment, "grace": s.grace, "queue": queueOf[kind], "trace": parentIn(ctx),
	}
	batch.Queue(openPaymentOperationSQL, args).Exec(affects(1))
	batch.Queue(enqueuePaymentOperationSQL, args)
}

// intend writes the call that an operation is to make.
func (s *Store) intend(batch *pgx.Batch, operation OperationID, i newIntent) {
	var sealed []byte
	if i.secret != "" {
		sealed = s.seal.close([]byte(i.secret), intentContext)
	}
	batch.Queue(insertIntentSQL, pgx.NamedArgs{
		"intent": i.id, "operation": operation, "payment": i.payment, "call": i.call, "amount": i.amount, "commission": i.commission, "secret": sealed,
	})
}
