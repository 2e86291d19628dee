package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// funeral is a database with what operations die of, and an operator to see to it.
type funeral struct {
	*storetest.DB
	t        *testing.T
	operator *store.Store

	payer, shop storetest.Account
	merchant    store.Shop
	recharge    store.RechargeID
	payment     store.NewCardPayment
}

func newFuneral(t *testing.T) *funeral {
	t.Helper()
	db := storetest.New(t)
	f := &funeral{DB: db, t: t, operator: storetest.Operated(t, db.URL), payer: phoned(t, db, 1000), shop: db.Account(0), merchant: db.Shop()}
	db.Provider("external", nil)
	return f
}

func (f *funeral) replay(letters ...int64) []store.DeadOutcome {
	f.t.Helper()
	outcomes, err := f.operator.ReplayDeadLetters(f.t.Context(), letters, store.ForReal)
	if err != nil {
		f.t.Fatal(err)
	}
	return outcomes
}

func (f *funeral) drop(letters ...int64) []store.DeadOutcome {
	f.t.Helper()
	outcomes, err := f.operator.DropDeadLetters(f.t.Context(), letters, "because", store.ForReal)
	if err != nil {
		f.t.Fatal(err)
	}
	return outcomes
}

func (f *funeral) operationOf(id store.OperationID) store.Operation {
	f.t.Helper()
	o, err := f.Operation(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// rechargeState is the recharge's.
func (f *funeral) rechargeState() string { return string(stateOf(f.t, f.DB, f.recharge)) }

// deaths are one operation of each type, how its worker goes on with it, and how it stands after
// that, and after it was dropped instead.
var deaths = []struct {
	kind     store.OperationType
	queue    string // to which a replay goes
	begin    func(f *funeral) store.Ref
	goOn     func(f *funeral, ref store.Ref) store.Status
	state    func(f *funeral) string
	replayed string
	dropped  string
}{
	{
		store.InvoicePay, "payments", func(f *funeral) store.Ref { return f.Accepted(f.payer, f.shop, 300) },
		func(f *funeral, ref store.Ref) store.Status { return f.Settle(ref).Status },
		func(f *funeral) string {
			return f.text("SELECT state || ', error ' || error_code FROM invoices WHERE state <> 6")
		}, "5, error 0", "2, error 9",
	},
	{
		store.RechargeCommit, "recharges", func(f *funeral) store.Ref { return f.commanded(store.RechargeCommit) },
		func(f *funeral, ref store.Ref) store.Status { return f.SettleRecharge(ref).Status }, (*funeral).rechargeState, "committed", "created",
	},
	{
		store.RechargeRollback, "recharges", func(f *funeral) store.Ref { return f.commanded(store.RechargeRollback) },
		func(f *funeral, ref store.Ref) store.Status { return f.SettleRecharge(ref).Status }, (*funeral).rechargeState, "rolled_back", "created",
	},
	{
		store.RechargeExpire, "recharges", func(f *funeral) store.Ref {
			f.recharge = f.Recharge(f.shop, "3")
			f.Ahead(25 * time.Hour)
			if n, err := f.ExpireRecharges(f.t.Context(), 10); err != nil || n != 1 {
				f.t.Fatalf("%d expire: %v", n, err)
			}
			return refOf(f.DB, store.RechargeExpire)
		},
		func(f *funeral, ref store.Ref) store.Status { return f.SettleRecharge(ref).Status }, (*funeral).rechargeState, "expired", "created",
	},
	{
		store.RechargeLate, "recharges", func(f *funeral) store.Ref {
			f.SettleRecharge(f.commanded(store.RechargeRollback))
			id, err := f.AcceptLateRecharge(f.t.Context(), "external", f.recharge, "a statement", "a clerk")
			if err != nil {
				f.t.Fatal(err)
			}
			return f.Ref(id)
		},
		func(f *funeral, ref store.Ref) store.Status { return f.SettleRecharge(ref).Status },
		func(f *funeral) string {
			return f.text("SELECT count(*) || ' late' FROM transfers WHERE kind = 'late_recharge'")
		}, "1 late", "0 late",
	},
	{
		store.PaymentAuthorise, "cards", func(f *funeral) (ref store.Ref) {
			f.payment, ref = f.CardPayment(f.ShopInvoice(f.merchant, nil))
			return ref
		},
		(*funeral).called, (*funeral).paymentState, "FINISHED", "REJECTED dropped",
	},
	{
		store.PaymentConfirm, "cards", func(f *funeral) store.Ref {
			p, ref := f.CardPayment(f.ShopInvoice(f.merchant, nil))
			f.Finish(f.Call(ref), store.NeedsConfirmation)
			f.payment = p
			return f.PaymentCommand(store.PaymentConfirm, p, 0)
		},
		(*funeral).called, (*funeral).paymentState, "FINISHED", "NEEDS_CONFIRMATION",
	},
	{
		store.PaymentComplete, "cards", func(f *funeral) store.Ref { return f.ofHeld(store.PaymentComplete, 30000) },
		(*funeral).called, (*funeral).paymentState, "FINISHED", "HOLDED",
	},
	{
		store.PaymentCancel, "cards", func(f *funeral) store.Ref { return f.ofHeld(store.PaymentCancel, 0) },
		(*funeral).called, (*funeral).paymentState, "CANCELED", "HOLDED",
	},
	{
		store.PaymentExpire, "cards", func(f *funeral) store.Ref {
			f.payment = f.Paid(f.ShopInvoice(f.merchant, func(n *store.NewShopInvoice) { n.Type = store.Hold }))
			f.Exec("UPDATE payments SET expires_at = deciding_time()")
			if n, err := f.ExpirePayments(f.t.Context(), 10); err != nil || n != 1 {
				f.t.Fatalf("%d expire: %v", n, err)
			}
			return refOf(f.DB, store.PaymentExpire)
		},
		(*funeral).called, (*funeral).paymentState, "CANCELED", "HOLDED",
	},
	{
		store.PaymentReverse, "cards", func(f *funeral) store.Ref {
			f.payment = f.Paid(f.ShopInvoice(f.merchant, nil))
			return f.PaymentCommand(store.PaymentReverse, f.payment, 0)
		},
		(*funeral).called, (*funeral).paymentState, "REVERSED", "FINISHED",
	},
	{
		store.ReceiptSend, "receipts", func(f *funeral) store.Ref {
			f.Paid(f.ShopInvoice(f.merchant, func(n *store.NewShopInvoice) { n.Email = "shop@example.com" }))
			return refOf(f.DB, store.ReceiptSend)
		},
		func(f *funeral, ref store.Ref) store.Status {
			if _, begun, err := f.StartReceipt(f.t.Context(), ref); err != nil || !begun {
				f.t.Fatalf("the receipt: begun %v, %v", begun, err)
			}
			o, err := f.FinishReceipt(f.t.Context(), ref, "", "")
			if err != nil {
				f.t.Fatal(err)
			}
			return o.Status
		}, func(*funeral) string { return "" }, "", "",
	},
	{
		store.CallbackSend, "callbacks.retry", func(f *funeral) store.Ref {
			return f.Callback(f.Endpoint(f.merchant.Client, "https://shop.example/hook"))
		},
		func(f *funeral, ref store.Ref) store.Status {
			return f.Attempted(f.Sending(ref), store.Delivered).Status
		},
		func(*funeral) string { return "" }, "", "",
	},
	{
		store.PushSend, "pushes", func(f *funeral) store.Ref {
			f.Invoice(f.payer, f.shop, 300)
			return pushesTo(f.t, f.DB, f.payer)[0]
		},
		func(f *funeral, ref store.Ref) store.Status {
			return finish(f.t, f.Store, store.PushResult{Push: started(f.t, f.Store, ref)}).Status
		},
		func(*funeral) string { return "" }, "", "",
	},
}

func (f *funeral) commanded(kind store.OperationType) store.Ref {
	f.recharge = f.Recharge(f.shop, "3")
	return f.Commanded(kind, f.recharge)
}

func (f *funeral) ofHeld(kind store.OperationType, amount int64) store.Ref {
	f.payment = f.Paid(f.ShopInvoice(f.merchant, func(n *store.NewShopInvoice) { n.Type = store.Hold }))
	return f.PaymentCommand(kind, f.payment, amount)
}

func (f *funeral) called(ref store.Ref) store.Status {
	return f.Finish(f.Call(ref), store.Approved).Status
}

func (f *funeral) paymentState() string {
	p := f.Payment(f.payment.ID)
	if p.RefusalCode != "" {
		return p.PaymentStatus + " " + p.RefusalCode
	}
	return p.PaymentStatus
}

func (f *funeral) text(sql string) (text string) {
	f.t.Helper()
	if err := f.Pool().QueryRow(f.t.Context(), sql).Scan(&text); err != nil {
		f.t.Fatal(err)
	}
	return text
}

func TestADeadOperationOfEachTypeIsReplayed(t *testing.T) {
	t.Parallel()
	for _, death := range deaths {
		t.Run(string(death.kind), func(t *testing.T) {
			t.Parallel()
			f := newFuneral(t)
			ref := death.begin(f)
			letter := f.Dies(ref)
			f.CheckInvariants()
			f.Exec("DELETE FROM outbox")

			outcome := f.replay(letter)[0]
			if outcome.Resolution != store.Replayed || outcome.Operation != ref.ID || outcome.Type != death.kind {
				t.Errorf("it was replayed as %+v", outcome)
			}
			if o := f.operationOf(ref.ID); o.Status != store.Accepted || o.Attempts != 0 || o.ErrorCode != "" {
				t.Errorf("its operation is %+v", o)
			}
			again := f.Ref(ref.ID)
			if n := f.Count("SELECT count(*) FROM outbox WHERE message_id = $1 AND seq = $2 AND queue = $3 AND type = $4", ref.ID, again.Seq, death.queue, death.kind); n != 1 || again.Seq <= ref.Seq {
				t.Errorf("%d messages at seq %d are on their way to %s", n, again.Seq, death.queue)
			}
			if n := f.Count("SELECT count(*) FROM invoices WHERE state = 3 AND error_code <> 0"); n != 0 {
				t.Error("what is being paid again shows the error of before")
			}
			f.CheckInvariants()
			if got := death.goOn(f, again); got != store.Succeeded {
				t.Errorf("then it is %q", got)
			}
			if got := death.state(f); got != death.replayed {
				t.Errorf("it comes to %q, want %q", got, death.replayed)
			}
			if second := f.replay(letter)[0]; !errors.Is(second.Refused, store.ErrDeadLetterResolved) {
				t.Errorf("replayed again: %+v", second)
			}
			f.CheckInvariants()
		})
	}
}

func TestADeadOperationOfEachTypeIsDropped(t *testing.T) {
	t.Parallel()
	for _, death := range deaths {
		t.Run(string(death.kind), func(t *testing.T) {
			t.Parallel()
			f := newFuneral(t)
			ref := death.begin(f)
			letter := f.Dies(ref)
			attempts := f.operationOf(ref.ID).Attempts

			outcome := f.drop(letter)[0]
			if outcome.Resolution != store.Dropped || outcome.Refused != nil {
				t.Errorf("it was dropped as %+v", outcome)
			}
			if o := f.operationOf(ref.ID); o.Status != store.Failed || o.ErrorCode != "dropped" || o.FinishedAt == nil || o.Attempts > attempts+1 {
				t.Errorf("its operation is %+v", o)
			}
			if got := death.state(f); got != death.dropped {
				t.Errorf("it comes to %q, want %q", got, death.dropped)
			}
			d, err := f.DeadLetter(t.Context(), letter)
			if err != nil || d.ResolvedAt == nil || d.Resolution != store.Dropped || d.ResolvedBy != storetest.Operator || d.Note != "because" {
				t.Errorf("its letter is %+v, %v", d, err)
			}
			f.CheckInvariants()
		})
	}
}

// What is dropped is free for the next one.
func TestASlotIsFreeAfterADrop(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	payment := f.Invoice(f.payer, f.shop, 300)
	id, err := f.AcceptPayment(t.Context(), payment)
	if err != nil {
		t.Fatal(err)
	}
	letter := f.Dies(f.Ref(id))
	if same, err := f.AcceptPayment(t.Context(), payment); err != nil || same != id {
		t.Errorf("a dead payment has lost its slot to %s, %v", same, err)
	}
	f.drop(letter)
	if len(pushesTo(t, f.DB, f.payer)) != 2 { // the invoice, and that it was not paid
		t.Error("its payer was not told")
	}
	again, err := f.AcceptPayment(t.Context(), payment)
	if err != nil || again == id {
		t.Fatalf("the next payment is %s, %v; the dropped one was %s", again, err, id)
	}
	if o := f.Settle(f.Ref(again)); o.Status != store.Succeeded {
		t.Errorf("the next payment: %+v", o)
	}
	f.CheckInvariants()
}

func TestADropNeverGuesses(t *testing.T) {
	t.Parallel()
	for _, death := range deaths {
		if death.queue != "cards" {
			continue
		}
		for _, fate := range []struct {
			name string
			call func(f *funeral, ref store.Ref)
		}{
			{"its worker died in the call", func(f *funeral, ref store.Ref) { f.Call(ref) }},
			{"its outcome is unknown", func(f *funeral, ref store.Ref) { f.Finish(f.Call(ref), store.Unknown) }},
		} {
			t.Run(string(death.kind)+", "+fate.name, func(t *testing.T) {
				t.Parallel()
				f := newFuneral(t)
				ref := death.begin(f)
				fate.call(f, ref)
				f.EndLeases()
				letter := f.Dies(f.Ref(ref.ID))
				before := f.paymentState()

				if outcome := f.drop(letter)[0]; !errors.Is(outcome.Refused, store.ErrOutcomeUnknown) {
					t.Errorf("it was dropped: %+v", outcome)
				}
				if o := f.operationOf(ref.ID); o.Status != store.Dead || f.paymentState() != before {
					t.Errorf("its operation is %s, its payment %s", o.Status, f.paymentState())
				}
				f.CheckInvariants()
				f.replay(letter)
				call := f.Call(f.Ref(ref.ID))
				if !call.Unknown {
					t.Error("the acquirer is asked again without being inquired")
				}
				f.Finish(call, store.Approved)
				if got := f.paymentState(); got != death.replayed {
					t.Errorf("it comes to %q, want %q", got, death.replayed)
				}
				f.CheckInvariants()
			})
		}
	}
}

// What the acquirer calls its refusals is its own business, also where it has our word for ours.
func TestARefusalByTheNameOfADropIsOne(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p, ref := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
	db.Finish(db.Call(ref), store.NeedsConfirmation)
	refused := storetest.Result(db.Call(db.PaymentCommand(store.PaymentConfirm, p, 0)), store.Declined)
	refused.Code = "dropped"
	db.FinishWith(refused)
	if n := db.Count("SELECT count(*) FROM payments WHERE payment_status = 'REJECTED'"); n != 1 {
		t.Error("the payment waits to be confirmed again, which the acquirer has refused")
	}
	db.CheckInvariants()
}

// Two reversals of one payment, dropped in one go.
func TestTwinsAreDroppedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	p := f.Paid(f.ShopInvoice(f.merchant, nil))
	first, second := f.PaymentCommand(store.PaymentReverse, p, 20000), f.PaymentCommand(store.PaymentReverse, p, 10000)
	for _, o := range f.drop(f.Dies(first), f.Dies(second)) {
		if o.Resolution != store.Dropped {
			t.Errorf("%+v", o)
		}
	}
	f.CheckInvariants()
	f.Finish(f.Call(f.PaymentCommand(store.PaymentReverse, p, 0)), store.Approved)
	f.CheckInvariants()
}

// A letter about what is not dead is resolved, and that is all.
func TestWhatIsNotDeadIsMoot(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		letter func(f *funeral) int64
		want   store.Status // of its operation
	}{
		{"it was settled meanwhile, by another copy", func(f *funeral) int64 {
			ref := f.Accepted(f.payer, f.shop, 300)
			f.Settle(ref)
			return f.Dies(ref)
		}, store.Succeeded},
		{"it is being worked on, and this was a stale copy", func(f *funeral) int64 {
			ref := f.Accepted(f.payer, f.shop, 300)
			f.Exec("UPDATE operations SET seq = 5 WHERE id = $1", ref.ID)
			return f.Dies(ref)
		}, store.Accepted},
		{"a late answer has ended it after its death", func(f *funeral) int64 {
			_, ref := f.CardPayment(f.ShopInvoice(f.merchant, nil))
			call := f.Call(ref)
			letter := f.Dies(ref)
			f.Finish(call, store.Approved)
			return letter
		}, store.Succeeded},
		{"nobody knows its operation", func(f *funeral) int64 { return f.Dies(store.Ref{ID: store.NewOperationID(), Seq: 1}) }, ""},
		{"nobody can read it", func(f *funeral) int64 { return f.unreadable("") }, ""},
		{"nobody can read it, but its message-id names what is being worked on", func(f *funeral) int64 {
			return f.unreadable(f.Accepted(f.payer, f.shop, 300).ID.String())
		}, store.Accepted},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			for want, resolve := range map[store.Resolution]func(*funeral, ...int64) []store.DeadOutcome{store.Moot: (*funeral).replay, store.Dropped: (*funeral).drop} {
				f := newFuneral(t)
				letter := story.letter(f)
				before := f.text(operationsNow)
				f.Exec("DELETE FROM outbox")
				outcome := resolve(f, letter)[0]
				if outcome.Resolution != want || outcome.Refused != nil || outcome.Note == "" {
					t.Errorf("%+v, want %s", outcome, want)
				}
				if after := f.text(operationsNow); after != before {
					t.Errorf("its operation was %s and is %s", before, after)
				}
				if story.want != "" && f.operationOf(outcome.Operation).Status != story.want {
					t.Errorf("its operation is %s", f.operationOf(outcome.Operation).Status)
				}
				if n := f.Count("SELECT count(*) FROM outbox") + f.Count("SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL"); n != 0 {
					t.Error("something is enqueued, or still waits")
				}
				f.CheckInvariants()
			}
		})
	}
}

