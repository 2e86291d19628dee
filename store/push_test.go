package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

const aMinute = time.Minute // that an attempt may take

// phoned opens an account whose phone has a token, and minor units of RUR.
func phoned(t *testing.T, db *storetest.DB, minor int64) storetest.Account {
	t.Helper()
	a := db.Account(minor)
	token := "token of " + a.Number[:8]
	if err := db.SetPushToken(t.Context(), a.Session, &token, store.Once{}); err != nil {
		t.Fatal(err)
	}
	return a
}

// pushesTo are the pushes for an account that have not ended, oldest first.
func pushesTo(t *testing.T, db *storetest.DB, a storetest.Account) (refs []store.Ref) {
	t.Helper()
	rows, err := db.Pool().Query(t.Context(), `SELECT o.id, o.seq FROM pushes p JOIN operations o ON o.id = p.id
		WHERE p.account_id = $1 AND o.finished_at IS NULL ORDER BY o.id`, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var r store.Ref
		if err := rows.Scan(&r.ID, &r.Seq); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, r)
	}
	return refs
}

// onePush is the only one for an account.
func onePush(t *testing.T, db *storetest.DB, a storetest.Account) store.Ref {
	t.Helper()
	refs := pushesTo(t, db, a)
	if len(refs) != 1 {
		t.Fatalf("there are %d pushes for the account, want 1", len(refs))
	}
	return refs[0]
}

// started begins an attempt, which must be one to make.
func started(t *testing.T, s *store.Store, ref store.Ref) store.Push {
	t.Helper()
	p, send, o, err := s.StartPush(t.Context(), ref, aMinute)
	if err != nil || !send {
		t.Fatalf("start: send %v, %+v, %v", send, o, err)
	}
	return p
}

