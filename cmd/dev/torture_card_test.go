package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// till is a shop whose customers pay by card as fast as the pace allows, and insist on an
// answer.
type till struct {
	*shop
	told  *partner // by callbacks
	cards []string
	pace  *rate.Limiter
	end   context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	payments []string
}

func (o *shop) startTill(random *rand.Rand, customers int) *till {
	ctx, end := context.WithCancel(o.t.Context())
	l := &till{shop: o, told: startPartner(o.t), pace: rate.NewLimiter(40, 5), end: end}
	for _, card := range []string{approvedCard, approvedCard, approvedCard, declinedCard, codeCard, cutAfterCharging, cutBefore} {
		l.cards = append(l.cards, o.card(card))
	}
	for range customers {
		mine := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		l.ended.Go(func() {
			for l.pace.Wait(ctx) == nil {
				if err := l.sell(mine); err != nil {
					o.t.Error(err)
					return
				}
			}
		})
	}
	o.t.Cleanup(l.stop)
	return l
}

// stop returns when the customers have their last answers.
func (l *till) stop() {
	l.end()
	l.ended.Wait()
}

func (l *till) sold() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.payments)
}

// insist sends a request under one key until it is answered: done, or refused. No answer, or
// one that blames the server or another try, says nothing about what was done.
func (l *till) insist(path string, params, data object) (answer, error) {
	key := uuid.NewString()
	deadline := time.Now().Add(2 * patience)
	for {
		a, err := l.ask(path, params, data, "Idempotency-Key", key)
		switch {
		case err == nil && a.status == http.StatusOK:
			return a, nil
		case err == nil && a.status < 500 && a.status != http.StatusConflict:
			return a, fmt.Errorf("%s: %s", path, a)
		case time.Now().After(deadline):
			return a, fmt.Errorf("%s: still %s, %w", path, a, err)
		}
		time.Sleep(50 * time.Millisecond) // a client's manners
	}
}

