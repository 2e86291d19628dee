package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

// newRecharging is a database with the provider "external".
func newRecharging(t *testing.T) *storetest.DB {
	db := storetest.New(t)
	db.Provider("external", nil)
	return db
}

func stateOf(t *testing.T, db *storetest.DB, id store.RechargeID) store.RechargeState {
	t.Helper()
	r, err := db.Store.Recharge(t.Context(), "external", id)
	if err != nil {
		t.Fatal(err)
	}
	return r.State
}

func TestARechargeIsCommittedOnce(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	id := db.Recharge(owner, "12.5")
	if got := stateOf(t, db, id); got != store.RechargeCreated {
		t.Errorf("it is %s, want created", got)
	}
	commit := db.Commanded(store.RechargeCommit, id)
	if got := stateOf(t, db, id); got != store.RechargeCommitting {
		t.Errorf("it is %s, want committing", got)
	}
	for _, kind := range []store.OperationType{store.RechargeCommit, store.RechargeRollback} {
		if _, err := db.AcceptRecharge(t.Context(), storetest.Command(kind, id)); !errors.Is(err, store.ErrRechargeState) {
			t.Errorf("%s while it is being committed: %v", kind, err)
		}
	}
	if o := db.SettleRecharge(commit); o.Status != store.Succeeded || o.Type != store.RechargeCommit {
		t.Errorf("settled: %+v", o)
	}
	if o := db.SettleRecharge(commit); !o.Stale() {
		t.Errorf("the same message again: %+v", o)
	}
	for _, kind := range []store.OperationType{store.RechargeCommit, store.RechargeRollback} {
		if _, err := db.AcceptRecharge(t.Context(), storetest.Command(kind, id)); !errors.Is(err, store.ErrRechargeState) {
			t.Errorf("%s after it was committed: %v", kind, err)
		}
	}
	if got := db.Balance(owner); got != 1250 {
		t.Errorf("the owner has %d, want 1250", got)
	}
	db.CheckInvariants()
}

func TestARechargeThatIsNotCommittedMovesNothing(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	given, left := db.Recharge(owner, "1"), db.Recharge(owner, "2")
	if o := db.SettleRecharge(db.Commanded(store.RechargeRollback, given)); o.Status != store.Succeeded {
		t.Errorf("rolled back: %+v", o)
	}
	if n, err := db.ExpireRecharges(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("before its time %d expire, %v", n, err)
	}
	if err := db.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AcceptRecharge(t.Context(), storetest.Command(store.RechargeCommit, left)); !errors.Is(err, store.ErrRechargeState) {
		t.Errorf("commit after its time, before anybody has looked: %v", err)
	}
	for want := 1; want >= 0; want-- {
		if n, err := db.ExpireRecharges(t.Context(), 10); err != nil || n != want {
			t.Errorf("%d expire, %v; want %d", n, err, want)
		}
	}
	db.SettleRecharge(refOf(db, store.RechargeExpire))
	if a, b := stateOf(t, db, given), stateOf(t, db, left); a != store.RechargeRolledBack || b != store.RechargeExpired {
		t.Errorf("they are %s and %s", a, b)
	}
	if got := db.Balance(owner); got != 0 {
		t.Errorf("the owner has %d, want nothing", got)
	}
	db.CheckInvariants()
}

// refOf is the message of the one open operation of a type.
func refOf(db *storetest.DB, kind store.OperationType) store.Ref {
	var ref store.Ref
	row := db.Pool().QueryRow(context.Background(), "SELECT id, seq FROM operations WHERE type = $1 AND finished_at IS NULL", kind)
	if err := row.Scan(&ref.ID, &ref.Seq); err != nil {
		panic(err)
	}
	return ref
}

func TestWhatWasAcceptedInTimeIsHonouredLater(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	commit := db.Commanded(store.RechargeCommit, db.Recharge(owner, "3"))
	if err := db.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	if n, err := db.ExpireRecharges(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d expire, %v; want the expiry to wait", n, err)
	}
	if o := db.SettleRecharge(commit); o.Status != store.Succeeded {
		t.Errorf("the commit: %+v", o)
	}
	if got := db.Balance(owner); got != 300 {
		t.Errorf("the owner has %d, want 300", got)
	}
	db.CheckInvariants()
}

