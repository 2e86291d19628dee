package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// CallbackRecord is a callback in the log: an event that is sent to an endpoint, and how far
// that has come.
type CallbackRecord struct {
	ID           OperationID
	Event        EventID
	Type         EventType
	Resource     [16]byte // what the event is about: the payment, recharge, invoice or endpoint
	Client       int64
	ClientID     string // the client's name
	Endpoint     EndpointID
	Policy       CallbackPolicy
	URL          string
	Status       Status // accepted: not tried yet; running: tried, and tried again; dead: given up
	Held         bool   // until its endpoint is enabled
	Replaying    bool   // the attempt that is due is not counted
	Attempts     int    // that were counted
	ErrorCode    string // "" unless failed or dead
	ErrorMessage string
	CreatedAt    time.Time
	NextAt       *time.Time // when it is tried again; nil where that is soon, or never
	FinishedAt   *time.Time
}

// CallbackAttempt is an attempt in the log.
type CallbackAttempt struct {
	StartedAt time.Time
	Attempt   int // which of the policy's, from 1; 0: a replay
	Outcome   CallbackOutcome
	Status    int    // of the answer; 0: there was none
	Reason    string // in plain words; "" where it was delivered
	Answer    []byte // the first 16 KiB of its body
	Duration  time.Duration
}

// CallbackFilter chooses callbacks; what is zero chooses all.
type CallbackFilter struct {
	Client   int64 // the endpoint's
	Endpoint EndpointID
	Event    EventID
	Resource [16]byte
	Type     EventType
	Status   Status
	Held     bool      // only those that are held
	Since    time.Time // when it was made, to the millisecond
	Until    time.Time
	Page[OperationID]
}

// ErrCallbackNotFound says that the client has no such callback, or not any more: one that
// succeeded or failed is forgotten after 90 days.
var ErrCallbackNotFound = errors.New("callback not found")

// What is known of callback c. Each part is one look into an index, in whatever order the
// planner would like: OFFSET 0.
const callbackColumns = `
c.id, c.event_id AS event, e.type, e.resource, c.client_id AS client,
(SELECT k.client_id FROM clients k WHERE k.id = c.client_id) AS client_id, c.endpoint_id AS endpoint, p.policy, coalesce(c.url, p.url, '') AS url,
o.status, c.held, c.replaying AND o.finished_at IS NULL AND o.status <> 'dead' AS replaying, o.attempts, coalesce(o.error_code, '') AS error_code, coalesce(o.error_message, '') AS error_message,
o.created_at, CASE WHEN o.waits AND o.finished_at IS NULL AND NOT c.held AND o.status <> 'dead' THEN o.due_at END AS next_at, o.finished_at`

const ofCallback = `
CROSS JOIN LATERAL (SELECT e.type, e.resource FROM events e WHERE e.id = c.event_id OFFSET 0) e
CROSS JOIN LATERAL (
	SELECT o.status, o.attempts, o.error_code, o.error_message, o.created_at, o.waits, o.due_at, o.finished_at
	FROM operations o
	WHERE o.id = c.id
	OFFSET 0
) o
CROSS JOIN LATERAL (SELECT p.policy, p.url FROM callback_endpoints p WHERE p.id = c.endpoint_id OFFSET 0) p`

const isChosen = `
(@client::bigint = 0 OR c.client_id = @client) AND (@endpoint::uuid IS NULL OR c.endpoint_id = @endpoint)
AND (@type::text = '' OR e.type = @type) AND (@status::text = '' OR o.status = @status) AND (NOT @held OR c.held)`

// An id begins with the time at which it was made, so that bounds of one are bounds of the other.
const listCallbacksSQL = `
SELECT ` + callbackColumns + `
FROM callbacks c` + ofCallback + `
WHERE c.id >= @since AND c.id < @before AND ` + isChosen + `
ORDER BY c.id DESC
LIMIT @limit`

// Rows are compared, since no other index can: the planner would take that of the ids, which is
// in the right order, and read everybody's.
const listCallbacksOfClientSQL = `
SELECT ` + callbackColumns + `
FROM callbacks c` + ofCallback + `
WHERE (c.client_id, c.id) >= (@client, @since) AND (c.client_id, c.id) < (@client, @before) AND ` + isChosen + `
ORDER BY c.client_id DESC, c.id DESC
LIMIT @limit`

const listCallbacksOfEndpointSQL = `
SELECT ` + callbackColumns + `
FROM callbacks c` + ofCallback + `
WHERE (c.endpoint_id, c.id) >= (@endpoint, @since) AND (c.endpoint_id, c.id) < (@endpoint, @before) AND ` + isChosen + `
ORDER BY c.endpoint_id DESC, c.id DESC
LIMIT @limit`

const ofEvent = `
CROSS JOIN LATERAL (
	SELECT c.id, c.event_id, c.client_id, c.endpoint_id, c.url, c.held, c.replaying
	FROM callbacks c
	WHERE c.event_id = told.id
	OFFSET 0
) c`

const listCallbacksOfEventSQL = `
SELECT ` + callbackColumns + `
FROM (SELECT @event::uuid AS id) told` + ofEvent + ofCallback + `
WHERE c.id >= @since AND c.id < @before AND ` + isChosen + `
ORDER BY c.id DESC
LIMIT @limit`