func finish(t *testing.T, s *store.Store, r store.PushResult) store.Outcome {
	t.Helper()
	o, err := s.FinishPush(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestWhoIsToldOfWhat(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Provider("external", nil)
	payer, shop := phoned(t, db, 500), phoned(t, db, 0)
	db.Exec("UPDATE accounts SET locale = 'uk', device_type = 2 WHERE id = $1", payer.ID)
	account := func(a storetest.Account) string { return "token of " + a.Number[:8] }
	ignored := cmp.Options{
		cmpopts.IgnoreUnexported(store.Push{}),
		cmpopts.IgnoreFields(store.Push{}, "Ref", "Event", "At", "Session"),
	}
	check := func(what string, a storetest.Account, want store.Push) {
		t.Helper()
		p := started(t, db.Store, onePush(t, db, a))
		want.Token, want.Device, want.Locale = account(a), store.Android, store.English
		if a == payer {
			want.Device, want.Locale = store.IOS, store.Ukrainian
		}
		if diff := cmp.Diff(want, p, ignored); diff != "" {
			t.Errorf("%s: -want +got\n%s", what, diff)
		}
		if p.Event.IsZero() || time.Since(p.At) > time.Minute || (p.Session == 0) != p.Invoice.IsZero() {
			t.Errorf("%s: %+v", what, p)
		}
		if o := finish(t, db.Store, store.PushResult{Push: p}); o.Status != store.Succeeded || o.Type != store.PushSend {
			t.Errorf("%s is sent: %+v", what, o)
		}
	}

	number := store.InvoiceNumber(uuid.Must(uuid.NewUUID()))
	items := []store.Item{{Price: 300, Name: "Soup", Selected: true}}
	err := db.IssueInvoice(t.Context(), store.NewInvoice{
		Number: number, Session: shop.Session, Payer: payer.Number, Recipient: shop.Number, Amount: money.Amount{Minor: 300, Currency: storetest.RUR},
		Description: "dinner", NameCheque: "cheque", DatePayCheque: "today", Items: items,
	}, store.Once{})
	if err != nil {
		t.Fatal(err)
	}
	invoice := store.Push{
		Amount: money.Amount{Minor: 300, Currency: storetest.RUR}, Description: "dinner", Recipient: shop.Number,
		Invoice: number, NameCheque: "cheque", DatePayCheque: "today", Items: items,
	}
	made := invoice
	made.Type = store.EventInvoiceMade
	check("an invoice is made", payer, made)

	payment := store.Payment{Session: payer.Session, Number: number, Amount: invoice.Amount, Recipient: shop.Number}
	id, err := db.AcceptPayment(t.Context(), payment)
	if err != nil {
		t.Fatal(err)
	}
	db.Settle(store.Ref{ID: id, Seq: 1})
	paid := invoice
	paid.Type = store.EventInvoicePaid
	check("it is paid", shop, paid)

	dear := db.Invoice(payer, shop, 300)
	check("another one is made", payer, store.Push{
		Type: store.EventInvoiceMade, Amount: invoice.Amount, Description: "a test's", Recipient: shop.Number, Invoice: dear.Number, Items: []store.Item{},
	})
	if id, err = db.AcceptPayment(t.Context(), dear); err != nil {
		t.Fatal(err)
	}
	db.Settle(store.Ref{ID: id, Seq: 1})
	check("its payment is refused", payer, store.Push{
		Type: store.EventInvoiceRefused, Amount: invoice.Amount, Description: "a test's", Recipient: shop.Number, Invoice: dear.Number,
		Items: []store.Item{}, Error: store.InsufficientFunds,
	})

	ref := db.Commanded(store.RechargeCommit, db.Recharge(payer, "12.5"))
	if _, err := db.SettleRecharges(t.Context(), []store.Ref{ref}); err != nil {
		t.Fatal(err)
	}
	topUp := started(t, db.Store, onePush(t, db, payer))
	if topUp.Type != store.EventRechargeCommitted || topUp.Amount.Minor != 1250 || topUp.Recipient != payer.Number || !topUp.Invoice.IsZero() {
		t.Errorf("a wallet is topped up: %+v", topUp)
	}
	ref = db.Commanded(store.RechargeRollback, db.Recharge(shop, "1"))
	if _, err := db.SettleRecharges(t.Context(), []store.Ref{ref}); err != nil {
		t.Fatal(err)
	}
	if n := len(pushesTo(t, db, shop)); n != 0 {
		t.Errorf("%d pushes for a recharge that was rolled back", n)
	}
	db.CheckInvariants()
}

// Thousands of items never fit into a message, and are not even read: a worker that tells many
// phones at once would need the memory for all of them.
func TestItemsThatCannotBeSentAreNotRead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := phoned(t, db, 0), db.Account(0)
	for _, story := range []struct{ items, read int }{{40, 40}, {10_000, 0}} {
		items := make([]store.Item, story.items)
		for i := range items {
			items[i] = store.Item{Price: 1, Name: "Soup"}
		}
		err := db.IssueInvoice(t.Context(), store.NewInvoice{
			Number: store.InvoiceNumber(uuid.Must(uuid.NewUUID())), Session: shop.Session, Payer: payer.Number, Recipient: shop.Number,
			Amount: money.Amount{Minor: int64(story.items), Currency: storetest.RUR}, Description: "x", Items: items,
		}, store.Once{})
		if err != nil {
			t.Fatal(err)
		}
		p := started(t, db.Store, onePush(t, db, payer))
		if len(p.Items) != story.read {
			t.Errorf("of %d items %d are read, want %d", story.items, len(p.Items), story.read)
		}
		finish(t, db.Store, store.PushResult{Push: p})
	}
}

// Nobody is told who cannot be, and nothing is written for it.
func TestAnAccountWithoutAPhoneCostsNothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), phoned(t, db, 0)
	db.Exec("UPDATE accounts SET token_deactivated_at = now(), token_strikes = 2 WHERE id = $1", shop.ID)
	db.Settle(db.Accepted(payer, shop, 300))
	db.Settle(db.Accepted(db.Account(0), shop, 300)) // refused
	for _, table := range []string{"pushes", "outbox WHERE queue = 'pushes'", "operations WHERE type = 'push.send'", "events WHERE type IN ('invoice.made', 'invoice.refused')"} {
		if n := db.Count("SELECT count(*) FROM " + table); n != 0 {
			t.Errorf("%d rows of %s", n, table)
		}
	}
	if n := db.Count("SELECT count(*) FROM events WHERE type = 'invoice.paid'"); n != 1 {
		t.Errorf("%d invoices are paid, as endpoints hear", n)
	}
}