func TestOfManyCommandsOnARechargeOneIsAccepted(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	kinds := []store.OperationType{store.RechargeCommit, store.RechargeRollback}
	owner := db.Account(0)
	want := int64(0)
	for round := range 20 {
		id := db.Recharge(owner, "1")
		answers := make([]store.Answer, 16)
		errs := atOnce(len(answers), func(i int) (err error) {
			answers[i], err = processes[i/8].AcceptRecharge(t.Context(), storetest.Command(kinds[i%2], id))
			return err
		})
		accepted := 0
		for i, err := range errs {
			switch {
			case err == nil:
				accepted++
				if o := db.SettleRecharge(store.Ref{ID: answers[i].Operation, Seq: 1}); o.Status != store.Succeeded {
					t.Errorf("round %d: %+v", round, o)
				}
				if kinds[i%2] == store.RechargeCommit {
					want += 100
				}
			case !errors.Is(err, store.ErrRechargeState):
				t.Errorf("round %d, call %d: %v", round, i, err)
			}
		}
		if accepted != 1 {
			t.Errorf("round %d: %d were accepted, want 1", round, accepted)
		}
	}
	if got := db.Balance(owner); got != want {
		t.Errorf("the owner has %d, want %d", got, want)
	}
	db.CheckInvariants()
}

func TestARechargeIsRefused(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	db.Provider("off", func(p *store.NewProvider) { p.Enabled = false })
	db.Provider("limited", func(p *store.NewProvider) { p.LimitPerPayment = 1000 })
	owner, closed := db.Account(0), db.Account(0)
	db.Exec("UPDATE accounts SET deleted = true WHERE id = $1", closed.ID)
	for _, story := range []struct {
		name   string
		change func(*store.NewRecharge)
		want   error
	}{
		{"of an unknown provider", func(n *store.NewRecharge) { n.Provider = "nobody" }, store.ErrProviderNotFound},
		{"of a disabled provider", func(n *store.NewRecharge) { n.Provider = "off" }, store.ErrProviderDisabled},
		{"for nobody", func(n *store.NewRecharge) { n.Account = 99999 }, store.ErrAccountNotFound},
		{"for a closed account", func(n *store.NewRecharge) { n.Account = closed.ID }, store.ErrAccountNotFound},
		{"without an amount", func(n *store.NewRecharge) { n.Amount = nil }, &store.FieldError{Field: "amount", Problem: "is required"}},
		{"of nothing", amountOf("0"), &store.FieldError{Field: "amount", Problem: "must be positive"}},
		{"of a tenth of the smallest coin", amountOf("0.001"), &store.FieldError{Field: "amount", Problem: "has more than the 2 decimals of RUR"}},
		{"of a fraction of yen", func(n *store.NewRecharge) { n.Currency = 392 }, &store.FieldError{Field: "amount", Problem: "has more than the 0 decimals of JPY"}},
		{"a coin more than anybody could have paid", amountOf("10000000000.01"), &store.FieldError{Field: "amount", Problem: "is too large"}},
		{"beyond 64 bits", amountOf("92233720368547758.08"), &store.FieldError{Field: "amount", Problem: "is too large"}},
		{"beyond the limit per payment", func(n *store.NewRecharge) { n.Provider = "limited" }, &store.FieldError{Field: "amount", Problem: "is beyond the provider's limit per payment"}},
		{"in another currency than the limit's", func(n *store.NewRecharge) { n.Provider, n.Currency = "limited", 978 }, &store.FieldError{Field: "currency", Problem: "must be the provider's, RUR"}},
	} {
		n := db.NewRecharge(owner, "10.5")
		n.Once = store.Once{Scope: "back office", Key: story.name, Request: "r"}
		story.change(&n)
		_, err := db.CreateRecharge(t.Context(), n)
		var wrong, wantWrong *store.FieldError
		if errors.As(story.want, &wantWrong) {
			if !errors.As(err, &wrong) || *wrong != *wantWrong {
				t.Errorf("%s: %v, want %v", story.name, err, story.want)
			}
		} else if !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", story.name, err, story.want)
		}
	}
	for _, table := range []string{"recharges", "idempotency_keys"} {
		if n := db.Count("SELECT count(*) FROM " + table); n != 0 {
			t.Errorf("%s: %d rows of what was refused", table, n)
		}
	}
}