const operationsNow = "SELECT coalesce(string_agg(o::text, ';' ORDER BY o.id), '') FROM operations o"

// unreadable is a dead letter whose body names nothing.
func (f *funeral) unreadable(property string) (letter int64) {
	f.t.Helper()
	d := store.DeadLetter{Queue: "payments", MessageID: "sha256:00", Reason: "rejected", Error: "not readable", Body: []byte{0, 255}, PropertyID: property}
	if _, err := f.KeepDeadLetters(f.t.Context(), []store.DeadLetter{d}); err != nil {
		f.t.Fatal(err)
	}
	return int64(f.Count("SELECT id FROM dead_letters WHERE message_id = 'sha256:00'"))
}

// Whatever letters a dead operation has, one of them has it run again, and once.
func TestAllLettersOfAnOperationGoTogether(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	ref := f.Accepted(f.payer, f.shop, 300)
	f.Exec("UPDATE operations SET seq = 2 WHERE id = $1", ref.ID)
	stale, unread, killer := f.Dies(ref), f.unreadable(ref.ID.String()), f.Dies(store.Ref{ID: ref.ID, Seq: 2})

	outcomes := f.replay(stale, unread, 4711, stale)
	for i, want := range []store.Resolution{store.Replayed, store.Replayed, "", store.Replayed} {
		if outcomes[i].Resolution != want {
			t.Errorf("the letter %d: %+v, want %q", i, outcomes[i], want)
		}
	}
	if !errors.Is(outcomes[2].Refused, store.ErrDeadLetterNotFound) {
		t.Errorf("a letter that is not there: %v", outcomes[2].Refused)
	}
	if d, err := f.DeadLetter(t.Context(), killer); err != nil || d.Resolution != store.Replayed || d.Note == "" {
		t.Errorf("the third letter is %+v, %v", d, err)
	}
	if n := f.Count("SELECT count(*) FROM outbox WHERE message_id = $1 AND seq = 3", ref.ID); n != 1 {
		t.Errorf("it is enqueued %d times", n)
	}
	f.CheckInvariants()
}