// What would come too late is not sent.
func TestAPushIsNotSentLaterThanItsUse(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		happens func(*testing.T, *storetest.DB, storetest.Account, store.Payment)
		code    string
	}{
		"the invoice is paid by now": {func(t *testing.T, db *storetest.DB, _ storetest.Account, p store.Payment) {
			id, err := db.AcceptPayment(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			db.Settle(store.Ref{ID: id, Seq: 1})
		}, "outdated"},
		"it is being paid": {func(t *testing.T, db *storetest.DB, _ storetest.Account, p store.Payment) {
			if _, err := db.AcceptPayment(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}, "outdated"},
		"it expired": {func(_ *testing.T, db *storetest.DB, _ storetest.Account, p store.Payment) {
			db.Exec("UPDATE invoices SET state = 6 WHERE number = $1", p.Number)
		}, "outdated"},
		"a day went by": {func(_ *testing.T, db *storetest.DB, _ storetest.Account, _ store.Payment) {
			db.Exec("ALTER TABLE events DISABLE TRIGGER events_never_change")
			db.Exec("UPDATE events SET created_at = now() - interval '24 hours'")
		}, "outdated"},
		"the phone took its token back": {func(t *testing.T, db *storetest.DB, payer storetest.Account, _ store.Payment) {
			if err := db.SetPushToken(t.Context(), payer.Session, nil, store.Once{}); err != nil {
				t.Fatal(err)
			}
		}, "no_phone"},
		"the token is dead": {func(_ *testing.T, db *storetest.DB, payer storetest.Account, _ store.Payment) {
			db.Exec("UPDATE accounts SET token_deactivated_at = now(), token_strikes = 2 WHERE id = $1", payer.ID)
		}, "no_phone"},
		"the account is closed": {func(_ *testing.T, db *storetest.DB, payer storetest.Account, _ store.Payment) {
			db.Exec("UPDATE accounts SET deleted = true WHERE id = $1", payer.ID)
		}, "no_phone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			payer, shop := phoned(t, db, 1000), db.Account(0)
			payment := db.Invoice(payer, shop, 300)
			ref := onePush(t, db, payer)
			story.happens(t, db, payer, payment)
			p, send, o, err := db.StartPush(t.Context(), ref, aMinute)
			if err != nil || send || o.Status != store.Failed || o.Code != story.code || o.Type != store.PushSend {
				t.Errorf("start: send %v, %+v, %v; %+v", send, o, err, p)
			}
			if _, send, o, err := db.StartPush(t.Context(), ref, aMinute); err != nil || send || !o.Stale() {
				t.Errorf("again: send %v, %+v, %v", send, o, err)
			}
			if n := db.Count("SELECT attempts FROM operations WHERE id = $1", ref.ID); n != 0 {
				t.Errorf("%d attempts are counted, and none was made", n)
			}
		})
	}
}

// While a push is being sent nobody enqueues it again.
func TestAnAttemptHasItsTime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer := phoned(t, db, 0)
	db.Invoice(payer, db.Account(0), 300)
	ref := onePush(t, db, payer)
	started(t, db.Store, ref)
	if n := db.Count("SELECT count(*) FROM operations WHERE id = $1 AND due_at > now() + interval '59 s' AND seq = 1", ref.ID); n != 1 {
		t.Error("the push is due before its attempt may have ended")
	}
	if _, send, o, err := db.StartPush(t.Context(), store.Ref{ID: ref.ID, Seq: 2}, aMinute); send || err != nil || !o.Stale() {
		t.Errorf("another seq: send %v, %+v, %v", send, o, err)
	}
}

