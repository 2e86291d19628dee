package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// NewRecharge is a recharge to be created.
type NewRecharge struct {
	ID          RechargeID     // chosen by the caller
	Provider    string         // reference
	Account     int64          // whose wallet
	Amount      *money.Decimal // nil where none was sent: a voucher has its own
	Currency    money.Currency // 0 for the provider's
	Description string
	Params      map[string]json.RawMessage // without amount and currency
	Client      int64                      // who asks
	User        int64                      // who is logged in; 0 for nobody
	Answer      func(Recharge) Answer      // what to say about it, before it has a number; pure
	Once        Once                       // its Answer is filled in here

	code    string // of a voucher
	verdict error
	decided rechargeRow
}

// rechargeRow is a recharge as it was decided to be stored.
type rechargeRow struct {
	Recharge
	client   int64
	provider int64
	voucher  int64 // 0 for none
	limit    int64 // of the provider's day; 0 for none
}

// CreateRecharge stores a recharge and returns what to answer. Nothing moves until it is
// committed. Its errors are ErrProviderNotFound, ErrProviderDisabled, ErrAccountNotFound,
// *FieldError, *Replay and ErrKeyReused.
func (s *Store) CreateRecharge(ctx context.Context, n NewRecharge) (Answer, error) {
	n.code = codeOf(n.Params)
	if err := s.newRecharges.do(ctx, &n); err != nil {
		return Answer{}, fmt.Errorf("create recharge %s: %w", n.ID, err)
	}
	return n.Once.Answer, n.verdict
}

// createRecharges stores what arrived together, but for twins.
func (s *Store) createRecharges(ctx context.Context, all []*NewRecharge) (later []int, err error) {
	now, later := splitTwins(all, func(n *NewRecharge) (string, Once) { return n.code, n.Once })
	return later, s.createDistinct(ctx, now)
}

func (s *Store) createDistinct(ctx context.Context, all []*NewRecharge) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		found, err := s.readForCreate(ctx, tx, all)
		if err != nil {
			return err
		}
		for i, n := range all {
			if n.decided, n.verdict = n.decide(found[i]); n.verdict == nil {
				n.Once.Answer = n.Answer(n.decided.Recharge)
			}
		}
		err = s.claimDecided(ctx, tx, len(all), func(i int) (Once, *error) { return all[i].Once, &all[i].verdict })
		if err != nil {
			return err
		}
		if err := holdToDays(ctx, tx, all); err != nil { // what is a repeat takes no room
			return err
		}
		return insertRecharges(ctx, tx, all)
		// The commit point. Before it there is no recharge, and no voucher is held; after it a
		// repeat with the same key is answered from the key's row.
	})
}

// foundForCreate is what a new recharge meets in the database; what was not found is
// zero.
type foundForCreate struct {
	provider        int64
	vouchers        bool // the provider takes vouchers
	currency        money.Currency
	perPayment      int64
	perDay          int64
	enabled         bool
	account         int64
	voucher         int64
	voucherAmount   int64
	voucherCurrency money.Currency
	voucherTaken    bool
	now             time.Time
	expires         time.Time
}

const readForCreateSQL = `
SELECT asked.n, coalesce(p.id, 0), coalesce(@voucher_param = ANY(p.params), false), coalesce(p.currency, 0),
       coalesce(p.limit_per_payment, 0), coalesce(p.limit_per_day, 0), coalesce(p.enabled, false), coalesce(a.id, 0),
       coalesce(v.id, 0), coalesce(v.amount, 0), coalesce(v.currency, 0), v.recharge_id IS NOT NULL,
       clock.now, clock.now + coalesce(p.expires_after, '0')
FROM unnest(@providers::text[], @accounts::bigint[], @vouchers::bytea[]) WITH ORDINALITY AS asked (provider, account, voucher, n)
CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
LEFT JOIN providers p ON p.reference = asked.provider
LEFT JOIN accounts a  ON a.id = asked.account AND NOT a.deleted
LEFT JOIN vouchers v  ON v.fingerprint = asked.voucher`

func (s *Store) readForCreate(ctx context.Context, tx pgx.Tx, all []*NewRecharge) ([]foundForCreate, error) {
	providers := make([]string, len(all))
	accounts := make([]int64, len(all))
	vouchers := make([][]byte, len(all))
	for i, n := range all {
		providers[i], accounts[i], vouchers[i] = n.Provider, n.Account, s.voucherFingerprint(n.code)
	}
	rows, _ := tx.Query(ctx, readForCreateSQL, pgx.NamedArgs{
		"providers": providers, "accounts": accounts, "vouchers": vouchers, "voucher_param": voucherParam,
	})
	found := make([]foundForCreate, len(all))
	var place int
	var f foundForCreate
	_, err := pgx.ForEachRow(rows, []any{
		&place, &f.provider, &f.vouchers, &f.currency, &f.perPayment, &f.perDay, &f.enabled, &f.account,
		&f.voucher, &f.voucherAmount, &f.voucherCurrency, &f.voucherTaken, &f.now, &f.expires,
	}, func() error {
		found[place-1] = f
		return nil
	})
	return found, wrap("read for recharges", err)
}

