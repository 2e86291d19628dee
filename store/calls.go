package store

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// countedEnds end locked operations that call out, of which it is known how many attempts
// count by then.
type countedEnds struct {
	ids             []OperationID
	attempts        []int
	codes, messages []string
}

func (e *countedEnds) add(id OperationID, attempts int, why refusal) {
	e.ids, e.attempts = append(e.ids, id), append(e.attempts, attempts)
	e.codes, e.messages = append(e.codes, why.code), append(e.messages, clip(why.message, 1000))
}

// Whatever became of the message meanwhile, seq does not matter: the operation is locked. What
// was given up, and arrived after all, has succeeded.
const endCountedSQL = `
UPDATE operations o
SET status = CASE d.code WHEN '' THEN 'succeeded' ELSE 'failed' END,
    error_code = nullif(d.code, ''), error_message = nullif(d.message, ''),
    attempts = d.attempts, finished_at = clock_timestamp()
FROM unnest(@ids::uuid[], @attempts::integer[], @codes::text[], @messages::text[]) AS d (id, attempts, code, message)
WHERE o.id = d.id AND o.finished_at IS NULL`

func (e *countedEnds) write(batch *pgx.Batch) {
	if len(e.ids) == 0 {
		return
	}
	batch.Queue(endCountedSQL, pgx.NamedArgs{
		"ids": e.ids, "attempts": e.attempts, "codes": e.codes, "messages": e.messages,
	}).Exec(affects(len(e.ids)))
}

// operationLeases keep everybody else from enqueuing operations whose calls are being made.
type operationLeases struct {
	ids   []OperationID
	waits []time.Duration
}

func (l *operationLeases) add(id OperationID, wait time.Duration) {
	l.ids, l.waits = append(l.ids, id), append(l.waits, wait)
}

const leaseOperationsSQL = `
UPDATE operations o
SET due_at = now() + d.wait
FROM unnest(@ids::uuid[], @waits::interval[]) AS d (id, wait)
WHERE o.id = d.id AND ` + isOpen

func (l *operationLeases) write(batch *pgx.Batch) {
	if len(l.ids) == 0 {
		return
	}
	batch.Queue(leaseOperationsSQL, pgx.NamedArgs{"ids": l.ids, "waits": l.waits}).Exec(affects(len(l.ids)))
}