func amountOf(text string) func(*store.NewRecharge) {
	return func(n *store.NewRecharge) {
		d, err := money.ParseDecimal(text)
		if err != nil {
			panic(err)
		}
		n.Amount = &d
	}
}

func TestAProvidersDayHasItsLimit(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	owner := db.Account(0)
	var created []store.RechargeID
	for limit := int64(500); limit <= 3000; limit += 500 { // from the second round on the day has its row
		db.Provider("external", func(p *store.NewProvider) { p.LimitPerDay = limit })
		all := make([]store.NewRecharge, 16)
		for i := range all {
			all[i] = db.NewRecharge(owner, "1")
		}
		for i, err := range atOnce(len(all), func(i int) error {
			_, err := processes[i%2].CreateRecharge(t.Context(), all[i])
			return err
		}) {
			var wrong *store.FieldError
			if err == nil {
				created = append(created, all[i].ID)
			} else if !errors.As(err, &wrong) {
				t.Error(err)
			}
		}
		if len(created) != int(limit/100) {
			t.Fatalf("%d recharges of 1.00 fit into %d", len(created), limit)
		}
	}
	db.CheckInvariants()

	db.SettleRecharge(db.Commanded(store.RechargeRollback, created[0]))
	db.SettleRecharge(db.Commanded(store.RechargeCommit, created[1]))
	db.Recharge(owner, "1") // in the place of the one that was rolled back
	if _, err := db.CreateRecharge(t.Context(), db.NewRecharge(owner, "0.01")); err == nil {
		t.Error("and no more, but one was created")
	}
	db.CheckInvariants()
}

// A commit that is read while the recharge is created, and written when it was rolled back:
// it waits in between for whoever has its idempotency key.
func TestARechargeThatMovesOnWhileItIsCommandedIsReadAgain(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	id := db.Recharge(db.Account(0), "1")
	commit := storetest.Command(store.RechargeCommit, id)
	commit.Once = store.Once{Scope: "back office", Key: "k", Request: "r"}
	scope := sha256.Sum256([]byte(commit.Once.Scope))
	other, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(context.WithoutCancel(t.Context()))
	const claim = "INSERT INTO idempotency_keys (scope, key, fingerprint, status, answer) VALUES ($1, 'k', '', 0, '')"
	if _, err := other.Exec(t.Context(), claim, scope[:]); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := db.AcceptRecharge(t.Context(), commit)
		answered <- err
	}()
	db.Eventually("the commit waits", 1, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	rollback := db.Elsewhere().Commanded(store.RechargeRollback, id)
	db.SettleRecharge(rollback)
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = <-answered
	if !errors.Is(err, store.ErrRechargeState) && !errors.Is(err, store.ErrUnavailable) { // the latter where it had to wait for too long
		t.Errorf("the commit: %v, want the wrong state", err)
	}
	if n := db.Count("SELECT count(*) FROM operations"); n != 1 {
		t.Errorf("%d operations, want that of the rollback", n)
	}
	db.CheckInvariants()
}