// decide is pure: it returns the recharge to store, or why there is none.
func (n *NewRecharge) decide(f foundForCreate) (rechargeRow, error) {
	switch {
	case f.provider == 0:
		return rechargeRow{}, ErrProviderNotFound
	case !f.enabled:
		return rechargeRow{}, ErrProviderDisabled
	case f.account == 0:
		return rechargeRow{}, ErrAccountNotFound
	}
	currency := cmp.Or(n.Currency, f.currency)
	params := n.Params
	var voucher int64
	if f.vouchers {
		currency = cmp.Or(n.Currency, f.voucherCurrency)
		voucher = f.voucher
	}
	if f.vouchers || f.voucher != 0 { // somebody's code, to whatever provider it was sent
		params = withMaskedCode(n.Params, n.code)
	}
	amount, err := n.amount(f, currency)
	if err != nil {
		return rechargeRow{}, err
	}
	return rechargeRow{
		Recharge: Recharge{
			ID: n.ID, Provider: n.Provider, Account: f.account, Amount: amount, Description: n.Description, Params: params,
			CreatedBy: n.User, State: RechargeCreated, CreatedAt: f.now, UpdatedAt: f.now, ExpiresAt: f.expires,
		},
		client: n.Client, provider: f.provider, voucher: voucher, limit: f.perDay,
	}, nil
}

// amount is what comes in: as asked for, or as the voucher says.
func (n *NewRecharge) amount(f foundForCreate, currency money.Currency) (money.Amount, error) {
	amount, err := n.ownAmount(currency)
	if f.vouchers {
		amount, err = n.voucherAmount(f)
	}
	switch limited := f.perPayment > 0 || f.perDay > 0; {
	case err != nil:
		return money.Amount{}, err
	case limited && currency != f.currency:
		return money.Amount{}, &FieldError{"currency", "must be the provider's, " + f.currency.Alpha()}
	case f.perPayment > 0 && amount.Minor > f.perPayment:
		return money.Amount{}, &FieldError{"amount", "is beyond the provider's limit per payment"}
	}
	return amount, nil
}

// MaxRechargeAmount is the most that one recharge may be, in minor units. Millions of them fit into
// what a provider has brought in: one that nobody could have paid must not leave room for no other.
const MaxRechargeAmount = 1_000_000_000_000

func (n *NewRecharge) ownAmount(currency money.Currency) (money.Amount, error) {
	if n.Amount == nil {
		return money.Amount{}, &FieldError{"amount", "is required"}
	}
	amount, err := n.Amount.In(currency)
	if err == nil && amount.Minor > MaxRechargeAmount {
		err = money.ErrOverflow
	}
	if err != nil {
		return money.Amount{}, &FieldError{"amount", problemOf(err, currency)}
	}
	return amount, nil
}

func (n *NewRecharge) voucherAmount(f foundForCreate) (money.Amount, error) {
	of := money.Amount{Minor: f.voucherAmount, Currency: f.voucherCurrency}
	switch {
	case n.code == "":
		return of, &FieldError{"params." + voucherParam, "is required"}
	case f.voucher == 0:
		return of, &FieldError{"params." + voucherParam, "is not a voucher's"}
	case f.voucherTaken:
		return of, &FieldError{"params." + voucherParam, "was redeemed, or is being redeemed"}
	case n.Currency != 0 && n.Currency != of.Currency:
		return of, &FieldError{"currency", "must be the voucher's, " + of.Currency.Alpha()}
	}
	if n.Amount != nil {
		if asked, err := n.Amount.In(of.Currency); err != nil || asked != of {
			return of, &FieldError{"amount", "must be the voucher's, " + of.Decimal()}
		}
	}
	return of, nil
}

// problemOf says what is wrong with an amount in a currency.
func problemOf(err error, c money.Currency) string {
	switch {
	case errors.Is(err, money.ErrNotPositive):
		return "must be positive"
	case errors.Is(err, money.ErrOverflow):
		return "is too large"
	case errors.Is(err, money.ErrTooPrecise):
		return fmt.Sprintf("has more than the %d decimals of %s", c.Exponent(), c.Alpha())
	}
	return "is not an amount of " + c.Alpha()
}

func withMaskedCode(params map[string]json.RawMessage, code string) map[string]json.RawMessage {
	masked := make(map[string]json.RawMessage, len(params))
	maps.Copy(masked, params)
	masked[voucherParam], _ = json.Marshal(maskVoucher(code)) // a string is always JSON
	return masked
}

// The accounts that money may go between stand before anybody can commit, so that a
// settler never has to make one.
const openRechargeAccountsSQL = `
INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative)
SELECT n.kind, n.owner, n.currency, n.kind = 'provider_clearing'
FROM unnest(@kinds::text[], @owners::bigint[], @currencies::smallint[]) AS n (kind, owner, currency)
WHERE NOT EXISTS (SELECT FROM ledger_accounts l WHERE l.kind = n.kind AND l.owner = n.owner AND l.currency = n.currency OFFSET 0)
ORDER BY n.kind, n.owner, n.currency
ON CONFLICT DO NOTHING`

