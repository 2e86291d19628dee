package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// OutboxRow is a message that must still be published.
type OutboxRow struct {
	Queue     string
	Delay     string // a rung of the retry ladder, or "" for now
	MessageID OperationID
	Seq       int64
	Type      string
	Trace     string // the span that its operation follows from, as a W3C traceparent; read where traces are kept
}

// The oldest that may go, past those that another relay holds.
const claimOutboxSQL = `
SELECT o.ctid, o.queue, o.delay, o.message_id, o.seq, o.type, ''` + oldestOutbox

// One look into the index more for each.
const claimTracedOutboxSQL = `
SELECT o.ctid, o.queue, o.delay, o.message_id, o.seq, o.type,
       coalesce((SELECT p.trace_parent FROM operations p WHERE p.id = o.message_id), '')` + oldestOutbox

const oldestOutbox = `
FROM outbox o
WHERE o.publish_at <= now()
ORDER BY o.publish_at, o.id
LIMIT @limit
FOR UPDATE SKIP LOCKED`

// The rows are locked, so their physical address stands.
const deleteOutboxSQL = `
DELETE FROM outbox
WHERE ctid = ANY(@rows)`

// A row that was not taken waits 1 s, doubling to 5 minutes.
const postponeOutboxSQL = `
UPDATE outbox o
SET publish_at = now() + least(interval '1 second' * 2 ^ least(o.postponed, 9), interval '5 minutes'),
    postponed = o.postponed + 1, error = d.error
FROM unnest(@rows::tid[], @errors::text[]) AS d (ctid, error)
WHERE o.ctid = d.ctid`

// Relayed counts what became of a batch of outbox rows.
type Relayed struct{ Published, Postponed int }

// RelayOutbox claims at most limit rows, hands them to publish, deletes those for which
// it returned nil and postpones the others, each by itself, so that one bad row never
// holds up the rest. publish gets 5 s.
//
// Published before deleted: a lost delete costs a duplicate, which is stale when it comes;
// a lost publish would cost a payment. This is the one transaction that is open while
// something other than SQL happens: the row locks are what keeps two relays apart.
func (s *Store) RelayOutbox(ctx context.Context, limit int, publish func(context.Context, []OutboxRow) []error) (Relayed, error) {
	var done Relayed
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		rows, addresses, err := s.claimOutbox(ctx, tx, limit)
		if err != nil || len(rows) == 0 {
			return err
		}
		results := publishFor5s(ctx, rows, publish)

		var published, postponed []pgtype.TID
		var reasons []string
		for i, err := range results {
			if err == nil {
				published = append(published, addresses[i])
				continue
			}
			postponed = append(postponed, addresses[i])
			reasons = append(reasons, err.Error())
		}
		done = Relayed{Published: len(published), Postponed: len(postponed)}
		batch := &pgx.Batch{}
		batch.Queue(deleteOutboxSQL, pgx.NamedArgs{"rows": published})
		if len(postponed) > 0 {
			batch.Queue(postponeOutboxSQL, pgx.NamedArgs{"rows": postponed, "errors": reasons})
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	return done, unavailable(wrap("relay outbox", err))
}

func (s *Store) claimOutbox(ctx context.Context, tx pgx.Tx, limit int) (claimed []OutboxRow, addresses []pgtype.TID, err error) {
	sql := claimOutboxSQL
	if s.traced {
		sql = claimTracedOutboxSQL
	}
	rows, _ := tx.Query(ctx, sql, pgx.NamedArgs{"limit": limit})
	var address pgtype.TID
	var r OutboxRow
	_, err = pgx.ForEachRow(rows, []any{&address, &r.Queue, &r.Delay, &r.MessageID, &r.Seq, &r.Type, &r.Trace}, func() error {
		claimed = append(claimed, r)
		addresses = append(addresses, address)
		return nil
	})
	return claimed, addresses, wrap("claim", err)
}

func publishFor5s(ctx context.Context, rows []OutboxRow, publish func(context.Context, []OutboxRow) []error) []error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return publish(ctx, rows)
}

// OutboxState is what the gauges of the outbox show.
type OutboxState struct {
	Rows   int
	Oldest time.Duration // how long the oldest row has been waiting; 0 where there is none
}

const outboxStateSQL = `
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)::float8
FROM outbox o`

// Outbox returns how much waits to be published.
func (s *Store) Outbox(ctx context.Context) (OutboxState, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	var state OutboxState
	var seconds float64
	err := s.pool.QueryRow(ctx, outboxStateSQL).Scan(&state.Rows, &seconds)
	state.Oldest = time.Duration(seconds * float64(time.Second))
	return state, unavailable(wrap("read outbox", err))
}