func TestAReplayBeginsTheAttemptsAnew(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	ref := f.Accepted(f.payer, f.shop, 300)
	ladder := []store.Delay{{Name: "1s", Wait: time.Second}, {Name: "5s", Wait: 5 * time.Second}}
	fail := func() store.RetryVerdict {
		became, err := f.RetryOperation(t.Context(), store.Failure{Ref: f.Ref(ref.ID), Cause: "it fails", Ladder: ladder})
		if err != nil {
			t.Fatal(err)
		}
		return became.Verdict
	}
	want := []store.RetryVerdict{store.RetryStored, store.RetryStored, store.RetryUsedUp}
	for life := range 2 {
		got := []store.RetryVerdict{fail(), fail(), fail()}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("life %d: -want +got\n%s", life, diff)
		}
		letter := f.Dies(f.Ref(ref.ID))
		d, err := f.DeadLetter(t.Context(), letter)
		if err != nil || len(d.Attempts) != 3*(life+1) || d.Error != "it fails" {
			t.Errorf("life %d: its letter has %d attempts and says %q, %v", life, len(d.Attempts), d.Error, err)
		}
		if o := f.operationOf(ref.ID); o.Attempts != 3 {
			t.Errorf("life %d: %d attempts count, want 3", life, o.Attempts)
		}
		f.replay(letter)
	}
	// Dead before any attempt of this life: those of the lives before do not count.
	f.Dies(f.Ref(ref.ID))
	if o := f.operationOf(ref.ID); o.Attempts != 0 {
		t.Errorf("without an attempt %d count", o.Attempts)
	}
	f.CheckInvariants()
}