func TestWhatFollowsFromAnAttemptToPush(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		result store.PushResult
		want   store.Outcome // but for Type and Waited
		left   string        // status, attempts, seq, waits, error code, outbox rows of seq 2, attempts on record
		active bool          // the token
	}{
		{"sent", store.PushResult{}, store.Outcome{Status: store.Succeeded}, "succeeded 1 1 false - 0 0", true},
		{
			"again in 10 s",
			store.PushResult{Code: "again", Reason: "503", Next: &store.Delay{Name: "10s", Wait: 10 * time.Second}},
			store.Outcome{Status: store.Running, Code: "again: 503", Retry: store.Retry{Verdict: store.RetryStored, Delay: "10s"}},
			"running 1 2 false - 1 1", true,
		},
		{
			"again in half an hour",
			store.PushResult{Code: "again", Reason: "503", Next: &store.Delay{Wait: 30 * time.Minute}},
			store.Outcome{Status: store.Running, Code: "again: 503", Retry: store.Retry{Verdict: store.RetryStored}},
			"running 1 2 true - 0 1", true,
		},
		{
			"used up",
			store.PushResult{Code: "again", Reason: "503"},
			store.Outcome{Status: store.Running, Code: "again: 503", Retry: store.Retry{Verdict: store.RetryUsedUp}},
			"running 1 1 false - 0 1", true,
		},
		{
			"refused for good",
			store.PushResult{Code: "config_fault", Reason: "401", Final: true},
			store.Outcome{Status: store.Failed, Code: "config_fault"},
			"failed 1 1 false config_fault 0 0", true,
		},
		{
			"the token is dead",
			store.PushResult{Code: "dead_token", Reason: "404", Final: true, Token: store.TokenDead},
			store.Outcome{Status: store.Failed, Code: "dead_token"},
			"failed 1 1 false dead_token 0 0", false,
		},
		{
			"a strike",
			store.PushResult{Code: "token_strike", Reason: "400", Final: true, Token: store.TokenStrike},
			store.Outcome{Status: store.Failed, Code: "token_strike"},
			"failed 1 1 false token_strike 0 0", true,
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			payer := phoned(t, db, 0)
			db.Invoice(payer, db.Account(0), 300)
			ref := onePush(t, db, payer)
			result := story.result
			result.Push = started(t, db.Store, ref)
			got := finish(t, db.Store, result)
			story.want.Type = store.PushSend
			if diff := cmp.Diff(story.want, got, cmpopts.IgnoreFields(store.Outcome{}, "Waited")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			var left string
			err := db.Pool().QueryRow(t.Context(), `SELECT concat_ws(' ', status, attempts, seq, waits::text, coalesce(error_code, '-'),
				(SELECT count(*) FROM outbox x WHERE x.message_id = o.id AND x.seq = 2), (SELECT count(*) FROM attempts a WHERE a.operation_id = o.id))
				FROM operations o WHERE id = $1`, ref.ID).Scan(&left)
			if err != nil || left != story.left {
				t.Errorf("the push is left as %q, %v, want %q", left, err, story.left)
			}
			if info, err := db.Store.Account(t.Context(), payer.Session); err != nil || (info.PushToken != nil) != story.active {
				t.Errorf("the token is shown as %v, %v", info.PushToken, err)
			}
			// The same, again: it is stale, but for the last attempt, which is on record once.
			finish(t, db.Store, result)
			if n := db.Count("SELECT count(*) FROM attempts"); n > 1 {
				t.Errorf("%d attempts are on record", n)
			}
			db.CheckInvariants()
		})
	}
}

// FCM says that a token is dead, and meanwhile the phone has said that it is its token.
func TestATokenThatWasRefreshedStays(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		token  string // "" for the same again
		active bool
	}{
		"not refreshed":            {token: "-"},
		"refreshed, the same":      {active: true},
		"refreshed, another token": {token: "another", active: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			payer := phoned(t, db, 0)
			db.Invoice(payer, db.Account(0), 300)
			p := started(t, db.Store, onePush(t, db, payer))
			if story.token == "" {
				story.token = p.Token
			}
			if story.token != "-" {
				if err := db.SetPushToken(t.Context(), payer.Session, &story.token, store.Once{}); err != nil {
					t.Fatal(err)
				}
			}
			finish(t, db.Store, store.PushResult{Push: p, Code: "dead_token", Final: true, Token: store.TokenDead})
			info, err := db.Store.Account(t.Context(), payer.Session)
			if err != nil || (info.PushToken != nil) != story.active {
				t.Errorf("the token is %v, %v", info.PushToken, err)
			}
			if !story.active { // until the phone comes again
				if err := db.SetPushToken(t.Context(), payer.Session, &p.Token, store.Once{}); err != nil {
					t.Fatal(err)
				}
				db.Invoice(payer, db.Account(0), 300)
				started(t, db.Store, onePush(t, db, payer))
			}
		})
	}
}