// Who holds a wallet holds up the recharges of it and no others, and nobody is refused.
func TestAHeldWalletHoldsUpOnlyItsRecharges(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	held, free := db.Account(1), db.Account(0)
	batch := []store.Ref{
		db.Commanded(store.RechargeCommit, db.Recharge(held, "1")),
		db.Commanded(store.RechargeCommit, db.Recharge(free, "2")),
		db.Commanded(store.RechargeRollback, db.Recharge(held, "3")),
	}
	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), "SELECT FROM ledger_accounts WHERE kind = 'wallet' AND owner = $1 FOR UPDATE", held.ID); err != nil {
		t.Fatal(err)
	}
	settle := func(what string, want ...store.Status) {
		t.Helper()
		outcomes, err := db.SettleRecharges(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if o.Status != want[i] {
				t.Errorf("%s, message %d: %+v, want %q", what, i, o, want[i])
			}
		}
	}
	settle("while it is held", "", store.Succeeded, store.Succeeded)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	settle("afterwards", store.Succeeded, "", "")
	db.CheckInvariants()
}

func TestAVoucherIsRedeemedOnce(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	db.Provider("external", func(p *store.NewProvider) { p.Params = []string{"code"} })
	processes := []*store.Store{db.Store, storetest.Open(t, db.URL)}
	codes, err := db.MakeVouchers(t.Context(), money.Amount{Minor: 5000, Currency: storetest.RUR}, 2)
	if err != nil || codes[0] == codes[1] {
		t.Fatal(codes, err)
	}
	owner := db.Account(0)
	redeem := func(s *store.Store, code string) (store.RechargeID, error) {
		n := db.NewRecharge(owner, "50")
		n.Amount = nil
		n.Params = map[string]json.RawMessage{"code": json.RawMessage(`"` + code + `"`)}
		_, err := s.CreateRecharge(t.Context(), n)
		return n.ID, err
	}
	hold := func() (id store.RechargeID) {
		for i, err := range atOnce(16, func(i int) error {
			held, err := redeem(processes[i%2], codes[0])
			if err == nil {
				id = held
			}
			return err
		}) {
			var wrong *store.FieldError
			if err != nil && (!errors.As(err, &wrong) || wrong.Field != "params.code") {
				t.Errorf("call %d: %v", i, err)
			}
		}
		return id
	}
	first := hold()
	if n := db.Count("SELECT count(*) FROM recharges"); n != 1 {
		t.Fatalf("%d recharges hold the voucher", n)
	}
	if r, err := db.Store.Recharge(t.Context(), "external", first); err != nil || string(r.Params["code"]) != `"****-`+codes[0][15:]+`"` || r.Amount.Minor != 5000 {
		t.Errorf("%+v, %v; want the voucher's amount, and its code masked", r, err)
	}
	db.SettleRecharge(db.Commanded(store.RechargeRollback, first))
	db.CheckInvariants()

	second := hold() // it is free again
	db.SettleRecharge(db.Commanded(store.RechargeCommit, second))
	if _, err := redeem(db.Store, codes[0]); err == nil {
		t.Error("a redeemed voucher is taken again")
	}
	if _, err := redeem(db.Store, "0000-0000-0000-0000"); err == nil {
		t.Error("a voucher that is none is taken")
	}
	if got := db.Balance(owner); got != 5000 {
		t.Errorf("the owner has %d, want 5000", got)
	}
	if n := db.Count("SELECT count(*) FROM recharges WHERE params::text LIKE '%' || $1 || '%'", codes[0]); n != 0 {
		t.Error("the code is stored")
	}
	db.CheckInvariants()
}

