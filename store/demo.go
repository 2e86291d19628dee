package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

const rur money.Currency = 810

// demoAccount is an account that the mobile API's original document names.
type demoAccount struct {
	id      int64
	session SessionID
	number  string
	device  string
	token   string
	created string // Moscow time
	opening int64  // minor units of 810
}

var demoAccounts = []demoAccount{
	{id: 1, session: "7289ec99-7916-472c-b56d-ae8864b53f54", number: "263093b1c21f98c5f9b6433bf9bbb97bb87b6e79", device: "4f0d2b6c8a913e5d7f21", created: "2019-09-13 20:00:00", opening: 100_000_00},
	{id: 2, session: "0f6f3a52-6f0b-4d1c-9a6e-2d7f1b8c4e01", number: "f2bead373b32dfe107d35a8c1d1d24108a67e892", device: "83b1c0de5f4a29761e08", created: "2019-09-13 20:10:00", opening: 100_000_00},
	{id: 3, session: "2a9fb79f-b7e4-471e-a498-aa9a7bfc0525", number: "6c1ad2f08b7e4953c6a10d9e2f48b57a30cd91e6", device: "1d7e90a4c25b38f6e04a", created: "2019-09-13 20:20:00"},
	{id: 4, session: "5b0c9e1d-3a74-4f0e-8b52-c9d1e7f3a604", number: "1002a8ea371fa1c582cb6f158f8c8be7cf17cba2", device: "c6a2f19d0e8b7453a1fd", created: "2019-09-13 20:30:00", opening: 100_000_00},
	{id: 5, session: "e4d7a8b2-91c6-4c35-a0fd-7b6e5f2c1d05", number: "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3", device: "9e35d7b1f0c4826ad91b", created: "2019-09-13 20:40:00"},
	{id: 6, session: "ccf619e5-f1a8-466b-93a1-7a1e23bae5ec", number: "d80f5b2c9a6e71348f0ad3c5b6e92714fa05c8d3", device: "27fa8e6c1b09d4537ea0", created: "2019-09-14 20:00:00", opening: 100_000_00},
	{id: 12, session: "99a9cc31-84a7-47f5-8f69-bd00dc91a35a", number: bobsAccount, device: "9acddb9b276bb242a228", created: "2019-09-14 22:02:27", opening: 100_000_00},
	{id: 17, session: "ab0e0bdb-7a22-4db5-bbcc-1a77b5d0bafe", number: "a9eb5169ada8ad3923bc64d370ffca7e5619a04c", device: "b82d95961b1eb9886178", created: "2019-09-15 00:38:32"},
	{
		id: 27, session: "6671d112-3579-4857-8eac-d08dd9b38004", number: "34444777c294e1e8657aa6068ee3090f8e300faa", device: "dc36699179e667934d2e", created: "2019-09-15 10:43:13",
		token: "e8S8tTljQ5w:APA91bGZKdRR-nHTIwqy60OIH21vgM3WqCji6v7fvf6MTaJd1RP1w_WC7MsqW4dxkIRnQwz4enm15BlC3xt-sopAQk4rJp3Tb4jZKLS42GgUAgUVLatYYbz73pp_gNfqSpsg6G20UJdc",
	},
}

// demoInvoice is an invoice of the document, with the time at which it was issued there.
type demoInvoice struct {
	NewInvoice
	issued string
}

// demoInvoices are the invoices that the document names, and the one that it pays.
func demoInvoices() []demoInvoice {
	cheque := NewInvoice{
		Session: "7289ec99-7916-472c-b56d-ae8864b53f54",
		Payer:   "1002a8ea371fa1c582cb6f158f8c8be7cf17cba2", Recipient: "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3",
		Amount: money.Amount{Minor: 10000, Currency: rur}, Description: "test",
		NameCheque: "ООО МАКДОНАЛДС", DatePayCheque: "2019-09-13T21:14:00",
		Items: []Item{{6000, "Position 1", true}, {1000, "Position 2", true}, {3000, "Position 3", false}},
	}
	asked, shown := cheque, cheque
	asked.Number = demoNumber("b3172f1c-d78b-11e9-a50c-0cc47a75a680")
	shown.Number = demoNumber("0b36e540-d780-11e9-be95-8c1645e90d4c")

	small := cheque
	small.Amount.Minor, small.Description, small.Items = 1000, "teetee", nil
	listed, paid := small, small
	listed.Number, listed.Session = demoNumber("b556ce38-d720-11e9-9468-8c1645e90d4c"), "ccf619e5-f1a8-466b-93a1-7a1e23bae5ec"
	paid.Number, paid.Payer = demoNumber("f625c064-d73d-11e9-854b-0cc47a75a680"), bobsAccount
	return []demoInvoice{
		{asked, "2019-09-15T07:37:41.657Z"},
		{shown, "2019-09-15T06:14:16.860Z"},
		{listed, "2019-09-14T18:51:51Z"},
		{paid, "2019-09-14T22:21:12Z"},
	}
}

func demoNumber(text string) InvoiceNumber { return InvoiceNumber(uuid.MustParse(text)) }

