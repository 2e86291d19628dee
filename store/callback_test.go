package store_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestACallbackIsSentAndEnds(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	endpoint := db.Registered(shop.Client, "https://shop.example/hook")
	ref := db.Callback(endpoint.ID)

	c := db.Sending(ref)
	want := store.Callback{
		Ref: ref, Event: c.Event, Type: store.EventPaymentFinished, Body: c.Body, Policy: store.PolicyStandard, Endpoint: endpoint.ID, Client: shop.Client,
		Origin: "https://shop.example:443", URL: "https://shop.example/hook", Keys: c.Keys, CreatedAt: c.CreatedAt,
	}
	if len(c.Keys) != 1 || storetest.SecretOf(c.Keys[0]) != endpoint.Secret {
		t.Errorf("it is signed with %q, want the endpoint's secret", c.Keys)
	}
	if diff := cmp.Diff(want, c); diff != "" || len(c.Body) == 0 || time.Since(c.CreatedAt) > time.Minute {
		t.Errorf("to be sent: -want +got\n%s", diff)
	}
	if o := db.Attempted(c, store.Delivered); o.Status != store.Succeeded || o.Type != store.CallbackSend || o.Waited <= 0 {
		t.Errorf("delivered: %+v, want succeeded", o)
	}
	if o := db.NotSending(ref); !o.Stale() {
		t.Errorf("the same message again: %+v, want stale", o)
	}
	if n := db.Count("SELECT count(*) FROM callback_attempts WHERE attempt = 1 AND seq = 1 AND outcome = 'delivered' AND status = 200 AND answer = 'an answer' AND duration = '20 milliseconds'"); n != 1 {
		t.Errorf("%d attempts are kept as they were made, want 1", n)
	}
	db.CheckInvariants()
}

func TestAnInvoicesCallbackIsSignedWithTheShopsSecret(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	c := db.Sending(db.InvoiceCallback(shop, "http://shop.example:8080/paid?x=1"))
	if c.Policy != store.PolicyInvoicer || c.URL != "http://shop.example:8080/paid?x=1" || c.Origin != "http://shop.example:8080" {
		t.Errorf("it goes to %s (%s), under %s", c.URL, c.Origin, c.Policy)
	}
	if c.SigningSecret != "shop-secret" || !cmp.Equal(c.Keys, [][]byte{[]byte("shop-secret")}) {
		t.Errorf("it is signed with %q and %q", c.SigningSecret, c.Keys)
	}
}

func TestWhatIsNotToBeSent(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		happen func(db *storetest.DB, endpoint store.EndpointID, ref store.Ref)
		want   store.Outcome
		status store.Status // in the end
		held   int
	}{
		{"the message is stale", func(db *storetest.DB, _ store.EndpointID, ref store.Ref) {
			db.Exec("UPDATE operations SET seq = 2 WHERE id = $1", ref.ID)
		}, store.Outcome{}, store.Accepted, 0},
		{"the endpoint is disabled", func(db *storetest.DB, endpoint store.EndpointID, _ store.Ref) {
			db.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'client' WHERE id = $1", endpoint)
		}, store.Outcome{Type: store.CallbackSend, Status: store.Accepted, Code: "held"}, store.Accepted, 1},
		{"the endpoint is deleted", func(db *storetest.DB, endpoint store.EndpointID, _ store.Ref) {
			db.Exec("UPDATE callback_endpoints SET state = 'deleted' WHERE id = $1", endpoint)
		}, store.Outcome{Type: store.CallbackSend, Status: store.Failed, Code: "endpoint_deleted"}, store.Failed, 0},
		{"it has ended", func(db *storetest.DB, _ store.EndpointID, ref store.Ref) {
			db.Attempted(db.Sending(ref), store.Delivered)
		}, store.Outcome{}, store.Succeeded, 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			endpoint := db.Endpoint(db.Shop().Client, "https://shop.example/hook")
			ref := db.Callback(endpoint)
			story.happen(db, endpoint, ref)
			got := db.NotSending(ref)
			got.Waited = 0
			if got != story.want {
				t.Errorf("%+v, want %+v", got, story.want)
			}
			if o := operation(t, db, ref); o.Status != story.status {
				t.Errorf("it is %s, want %s", o.Status, story.status)
			}
			if n := db.Count("SELECT count(*) FROM callbacks c JOIN operations o ON o.id = c.id WHERE c.held AND o.due_at = 'infinity' AND o.waits"); n != story.held {
				t.Errorf("%d are held, want %d", n, story.held)
			}
			db.CheckInvariants()
		})
	}
}

