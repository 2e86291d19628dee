package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Resolution says how a dead letter was put right.
type Resolution string

// Replayed letters had their operations run again, dropped ones had them fail. A moot one was
// about nothing that was dead: its operation had ended or was being worked on, or it named none.
const (
	Replayed Resolution = "replayed"
	Dropped  Resolution = "dropped"
	Moot     Resolution = "moot"
)

// DeadLetterRecord is a dead letter as it is kept.
type DeadLetterRecord struct {
	ID         int64
	Queue      string
	MessageID  string
	PropertyID string
	Seq        int64
	Operation  OperationID // zero where it names none
	Type       string
	Reason     string
	Error      string
	Attempts   []AttemptRecord
	Headers    map[string]any
	Body       []byte
	TraceID    string
	DiedAt     time.Time
	ResolvedAt *time.Time // nil: it waits for an operator
	Resolution Resolution
	ResolvedBy string
	Note       string // why it was dropped, or what made it moot
}

// AttemptRecord is one failed attempt in a dead letter's history.
type AttemptRecord struct {
	Attempt  int       `json:"attempt"`
	Error    string    `json:"error"`
	FailedAt time.Time `json:"failed_at"`
}

// DeadFilter chooses dead letters; what is zero chooses all that wait for an operator.
type DeadFilter struct {
	Page[int64]
	Which  WhichLetters
	Queue  string
	Reason string
	Text   string // in the error, the type or the message id, in either case
	Since  time.Time
	Until  time.Time
}

// WhichLetters chooses dead letters by whether they are resolved.
type WhichLetters int

// Mostly those that are not matter.
const (
	UnresolvedLetters WhichLetters = iota
	ResolvedLetters
	AllLetters
)

const deadLetterColumnsOf = `
SELECT d.id, d.queue, d.message_id, d.property_id, d.seq, d.operation_id AS operation, d.type, d.reason, d.error, d.attempts, d.headers, d.body,
       d.trace_id, d.died_at, d.resolved_at, coalesce(d.resolution, '') AS resolution, coalesce(d.resolved_by, '') AS resolved_by, d.note
FROM dead_letters d
WHERE `

const isChosenLetter = `(@queue = '' OR d.queue = @queue) AND (@reason = '' OR d.reason = @reason)
  AND d.died_at >= @since AND d.died_at < @until
  AND (@text = '' OR strpos(lower(concat_ws(' ', d.error, d.type, d.message_id, d.property_id)), lower(@text)) > 0)`

// Each has its own index, or reads what it shows anyway.
const (
	listUnresolvedLettersSQL = deadLetterColumnsOf + `d.resolved_at IS NULL AND d.id < @before AND ` + isChosenLetter + `
ORDER BY d.id DESC
LIMIT @limit`
	listResolvedLettersSQL = deadLetterColumnsOf + `d.resolved_at IS NOT NULL AND d.id < @before AND ` + isChosenLetter + `
ORDER BY d.id DESC
LIMIT @limit`
	listAllLettersSQL = deadLetterColumnsOf + `d.id < @before AND ` + isChosenLetter + `
ORDER BY d.id DESC
LIMIT @limit`
)

func (f DeadFilter) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"before": beforeID(f.Page), "limit": f.Limit, "queue": f.Queue, "reason": f.Reason, "text": f.Text,
		"since": f.Since, "until": orForever(f.Until),
	}
}

// DeadLetters lists what is kept, newest first.
func (s *Store) DeadLetters(ctx context.Context, f DeadFilter) ([]DeadLetterRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	sql := map[WhichLetters]string{
		UnresolvedLetters: listUnresolvedLettersSQL, ResolvedLetters: listResolvedLettersSQL, AllLetters: listAllLettersSQL,
	}[f.Which]
	rows, _ := s.pool.Query(ctx, sql, f.args())
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[DeadLetterRecord])
	return found, unavailable(wrap("list dead letters", err))
}

const unresolvedIDsSQL = `
SELECT d.id
FROM dead_letters d
WHERE d.resolved_at IS NULL AND d.id < @before AND ` + isChosenLetter + `
ORDER BY d.id`

// UnresolvedLetters names all that the filter chooses of those that wait for an operator, oldest
// first: what dies afterwards is not among them.
func (s *Store) UnresolvedLetters(ctx context.Context, f DeadFilter) ([]int64, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, unresolvedIDsSQL, f.args())
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	return ids, unavailable(wrap("find dead letters", err))
}

// ErrDeadLetterNotFound says that there is no dead letter with this id.
var ErrDeadLetterNotFound = errors.New("dead letter not found")

const readDeadLetterSQL = deadLetterColumnsOf + `d.id = @id`

// DeadLetter returns one dead letter, or ErrDeadLetterNotFound.
func (s *Store) DeadLetter(ctx context.Context, id int64) (DeadLetterRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readDeadLetterSQL, pgx.NamedArgs{"id": id})
	d, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[DeadLetterRecord])
	if errors.Is(err, pgx.ErrNoRows) {
		return DeadLetterRecord{}, ErrDeadLetterNotFound
	}
	return d, unavailable(wrap("read dead letter", err))
}
