package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// atOnce runs n calls at the same time and returns their errors in order.
func atOnce(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = call(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

func TestOfManyPaymentsOfAnInvoiceOneIsOpened(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	other := storetest.Open(t, db.URL) // two processes
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 300)

	ids := make([]store.OperationID, 30)
	errs := atOnce(len(ids), func(i int) (err error) {
		s := db.Store
		if i%2 == 1 {
			s = other
		}
		ids[i], err = s.AcceptPayment(t.Context(), payment)
		return err
	})
	for i, err := range errs {
		if err != nil || ids[i] != ids[0] {
			t.Errorf("call %d: operation %s, %v; want %s", i, ids[i], err, ids[0])
		}
	}
	if got := db.Count("SELECT count(*) FROM outbox"); got != 1 {
		t.Errorf("%d messages are enqueued, want 1", got)
	}
	db.CheckInvariants()

	db.Settle(store.Ref{ID: ids[0], Seq: 1})
	if _, err := db.AcceptPayment(t.Context(), payment); !errors.Is(err, store.ErrPaidEarlier) {
		t.Errorf("after it was paid: %v, want paid earlier", err)
	}
}

func TestAKeyIsDoneOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	other := storetest.Open(t, db.URL)
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 300)
	payment.Once = store.Once{Scope: "payer", Key: "k", Request: "pay", Answer: store.Answer{Status: 201, Body: []byte(`{"yes":1}`)}}

	ids := make([]store.OperationID, 16)
	errs := atOnce(len(ids), func(i int) (err error) {
		s := db.Store
		if i%2 == 1 {
			s = other
		}
		ids[i], err = s.AcceptPayment(t.Context(), payment)
		return err
	})
	accepted := 0
	for i, err := range errs {
		var replay *store.Replay
		switch {
		case err == nil:
			accepted++
		case errors.As(err, &replay):
			ids[i] = replay.Answer.Operation
			if replay.Answer.Status != 201 || string(replay.Answer.Body) != `{"yes":1}` {
				t.Errorf("call %d is answered %d %s", i, replay.Answer.Status, replay.Answer.Body)
			}
		default:
			t.Errorf("call %d: %v", i, err)
		}
		if ids[i] != ids[0] {
			t.Errorf("call %d: operation %s, want %s", i, ids[i], ids[0])
		}
	}
	if accepted != 1 {
		t.Errorf("%d calls were accepted, want 1", accepted)
	}

	db.Settle(store.Ref{ID: ids[0], Seq: 1})
	var replay *store.Replay
	if _, err := db.AcceptPayment(t.Context(), payment); !errors.As(err, &replay) {
		t.Errorf("after it was paid: %v, want the answer of then", err)
	}
	reused := payment
	reused.Once.Request = "pay something else"
	if _, err := db.AcceptPayment(t.Context(), reused); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another request under the key: %v, want it refused", err)
	}
	elsewhere := db.Invoice(payer, shop, 5)
	elsewhere.Once = payment.Once
	elsewhere.Once.Scope = "another caller"
	if _, err := db.AcceptPayment(t.Context(), elsewhere); err != nil {
		t.Errorf("the key of another caller: %v", err)
	}
	db.CheckInvariants()
}

func TestAKeyOfARefusedCommandStaysFree(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 300)
	payment.Once = store.Once{Scope: "payer", Key: "k", Request: "wrong amount", Answer: store.Answer{Status: 201}}
	wrong := payment
	wrong.Amount.Minor++

	if _, err := db.AcceptPayment(t.Context(), wrong); !errors.As(err, new(*store.Mismatch)) {
		t.Fatalf("the wrong amount: %v", err)
	}
	payment.Once.Request = "right amount"
	if _, err := db.AcceptPayment(t.Context(), payment); err != nil {
		t.Errorf("the right amount under the same key: %v", err)
	}
	db.CheckInvariants()
}