func operation(t *testing.T, db *storetest.DB, ref store.Ref) store.Operation {
	t.Helper()
	o, err := db.Operation(t.Context(), ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A message that comes in time costs one read; one that comes late takes the time it needs.
func TestNobodyEnqueuesACallbackThatIsBeingSent(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
	const dueIn = "SELECT round(extract(epoch FROM due_at - now())) FROM operations WHERE id = $1"
	for _, story := range []struct {
		name   string
		before string
		want   int // seconds
	}{
		{"it comes in time", "20 seconds", 20},
		{"it comes just in time", "14 seconds", 16}, // and the grace of tests
		{"it comes late", "-1 hour", 16},
	} {
		db.Exec("UPDATE operations SET due_at = now() + $1::interval", story.before)
		db.Sending(ref)
		if got := db.Count(dueIn, ref.ID); got != story.want {
			t.Errorf("%s: it is due in %d s, want %d", story.name, got, story.want)
		}
	}
	if o := operation(t, db, ref); o.Status != store.Accepted {
		t.Errorf("it is %s although no attempt has ended", o.Status)
	}
}

func TestKeysOfAnEndpointThatRotates(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	endpoint := db.Registered(db.Shop().Client, "https://shop.example/hook")
	ref := db.Callback(endpoint.ID)
	rotated, err := db.RotateSecret(t.Context(), store.EndpointCommand{ID: endpoint.ID})
	if err != nil {
		t.Fatal(err)
	}
	if keys := db.Sending(ref).Keys; len(keys) != 2 || storetest.SecretOf(keys[0]) != rotated.Secret || storetest.SecretOf(keys[1]) != endpoint.Secret {
		t.Errorf("it is signed with %q, want the new key and then the old one", keys)
	}
	db.Ahead(25 * time.Hour)
	if keys := db.Sending(ref).Keys; len(keys) != 1 || storetest.SecretOf(keys[0]) != rotated.Secret {
		t.Errorf("after a day it is signed with %q, want the new key alone", keys)
	}
}

// A secret that cannot be read is one callback's trouble, not that of those beside it.
func TestASecretThatCannotBeReadHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	client := db.Shop().Client
	broken, sound := db.Endpoint(client, "https://shop.example/a"), db.Endpoint(client, "https://shop.example/b")
	db.Exec("UPDATE callback_endpoints SET secret = 'nonsense' WHERE id = $1", broken)
	bad, good := db.Callback(broken), db.Callback(sound)
	var others sync.WaitGroup
	others.Go(func() {
		if _, _, _, err := db.StartCallback(t.Context(), bad, storetest.CallTime); err == nil || store.FaultOf(err) == store.FaultOutage {
			t.Errorf("the unreadable one: %v, want an error that is no outage", err)
		}
	})
	db.Sending(good)
	others.Wait()
}

func TestParkingCountsNoAttemptAndWaitsLonger(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
	db.Exec("DELETE FROM outbox")
	for parks, story := range []struct {
		wait time.Duration
		rung string
	}{{time.Second, "1s"}, {1001 * time.Millisecond, "5s"}, {time.Hour, "10m"}} {
		c := db.Sending(ref)
		if c.Parks != parks || c.Attempts != 0 {
			t.Errorf("it was parked %d times and tried %d times, want %d and 0", c.Parks, c.Attempts, parks)
		}
		for range 2 { // the second one is stale
			if err := db.ParkCallback(t.Context(), ref, story.wait, false); err != nil {
				t.Fatal(err)
			}
		}
		db.NotSending(ref)
		ref.Seq++
		if n := db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = $1 AND seq = $2", story.rung, ref.Seq); n != 1 {
			t.Errorf("after parking for %s %d messages wait on the rung %s, want 1", story.wait, n, story.rung)
		}
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE status = 'accepted' AND due_at > now() + interval '10 minutes'"); n != 1 {
		t.Error("it is due before its message can come, or somebody takes it for tried")
	}
	db.Attempted(db.Sending(ref), store.CallbackTimeout)
	if c := db.Sending(db.Ref(ref.ID)); c.Parks != 0 || c.Attempts != 1 {
		t.Errorf("after an attempt: %d parks and %d attempts, want 0 and 1", c.Parks, c.Attempts)
	}
}

