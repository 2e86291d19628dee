package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// hooked is a registered endpoint of a shop.
type hooked struct {
	*storetest.DB
	shop     store.Shop
	endpoint store.EndpointID
}

func newHooked(t *testing.T) *hooked {
	db := storetest.New(t)
	shop := db.Shop()
	return &hooked{DB: db, shop: shop, endpoint: db.Endpoint(shop.Client, "https://shop.example/hook")}
}

// health is that of the endpoint: how many failures, and what it says when it is disabled.
func (h *hooked) health(t *testing.T) (failures int, state, reason string) {
	t.Helper()
	err := h.Pool().QueryRow(t.Context(), "SELECT failures, state, state_reason FROM callback_endpoints WHERE id = $1", h.endpoint).Scan(&failures, &state, &reason)
	if err != nil {
		t.Fatal(err)
	}
	return failures, state, reason
}

func TestWhatFollowsFromAnAttempt(t *testing.T) {
	t.Parallel()
	rung, row := &store.Delay{Name: "5s", Wait: 5 * time.Second}, &store.Delay{Wait: time.Hour}
	for _, story := range []struct {
		name     string
		outcome  store.CallbackOutcome
		next     *store.Delay
		want     store.Outcome
		enqueued string // the rung
		dueIn    time.Duration
		failures int
	}{
		{"delivered", store.Delivered, rung, store.Outcome{Status: store.Succeeded}, "", 0, 0},
		{"refused, and tried again", store.CallbackRefused, rung, retried("refused", "5s"), "5s", 6 * time.Second, 1},
		{"no answer in time, and tried again", store.CallbackTimeout, rung, retried("timeout", "5s"), "5s", 6 * time.Second, 1},
		{"refused, and tried again in an hour", store.CallbackRefused, row, retried("refused", ""), "", time.Hour, 1},
		{"refused for the last time", store.CallbackRefused, nil, store.Outcome{
			Status: store.Running, Code: "refused", Retry: store.Retry{Verdict: store.RetryUsedUp},
		}, "", 0, 1},
		{"it must not go there", store.CallbackForbidden, rung, store.Outcome{Status: store.Failed, Code: "forbidden"}, "", 0, 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			h := newHooked(t)
			ref := h.Callback(h.endpoint)
			h.Exec("DELETE FROM outbox")
			r := storetest.Attempt(h.Sending(ref), story.outcome)
			r.Next = story.next
			got := h.AttemptedWith(r)
			story.want.Type = store.CallbackSend
			if got.Waited <= 0 {
				t.Error("it waited no time")
			}
			if got.Waited = 0; got != story.want {
				t.Errorf("%+v, want %+v", got, story.want)
			}
			o := operation(t, h.DB, ref)
			if o.Status != story.want.Status || o.Attempts != 1 {
				t.Errorf("it is %s after %d attempts, want %s after 1", o.Status, o.Attempts, story.want.Status)
			}
			if n := h.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = $1 AND seq = 2", story.enqueued); n != btoi(story.enqueued != "") {
				t.Errorf("%d retries are enqueued", n)
			}
			if n := h.Count("SELECT count(*) FROM operations WHERE due_at - now() BETWEEN $1::interval - interval '1 second' AND $1", story.dueIn); story.dueIn > 0 && n != 1 {
				t.Errorf("it is not due in %s", story.dueIn)
			}
			if n, _, _ := h.health(t); n != story.failures {
				t.Errorf("the endpoint has failed %d times, want %d", n, story.failures)
			}
			if n := h.Count("SELECT count(*) FROM callback_attempts WHERE attempt = 1"); n != 1 {
				t.Errorf("%d attempts are kept, want 1", n)
			}
			h.CheckInvariants()
		})
	}
}