func TestMoneyThatNobodyCanHaveGoesToSuspense(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	commit := db.Commanded(store.RechargeCommit, db.Recharge(owner, "7"))
	late, done := db.Recharge(owner, "5"), db.Recharge(owner, "1")
	if _, err := db.AcceptLateRecharge(t.Context(), "external", late, "n", "a"); !errors.Is(err, store.ErrRechargeState) {
		t.Errorf("late, while it can still be committed: %v", err)
	}
	db.SettleRecharge(db.Commanded(store.RechargeRollback, late))
	db.SettleRecharge(db.Commanded(store.RechargeCommit, done))
	db.Exec("UPDATE accounts SET deleted = true WHERE id = $1", owner.ID)

	if o := db.SettleRecharge(commit); o.Status != store.Succeeded {
		t.Errorf("a commit for an account that was closed meanwhile: %+v", o)
	}
	operation, err := db.AcceptLateRecharge(t.Context(), "external", late, "bank statement 17", "ann")
	if err != nil {
		t.Fatal(err)
	}
	if o := db.SettleRecharge(store.Ref{ID: operation, Seq: 1}); o.Status != store.Succeeded {
		t.Errorf("late: %+v", o)
	}
	for name, story := range map[string]struct {
		provider string
		id       store.RechargeID
		want     error
	}{
		"late again":                  {"external", late, store.ErrRechargeState},
		"late though committed":       {"external", done, store.ErrRechargeState},
		"late of no recharge":         {"external", store.NewRechargeID(), store.ErrRechargeNotFound},
		"late of an unknown provider": {"nobody", late, store.ErrProviderNotFound},
	} {
		if _, err := db.AcceptLateRecharge(t.Context(), story.provider, story.id, "n", "a"); !errors.Is(err, story.want) {
			t.Errorf("%s: %v, want %v", name, err, story.want)
		}
	}
	entries, err := db.Suspense(t.Context(), store.Page[int64]{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s for %d: %s by %s", e.Amount, e.Account, e.Note, e.Author))
	}
	want := []string{
		fmt.Sprintf("5.00 RUR for %d: bank statement 17 by ann", owner.ID),
		fmt.Sprintf("7.00 RUR for %d: The account was closed before the recharge was committed. by quittance", owner.ID),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("suspense (-want +got):\n%s", diff)
	}
	db.CheckInvariants()
}

func TestAnUpdateChangesWhatIsSaidAndNotWhatItIsWorth(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	n := db.NewRecharge(owner, "12.5")
	n.Params = map[string]json.RawMessage{"a": json.RawMessage(`1`), "b": json.RawMessage(`"x"`)}
	if _, err := db.CreateRecharge(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	text := "changed"
	update := store.RechargeUpdate{
		Provider: "external", ID: n.ID, Description: &text, Amount: n.Amount, Currency: storetest.RUR,
		Params: map[string]json.RawMessage{"b": json.RawMessage(`null`), "c": json.RawMessage(`[2]`)},
	}
	if err := db.UpdateRecharge(t.Context(), update); err != nil {
		t.Fatal(err)
	}
	r, err := db.Store.Recharge(t.Context(), "external", n.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]json.RawMessage{"a": json.RawMessage(`1`), "c": json.RawMessage(`[2]`)}, r.Params); diff != "" || r.Description != text {
		t.Errorf("%q, params (-want +got):\n%s", r.Description, diff)
	}
	other := update
	other.Currency = 978
	var wrong *store.FieldError
	if err := db.UpdateRecharge(t.Context(), other); !errors.As(err, &wrong) || wrong.Field != "currency" {
		t.Errorf("another currency: %v", err)
	}
	more := db.NewRecharge(owner, "12.51")
	other = update
	other.Amount = more.Amount
	if err := db.UpdateRecharge(t.Context(), other); !errors.As(err, &wrong) || wrong.Field != "amount" {
		t.Errorf("another amount: %v", err)
	}
	db.Commanded(store.RechargeCommit, n.ID)
	if err := db.UpdateRecharge(t.Context(), update); !errors.Is(err, store.ErrRechargeState) {
		t.Errorf("while it is being committed: %v", err)
	}
	other = update
	other.ID = store.NewRechargeID()
	if err := db.UpdateRecharge(t.Context(), other); !errors.Is(err, store.ErrRechargeNotFound) {
		t.Errorf("of no recharge: %v", err)
	}
	db.CheckInvariants()
}

func TestRechargesAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	db.Provider("other", nil)
	ann, ben := db.Account(0), db.Account(0)
	var all []store.RechargeID
	for i := range 12 {
		owner := []storetest.Account{ann, ben}[i%2]
		id := db.Recharge(owner, "1")
		switch i % 6 {
		case 1:
			db.Commanded(store.RechargeCommit, id)
		case 2:
			db.SettleRecharge(db.Commanded(store.RechargeCommit, id))
		case 3:
			db.Commanded(store.RechargeRollback, id)
		case 4:
			db.SettleRecharge(db.Commanded(store.RechargeRollback, id))
		}
		all = append([]store.RechargeID{id}, all...)
	}
	foreign := db.NewRecharge(ann, "1")
	foreign.Provider = "other"
	if _, err := db.CreateRecharge(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name   string
		filter store.RechargeFilter
		want   []store.RechargeID
	}{
		{"all", store.RechargeFilter{}, all},
		{"of ann", store.RechargeFilter{Account: ann.ID}, []store.RechargeID{all[1], all[3], all[5], all[7], all[9], all[11]}},
		{"committing", store.RechargeFilter{State: store.RechargeCommitting}, []store.RechargeID{all[4], all[10]}},
		{"rolling back", store.RechargeFilter{State: store.RechargeRollingBack}, []store.RechargeID{all[2], all[8]}},
		{"created", store.RechargeFilter{State: store.RechargeCreated}, []store.RechargeID{all[0], all[5], all[6], all[11]}},
		{"committed", store.RechargeFilter{State: store.RechargeCommitted}, []store.RechargeID{all[3], all[9]}},
		{"rolled back, of ben", store.RechargeFilter{State: store.RechargeRolledBack, Account: ben.ID}, nil},
		{"rolled back, of ann", store.RechargeFilter{State: store.RechargeRolledBack, Account: ann.ID}, []store.RechargeID{all[1], all[7]}},
	} {
		// In pages of two, the lists are the same.
		var got []store.RechargeID
		story.filter.Provider, story.filter.Limit = "external", 2
		for {
			page, err := db.Recharges(t.Context(), story.filter)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				got = append(got, r.ID)
			}
			if len(page) < 2 {
				break
			}
			story.filter.Before = got[len(got)-1]
		}
		if diff := cmp.Diff(story.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", story.name, diff)
		}
	}
	if _, err := db.Recharges(t.Context(), store.RechargeFilter{Provider: "nobody"}); !errors.Is(err, store.ErrProviderNotFound) {
		t.Errorf("of an unknown provider: %v", err)
	}
}

