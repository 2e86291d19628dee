package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const forgetTokensSQL = `
DELETE FROM tokens t
USING (
	SELECT o.hash
	FROM tokens o
	WHERE o.expires_at < now() - interval '1 day'
	ORDER BY o.expires_at
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
) old
WHERE t.hash = old.hash`

const forgetGrantsSQL = `
DELETE FROM grants g
USING (
	SELECT o.id
	FROM grants o
	WHERE o.expires_at < now() - interval '1 day'
	ORDER BY o.expires_at
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
) old
WHERE g.id = old.id`

const forgetAttemptsSQL = `
DELETE FROM login_attempts a
USING (
	SELECT o.subject
	FROM login_attempts o
	WHERE o.last_failed_at < now() - interval '1 day'
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
) old
WHERE a.subject = old.subject`

const forgetClientSessionsSQL = `
DELETE FROM client_sessions s
USING (
	SELECT o.hash
	FROM client_sessions o
	WHERE o.expires_at < now() - interval '1 day'
	ORDER BY o.expires_at
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
) old
WHERE s.hash = old.hash`

// There are few, those of requests that ended in a crash: all of them are read, without an index.
const forgetLeasesSQL = `
DELETE FROM idempotency_leases l
USING (
	SELECT o.scope, o.key
	FROM idempotency_leases o
	WHERE o.leased_until < now() - interval '1 day'
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
) old
WHERE l.scope = old.scope AND l.key = old.key`

// Forget deletes at most limit tokens that expired more than a day ago, and as many grants,
// login attempts, sessions of shops and leases that ended as long ago. It returns how many it
// deleted, 0 once nothing is left, and may be called by any number of processes at once.
func (s *Store) Forget(ctx context.Context, limit int) (forgotten int, err error) {
	for _, sql := range []string{forgetTokensSQL, forgetGrantsSQL, forgetAttemptsSQL, forgetClientSessionsSQL, forgetLeasesSQL} {
		tag, err := s.pool.Exec(ctx, sql, pgx.NamedArgs{"limit": limit})
		if err != nil {
			return forgotten, unavailable(wrap("forget what is over", err))
		}
		forgotten += int(tag.RowsAffected())
	}
	return forgotten, nil
}
