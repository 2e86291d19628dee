package store_test

import (
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestAnEventIsSentToWhomItIsFor(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop, other := db.Shop(), db.Shop()
	all := db.Endpoint(shop.Client, "https://shop.test/all")
	chosen := db.Endpoint(shop.Client, "https://shop.test/chosen", store.EventPaymentReversed, store.EventPaymentFinished)
	disabled := db.Endpoint(shop.Client, "https://shop.test/disabled")
	unwanted := []store.EndpointID{
		db.Endpoint(shop.Client, "https://shop.test/others", store.EventPaymentReversed),
		db.Endpoint(other.Client, "https://other.test"),
		db.Endpoint(shop.Client, "https://shop.test/deleted"),
		db.Endpoint(other.Client, "https://house.test", store.EventInvoicePaid),
	}
	db.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'client' WHERE id = $1", disabled)
	db.Exec("UPDATE callback_endpoints SET state = 'deleted' WHERE id = $1", unwanted[2])
	const address = "HTTPS://Shop.Test/told?a=b&c"
	paid := db.Paid(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.CallbackURL = address }))

	const sent = `SELECT count(*) FROM callbacks c JOIN operations o ON o.id = c.id JOIN events e ON e.id = c.event_id
		WHERE e.resource = $1 AND c.endpoint_id = $2 AND o.type = 'callback.send' AND o.resource = e.id AND o.status = 'accepted' AND o.seq = 1
		  AND c.client_id = $3 AND c.url IS NULL`
	const enqueued = " AND NOT c.held AND NOT o.waits AND o.due_at < now() + interval '1 minute' AND EXISTS (SELECT FROM outbox x WHERE x.message_id = c.id AND x.queue = 'callbacks' AND x.seq = 1 AND x.delay = '')"
	for _, e := range []store.EndpointID{all, chosen} {
		if n := db.Count(sent+enqueued, paid.ID, e, shop.Client); n != 1 {
			t.Errorf("%d callbacks to one that wants it, want 1", n)
		}
	}
	if n := db.Count(sent+" AND c.held AND o.waits AND o.due_at = 'infinity' AND NOT EXISTS (SELECT FROM outbox x WHERE x.message_id = c.id)", paid.ID, disabled, shop.Client); n != 1 {
		t.Errorf("%d callbacks to a disabled endpoint are held, want 1", n)
	}
	if n := db.Count("SELECT count(*) FROM callbacks WHERE endpoint_id = ANY($1)", unwanted); n != 0 {
		t.Errorf("%d callbacks to those that do not want it", n)
	}
	const toURL = `SELECT count(*) FROM callbacks c JOIN callback_endpoints p ON p.id = c.endpoint_id
		WHERE p.policy = 'invoicer' AND p.client_id = $1 AND p.origin = 'https://shop.test:443' AND c.url = $2 AND c.invoice_id = $3`
	if n := db.Count(toURL, shop.Client, address, paid.Invoice); n != 1 {
		t.Errorf("%d callbacks to the invoice's callbackUrl, want 1", n)
	}

	db.Exec("INSERT INTO callback_urls_gone (invoice_id) VALUES ($1)", paid.Invoice)
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, paid, 0)), store.Approved)
	if n := db.Count(toURL, shop.Client, address, paid.Invoice); n != 1 {
		t.Error("a callbackUrl that is gone is told all the same")
	}
	if n := db.Count("SELECT count(*) FROM callbacks"); n != 8 {
		t.Errorf("%d callbacks in all, want 8: of the reversal to four", n)
	}
	db.CheckInvariants()
}

