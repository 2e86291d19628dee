package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// SessionID is the credential of a phone: a UUID in its canonical form.
type SessionID string

// DeviceType is 1 for Android and 2 for iOS.
type DeviceType int

// Account is a phone's virtual account.
type Account struct {
	ID           int64
	DeviceID     string // 20 hex digits
	DeviceType   DeviceType
	Session      SessionID `db:"-"`
	Number       string    // 40 hex digits: what others know the account by
	PushToken    *string   // nil as well while FCM does not know it
	Deleted      bool
	LastActiveAt time.Time
	CreatedAt    time.Time
	Balances     []money.Amount `db:"-"` // one a currency
}

// ErrSessionNotFound says that nobody was given this session, or that its account is closed.
var ErrSessionNotFound = errors.New("session not found")

const addAccountSQL = `
WITH account AS (
	INSERT INTO accounts (device_id, device_type, account_number, push_token, locale)
	VALUES (@device, @type, @number, @token, @locale)
	RETURNING id
)
INSERT INTO sessions (account_id, hash, sealed)
SELECT id, @hash, @sealed
FROM account`

// NewAccount is a phone that introduces itself.
type NewAccount struct {
	Session    SessionID // chosen by the caller, random
	DeviceType DeviceType
	PushToken  *string
	Locale     Locale // "": English
}

// AddAccount opens an account with one session. Its errors are *Replay and ErrKeyReused.
func (s *Store) AddAccount(ctx context.Context, a NewAccount, once Once) error {
	if a.Locale == "" {
		a.Locale = English
	}
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, addAccountSQL, pgx.NamedArgs{
			"device": hex.EncodeToString(randomBytes(10)),
			"type":   a.DeviceType,
			"number": hex.EncodeToString(randomBytes(20)),
			"token":  a.PushToken,
			"locale": a.Locale,
			"hash":   hashOf(string(a.Session)),
			"sealed": s.seal.close([]byte(a.Session), "session"),
		})
		return err
	})
	return unavailable(wrap("add account", err))
}

// activeToken is the token of account a, or NULL while FCM does not know it.
const activeToken = "CASE WHEN a.token_deactivated_at IS NULL THEN a.push_token END"

const readAccountSQL = `
SELECT a.id, a.device_id, a.device_type, a.account_number AS number, ` + activeToken + ` AS push_token,
       a.deleted, a.last_active_at, a.created_at
FROM sessions s
JOIN accounts a ON a.id = s.account_id
WHERE s.hash = @session`

const readBalancesSQL = `
SELECT l.balance AS minor, l.currency
FROM sessions s
JOIN ledger_accounts l ON l.kind = 'wallet' AND l.owner = s.account_id
WHERE s.hash = @session
ORDER BY l.currency`

// Account returns the account of a session with its balances, or ErrSessionNotFound.
func (s *Store) Account(ctx context.Context, session SessionID) (Account, error) {
	args := pgx.NamedArgs{"session": hashOf(string(session))}
	batch := &pgx.Batch{}
	var account Account
	batch.Queue(readAccountSQL, args).Query(func(rows pgx.Rows) (err error) {
		account, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Account])
		return err
	})
	batch.Queue(readBalancesSQL, args).Query(func(rows pgx.Rows) (err error) {
		account.Balances, err = pgx.CollectRows(rows, pgx.RowToStructByName[money.Amount])
		return err
	})
	err := s.pool.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrSessionNotFound
	}
	if err != nil {
		return Account{}, unavailable(fmt.Errorf("read account: %w", err))
	}
	account.Session = session
	return account, nil
}

// Page bounds a list that is shown newest first: at most Limit rows, those before Before,
// or the newest where Before is the zero value.
type Page[Cursor any] struct {
	Limit  int
	Before Cursor
}

// beforeID is the cursor of a list by id, as a bound that an index understands.
func beforeID(p Page[int64]) int64 {
	if p.Before == 0 {
		return math.MaxInt64
	}
	return p.Before
}

const listAccountsSQL = `
SELECT a.id, a.device_id, a.device_type, a.account_number AS number, ` + activeToken + ` AS push_token,
       a.deleted, a.last_active_at, a.created_at, s.sealed
FROM accounts a
JOIN LATERAL (
	SELECT s.sealed FROM sessions s WHERE s.account_id = a.id ORDER BY s.id DESC LIMIT 1
) s ON true
WHERE NOT a.deleted AND a.id < @before
ORDER BY a.id DESC
LIMIT @limit`

// Accounts lists the accounts that are not closed, with their latest sessions.
func (s *Store) Accounts(ctx context.Context, page Page[int64]) ([]Account, error) {
	type row struct {
		Account
		Sealed []byte
	}
	rows, _ := s.pool.Query(ctx, listAccountsSQL, pgx.NamedArgs{"before": beforeID(page), "limit": page.Limit})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, unavailable(fmt.Errorf("list accounts: %w", err))
	}

	accounts := make([]Account, len(found))
	for i, r := range found {
		session, err := s.seal.open(r.Sealed, "session")
		if err != nil {
			return nil, fmt.Errorf("session of account %d: %w", r.ID, err)
		}
		accounts[i] = r.Account
		accounts[i].Session = SessionID(session)
	}
	return accounts, nil
}

const setPushTokenSQL = `
UPDATE accounts a
SET push_token = @token, token_refreshed_at = now(), token_deactivated_at = NULL, token_strikes = 0, last_active_at = now()
FROM sessions s
WHERE s.hash = @session AND a.id = s.account_id AND NOT a.deleted`

// SetPushToken stores the token under which the phone is reached now, or none. It is active
// again, whatever FCM has said about it before. Its errors are ErrSessionNotFound, *Replay and ErrKeyReused.
func (s *Store) SetPushToken(ctx context.Context, session SessionID, token *string, once Once) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, setPushTokenSQL, pgx.NamedArgs{"session": hashOf(string(session)), "token": token})
		if err == nil && tag.RowsAffected() == 0 {
			return ErrSessionNotFound
		}
		return err
	})
	return unavailable(wrap("set push token", err))
}

const readSessionSQL = `
SELECT s.id
FROM sessions s
JOIN accounts a ON a.id = s.account_id
WHERE s.hash = @session AND NOT a.deleted`

// sessionRow returns the row of an open account's session, or ErrSessionNotFound.
func (s *Store) sessionRow(ctx context.Context, session SessionID) (id int64, err error) {
	err = s.pool.QueryRow(ctx, readSessionSQL, pgx.NamedArgs{"session": hashOf(string(session))}).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrSessionNotFound
	}
	return id, unavailable(wrap("read session", err))
}