func retried(code, rung string) store.Outcome {
	return store.Outcome{Status: store.Running, Code: code, Retry: store.Retry{Verdict: store.RetryStored, Delay: rung}}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestAnAttemptWhoseMessageIsStaleIsKeptAndOnlyASuccessCounts(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name    string
		outcome store.CallbackOutcome
		happen  func(h *hooked, ref store.Ref) // while it is being sent
		want    store.Status                   // in the end
		stale   bool
	}{
		{"it failed, and is enqueued again", store.CallbackTimeout, func(h *hooked, ref store.Ref) {
			h.Exec("UPDATE operations SET seq = 7 WHERE id = $1", ref.ID)
		}, store.Accepted, true},
		{"it was delivered, and is enqueued again", store.Delivered, func(h *hooked, ref store.Ref) {
			h.Exec("UPDATE operations SET seq = 7 WHERE id = $1", ref.ID)
		}, store.Succeeded, false},
		{"it was delivered, and is held", store.Delivered, func(h *hooked, ref store.Ref) {
			h.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'client'")
			h.NotSending(ref)
		}, store.Succeeded, false},
		{"it was delivered, and is dead", store.Delivered, func(h *hooked, ref store.Ref) {
			h.Dies(h.Ref(ref.ID))
		}, store.Succeeded, false},
		{"it was delivered, and has ended otherwise", store.Delivered, func(h *hooked, ref store.Ref) {
			h.Exec("UPDATE operations SET status = 'failed', error_code = 'gone', finished_at = now() WHERE id = $1", ref.ID)
		}, store.Failed, true},
		{"it failed, and was delivered by somebody else", store.CallbackRefused, func(h *hooked, ref store.Ref) {
			h.Attempted(h.Sending(ref), store.Delivered)
		}, store.Succeeded, true},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			h := newHooked(t)
			ref := h.Callback(h.endpoint)
			r := storetest.Attempt(h.Sending(ref), story.outcome)
			story.happen(h, ref)
			r.StartedAt = time.Now()
			before := h.Count("SELECT count(*) FROM callback_attempts")
			if o := h.AttemptedWith(r); o.Stale() != story.stale {
				t.Errorf("%+v, want stale: %v", o, story.stale)
			}
			if n := h.Count("SELECT count(*) FROM callback_attempts"); n != before+1 {
				t.Errorf("%d attempts are kept, want %d", n, before+1)
			}
			if o := operation(t, h.DB, ref); o.Status != story.want {
				t.Errorf("it is %s, want %s", o.Status, story.want)
			}
			if n := h.Count("SELECT count(*) FROM callbacks WHERE held"); n != 0 {
				t.Error("it is held")
			}
			if n, _, _ := h.health(t); n != 0 {
				t.Errorf("the endpoint has failed %d times", n)
			}
			h.CheckInvariants()
		})
	}
}

func TestAnEndpointThatFailsForDaysIsDisabledAndWhatIsForItHeld(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	fail := func() store.Outcome { return h.Attempted(h.Sending(h.Callback(h.endpoint)), store.CallbackTimeout) }
	for range 18 {
		fail()
	}
	h.Ahead(6 * 24 * time.Hour)
	fail()
	if n, state, _ := h.health(t); n != 19 || state != "enabled" {
		t.Errorf("after %d failures it is %s, want enabled after 19", n, state)
	}
	if o := fail(); o.Status != store.Running || o.Retry.Verdict != "" {
		t.Errorf("the twentieth: %+v, want it held", o)
	}
	if n, state, reason := h.health(t); n != 20 || state != "disabled" || reason != "failing" {
		t.Errorf("after %d failures it is %s (%s), want disabled (failing) after 20", n, state, reason)
	}
	if n := h.Count("SELECT count(*) FROM callbacks WHERE held"); n != 1 {
		t.Errorf("%d are held, want the one that was sent just now", n)
	}
	h.CheckInvariants()
}

func TestASuccessIsTheEndOfAllFailures(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	for range 3 {
		h.Attempted(h.Sending(h.Callback(h.endpoint)), store.CallbackRefused)
	}
	if n := h.Count("SELECT count(*) FROM callback_endpoints WHERE failures = 3 AND failing_since IS NOT NULL"); n != 1 {
		t.Error("three failures are not counted")
	}
	h.Attempted(h.Sending(h.Callback(h.endpoint)), store.Delivered)
	if n := h.Count("SELECT count(*) FROM callback_endpoints WHERE failures = 0 AND failing_since IS NULL"); n != 1 {
		t.Error("a success leaves failures behind")
	}
	const version = "SELECT xmin::text::bigint FROM callback_endpoints"
	before := h.Count(version)
	h.Attempted(h.Sending(h.Callback(h.endpoint)), store.Delivered)
	if h.Count(version) != before {
		t.Error("a success writes an endpoint that is healthy")
	}
}