const insertRechargesSQL = `
INSERT INTO recharges (id, provider_id, account_id, amount, currency, description, params, client_id, user_id,
                       limited_day, voucher_id, created_at, updated_at, expires_at)
SELECT r.id, r.provider, r.account, r.amount, r.currency, r.description, r.params, r.client, nullif(r.logged_in, 0),
       r.day, nullif(r.voucher, 0), r.created_at, r.created_at, r.expires_at
FROM unnest(@ids::uuid[], @providers::bigint[], @accounts::bigint[], @amounts::bigint[], @currencies::smallint[], @descriptions::text[],
            @params::jsonb[], @clients::bigint[], @users::bigint[], @days::date[], @vouchers::bigint[],
            @created::timestamptz[], @expires::timestamptz[])
     AS r (id, provider, account, amount, currency, description, params, client, logged_in, day, voucher, created_at, expires_at)`

const holdVouchersSQL = `
UPDATE vouchers v
SET recharge_id = d.recharge
FROM unnest(@vouchers::bigint[], @recharges::uuid[]) AS d (voucher, recharge)
WHERE v.id = d.voucher AND v.recharge_id IS NULL`

// insertRecharges stores what was decided with a handful of statements, whatever the
// number. A voucher that somebody took meanwhile leaves its statement short, and the whole
// is read and decided again.
func insertRecharges(ctx context.Context, tx pgx.Tx, all []*NewRecharge) error {
	c := rechargeColumns{limited: make(map[providerDay]int64), accounts: make(map[ledgerKey]bool)}
	for _, n := range all {
		if n.verdict != nil {
			continue
		}
		if err := c.add(n.decided); err != nil {
			return err
		}
	}
	if len(c.ids) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	c.openAccounts(batch)
	batch.Queue(insertRechargesSQL, pgx.NamedArgs{
		"ids": c.ids, "providers": c.providers, "accounts": c.owners, "amounts": c.amounts, "currencies": c.currencies,
		"descriptions": c.descriptions, "params": c.params, "clients": c.clients, "users": c.users, "days": c.days,
		"vouchers": c.vouchers, "created": c.created, "expires": c.expires,
	})
	if len(c.held) > 0 {
		batch.Queue(holdVouchersSQL, pgx.NamedArgs{"vouchers": c.held, "recharges": c.holders}).Exec(affects(len(c.held)))
	}
	moveDays(batch, c.limited)
	return tx.SendBatch(ctx, batch).Close()
}

type rechargeColumns struct {
	ids, holders                                               []RechargeID
	providers, owners, amounts, clients, users, vouchers, held []int64
	currencies                                                 []money.Currency
	descriptions                                               []string
	params                                                     [][]byte
	days                                                       []*time.Time
	created, expires                                           []time.Time

	limited  map[providerDay]int64
	accounts map[ledgerKey]bool // that committing may need
}

func (c *rechargeColumns) add(r rechargeRow) error {
	params := r.Params
	if params == nil {
		params = map[string]json.RawMessage{} // {} in the database as well, not null
	}
	text, err := json.Marshal(params)
	if err != nil {
		return err
	}
	c.ids = append(c.ids, r.ID)
	c.providers = append(c.providers, r.provider)
	c.owners = append(c.owners, r.Account)
	c.amounts = append(c.amounts, r.Amount.Minor)
	c.currencies = append(c.currencies, r.Amount.Currency)
	c.descriptions = append(c.descriptions, r.Description)
	c.params = append(c.params, text)
	c.clients = append(c.clients, r.client)
	c.users = append(c.users, r.CreatedBy)
	c.created = append(c.created, r.CreatedAt)
	c.expires = append(c.expires, r.ExpiresAt)
	var limited *time.Time
	if r.limit > 0 {
		on := dayOf(r)
		limited = &on.day
		c.limited[on] += r.Amount.Minor
	}
	c.days = append(c.days, limited)
	c.vouchers = append(c.vouchers, r.voucher)
	if r.voucher != 0 {
		c.held, c.holders = append(c.held, r.voucher), append(c.holders, r.ID)
	}
	for _, k := range []ledgerKey{{clearingKind, r.provider, r.Amount.Currency}, {walletKind, r.Account, r.Amount.Currency}, {suspenseKind, 0, r.Amount.Currency}} {
		c.accounts[k] = true
	}
	return nil
}

func (c *rechargeColumns) openAccounts(batch *pgx.Batch) {
	var kinds []string
	var owners []int64
	var currencies []money.Currency
	for k := range c.accounts {
		kinds, owners, currencies = append(kinds, k.kind), append(owners, k.owner), append(currencies, k.currency)
	}
	batch.Queue(openRechargeAccountsSQL, pgx.NamedArgs{"kinds": kinds, "owners": owners, "currencies": currencies})
}