// Who has a turn to keep comes back when it is, and not on the next rung, which may be minutes
// later.
func TestATurnIsWaitedForInTheRow(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ref := db.Callback(db.Endpoint(db.Shop().Client, "https://shop.example/hook"))
	db.Exec("DELETE FROM outbox")
	if err := db.ParkCallback(t.Context(), ref, 11*time.Second, true); err != nil {
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE waits AND due_at BETWEEN now() + interval '10 seconds' AND now() + interval '11 seconds'"); n != 1 {
		t.Error("it does not wait for its turn")
	}
	enqueued := func() int {
		t.Helper()
		if _, err := db.EnqueueDue(t.Context(), "callbacks.retry", 0, 10); err != nil {
			t.Fatal(err)
		}
		return db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND message_id = $1", ref.ID)
	}
	if n := enqueued(); n != 0 {
		t.Errorf("%d messages before its turn", n)
	}
	db.Exec("UPDATE operations SET due_at = now() - interval '1 millisecond'")
	if n := enqueued(); n != 1 {
		t.Errorf("%d messages when it is its turn, want 1", n)
	}
	if c := db.Sending(db.Ref(ref.ID)); c.Parks != 1 || c.Attempts != 0 {
		t.Errorf("it was parked %d times and tried %d times, want 1 and 0", c.Parks, c.Attempts)
	}
}

func TestWhatWasHeldIsReleasedWhenItsEndpointIsEnabledOrDeleted(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	client := db.Shop().Client
	var refs []store.Ref
	for _, state := range []store.EndpointState{store.EndpointEnabled, store.EndpointDeleted, store.EndpointDisabled} {
		endpoint := db.Endpoint(client, "https://"+string(state)+".example/hook")
		db.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'operator' WHERE id = $1", endpoint)
		for range 3 {
			refs = append(refs, db.Callback(endpoint))
			db.NotSending(refs[len(refs)-1])
		}
		db.Exec("UPDATE callback_endpoints SET state = $2, state_reason = CASE $2 WHEN 'disabled' THEN 'operator' ELSE '' END WHERE id = $1", endpoint, state)
	}
	db.Exec("DELETE FROM outbox")
	for _, want := range []int{4, 2, 0} {
		if n, err := db.ReleaseCallbacks(t.Context(), 4); err != nil || n != want {
			t.Errorf("%d are released, %v; want %d", n, err, want)
		}
	}
	if n := db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = '' AND seq = 3"); n != 6 {
		t.Errorf("%d messages are enqueued, want 6", n)
	}
	for i, ref := range refs {
		switch ref = db.Ref(ref.ID); i / 3 {
		case 0:
			db.Attempted(db.Sending(ref), store.Delivered)
		case 1:
			if o := db.NotSending(ref); o.Code != "endpoint_deleted" {
				t.Errorf("of a deleted endpoint: %+v", o)
			}
		}
	}
	if n := db.Count("SELECT count(*) FROM callbacks WHERE held"); n != 3 {
		t.Errorf("%d are held still, want those 3 of the disabled endpoint", n)
	}
	db.CheckInvariants()
}