func TestADryRunDoesNothing(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	letter := f.Dies(f.Accepted(f.payer, f.shop, 300))
	all := "SELECT (SELECT string_agg(o::text, ';') FROM operations o) || (SELECT string_agg(d::text, ';') FROM dead_letters d) || (SELECT count(*) FROM outbox) || (SELECT count(*) FROM audit_log)"
	before := f.text(all)
	replayed, err := f.operator.ReplayDeadLetters(t.Context(), []int64{letter}, store.DryRun)
	if err != nil || replayed[0].Resolution != store.Replayed {
		t.Errorf("replay: %+v, %v", replayed, err)
	}
	dropped, err := f.operator.DropDeadLetters(t.Context(), []int64{letter}, "because", store.DryRun)
	if err != nil || dropped[0].Resolution != store.Dropped {
		t.Errorf("drop: %+v, %v", dropped, err)
	}
	if after := f.text(all); after != before {
		t.Errorf("it changed\n%s to\n%s", before, after)
	}
}

func TestACallbackThatIsSentAgainHasItsLetterResolved(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	ref := f.Callback(f.Endpoint(f.merchant.Client, "https://shop.example/hook"))
	letter := f.Dies(ref)
	if _, err := f.ReplayCallback(t.Context(), store.CallbackReplay{ID: ref.ID, Client: f.merchant.Client}); err != nil {
		t.Fatal(err)
	}
	if d, err := f.DeadLetter(t.Context(), letter); err != nil || d.Resolution != store.Replayed || d.ResolvedBy != "the client" {
		t.Errorf("%+v, %v", d, err)
	}
	f.CheckInvariants()
}

