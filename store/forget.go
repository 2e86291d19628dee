package store

import (
	"context"
	"time"

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

// What is dead waits for an operator, however long.
const forgetCallbacksSQL = `
WITH old AS (
	SELECT o.id
	FROM operations o
	WHERE (o.type = 'callback.send' AND o.finished_at IS NOT NULL) IS TRUE AND o.finished_at < now() - interval '90 days'
	ORDER BY o.finished_at
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
), told AS (
	DELETE FROM callback_attempts a
	USING old
	WHERE a.callback_id = old.id
), failed AS (
	DELETE FROM attempts a
	USING old
	WHERE a.operation_id = old.id
), sent AS (
	DELETE FROM callbacks c
	USING old
	WHERE c.id = old.id
)
DELETE FROM operations o
USING old
WHERE o.id = old.id`

// The arrays keep the planner from reading whole tables that it takes for small.
const forgetPushesSQL = `
WITH old AS (
	SELECT p.id
	FROM pushes p
	WHERE p.id < @before AND EXISTS (SELECT FROM operations o WHERE o.id = p.id AND o.finished_at IS NOT NULL OFFSET 0)
	ORDER BY p.id
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
), failed AS (
	DELETE FROM attempts a
	WHERE a.operation_id = ANY(ARRAY(SELECT old.id FROM old))
), told AS (
	DELETE FROM pushes p
	WHERE p.id = ANY(ARRAY(SELECT old.id FROM old))
)
DELETE FROM operations o
WHERE o.id = ANY(ARRAY(SELECT old.id FROM old))`

// Ids are as old as what they name. The events of callbacks that are dead stay at the head of
// this search; a look into an index passes each.
const forgetEventsSQL = `
DELETE FROM events e
WHERE e.id = ANY(ARRAY(
	SELECT o.id
	FROM events o
	WHERE o.id < @before AND NOT EXISTS (SELECT FROM callbacks c WHERE c.event_id = o.id OFFSET 0)
	  AND NOT EXISTS (SELECT FROM pushes p WHERE p.event_id = o.id OFFSET 0)
	ORDER BY o.id
	LIMIT @limit
	FOR UPDATE SKIP LOCKED
))`

// callbacksKept is how long callbacks that have ended can be looked up, and replayed.
const callbacksKept = 90 * day

// Forget deletes at most limit tokens that expired more than a day ago, and as many grants,
// login attempts, sessions of shops and leases that ended as long ago; callbacks and pushes that ended 90
// days ago with all that belongs to them, and events as old that nobody is still to be told of.
// It returns how many it deleted, 0 once nothing is left, and may be called by any number of
// processes at once.
func (s *Store) Forget(ctx context.Context, limit int) (forgotten int, err error) {
	before := firstIDOf(time.Now().Add(-callbacksKept))
	for _, sql := range []string{forgetTokensSQL, forgetGrantsSQL, forgetAttemptsSQL, forgetClientSessionsSQL, forgetLeasesSQL, forgetCallbacksSQL, forgetPushesSQL, forgetEventsSQL} {
		tag, err := s.pool.Exec(ctx, sql, pgx.NamedArgs{"limit": limit, "before": before})
		if err != nil {
			return forgotten, unavailable(wrap("forget what is over", err))
		}
		forgotten += int(tag.RowsAffected())
	}
	return forgotten, nil
}
