package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// DeadLetter is a message that the broker, or its worker, gave up on.
type DeadLetter struct {
	Queue     string // the work queue it came from
	MessageID string // unique together with Seq
	Seq       int64  // 0 where the body names none
	Operation OperationID
	Type      string
	Reason    string // rejected, delivery_limit, …: the broker's word
	Error     string
	Headers   map[string]any
	Body      []byte
	TraceID   string

	// PropertyID is the message-id that it came with. Where the body names no operation, this may
	// name the one that was meant.
	PropertyID string
}

// A dead letter that is delivered again finds its row and changes nothing.
const insertDeadLettersSQL = `
INSERT INTO dead_letters (queue, message_id, seq, type, reason, error, attempts, headers, body, trace_id, property_id)
SELECT d.queue, d.message_id, d.seq, d.type, d.reason, coalesce(history.error, d.error), coalesce(history.attempts, '[]'),
       d.headers, d.body, d.trace_id, d.property_id
FROM unnest(@queues::text[], @ids::text[], @seqs::bigint[], @operations::uuid[], @types::text[], @reasons::text[],
            @errors::text[], @headers::jsonb[], @bodies::bytea[], @traces::text[], @properties::text[])
     AS d (queue, message_id, seq, operation_id, type, reason, error, headers, body, trace_id, property_id)
LEFT JOIN LATERAL (
	SELECT jsonb_agg(jsonb_build_object('attempt', a.attempt, 'error', a.error, 'failed_at', a.failed_at) ORDER BY a.failed_at) AS attempts,
	       (array_agg(a.error ORDER BY a.failed_at DESC) FILTER (WHERE a.seq = d.seq))[1] AS error
	FROM (
		SELECT a.seq, a.attempt, a.error, a.failed_at
		FROM attempts a
		WHERE a.operation_id = d.operation_id
		UNION ALL
		SELECT c.seq, c.attempt, c.reason, c.started_at + c.duration
		FROM callback_attempts c
		WHERE c.callback_id = d.operation_id AND c.outcome <> 'delivered'
	) a
) history ON true
ON CONFLICT DO NOTHING
RETURNING message_id, seq`

// Only the message that still has the operation's seq ends it; a stale one is kept as a
// dead letter and touches nothing.
// Its invoice stays in progress, with the error that says so. A payment by card stays as it
// is: nobody knows what the acquirer has done, and its dead step keeps its slot.
const killOperationsSQL = `
WITH killed AS (
	UPDATE operations o
	SET status = 'dead', error_code = 'dead', attempts = greatest(o.attempts, coalesce(tried.attempts, 0)),
	    error_message = 'The operation could not be completed. An operator will look at it.'
	FROM unnest(@operations::uuid[], @seqs::bigint[]) AS d (id, seq)
	LEFT JOIN LATERAL (
		SELECT a.attempt AS attempts FROM attempts a WHERE a.operation_id = d.id AND a.seq = d.seq
	) tried ON true
	WHERE o.id = d.id AND o.seq = d.seq AND ` + isOpen + `
	RETURNING o.resource, o.type
)
UPDATE invoices i
SET error_code = 9, updated_at = now()
FROM killed k
WHERE k.type = 'invoice.pay' AND i.number = k.resource AND i.state = 3`

// KeepDeadLetters stores dead letters and sets their operations dead, together. It returns
// which of them are new; the caller acknowledges all of them after that. If it dies before
// it can, they are delivered again and found here.
func (s *Store) KeepDeadLetters(ctx context.Context, letters []DeadLetter) (isNew []bool, err error) {
	if len(letters) == 0 {
		return nil, nil
	}
	args := deadLetterColumns(letters)
	type key struct {
		id  string
		seq int64
	}
	inserted := make(map[key]bool)
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		// Operations before anything that refers to them: the one lock order.
		if _, err := tx.Exec(ctx, lockOperationsSQL, args); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, insertDeadLettersSQL, args)
		var k key
		_, err := pgx.ForEachRow(rows, []any{&k.id, &k.seq}, func() error {
			inserted[k] = true
			return nil
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, killOperationsSQL, args)
		return err
	})
	isNew = make([]bool, len(letters))
	for i, d := range letters {
		k := key{d.MessageID, d.Seq}
		isNew[i] = inserted[k]
		delete(inserted, k) // the same letter twice in one batch is new once
	}
	return isNew, unavailable(wrap("keep dead letters", err))
}

const lockOperationsSQL = `
SELECT o.id
FROM operations o
WHERE o.id = ANY(@operations)
ORDER BY o.id
FOR NO KEY UPDATE`

func deadLetterColumns(letters []DeadLetter) pgx.NamedArgs {
	var queues, ids, types, reasons, errs, traces, properties []string
	var seqs []int64
	var operations []OperationID
	var headers, bodies [][]byte
	for _, d := range letters {
		h, err := json.Marshal(storable(d.Headers))
		if err != nil {
			h = []byte(`{"quittance": "the headers could not be encoded"}`)
		}
		queues = append(queues, d.Queue)
		ids = append(ids, clip(d.MessageID, 255))
		seqs = append(seqs, d.Seq)
		operations = append(operations, d.Operation)
		types = append(types, clip(d.Type, 255))
		reasons = append(reasons, d.Reason)
		errs = append(errs, clip(d.Error, 1000))
		headers = append(headers, h)
		bodies = append(bodies, append([]byte{}, d.Body...)) // an empty body is not NULL
		traces = append(traces, clip(d.TraceID, 64))
		properties = append(properties, clip(d.PropertyID, 255))
	}
	return pgx.NamedArgs{
		"queues": queues, "ids": ids, "seqs": seqs, "operations": operations, "types": types, "reasons": reasons,
		"errors": errs, "headers": headers, "bodies": bodies, "traces": traces, "properties": properties,
	}
}

// storable copies a decoded value without the NUL characters that jsonb refuses.
func storable(value any) any {
	switch v := value.(type) {
	case string:
		return clip(v, len(v))
	case map[string]any:
		clean := make(map[string]any, len(v))
		for k, e := range v {
			clean[clip(k, len(k))] = storable(e)
		}
		return clean
	case []any:
		clean := make([]any, len(v))
		for i, e := range v {
			clean[i] = storable(e)
		}
		return clean
	}
	return value
}