// Cut before the commit nothing happened, and after it all of it did; the operator, who is told
// the same both times, does it again and comes to the same end.
func TestReplayAndCut(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		ref := db.Accepted(db.Account(1000), db.Account(0), 300)
		letter := db.Dies(ref)
		db.Exec("DELETE FROM outbox")
		cutting := storetest.Operated(t, db.faults.URL)

		db.faults.CutNextCommit(cut)
		if _, err := cutting.ReplayDeadLetters(t.Context(), []int64{letter}, store.ForReal); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("replay: %v, want unavailable", err)
		}
		checkAllOrNothing(t, db, done, "SELECT count(*) FROM outbox", "SELECT count(*) FROM audit_log WHERE action = 'dead.replay'",
			"SELECT count(*) FROM dead_letters WHERE resolution = 'replayed'", "SELECT count(*) FROM operations WHERE status = 'accepted'")
		again, err := cutting.ReplayDeadLetters(t.Context(), []int64{letter}, store.ForReal)
		if err != nil || errors.Is(again[0].Refused, store.ErrDeadLetterResolved) != done {
			t.Errorf("again: %+v, %v", again, err)
		}
		if o := db.Settle(store.Ref{ID: ref.ID, Seq: 2}); o.Status != store.Succeeded {
			t.Errorf("settled: %+v", o)
		}
		db.CheckInvariants()
	})
}

