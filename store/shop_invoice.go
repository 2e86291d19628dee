package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// SystemType says to whom the money of a shop's invoice goes.
type SystemType string

// To the shop; from card to card; to the shop, for somebody's bill.
const (
	ECOM   SystemType = "ECOM"
	P2P    SystemType = "P2P"
	BILLER SystemType = "BILLER"
)

// InvoiceType says when it goes there.
type InvoiceType string

// At once; once the shop completes it; at once and then every so many days.
const (
	Pay       InvoiceType = "PAY"
	Hold      InvoiceType = "HOLD"
	Subscribe InvoiceType = "SUBSCRIBE"
)

// Hryvnia is the currency of everything that is paid by card.
const Hryvnia = 980

// MaxCardAmount is the most that one payment by card may be: ten billion hryvnias, in minor
// units. A million of them fit into a balance.
const MaxCardAmount = 1_000_000_000_000

// Service is a position of a shop's invoice. Account, MFO, OKPO and BankName say whose money
// it is where the shop only collects it.
type Service struct {
	ServiceID       *int64 `json:"serviceId,omitempty"`
	Destination     string `json:"destination,omitempty"`
	DestinationName string `json:"destinationName,omitempty"`
	Account         string `json:"account,omitempty"` // an IBAN
	MFO             string `json:"mfo,omitempty"`
	OKPO            string `json:"okpo,omitempty"`
	BankName        string `json:"bankName,omitempty"`
	Description     string `json:"description,omitempty"`
	Amount          int64  `json:"amount"`     // minor units
	Commission      int64  `json:"commission"` // minor units; the store sets it when the invoice is issued
}

// NewShopInvoice is an invoice to be issued by a shop.
type NewShopInvoice struct {
	ID           InvoiceNumber
	Shop         Shop
	ExternalID   string
	SystemType   SystemType
	Type         InvoiceType
	Description  string
	Amount       int64 // minor units; 0: whatever the payer chooses, or the sum of the services
	Reusable     bool
	CardTo       CardID // of P2P
	Services     []Service
	Interval     int       // days, of a subscription
	EndsAt       time.Time // of a subscription
	PayExpiresAt time.Time // zero: never
	RedirectURL  string
	CallbackURL  string
	Email        string
	ExtraInfo    json.RawMessage // an object; nil for none
}

// ErrInThePast says that a subscription's end has passed.
var ErrInThePast = errors.New("the time has passed")

// ErrServicesSum says that an invoice's amount is not the sum of its services.
var ErrServicesSum = errors.New("the amount is not the sum of the services")

// price fills in what each service's commission is, and the sum of all as the amount. Its
// errors are ErrAmountTooLarge and ErrServicesSum.
func (n *NewShopInvoice) price() error {
	services := make([]Service, len(n.Services)) // the caller's stay as they are
	var sum int64
	for i, service := range n.Services {
		if service.Amount <= 0 {
			return fmt.Errorf("service %d: %w", i+1, money.ErrNotPositive)
		}
		if service.Amount > MaxCardAmount-sum {
			return ErrAmountTooLarge
		}
		sum += service.Amount
		service.Commission = n.Shop.Tariff.Commission(service.Amount)
		services[i] = service
	}
	switch {
	case n.Amount > MaxCardAmount:
		return ErrAmountTooLarge
	case len(services) == 0:
		return nil
	case n.Amount != 0 && n.Amount != sum:
		return ErrServicesSum
	}
	n.Services, n.Amount = services, sum
	return nil
}

// Where its time has passed, or its card is not the shop's, there is no invoice.
const readForIssueSQL = `
SELECT deciding_time(), EXISTS (SELECT FROM cards c WHERE c.id = @card AND c.client_id = @client)`

const insertShopInvoiceSQL = `
INSERT INTO invoices (number, client_id, invoice_number, external_id, system_type, type, description, amount, currency, reusable,
                      card_to_id, services, pay_expires_at, redirect_url, callback_url, email, extra_info, created_at)
VALUES (@number, @client, coalesce(@invoice_number::bigint, nextval('invoice_numbers')), @external, @system_type, @type, @description,
        nullif(@amount::bigint, 0), @currency, @reusable, @card, @services, @pay_expires_at, nullif(@redirect::text, ''),
        nullif(@callback::text, ''), nullif(@email::text, ''), @extra_info, @created_at)`

const insertSubscriptionSQL = `
INSERT INTO subscriptions (invoice_id, interval_days, expires_at, created_at, updated_at)
VALUES (@number, @interval, @ends_at, @created_at, @created_at)`

