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

// RechargeState is how far a top-up has come.
type RechargeState string

// A recharge is created and then committed, rolled back or expired. Committing and
// RollingBack are not stored: they are a created recharge with an open operation.
const (
	RechargeCreated     RechargeState = "created"
	RechargeCommitting  RechargeState = "committing"
	RechargeCommitted   RechargeState = "committed"
	RechargeRollingBack RechargeState = "rolling_back"
	RechargeRolledBack  RechargeState = "rolled_back"
	RechargeExpired     RechargeState = "expired"
)

// Recharge tops up the wallet of an account, once it is committed.
type Recharge struct {
	ID          RechargeID
	PaymentNo   int64
	Provider    string // reference
	Account     int64
	Amount      money.Amount
	Description string
	Params      map[string]json.RawMessage // what the client sent, without amount and currency
	CreatedBy   int64                      // the user who was logged in; 0 for none
	State       RechargeState
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   time.Time
}

// Why a recharge is refused. Nothing was done.
var (
	ErrProviderNotFound = errors.New("no provider has this reference")
	ErrProviderDisabled = errors.New("the provider is disabled")
	ErrRechargeNotFound = errors.New("the provider has no such recharge")
	ErrRechargeState    = errors.New("the recharge's state does not allow it")
)

// FieldError says what is wrong with a field that only the database can judge. Nothing was
// done.
type FieldError struct{ Field, Problem string }

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// openRechargeOperation joins what is being done to recharge r. LATERAL leaves the planner
// no choice but one look into the index for each row: whenever nothing is open it would
// take all that is open for nothing, and read all of it.
const openRechargeOperation = `
LEFT JOIN LATERAL (
	SELECT o.id, o.type, o.status, o.created_at
	FROM operations o
	WHERE o.resource = r.id AND o.finished_at IS NULL
	  AND o.type IN ('recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late')
	LIMIT 1
) o ON true`

// shownRechargeState is the state of recharge r with what is being done to it, o.
const shownRechargeState = `
CASE WHEN r.state = 'created' AND o.type = 'recharge.commit'   THEN 'committing'
     WHEN r.state = 'created' AND o.type = 'recharge.rollback' THEN 'rolling_back'
     ELSE r.state
END`

// ofProvider joins a recharge that is found by its id with its provider p. The zero keeps
// the planner from the list of the provider, which it takes for short while the table is
// young, and would read to its end.
const ofProvider = `r.provider_id + 0 = p.id`

const shownRecharge = `r.id, r.payment_no, p.reference, r.account_id, r.amount, r.currency, r.description, r.params,
       coalesce(r.user_id, 0) AS user_id, ` + shownRechargeState + ` AS state, r.created_at, r.updated_at, r.expires_at`

const readRechargeSQL = `
SELECT ` + shownRecharge + `
FROM providers p
JOIN recharges r ON ` + ofProvider + openRechargeOperation + `
WHERE p.reference = @provider AND r.id = @id`

const providerExistsSQL = `
SELECT p.id
FROM providers p
WHERE p.reference = @provider`

// Recharge returns one recharge of a provider, ErrProviderNotFound or ErrRechargeNotFound.
func (s *Store) Recharge(ctx context.Context, provider string, id RechargeID) (Recharge, error) {
	found, err := s.collectRecharges(ctx, provider, readRechargeSQL, pgx.NamedArgs{"provider": provider, "id": id})
	if err != nil {
		return Recharge{}, err
	}
	if len(found) == 0 {
		return Recharge{}, ErrRechargeNotFound
	}
	return found[0], nil
}

// RechargeFilter chooses recharges of a provider.
type RechargeFilter struct {
	Provider string        // reference
	Account  int64         // 0 for any
	State    RechargeState // "" for any
	Page[RechargeID]
}

// beforeRecharge is true of the recharges that come after the cursor in a list, newest first.
const beforeRecharge = `
(r.created_at, r.id) < (coalesce((SELECT b.created_at FROM recharges b WHERE b.id = @before),
                                 CASE WHEN @before::uuid IS NULL THEN 'infinity' ELSE '-infinity' END::timestamptz),
                        coalesce(@before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))`

// The index has the state before the time, since most lists are of one state: a list of all
// is merged from four.
const listRechargesSQL = `
SELECT l.id, l.payment_no, l.reference, l.account_id, l.amount, l.currency, l.description, l.params,
       l.user_id, l.state, l.created_at, l.updated_at, l.expires_at
FROM providers p
CROSS JOIN unnest(@states::text[]) AS s (state)
CROSS JOIN LATERAL (
	SELECT ` + shownRecharge + `
	FROM recharges r` + openRechargeOperation + `
	WHERE r.provider_id = p.id AND r.state = s.state AND ` + beforeRecharge + `
	  AND (@shown::text = '' OR ` + shownRechargeState + ` = @shown)
	ORDER BY r.created_at DESC, r.id DESC
	LIMIT @limit
) l
WHERE p.reference = @provider
ORDER BY l.created_at DESC, l.id DESC
LIMIT @limit`

const listRechargesOfAccountSQL = `
SELECT ` + shownRecharge + `
FROM recharges r
JOIN providers p ON p.id = r.provider_id` + openRechargeOperation + `
WHERE p.reference = @provider AND r.account_id = @account AND ` + beforeRecharge + `
  AND (@shown::text = '' OR ` + shownRechargeState + ` = @shown)
ORDER BY r.created_at DESC, r.id DESC
LIMIT @limit`

// Recharges lists recharges of a provider, newest first. Its error is ErrProviderNotFound.
func (s *Store) Recharges(ctx context.Context, f RechargeFilter) ([]Recharge, error) {
	sql := listRechargesSQL
	if f.Account != 0 {
		sql = listRechargesOfAccountSQL
	}
	return s.collectRecharges(ctx, f.Provider, sql, pgx.NamedArgs{
		"provider": f.Provider, "account": f.Account, "states": storedAs(f.State), "shown": f.State,
		"before": f.Before, "limit": f.Limit,
	})
}

// storedAs is what recharges in a state, or in any, have in their row.
func storedAs(shown RechargeState) []RechargeState {
	switch shown {
	case "":
		return []RechargeState{RechargeCreated, RechargeCommitted, RechargeRolledBack, RechargeExpired}
	case RechargeCommitting, RechargeRollingBack:
		return []RechargeState{RechargeCreated}
	}
	return []RechargeState{shown}
}

// collectRecharges reads recharges of a provider, which must exist.
func (s *Store) collectRecharges(ctx context.Context, provider, sql string, args pgx.NamedArgs) (found []Recharge, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(providerExistsSQL, pgx.NamedArgs{"provider": provider}).QueryRow(func(row pgx.Row) error {
		var id int64
		return row.Scan(&id)
	})
	batch.Queue(sql, args).Query(func(rows pgx.Rows) (err error) {
		found, err = pgx.CollectRows(rows, scanRecharge)
		return err
	})
	err = s.pool.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrProviderNotFound
	}
	if err != nil {
		return nil, unavailable(fmt.Errorf("read recharges: %w", err))
	}
	return found, nil
}

func scanRecharge(row pgx.CollectableRow) (r Recharge, err error) {
	err = row.Scan(&r.ID, &r.PaymentNo, &r.Provider, &r.Account, &r.Amount.Minor, &r.Amount.Currency, &r.Description, &r.Params,
		&r.CreatedBy, &r.State, &r.CreatedAt, &r.UpdatedAt, &r.ExpiresAt)
	return r, err
}
