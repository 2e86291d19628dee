package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// The operation begins anew, as if it had just been accepted; but with a seq that no message of
// before has, and by the queue for what has been there before. Its attempts stay on record.
const runAgainSQL = `
WITH again AS (
	UPDATE operations o
	SET status = 'accepted', attempts = 0, seq = o.seq + 1, due_at = now() + @grace::interval, waits = false,
	    error_code = NULL, error_message = NULL
	FROM unnest(@ids::uuid[], @seqs::bigint[], @queues::text[]) AS d (id, seq, queue)
	WHERE o.id = d.id AND o.seq = d.seq AND o.status = 'dead'
	RETURNING o.id, o.seq, o.type, d.queue
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT queue, id, seq, type
FROM again`

// An invoice that is being paid again has no error for now.
const payAgainSQL = `
UPDATE invoices i
SET error_code = 0, updated_at = now()
WHERE i.number = ANY(@invoices) AND i.state = 3`

// runAgain has dead operations, which are locked, run again.
func (s *Store) runAgain(ctx context.Context, tx pgx.Tx, dead []deadOperation) (enqueued bool, err error) {
	if len(dead) == 0 {
		return false, nil
	}
	var ids []OperationID
	var seqs []int64
	var queues []string
	var invoices [][16]byte
	var marks []callbackMark
	for _, o := range dead {
		ids, seqs, queues = append(ids, o.id), append(seqs, o.seq), append(queues, retryQueueOf(o.kind))
		switch o.kind {
		case InvoicePay:
			invoices = append(invoices, o.resource)
		case CallbackSend:
			marks = append(marks, callbackMark{id: o.id})
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(runAgainSQL, pgx.NamedArgs{"ids": ids, "seqs": seqs, "queues": queues, "grace": s.grace}).Exec(affects(len(dead)))
	if len(invoices) > 0 {
		batch.Queue(payAgainSQL, pgx.NamedArgs{"invoices": invoices}).Exec(affects(len(invoices)))
	}
	markCallbacks(batch, marks)
	return true, wrap("run again", tx.SendBatch(ctx, batch).Close())
}
