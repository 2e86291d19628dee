package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

// Everything that a payment is made of, by how many rows of it there are.
var paymentTables = []string{"payments", "operations", "acquirer_intents", "outbox"}

func TestAPaymentIsCreatedWithItsAuthorisation(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	n, ref := db.CardPayment(db.ShopInvoice(shop, nil))

	want := store.CardPayment{
		ID: n.ID, Invoice: n.Invoice, Number: 10001, Client: shop.Client, ClientNumber: shop.Number, SystemType: store.ECOM, Type: store.Pay,
		Amount: money.Amount{Minor: 50000, Currency: store.Hryvnia}, Commission: 1100,
		Status: store.StatusNew, PaymentStatus: store.PaymentOpen, CardFrom: n.Card, StepOpen: true,
	}
	p, err := db.Store.CardPayment(t.Context(), shop.Client, n.ID)
	if diff := cmp.Diff(want, p, cmpopts.IgnoreFields(store.CardPayment{}, "ReceiptID", "CreatedAt", "UpdatedAt")); err != nil || diff != "" {
		t.Errorf("the payment: %v\n%s", err, diff)
	}
	if len(p.ReceiptID) != 12 || p.CreatedAt.IsZero() {
		t.Errorf("receipt %q, created at %s", p.ReceiptID, p.CreatedAt)
	}
	for _, story := range []struct{ what, sql string }{
		{"operation", "SELECT count(*) FROM operations WHERE id = $1 AND type = 'payment.authorise' AND resource = $2"},
		{"message", "SELECT count(*) FROM outbox WHERE message_id = $1 AND queue = 'cards' AND seq = 1 AND $2::uuid IS NOT NULL"},
		{"intent", `SELECT count(*) FROM acquirer_intents WHERE operation_id = $1 AND payment_id = $2 AND call = 'authorise'
		            AND amount = 50000 AND commission = 1100 AND secret IS NOT NULL AND state = 'intended'`},
	} {
		if got := db.Count(story.sql, ref.ID, n.ID); got != 1 {
			t.Errorf("%s: %d, want 1", story.what, got)
		}
	}
	if n := db.Count("SELECT count(*) FROM acquirer_intents WHERE position('token' IN encode(secret, 'escape')) > 0"); n != 0 {
		t.Error("the card's token can be read")
	}
	if _, err := db.Store.CardPayment(t.Context(), shop.Client+1, n.ID); !errors.Is(err, store.ErrPaymentNotFound) {
		t.Errorf("another shop's: %v", err)
	}
	if _, err := db.Store.CardPayment(t.Context(), 0, n.ID); err != nil {
		t.Errorf("whoever knows the id: %v", err)
	}
	db.CheckInvariants()
}

func TestANewCardIsStoredWithItsPayment(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	n := storetest.NewCardPayment(db.ShopInvoice(shop, nil), store.Card{ID: store.NewCardID(), Mask: "5555554444", Expiry: "2099-01", Brand: "mastercard"})
	n.NewCard, n.SavedToken, n.Client, n.Email = true, "saved", 0, "payer@example.com"
	if _, err := db.CreateCardPayment(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	card, token, err := db.CardToken(t.Context(), shop.Client, n.Card.ID)
	if err != nil || card != n.Card || token != "saved" {
		t.Errorf("the card: %+v, %v", card, err)
	}
	if _, _, err := db.CardToken(t.Context(), shop.Client+1, n.Card.ID); !errors.Is(err, store.ErrCardNotFound) {
		t.Errorf("another shop has it: %v", err)
	}
	if p, err := db.Store.CardPayment(t.Context(), 0, n.ID); err != nil || p.Email != n.Email || p.CardFrom != n.Card {
		t.Errorf("the payment: %+v, %v", p, err)
	}
	if n := db.Count("SELECT count(*) FROM cards WHERE position('saved' IN encode(token, 'escape')) > 0"); n != 0 {
		t.Error("the token can be read")
	}
}

func TestAPaymentIsOfItsInvoicesAmount(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	card := db.Card(shop, "4111111111")
	amount := func(minor int64) func(*store.NewShopInvoice) {
		return func(n *store.NewShopInvoice) { n.Amount, n.Reusable = minor, true }
	}
	fixed, open := db.ShopInvoice(shop, amount(100)), db.ShopInvoice(shop, amount(0))
	itemised := db.ShopInvoice(shop, func(n *store.NewShopInvoice) {
		n.Amount, n.Services, n.Reusable = 0, []store.Service{{Amount: 25}, {Amount: 25}}, true
	})
	for _, story := range []struct {
		name               string
		invoice            store.NewShopInvoice
		asked              int64
		amount, commission int64
		want               error
	}{
		{"what the invoice says", fixed, 0, 100, 102, nil},
		{"and what it says again", fixed, 100, 100, 102, nil},
		{"another amount", fixed, 101, 0, 0, store.ErrAmountNotOpen},
		{"nothing where it is open", open, 0, 0, 0, store.ErrAmountNeeded},
		{"less than nothing where it is open", open, -5, 0, 0, store.ErrAmountNeeded},
		{"what the payer chooses", open, 50000, 50000, 1100, nil},
		{"as much as can be", open, store.MaxCardAmount, store.MaxCardAmount, store.MaxCardAmount/50 + 100, nil},
		{"more than can be", open, store.MaxCardAmount + 1, 0, 0, store.ErrAmountTooLarge},
		{"the sum of the services, each with its commission", itemised, 0, 50, 2 * 101, nil},
	} {
		n := storetest.NewCardPayment(story.invoice, card)
		n.Amount = story.asked
		if _, err := db.CreateCardPayment(t.Context(), n); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
			continue
		}
		if story.want != nil {
			continue
		}
		if p, err := db.Store.CardPayment(t.Context(), 0, n.ID); err != nil || p.Amount.Minor != story.amount || p.Commission != story.commission {
			t.Errorf("%s: %d and %d, %v; want %d and %d", story.name, p.Amount.Minor, p.Commission, err, story.amount, story.commission)
		}
	}
	db.CheckInvariants()
}