func TestTheSecondStrikeDeactivates(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer := phoned(t, db, 0)
	for n := range 2 {
		if info, err := db.Store.Account(t.Context(), payer.Session); err != nil || info.PushToken == nil {
			t.Fatalf("after %d strikes: %v, %v", n, info.PushToken, err)
		}
		db.Invoice(payer, db.Account(0), 300)
		p := started(t, db.Store, onePush(t, db, payer))
		finish(t, db.Store, store.PushResult{Push: p, Code: "token_strike", Final: true, Token: store.TokenStrike})
	}
	if info, err := db.Store.Account(t.Context(), payer.Session); err != nil || info.PushToken != nil {
		t.Errorf("after 2 strikes: %v, %v", info.PushToken, err)
	}
}

// Nobody knows whether the strike was written down, so it is brought again: it is one strike.
func TestAStrikeIsCountedOnce(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, _ bool) {
		payer := phoned(t, db.DB, 0)
		db.Invoice(payer, db.Account(0), 300)
		result := store.PushResult{Push: started(t, db.cutting, onePush(t, db.DB, payer)), Code: "token_strike", Final: true, Token: store.TokenStrike}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishPush(t.Context(), result); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("finish: %v, want an outage", err)
		}
		finish(t, db.Store, result)
		if n := db.Count("SELECT token_strikes FROM accounts WHERE id = $1", payer.ID); n != 1 {
			t.Errorf("%d strikes are counted", n)
		}
		db.CheckInvariants()
	})
}

// Many at once: each to its own end, in sets.
func TestPushesThatEndTogether(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	shop := db.Account(0)
	payer := phoned(t, db, 0)
	const each = 40
	for range each {
		db.Invoice(payer, shop, 300)
	}
	ended := make(chan error, each)
	for n, ref := range pushesTo(t, db, payer) {
		go func() {
			p, send, o, err := db.StartPush(context.WithoutCancel(t.Context()), ref, aMinute)
			if err != nil || !send {
				ended <- fmt.Errorf("start: %v, %+v, %w", send, o, err)
				return
			}
			result := store.PushResult{Push: p}
			if n%2 == 1 {
				result.Code, result.Final, result.Token = "dead_token", true, store.TokenDead
			}
			_, err = db.FinishPush(context.WithoutCancel(t.Context()), result)
			ended <- err
		}()
	}
	dead := 0
	for range each {
		if err := <-ended; err != nil {
			dead++ // it was started after the token's end
		}
	}
	if n := db.Count("SELECT count(*) FROM operations WHERE type = 'push.send' AND finished_at IS NULL"); n != 0 {
		t.Errorf("%d pushes are open", n)
	}
	if n := db.Count("SELECT count(*) FROM accounts WHERE token_deactivated_at IS NOT NULL AND token_strikes = 2"); n != 1 {
		t.Errorf("%d tokens are dead; %d pushes had none", n, dead)
	}
	db.CheckInvariants()
}

// The event is sent, and nobody knows whether that was written down: it is sent again, and that
// is the same event.
func TestFinishThePushAndAcknowledge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer := phoned(t, db.DB, 0)
		db.Invoice(payer, db.Account(0), 300)
		ref := onePush(t, db.DB, payer)
		p := started(t, db.cutting, ref)
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishPush(t.Context(), store.PushResult{Push: p}); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("finish: %v, want an outage", err)
		}
		again, send, o, err := db.StartPush(t.Context(), ref, aMinute)
		if err != nil || send == done || !o.Stale() {
			t.Fatalf("again: send %v, %+v, %v", send, o, err)
		}
		if send && again.Event != p.Event {
			t.Errorf("it is event %s now, and was %s", again.Event, p.Event)
		}
		if send {
			finish(t, db.Store, store.PushResult{Push: again})
		}
		if n := db.Count("SELECT count(*) FROM operations WHERE type = 'push.send' AND status = 'succeeded' AND attempts = 1"); n != 1 {
			t.Errorf("%d pushes succeeded at their first attempt", n)
		}
		db.CheckInvariants()
	})
}