func TestDropAndCut(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		ref := db.Accepted(db.Account(1000), db.Account(0), 300)
		_, authorise := db.CardPayment(db.ShopInvoice(db.Shop(), nil))
		letters := []int64{db.Dies(ref), db.Dies(authorise)}
		cutting := storetest.Operated(t, db.faults.URL)

		db.faults.CutNextCommit(cut)
		if _, err := cutting.DropDeadLetters(t.Context(), letters, "because", store.ForReal); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("drop: %v, want unavailable", err)
		}
		checkAllOrNothing(t, db, done, "SELECT count(*) / 2 FROM audit_log WHERE action = 'dead.drop'",
			"SELECT count(*) / 2 FROM dead_letters WHERE resolution = 'dropped'", "SELECT count(*) / 2 FROM operations WHERE status = 'failed'",
			"SELECT count(*) FROM invoices WHERE state = 2 AND error_code = 9", "SELECT count(*) FROM payments WHERE payment_status = 'REJECTED'")
		again, err := cutting.DropDeadLetters(t.Context(), letters, "because", store.ForReal)
		if err != nil || errors.Is(again[0].Refused, store.ErrDeadLetterResolved) != done {
			t.Errorf("again: %+v, %v", again, err)
		}
		if n := db.Count("SELECT count(*) FROM audit_log"); n != 2 {
			t.Errorf("the audit log has it %d times", n)
		}
		db.CheckInvariants()
	})
}

