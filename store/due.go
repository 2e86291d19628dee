package store

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

const countDueSQL = `
SELECT count(*)
FROM (
	SELECT FROM operations o
	WHERE o.status IN ('accepted', 'running') AND o.due_at < now() AND o.type = ANY(@types) AND o.seq BETWEEN @first AND @last AND NOT o.waits
	LIMIT @enough
) due`

const countOutboxOfSQL = `
SELECT count(*)
FROM (SELECT FROM outbox o WHERE o.queue = @queue AND o.delay = '' AND o.postponed = 0 LIMIT @enough) waiting`

const enqueueDueSQL = `
WITH due AS (
	SELECT o.id
	FROM operations o
	WHERE o.status IN ('accepted', 'running') AND o.due_at < now() AND o.type = ANY(@types) AND o.seq BETWEEN @first AND @last AND NOT o.waits
	  AND (NOT @explained OR o.due_at < now() - @grace::interval * 2 ^ least(o.seq, 12))
	ORDER BY o.due_at
	LIMIT @limit
	FOR NO KEY UPDATE SKIP LOCKED
), again AS (
	UPDATE operations o
	SET seq = o.seq + 1, due_at = now() + @grace
	FROM due
	WHERE o.id = due.id
	RETURNING o.id, o.seq, o.type
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @retry_queue, id, seq, type
FROM again`

// What waits in its row was never under way: whatever the queue holds, it may go.
const enqueueWaitingSQL = `
WITH due AS (
	SELECT o.id
	FROM operations o
	WHERE o.status IN ('accepted', 'running') AND o.due_at < now() AND o.type = ANY(@types) AND o.seq BETWEEN @first AND @last AND o.waits
	ORDER BY o.due_at
	LIMIT @limit
	FOR NO KEY UPDATE SKIP LOCKED
), again AS (
	UPDATE operations o
	SET seq = o.seq + 1, due_at = now() + @grace, waits = false
	FROM due
	WHERE o.id = due.id
	RETURNING o.id, o.seq, o.type
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @retry_queue, id, seq, type
FROM again`

// trickle is how many operations are enqueued in one go although a backlog explains them.
const trickle = 10

// One leader a queue, for as long as the transaction lasts: two schedule workers that count
// the same backlog would both fill it.
const leadScheduleSQL = `
SELECT pg_try_advisory_xact_lock(hashtext('schedule'), hashtext(@queue))`

// EnqueueDue enqueues again at most limit operations of a queue whose message should have
// had its effect by now: it was lost, with its queue or with the whole broker. A copy that
// turns up after all is stale.
//
// depth is how many messages the queue holds. A backlog of n messages explains at most n
// late operations, so until more are due than wait in the queue and in the outbox, a slow
// worker's queue is not filled with copies. But where traffic flows there is always some
// backlog, and one operation may be lost beside it: a few of those that are much too late,
// and later each time, are enqueued whatever waits.
//
// Where retries have a queue of their own, what is enqueued again goes there, and each of the
// two answers for what it was the last to have: the first message of each operation, or any
// later one.
//
// It also enqueues at most limit operations that waited in their rows for this time, and
// that nobody lost: those it does not count.
func (s *Store) EnqueueDue(ctx context.Context, queue string, depth, limit int) (enqueued int, err error) {
	late := lateIn(queue)
	var waited int64
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var leads bool
		if err := tx.QueryRow(ctx, leadScheduleSQL, pgx.NamedArgs{"queue": queue}).Scan(&leads); err != nil || !leads {
			return err
		}
		args := pgx.NamedArgs{
			"types": late.types, "first": late.first, "last": late.last, "limit": limit, "grace": s.grace, "retry_queue": late.retryQueue,
		}
		tag, err := tx.Exec(ctx, enqueueWaitingSQL, args)
		if err != nil {
			return err
		}
		waited = tag.RowsAffected()
		explained, err := backlogExplains(ctx, tx, queue, late, depth)
		if err != nil {
			return err
		}
		if args["explained"] = explained; explained {
			args["limit"] = min(limit, trickle)
		}
		tag, err = tx.Exec(ctx, enqueueDueSQL, args)
		enqueued = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, unavailable(wrap("enqueue what is due", err))
	}
	if enqueued > 0 || waited > 0 {
		s.outboxFilled()
	}
	return enqueued, nil
}

func backlogExplains(ctx context.Context, tx pgx.Tx, queue string, late lateOperations, depth int) (bool, error) {
	var waiting, due int
	const enough = 100_000 // beyond that, a backlog is a backlog
	err := tx.QueryRow(ctx, countOutboxOfSQL, pgx.NamedArgs{"queue": queue, "enough": enough}).Scan(&waiting)
	if err != nil {
		return false, err
	}
	waiting += depth
	err = tx.QueryRow(ctx, countDueSQL, pgx.NamedArgs{
		"types": late.types, "first": late.first, "last": late.last, "enough": waiting + 1,
	}).Scan(&due)
	return due <= waiting, err
}

// lateOperations are those whose message was in a certain queue: of these types, and at a seq
// between first and last.
type lateOperations struct {
	types       []OperationType
	first, last int64
	retryQueue  string
}

func lateIn(queue string) lateOperations {
	late := lateOperations{first: 1, last: math.MaxInt64, retryQueue: queue}
	for t, q := range queueOf {
		retries := retryQueueOf(t)
		switch {
		case q == queue && retries == queue:
			late.types = append(late.types, t)
		case q == queue:
			late = lateOperations{types: []OperationType{t}, first: 1, last: 1, retryQueue: retries}
		case retries == queue:
			late = lateOperations{types: []OperationType{t}, first: 2, last: math.MaxInt64, retryQueue: queue}
		}
	}
	return late
}

const oldestUntriedSQL = `
SELECT clock_timestamp() - greatest(o.created_at, o.due_at - @grace::interval)
FROM operations o
WHERE o.status IN ('accepted', 'running') AND o.attempts = 0 AND o.type = ANY(@types)
ORDER BY o.due_at
OFFSET @past
LIMIT 1`

// stragglers are so few untried commands that no backlog is to blame for them: one message
// that is lost, and found by its due time, must not close the API.
const stragglers = 100

// OldestUntried returns the age of the command that falls due first, stragglers aside, of
// those that nobody has attempted yet and that are settled in sets; 0 where there is none.
// Until something is enqueued again that is the oldest, and what was has waited since then: one
// that died yesterday, and is replayed now, is no backlog. Admission is decided by it.
func (s *Store) OldestUntried(ctx context.Context) (time.Duration, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	clients := []OperationType{InvoicePay, RechargeCommit, RechargeRollback}
	var age time.Duration
	err := s.pool.QueryRow(ctx, oldestUntriedSQL, pgx.NamedArgs{"types": clients, "past": stragglers, "grace": s.grace}).Scan(&age)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return age, unavailable(wrap("read the oldest untried", err))
}
