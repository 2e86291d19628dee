package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// SuspenseEntry is money that came in and could be credited to nobody.
type SuspenseEntry struct {
	Transfer  int64        // its id
	Kind      TransferKind // RechargeTransfer where the account was closed, LateRechargeTransfer
	Recharge  RechargeID
	Provider  string // reference
	Account   int64  // for whom it was meant
	Amount    money.Amount
	Note      string
	Author    string
	CreatedAt time.Time
}

const listSuspenseSQL = `
SELECT t.id, t.kind, r.id, p.reference, r.account_id, t.amount, t.currency, coalesce(n.note, ''), coalesce(n.author, ''), t.created_at
FROM ledger_accounts l
CROSS JOIN LATERAL (
	SELECT c.id, c.kind, c.reference, c.operation_id, c.amount, c.currency, c.created_at
	FROM transfers c
	WHERE c.credit = l.id AND c.id < @before
	ORDER BY c.id DESC
	LIMIT @limit
) t
JOIN recharges r ON r.id = t.reference
JOIN providers p ON p.id = r.provider_id
LEFT JOIN suspense_notes n ON n.operation_id = t.operation_id
WHERE l.kind = 'suspense' AND l.owner = 0
ORDER BY t.id DESC
LIMIT @limit`

// Suspense lists what lies in suspense, newest first, with the notes that say why.
func (s *Store) Suspense(ctx context.Context, page Page[int64]) ([]SuspenseEntry, error) {
	rows, _ := s.pool.Query(ctx, listSuspenseSQL, pgx.NamedArgs{"before": beforeID(page), "limit": page.Limit})
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e SuspenseEntry, err error) {
		err = row.Scan(&e.Transfer, &e.Kind, &e.Recharge, &e.Provider, &e.Account, &e.Amount.Minor, &e.Amount.Currency,
			&e.Note, &e.Author, &e.CreatedAt)
		return e, err
	})
	return found, unavailable(wrap("list suspense", err))
}
