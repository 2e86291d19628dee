package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ParkCallback has a callback looked at again after at least wait, without counting an
// attempt: its endpoint has no room for it now. The message is stale after that. It waits on
// a rung of the broker or, where it has a turn to keep, in its row, for no longer than that.
func (s *Store) ParkCallback(ctx context.Context, ref Ref, wait time.Duration, turn bool) error {
	delay := rungCovering(wait)
	if turn {
		delay = Delay{Wait: wait}
	}
	err := s.callbackParks.do(ctx, &parking{ref, delay})
	if err != nil {
		return fmt.Errorf("park callback %s: %w", ref.ID, err)
	}
	return nil
}

type parking struct {
	Ref
	Delay
}

const parkCallbacksSQL = `
WITH parked AS (
	UPDATE operations o
	SET seq = o.seq + 1, due_at = now() + d.wait, waits = d.in_row
	FROM unnest(@ids::uuid[], @seqs::bigint[], @waits::interval[], @in_row::boolean[], @delays::text[]) AS d (id, seq, wait, in_row, delay)
	WHERE o.id = d.id AND o.seq = d.seq AND ` + isOpen + `
	RETURNING o.id, o.seq, d.delay, d.in_row
), counted AS (
	UPDATE callbacks c
	SET parks = least(c.parks + 1, 1000)
	FROM parked
	WHERE c.id = parked.id
)
INSERT INTO outbox (queue, delay, message_id, seq, type)
SELECT @queue, delay, id, seq, @type
FROM parked
WHERE NOT in_row`

// parkCallbacks parks callbacks together: an endpoint that hangs has many of them.
func (s *Store) parkCallbacks(ctx context.Context, all []*parking) (later []int, err error) {
	now, later := splitTwins(all, func(p *parking) (OperationID, Once) { return p.ID, Once{} })
	var ids []OperationID
	var seqs []int64
	var waits []time.Duration
	var inRow []bool
	var delays []string
	for _, p := range now {
		ids, seqs = append(ids, p.ID), append(seqs, p.Seq)
		waits, inRow, delays = append(waits, p.until(s.grace)), append(inRow, p.inRow()), append(delays, p.Name)
	}
	batch := &pgx.Batch{}
	batch.Queue(lockOperationsSQL, pgx.NamedArgs{"operations": ids})
	batch.Queue(parkCallbacksSQL, pgx.NamedArgs{
		"ids": ids, "seqs": seqs, "waits": waits, "in_row": inRow, "delays": delays, "queue": retryQueueOf(CallbackSend), "type": CallbackSend,
	})
	err = s.inTx(ctx, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
	if err == nil {
		s.outboxFilled()
	}
	return later, err
}