const listCallbacksOfResourceSQL = `
SELECT ` + callbackColumns + `
FROM (SELECT t.id FROM events t WHERE t.resource = @resource OFFSET 0) told` + ofEvent + ofCallback + `
WHERE c.id >= @since AND c.id < @before AND ` + isChosen + `
ORDER BY c.id DESC
LIMIT @limit`

// What was not delivered is little beside what was.
const listCallbacksNotDeliveredSQL = `
SELECT ` + callbackColumns + `
FROM (
	SELECT u.id
	FROM operations u
	WHERE u.type = 'callback.send' AND u.status IN ('failed', 'dead') AND u.status = @status AND u.id >= @since AND u.id < @before
	ORDER BY u.id DESC
	OFFSET 0
) u
CROSS JOIN LATERAL (
	SELECT c.id, c.event_id, c.client_id, c.endpoint_id, c.url, c.held, c.replaying
	FROM callbacks c
	WHERE c.id = u.id
	OFFSET 0
) c` + ofCallback + `
WHERE ` + isChosen + `
ORDER BY u.id DESC
LIMIT @limit`

// Callbacks lists callbacks, newest first.
func (s *Store) Callbacks(ctx context.Context, f CallbackFilter) ([]CallbackRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, f.statement(), pgx.NamedArgs{
		"client": f.Client, "endpoint": f.Endpoint, "event": f.Event, "resource": f.Resource, "type": f.Type, "status": f.Status, "held": f.Held,
		"since": firstIDOf(f.Since), "before": f.before(), "limit": f.Limit,
	})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[CallbackRecord])
	return found, unavailable(wrap("list callbacks", err))
}

// statement is the one that reads least.
func (f CallbackFilter) statement() string {
	switch {
	case !f.Event.IsZero():
		return listCallbacksOfEventSQL
	case f.Resource != [16]byte{}:
		return listCallbacksOfResourceSQL
	case f.Status == Failed, f.Status == Dead:
		return listCallbacksNotDeliveredSQL
	case !f.Endpoint.IsZero():
		return listCallbacksOfEndpointSQL
	case f.Client != 0:
		return listCallbacksOfClientSQL
	}
	return listCallbacksSQL
}

// before is the bound that the cursor, or the end of the time, makes.
func (f CallbackFilter) before() OperationID {
	end := endOf(f.Until)
	if !f.Before.IsZero() && bytes.Compare(f.Before[:], end[:]) < 0 {
		return f.Before
	}
	return end
}

// endOf is above the ids that are made until t; where t is zero, above all.
func endOf(t time.Time) OperationID {
	if t.IsZero() {
		return OperationID(bytes.Repeat([]byte{0xff}, len(OperationID{})))
	}
	return firstIDOf(t)
}

// firstIDOf is below the ids that are made from the millisecond of t on, and above all others
// (RFC 9562, 5.7).
func firstIDOf(t time.Time) (id OperationID) {
	if t.IsZero() {
		return firstIDOf(time.UnixMilli(0))
	}
	binary.BigEndian.PutUint64(id[:8], uint64(t.UnixMilli())<<16) //nolint:gosec // it was after 1970
	id[6] = 0x70
	return id
}

const readCallbackSQL = `
SELECT ` + callbackColumns + `
FROM callbacks c` + ofCallback + `
WHERE c.id = @id AND (@client::bigint = 0 OR c.client_id = @client)`

const readCallbackBodySQL = `
SELECT e.body
FROM events e
WHERE e.id = (SELECT c.event_id FROM callbacks c WHERE c.id = @id)`

const readCallbackAttemptsSQL = `
SELECT a.started_at, a.attempt, a.outcome, coalesce(a.status, 0) AS status, a.reason, a.answer, a.duration
FROM callback_attempts a
WHERE a.callback_id = @id
ORDER BY a.started_at`

// CallbackStory is all that is known of a callback.
type CallbackStory struct {
	CallbackRecord
	Body    []byte            // the event's exact bytes
	History []CallbackAttempt // oldest first, replays among them
}

// Callback returns a callback of the client, or of any where client is 0, with its attempts;
// or ErrCallbackNotFound.
func (s *Store) Callback(ctx context.Context, client int64, id OperationID) (CallbackStory, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	var c CallbackStory
	args := pgx.NamedArgs{"client": client, "id": id}
	batch := &pgx.Batch{}
	batch.Queue(readCallbackSQL, args).Query(func(rows pgx.Rows) (err error) {
		c.CallbackRecord, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[CallbackRecord])
		return err
	})
	batch.Queue(readCallbackBodySQL, args).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Body) })
	batch.Queue(readCallbackAttemptsSQL, args).Query(func(rows pgx.Rows) (err error) {
		c.History, err = pgx.CollectRows(rows, pgx.RowToStructByName[CallbackAttempt])
		return err
	})
	err := s.pool.SendBatch(ctx, batch).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		return CallbackStory{}, ErrCallbackNotFound
	}
	return c, unavailable(wrap("read callback "+id.String(), err))
}
