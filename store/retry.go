package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Delay is a rung of the retry ladder: what the broker calls it, and how long it is. One
// without a Name is too long for the broker: the operation waits in its row.
type Delay struct {
	Name string
	Wait time.Duration
}

// rungs are what the broker can hold a message for, shortest first.
var rungs = []Delay{
	{"1s", time.Second},
	{"5s", 5 * time.Second},
	{"10s", 10 * time.Second},
	{"30s", 30 * time.Second},
	{"2m", 2 * time.Minute},
	{"5m", 5 * time.Minute},
	{"10m", 10 * time.Minute},
}

// Rungs returns the delays that the store takes the broker to have. A test of the workers
// holds the two together.
func Rungs() []Delay { return slices.Clone(rungs) }

// rungCovering is the shortest rung that is at least as long as wait, or the longest there is.
func rungCovering(wait time.Duration) Delay {
	for _, r := range rungs {
		if r.Wait >= wait {
			return r
		}
	}
	return rungs[len(rungs)-1]
}

// until is when an operation that is delayed is due: after its message should have come, or
// at once where there is none.
func (d Delay) until(grace time.Duration) time.Duration {
	if d.inRow() {
		return d.Wait
	}
	return d.Wait + grace
}

func (d Delay) inRow() bool { return d.Name == "" && d.Wait > 0 }

// Failure is an attempt that failed.
type Failure struct {
	Ref
	Cause  string  // cut to 1,000 bytes
	Ladder []Delay // one delay for each retry; after the last the attempts are used up
}

// Retry is what became of a failed attempt.
type Retry struct {
	Verdict RetryVerdict
	Delay   string // the rung on which a stored retry waits, "" where it waits in its row
}

// RetryVerdict says whether there will be another attempt.
type RetryVerdict string

const (
	// RetryStale means that the operation has moved on: forget the message.
	RetryStale RetryVerdict = "stale"
	// RetryStored means that the attempt is counted and its retry is in the outbox, or waits
	// in its row.
	RetryStored RetryVerdict = "retry"
	// RetryUsedUp means that the attempt is counted and was the last one.
	RetryUsedUp RetryVerdict = "used_up"
)

const lockAttemptSQL = `
SELECT o.attempts, o.type
FROM operations o
WHERE o.id = @id AND o.seq = @seq AND ` + isOpen + `
FOR NO KEY UPDATE`

// An attempt is counted once, however often its message is delivered.
const recordAttemptSQL = `
INSERT INTO attempts (operation_id, seq, attempt, error)
VALUES (@id, @seq, @attempt, @error)
ON CONFLICT DO NOTHING`

// What is used up counts as tried, however often its message comes back meanwhile. The last
// attempt says how often: an operation that was replayed began anew, and has the older ones still.
const countAttemptsSQL = `
UPDATE operations
SET attempts = (SELECT a.attempt FROM attempts a WHERE a.operation_id = @id ORDER BY a.seq DESC LIMIT 1)
WHERE id = @id`

const scheduleRetrySQL = `
UPDATE operations
SET attempts = @attempt, seq = seq + 1, due_at = now() + @wait, waits = @in_row
WHERE id = @id`

const enqueueRetrySQL = `
INSERT INTO outbox (queue, delay, message_id, seq, type)
VALUES (@queue, @delay, @id, @seq + 1, @type)`

// RetryOperation records a failed attempt and, unless it was the last one, enqueues the
// next: the attempt, the new seq, the new due time and the outbox row commit together. What
// waits in its row has no outbox row: the schedule worker enqueues it when it is due.
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
			batch.Queue(scheduleRetrySQL, pgx.NamedArgs{"id": f.ID, "attempt": attempts + 1, "wait": next.until(s.grace), "in_row": next.inRow()})
			if !next.inRow() {
				batch.Queue(enqueueRetrySQL, pgx.NamedArgs{"id": f.ID, "seq": f.Seq, "queue": retryQueueOf(kind), "delay": next.Name, "type": kind})
			}
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
