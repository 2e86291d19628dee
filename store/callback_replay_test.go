package store_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// kill makes a callback dead, as its last message's dead letter does.
func kill(t *testing.T, db *storetest.DB, ref store.Ref) {
	t.Helper()
	letter := store.DeadLetter{Queue: "callbacks.retry", MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "rejected"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
}

func replay(t *testing.T, db *storetest.DB, ref store.Ref) store.Ref {
	t.Helper()
	if _, err := db.ReplayCallback(t.Context(), store.CallbackReplay{ID: ref.ID}); err != nil {
		t.Fatal(err)
	}
	return db.Ref(ref.ID)
}

func TestAReplayIsOneMoreAttemptThatIsNotCounted(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name     string
		before   func(t *testing.T, h *hooked, ref store.Ref)
		attempts int // that were counted, before and after
	}{
		{"it was never tried", func(*testing.T, *hooked, store.Ref) {}, 0},
		{"it was delivered", func(_ *testing.T, h *hooked, ref store.Ref) { h.Attempted(h.Sending(ref), store.Delivered) }, 1},
		{"a retry is pending", func(_ *testing.T, h *hooked, ref store.Ref) { h.Attempted(h.Sending(ref), store.CallbackTimeout) }, 1},
		{"it is parked", func(t *testing.T, h *hooked, ref store.Ref) {
			if err := h.ParkCallback(t.Context(), ref, time.Second, false); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"it was forbidden", func(_ *testing.T, h *hooked, ref store.Ref) { h.Attempted(h.Sending(ref), store.CallbackForbidden) }, 1},
		{"it is dead", func(t *testing.T, h *hooked, ref store.Ref) {
			r := storetest.Attempt(h.Sending(ref), store.CallbackTimeout)
			r.Next = nil
			h.AttemptedWith(r)
			kill(t, h.DB, ref)
		}, 1},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			h := newHooked(t)
			first := h.Callback(h.endpoint)
			story.before(t, h, first)
			pending := h.Ref(first.ID)

			again := replay(t, h.DB, first)
			if o := h.NotSending(pending); !o.Stale() {
				t.Errorf("the message of before: %+v, want stale", o)
			}
			c := h.Sending(again)
			if !c.Replaying || c.Attempts != story.attempts || c.Parks != 0 {
				t.Errorf("replaying %v after %d attempts and %d parks, want one after %d and 0", c.Replaying, c.Attempts, c.Parks, story.attempts)
			}
			h.Attempted(c, store.CallbackRefused) // it goes on where it stood
			c = h.Sending(h.Ref(first.ID))
			if c.Replaying || c.Attempts != story.attempts {
				t.Errorf("after that replaying %v, %d attempts; want an automatic one after %d", c.Replaying, c.Attempts, story.attempts)
			}
			h.Attempted(c, store.Delivered)
			if o := operation(t, h.DB, first); o.Status != store.Succeeded || o.Attempts != story.attempts+1 {
				t.Errorf("it is %s after %d attempts, want succeeded after %d", o.Status, o.Attempts, story.attempts+1)
			}
			if n := h.Count("SELECT count(*) FROM callback_attempts WHERE attempt = 0"); n != 1 {
				t.Errorf("%d replays are kept, want 1", n)
			}
			h.CheckInvariants()
		})
	}
}

func TestAReplayThatFailsWhereTheAttemptsAreUsedUpIsDeadAgain(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	ref := h.Callback(h.endpoint)
	for range 2 {
		r := storetest.Attempt(h.Sending(ref), store.CallbackTimeout)
		r.Next = nil
		if o := h.AttemptedWith(r); o.Retry.Verdict != store.RetryUsedUp {
			t.Errorf("%+v, want it used up", o)
		}
		kill(t, h.DB, ref)
		if o := operation(t, h.DB, ref); o.Status != store.Dead || o.Attempts != 1 {
			t.Errorf("it is %s after %d attempts, want dead after 1", o.Status, o.Attempts)
		}
		if c, err := h.Store.Callback(t.Context(), 0, ref.ID); err != nil || c.Replaying {
			t.Errorf("in the log it is replaying %v, %v, and it is dead", c.Replaying, err)
		}
		ref = replay(t, h.DB, ref)
	}
	if n := h.Count("SELECT count(*) FROM dead_letters"); n != 2 {
		t.Errorf("%d dead letters, want one for each death", n)
	}
	h.Attempted(h.Sending(ref), store.Delivered)
	h.CheckInvariants()
}

