package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestWhatIsLongPastIsForgottenInSteps(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for range 3 {
		o.tokens()
	}
	kept := o.tokens()
	o.fails(1, mallory)
	o.Exec("UPDATE tokens SET expires_at = now() - interval '25 hours' WHERE grant_id NOT IN (SELECT grant_id FROM tokens WHERE hash = sha256($1))", []byte(kept.Access))
	o.Exec("UPDATE login_attempts SET last_failed_at = now() - interval '25 hours'")
	o.fails(1, store.Login{Type: store.LoginPIN, PIN: "0000"})
	var steps []int
	for {
		n, err := o.Forget(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		if steps = append(steps, n); n == 0 {
			break
		}
	}
	if diff := cmp.Diff([]int{5, 2, 0}, steps); diff != "" {
		t.Errorf("deleted: -want +got\n%s", diff)
	}
	if !o.valid(kept) || o.Count("SELECT count(*) FROM tokens") != 2 || o.Count("SELECT count(*) FROM login_attempts") != 1 {
		t.Error("too much is gone")
	}
}

func TestSessionsAndLeasesThatAreLongOverAreForgotten(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	for _, life := range []string{"-49 hours", "-25 hours", "-1441 minutes", "-23 hours", "1 minute", "infinity"} {
		db.Exec("UPDATE client_sessions SET expires_at = CASE $1::text WHEN 'infinity' THEN 'infinity' ELSE now() + nullif($1, 'infinity')::interval END WHERE hash = sha256($2)",
			life, []byte(db.Session(shop)))
	}
	for _, key := range []string{"-49 hours", "-25 hours", "-1441 minutes", "-23 hours", "1 minute"} {
		if _, err := db.LeaseKey(t.Context(), store.Once{Scope: "a shop", Key: key, Request: "r"}, store.NewIntentID()); err != nil {
			t.Fatal(err)
		}
	}
	db.Exec("UPDATE idempotency_leases SET leased_until = now() + key::interval")
	for _, want := range []int{4, 2, 0} { // at most two of each
		if n, err := db.Forget(t.Context(), 2); err != nil || n != want {
			t.Errorf("%d are forgotten, %v; want %d", n, err, want)
		}
	}
	if n := db.Count("SELECT count(*) FROM client_sessions WHERE expires_at > now() - interval '1 day'"); n != 3 {
		t.Errorf("%d sessions are left, want 3", n)
	}
	if n := db.Count("SELECT count(*) FROM idempotency_leases WHERE leased_until > now() - interval '1 day'"); n != 2 {
		t.Errorf("%d leases are left, want 2", n)
	}
}

func TestCallbacksThatEndedLongAgoAreForgottenAndDeadOnesNever(t *testing.T) {
	t.Parallel()
	h := newHooked(t)
	for range 3 {
		h.Attempted(h.Sending(h.Callback(h.endpoint)), store.Delivered)
	}
	h.Attempted(h.Sending(h.Callback(h.endpoint)), store.CallbackForbidden)
	failed := h.Callback(h.endpoint)
	if _, err := h.RetryOperation(t.Context(), store.Failure{Ref: failed, Cause: "a panic", Ladder: storetest.Inquiries}); err != nil {
		t.Fatal(err)
	}
	h.Attempted(h.Sending(h.Ref(failed.ID)), store.Delivered)
	h.Exec("UPDATE operations SET finished_at = now() - interval '91 days'")
	dead, recent, open := h.Callback(h.endpoint), h.Callback(h.endpoint), h.Callback(h.endpoint)
	kill(t, h.DB, dead)
	h.Attempted(h.Sending(recent), store.Delivered)
	h.Exec("UPDATE operations SET finished_at = now() - interval '89 days' WHERE id = $1", recent.ID)
	h.Exec("INSERT INTO events (id, type, resource, body) VALUES ('01000000-0000-7000-8000-000000000000', 'invoice.paid', gen_random_uuid(), 'nobody listened')")

	for _, want := range []int{2, 2, 1, 0} {
		if n, err := h.Forget(t.Context(), 2); err != nil || n < want || (want == 0 && n != 0) {
			t.Errorf("%d are forgotten, %v; want %d callbacks, and events", n, err, want)
		}
	}
	for _, ref := range []store.Ref{dead, recent, open} {
		if n := h.Count("SELECT count(*) FROM callbacks WHERE id = $1", ref.ID); n != 1 {
			t.Errorf("%s is forgotten", ref.ID)
		}
	}
	if n := h.Count("SELECT count(*) FROM operations"); n != 3 {
		t.Errorf("%d operations are left, want 3", n)
	}
	if n := h.Count("SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM callback_attempts)"); n != 1 {
		t.Errorf("%d attempts are left, want the one of what was delivered 89 days ago", n)
	}
	if n := h.Count("SELECT count(*) FROM events WHERE body = 'nobody listened'"); n != 0 {
		t.Error("an event of ten years ago is kept")
	}
	if n := h.Count("SELECT count(*) FROM events"); n != 8 { // their ids are of today
		t.Errorf("%d events are left, want 8", n)
	}
	h.CheckInvariants()
}