func TestCreateARecharge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		db.Provider("external", func(p *store.NewProvider) { p.LimitPerDay = 100 })
		n := db.NewRecharge(db.Account(0), "1")
		n.Once = store.Once{Scope: "back office", Key: "k", Request: "r"}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.CreateRecharge(t.Context(), n); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("create: %v, want unavailable", err)
		}
		db.CheckInvariants()
		n.ID = store.NewRechargeID() // the client asks again: another request of the same key
		_, err := db.CreateRecharge(t.Context(), n)
		var replay *store.Replay
		if errors.As(err, &replay) != done || (!done && err != nil) {
			t.Errorf("again: %v, want a replay: %v", err, done)
		}
		if got := db.Count("SELECT count(*) FROM recharges"); got != 1 {
			t.Errorf("%d recharges, want 1", got)
		}
		db.CheckInvariants()
	})
}

func TestAcceptACommit(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		db.Provider("external", nil)
		owner := db.Account(0)
		commit := storetest.Command(store.RechargeCommit, db.Recharge(owner, "1"))
		commit.Once = store.Once{Scope: "back office", Key: "k", Request: "r"}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.AcceptRecharge(t.Context(), commit); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("accept: %v, want unavailable", err)
		}
		db.CheckInvariants()
		answer, err := db.AcceptRecharge(t.Context(), commit)
		var replay *store.Replay
		switch {
		case done && errors.As(err, &replay):
			answer = replay.Answer
		case done || err != nil:
			t.Fatalf("again: %v, want a replay: %v", err, done)
		}
		if o := db.SettleRecharge(store.Ref{ID: answer.Operation, Seq: 1}); o.Status != store.Succeeded {
			t.Errorf("settled: %+v", o)
		}
		if got := db.Balance(owner); got != 100 {
			t.Errorf("the owner has %d, want 100", got)
		}
		db.CheckInvariants()
	})
}