func TestDelayThePushAndAcknowledge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer := phoned(t, db.DB, 0)
		db.Invoice(payer, db.Account(0), 300)
		ref := onePush(t, db.DB, payer)
		result := store.PushResult{Push: started(t, db.cutting, ref), Code: "again", Next: &store.Delay{Name: "10s", Wait: 10 * time.Second}}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.FinishPush(t.Context(), result); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("finish: %v, want an outage", err)
		}
		if o := finish(t, db.Store, result); o.Stale() != done {
			t.Errorf("again: %+v, want stale: %v", o, done)
		}
		if n := db.Count("SELECT count(*) FROM outbox WHERE delay = '10s' AND seq = 2"); n != 1 {
			t.Errorf("%d retries are enqueued", n)
		}
		if n := db.Count("SELECT attempts FROM operations WHERE id = $1", ref.ID); n != 1 {
			t.Errorf("%d attempts are counted", n)
		}
		db.CheckInvariants()
	})
}

func TestIssueAnInvoiceAndTellItsPayer(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		payer, shop := phoned(t, db.DB, 0), db.Account(0)
		db.faults.CutNextCommit(cut)
		number := store.InvoiceNumber(uuid.Must(uuid.NewUUID()))
		err := db.cutting.IssueInvoice(t.Context(), store.NewInvoice{
			Number: number, Session: shop.Session, Payer: payer.Number, Recipient: shop.Number,
			Amount: money.Amount{Minor: 300, Currency: storetest.RUR}, Description: "x",
		}, store.Once{})
		if store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("issue: %v, want an outage", err)
		}
		want := 0
		if done {
			want = 1
		}
		for _, table := range []string{"invoices", "events", "pushes", "operations", "outbox"} {
			if n := db.Count("SELECT count(*) FROM " + table); n != want {
				t.Errorf("%s: %d rows, want %d", table, n, want)
			}
		}
	})
}

func TestPushesThatEndedAreForgotten(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := phoned(t, db, 0), db.Account(0)
	for range 3 {
		db.Invoice(payer, shop, 300)
	}
	refs := pushesTo(t, db, payer)
	sent, dead := started(t, db.Store, refs[0]), started(t, db.Store, refs[1])
	finish(t, db.Store, store.PushResult{Push: sent})
	finish(t, db.Store, store.PushResult{Push: dead, Code: "payload_refused"})
	db.Dies(db.Ref(dead.ID))
	forget := func() {
		t.Helper()
		if _, err := db.Forget(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	if n := db.Count("SELECT count(*) FROM pushes"); n != 3 {
		t.Errorf("%d pushes are left, want all of today's", n)
	}
	for _, ref := range refs { // all are a hundred days old
		old := store.OperationID(uuid.Must(uuid.NewV7()))
		copy(old[:6], []byte{1, 0x80, 0, 0, 0, 0})
		db.Exec(`WITH o AS (
				INSERT INTO operations (id, type, resource, status, seq, attempts, due_at, error_code, created_at, finished_at)
				SELECT $2, type, resource, status, seq, attempts, due_at, error_code, created_at, finished_at FROM operations WHERE id = $1)
			INSERT INTO pushes (id, event_id, account_id) SELECT $2, event_id, -account_id FROM pushes WHERE id = $1`, ref.ID, old)
		db.Exec(`INSERT INTO dead_letters (queue, message_id, seq, type, reason, error, attempts, headers, body, trace_id)
			SELECT queue, $2::uuid::text, seq, type, reason, error, attempts, headers, body, trace_id FROM dead_letters WHERE operation_id = $1`, ref.ID, old)
	}
	forget()
	left := db.Count("SELECT count(*) FROM pushes p JOIN operations o ON o.id = p.id WHERE p.account_id < 0 AND o.status IN ('dead', 'accepted')")
	if all := db.Count("SELECT count(*) FROM pushes WHERE account_id < 0"); left != 2 || all != 2 {
		t.Errorf("of the old ones %d are left, and %d of them are dead or open; want 2", all, left)
	}
	db.CheckInvariants()
}