func TestAStoredAnswerIsEncrypted(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	secret := store.SessionID("0198a1b2-0000-7000-8000-00000000cafe")
	err := db.AddAccount(t.Context(), store.NewAccount{Session: secret, DeviceType: 1},
		store.Once{Scope: "endpoint", Key: "k", Request: "r", Answer: store.Answer{Status: 201, Body: []byte(secret)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct{ table, column string }{{"idempotency_keys", "answer"}, {"sessions", "sealed"}, {"sessions", "hash"}} {
		shown := fmt.Sprintf("SELECT count(*) FROM %s WHERE position($1::bytea IN %s) > 0", at.table, at.column)
		if db.Count(shown, []byte(secret)) != 0 {
			t.Errorf("%s.%s shows the session id", at.table, at.column)
		}
	}
	accounts, err := db.Accounts(t.Context(), store.Page[int64]{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if accounts[0].Session != secret {
		t.Errorf("the list shows %s, want %s", accounts[0].Session, secret)
	}
}

func TestAStrangersViolationHarmsNobodyInTheGroup(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	// The schema is made to refuse one command, as a bug of ours would.
	bad := db.Invoice(payer, shop, 13)
	db.Exec("ALTER TABLE invoices ADD CONSTRAINT no_thirteen CHECK (amount <> 13 OR state = 2)")
	payments := []store.Payment{bad}
	for range 20 {
		payments = append(payments, db.Invoice(payer, shop, 7))
	}

	errs := atOnce(len(payments), func(i int) error {
		_, err := db.AcceptPayment(t.Context(), payments[i])
		return err
	})
	for i, err := range errs {
		if (err != nil) != (i == 0) {
			t.Errorf("payment %d: %v", i, err)
		}
	}
	db.CheckInvariants()
}

// Whoever was told that the service is unavailable before the command began must not be
// surprised by it later.
func TestACommandWhoseCallerGaveUpIsNotBegun(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 7)
	gone, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := db.AcceptPayment(gone, payment); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a caller that is gone: %v", err)
	}
	if _, err := db.AcceptPayment(t.Context(), db.Invoice(payer, shop, 1)); err != nil { // the group is past it
		t.Fatal(err)
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE resource = $1", payment.Number); n != 0 {
		t.Error("the command was begun all the same")
	}
}

// An invoice that somebody sits on costs its own payer a 503, and nobody else anything.
func TestALockedInvoiceHarmsNobodyElseInTheGroup(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	locked := db.Invoice(payer, shop, 1)
	payments := []store.Payment{locked, locked, locked} // its payer is impatient
	for range 10 {
		payments = append(payments, db.Invoice(payer, shop, 7))
	}
	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), "SELECT FROM invoices WHERE number = $1 FOR UPDATE", payments[0].Number); err != nil {
		t.Fatal(err)
	}

	errs := atOnce(len(payments), func(i int) error {
		_, err := db.AcceptPayment(t.Context(), payments[i])
		return err
	})
	for i, err := range errs {
		if errors.Is(err, store.ErrUnavailable) != (payments[i].Number == locked.Number) {
			t.Errorf("payment %d: %v", i, err)
		}
	}
	db.CheckInvariants()
}

func TestADeadOperationKeepsItsInvoice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	payment := db.Invoice(payer, shop, 300)
	id, err := db.AcceptPayment(t.Context(), payment)
	if err != nil {
		t.Fatal(err)
	}
	letter := store.DeadLetter{Queue: "payments", MessageID: id.String(), Seq: 1, Operation: id, Reason: "rejected"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter, letter}); err != nil {
		t.Fatal(err)
	}

	again, err := db.AcceptPayment(t.Context(), payment)
	if err != nil || again != id {
		t.Errorf("the payer asks again: operation %s, %v; want %s, which waits for an operator", again, err, id)
	}
	if invoice, err := db.Store.Invoice(t.Context(), payment.Number); err != nil || invoice.State != store.PaymentInProgress || invoice.Error != store.TechnicalError {
		t.Errorf("the invoice: %+v, %v; want it in progress with a technical error", invoice, err)
	}
	if o := db.Settle(store.Ref{ID: id, Seq: 1}); !o.Stale() {
		t.Errorf("a copy of the dead message: %+v, want stale", o)
	}
	db.CheckInvariants()
}
