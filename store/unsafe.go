package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Each is a sentence. The demo is found by Bob's account, whose number is nobody else's.
const findUnsafeSQL = `
SELECT format('the clock that decides what has expired is ahead by %s: quittance clock --ahead 0', c.ahead)
FROM deciding_clock c
WHERE c.ahead <> interval '0'
UNION ALL
SELECT 'the demo is in it, and everybody knows its secrets: production has a database of its own'
FROM accounts a
WHERE a.account_number = @bob
UNION ALL
SELECT format('the requests of client %s need no signature', k.client_id)
FROM clients k
WHERE k.name IS NOT NULL AND NOT k.signature_required AND NOT k.disabled`

// bobsAccount is one of the demo's.
const bobsAccount = "b29de584e7022238bb2d3c4d790e435cbc5faa59"

// Unsafe returns what a database of production should not hold, a sentence each.
func (s *Store) Unsafe(ctx context.Context) ([]string, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, findUnsafeSQL, pgx.NamedArgs{"bob": bobsAccount})
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return found, unavailable(wrap("look for what is unsafe", err))
}
