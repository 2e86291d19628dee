package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// One look into the index for each endpoint that holds something, however much that is. Two
// releasers do not meet: whoever comes second finds that it is due by now.
const releaseCallbacksSQL = `
WITH RECURSIVE holding AS (
	(
		SELECT c.endpoint_id AS id
		FROM callbacks c
		WHERE c.held AND c.endpoint_id > '00000000-0000-0000-0000-000000000000'
		ORDER BY c.endpoint_id
		LIMIT 1
	)
	UNION ALL
	SELECT (SELECT c.endpoint_id FROM callbacks c WHERE c.held AND c.endpoint_id > h.id ORDER BY c.endpoint_id LIMIT 1)
	FROM holding h
	WHERE h.id IS NOT NULL
), free AS (
	SELECT o.id
	FROM holding h
	CROSS JOIN LATERAL (SELECT p.id FROM callback_endpoints p WHERE p.id = h.id AND p.state <> 'disabled' OFFSET 0) p
	CROSS JOIN LATERAL (SELECT c.id FROM callbacks c WHERE c.endpoint_id = p.id AND c.held ORDER BY c.endpoint_id LIMIT @limit) c
	JOIN operations o ON o.id = c.id AND o.due_at = 'infinity' AND ` + isOpen + `
	LIMIT @limit
	FOR NO KEY UPDATE OF o SKIP LOCKED
), again AS (
	UPDATE operations o
	SET seq = o.seq + 1, due_at = now() + @grace, waits = false
	FROM free
	WHERE o.id = free.id
	RETURNING o.id, o.seq, o.type
), released AS (
	UPDATE callbacks c
	SET held = false
	FROM again
	WHERE c.id = again.id
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, seq, type
FROM again`

// ReleaseCallbacks has at most limit callbacks that were held enqueued, whose endpoints are
// enabled, or deleted, by now. It returns how many.
func (s *Store) ReleaseCallbacks(ctx context.Context, limit int) (int, error) {
	var released int
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, releaseCallbacksSQL, pgx.NamedArgs{"limit": limit, "grace": s.grace, "queue": retryQueueOf(CallbackSend)})
		released = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, unavailable(wrap("release callbacks", err))
	}
	if released > 0 {
		s.outboxFilled()
	}
	return released, nil
}