func TestAPaymentIsNotCreated(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop, other := db.Shop(), db.Shop()
	card, theirs := db.Card(shop, "4111111111"), db.Card(other, "4111111111")
	old := db.Card(shop, "4111111112")
	db.Exec("UPDATE cards SET expiry = '2020-01' WHERE id = $1", old.ID)
	invoice := db.ShopInvoice(shop, nil)
	target := db.Card(shop, "4222222222")
	p2p := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.SystemType, n.CardTo = store.P2P, target.ID })
	taken := db.ShopInvoice(shop, nil)
	db.CardPayment(taken)
	closed := db.ShopInvoice(other, nil)
	db.Exec("UPDATE clients SET disabled = true WHERE id = $1", other.Client)

	for _, story := range []struct {
		name    string
		invoice store.NewShopInvoice
		card    store.Card
		change  func(*store.NewCardPayment)
		want    error
	}{
		{"of no invoice", invoice, card, func(n *store.NewCardPayment) { n.Invoice = store.NewShopInvoiceID() }, store.ErrInvoiceNotFound},
		{"of another shop's invoice", invoice, card, func(n *store.NewCardPayment) { n.Client = other.Client }, store.ErrInvoiceNotFound},
		{"of a disabled shop's invoice", closed, theirs, nil, store.ErrInvoiceInactive},
		{"with another shop's card", invoice, theirs, nil, store.ErrCardNotFound},
		{"with a card that is over", invoice, old, nil, store.ErrCardExpired},
		{"with a new card that is over", invoice, card, func(n *store.NewCardPayment) { n.NewCard, n.Card.Expiry = true, "2020-12" }, store.ErrCardExpired},
		{"from a card to itself", p2p, target, nil, store.ErrPaysOwnCard},
		{"from a card to itself, under another id", p2p, db.Card(shop, "4222222222"), nil, store.ErrPaysOwnCard},
		{"from a new card to itself", p2p, card, func(n *store.NewCardPayment) {
			n.NewCard, n.Card.ID, n.Token, n.SavedToken = true, store.NewCardID(), "with a code", "token of 4222222222"
		}, store.ErrPaysOwnCard},
		{"beside one that is in progress", taken, card, nil, store.ErrPaymentInProgress},
	} {
		n := storetest.NewCardPayment(story.invoice, story.card)
		n.Once = store.Once{Scope: "shop", Key: story.name, Request: "r"}
		if story.change != nil {
			story.change(&n)
		}
		if _, err := db.CreateCardPayment(t.Context(), n); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	for table, want := range map[string]int{"payments": 1, "operations": 1, "acquirer_intents": 1, "outbox": 1, "idempotency_keys": 0} {
		if n := db.Count("SELECT count(*) FROM " + table); n != want {
			t.Errorf("%s: %d rows, want %d: those of the one that is in progress", table, n, want)
		}
	}
	db.CheckInvariants()
}

func TestACardIsGoodToTheEndOfItsMonth(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	card := db.Card(shop, "4111111111")
	db.Exec("UPDATE cards SET expiry = to_char(deciding_time(), 'YYYY-MM')")
	invoice := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Reusable = true })
	if _, err := db.CreateCardPayment(t.Context(), storetest.NewCardPayment(invoice, card)); err != nil {
		t.Errorf("in its last month: %v", err)
	}
	if err := db.SetClockAhead(t.Context(), 32*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateCardPayment(t.Context(), storetest.NewCardPayment(invoice, card)); !errors.Is(err, store.ErrCardExpired) {
		t.Errorf("in the month after: %v", err)
	}
}

func TestAPaymentIsCreatedOncePerKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	invoice := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Reusable = true })
	card := db.Card(shop, "4111111111")
	once := store.Once{Scope: "shop", Key: "k", Request: "r", Answer: store.Answer{Status: 200, Body: []byte("yes")}}
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	ids := make([]store.OperationID, 8)
	var replayed, created int
	for i, err := range atOnce(len(ids), func(i int) (err error) {
		n := storetest.NewCardPayment(invoice, card)
		n.Once = once
		ids[i], err = processes[i%2].CreateCardPayment(t.Context(), n)
		return err
	}) {
		var replay *store.Replay
		switch {
		case err == nil:
			created++
		case errors.As(err, &replay) && string(replay.Answer.Body) == "yes" && !replay.Answer.Operation.IsZero():
			replayed++
		default:
			t.Errorf("call %d: %v", i, err)
		}
	}
	if created != 1 || replayed != len(ids)-1 {
		t.Errorf("%d created and %d replayed, of %d", created, replayed, len(ids))
	}
	for _, table := range paymentTables {
		if n := db.Count("SELECT count(*) FROM " + table); n != 1 {
			t.Errorf("%s: %d rows, want 1", table, n)
		}
	}
	once.Request = "another"
	n := storetest.NewCardPayment(invoice, card)
	n.Once = once
	if _, err := db.CreateCardPayment(t.Context(), n); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another request under the key: %v", err)
	}
	db.CheckInvariants()
}

// The page and the API, and impatient payers: one of them is charged.
func TestOfManyWhoPayAnInvoiceOneDoes(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	card := db.Card(shop, "4111111111")
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	for round := range 10 {
		invoice := db.ShopInvoice(shop, nil)
		accepted := 0
		for i, err := range atOnce(8, func(i int) error {
			n := storetest.NewCardPayment(invoice, card)
			n.Client *= int64(i % 2)
			if i > 3 {
				n.NewCard, n.Card.ID, n.SavedToken = true, store.NewCardID(), "saved"
			}
			_, err := processes[i/4].CreateCardPayment(t.Context(), n)
			return err
		}) {
			switch {
			case err == nil:
				accepted++
			case !errors.Is(err, store.ErrPaymentInProgress):
				t.Errorf("round %d, call %d: %v", round, i, err)
			}
		}
		if accepted != 1 {
			t.Errorf("round %d: %d were accepted, want 1", round, accepted)
		}
	}
	for _, table := range paymentTables {
		if n := db.Count("SELECT count(*) FROM " + table); n != 10 {
			t.Errorf("%s: %d rows, want 10", table, n)
		}
	}
	db.CheckInvariants()
}

func TestCreateThePaymentAndEnqueue(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		shop := db.Shop()
		n := storetest.NewCardPayment(db.ShopInvoice(shop, nil), store.Card{ID: store.NewCardID(), Mask: "4111111111", Expiry: "2099-01"})
		n.NewCard, n.SavedToken = true, "saved"
		n.Once = store.Once{Scope: "page", Key: "k", Request: "r", Answer: store.Answer{Status: 200, Body: []byte("yes")}}
		intent, err := db.LeaseKey(t.Context(), n.Once, store.NewIntentID())
		if err != nil {
			t.Fatal(err)
		}

		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.CreateCardPayment(t.Context(), n); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("create: %v, want unavailable", err)
		}
		rows := map[bool]int{true: 1}[done]
		for _, table := range append([]string{"cards", "idempotency_keys"}, paymentTables...) {
			if got := db.Count("SELECT count(*) FROM " + table); got != rows {
				t.Errorf("%s: %d rows, want %d", table, got, rows)
			}
		}
		if got := db.Count("SELECT count(*) FROM idempotency_leases"); got != 1-rows {
			t.Errorf("%d leases, want %d: it ends with the commit", got, 1-rows)
		}

		// The process died. The payer asks again.
		restarted := db.Elsewhere()
		db.Exec("UPDATE idempotency_leases SET leased_until = now()")
		again, err := restarted.LeaseKey(t.Context(), n.Once, store.NewIntentID())
		var replay *store.Replay
		switch {
		case done && (!errors.As(err, &replay) || string(replay.Answer.Body) != "yes"):
			t.Fatalf("again: %v, want the stored answer", err)
		case !done && (err != nil || again != intent):
			t.Fatalf("again: %s, %v; want the intent of before, %s", again, err, intent)
		case !done:
			n.ID, n.Intent, n.Card.ID = store.NewPaymentID(), store.NewIntentID(), store.NewCardID()
			if _, err := restarted.CreateCardPayment(t.Context(), n); err != nil {
				t.Fatal(err)
			}
		}
		for _, table := range paymentTables {
			if got := db.Count("SELECT count(*) FROM " + table); got != 1 {
				t.Errorf("%s: %d rows in the end, want 1", table, got)
			}
		}
		db.CheckInvariants()
	})
}