// sell issues an invoice, has it paid, and does one thing more with the payment, whether
// its state allows that or not.
func (l *till) sell(random *rand.Rand) error {
	kind := []string{"PAY", "HOLD"}[random.IntN(2)]
	a, err := l.insist("invoicer/invoices/create", object{"systemType": "ECOM"},
		object{
			"externalId": "torture", "type": kind, "description": "torture", "amount": 1000 + random.IntN(5000), "callbackUrl": l.told.URL + "/told",
		})
	if err != nil {
		return err
	}
	made, _ := a.object()["data"].(object)
	paid, err := l.insist("invoicer/payments/create", nil, object{
		"invoiceId": made["id"], "cardFrom": object{"id": l.cards[random.IntN(len(l.cards))], "securityCode": "530"},
	})
	if err != nil {
		return err
	}
	payment, _ := paid.object()["data"].(object)
	id, _ := payment["id"].(string)
	if id == "" {
		return fmt.Errorf("payments/create: %s", paid)
	}
	l.mu.Lock()
	l.payments = append(l.payments, id)
	l.mu.Unlock()

	params := object{"invoiceId": made["id"], "paymentId": id}
	for range 1 + random.IntN(3) {
		if err := l.pace.Wait(context.Background()); err != nil {
			return err
		}
		switch random.IntN(5) {
		case 0:
			_, err = l.insist("invoicer/payments/complete", with(params, "amount", 1+random.IntN(1000)), nil)
		case 1:
			_, err = l.insist("invoicer/payments/cancel", params, nil)
		case 2:
			_, err = l.insist("invoicer/payments/confirm", with(params, "code", rightCode), nil)
		default:
			_, err = l.insist("invoicer/payments/reverse", params, object{"amount": 1 + random.IntN(1000)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkTold checks that the shop was told of every event, under the id that it has.
func (l *till) checkTold() {
	l.t.Helper()
	ids := make(map[string]bool)
	for _, d := range l.told.at("/told") {
		d.claims(l.t, l.secret)
		ids[d.id] = true
	}
	const events = "SELECT count(*) FROM events WHERE type LIKE 'payment.%'"
	settled := l.count("SELECT count(*) FROM payments WHERE status <> 'NEW'")
	if n := l.count(events); n != len(ids) || n < settled {
		l.t.Errorf("%d settled payments had %d events, and %d were told", settled, n, len(ids))
	}
	if n := l.count(events+" AND id::text = ANY ($1)", slices.Collect(maps.Keys(ids))); n != len(ids) {
		l.t.Errorf("%d of %d ids are those of events", n, len(ids))
	}
	l.t.Logf("%d events were told by %d requests", len(ids), len(l.told.at("/told")))
}

func with(o object, name string, value any) object {
	more := object{name: value}
	for n, v := range o {
		more[n] = v
	}
	return more
}

// awaitSold waits until so many more payments are accepted.
func (l *till) awaitSold(n int) {
	l.t.Helper()
	before := l.sold()
	eventually(l.t, 2*patience, "more is paid", func() bool { return l.t.Failed() || l.sold() >= before+n })
}

// Whatever is killed, and whatever the acquirer does: a payment is taken once or not at all,
// and its end is what the acquirer says.
func TestTortureCardPaymentsAreTakenOnce(t *testing.T) {
	t.Parallel()
	value, asked := seed(t)
	rounds := 1
	if asked {
		rounds = 3
	}
	random := rand.New(rand.NewPCG(value, 1))
	s, servers := startOwn(t)
	l := s.shop().startTill(random, 6)
	l.awaitSold(10)

	trouble := func(kind acquirertest.Kind) {
		s.acquirer.Fault(acquirertest.Fault{Call: "any", Kind: kind, Times: 1 + random.IntN(5), Delay: 3 * time.Second})
	}
	kills := append(s.kills(servers, func() { l.awaitSold(5) }), kill{"the acquirer", s.acquirer.Restart})
	for range rounds {
		for _, i := range random.Perm(len(kills)) {
			for _, kind := range []acquirertest.Kind{acquirertest.CutBefore, acquirertest.CutAfter, acquirertest.Error500, acquirertest.Delay, acquirertest.DuplicateNotification} {
				trouble(kind)
			}
			l.awaitSold(1 + random.IntN(20))
			t.Logf("SEED=%d: %s is killed after %d payments", value, kills[i].victim, l.sold())
			kills[i].kill()
		}
	}
	l.stop()
	s.acquirer.Acquirer().ClearFaults()
	l.check()
}

// check has the acquirer say that it has news about whatever is unknown, waits for all ends,
// and compares them with what the acquirer did.
func (l *till) check() {
	l.t.Helper()
	eventually(l.t, 2*patience, "all operations are final", func() bool {
		for _, intent := range l.unknown() {
			if a, err := l.call(http.MethodPost, "/api/acquiring/notifications", encoded(object{"id": intent})); err != nil || a.status != http.StatusNoContent {
				l.t.Fatalf("a notification was answered %s, %v", a, err)
			}
		}
		return l.count("SELECT count(*) FROM operations WHERE finished_at IS NULL") == 0
	})
	if n := l.count("SELECT count(*) FROM payments WHERE payment_status IN ('OPEN', 'PENDING')"); n != 0 {
		l.t.Errorf("%d payments have no end", n)
	}
	if n := l.count("SELECT count(*) FROM dead_letters"); n != 0 {
		l.t.Errorf("%d dead letters", n)
	}
	l.checkTold()
	captured := 0
	for _, id := range l.payments {
		n := 0
		for _, op := range l.acquirer.Operations(id) {
			if op.Captured {
				n++
			}
		}
		if n > 1 {
			l.t.Errorf("payment %s was captured %d times", id, n)
		}
		captured += n
		l.checkTaken(id)
	}
	if n := l.count("SELECT count(*) FROM payments WHERE completed > 0"); n != captured {
		l.t.Errorf("%d payments are finished, the acquirer captured %d", n, captured)
	}
	l.t.Logf("%d payments, %d captured, %d reversals", len(l.payments), captured,
		l.count("SELECT count(*) FROM acquirer_intents WHERE call = 'refund' AND state = 'approved'"))
	if captured == 0 || captured == len(l.payments) {
		l.t.Errorf("%d of %d payments were captured, want some", captured, len(l.payments))
	}
}

func (l *till) unknown() (intents []string) {
	l.t.Helper()
	rows, err := l.books.Pool().Query(l.t.Context(), "SELECT id::text FROM acquirer_intents WHERE state = 'unknown'")
	if err != nil {
		l.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			l.t.Fatal(err)
		}
		intents = append(intents, id)
	}
	return intents
}