// Those who pay at the same time have their endpoint made by whoever comes first.
func TestManyFirstEventsMakeOneEndpoint(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	const payments = 40
	stores := []*storetest.DB{db, db.Elsewhere(), db.Elsewhere()}
	var results []store.CallResult
	for i := range payments {
		_, ref := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
			n.CallbackURL = []string{"http://a.test", "http://A.test:80/x", "http://b.test:8080"}[i%3]
		}))
		results = append(results, storetest.Result(db.Call(ref), store.Approved))
	}
	var g errgroup.Group
	for i, r := range results {
		g.Go(func() error {
			_, err := stores[i%len(stores)].FinishCall(t.Context(), r)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM callback_endpoints"); n != 2 {
		t.Errorf("%d endpoints, want one for each origin", n)
	}
	if n := db.Count("SELECT count(*) FROM callbacks"); n != payments {
		t.Errorf("%d callbacks, want %d", n, payments)
	}
	db.CheckInvariants()
}

func TestAnAnswerAndItsEventAreOne(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		shop := db.Shop()
		db.Endpoint(shop.Client, "https://shop.test")
		p, ref := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.CallbackURL = "https://shop.test/told" }))
		r := storetest.Result(db.Call(ref), store.Approved)

		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishCall(t.Context(), r); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("finish: %v, want unavailable", err)
		}
		if n := db.Count("SELECT count(*) FROM events"); n != btoi(done) {
			t.Errorf("%d events, want %d", n, btoi(done))
		}
		db.CheckInvariants()

		if o := db.FinishWith(r); o.Stale() != done {
			t.Errorf("again: %+v, want stale: %v", o, done)
		}
		if n := db.Count("SELECT count(*) FROM events WHERE resource = $1", p.ID); n != 1 {
			t.Errorf("%d events in the end, want 1", n)
		}
		if n := db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks'"); n != 2 {
			t.Errorf("%d messages about callbacks, want 2", n)
		}
		db.CheckInvariants()
	})
}

func TestATestGoesToTheNamedEndpointsOnly(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		shop := db.Shop()
		asked := db.Endpoint(shop.Client, "https://shop.test", store.EventPaymentHolded)
		also, bystander := db.Endpoint(db.Shop().Client, "https://other.test"), db.Endpoint(shop.Client, "https://shop.test/all")
		sent := func() int { return db.Count("SELECT count(*) FROM callbacks") }

		if _, err := db.TestCallbacks(t.Context(), []store.EndpointID{asked, store.NewEndpointID()}); !errors.Is(err, store.ErrEndpointNotFound) || sent() != 0 {
			t.Errorf("an endpoint that nobody has: %v, and %d are told", err, sent())
		}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.TestCallbacks(t.Context(), []store.EndpointID{asked}); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("test: %v, want unavailable", err)
		}
		if n := sent(); (n == 1) != done {
			t.Errorf("%d are told", n)
		}
		db.Exec("TRUNCATE events, callbacks, callback_attempts")
		db.Exec("DELETE FROM operations WHERE type = 'callback.send'")

		woken := false
		db.OnOutbox(func() { woken = true })
		ids, err := db.TestCallbacks(t.Context(), []store.EndpointID{asked, also, asked})
		if err != nil || len(ids) != 3 || !woken {
			t.Fatalf("%v, %v, the relay is woken: %v", ids, err, woken)
		}
		for i, e := range []store.EndpointID{asked, also, asked} {
			if n := db.Count("SELECT count(*) FROM callbacks c JOIN events e ON e.id = c.event_id WHERE e.id = $1 AND c.endpoint_id = $2 AND e.client_id = c.client_id", ids[i], e); n != 1 {
				t.Errorf("test %d is sent to its endpoint %d times", i, n)
			}
		}
		if sent() != 3 || db.Count("SELECT count(*) FROM callbacks WHERE endpoint_id = $1", bystander) != 0 {
			t.Error("others are told as well")
		}
		db.CheckInvariants()
	})
}

func TestEventsNeverChange(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Paid(db.ShopInvoice(db.Shop(), nil))
	if _, err := db.Pool().Exec(t.Context(), "UPDATE events SET body = ''"); err == nil {
		t.Error("an event can be changed")
	}
}