// IssueShopInvoice stores an invoice. Its errors are ErrCardNotFound (CardTo is not the
// shop's), ErrInThePast (EndsAt, by the deciding time), ErrAmountTooLarge, ErrServicesSum,
// *Replay and ErrKeyReused.
func (s *Store) IssueShopInvoice(ctx context.Context, n NewShopInvoice, once Once) error {
	if err := n.price(); err != nil {
		return err
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		var now time.Time
		var cardFound bool
		err := tx.QueryRow(ctx, readForIssueSQL, pgx.NamedArgs{"card": n.CardTo, "client": n.Shop.Client}).Scan(&now, &cardFound)
		switch {
		case err != nil:
			return err
		case !n.CardTo.IsZero() && !cardFound:
			return ErrCardNotFound
		case n.Type == Subscribe && !n.EndsAt.After(now):
			return ErrInThePast
		}
		return insertShopInvoice(ctx, tx, n, nil, now)
	})
	return unavailable(wrap("issue invoice "+n.ID.String(), err))
}

// insertShopInvoice stores an invoice under the next number, unless it is given one.
func insertShopInvoice(ctx context.Context, tx pgx.Tx, n NewShopInvoice, number *int64, at time.Time) error {
	if n.Services == nil {
		n.Services = []Service{} // [] in the database as well, not null
	}
	if n.ExtraInfo == nil {
		n.ExtraInfo = json.RawMessage("{}")
	}
	services, err := json.Marshal(n.Services)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(insertShopInvoiceSQL, pgx.NamedArgs{
		"number": n.ID, "client": n.Shop.Client, "invoice_number": number, "external": n.ExternalID, "system_type": n.SystemType,
		"type": n.Type, "description": n.Description, "amount": n.Amount, "currency": Hryvnia, "reusable": n.Reusable, "card": n.CardTo,
		"services": services, "pay_expires_at": timeOrNull(n.PayExpiresAt), "redirect": n.RedirectURL, "callback": n.CallbackURL,
		"email": n.Email, "extra_info": []byte(n.ExtraInfo), "created_at": at,
	})
	if n.Type == Subscribe {
		batch.Queue(insertSubscriptionSQL, pgx.NamedArgs{"number": n.ID, "interval": n.Interval, "ends_at": n.EndsAt, "created_at": at})
	}
	return tx.SendBatch(ctx, batch).Close()
}

// timeOrNull makes the zero time NULL.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// ShopInvoice is an invoice as its shop, and its payer, see it.
type ShopInvoice struct {
	ID           InvoiceNumber
	Number       int64 // invoiceNumber
	ExternalID   string
	Client       int64 // the shop's row
	ClientNumber int64 // its clientId
	ClientName   string
	Tariff       Tariff // the shop's, as it is now
	SystemType   SystemType
	Type         InvoiceType
	Description  string
	Amount       int64 // minor units; 0: open
	Reusable     bool
	Active       bool // it may be paid, as far as its time and its shop go; of a subscription: it goes on
	CardTo       CardID
	Services     []Service
	RedirectURL  string
	CallbackURL  string
	Email        string
	ExtraInfo    json.RawMessage
	PayExpiresAt *time.Time
	Subscription *Subscription // of type SUBSCRIBE
	CreatedAt    time.Time
	Payments     []CardPayment // newest first
	Now          time.Time     // the deciding time at which it was read
}

// Subscription is how a SUBSCRIBE invoice goes on.
type Subscription struct {
	Interval  int // days
	ExpiresAt time.Time
	Active    bool
	PaidAt    *time.Time // last; nil before the first payment
	DueAt     *time.Time // next; nil before the first payment
}

// Commission is what a payment of minor units of this invoice costs on top: the sum over
// its services where there are any, the shop's tariff otherwise.
func (i ShopInvoice) Commission(minor int64) int64 {
	if len(i.Services) == 0 {
		return i.Tariff.Commission(minor)
	}
	return commissionOfServices(i.Services)
}

func commissionOfServices(services []Service) (sum int64) {
	for _, service := range services {
		sum += service.Commission
	}
	return sum
}

// shopInvoiceColumns are those of invoice i of client c, with its subscription s.
const shopInvoiceColumns = `
i.number, i.invoice_number, i.external_id, i.client_id, c.client_id::bigint, c.name, c.commission_millipercents, c.commission_fixed,
i.system_type, i.type, i.description, coalesce(i.amount, 0), i.reusable,
(i.pay_expires_at <= clock.now) IS NOT TRUE AND NOT c.disabled AND (s.active AND s.expires_at > clock.now) IS NOT FALSE,
i.card_to_id, i.services, coalesce(i.redirect_url, ''), coalesce(i.callback_url, ''), coalesce(i.email, ''), i.extra_info, i.pay_expires_at,
coalesce(s.interval_days, 0), s.expires_at, coalesce(s.active AND s.expires_at > clock.now, false), s.paid_at, s.due_at,
i.created_at, clock.now`

const joinShopInvoice = `
JOIN clients c ON c.id = i.client_id
LEFT JOIN LATERAL (
	SELECT s.interval_days, s.expires_at, s.active, s.paid_at, s.due_at
	FROM subscriptions s
	WHERE s.invoice_id = i.number
	OFFSET 0
) s ON true
CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock`

const readShopInvoiceSQL = `
SELECT ` + shopInvoiceColumns + `
FROM invoices i` + joinShopInvoice + `
WHERE i.number = @number`

