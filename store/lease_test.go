package store_test

import (
	"errors"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

var leased = store.Once{Scope: "shop 1", Key: "k", Request: "r", Answer: store.Answer{Status: 200, Body: []byte("yes")}}

func TestAKeyIsLeasedToOneAtATime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	intents := make([]store.IntentID, 8)
	var holder store.IntentID
	for i, err := range atOnce(len(intents), func(i int) (err error) {
		intents[i], err = db.LeaseKey(t.Context(), leased, store.NewIntentID())
		return err
	}) {
		switch {
		case err == nil && holder.IsZero():
			holder = intents[i]
		case err == nil:
			t.Error("two have the lease")
		case !errors.Is(err, store.ErrKeyInProgress):
			t.Errorf("call %d: %v, want in progress", i, err)
		}
	}
	if holder.IsZero() {
		t.Fatal("nobody has the lease")
	}
	another := leased
	another.Request = "another"
	if _, err := db.LeaseKey(t.Context(), another, store.NewIntentID()); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another request meanwhile: %v", err)
	}
	elsewhere := leased
	elsewhere.Scope = "shop 2"
	if _, err := db.LeaseKey(t.Context(), elsewhere, store.NewIntentID()); err != nil {
		t.Errorf("another shop, with the same key: %v", err)
	}
}

func TestALeaseIsTakenOver(t *testing.T) {
	t.Parallel()
	another := leased
	another.Request = "another"
	for _, story := range []struct {
		name   string
		gaveUp func(*storetest.DB) error
		once   store.Once
		same   bool // under the same intent
		want   error
	}{
		{"not while it lasts", func(*storetest.DB) error { return nil }, leased, false, store.ErrKeyInProgress},
		{"after its time, under its intent: the call may have been made", func(db *storetest.DB) error {
			db.Exec("UPDATE idempotency_leases SET leased_until = now()")
			return nil
		}, leased, true, nil},
		{"after its time, by another request: nothing was done under the key", func(db *storetest.DB) error {
			db.Exec("UPDATE idempotency_leases SET leased_until = now()")
			return nil
		}, another, false, nil},
		{"once it is given up, under an intent of its own: the call was refused", func(db *storetest.DB) error {
			return db.ReleaseKey(t.Context(), leased)
		}, leased, false, nil},
		{"once it is given up, by another request", func(db *storetest.DB) error {
			return db.ReleaseKey(t.Context(), leased)
		}, another, false, nil},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			first, err := db.LeaseKey(t.Context(), leased, store.NewIntentID())
			if err != nil {
				t.Fatal(err)
			}
			if err := story.gaveUp(db); err != nil {
				t.Fatal(err)
			}
			second, err := db.LeaseKey(t.Context(), story.once, store.NewIntentID())
			if !errors.Is(err, story.want) || (err == nil && (second == first) != story.same) {
				t.Errorf("%s after %s: %v, want %v", second, first, err, story.want)
			}
		})
	}
}

func TestALeaseEndsWithItsCommand(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	if _, err := db.LeaseKey(t.Context(), leased, store.NewIntentID()); err != nil {
		t.Fatal(err)
	}
	card := store.NewCard{Card: store.Card{ID: store.NewCardID(), Mask: "4111111111", Expiry: "2099-01"}, Client: shop.Client, Token: "t"}
	if err := db.AddCard(t.Context(), card, leased); err != nil {
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM idempotency_leases"); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	var replay *store.Replay
	if _, err := db.LeaseKey(t.Context(), leased, store.NewIntentID()); !errors.As(err, &replay) || string(replay.Answer.Body) != "yes" {
		t.Errorf("the same request again: %v, want the stored answer", err)
	}
	another := leased
	another.Request = "another"
	if _, err := db.LeaseKey(t.Context(), another, store.NewIntentID()); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another request: %v", err)
	}
	if n := db.Count("SELECT count(*) FROM idempotency_leases"); n != 0 {
		t.Errorf("%d leases of what was answered", n)
	}
}

func TestWithoutAKeyNothingIsLeased(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	fresh := store.NewIntentID()
	if got, err := db.LeaseKey(t.Context(), store.Once{}, fresh); err != nil || got != fresh {
		t.Errorf("%s, %v; want the fresh %s", got, err, fresh)
	}
	if err := db.ReleaseKey(t.Context(), store.Once{}); err != nil {
		t.Error(err)
	}
}

// A lease is taken, and the process cut off: whatever was done, the request can be sent again,
// at once or after the lease.
func TestLeaseAndCall(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		fresh := store.NewIntentID()
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.LeaseKey(t.Context(), leased, fresh); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("lease: %v, want unavailable", err)
		}
		second := store.NewIntentID()
		got, err := db.LeaseKey(t.Context(), leased, second)
		if !done {
			if err != nil || got != second {
				t.Errorf("again: %s, %v", got, err)
			}
			return
		}
		if !errors.Is(err, store.ErrKeyInProgress) {
			t.Errorf("again: %v, want in progress", err)
		}
		db.Exec("UPDATE idempotency_leases SET leased_until = now()")
		if got, err := db.LeaseKey(t.Context(), leased, second); err != nil || got != fresh {
			t.Errorf("after the lease: %s, %v; want %s", got, err, fresh)
		}
		db.CheckInvariants()
	})
}
