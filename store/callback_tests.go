package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// EndpointTest asks for a callback.test.
type EndpointTest struct {
	ID     EndpointID
	Client int64                // whose the endpoint must be; 0: an operator wants it
	Answer func(EventID) Answer // pure; nil where there is no Once
	Once   Once                 // its Answer is filled in here
}

const readCallbackOfEventSQL = `
SELECT c.id
FROM callbacks c
WHERE c.event_id = @event`

// TestEndpoint has a callback.test sent to a registered endpoint, whatever event types it chose;
// the Answer's operation is the callback. Its errors are ErrEndpointNotFound, ErrNotRegistered,
// *Replay and ErrKeyReused.
func (s *Store) TestEndpoint(ctx context.Context, t EndpointTest) (Answer, error) {
	var enqueued bool
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		e, verdict := readForChange(ctx, tx, EndpointCommand{ID: t.ID, Client: t.Client})
		switch {
		case verdict != nil && !errors.Is(verdict, ErrEndpointNotFound):
			return verdict
		case verdict == nil && e.Policy != PolicyStandard:
			verdict = ErrNotRegistered
		case verdict == nil:
			var err error
			if t.Once.Answer, err = s.writeTest(ctx, tx, t, &enqueued); err != nil {
				return err
			}
		}
		// The key comes last, since its answer names the callback. Nobody waits for what was made
		// here meanwhile; where the key was used before, nothing of it stays.
		err := s.claimDecided(ctx, tx, 1, func(int) (Once, *error) { return t.Once, &verdict })
		if err == nil {
			err = verdict
		}
		if err != nil {
			return err
		}
		return s.keepActs(ctx, tx, act{"endpoint.test", t.ID.String(), map[string]any{"callback": t.Once.Answer.Operation.String()}})
	})
	if err != nil {
		return Answer{}, unavailable(wrap("test callback endpoint "+t.ID.String(), err))
	}
	if enqueued {
		s.outboxFilled()
	}
	return t.Once.Answer, nil
}

func (s *Store) writeTest(ctx context.Context, tx pgx.Tx, t EndpointTest, enqueued *bool) (answer Answer, err error) {
	tests, err := testsOf(ctx, tx, []EndpointID{t.ID})
	if err != nil {
		return Answer{}, err
	}
	batch := &pgx.Batch{}
	events, err := s.writeEvents(batch, tests, enqueued)
	if err != nil {
		return Answer{}, err
	}
	if t.Answer != nil {
		answer = t.Answer(events[0])
	}
	batch.Queue(readCallbackOfEventSQL, pgx.NamedArgs{"event": events[0]}).QueryRow(func(row pgx.Row) error {
		return row.Scan(&answer.Operation)
	})
	err = tx.SendBatch(ctx, batch).Close() // fills in the answer's operation
	return answer, err
}

// IS TRUE keeps the planner from reading all that are registered while it takes them for few.
const readNamedEndpointsSQL = `
SELECT e.id, e.client_id, now()
FROM callback_endpoints e
WHERE e.id = ANY(@endpoints) AND (e.policy = 'standard' AND e.state <> 'deleted') IS TRUE`

// TestCallbacks has a callback.test sent to each of the endpoints, as often as it is named,
// whatever event types they chose. It returns the ids of the events. Where one of them is not
// registered, or deleted, nothing is sent to any: that is ErrEndpointNotFound.
func (s *Store) TestCallbacks(ctx context.Context, endpoints []EndpointID) (ids []EventID, err error) {
	var enqueued bool
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		tests, err := testsOf(ctx, tx, endpoints)
		if err != nil {
			return err
		}
		batch := &pgx.Batch{}
		if ids, err = s.writeEvents(batch, tests, &enqueued); err != nil {
			return err
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return nil, unavailable(wrap("test callbacks", err))
	}
	if enqueued {
		s.outboxFilled()
	}
	return ids, nil
}

// testsOf are the events of tests, in the order in which their endpoints are named.
func testsOf(ctx context.Context, tx pgx.Tx, endpoints []EndpointID) ([]event, error) {
	rows, _ := tx.Query(ctx, readNamedEndpointsSQL, pgx.NamedArgs{"endpoints": endpoints})
	clients := make(map[EndpointID]int64)
	var id EndpointID
	var client int64
	var now time.Time
	_, err := pgx.ForEachRow(rows, []any{&id, &client, &now}, func() error {
		clients[id] = client
		return nil
	})
	if err != nil {
		return nil, err
	}
	tests := make([]event, len(endpoints))
	for i, id := range endpoints {
		client, found := clients[id]
		if !found {
			return nil, ErrEndpointNotFound
		}
		tests[i] = event{kind: EventCallbackTest, client: client, resource: id, at: now, endpoint: id, data: aTest, trace: parentIn(ctx)}
	}
	return tests, nil
}

// testMessage is what a callback.test says.
type testMessage struct {
	Message string `json:"message"`
}

var aTest = testMessage{"This is a test. Nothing has happened."}
