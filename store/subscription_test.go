package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

const day = 24 * time.Hour

// subscribed issues a subscription of 30 days that goes on for a year.
func subscribed(db *storetest.DB, shop store.Shop) store.NewShopInvoice {
	return db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.Type, n.Interval, n.EndsAt = store.Subscribe, 30, time.Now().Add(365*day)
	})
}

func change(n store.NewShopInvoice) store.SubscriptionChange {
	return store.SubscriptionChange{
		Client: n.Shop.Client, Invoice: n.ID,
		Answer: func(store.ShopInvoice) store.Answer { return store.Answer{Status: 200} },
	}
}

func TestASubscriptionIsChanged(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name     string
		begun    bool
		ahead    time.Duration // of the first payment
		tries    int           // of the next one, so far
		interval int
		expires  time.Duration // from now; 0 leaves it
		wantDue  time.Duration // after the first payment
		dueNow   bool
	}{
		{name: "its interval, before the first payment", interval: 7},
		{name: "its interval, that goes on from the last payment", begun: true, ahead: day, interval: 7, wantDue: 7 * day},
		{name: "its interval, that is over by now: due at once", begun: true, ahead: 10 * day, interval: 7, dueNow: true},
		{name: "its interval, to a longer one", begun: true, ahead: day, interval: 366, wantDue: 366 * day},
		{name: "its interval, to what it was", begun: true, ahead: day, interval: 30, wantDue: 30 * day},
		{name: "its interval, while a payment is being tried again", begun: true, ahead: 31 * day, tries: 1, interval: 7, wantDue: 30 * day},
		{name: "its end only", begun: true, ahead: day, expires: 90 * day, wantDue: 30 * day},
		{name: "its end, to one before the next payment", begun: true, ahead: day, expires: day, wantDue: 30 * day},
		{name: "its end, before the first payment", expires: 90 * day},
		{name: "both", begun: true, ahead: day, interval: 60, expires: 90 * day, wantDue: 60 * day},
		{name: "nothing", begun: true, ahead: day, wantDue: 30 * day},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			invoice := subscribed(db, db.Shop())
			if story.begun {
				db.Paid(invoice)
			}
			db.Ahead(story.ahead)
			db.Exec("UPDATE subscriptions SET tries = $1::int, charge_at = charge_at + $1::int * interval '1 day'", story.tries)
			before := readInvoice(t, db, invoice)

			c := change(invoice)
			c.Interval = story.interval
			if story.expires != 0 {
				c.ExpiresAt = before.Now.Add(story.expires)
			}
			var shown store.ShopInvoice
			c.Answer = func(i store.ShopInvoice) store.Answer {
				shown = i
				return store.Answer{Status: 200, Body: []byte("changed")}
			}
			answer, err := db.UpdateSubscription(t.Context(), c)
			if err != nil || string(answer.Body) != "changed" {
				t.Fatalf("%s, %v", answer.Body, err)
			}
			after := readInvoice(t, db, invoice)
			if diff := cmp.Diff(shown.Subscription, after.Subscription); diff != "" {
				t.Errorf("-as it was said to be +as it is\n%s", diff)
			}

			want := *before.Subscription
			if story.interval != 0 {
				want.Interval = story.interval
			}
			if story.expires != 0 {
				want.ExpiresAt = c.ExpiresAt
			}
			switch {
			case story.dueNow:
				want.DueAt = &before.Now
			case story.begun:
				due := before.Subscription.PaidAt.Add(story.wantDue)
				want.DueAt = &due
			}
			soon := cmpopts.EquateApproxTime(after.Now.Sub(before.Now)) // when the change came
			if diff := cmp.Diff(&want, after.Subscription, soon); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if n := db.Count("SELECT count(*) FROM subscriptions WHERE charge_at IS DISTINCT FROM due_at + tries * interval '1 day'"); n != 0 {
				t.Error("it is not charged when it is due")
			}
			db.CheckInvariants()
		})
	}
}

