package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// waitingIs fails the test where another amount waits than these, as "kind state: amount".
func waitingIs(t *testing.T, w *store.Watch, when string, want ...string) {
	t.Helper()
	found, err := w.MoneyWaiting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range found {
		if !slices.Contains(store.WaitingStates[m.Kind], m.State) {
			t.Errorf("%s, %s waits in an unknown state: %s", when, m.Kind, m.State)
		}
		got = append(got, fmt.Sprintf("%s %s: %s", m.Kind, m.State, m.Amount))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// waitingFor fails the test where the oldest of what waits in a state has not been waiting for
// as long as that, give or take a minute.
func waitingFor(t *testing.T, w *store.Watch, kind store.WaitingKind, state string, want time.Duration) {
	t.Helper()
	found, err := w.MoneyWaiting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(found, func(m store.Waiting) bool { return m.Kind == kind && m.State == state })
	if i < 0 || found[i].Longest < want || found[i].Longest > want+time.Minute {
		t.Errorf("%s %s has been waiting for %+v, want %s", kind, state, found, want)
	}
}

// dead makes an operation dead, as its last message's dead letter does.
func dead(t *testing.T, db *storetest.DB, queue string, ref store.Ref) {
	t.Helper()
	letter := store.DeadLetter{Queue: queue, MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "rejected"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
}

// older makes operations so old.
func older(db *storetest.DB, age string, refs ...store.Ref) {
	for _, ref := range refs {
		db.Exec("UPDATE operations SET created_at = now() - $2::interval WHERE id = $1", ref.ID, age)
	}
}

func TestWhatWaitsOfInvoices(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := watch(t, db.Store)
	payer, shop := db.Account(1000), db.Account(0)
	db.Invoice(payer, shop, 5) // that nobody pays
	db.Settle(db.Accepted(payer, shop, 7))
	db.Settle(db.Accepted(payer, shop, 5000)) // refused
	waitingIs(t, w, "with nothing under way")

	first, second, given := db.Accepted(payer, shop, 100), db.Accepted(payer, shop, 20), db.Accepted(payer, shop, 3)
	dead(t, db, "payments", given)
	older(db, "2 hours", first)
	older(db, "1 hour", second)
	older(db, "3 days", given)
	waitingIs(t, w, "with two under way and one given up", "invoice dead: 0.03 RUR", "invoice in_progress: 1.20 RUR")
	waitingFor(t, w, store.WaitingInvoice, "in_progress", 2*time.Hour)
	waitingFor(t, w, store.WaitingInvoice, "dead", 72*time.Hour)
	db.Settle(first)
	db.Settle(second)
	waitingIs(t, w, "after that", "invoice dead: 0.03 RUR")
	db.CheckInvariants()
}

func TestWhatWaitsOfAPaymentByCard(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := watch(t, db.Store)
	shop := db.Shop()
	hold := func(n *store.NewShopInvoice) { n.Type = store.Hold }

	_, ref := db.CardPayment(db.ShopInvoice(shop, nil))
	older(db, "10 minutes", ref)
	waitingIs(t, w, "accepted", "payment open: 511.00 UAH")
	call := db.Call(ref)
	waitingIs(t, w, "called", "payment open: 511.00 UAH")
	db.Finish(call, store.Unknown)
	waitingIs(t, w, "unknown", "payment pending: 511.00 UAH")
	waitingFor(t, w, store.WaitingPayment, "pending", 10*time.Minute)
	dead(t, db, "cards", db.Ref(ref.ID))
	waitingIs(t, w, "given up", "payment dead: 511.00 UAH")

	p, ref := db.CardPayment(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Amount = 10000 }))
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	waitingIs(t, w, "to be confirmed", "payment dead: 511.00 UAH", "payment needs_confirmation: 103.00 UAH")
	ref = db.PaymentCommand(store.PaymentConfirm, p, 0)
	waitingIs(t, w, "being confirmed", "payment dead: 511.00 UAH", "payment needs_confirmation: 103.00 UAH")
	dead(t, db, "cards", ref)
	waitingIs(t, w, "not to be confirmed", "payment dead: 614.00 UAH")

	db.Paid(db.ShopInvoice(shop, nil))
	held := db.Paid(db.ShopInvoice(shop, hold))
	db.Exec("UPDATE payments SET paid_at = paid_at - interval '2 days' WHERE id = $1", held.ID)
	waitingIs(t, w, "one finished and one held", "payment dead: 614.00 UAH", "payment holded: 511.00 UAH")
	waitingFor(t, w, store.WaitingPayment, "holded", 48*time.Hour)
	db.Ahead(24 * time.Hour)
	waitingFor(t, w, store.WaitingPayment, "holded", 72*time.Hour)
	db.Ahead(0)

	capture := db.PaymentCommand(store.PaymentComplete, held, 10000)
	waitingIs(t, w, "to be captured", "capture accepted: 103.00 UAH", "payment dead: 614.00 UAH", "payment holded: 511.00 UAH")
	call = db.Call(capture)
	waitingIs(t, w, "being captured", "capture running: 103.00 UAH", "payment dead: 614.00 UAH", "payment holded: 511.00 UAH")
	db.Finish(call, store.Unknown)
	older(db, "7 hours", capture)
	waitingIs(t, w, "perhaps captured", "capture unknown: 103.00 UAH", "payment dead: 614.00 UAH", "payment holded: 511.00 UAH")
	waitingFor(t, w, store.WaitingCapture, "unknown", 7*time.Hour)
	db.EndLeases()
	db.Finish(db.Call(db.Ref(capture.ID)), store.Approved)
	waitingIs(t, w, "captured", "payment dead: 614.00 UAH")

	voided := db.PaymentCommand(store.PaymentCancel, db.Paid(db.ShopInvoice(shop, hold)), 0)
	waitingIs(t, w, "to be voided", "payment dead: 614.00 UAH", "payment holded: 511.00 UAH", "void accepted: 511.00 UAH")
	db.Finish(db.Call(voided), store.Approved)
	waitingIs(t, w, "voided", "payment dead: 614.00 UAH")
	db.CheckInvariants()
}

func TestWhatWaitsToBeGivenBack(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := watch(t, db.Store)
	paid := db.Paid(db.ShopInvoice(db.Shop(), nil))
	one, two, three := db.PaymentCommand(store.PaymentReverse, paid, 10000), db.PaymentCommand(store.PaymentReverse, paid, 10000), db.PaymentCommand(store.PaymentReverse, paid, 10000)
	older(db, "1 hour", one, two, three)
	db.Call(two)
	dead(t, db, "cards", three)
	waitingIs(t, w, "three", "reversal accepted: 102.20 UAH", "reversal dead: 102.20 UAH", "reversal running: 102.20 UAH")
	db.Finish(db.Call(one), store.Unknown)
	waitingFor(t, w, store.WaitingReversal, "unknown", time.Hour)
	db.EndLeases()
	db.Finish(db.Call(db.Ref(one.ID)), store.Approved)
	waitingIs(t, w, "two", "reversal dead: 102.20 UAH", "reversal running: 102.20 UAH")
}

func TestWhatWaitsOfRechargesAndInSuspense(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	w := watch(t, db.Store)
	owner := db.Account(0)
	created, closed := db.Recharge(owner, "1"), db.Recharge(owner, "7")
	db.Exec("UPDATE recharges SET created_at = created_at - interval '3 hours' WHERE id = $1", created)
	waitingIs(t, w, "created", "recharge created: 8.00 RUR")
	waitingFor(t, w, store.WaitingRecharge, "created", 3*time.Hour)

	commit, rollback := db.Commanded(store.RechargeCommit, closed), db.Commanded(store.RechargeRollback, db.Recharge(owner, "5"))
	older(db, "1 hour", commit)
	waitingIs(t, w, "with commands", "recharge committing: 7.00 RUR", "recharge created: 1.00 RUR", "recharge rolling_back: 5.00 RUR")
	waitingFor(t, w, store.WaitingRecharge, "committing", time.Hour)
	db.SettleRecharge(rollback)
	given := db.Commanded(store.RechargeCommit, db.Recharge(owner, "2"))
	dead(t, db, "recharges", given)
	waitingIs(t, w, "one given up", "recharge committing: 7.00 RUR", "recharge created: 1.00 RUR", "recharge dead: 2.00 RUR")

	db.Exec("UPDATE accounts SET deleted = true WHERE id = $1", owner.ID)
	db.SettleRecharge(commit)
	waitingIs(t, w, "one that nobody can have", "recharge created: 1.00 RUR", "recharge dead: 2.00 RUR", "suspense suspense: 7.00 RUR")
	waitingFor(t, w, store.WaitingSuspense, "suspense", 0)
	rolledBack := db.Count("SELECT payment_no FROM recharges WHERE state = 'rolled_back'")
	var late store.RechargeID
	if err := db.Pool().QueryRow(t.Context(), "SELECT id FROM recharges WHERE payment_no = $1", rolledBack).Scan(&late); err != nil {
		t.Fatal(err)
	}
	operation, err := db.AcceptLateRecharge(t.Context(), "external", late, "bank statement 17", "ann")
	if err != nil {
		t.Fatal(err)
	}
	waitingIs(t, w, "one that came late", "recharge created: 1.00 RUR", "recharge dead: 2.00 RUR", "recharge late: 5.00 RUR", "suspense suspense: 7.00 RUR")
	db.SettleRecharge(store.Ref{ID: operation, Seq: 1})
	waitingIs(t, w, "and was booked", "recharge created: 1.00 RUR", "recharge dead: 2.00 RUR", "suspense suspense: 12.00 RUR")
	db.CheckInvariants()
}

// Two payments may be more than an integer holds: their sum must not hide all others.
func TestAnAbsurdSumIsShownAsTheMost(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1), db.Account(0)
	db.Accepted(payer, shop, 9e18)
	db.Accepted(payer, shop, 9e18)
	waitingIs(t, watch(t, db.Store), "beyond all measure", "invoice in_progress: 92233720368547758.07 RUR")
}

