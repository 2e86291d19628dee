package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func hold(n *store.NewShopInvoice) { n.Type = store.Hold }

// command is one of the payment's shop.
func command(kind store.OperationType, p store.NewCardPayment) store.PaymentCommand {
	return store.PaymentCommand{Type: kind, Payment: p.ID, Invoice: p.Invoice, Client: p.Client, Code: "1234"}
}

// paymentsInEachState are one payment in each state that a command can meet.
func paymentsInEachState(db *storetest.DB, shop store.Shop) map[string]store.NewCardPayment {
	open, _ := db.CardPayment(db.ShopInvoice(shop, nil))
	pending, unknown := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(unknown), store.Unknown)
	unconfirmed, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	rejected, declined := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(declined), store.Declined)
	canceled := db.Paid(db.ShopInvoice(shop, hold))
	db.Finish(db.Call(db.PaymentCommand(store.PaymentCancel, canceled, 0)), store.Approved)
	reversed := db.Paid(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, reversed, 0)), store.Approved)
	return map[string]store.NewCardPayment{
		store.PaymentOpen: open, store.PaymentPending: pending, store.PaymentNeedsConfirmation: unconfirmed,
		store.PaymentHolded: db.Paid(db.ShopInvoice(shop, hold)), store.PaymentFinished: db.Paid(db.ShopInvoice(shop, nil)),
		store.PaymentRejected: rejected, store.PaymentCanceled: canceled, store.PaymentReversed: reversed,
	}
}

func TestWhatAStateAllows(t *testing.T) {
	t.Parallel()
	type asked struct {
		kind    store.OperationType
		byPayer bool
	}
	allowed := map[asked]string{
		{store.PaymentConfirm, false}:  store.PaymentNeedsConfirmation,
		{store.PaymentConfirm, true}:   store.PaymentNeedsConfirmation,
		{store.PaymentComplete, false}: store.PaymentHolded,
		{store.PaymentComplete, true}:  "",
		{store.PaymentCancel, false}:   store.PaymentHolded,
		{store.PaymentCancel, true}:    store.PaymentNeedsConfirmation,
		{store.PaymentReverse, false}:  store.PaymentFinished,
		{store.PaymentReverse, true}:   "",
	}
	for what, in := range allowed {
		t.Run(string(what.kind)+map[bool]string{true: " by the payer", false: " by the shop"}[what.byPayer], func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			for state, p := range paymentsInEachState(db, db.Shop()) {
				if got := db.Payment(p.ID).PaymentStatus; got != state {
					t.Fatalf("the payment is %s, want %s", got, state)
				}
				c := command(what.kind, p)
				if what.byPayer {
					c.Client = 0
				}
				var want error
				if state != in {
					want = store.ErrPaymentState
				}
				if _, err := db.AcceptPaymentCommand(t.Context(), c); !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", state, err, want)
				}
				if got := db.Payment(p.ID).PaymentStatus; got != state {
					t.Errorf("%s became %s before the acquirer was asked", state, got)
				}
			}
			db.CheckInvariants()
		})
	}
}