// Nobody loads the demo where it is not wanted: these secrets are public.
var (
	demoClient = NewClient{ClientID: "demo", Secret: "demo-secret", Scopes: []string{ScopeCredit, ScopeCallbacks}, Rights: []string{RightManagePayments}}
	demoUsers  = []NewUser{
		{Name: "demo", PIN: "1234", Password: "demo-password", Rights: []string{RightManagePayments}},
		{Name: "clerk", PIN: "4321"},
	}
)

var demoProviders = []NewProvider{
	{Provider: Provider{Reference: "external", Name: "External Payment Providers", Currency: rur}, ExpiresAfter: 24 * time.Hour, Enabled: true},
	{Provider: Provider{Reference: "voucher", Name: "Voucher", Params: []string{voucherParam}, Currency: rur}, ExpiresAfter: 24 * time.Hour, Enabled: true},
}

const insertDemoAccountSQL = `
WITH account AS (
	INSERT INTO accounts (id, device_id, device_type, account_number, push_token, last_active_at, created_at)
	VALUES (@id, @device, 2, @number, nullif(@token, ''), @created::timestamp AT TIME ZONE 'Europe/Moscow',
	        @created::timestamp AT TIME ZONE 'Europe/Moscow')
	ON CONFLICT DO NOTHING
	RETURNING id, created_at
)
INSERT INTO sessions (account_id, hash, sealed, created_at)
SELECT id, @hash, @sealed, created_at
FROM account`

// New accounts are numbered past those of the demo.
const skipDemoIDsSQL = `
SELECT setval(pg_get_serial_sequence('accounts', 'id'), greatest(max(id), 1000))
FROM accounts`

// LoadDemo stores the accounts, sessions, invoices, cards, payments and balances that the examples
// of the original documents name, under those very ids. What is there already is left alone.
// tokenOf is the acquirer's token for a card.
func (s *Store) LoadDemo(ctx context.Context, tokenOf func(number, expiry string) string) error {
	load := func(tx pgx.Tx) error {
		if err := s.loadDemoAccounts(ctx, tx); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, act{action: "demo.load"})
	}
	if err := s.inTx(ctx, load); err != nil {
		return fmt.Errorf("load demo accounts: %w", err)
	}
	for _, a := range demoAccounts {
		if a.opening == 0 {
			continue
		}
		amount := money.Amount{Minor: a.opening, Currency: rur}
		if _, err := s.OpenBalance(ctx, a.number, amount, uuid.NewSHA1(uuid.Nil, []byte("demo "+a.number))); err != nil {
			return fmt.Errorf("load demo: %w", err)
		}
	}
	if err := s.loadDemoProviders(ctx); err != nil {
		return fmt.Errorf("load demo providers: %w", err)
	}
	for _, n := range demoInvoices() {
		if err := s.loadDemoInvoice(ctx, n); err != nil {
			return fmt.Errorf("load demo invoice %s: %w", n.Number, err)
		}
	}
	if err := s.loadDemoShop(ctx, tokenOf); err != nil {
		return fmt.Errorf("load demo shop: %w", err)
	}
	return wrap("load demo clients", s.loadDemoClients(ctx))
}

func (s *Store) loadDemoProviders(ctx context.Context) error {
	all, err := s.AllProviders(ctx)
	if err != nil {
		return err
	}
	for _, p := range demoProviders {
		if slices.ContainsFunc(all, func(a NewProvider) bool { return a.Reference == p.Reference }) {
			continue
		}
		if err := s.PutProvider(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) loadDemoAccounts(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	for _, a := range demoAccounts {
		batch.Queue(insertDemoAccountSQL, pgx.NamedArgs{
			"id": a.id, "device": a.device, "number": a.number, "token": a.token, "created": a.created,
			"hash": hashOf(string(a.session)), "sealed": s.seal.close([]byte(a.session), "session"),
		})
	}
	batch.Queue(skipDemoIDsSQL)
	return tx.SendBatch(ctx, batch).Close()
}

func (s *Store) loadDemoInvoice(ctx context.Context, n demoInvoice) error {
	issued, err := time.Parse(time.RFC3339, n.issued)
	if err != nil {
		return err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		p, err := resolveParties(ctx, tx, n.NewInvoice)
		if err != nil {
			return err
		}
		p.issuer.Now, p.payer.Phone = issued, false // long ago: nobody is told
		return s.insertInvoice(ctx, tx, n.NewInvoice, p, new(bool))
	})
	if isViolation(err, "invoices_pkey") {
		return nil // there already
	}
	return err
}

// loadDemoClients makes the back office and its users. What is there already is left alone.
func (s *Store) loadDemoClients(ctx context.Context) error {
	if _, err := s.AddClient(ctx, demoClient); err != nil && !errors.Is(err, ErrClientTaken) {
		return err
	}
	for _, u := range demoUsers {
		err := s.AddUser(ctx, u)
		if err != nil && !errors.Is(err, ErrNameTaken) && !errors.Is(err, ErrPINTaken) {
			return err
		}
	}
	return nil
}