// What each reading must find by an index, and may find by reading all of one that has nothing
// in it but what is looked for, however many rows have ended.
func TestWhatWaitsIsFoundAmongManyRowsThatEnded(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	checkReadings(t, db, "in an empty database")
	fillForPlans(t, db)
	fillWithMobile(db)
	checkReadings(t, db, "among many rows")
}

// fillWithMobile makes 20,000 invoices that were paid, and as many recharges that were committed.
func fillWithMobile(db *storetest.DB) {
	payer, shop := db.Account(1000), db.Account(0)
	db.Invoice(payer, shop, 5)
	db.Provider("external", nil)
	db.Recharge(payer, "1")
	const rows = "FROM generate_series(1, 20000) AS g (n)"
	db.Exec(`INSERT INTO invoices (number, session_id, payer_id, recipient_id, amount, currency, description, name_cheque, date_pay_cheque, items, state, tx_id, created_at)
		SELECT gen_random_uuid(), i.session_id, i.payer_id, i.recipient_id, 5, 810, '', '', '', '[]', 5, i.tx_id, now() ` + rows + ` JOIN invoices i ON i.session_id IS NOT NULL`)
	db.Exec(`INSERT INTO recharges (id, provider_id, account_id, amount, currency, description, params, client_id, state, created_at, updated_at, expires_at)
		SELECT gen_random_uuid(), r.provider_id, r.account_id, 5, 810, '', '{}', r.client_id, 'committed', now(), now(), now() ` + rows + ` JOIN recharges r ON true`)
	db.Exec(`INSERT INTO operations (id, type, resource, status, due_at, finished_at)
		SELECT gen_random_uuid(), 'invoice.pay', i.number, 'succeeded', now(), now() FROM invoices i WHERE i.state = 5
		UNION ALL
		SELECT gen_random_uuid(), 'recharge.commit', r.id, 'succeeded', now(), now() FROM recharges r WHERE r.state = 'committed'`)
	db.Exec("VACUUM ANALYZE")
}