func TestMessagesThatArriveTogetherAreStartedAndFinishedTogether(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	endpoint := db.Endpoint(db.Shop().Client, "https://shop.example/hook")
	refs := make([]store.Ref, 60)
	for i := range refs {
		refs[i] = db.Callback(endpoint)
	}
	var all sync.WaitGroup
	for i, ref := range append(refs, refs[:20]...) { // some come twice, at the same time
		all.Go(func() {
			c, send, _, err := db.StartCallback(t.Context(), ref, storetest.CallTime)
			if err != nil {
				t.Error(err)
			}
			if !send {
				return // its twin was faster
			}
			r := storetest.Attempt(c, store.Delivered)
			r.StartedAt = r.StartedAt.Add(time.Duration(i) * time.Millisecond)
			if _, err := db.FinishCallback(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := db.Count("SELECT count(*) FROM operations WHERE status = 'succeeded' AND attempts = 1"); n != 60 {
		t.Errorf("%d ended with one attempt that counts, want 60", n)
	}
	if n := db.Count("SELECT count(DISTINCT callback_id) FROM callback_attempts"); n != 60 {
		t.Errorf("of %d an attempt is kept, want 60", n)
	}
}

// What comes for the first time is in one queue, and whatever comes again in another; either
// queue's backlog explains what it was the last to have.
func TestWhatIsLostIsEnqueuedAgainAmongTheRetries(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	first := h.Callback(h.endpoint)
	again := h.Callback(h.endpoint)
	h.Attempted(h.Sending(again), store.CallbackTimeout)
	parked := h.Callback(h.endpoint)
	if err := h.ParkCallback(t.Context(), parked, time.Second, false); err != nil {
		t.Fatal(err)
	}
	held := h.Callback(h.endpoint)
	h.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'client'")
	h.NotSending(held)
	h.Exec("DELETE FROM outbox")
	h.Exec("UPDATE operations SET due_at = now() - interval '1 second' WHERE due_at < 'infinity'")

	for _, look := range []struct {
		queue string
		depth int
		want  int
	}{
		{"callbacks", 1, 0},
		{"callbacks.retry", 2, 0}, // they are there
		{"callbacks", 0, 1},
		{"callbacks.retry", 0, 2},
		{"callbacks", 0, 0},
		{"callbacks.retry", 0, 0},
	} {
		if n, err := h.EnqueueDue(t.Context(), look.queue, look.depth, 500); err != nil || n != look.want {
			t.Errorf("%s, that holds %d: %d are enqueued again, %v; want %d", look.queue, look.depth, n, err, look.want)
		}
	}
	if n := h.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = ''"); n != 3 {
		t.Errorf("%d are enqueued among the retries, want 3", n)
	}
	for _, ref := range []store.Ref{first, again, parked} {
		if now := h.Ref(ref.ID); now.Seq < 2 {
			t.Errorf("%+v has the seq of a first message", now)
		}
	}
}

func TestAnErrorOfOursIsTriedAgainAmongTheRetries(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	ref := h.Callback(h.endpoint)
	ladder := []store.Delay{{Name: "1s", Wait: time.Second}}
	if _, err := h.RetryOperation(t.Context(), store.Failure{Ref: ref, Cause: "a panic", Ladder: ladder}); err != nil {
		t.Fatal(err)
	}
	if n := h.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks.retry' AND delay = '1s' AND seq = 2"); n != 1 {
		t.Errorf("%d retries are enqueued, want 1", n)
	}
	h.Attempted(h.Sending(h.Ref(ref.ID)), store.Delivered)
}

func TestBothQueuesOfCallbacksAreLookedAfter(t *testing.T) {
	t.Parallel()
	queues := storetest.New(t).Queues()
	for _, q := range []string{"callbacks", "callbacks.retry"} {
		if !slices.Contains(queues, q) {
			t.Errorf("%s is not among %q", q, queues)
		}
	}
}