// The ids are collected first, so that the planner has no choice but one look into the
// index for each: joined, it would read all of a table while it takes it for small. OFFSET 0
// does the same for what is joined, and IS TRUE keeps it from reading all of the client's.
const listShopInvoicesSQL = `
SELECT ` + shopInvoiceColumns + `
FROM invoices i` + joinShopInvoice + `
WHERE i.number = ANY(ARRAY(
	SELECT asked.number
	FROM unnest(@numbers::uuid[]) AS asked (number)
	UNION ALL
	SELECT newest.number
	FROM unnest(@external_ids::text[]) AS asked (external_id)
	CROSS JOIN LATERAL (
		SELECT e.number
		FROM invoices e
		WHERE e.client_id = @client AND e.external_id = asked.external_id
		ORDER BY e.created_at DESC
		LIMIT 100
	) newest
)) AND (i.client_id = @client) IS TRUE
ORDER BY i.created_at DESC, i.invoice_number DESC`

// How many payments are shown of an invoice by itself, and of each in a list: the newest.
const (
	paymentsOfOne  = 1000
	paymentsOfMany = 100
)

// ShopInvoice returns an invoice by card with its newest payments, 1000 at most, or
// ErrInvoiceNotFound.
func (s *Store) ShopInvoice(ctx context.Context, id InvoiceNumber) (ShopInvoice, error) {
	found, err := s.collectShopInvoices(ctx, paymentsOfOne, readShopInvoiceSQL, pgx.NamedArgs{"number": id})
	if err != nil {
		return ShopInvoice{}, err
	}
	if len(found) == 0 {
		return ShopInvoice{}, ErrInvoiceNotFound
	}
	return found[0], nil
}

// ShopInvoices returns those of a client's invoices that have one of the ids or one of the
// external ids (newest first; at most 100 of one external id), each with its newest payments,
// 100 at most.
func (s *Store) ShopInvoices(ctx context.Context, client int64, ids []InvoiceNumber, externalIDs []string) ([]ShopInvoice, error) {
	return s.collectShopInvoices(ctx, paymentsOfMany, listShopInvoicesSQL, pgx.NamedArgs{
		"client": client, "numbers": ids, "external_ids": externalIDs,
	})
}

func (s *Store) collectShopInvoices(ctx context.Context, payments int, sql string, args pgx.NamedArgs) ([]ShopInvoice, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, sql, args)
	found, err := pgx.CollectRows(rows, scanShopInvoice)
	if err != nil {
		return nil, unavailable(wrap("read invoices by card", err))
	}
	return found, unavailable(wrap("read the invoices' payments", s.addPayments(ctx, found, payments)))
}

func scanShopInvoice(row pgx.CollectableRow) (ShopInvoice, error) {
	var i ShopInvoice
	var sub Subscription
	var endsAt *time.Time
	err := row.Scan(&i.ID, &i.Number, &i.ExternalID, &i.Client, &i.ClientNumber, &i.ClientName, &i.Tariff.Millipercents, &i.Tariff.Fixed,
		&i.SystemType, &i.Type, &i.Description, &i.Amount, &i.Reusable, &i.Active, &i.CardTo, &i.Services, &i.RedirectURL, &i.CallbackURL,
		&i.Email, &i.ExtraInfo, &i.PayExpiresAt, &sub.Interval, &endsAt, &sub.Active, &sub.PaidAt, &sub.DueAt, &i.CreatedAt, &i.Now)
	if endsAt != nil {
		sub.ExpiresAt = *endsAt
		i.Subscription = &sub
	}
	return i, err
}

const listCardPaymentsSQL = `
SELECT ` + cardPaymentColumns + `
FROM payments p` + joinCardPayment + `
WHERE p.id = ANY(ARRAY(
	SELECT newest.id
	FROM unnest(@invoices::uuid[]) AS asked (invoice)
	CROSS JOIN LATERAL (
		SELECT l.id
		FROM payments l
		WHERE l.invoice_id = asked.invoice
		ORDER BY l.number DESC
		LIMIT @limit
	) newest
))
ORDER BY p.number DESC`

// addPayments gives each invoice its payments, with one query.
func (s *Store) addPayments(ctx context.Context, invoices []ShopInvoice, limit int) error {
	if len(invoices) == 0 {
		return nil
	}
	ids := make([]InvoiceNumber, len(invoices))
	places := make(map[InvoiceNumber]int)
	for n, i := range invoices {
		ids[n], places[i.ID] = i.ID, n
	}
	rows, _ := s.pool.Query(ctx, listCardPaymentsSQL, pgx.NamedArgs{"invoices": ids, "limit": limit})
	payments, err := pgx.CollectRows(rows, scanCardPayment)
	if err != nil {
		return err
	}
	for _, p := range payments {
		i := &invoices[places[p.Invoice]]
		i.Payments = append(i.Payments, p)
	}
	return nil
}
