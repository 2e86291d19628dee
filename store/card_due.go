package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A payment that moved on since this statement saw it has its expiry refused when the call is
// to be made: it is too late for it. OFFSET 0 makes the open step one look into the index for
// each, however few steps were open when this was planned.
const expirePaymentsSQL = `
WITH past AS (
	SELECT p.id, p.amount, p.commission, row_number() OVER (ORDER BY p.expires_at, p.id) AS n
	FROM payments p
	WHERE (p.expires_at IS NOT NULL) IS TRUE AND p.expires_at <= (SELECT deciding_time()) AND NOT EXISTS (
		SELECT
		FROM operations o
		WHERE ` + isOpenStep + `
		OFFSET 0
	)
	ORDER BY p.expires_at, p.id
	LIMIT cardinality(@operations::uuid[])
), opened AS (
	INSERT INTO operations (id, type, resource, due_at)
	SELECT fresh.operation, @type, past.id, now() + @grace
	FROM past
	JOIN unnest(@operations) WITH ORDINALITY AS fresh (operation, n) ON fresh.n = past.n
	ORDER BY past.id
	ON CONFLICT DO NOTHING
	RETURNING id, resource
), intended AS (
	INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission)
	SELECT fresh.intent, opened.id, past.id, 'void', past.amount, past.commission
	FROM opened
	JOIN past ON past.id = opened.resource
	JOIN unnest(@intents::uuid[]) WITH ORDINALITY AS fresh (intent, n) ON fresh.n = past.n
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, 1, @type
FROM opened`

// ExpirePayments opens the expiry of at most limit payments that were not confirmed, or
// completed, in time, and returns how many. What has an open step waits for its end.
func (s *Store) ExpirePayments(ctx context.Context, limit int) (int, error) {
	operations := make([]OperationID, limit)
	intents := make([]IntentID, limit)
	for i := range limit {
		operations[i], intents[i] = NewOperationID(), NewIntentID()
	}
	tag, err := s.pool.Exec(ctx, expirePaymentsSQL, pgx.NamedArgs{
		"operations": operations, "intents": intents, "type": PaymentExpire, "grace": s.grace, "queue": queueOf[PaymentExpire],
	})
	if err != nil {
		return 0, unavailable(wrap("expire payments", err))
	}
	if tag.RowsAffected() > 0 {
		s.outboxFilled()
	}
	return int(tag.RowsAffected()), nil
}
