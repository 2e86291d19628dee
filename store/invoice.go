package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// InvoiceState is the state of an invoice as the mobile API shows it.
type InvoiceState int

// The states that the original documents or implies.
const (
	AwaitingPayment   InvoiceState = 2
	PaymentInProgress InvoiceState = 3
	Paid              InvoiceState = 5
	Expired           InvoiceState = 6
)

// InvoiceError is why the last payment of an invoice was refused, as the mobile API shows it.
type InvoiceError int

// A refused payment returns its invoice to AwaitingPayment with one of these.
const (
	NoError                InvoiceError = 0
	InsufficientFunds      InvoiceError = 1
	RecipientCannotReceive InvoiceError = 2
	CurrencyMismatch       InvoiceError = 3
	TechnicalError         InvoiceError = 9 // an operator will look at it
)

// Item is a position of an invoice; Price is in minor units of the invoice's currency.
type Item struct {
	Price    int64  `json:"price"`
	Name     string `json:"name"`
	Selected bool   `json:"selected"`
}

// Invoice asks the payer to pay the recipient.
type Invoice struct {
	Number        InvoiceNumber
	Owner         string // account number of who issued it
	Payer         string // account number
	Recipient     string // account number
	Amount        money.Amount
	Description   string
	NameCheque    string
	DatePayCheque string // as it was sent
	Items         []Item
	State         InvoiceState
	Error         InvoiceError
	TxID          [32]byte // SHA-256 of the invoice as issued; never changes
	CreatedAt     time.Time
	UpdatedAt     *time.Time
}

// NewInvoice is an invoice to be issued. Payer and Recipient are account numbers or
// session ids.
type NewInvoice struct {
	Number        InvoiceNumber
	Session       SessionID
	Payer         string
	Recipient     string
	Amount        money.Amount
	Description   string
	NameCheque    string
	DatePayCheque string
	Items         []Item
}

// What is wrong with a new invoice.
var (
	ErrPayerNotFound     = errors.New("payer not found")
	ErrRecipientNotFound = errors.New("recipient not found")
	ErrPaysItself        = errors.New("payer and recipient are the same account")
)

const resolvePartiesSQL = `
WITH named (role, number, session) AS (
	VALUES ('issuer', '', @session::bytea), ('payer', @payer::text, @payer_session::bytea), ('recipient', @recipient::text, @recipient_session::bytea)
)
SELECT n.role, a.id, a.account_number AS number, coalesce(s.id, 0) AS session, has_phone(a) AS phone, now() AS now
FROM named n
LEFT JOIN sessions s ON s.hash = n.session
JOIN accounts a ON a.account_number = n.number OR a.id = s.account_id
WHERE NOT a.deleted`

const insertInvoiceSQL = `
INSERT INTO invoices (number, session_id, payer_id, recipient_id, amount, currency, description,
                      name_cheque, date_pay_cheque, items, tx_id, created_at)
VALUES (@number, @session, @payer, @recipient, @amount, @currency, @description,
        @name_cheque, @date_pay_cheque, @items, @tx_id, @created_at)`

// The recipient's wallet stands before anybody can pay into it, so that a settler never
// has to make one.
const openWalletSQL = `
INSERT INTO ledger_accounts (kind, owner, currency)
SELECT 'wallet', @owner, @currency
WHERE NOT EXISTS (SELECT FROM ledger_accounts WHERE kind = 'wallet' AND owner = @owner AND currency = @currency)
ON CONFLICT DO NOTHING`

// IssueInvoice stores a new invoice. Its errors are ErrSessionNotFound, ErrPayerNotFound,
// ErrRecipientNotFound, ErrPaysItself, *Replay and ErrKeyReused.
func (s *Store) IssueInvoice(ctx context.Context, n NewInvoice, once Once) error {
	var enqueued bool
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		p, err := resolveParties(ctx, tx, n)
		if err != nil {
			return err
		}
		return s.insertInvoice(ctx, tx, n, p, &enqueued)
	})
	if err == nil && enqueued {
		s.outboxFilled()
	}
	return unavailable(wrap("issue invoice "+n.Number.String(), err))
}

// party is who plays a role in an invoice.
type party struct {
	Role    string
	ID      int64
	Number  string
	Session int64
	Phone   bool      // that can be told something
	Now     time.Time // the database's clock
}

type parties struct{ issuer, payer, recipient party }

func resolveParties(ctx context.Context, tx pgx.Tx, n NewInvoice) (parties, error) {
	rows, _ := tx.Query(ctx, resolvePartiesSQL, pgx.NamedArgs{
		"session": hashOf(string(n.Session)),
		"payer":   n.Payer, "payer_session": hashOf(n.Payer),
		"recipient": n.Recipient, "recipient_session": hashOf(n.Recipient),
	})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[party])
	if err != nil {
		return parties{}, err
	}
	byRole := make(map[string]party)
	for _, p := range found {
		byRole[p.Role] = p
	}
	p := parties{issuer: byRole["issuer"], payer: byRole["payer"], recipient: byRole["recipient"]}
	switch {
	case p.issuer.ID == 0:
		return parties{}, ErrSessionNotFound
	case p.payer.ID == 0:
		return parties{}, ErrPayerNotFound
	case p.recipient.ID == 0:
		return parties{}, ErrRecipientNotFound
	case p.payer.ID == p.recipient.ID:
		return parties{}, ErrPaysItself
	}
	return p, nil
}