func TestGoneDisablesARegisteredEndpointAndHoldsWhatIsForIt(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	ref, other := h.Callback(h.endpoint), h.Callback(h.endpoint)
	if o := h.Attempted(h.Sending(ref), store.CallbackGone); o.Status != store.Running || o.Code != "gone" {
		t.Errorf("%+v, want it held", o)
	}
	if _, state, reason := h.health(t); state != "disabled" || reason != "gone" {
		t.Errorf("the endpoint is %s (%s), want disabled (gone)", state, reason)
	}
	if o := h.NotSending(other); o.Code != "held" {
		t.Errorf("the next one: %+v, want it held", o)
	}
	if _, err := h.EnableEndpoint(t.Context(), store.EndpointCommand{ID: h.endpoint}); err != nil {
		t.Fatal(err)
	}
	if n, err := h.ReleaseCallbacks(t.Context(), 10); err != nil || n != 2 {
		t.Errorf("%d are released, %v; want 2", n, err)
	}
	for _, r := range []store.Ref{ref, other} {
		h.Attempted(h.Sending(h.Ref(r.ID)), store.Delivered)
	}
	h.CheckInvariants()
}

// Whoever changed the URL while the old one answered 410 wants the new one tried.
func TestGoneIsOfTheURLThatWasAsked(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	r := storetest.Attempt(h.Sending(h.Callback(h.endpoint)), store.CallbackGone)
	h.Exec("UPDATE callback_endpoints SET url = 'https://shop.example/new'")
	if o := h.AttemptedWith(r); o.Retry.Verdict != store.RetryStored {
		t.Errorf("%+v, want it tried again", o)
	}
	if _, state, _ := h.health(t); state != "enabled" {
		t.Errorf("the endpoint is %s", state)
	}
}

func TestGoneEndsWhatIsForThatInvoice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	invoice := store.NewShopInvoiceID()
	const address = "http://shop.example/paid"
	first, second := db.InvoiceCallbackOf(shop, invoice, address), db.InvoiceCallbackOf(shop, invoice, address)
	other := db.InvoiceCallback(shop, address)
	if o := db.Attempted(db.Sending(first), store.CallbackGone); o.Status != store.Failed || o.Code != "gone" {
		t.Errorf("%+v, want it failed as gone", o)
	}
	if o := db.NotSending(second); o.Status != store.Failed || o.Code != "gone" {
		t.Errorf("another one of that invoice: %+v, want it failed as gone", o)
	}
	if o := db.Attempted(db.Sending(other), store.Delivered); o.Status != store.Succeeded {
		t.Errorf("one of another invoice: %+v, want it delivered", o)
	}
	if n := db.Count("SELECT count(*) FROM callback_endpoints WHERE state = 'enabled' AND failures = 0"); n != 1 {
		t.Error("the endpoint pays for one invoice")
	}
	db.CheckInvariants()
}

func TestAnAnswerIsKeptAsFarAsItIsKept(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	r := storetest.Attempt(h.Sending(h.Callback(h.endpoint)), store.CallbackRefused)
	r.Answer, r.Reason = bytes.Repeat([]byte{0, 0xff}, 20_000), "a reason\x00 that no text column takes \xff"
	h.AttemptedWith(r)
	if n := h.Count("SELECT count(*) FROM callback_attempts WHERE octet_length(answer) = 16384 AND reason = 'a reason that no text column takes '"); n != 1 {
		t.Error("what was answered is not kept")
	}
}

// The ladder ends in a dead letter, which tells of every attempt.
func TestAttemptsThatAreUsedUpEndInADeadLetterThatKnowsThemAll(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	ref := h.Callback(h.endpoint)
	for attempt := range 3 {
		r := storetest.Attempt(h.Sending(ref), store.CallbackTimeout)
		if attempt == 2 {
			r.Next = nil
			h.AttemptedWith(r) // who stored this died before the message was rejected, and stores it again
		}
		h.AttemptedWith(r)
		ref = h.Ref(ref.ID)
	}
	letter := store.DeadLetter{Queue: "callbacks.retry", MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "rejected", Error: "unknown"}
	if _, err := h.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	kept, err := h.DeadLetters(t.Context(), store.DeadFilter{Page: store.Page[int64]{Limit: 10}})
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 || len(kept[0].Attempts) != 3 || kept[0].Error != "no answer: timeout" || kept[0].Attempts[2].Attempt != 3 {
		t.Errorf("the dead letter is %+v, want its 3 attempts and the last error", kept)
	}
	if o := operation(t, h.DB, ref); o.Status != store.Dead || o.Attempts != 3 {
		t.Errorf("it is %s after %d attempts, want dead after 3", o.Status, o.Attempts)
	}
	h.CheckInvariants()
}