func TestAReplayIsRefused(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	delivered := h.Callback(h.endpoint)
	h.Attempted(h.Sending(delivered), store.Delivered)
	gone := h.InvoiceCallback(h.shop, "http://shop.example/paid")
	h.Attempted(h.Sending(gone), store.CallbackGone)
	for _, story := range []struct {
		name   string
		state  string
		replay store.CallbackReplay
		want   error
	}{
		{"nobody has it", "enabled", store.CallbackReplay{ID: store.NewOperationID()}, store.ErrCallbackNotFound},
		{"another client's", "enabled", store.CallbackReplay{ID: delivered.ID, Client: h.shop.Client + 1}, store.ErrCallbackNotFound},
		{"its endpoint is disabled", "disabled", store.CallbackReplay{ID: delivered.ID}, store.ErrCallbackHeld},
		{"its endpoint is deleted", "deleted", store.CallbackReplay{ID: delivered.ID}, store.ErrCallbackUnwanted},
		{"the invoice's callbackUrl is gone", "enabled", store.CallbackReplay{ID: gone.ID}, store.ErrCallbackUnwanted},
		{"its client's", "enabled", store.CallbackReplay{ID: delivered.ID, Client: h.shop.Client}, nil},
	} {
		h.Exec("UPDATE callback_endpoints SET state = $2::text, state_reason = CASE $2 WHEN 'disabled' THEN 'client' ELSE '' END WHERE id = $1", h.endpoint, story.state)
		before := h.Count("SELECT sum(seq) FROM operations")
		if _, err := h.ReplayCallback(t.Context(), story.replay); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
		if after := h.Count("SELECT sum(seq) FROM operations"); (after == before) != (story.want != nil) {
			t.Errorf("%s: seq went from %d to %d", story.name, before, after)
		}
	}
}

func TestAReplayIsDoneOncePerKey(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	ref := h.Callback(h.endpoint)
	r := store.CallbackReplay{ID: ref.ID, Client: h.shop.Client, Once: store.Once{Scope: "shop", Key: "k", Request: "r", Answer: store.Answer{Status: 202, Body: []byte("yes")}}}
	answer, err := h.ReplayCallback(t.Context(), r)
	if err != nil || answer.Status != 202 || answer.Operation != ref.ID {
		t.Errorf("%+v, %v; want the answer, with the operation", answer, err)
	}
	var again *store.Replay
	if _, err := h.ReplayCallback(t.Context(), r); !errors.As(err, &again) || string(again.Answer.Body) != "yes" || again.Answer.Operation != ref.ID {
		t.Errorf("again: %v, want the stored answer", err)
	}
	if now := h.Ref(ref.ID); now.Seq != 2 {
		t.Errorf("seq is %d: it is replayed more than once", now.Seq)
	}
}

func TestAllSinceATimeAreReplayedInSteps(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	other := h.Endpoint(h.shop.Client, "https://other.example/hook")
	stranger := h.Endpoint(h.Shop().Client, "https://stranger.example/hook")
	dead := func(endpoint store.EndpointID) store.Ref {
		ref := h.Callback(endpoint)
		kill(t, h.DB, ref)
		return ref
	}
	dead(h.endpoint)
	since := nextMillisecond()
	for range 4 {
		dead(h.endpoint)
	}
	delivered := h.Callback(h.endpoint)
	h.Attempted(h.Sending(delivered), store.Delivered)
	dead(other)
	dead(stranger)
	until := nextMillisecond()
	dead(h.endpoint)
	h.Exec("DELETE FROM outbox")

	for _, story := range []struct {
		name   string
		filter store.ReplayFilter
		want   int
	}{
		{"an endpoint's dead ones of that time", store.ReplayFilter{Endpoint: h.endpoint, Since: since, Until: until, Statuses: []store.Status{store.Dead}}, 4},
		{"those again", store.ReplayFilter{Endpoint: h.endpoint, Since: since, Until: until, Statuses: []store.Status{store.Dead}}, 0},
		{"a client's dead ones since then", store.ReplayFilter{Client: h.shop.Client, Since: since, Statuses: []store.Status{store.Dead, store.Failed}}, 2},
		{"a client's, at another's endpoint", store.ReplayFilter{Client: h.shop.Client, Endpoint: stranger}, 0},
		{"all of an endpoint", store.ReplayFilter{Endpoint: h.endpoint}, 7},
		{"everything", store.ReplayFilter{}, 9},
	} {
		n, steps := 0, 0
		for after, more := (store.OperationID{}), true; more; steps++ {
			done, next, err := h.ReplayCallbacks(t.Context(), story.filter, 3, after)
			if err != nil {
				t.Fatal(err)
			}
			n, after, more = n+done, next, !next.IsZero()
		}
		if n != story.want || steps > 4 {
			t.Errorf("%s: %d are replayed in %d steps, want %d", story.name, n, steps, story.want)
		}
	}
	if n := h.Count("SELECT count(*) FROM outbox"); n != 0 {
		t.Errorf("%d are enqueued at once: a month would drown the queue", n)
	}
	if _, err := h.EnqueueDue(t.Context(), "callbacks.retry", 1000, 500); err != nil {
		t.Fatal(err)
	}
	if n := h.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = ''"); n != 9 {
		t.Errorf("%d are enqueued by the schedule worker, want 9", n)
	}
	if c := h.Sending(h.Ref(delivered.ID)); !c.Replaying {
		t.Error("what was delivered is not replayed")
	}
	h.CheckInvariants()
}

// nextMillisecond is another one than any id was made in so far.
func nextMillisecond() time.Time {
	last := time.Now().UnixMilli()
	for time.Now().UnixMilli() <= last {
		runtime.Gosched()
	}
	return time.Now()
}