func TestACommandIsOfItsPayment(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	p := db.Paid(db.ShopInvoice(shop, hold))
	other := db.ShopInvoice(shop, nil)
	for name, change := range map[string]func(*store.PaymentCommand){
		"of another shop":    func(c *store.PaymentCommand) { c.Client++ },
		"of another invoice": func(c *store.PaymentCommand) { c.Invoice = other.ID },
		"of no invoice":      func(c *store.PaymentCommand) { c.Invoice = store.InvoiceNumber{} },
		"of no payment":      func(c *store.PaymentCommand) { c.Payment = store.NewPaymentID() },
	} {
		c := command(store.PaymentComplete, p)
		change(&c)
		if _, err := db.AcceptPaymentCommand(t.Context(), c); !errors.Is(err, store.ErrPaymentNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatACommandAsksTheAcquirer(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	itemised := func(n *store.NewShopInvoice) {
		n.Type, n.Amount, n.Services = store.Hold, 0, []store.Service{{Amount: 1000}, {Amount: 2000}}
	}
	for _, story := range []struct {
		name               string
		invoice            func(*store.NewShopInvoice)
		kind               store.OperationType
		asked              int64
		call               store.Call
		amount, commission int64
		want               error
	}{
		{"complete all", hold, store.PaymentComplete, 0, store.CallCapture, 50000, 1100, nil},
		{"complete less: the tariff's", hold, store.PaymentComplete, 20000, store.CallCapture, 20000, 500, nil},
		{"complete a part of services: its part", itemised, store.PaymentComplete, 1000, store.CallCapture, 1000, 87, nil}, // 260 / 3
		{"complete more", hold, store.PaymentComplete, 50001, "", 0, 0, store.ErrBeyondHeld},
		{"complete less than nothing", hold, store.PaymentComplete, -1, "", 0, 0, store.ErrBeyondHeld},
		{"cancel", hold, store.PaymentCancel, 0, store.CallVoid, 50000, 1100, nil},
		{"reverse all", nil, store.PaymentReverse, 0, store.CallRefund, 50000, 1100, nil},
		{"reverse all by its amount", nil, store.PaymentReverse, 50000, store.CallRefund, 50000, 1100, nil},
		{"reverse a part: its part, down", nil, store.PaymentReverse, 33333, store.CallRefund, 33333, 733, nil}, // 733.3
		{"reverse more", nil, store.PaymentReverse, 50001, "", 0, 0, store.ErrBeyondLeft},
		{"reverse less than nothing", nil, store.PaymentReverse, -1, "", 0, 0, store.ErrBeyondLeft},
	} {
		p := db.Paid(db.ShopInvoice(shop, story.invoice))
		c := command(story.kind, p)
		c.Amount = story.asked
		id, err := db.AcceptPaymentCommand(t.Context(), c)
		if !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
		if err != nil {
			continue
		}
		const intents = "SELECT count(*) FROM acquirer_intents WHERE operation_id = $1 AND call = $2 AND amount = $3 AND commission = $4"
		if n := db.Count(intents, id, story.call, story.amount, story.commission); n != 1 {
			t.Errorf("%s: no intent of %d and %d", story.name, story.amount, story.commission)
		}
	}
	db.CheckInvariants()
}

func TestACodeIsKeptSealed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	confirm := db.PaymentCommand(store.PaymentConfirm, p, 0)
	if n := db.Count("SELECT count(*) FROM acquirer_intents WHERE operation_id = $1 AND position('1234' IN encode(secret, 'escape')) = 0", confirm.ID); n != 1 {
		t.Error("the code can be read")
	}
	if call := db.Call(confirm); call.Code != "1234" {
		t.Errorf("the call has the code %q", call.Code)
	}
}

func TestACommandComesTooLate(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	unconfirmed, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	held := db.Paid(db.ShopInvoice(shop, hold))
	db.Ahead(8 * 24 * time.Hour)
	for _, story := range []struct {
		name string
		kind store.OperationType
		p    store.NewCardPayment
		want error
	}{
		{"confirm, after a quarter of an hour", store.PaymentConfirm, unconfirmed, store.ErrPaymentState},
		{"complete, after seven days", store.PaymentComplete, held, store.ErrPaymentState},
		{"cancel, which is what would become of it", store.PaymentCancel, held, nil},
	} {
		if _, err := db.AcceptPaymentCommand(t.Context(), command(story.kind, story.p)); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	db.CheckInvariants()
}

// Complete, complete with less and cancel, from two processes at once: one step is taken.
func TestOfManyStepsOneIsTaken(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	for round := range 8 {
		p := db.Paid(db.ShopInvoice(shop, hold))
		ids := make([]store.OperationID, 8)
		var taken []store.OperationID
		for i, err := range atOnce(len(ids), func(i int) (err error) {
			c := command(store.PaymentComplete, p)
			c.Amount = int64(i * 1000)
			if round%2 == 1 && i%4 == 3 {
				c.Type = store.PaymentCancel
			}
			ids[i], err = processes[i%2].AcceptPaymentCommand(t.Context(), c)
			return err
		}) {
			switch {
			case err == nil:
				taken = append(taken, ids[i])
			case !errors.Is(err, store.ErrStepInProgress):
				t.Errorf("round %d, call %d: %v", round, i, err)
			}
		}
		if len(taken) != 1 {
			t.Fatalf("round %d: %d were accepted, want 1", round, len(taken))
		}
		db.Finish(db.Call(store.Ref{ID: taken[0], Seq: 1}), store.Approved)
		if _, err := db.AcceptPaymentCommand(t.Context(), command(store.PaymentComplete, p)); !errors.Is(err, store.ErrPaymentState) {
			t.Errorf("round %d, after the first has ended: %v", round, err)
		}
	}
	db.CheckInvariants()
}

// Six parts that are more than the whole, from two processes at once.
func TestReversalsNeverGiveBackMoreThanThereWas(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	for round := range 6 {
		p := db.Paid(db.ShopInvoice(shop, nil))
		parts := []int64{20000, 20000, 15000, 10000, 30000, 1}
		ids := make([]store.OperationID, len(parts))
		var sum int64
		for i, err := range atOnce(len(parts), func(i int) (err error) {
			c := command(store.PaymentReverse, p)
			c.Amount = parts[(i+round)%len(parts)]
			ids[i], err = processes[i%2].AcceptPaymentCommand(t.Context(), c)
			return err
		}) {
			switch {
			case err == nil:
				sum += parts[(i+round)%len(parts)]
			case !errors.Is(err, store.ErrBeyondLeft):
				t.Errorf("round %d, call %d: %v", round, i, err)
			}
		}
		if sum > 50000 || sum != int64(db.Count("SELECT reversing FROM payments WHERE id = $1", p.ID)) {
			t.Errorf("round %d: %d of 50000 are given back", round, sum)
		}
		db.CheckInvariants()
		if sum < 50000 {
			ids = append(ids, db.PaymentCommand(store.PaymentReverse, p, 0).ID) // the rest, whatever it is
		}
		if _, err := db.AcceptPaymentCommand(t.Context(), command(store.PaymentReverse, p)); !errors.Is(err, store.ErrPaymentState) {
			t.Errorf("round %d: more than the rest: %v", round, err)
		}
		for _, id := range ids {
			if !id.IsZero() {
				db.Finish(db.Call(store.Ref{ID: id, Seq: 1}), store.Approved)
			}
		}
		if got := db.Payment(p.ID); got.PaymentStatus != store.PaymentReversed || got.Reversed != 50000 {
			t.Errorf("round %d: in the end %s, %d given back", round, got.PaymentStatus, got.Reversed)
		}
		db.CheckInvariants()
	}
	for _, kind := range []string{"merchant", "commission"} {
		if n := db.Count("SELECT sum(balance)::bigint FROM ledger_accounts WHERE kind = $1", kind); n != 0 {
			t.Errorf("%s keeps %d", kind, n)
		}
	}
}

// A refused reversal leaves its part to be given back by another.
func TestWhatWasNotGivenBackIsThereAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), nil))
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 50000)), store.Declined)
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 50000)), store.Approved)
	if got := db.Payment(p.ID); got.Reversed != 50000 {
		t.Errorf("%d are given back", got.Reversed)
	}
	db.CheckInvariants()
}

func TestACommandIsAcceptedOncePerKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := db.Paid(db.ShopInvoice(db.Shop(), nil))
	c := command(store.PaymentReverse, p)
	c.Amount = 1000
	c.Once = store.Once{Scope: "shop", Key: "k", Request: "r", Answer: store.Answer{Status: 200, Body: []byte("yes")}}
	id, err := db.AcceptPaymentCommand(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	db.Finish(db.Call(store.Ref{ID: id, Seq: 1}), store.Approved)
	db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 0)), store.Approved)
	var replay *store.Replay
	if _, err := db.AcceptPaymentCommand(t.Context(), c); !errors.As(err, &replay) || replay.Answer.Operation != id {
		t.Errorf("again, when it would be refused: %v, want the answer of before", err)
	}
	db.CheckInvariants()
}

func TestAcceptTheCommandAndEnqueue(t *testing.T) {
	for name, kind := range map[string]store.OperationType{"a step": store.PaymentComplete, "a reversal": store.PaymentReverse} {
		t.Run(name, func(t *testing.T) {
			eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
				p := db.Paid(db.ShopInvoice(db.Shop(), map[store.OperationType]func(*store.NewShopInvoice){store.PaymentComplete: hold}[kind]))
				c := command(kind, p)
				c.Amount = 30000
				c.Once = store.Once{Scope: "shop", Key: "k", Request: "r", Answer: store.Answer{Status: 200, Body: []byte("yes")}}

				db.faults.CutNextCommit(cut)
				if _, err := db.cutting.AcceptPaymentCommand(t.Context(), c); !errors.Is(err, store.ErrUnavailable) {
					t.Fatalf("accept: %v, want unavailable", err)
				}
				rows := map[bool]int{true: 1}[done]
				for _, what := range []string{
					"operations WHERE type <> 'payment.authorise'", "acquirer_intents WHERE call <> 'authorise'", "outbox WHERE type <> 'payment.authorise'", "idempotency_keys",
				} {
					if got := db.Count("SELECT count(*) FROM " + what); got != rows {
						t.Errorf("%s: %d rows, want %d", what, got, rows)
					}
				}
				db.CheckInvariants()

				// The process died. The shop asks again.
				restarted := db.Elsewhere()
				id, err := restarted.AcceptPaymentCommand(t.Context(), c)
				var replay *store.Replay
				switch {
				case done && (!errors.As(err, &replay) || string(replay.Answer.Body) != "yes"):
					t.Fatalf("again: %v, want the stored answer", err)
				case done:
					id = replay.Answer.Operation
				case err != nil:
					t.Fatal(err)
				}
				restarted.Finish(restarted.Call(store.Ref{ID: id, Seq: 1}), store.Approved)
				if got := restarted.Payment(p.ID); got.Status != store.StatusFinished || (kind == store.PaymentReverse && got.Reversed != 30000) ||
					(kind == store.PaymentComplete && got.Amount.Minor != 30000) {
					t.Errorf("in the end: %+v", got)
				}
				db.CheckInvariants()
			})
		})
	}
}