func (s *Store) insertInvoice(ctx context.Context, tx pgx.Tx, n NewInvoice, p parties, enqueued *bool) error {
	if n.Items == nil {
		n.Items = []Item{} // [] in the database as well, not null
	}
	items, err := json.Marshal(n.Items)
	if err != nil {
		return err
	}
	txID := invoiceTxID(n, p, items)
	batch := &pgx.Batch{}
	batch.Queue(openWalletSQL, pgx.NamedArgs{"owner": p.recipient.ID, "currency": n.Amount.Currency})
	batch.Queue(insertInvoiceSQL, pgx.NamedArgs{
		"number": n.Number, "session": p.issuer.Session, "payer": p.payer.ID, "recipient": p.recipient.ID,
		"amount": n.Amount.Minor, "currency": n.Amount.Currency, "description": n.Description,
		"name_cheque": n.NameCheque, "date_pay_cheque": n.DatePayCheque, "items": items,
		"tx_id": txID[:], "created_at": p.issuer.Now,
	})
	if p.payer.Phone {
		made := n.made(p)
		made.trace = parentIn(ctx)
		if _, err := s.writeEvents(batch, []event{made}, enqueued); err != nil {
			return err
		}
	}
	return tx.SendBatch(ctx, batch).Close()
}

// invoiceTxID is the SHA-256 of the invoice as issued. The fields stand one a line: none
// of them may hold a line break.
func invoiceTxID(n NewInvoice, p parties, items []byte) [32]byte {
	return sha256.Sum256([]byte(strings.Join([]string{
		"quittance invoice 1",
		n.Number.String(), p.issuer.Number, p.payer.Number, p.recipient.Number,
		strconv.FormatInt(n.Amount.Minor, 10), strconv.Itoa(int(n.Amount.Currency)),
		n.Description, n.NameCheque, n.DatePayCheque, string(items),
		strconv.FormatInt(p.issuer.Now.UnixMicro(), 10),
	}, "\n")))
}

// ErrInvoiceNotFound says that no invoice has this number.
var ErrInvoiceNotFound = errors.New("invoice not found")

const selectInvoicesSQL = `
SELECT i.number, owner.account_number AS owner, payer.account_number AS payer, recipient.account_number AS recipient,
       i.amount AS minor, i.currency, i.description, i.name_cheque, i.date_pay_cheque, i.items,
       i.state, i.error_code AS error, i.tx_id, i.created_at, i.updated_at
FROM invoices i
JOIN sessions s         ON s.id = i.session_id
JOIN accounts owner     ON owner.id = s.account_id
JOIN accounts payer     ON payer.id = i.payer_id
JOIN accounts recipient ON recipient.id = i.recipient_id
`

const readInvoiceSQL = selectInvoicesSQL + `
WHERE i.number = @number`

// Invoice returns an invoice, or ErrInvoiceNotFound.
func (s *Store) Invoice(ctx context.Context, number InvoiceNumber) (Invoice, error) {
	found, err := s.collectInvoices(ctx, readInvoiceSQL, pgx.NamedArgs{"number": number})
	if err != nil {
		return Invoice{}, err
	}
	if len(found) == 0 {
		return Invoice{}, ErrInvoiceNotFound
	}
	return found[0], nil
}

const listInvoicesSQL = selectInvoicesSQL + `
WHERE i.session_id = @session
  AND (i.created_at, i.number) < (coalesce((SELECT b.created_at FROM invoices b WHERE b.number = @before),
                                           CASE WHEN @before::uuid IS NULL THEN 'infinity' ELSE '-infinity' END::timestamptz),
                                  coalesce(@before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
ORDER BY i.created_at DESC, i.number DESC
LIMIT @limit`

// InvoicesIssued lists what the session issued, in every state. Its error is
// ErrSessionNotFound.
func (s *Store) InvoicesIssued(ctx context.Context, session SessionID, page Page[InvoiceNumber]) ([]Invoice, error) {
	id, err := s.sessionRow(ctx, session)
	if err != nil {
		return nil, err
	}
	return s.collectInvoices(ctx, listInvoicesSQL, pgx.NamedArgs{"session": id, "before": page.Before, "limit": page.Limit})
}

func (s *Store) collectInvoices(ctx context.Context, sql string, args pgx.NamedArgs) ([]Invoice, error) {
	rows, _ := s.pool.Query(ctx, sql, args)
	found, err := pgx.CollectRows(rows, scanInvoice)
	if err != nil {
		return nil, unavailable(fmt.Errorf("read invoices: %w", err))
	}
	return found, nil
}

func scanInvoice(row pgx.CollectableRow) (Invoice, error) {
	var i Invoice
	var txID []byte
	err := row.Scan(&i.Number, &i.Owner, &i.Payer, &i.Recipient, &i.Amount.Minor, &i.Amount.Currency, &i.Description,
		&i.NameCheque, &i.DatePayCheque, &i.Items, &i.State, &i.Error, &txID, &i.CreatedAt, &i.UpdatedAt)
	copy(i.TxID[:], txID)
	return i, err
}
