package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// FinishCallback stores an attempt and what follows from it, together with others that end at
// the same time: the end of the operation, its retry, the endpoint's health. Every attempt that
// was made is kept; one whose message is stale by now changes nothing else, but for a success,
// which counts whoever brings it.
//
// Where the attempts are used up the Outcome's Retry says so: the caller rejects the message,
// and its dead letter ends the operation. After a crash before the commit the event is sent
// again, under the same id.
func (s *Store) FinishCallback(ctx context.Context, r CallbackResult) (Outcome, error) {
	f := &sent{CallbackResult: r}
	if err := s.callbackResults.do(ctx, f); err != nil {
		return Outcome{}, fmt.Errorf("finish callback %s: %w", r.ID, err)
	}
	return f.outcome, nil
}

// sent is an attempt on its way into the database.
type sent struct {
	CallbackResult
	outcome Outcome
}

// finishCallbacks stores attempts that ended together, but for a callback's second one: what it
// finds is what the first one leaves. It is two round trips, whatever their number: lock and
// read, then write.
func (s *Store) finishCallbacks(ctx context.Context, all []*sent) (later []int, err error) {
	now, later := splitTwins(all, func(f *sent) (OperationID, Once) { return f.ID, Once{} })
	w := &callbackWrites{}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		b, err := lockForResults(ctx, tx, now)
		if err != nil {
			return err
		}
		*w = *b.decide(now) // no SQL, no clock
		return s.writeCallbacks(ctx, tx, w)
		// The commit point. Before it something was sent that nobody wrote down: the message
		// comes again, and the same is sent again, under the same id. After it the same result
		// is stale, and its attempt is there already.
	})
	if err == nil && w.enqueues() {
		s.outboxFilled()
	}
	return later, err
}

// callbackBatch is what a set of attempts is decided on.
type callbackBatch struct {
	now       time.Time // of the database
	deciding  time.Time
	callbacks map[OperationID]*lockedCallback
	endpoints map[EndpointID]*lockedEndpoint
}

func newCallbackBatch() *callbackBatch {
	return &callbackBatch{callbacks: make(map[OperationID]*lockedCallback), endpoints: make(map[EndpointID]*lockedEndpoint)}
}

// What only callbacks have changes together with seq alone: where that is what the message
// says, it was read as it is, although it was read before the lock was had.
const lockCallbacksSQL = `
SELECT o.id, o.seq, o.status, o.attempts, o.created_at, c.held, c.replaying, c.parks, c.invoice_id, now()
FROM operations o
CROSS JOIN LATERAL (SELECT c.held, c.replaying, c.parks, c.invoice_id FROM callbacks c WHERE c.id = o.id OFFSET 0) c
WHERE o.id = ANY(@ids)
ORDER BY o.id
FOR NO KEY UPDATE OF o`

// The endpoints whose health may change: a success changes nothing where there was no failure.
const lockEndpointsSQL = `
SELECT p.id, coalesce(p.url, ''), p.state, p.failing_since, p.failures, deciding_time()
FROM callback_endpoints p
WHERE p.id = ANY(@ids) AND (p.failures > 0 OR p.id = ANY(@failed))
ORDER BY p.id
FOR NO KEY UPDATE`

func lockForResults(ctx context.Context, tx pgx.Tx, results []*sent) (*callbackBatch, error) {
	ids := make([]OperationID, len(results))
	endpoints, failed := make(map[EndpointID]bool), make(map[EndpointID]bool)
	for i, r := range results {
		r.outcome = Outcome{} // of a set that was rolled back
		ids[i] = r.ID
		endpoints[r.Endpoint] = true
		if r.Outcome != Delivered {
			failed[r.Endpoint] = true
		}
	}
	b := newCallbackBatch()
	batch := &pgx.Batch{}
	batch.Queue(lockCallbacksSQL, pgx.NamedArgs{"ids": ids}).Query(b.readCallbacks)
	batch.Queue(lockEndpointsSQL, pgx.NamedArgs{"ids": idsIn(endpoints), "failed": idsIn(failed)}).Query(b.readEndpoints)
	return b, wrap("lock callbacks", tx.SendBatch(ctx, batch).Close())
}

func idsIn(set map[EndpointID]bool) []EndpointID { return slices.Collect(maps.Keys(set)) }

func (b *callbackBatch) readCallbacks(rows pgx.Rows) error {
	var c lockedCallback
	_, err := pgx.ForEachRow(rows, []any{
		&c.id, &c.seq, &c.status, &c.attempts, &c.accepted, &c.held, &c.replaying, &c.parks, &c.invoice, &b.now,
	}, func() error {
		found := c
		b.callbacks[c.id] = &found
		return nil
	})
	return err
}

func (b *callbackBatch) readEndpoints(rows pgx.Rows) error {
	var p lockedEndpoint
	_, err := pgx.ForEachRow(rows, []any{&p.id, &p.url, &p.state, &p.failingSince, &p.failures, &b.deciding}, func() error {
		found := p
		b.endpoints[p.id] = &found
		return nil
	})
	return err
}