func checkAllOrNothing(t *testing.T, db *faulty, done bool, queries ...string) {
	t.Helper()
	want := map[bool]int{true: 1}[done]
	for _, sql := range queries {
		if got := db.Count(sql); got != want {
			t.Errorf("%s: %d, want %d", sql, got, want)
		}
	}
	db.CheckInvariants()
}

// The broker loses the message of a replay: the operation is due, and is enqueued again.
func TestAReplayWhoseMessageIsLostIsFound(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	ref := f.Accepted(f.payer, f.shop, 300)
	f.replay(f.Dies(ref))
	f.Exec("DELETE FROM outbox")
	f.Exec("UPDATE operations SET due_at = now() - interval '1 second' WHERE id = $1 AND due_at < now() + interval '2 seconds'", ref.ID)
	if n, err := f.EnqueueDue(t.Context(), "payments", 0, 10); err != nil || n != 1 {
		t.Errorf("%d are enqueued, %v", n, err)
	}
	if o := f.Settle(f.Ref(ref.ID)); o.Status != store.Succeeded {
		t.Errorf("settled: %+v", o)
	}
	f.CheckInvariants()
}

func TestDeadLettersAreFound(t *testing.T) {
	t.Parallel()
	f := newFuneral(t)
	for _, d := range []store.DeadLetter{
		{MessageID: "a", Queue: "cards", Reason: "rejected", Error: "Connection REFUSED", Type: "payment.confirm"},
		{MessageID: "b", Queue: "payments", Reason: "rejected", Error: "100% wrong"},
		{MessageID: "c", Queue: "cards", Reason: "delivery_limit", PropertyID: "hand-made"},
		{MessageID: "d", Queue: "cards", Reason: "rejected"},
	} {
		if _, err := f.KeepDeadLetters(t.Context(), []store.DeadLetter{d}); err != nil {
			t.Fatal(err)
		}
	}
	f.Exec("UPDATE dead_letters SET died_at = died_at - interval '2 hours' WHERE message_id = 'b'")
	f.replay(int64(f.Count("SELECT id FROM dead_letters WHERE message_id = 'd'")))
	hourAgo := time.Now().Add(-time.Hour)
	for _, story := range []struct {
		name   string
		filter store.DeadFilter
		want   string
	}{
		{"those that wait", store.DeadFilter{}, "cba"},
		{"those that were resolved", store.DeadFilter{Which: store.ResolvedLetters}, "d"},
		{"all", store.DeadFilter{Which: store.AllLetters}, "dcba"},
		{"of a queue", store.DeadFilter{Queue: "cards"}, "ca"},
		{"of a reason", store.DeadFilter{Reason: "rejected"}, "ba"},
		{"since an hour ago", store.DeadFilter{Since: hourAgo}, "ca"},
		{"until an hour ago", store.DeadFilter{Until: hourAgo}, "b"},
		{"with a text in the error, in whatever case", store.DeadFilter{Text: "refused"}, "a"},
		{"with a text in the type", store.DeadFilter{Text: "payment.CONF"}, "a"},
		{"with a text in the message-id", store.DeadFilter{Text: "hand"}, "c"},
		{"with a text that is no pattern", store.DeadFilter{Text: "%"}, "b"},
		{"a page", store.DeadFilter{Page: store.Page[int64]{Limit: 2}}, "cb"},
		{"the next page", store.DeadFilter{Page: store.Page[int64]{Limit: 2, Before: int64(f.Count("SELECT id FROM dead_letters WHERE message_id = 'b'"))}}, "a"},
	} {
		if story.filter.Limit == 0 {
			story.filter.Limit = 10
		}
		found, err := f.DeadLetters(t.Context(), story.filter)
		got := ""
		for _, d := range found {
			got += d.MessageID
		}
		if err != nil || got != story.want {
			t.Errorf("%s: %s, %v; want %s", story.name, got, err, story.want)
		}
	}
	ids, err := f.UnresolvedLetters(t.Context(), store.DeadFilter{Queue: "cards"})
	if err != nil || len(ids) != 2 || ids[0] > ids[1] {
		t.Errorf("to be replayed: %v, %v", ids, err)
	}
}

