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
