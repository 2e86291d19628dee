package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// demoShop is the shop of the invoicer API's original documents.
var demoShop = NewClient{
	ClientID: "1", Secret: "demo-secret", Scopes: []string{ScopeCallbacks},
	Shop: &ShopTerms{Name: "UAPAY", Tariff: Tariff{Millipercents: 2000, Fixed: 100}, AllowUnsigned: true},
}

// demoSessions are the sessions that the documents' requests carry. They are never over.
var demoSessions = []ClientSession{
	"613f7045-03a2-4bbb-8ff8-e2202e71d41f", "000ab70b-ef76-4385-a0f5-a98693c716f1", "00684a7f-3d5c-43f4-b4d1-ea994226be9c",
}

// demoCard is a card that the documents name: the one that money is sent to, and the one
// that the shown payment was made with. Their numbers are nobody's.
type demoCard struct {
	Card
	number string
}

var demoCards = []demoCard{
	{Card{ID: CardID(uuid.MustParse("b8220f46-8c28-4068-9488-2e1b37359b06")), Mask: "4111111111", Expiry: "2035-12", Brand: "visa"}, "4111111111111111"},
	{Card{ID: CardID(uuid.MustParse("9ac4999f-79ea-40f0-9227-ef5417573c5b")), Mask: "5269615505", Expiry: "2035-12", Brand: "mastercard"}, "5269610000005505"},
}

// demoBill is an invoice of the documents and its payment: the one that the answer shows, and the
// one that the request asks for.
type demoBill struct {
	invoice       InvoiceNumber
	number        int64
	payment       PaymentID
	paymentNumber int64
	receipt       string
}

var demoBills = []demoBill{
	{demoNumber("7757c47c-8d70-4089-ab6e-82515f8f6f07"), 1870, PaymentID(uuid.MustParse("b3b67d90-a0a7-4861-a3bb-b91889452823")), 2175, "E76EZFQFK2FE"},
	{demoNumber("5ecb426d-185b-40e8-857a-e40c9864e5de"), 1871, PaymentID(uuid.MustParse("0d1b6c3e-5a2f-4f7c-9d0e-3c7f2b9a6e41")), 2176, "Q1URF9TQMKDE"},
}

// demoServices are what both are for. Their commissions are the document's, and follow no
// tariff.
func demoServices() []Service {
	const fee, house = "Administrative fee for state registration of changes to information in the USR", "Online House of Justice"
	one, two, four := int64(1), int64(2), int64(4)
	return []Service{
		{ServiceID: &one, Destination: fee, DestinationName: "Treasury", Description: fee, Amount: 7800, Commission: 534},
		{ServiceID: &two, Destination: fee, DestinationName: house, Description: fee, Amount: 4200, Commission: 30},
		{ServiceID: &four, Destination: "Informational services", DestinationName: house, Description: "Informational services", Amount: 1500, Commission: 0},
	}
}

var (
	demoIssued = time.Date(2018, 11, 30, 11, 42, 39, 0, time.UTC)
	demoBegun  = time.Date(2018, 11, 30, 11, 44, 38, 0, time.UTC)
	demoPaid   = time.Date(2018, 11, 30, 11, 45, 37, 0, time.UTC)
)

// loadDemoShop makes the shop with its sessions, cards and invoices. What is there already is
// left alone. tokenOf is the acquirer's token for a card.
func (s *Store) loadDemoShop(ctx context.Context, tokenOf func(number, expiry string) string) error {
	if _, err := s.AddClient(ctx, demoShop); err != nil && !errors.Is(err, ErrClientTaken) {
		return err
	}
	shop, err := s.Shop(ctx, 1)
	if err != nil {
		return err
	}
	if err := s.loadDemoSessions(ctx, shop.Client); err != nil {
		return err
	}
	for _, c := range demoCards {
		err := s.AddCard(ctx, NewCard{Card: c.Card, Client: shop.Client, Token: tokenOf(c.number, c.Expiry)}, Once{})
		if err != nil && !isViolation(err, "cards_pkey") {
			return err
		}
	}
	for _, b := range demoBills {
		err := s.inTx(ctx, func(tx pgx.Tx) error { return s.loadDemoBill(ctx, tx, shop, b) })
		if err != nil && !isViolation(err, "invoices_pkey") {
			return wrap("invoice "+b.invoice.String(), err)
		}
	}
	return nil
}