// Three small parts whose share of the commission is nothing were refused after the rest, and
// all of the commission, was given back: what is left goes back in whatever parts.
func TestWhatIsLeftGoesBackWithoutACommissionThatIsGone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Shop()
	shop.Tariff = store.Tariff{Fixed: 3}
	db.Exec("UPDATE clients SET commission_millipercents = 0, commission_fixed = 3 WHERE id = $1", shop.Client)
	p := db.Paid(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Amount = 6 }))
	var small []store.Ref
	for range 3 {
		small = append(small, db.PaymentCommand(store.PaymentReverse, p, 1))
	}
	rest := db.PaymentCommand(store.PaymentReverse, p, 0)
	for _, ref := range small {
		db.Finish(db.Call(ref), store.Declined)
	}
	db.Finish(db.Call(rest), store.Approved)
	db.CheckInvariants()

	for _, part := range []int64{2, 1} {
		c := command(store.PaymentReverse, p)
		c.Amount = part
		id, err := db.AcceptPaymentCommand(t.Context(), c)
		if err != nil {
			t.Fatalf("%d of what is left: %v", part, err)
		}
		db.Finish(db.Call(store.Ref{ID: id, Seq: 1}), store.Approved)
	}
	checkState(t, db, "in the end", p.ID, store.StatusReversed, store.PaymentReversed)
	db.CheckInvariants()
}
