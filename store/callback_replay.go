package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// CallbackReplay asks for one more attempt of a callback, delivered or not.
type CallbackReplay struct {
	ID     OperationID
	Client int64 // whose it is; 0: an operator asks, for anybody's
	Once   Once
}

// Why a callback is not replayed. Nothing was done.
var (
	// ErrCallbackHeld says that its endpoint is disabled. What is held is released once that is
	// enabled; anything else can be replayed then.
	ErrCallbackHeld = errors.New("the callback's endpoint is disabled: enable it first")
	// ErrCallbackUnwanted says that its endpoint is deleted, or the invoice's callbackUrl gone.
	ErrCallbackUnwanted = errors.New("nobody wants the callback any more: its endpoint is deleted, or the callbackUrl answered 410 Gone")
)

// ReplayCallback has a callback sent once more, now, and that attempt is not counted. A retry
// that was pending is stale: where the replay fails, the callback goes on where its automatic
// attempts stood, or is dead where those are used up. Its errors are ErrCallbackNotFound,
// ErrCallbackHeld, ErrCallbackUnwanted, *Replay and ErrKeyReused.
func (s *Store) ReplayCallback(ctx context.Context, r CallbackReplay) (Answer, error) {
	r.Once.Answer.Operation = r.ID
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, r.Once); err != nil {
			return err
		}
		found, err := lockForReplay(ctx, tx, []OperationID{r.ID})
		if err != nil {
			return err
		}
		if len(found) == 0 || (r.Client != 0 && found[0].client != r.Client) {
			return ErrCallbackNotFound
		}
		if err := found[0].refuses(); err != nil {
			return err
		}
		if err := s.replay(ctx, tx, []OperationID{r.ID}, Delay{}); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, act{action: "callback.replay", subject: r.ID.String()})
	})
	if err != nil {
		return Answer{}, unavailable(wrap("replay callback "+r.ID.String(), err))
	}
	s.outboxFilled()
	return r.Once.Answer, nil
}

// ReplayFilter chooses callbacks to be replayed; what is zero chooses all.
type ReplayFilter struct {
	Client   int64 // the endpoint's
	Endpoint EndpointID
	Since    time.Time // when it was made, to the millisecond
	Until    time.Time
	Statuses []Status
}

// ReplayCallbacks replays those that the filter chooses and that can be, of the next limit
// callbacks after the one named by after, oldest first. next is where to go on; zero where there
// is nothing more. They wait in their rows until the schedule worker enqueues them, a few
// hundred at a time, so that a month can be replayed without drowning a queue.
func (s *Store) ReplayCallbacks(ctx context.Context, f ReplayFilter, limit int, after OperationID) (replayed int, next OperationID, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		replayed, next = 0, OperationID{}
		rows, _ := tx.Query(ctx, f.statement(), pgx.NamedArgs{
			"client": f.Client, "endpoint": f.Endpoint, "since": firstIDOf(f.Since), "until": endOf(f.Until), "after": after, "limit": limit,
		})
		ids, err := pgx.CollectRows(rows, pgx.RowTo[OperationID])
		if err != nil || len(ids) == 0 {
			return err
		}
		if len(ids) == limit {
			next = ids[len(ids)-1]
		}
		found, err := lockForReplay(ctx, tx, ids)
		if err != nil {
			return err
		}
		chosen := f.chooses(found)
		replayed = len(chosen)
		if err := s.replay(ctx, tx, chosen, Delay{Wait: time.Microsecond}); err != nil || replayed == 0 { // in its row, and due at once
			return err
		}
		return s.keepActs(ctx, tx, f.act(replayed, ids))
	})
	return replayed, next, unavailable(wrap("replay callbacks", err))
}

// act is what the audit log keeps of one step of a replay: what chose the callbacks, the range of
// those that were looked at, and how many are sent once more.
func (f ReplayFilter) act(replayed int, ids []OperationID) act {
	details := map[string]any{
		"replayed": replayed, "since": f.Since.UTC(), "until": f.Until.UTC(), "statuses": f.Statuses,
		"first": ids[0].String(), "last": ids[len(ids)-1].String(),
	}
	if f.Client != 0 {
		details["clientRow"] = f.Client
	}
	if f.Endpoint.IsZero() {
		return act{"callback.replay_since", "", details}
	}
	return act{"callback.replay_since", f.Endpoint.String(), details}
}

