package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Delay is a rung of the retry ladder: what the broker calls it, and how long it is.
type Delay struct {
	Name string
	Wait time.Duration
}

// Failure is an attempt that failed.
type Failure struct {
	Ref
	Cause  string  // cut to 1,000 bytes
	Ladder []Delay // one delay for each retry; after the last the attempts are used up
}

// Retry is what became of a failed attempt.
type Retry struct {
	Verdict RetryVerdict
	Delay   string // the rung on which a stored retry waits
}

// RetryVerdict says whether there will be another attempt.
type RetryVerdict string

const (
	// RetryStale means that the operation has moved on: forget the message.
	RetryStale RetryVerdict = "stale"
	// RetryStored means that the attempt is counted and its retry is in the outbox.
	RetryStored RetryVerdict = "retry"
	// RetryUsedUp means that the attempt is counted and was the last one.
	RetryUsedUp RetryVerdict = "used_up"
)

const lockAttemptSQL = `
SELECT o.attempts, o.type
FROM operations o
WHERE o.id = @id AND o.seq = @seq AND o.status IN ('accepted', 'running')
FOR NO KEY UPDATE`

// An attempt is counted once, however often its message is delivered.
const recordAttemptSQL = `
INSERT INTO attempts (operation_id, seq, attempt, error)
VALUES (@id, @seq, @attempt, @error)
ON CONFLICT DO NOTHING`

// What is used up counts as tried, however often its message comes back meanwhile.
const countAttemptsSQL = `
UPDATE operations
SET attempts = (SELECT max(a.attempt) FROM attempts a WHERE a.operation_id = @id)
WHERE id = @id`

const scheduleRetrySQL = `
UPDATE operations
SET attempts = @attempt, seq = seq + 1, due_at = now() + @wait
WHERE id = @id`

const enqueueRetrySQL = `
INSERT INTO outbox (queue, delay, message_id, seq, type)
VALUES (@queue, @delay, @id, @seq + 1, @type)`

// RetryOperation records a failed attempt and, unless it was the last one, enqueues the
// next: the attempt, the new seq, the new due time and the outbox row commit together.
//
// The message is acknowledged after that. If the process dies in between, the broker
// delivers it again and it is stale. Where the attempts are used up nothing changes but
// the record: the caller rejects the message, and its dead letter ends the operation; if
// the process dies before it can, the message comes again and has one more try.
func (s *Store) RetryOperation(ctx context.Context, f Failure) (Retry, error) {
	var became Retry
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var attempts int
		var kind OperationType
		err := tx.QueryRow(ctx, lockAttemptSQL, pgx.NamedArgs{"id": f.ID, "seq": f.Seq}).Scan(&attempts, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			became = Retry{Verdict: RetryStale}
			return nil
		}
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		batch.Queue(recordAttemptSQL, pgx.NamedArgs{"id": f.ID, "seq": f.Seq, "attempt": attempts + 1, "error": clip(f.Cause, 1000)})
		if attempts >= len(f.Ladder) {
			became = Retry{Verdict: RetryUsedUp}
			batch.Queue(countAttemptsSQL, pgx.NamedArgs{"id": f.ID})
		} else {
			next := f.Ladder[attempts]
			became = Retry{Verdict: RetryStored, Delay: next.Name}
			batch.Queue(scheduleRetrySQL, pgx.NamedArgs{"id": f.ID, "attempt": attempts + 1, "wait": next.Wait + s.grace})
			batch.Queue(enqueueRetrySQL, pgx.NamedArgs{"id": f.ID, "seq": f.Seq, "queue": queueOf[kind], "delay": next.Name, "type": kind})
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err == nil && became.Verdict == RetryStored {
		s.outboxFilled()
	}
	return became, unavailable(wrap("retry "+f.ID.String(), err))
}

// clip makes text storable, valid UTF-8 without NUL, and shortens it to at most n bytes.
func clip(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}