const insertDemoSessionsSQL = `
INSERT INTO client_sessions (hash, client_id, expires_at)
SELECT hash, @client, 'infinity'
FROM unnest(@hashes::bytea[]) AS d (hash)
ON CONFLICT DO NOTHING`

func (s *Store) loadDemoSessions(ctx context.Context, client int64) error {
	var hashes [][]byte
	for _, session := range demoSessions {
		hashes = append(hashes, hashOf(string(session)))
	}
	_, err := s.pool.Exec(ctx, insertDemoSessionsSQL, pgx.NamedArgs{"client": client, "hashes": hashes})
	return err
}

const insertDemoPaymentSQL = `
WITH operation AS (
	INSERT INTO operations (id, type, resource, status, attempts, due_at, created_at, finished_at)
	VALUES (@operation, 'payment.authorise', @payment, 'succeeded', 1, @paid, @begun, @paid)
), payment AS (
	INSERT INTO payments (id, number, invoice_id, client_id, system_type, type, one_time, amount, commission, commission_millipercents,
	                      commission_fixed, itemised, held, completed, currency, status, payment_status, card_from_id, receipt_id,
	                      created_at, updated_at, paid_at, finished_at)
	VALUES (@payment, @number, @invoice, @client, 'ECOM', 'PAY', true, @amount, @commission, @millipercents,
	        @fixed, true, @amount, @amount, @currency, 'FINISHED', 'FINISHED', @card, @receipt,
	        @begun, @paid, @paid, @paid)
)
INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, state, leased_until, reference, created_at, finished_at)
VALUES (@intent, @operation, @payment, 'authorise', @amount, @commission, 'approved', @paid, 'demo', @begun, @paid)`

const readDemoLedgerSQL = `
SELECT l.kind, l.id
FROM ledger_accounts l
WHERE l.currency = @currency AND (l.kind, l.owner) IN (('acquirer_clearing', 0), ('merchant', @client), ('commission', 0))
ORDER BY l.id
FOR NO KEY UPDATE`

// loadDemoBill stores an invoice that was paid long ago, with what the payment left in the
// books.
func (s *Store) loadDemoBill(ctx context.Context, tx pgx.Tx, shop Shop, b demoBill) error {
	services := demoServices()
	n := NewShopInvoice{
		ID: b.invoice, Shop: shop, ExternalID: b.invoice.String(), SystemType: ECOM, Type: Pay, Amount: 13500, Services: services,
		Description: "Administrative fee for state registration of changes to information in the USR; Informational services",
		RedirectURL: "http://uapay.ua/", CallbackURL: "http://example.com/",
	}
	if err := insertShopInvoice(ctx, tx, n, &b.number, demoIssued); err != nil {
		return err
	}
	commission := commissionOfServices(services)
	intent, operation := IntentID(uuid.NewSHA1(uuid.Nil, b.payment[:])), NewOperationID()
	_, err := tx.Exec(ctx, insertDemoPaymentSQL, pgx.NamedArgs{
		"operation": operation, "payment": b.payment, "number": b.paymentNumber, "invoice": b.invoice, "client": shop.Client, "intent": intent,
		"amount": n.Amount, "commission": commission, "millipercents": shop.Tariff.Millipercents, "fixed": shop.Tariff.Fixed,
		"currency": Hryvnia, "card": demoCards[1].ID, "receipt": b.receipt, "begun": demoBegun, "paid": demoPaid,
	})
	if err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, readDemoLedgerSQL, pgx.NamedArgs{"client": shop.Client, "currency": Hryvnia})
	accounts := make(map[string]LedgerAccountID)
	var kind string
	var id LedgerAccountID
	if _, err := pgx.ForEachRow(rows, []any{&kind, &id}, func() error { accounts[kind] = id; return nil }); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	payment := transfer{
		kind: CardPaymentTransfer, reference: intent, operation: operation, debit: accounts["acquirer_clearing"], credit: accounts["merchant"],
		amount: money.Amount{Minor: n.Amount, Currency: Hryvnia}, at: demoPaid,
	}
	fee := payment
	fee.kind, fee.credit, fee.amount.Minor = CardCommissionTransfer, accounts["commission"], commission
	post(batch, []transfer{payment, fee})
	return tx.SendBatch(ctx, batch).Close()
}