// An id begins with the time at which it was made, so that bounds of one are bounds of the other.
const isInRange = `
c.id > coalesce(@after, '00000000-0000-0000-0000-000000000000'::uuid) AND c.id >= @since AND c.id < @until
  AND (@client::bigint = 0 OR c.client_id = @client) AND (@endpoint::uuid IS NULL OR c.endpoint_id = @endpoint)`

const rangeOfCallbacksSQL = `
SELECT c.id
FROM callbacks c
WHERE ` + isInRange + `
ORDER BY c.id
LIMIT @limit`

const rangeOfClientSQL = `
SELECT c.id
FROM callbacks c
WHERE c.client_id = @client AND ` + isInRange + `
ORDER BY c.id
LIMIT @limit`

const rangeOfEndpointSQL = `
SELECT c.id
FROM callbacks c
WHERE c.endpoint_id = @endpoint AND ` + isInRange + `
ORDER BY c.id
LIMIT @limit`

// statement is the one that reads least.
func (f ReplayFilter) statement() string {
	switch {
	case !f.Endpoint.IsZero():
		return rangeOfEndpointSQL
	case f.Client != 0:
		return rangeOfClientSQL
	}
	return rangeOfCallbacksSQL
}

func (f ReplayFilter) chooses(found []replayable) (ids []OperationID) {
	for _, c := range found {
		if c.refuses() == nil && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, c.status)) {
			ids = append(ids, c.id)
		}
	}
	return ids
}

// What is delivered, or ended, is replayed as well: everybody else leaves such an operation alone.
const lockForReplaySQL = `
SELECT o.id, o.status, c.client_id, p.state,
       c.invoice_id IS NOT NULL AND EXISTS (SELECT FROM callback_urls_gone g WHERE g.invoice_id = c.invoice_id OFFSET 0)
FROM operations o
CROSS JOIN LATERAL (SELECT c.client_id, c.endpoint_id, c.invoice_id FROM callbacks c WHERE c.id = o.id OFFSET 0) c
CROSS JOIN LATERAL (SELECT p.state FROM callback_endpoints p WHERE p.id = c.endpoint_id OFFSET 0) p
WHERE o.id = ANY(@ids)
ORDER BY o.id
FOR NO KEY UPDATE OF o`

// replayable is a callback that somebody wants to be replayed.
type replayable struct {
	id     OperationID
	status Status
	client int64
	state  EndpointState
	gone   bool
}

func lockForReplay(ctx context.Context, tx pgx.Tx, ids []OperationID) ([]replayable, error) {
	rows, _ := tx.Query(ctx, lockForReplaySQL, pgx.NamedArgs{"ids": ids})
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c replayable, err error) {
		err = row.Scan(&c.id, &c.status, &c.client, &c.state, &c.gone)
		return c, err
	})
	return found, wrap("lock callbacks", err)
}

// refuses says why it cannot be replayed; nil where it can.
func (c replayable) refuses() error {
	switch {
	case c.state == EndpointDeleted || c.gone:
		return ErrCallbackUnwanted
	case c.state == EndpointDisabled:
		return ErrCallbackHeld
	}
	return nil
}

// What is held by mistake, since its endpoint was enabled a moment ago, is so no more.
const replayCallbacksSQL = `
WITH again AS (
	UPDATE operations o
	SET status = CASE o.attempts WHEN 0 THEN 'accepted' ELSE 'running' END, seq = o.seq + 1, due_at = now() + @wait::interval, waits = @in_row,
	    error_code = NULL, error_message = NULL, finished_at = NULL
	WHERE o.id = ANY(@ids)
	RETURNING o.id, o.seq, o.type
), marked AS (
	UPDATE callbacks c
	SET replaying = true, parks = 0, held = false
	FROM again
	WHERE c.id = again.id
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, seq, type
FROM again
WHERE NOT @in_row`

// replay has callbacks sent once more, whose operations are locked.
func (s *Store) replay(ctx context.Context, tx pgx.Tx, ids []OperationID, wait Delay) error {
	_, err := tx.Exec(ctx, replayCallbacksSQL, pgx.NamedArgs{
		"ids": ids, "wait": wait.until(s.grace), "in_row": wait.inRow(), "queue": retryQueueOf(CallbackSend),
	})
	if err != nil {
		return err
	}
	return s.resolveLettersOf(ctx, tx, ids, Replayed, "Its callback is sent once more.")
}