// What each statement that resolves dead letters must find by an index. Those that list read what
// they show, and as much as waits.
var deadLetterPlans = []plan{
	{"lockOperationsOfLettersSQL", []string{"operations_pkey", "dead_letters_pkey"}},
	{"lockDeadLettersSQL", []string{"dead_letters_pkey", "operations_pkey", "one_intent_per_operation"}},
	{"runAgainSQL", []string{"operations_pkey"}},
	{"payAgainSQL", []string{"invoices_pkey"}},
	{"resolveLettersSQL", []string{"dead_letters_pkey"}},
	{"resolveLettersOfSQL", []string{"dead_letters_unresolved"}},
}

func TestEveryStatementAboutDeadLettersHasItsIndex(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	checkPlans(t, db.Pool(), "in an empty database", deadLetterPlans)
	db.Exec(`INSERT INTO operations (id, type, resource, status, due_at, finished_at)
		SELECT new_id(), 'callback.send', new_id(), 'succeeded', now(), now() FROM generate_series(1, 20000)`)
	db.Exec(`INSERT INTO dead_letters (queue, message_id, seq, type, reason, error, attempts, headers, body, trace_id, resolved_at, resolution, resolved_by)
		SELECT 'callbacks', o.id, 1, o.type, 'rejected', '', '[]', '{}', '', '', now(), 'moot', 'olga' FROM operations o`)
	db.Dies(store.Ref{ID: store.NewOperationID(), Seq: 1})
	db.Exec("VACUUM ANALYZE")
	checkPlans(t, storetest.Open(t, db.URL).Pool(), "among many rows", deadLetterPlans)
}