func TestSettleRechargesAndAcknowledge(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		db.Provider("external", func(p *store.NewProvider) { p.LimitPerDay = 1000 })
		owner := db.Account(0)
		batch := []store.Ref{
			db.Commanded(store.RechargeCommit, db.Recharge(owner, "3")),
			db.Commanded(store.RechargeRollback, db.Recharge(owner, "4")),
		}
		db.faults.CutNextCommit(cut)
		if _, err := db.cutting.SettleRecharges(t.Context(), batch); store.FaultOf(err) != store.FaultOutage {
			t.Fatalf("settle: %v, want an outage: nothing may be acknowledged", err)
		}
		db.CheckInvariants()
		outcomes, err := db.SettleRecharges(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if outcomes[0].Stale() != done || outcomes[1].Stale() != done {
			t.Errorf("again: %+v, want stale: %v", outcomes, done)
		}
		if got := db.Balance(owner); got != 300 {
			t.Errorf("the owner has %d, want 300", got)
		}
		db.CheckInvariants()
	})
}

// One statement opens and enqueues: it is done or it is not, and the next tick finds what
// is left.
func TestExpireAndEnqueue(t *testing.T) {
	t.Parallel()
	db := newFaulty(t)
	db.Provider("external", func(p *store.NewProvider) { p.ExpiresAfter = time.Microsecond })
	for range 3 {
		db.Recharge(db.Account(0), "1")
	}
	db.faults.Down()
	if _, err := db.cutting.ExpireRecharges(t.Context(), 2); !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("expire: %v, want unavailable", err)
	}
	db.faults.Up()
	for _, want := range []int{2, 1, 0} {
		if n, err := db.cutting.ExpireRecharges(t.Context(), 2); err != nil || n != want {
			t.Errorf("%d expire, %v; want %d", n, err, want)
		}
	}
	if got := db.Count("SELECT count(*) FROM outbox WHERE queue = 'recharges' AND type = 'recharge.expire'"); got != 3 {
		t.Errorf("%d messages, want 3", got)
	}
	db.CheckInvariants()
}

func takesVouchers(p *store.NewProvider) { p.Params = []string{"code"} }

func withCode(n store.NewRecharge, code string) store.NewRecharge {
	n.Amount = nil
	n.Params = map[string]json.RawMessage{"code": json.RawMessage(`"` + code + `"`)}
	return n
}

