package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestOneBadRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	bad := db.Accepted(payer, shop, 1)
	for range 4 {
		db.Accepted(payer, shop, 1)
	}
	unroutable := errors.New("no queue takes it")
	publish := func(_ context.Context, rows []store.OutboxRow) []error {
		results := make([]error, len(rows))
		for i, r := range rows {
			if r.MessageID == bad.ID {
				results[i] = unroutable
			}
		}
		return results
	}

	done, err := db.RelayOutbox(t.Context(), 500, publish)
	if err != nil {
		t.Fatal(err)
	}
	if want := (store.Relayed{Published: 4, Postponed: 1}); done != want {
		t.Errorf("%+v, want %+v", done, want)
	}
	if done, err = db.RelayOutbox(t.Context(), 500, publish); err != nil || done != (store.Relayed{}) {
		t.Errorf("at once again: %+v, %v; the postponed row must wait", done, err)
	}
	if n := db.Count("SELECT count(*) FROM outbox WHERE message_id = $1 AND postponed = 1 AND error = 'no queue takes it'", bad.ID); n != 1 {
		t.Error("the row does not say why it is postponed")
	}
	db.Exec("UPDATE outbox SET publish_at = now()")
	if done, err = db.RelayOutbox(t.Context(), 500, func(_ context.Context, rows []store.OutboxRow) []error { return make([]error, len(rows)) }); err != nil || done.Published != 1 {
		t.Errorf("once it is due and routable: %+v, %v", done, err)
	}
}

func TestTwoRelaysTakeDifferentRows(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	for range 10 {
		db.Accepted(payer, shop, 1)
	}
	var inner store.Relayed
	outer, err := db.RelayOutbox(t.Context(), 6, func(ctx context.Context, rows []store.OutboxRow) []error {
		var err error
		inner, err = db.RelayOutbox(ctx, 6, func(_ context.Context, rows []store.OutboxRow) []error { return make([]error, len(rows)) })
		if err != nil {
			t.Error(err)
		}
		return make([]error, len(rows))
	})
	if err != nil {
		t.Fatal(err)
	}
	if outer.Published != 6 || inner.Published != 4 {
		t.Errorf("one relay published %d, the other %d; want 6 and 4", outer.Published, inner.Published)
	}
}

func TestTheGaugesSeeWhatWaits(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if age, err := db.OldestUntried(t.Context()); err != nil || age != 0 {
		t.Errorf("nothing waits: %s, %v", age, err)
	}
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 1)
	db.Exec(`INSERT INTO operations (id, type, resource, due_at) SELECT gen_random_uuid(), 'invoice.pay', gen_random_uuid(), now() FROM generate_series(1, 100)`)
	db.Exec("UPDATE operations SET created_at = now() - interval '1 minute', due_at = now() - interval '59 seconds'")
	db.Exec("UPDATE outbox SET created_at = now() - interval '1 minute'")

	if age, err := db.OldestUntried(t.Context()); err != nil || age.Round(1e9).Seconds() < 60 {
		t.Errorf("the oldest untried is %s old, %v; want a minute", age, err)
	}
	db.Exec("DELETE FROM operations WHERE id <> $1", ref.ID)
	if age, err := db.OldestUntried(t.Context()); err != nil || age != 0 {
		t.Errorf("one straggler is a backlog of %s, %v", age, err)
	}
	state, err := db.Outbox(t.Context())
	if err != nil || state.Rows != 1 || state.Oldest.Seconds() < 59 {
		t.Errorf("the outbox is %+v, %v; want one row, a minute old", state, err)
	}
	db.Settle(ref)
	if age, err := db.OldestUntried(t.Context()); err != nil || age != 0 {
		t.Errorf("all is settled: %s, %v", age, err)
	}
}

// An operator who replays what died yesterday must not have the API refuse what comes today.
func TestWhatIsReplayedWaitsSinceItsReplay(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(`
		WITH dead AS (
			INSERT INTO operations (id, type, resource, status, error_code, due_at, created_at)
			SELECT gen_random_uuid(), 'recharge.commit', gen_random_uuid(), 'dead', 'dead', now(), now() - interval '1 day'
			FROM generate_series(1, 101)
			RETURNING id
		)
		INSERT INTO dead_letters (queue, message_id, seq, type, reason, error, attempts, headers, body, trace_id)
		SELECT 'recharges', d.id, 1, 'recharge.commit', 'rejected', '', '[]', '{}', '', ''
		FROM dead d`)
	letters, err := db.UnresolvedLetters(t.Context(), store.DeadFilter{Page: store.Page[int64]{Limit: 1000}})
	if err != nil || len(letters) != 101 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	if _, err := db.ReplayDeadLetters(t.Context(), letters, store.ForReal); err != nil {
		t.Fatal(err)
	}
	if age, err := db.OldestUntried(t.Context()); err != nil || age > time.Minute {
		t.Errorf("the oldest untried is %s old, %v; want it to begin anew", age, err)
	}
}
