package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// Whether what was sent could be written down or not: the event is sent at least once, and each
// attempt is kept once.
func TestStoreTheAttemptAndAcknowledge(t *testing.T) {
	for _, story := range []struct {
		name    string
		outcome store.CallbackOutcome
		next    *store.Delay
	}{
		{"delivered", store.Delivered, nil},
		{"tried again", store.CallbackTimeout, &store.Delay{Name: "5s", Wait: 5 * time.Second}},
		{"tried again in an hour", store.CallbackTimeout, &store.Delay{Wait: time.Hour}},
		{"used up", store.CallbackRefused, nil},
		{"forbidden", store.CallbackForbidden, nil},
		{"gone", store.CallbackGone, nil},
	} {
		t.Run(story.name, func(t *testing.T) {
			eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
				ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
				r := storetest.Attempt(db.Sending(ref), story.outcome)
				r.Next = story.next

				db.faults.CutNextCommit(cut)
				if _, err := db.cutting.FinishCallback(t.Context(), r); store.FaultOf(err) != store.FaultOutage {
					t.Fatalf("finish: %v, want an outage: nothing may be acknowledged", err)
				}
				db.CheckInvariants()
				if n := db.Count("SELECT count(*) FROM callback_attempts"); n != btoi(done) {
					t.Errorf("%d attempts are kept, want %d", n, btoi(done))
				}

				// Whoever sent it stores it again, and it is as if nothing had happened.
				usedUp := story.name == "used up" // which changes nothing that would make the message stale
				o, err := db.FinishCallback(t.Context(), r)
				if err != nil || o.Stale() != (done && !usedUp) {
					t.Errorf("again: %+v, %v; want stale: %v", o, err, done && !usedUp)
				}
				if n := db.Count("SELECT count(*) FROM callback_attempts"); n != 1 {
					t.Errorf("%d attempts are kept, want 1", n)
				}
				if n := db.Count("SELECT attempts FROM operations"); n != 1 {
					t.Errorf("%d attempts are counted, want 1", n)
				}
				if n := db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry'"); n != btoi(story.next != nil && story.next.Name != "") {
					t.Errorf("%d retries are enqueued", n)
				}
				db.CheckInvariants()
			})
		})
	}
}

// The process dies, and takes with it what it knew of the attempt: the message comes again.
func TestSendAndDieBeforeItIsStored(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
		first := db.Sending(ref)
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishCallback(t.Context(), storetest.Attempt(first, store.Delivered)); err == nil {
			t.Fatal("finish: no error")
		}
		again := db.Elsewhere()
		if done {
			if o := again.NotSending(ref); !o.Stale() {
				t.Errorf("again: %+v, want stale", o)
			}
		} else {
			second := again.Sending(ref)
			if second.Event != first.Event || string(second.Body) != string(first.Body) {
				t.Errorf("the second time %s is sent, want the same event %s", second.Event, first.Event)
			}
			again.Attempted(second, store.Delivered)
		}
		if o := operation(t, db.DB, ref); o.Status != store.Succeeded || o.Attempts != 1 {
			t.Errorf("it is %s after %d attempts, want succeeded after 1", o.Status, o.Attempts)
		}
		db.CheckInvariants()
	})
}

// Each of the commands about a callback, cut, and given again.
func TestWhatIsDoneToACallbackIsDoneOnce(t *testing.T) {
	const disable = "UPDATE callback_endpoints SET state = 'disabled', state_reason = 'client'"
	exec := func(sql string) func(*faulty, store.Ref) { return func(db *faulty, _ store.Ref) { db.Exec(sql) } }
	start := func(t *testing.T, s *store.Store, ref store.Ref) error {
		_, _, _, err := s.StartCallback(t.Context(), ref, storetest.CallTime)
		return err
	}
	for _, story := range []struct {
		name   string
		before func(db *faulty, ref store.Ref)
		do     func(t *testing.T, s *store.Store, ref store.Ref) error
		seq    int64  // in the end
		outbox string // the rung on which a message waits; none: none does
	}{
		{"park", nil, func(t *testing.T, s *store.Store, ref store.Ref) error {
			return s.ParkCallback(t.Context(), ref, time.Second, false)
		}, 2, "1s"},
		{"take the time for an attempt", exec("UPDATE operations SET due_at = now()"), start, 1, "none"},
		{"hold", exec(disable), start, 2, "none"},
		{"end", exec("UPDATE callback_endpoints SET state = 'deleted'"), start, 1, "none"},
		{"release", func(db *faulty, ref store.Ref) {
			db.Exec(disable)
			db.NotSending(ref)
			db.Exec("UPDATE callback_endpoints SET state = 'enabled', state_reason = ''")
		}, func(t *testing.T, s *store.Store, _ store.Ref) error {
			_, err := s.ReleaseCallbacks(t.Context(), 10)
			return err
		}, 3, ""},
		{"replay", nil, func(t *testing.T, s *store.Store, ref store.Ref) error {
			_, err := s.ReplayCallback(t.Context(), store.CallbackReplay{ID: ref.ID, Once: store.Once{Scope: "s", Key: "k", Request: "r"}})
			if errors.As(err, new(*store.Replay)) {
				return nil
			}
			return err
		}, 2, ""},
		{"replay all", nil, func(t *testing.T, s *store.Store, _ store.Ref) error {
			_, _, err := s.ReplayCallbacks(t.Context(), store.ReplayFilter{Statuses: []store.Status{store.Accepted}}, 10, store.OperationID{})
			return err
		}, 0, "none"},
	} {
		t.Run(story.name, func(t *testing.T) {
			eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
				ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
				if story.before != nil {
					story.before(db, ref)
				}
				db.Exec("DELETE FROM outbox")
				db.faults.CutNextCommit(cut)
				if err := story.do(t, db.cutting, ref); !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("%v, want unavailable", err)
				}
				db.CheckInvariants()
				if err := story.do(t, db.Store, ref); err != nil {
					t.Fatal(err)
				}
				want := story.seq
				if want == 0 { // a replay of many has no key: those that wait for theirs are replayed again, and sent once
					want = 2 + int64(btoi(done))
				}
				if got := db.Ref(ref.ID).Seq; got != want {
					t.Errorf("seq is %d, want %d", got, want)
				}
				if n := db.Count("SELECT count(*) FROM outbox WHERE delay = $1 AND seq = $2", story.outbox, want); n != btoi(story.outbox != "none") {
					t.Errorf("%d messages are enqueued", n)
				}
				if n := db.Count("SELECT count(*) FROM outbox"); n != btoi(story.outbox != "none") {
					t.Errorf("%d messages are enqueued in all", n)
				}
				db.CheckInvariants()
			})
		})
	}
}