// What an operator changes of a provider holds for what is created after that.
func TestAProviderChangesWhileRechargesAreOpen(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	codes, err := db.MakeVouchers(t.Context(), money.Amount{Minor: 5000, Currency: storetest.RUR}, 2)
	if err != nil {
		t.Fatal(err)
	}
	plain := []store.Ref{
		db.Commanded(store.RechargeCommit, db.Recharge(owner, "3")),
		db.Commanded(store.RechargeRollback, db.Recharge(owner, "4")),
	}
	db.Provider("external", takesVouchers)
	var vouchers []store.RechargeID
	for _, code := range codes {
		n := withCode(db.NewRecharge(owner, "1"), code)
		if _, err := db.CreateRecharge(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		vouchers = append(vouchers, n.ID)
	}
	for _, ref := range plain {
		if o := db.SettleRecharge(ref); o.Status != store.Succeeded {
			t.Errorf("a recharge without a voucher: %+v", o)
		}
	}
	db.Provider("external", nil)
	db.SettleRecharge(db.Commanded(store.RechargeCommit, vouchers[0]))
	db.SettleRecharge(db.Commanded(store.RechargeRollback, vouchers[1]))
	db.CheckInvariants()

	db.Provider("external", takesVouchers)
	again := withCode(db.NewRecharge(owner, "1"), codes[1])
	if _, err := db.CreateRecharge(t.Context(), again); err != nil {
		t.Errorf("a voucher whose recharge was rolled back: %v, want it free", err)
	}
	if _, err := db.AcceptLateRecharge(t.Context(), "external", vouchers[1], "n", "a"); !errors.Is(err, store.ErrRechargeState) {
		t.Errorf("late money of a voucher that is free again: %v", err)
	}
	db.SettleRecharge(db.Commanded(store.RechargeCommit, again.ID))
	if got := db.Balance(owner); got != 10300 {
		t.Errorf("the owner has %d, want two vouchers and 3.00", got)
	}
	db.CheckInvariants()
}

func TestAVoucherIsHeldToTheLimits(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	db.Provider("external", func(p *store.NewProvider) {
		takesVouchers(p)
		p.LimitPerPayment, p.LimitPerDay = 6000, 10_000
	})
	owner := db.Account(0)
	for _, story := range []struct {
		amount money.Amount
		field  string // that is refused; "" for none
	}{
		{money.Amount{Minor: 6000, Currency: storetest.RUR}, ""},
		{money.Amount{Minor: 6001, Currency: storetest.RUR}, "amount"},
		{money.Amount{Minor: 5, Currency: 392}, "currency"},
		{money.Amount{Minor: 4001, Currency: storetest.RUR}, "amount"}, // beyond what is left of the day
	} {
		codes, err := db.MakeVouchers(t.Context(), story.amount, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.CreateRecharge(t.Context(), withCode(db.NewRecharge(owner, "1"), codes[0]))
		var wrong *store.FieldError
		if got := errors.As(err, &wrong); got != (story.field != "") || got && wrong.Field != story.field {
			t.Errorf("a voucher of %s: %v, want %q refused", story.amount, err, story.field)
		}
	}
	db.CheckInvariants()
}

// A code is money to whoever reads it, whatever provider it was sent to.
func TestACodeIsNeverStored(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	codes, err := db.MakeVouchers(t.Context(), money.Amount{Minor: 5000, Currency: storetest.RUR}, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := db.NewRecharge(db.Account(0), "1")
	n.Params = map[string]json.RawMessage{"code": json.RawMessage(`"` + codes[0] + `"`)}
	if _, err := db.CreateRecharge(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	other := db.Recharge(db.Account(0), "1")
	var wrong *store.FieldError
	err = db.UpdateRecharge(t.Context(), store.RechargeUpdate{Provider: "external", ID: other, Params: n.Params})
	if !errors.As(err, &wrong) || wrong.Field != "params.code" {
		t.Errorf("a voucher's code in an update: %v", err)
	}
	n.Params["code"] = json.RawMessage(`"a promotion"`)
	if err := db.UpdateRecharge(t.Context(), store.RechargeUpdate{Provider: "external", ID: other, Params: n.Params}); err != nil {
		t.Errorf("another code: %v", err)
	}
	if rows := db.Count("SELECT count(*) FROM recharges WHERE params::text LIKE '%' || $1 || '%'", codes[0]); rows != 0 {
		t.Error("the code is stored")
	}
}

// What is answered from its key takes no room from others in the same set.
func TestARepeatTakesNoRoomOfTheDay(t *testing.T) {
	t.Parallel()
	db := newRecharging(t)
	owner := db.Account(0)
	first := db.NewRecharge(owner, "1")
	first.Once = store.Once{Scope: "s", Key: "k", Request: "r"}
	for round := int64(1); round <= 20; round++ { // both in one set, now and then
		db.Provider("external", func(p *store.NewProvider) { p.LimitPerDay = 100 * round })
		fresh := db.NewRecharge(owner, "1")
		if round == 1 {
			fresh = first
		}
		errs := atOnce(8, func(i int) error {
			if i == 3 {
				_, err := db.CreateRecharge(t.Context(), fresh)
				return err
			}
			_, err := db.CreateRecharge(t.Context(), first)
			return err
		})
		if round > 1 && errs[3] != nil {
			t.Fatalf("round %d: %v, though there is room", round, errs[3])
		}
	}
	db.CheckInvariants()
}