var mayBeReadWhole = []string{
	"one_open_payment_per_invoice", "one_open_step_per_payment", "open_reversals", "payments_to_expire", "recharges_to_expire",
	"one_open_operation_per_recharge", "callbacks_held", "dead_letters_unresolved",
}

func checkReadings(t *testing.T, db *storetest.DB, when string) {
	t.Helper()
	conn, err := storetest.Open(t, db.URL).Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	statements := statementsOf(t, ".")
	for _, name := range []string{"moneyWaitingSQL", "keptSQL"} {
		plan := explain(t, conn.Conn(), name, statements[name])
		for _, table := range seqScan.FindAllStringSubmatch(plan, -1) {
			if !slices.Contains(small, table[1]) {
				t.Errorf("%s, %s reads all of %s:\n%s", when, name, table[1], plan)
			}
		}
		for _, scan := range scansOfWholeIndexes(plan) {
			if !slices.Contains(mayBeReadWhole, indexScan.FindStringSubmatch(scan)[2]) {
				t.Errorf("%s, %s reads all of an index: %s\n%s", when, name, scan, plan)
			}
		}
		for _, index := range []string{"invoices_pkey", "payments_pkey", "one_intent_per_operation", "recharges_pkey", "transfers_by_credit"} {
			if name == "moneyWaitingSQL" && !strings.Contains(plan, index) {
				t.Errorf("%s, %s does not use %s:\n%s", when, name, index, plan)
			}
		}
	}
}