func readInvoice(t *testing.T, db *storetest.DB, n store.NewShopInvoice) store.ShopInvoice {
	t.Helper()
	i, err := db.Store.ShopInvoice(t.Context(), n.ID)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestASubscriptionIsNotChanged(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	invoice, once := subscribed(db, shop), db.ShopInvoice(shop, nil)
	ended, over := subscribed(db, shop), subscribed(db, shop)
	db.Exec("UPDATE subscriptions SET active = false WHERE invoice_id = $1", ended.ID)
	db.Exec("UPDATE subscriptions SET expires_at = deciding_time() WHERE invoice_id = $1", over.ID)
	phone := db.Invoice(db.Account(100), db.Account(0), 5)
	for _, story := range []struct {
		name   string
		of     store.NewShopInvoice
		change func(*store.SubscriptionChange)
		want   error
	}{
		{"of another shop", invoice, func(c *store.SubscriptionChange) { c.Client++ }, store.ErrInvoiceNotFound},
		{"of no invoice", invoice, func(c *store.SubscriptionChange) { c.Invoice = store.NewShopInvoiceID() }, store.ErrInvoiceNotFound},
		{"of a phone's invoice", invoice, func(c *store.SubscriptionChange) { c.Client, c.Invoice = 0, phone.Number }, store.ErrInvoiceNotFound},
		{"of an invoice that is none", once, nil, store.ErrNotASubscription},
		{"of one that was ended", ended, nil, store.ErrSubscriptionEnded},
		{"of one whose time is over", over, nil, store.ErrSubscriptionEnded},
		{"to an end that is past", invoice, func(c *store.SubscriptionChange) { c.ExpiresAt = time.Now().Add(-time.Minute) }, store.ErrInThePast},
	} {
		c := change(story.of)
		c.Interval = 7
		c.Once = store.Once{Scope: "shop", Key: story.name, Request: "r"}
		if story.change != nil {
			story.change(&c)
		}
		if _, err := db.UpdateSubscription(t.Context(), c); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	if n := db.Count("SELECT count(*) FROM subscriptions WHERE interval_days <> 30") + db.Count("SELECT count(*) FROM idempotency_keys"); n != 0 {
		t.Errorf("%d rows were changed, or keys used, by what was refused", n)
	}
}

func TestASubscriptionIsChangedOncePerKey(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		invoice := subscribed(db.DB, db.Shop())
		c := change(invoice)
		c.Interval = 7
		c.Once = store.Once{Scope: "shop", Key: "k", Request: "r"}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.UpdateSubscription(t.Context(), c); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("change: %v, want unavailable", err)
		}
		if got := db.Count("SELECT interval_days FROM subscriptions"); (got == 7) != done {
			t.Errorf("the interval is %d", got)
		}
		db.Exec("UPDATE subscriptions SET active = NOT $1::boolean", done) // it would be refused now
		_, err := db.Elsewhere().UpdateSubscription(t.Context(), c)
		var replay *store.Replay
		if done != errors.As(err, &replay) || (done && replay.Answer.Status != 200) || (!done && err != nil) {
			t.Errorf("again: %v", err)
		}
		if got := db.Count("SELECT interval_days FROM subscriptions"); got != 7 {
			t.Errorf("the interval is %d in the end", got)
		}
		db.Exec("UPDATE subscriptions SET active = true") // in truth nothing has ended it
		db.CheckInvariants()
	})
}

// Of those who change it at once each changes what the one before left, or is told to try
// again.
func TestChangesOfASubscriptionAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	invoice := subscribed(db, db.Shop())
	changed := make(map[int]bool)
	for i, err := range atOnce(8, func(i int) error {
		c := change(invoice)
		c.Interval = 100 + i
		_, err := db.UpdateSubscription(t.Context(), c)
		return err
	}) {
		switch {
		case err == nil:
			changed[100+i] = true
		case !errors.Is(err, store.ErrUnavailable):
			t.Errorf("call %d: %v", i, err)
		}
	}
	if got := readInvoice(t, db, invoice).Subscription.Interval; !changed[got] {
		t.Errorf("the interval is %d, which nobody was told; changed: %v", got, changed)
	}
	db.CheckInvariants()
}

// An answer of the acquirer that comes between a change's look and its writing is not lost:
// the change is decided again.
func TestASubscriptionIsChangedWhileItIsPaid(t *testing.T) {
	t.Parallel()
	s := subscribe(t, storetest.New(t), 30)
	s.day(30)
	if !s.charge() {
		t.Fatal("it is not charged")
	}
	c := change(s.invoice)
	c.Interval = 60
	looks := 0
	c.Answer = func(i store.ShopInvoice) store.Answer {
		if looks++; looks == 1 {
			s.answer(store.Approved)
		}
		return store.Answer{Status: 200, Body: []byte(i.Subscription.DueAt.UTC().Format(time.RFC3339))}
	}
	answer, err := s.UpdateSubscription(t.Context(), c)
	if err != nil || looks != 2 {
		t.Fatalf("decided %d times, %v; want twice", looks, err)
	}
	got := *s.read().Subscription
	if want := got.PaidAt.Add(60 * day); !got.DueAt.Equal(want) || string(answer.Body) != want.UTC().Format(time.RFC3339) {
		t.Errorf("the next payment is due at %s and was said to be at %s, want %s", got.DueAt, answer.Body, want)
	}
	s.CheckInvariants()
}
