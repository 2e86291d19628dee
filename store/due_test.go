package store_test

import (
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// lose takes the outbox away and makes the operations late: their messages are lost.
func lose(db *storetest.DB) {
	db.Exec("DELETE FROM outbox")
	db.Exec("UPDATE operations SET due_at = now() - interval '1 second' WHERE finished_at IS NULL")
}

func TestWhatIsDueIsEnqueuedAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	lost := db.Accepted(payer, shop, 300)
	lose(db)

	if n := enqueueDue(t, db, 0); n != 1 {
		t.Fatalf("%d operations are enqueued again, want 1", n)
	}
	if n := enqueueDue(t, db, 0); n != 0 {
		t.Errorf("%d are enqueued at once again: the due time did not move", n)
	}
	if o := db.Settle(lost); !o.Stale() {
		t.Errorf("the copy that was thought lost: %+v, want stale", o)
	}
	if o := db.Settle(store.Ref{ID: lost.ID, Seq: 2}); o.Status != store.Succeeded {
		t.Errorf("the new one: %+v, want succeeded", o)
	}
	lose(db)
	if n := enqueueDue(t, db, 0); n != 0 {
		t.Errorf("%d final operations are enqueued", n)
	}
	db.CheckInvariants()
}

func enqueueDue(t *testing.T, db *storetest.DB, depth int) int {
	t.Helper()
	n, err := db.EnqueueDue(t.Context(), "payments", depth, 500)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestABacklogExplainsAsManyAsItHolds(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name          string
		depth, outbox int
		want          int // of three late operations
	}{
		{"the queue is empty", 0, 0, 3},
		{"the queue holds fewer", 2, 0, 3},
		{"the queue holds as many", 3, 0, 0},
		{"they wait in the outbox", 0, 3, 0},
		{"queue and outbox together hold as many", 2, 1, 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			payer, shop := db.Account(1000), db.Account(0)
			for range 3 {
				db.Accepted(payer, shop, 1)
			}
			lose(db)
			db.Exec("INSERT INTO outbox (queue, message_id, seq, type) SELECT 'payments', id, 1, type FROM operations LIMIT $1", story.outbox)
			if n := enqueueDue(t, db, story.depth); n != story.want {
				t.Errorf("%d are enqueued again, want %d", n, story.want)
			}
		})
	}
}

// Where traffic flows something always waits: it must not explain for ever what is lost.
func TestWhatIsMuchTooLateIsEnqueuedBesideABacklog(t *testing.T) {
	t.Parallel()
	db := storetest.New(t) // its grace is 1 s
	payer, shop := db.Account(1000), db.Account(0)
	for range 20 {
		db.Accepted(payer, shop, 1)
	}
	lose(db)
	if n := enqueueDue(t, db, 1000); n != 0 {
		t.Errorf("a backlog of 1,000 explains 20 that are a second late, but %d are enqueued", n)
	}
	db.Exec("UPDATE operations SET due_at = now() - interval '3 seconds'")
	if n := enqueueDue(t, db, 1000); n != 10 {
		t.Errorf("%d of those that are much too late are enqueued, want 10 at a time", n)
	}
	db.Exec("DELETE FROM outbox")
	db.Exec("UPDATE operations SET due_at = now() - interval '3 seconds', seq = 2")
	if n := enqueueDue(t, db, 1000); n != 0 {
		t.Errorf("%d are enqueued again as soon as the first time", n)
	}
	db.Exec("INSERT INTO outbox (queue, message_id, seq, type, postponed) SELECT 'payments', id, 2, type, 1 FROM operations")
	if n := enqueueDue(t, db, 0); n != 20 {
		t.Errorf("%d are enqueued beside rows that nobody can publish, want all 20", n)
	}
}

func TestEnqueuingAgainIsBounded(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	for range 5 {
		db.Accepted(payer, shop, 1)
	}
	lose(db)
	n, err := db.EnqueueDue(t.Context(), "payments", 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if n != 2 {
		t.Errorf("%d are enqueued in one go, want 2", n)
	}
}

func TestRetriesClimbTheLadderAndEnd(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	db.Exec("DELETE FROM outbox")
	ladder := []store.Delay{{Name: "1s", Wait: time.Second}, {Name: "5s", Wait: 5 * time.Second}}

	for attempt, want := range []store.Retry{
		{Verdict: store.RetryStored, Delay: "1s"},
		{Verdict: store.RetryStored, Delay: "5s"},
		{Verdict: store.RetryUsedUp},
		{Verdict: store.RetryUsedUp}, // the process died before it could reject the message
	} {
		got, err := db.RetryOperation(t.Context(), store.Failure{Ref: ref, Cause: "fault\x00 number one", Ladder: ladder})
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("attempt %d: %+v, want %+v", attempt+1, got, want)
		}
		if n := db.Count("SELECT attempts FROM operations WHERE id = $1", ref.ID); n != min(attempt+1, 3) {
			t.Errorf("attempt %d: %d are counted", attempt+1, n)
		}
		if want.Verdict == store.RetryStored {
			if n := db.Count("SELECT count(*) FROM outbox WHERE delay = $1 AND seq = $2", want.Delay, ref.Seq+1); n != 1 {
				t.Errorf("attempt %d: %d retries are enqueued, want 1", attempt+1, n)
			}
			if n := db.Count("SELECT count(*) FROM operations WHERE due_at > now() + $1::interval", ladder[attempt].Wait); n != 1 {
				t.Errorf("attempt %d: it is due before its message can come", attempt+1)
			}
			ref.Seq++
		}
	}

	letter := store.DeadLetter{Queue: "payments", MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "rejected", Error: "unknown"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	kept, err := db.DeadLetters(t.Context(), store.DeadFilter{Page: store.Page[int64]{Limit: 10}})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || len(kept[0].Attempts) != 3 || kept[0].Error != "fault number one" {
		t.Errorf("the dead letter is %+v, want its 3 attempts and the last error", kept)
	}
	operation, err := db.Operation(t.Context(), ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	if operation.Status != store.Dead || operation.Attempts != 3 {
		t.Errorf("the operation is %s after %d attempts, want dead after 3", operation.Status, operation.Attempts)
	}
	db.CheckInvariants()
}

// A retry whose message is never published, or lost on its rung, is found by its due time.
func TestARetryThatIsNeverPublishedIsFound(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	_, err := db.RetryOperation(t.Context(), store.Failure{Ref: ref, Cause: "fault", Ladder: []store.Delay{{Name: "1s", Wait: time.Second}}})
	if err != nil {
		t.Fatal(err)
	}
	lose(db)
	if n := enqueueDue(t, db, 0); n != 1 {
		t.Fatalf("%d are enqueued again, want 1", n)
	}
	if o := db.Settle(store.Ref{ID: ref.ID, Seq: 3}); o.Status != store.Succeeded {
		t.Errorf("the third message: %+v, want succeeded", o)
	}
	db.CheckInvariants()
}

func TestAStaleDeadLetterEndsNothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	lose(db)
	enqueueDue(t, db, 0)

	letter := store.DeadLetter{Queue: "payments", MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "delivery_limit"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	if o := db.Settle(store.Ref{ID: ref.ID, Seq: 2}); o.Status != store.Succeeded {
		t.Errorf("the message of now: %+v, want succeeded", o)
	}
	db.CheckInvariants()
}
