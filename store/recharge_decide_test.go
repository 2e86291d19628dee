package store

import (
	"maps"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/quittance/quittance/store/money"
)

// genRecharges draws a batch in which stale, repeated and closed ones, wrong states and full
// wallets are all likely.
func genRecharges(t *rapid.T) (*rechargeBatch, []Ref) {
	owner := rapid.Int64Range(1, 3)
	b := &rechargeBatch{held: locking(rapid.Bool().Draw(t, "held")), now: time.Unix(1, 0), topUps: make(map[OperationID]topUp), ledger: make(map[ledgerKey]*wallet)}
	for n := range rapid.IntRange(0, 10).Draw(t, "operations") {
		o := topUp{
			id: OperationID{byte(n + 1)}, seq: rapid.Int64Range(1, 2).Draw(t, "seq"),
			kind:   rapid.SampledFrom([]OperationType{RechargeCommit, RechargeCommit, RechargeRollback, RechargeExpire, RechargeLate}).Draw(t, "kind"),
			status: rapid.SampledFrom([]Status{Accepted, Accepted, Running, Succeeded, Failed, Dead}).Draw(t, "status"),
			closed: rapid.IntRange(0, 5).Draw(t, "closed") == 0,
		}
		o.recharge.ID, o.recharge.provider, o.recharge.Account = RechargeID{byte(n + 1)}, owner.Draw(t, "provider"), owner.Draw(t, "account")
		o.recharge.Amount = money.Amount{Minor: rapid.Int64Range(1, 120).Draw(t, "amount"), Currency: 810}
		o.recharge.State = rapid.SampledFrom([]RechargeState{RechargeCreated, RechargeCreated, RechargeCommitted, RechargeRolledBack, RechargeExpired}).Draw(t, "state")
		b.topUps[o.id] = o
		if from, to, moves := o.between(); moves {
			for _, k := range []ledgerKey{from, to} {
				if b.held == passOverHeldRows && rapid.IntRange(0, 3).Draw(t, "is held") == 0 {
					continue
				}
				if b.ledger[k] == nil {
					balance := rapid.OneOf(rapid.Int64Range(-50, 50), rapid.Int64Range(math.MaxInt64-60, math.MaxInt64), rapid.Int64Range(math.MinInt64, math.MinInt64+60))
					b.ledger[k] = &wallet{id: LedgerAccountID(len(b.ledger) + 1), balance: balance.Draw(t, "balance")}
				}
			}
		}
	}
	var refs []Ref
	for range rapid.IntRange(0, 20).Draw(t, "messages") {
		refs = append(refs, Ref{ID: OperationID{byte(rapid.IntRange(1, 11).Draw(t, "id"))}, Seq: rapid.Int64Range(1, 2).Draw(t, "at")})
	}
	return b, refs
}

// isHeld says that somebody holds a ledger account that the operation needs.
func (b *rechargeBatch) isHeld(o topUp) bool {
	from, to, moves := o.between()
	return moves && (b.ledger[from] == nil || b.ledger[to] == nil)
}

func TestRechargeDecisionsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, refs := genRecharges(t)
		balances := make(map[LedgerAccountID]int64)
		for _, l := range b.ledger {
			balances[l.id] = l.balance
		}
		topUps := maps.Clone(b.topUps)
		d := b.decide(refs)

		ended := make(map[OperationID]int)
		for i, ref := range refs {
			o, known := topUps[ref.ID]
			open := known && o.seq == ref.Seq && o.status.Open()
			if !d.outcomes[i].Stale() {
				ended[ref.ID]++
			}
			if open && b.isHeld(o) {
				open = false
			}
			if open != (ended[ref.ID] > 0) && (open || !d.outcomes[i].Stale()) {
				t.Fatalf("message %d about %+v: %+v", i, o, d.outcomes[i])
			}
		}
		moved := make(map[OperationID]transfer)
		for _, x := range d.transfers {
			if _, twice := moved[x.operation]; twice {
				t.Fatalf("%s moves its money twice", x.operation)
			}
			moved[x.operation] = x
			if balances[x.debit] < math.MinInt64+x.amount.Minor || balances[x.credit] > math.MaxInt64-x.amount.Minor {
				t.Fatalf("transfer %+v overflows", x)
			}
			balances[x.debit] -= x.amount.Minor
			balances[x.credit] += x.amount.Minor
		}
		for k, l := range b.ledger {
			if balances[l.id] != l.balance {
				t.Fatalf("%+v: transfers say %d, the batch says %d", k, balances[l.id], l.balance)
			}
		}
		if len(d.ends) != len(ended) {
			t.Fatalf("%d ends for %d operations", len(d.ends), len(ended))
		}
		for _, e := range d.ends {
			checkEnd(t, e, ended[e.id], moved)
		}
	})
}

// checkEnd: an operation ends once, moves money exactly if it is a commit or a late one that
// succeeded, and changes a state only from created.
func checkEnd(t *rapid.T, e topUpEnd, times int, moved map[OperationID]transfer) {
	_, has := moved[e.id]
	succeeded := e.refusal == settled
	moves := e.kind == RechargeCommit || e.kind == RechargeLate
	switch before := e.recharge.State; {
	case times != 1:
		t.Fatalf("%+v ended %d times", e, times)
	case has != (succeeded && moves):
		t.Fatalf("%+v: transfer %v", e, has)
	case !succeeded && e.state != before:
		t.Fatalf("%+v was refused and changed the state", e)
	case e.state != before && eventOfRecharge[e.state] == "":
		t.Fatalf("nobody is told that %+v", e)
	case succeeded && e.kind != RechargeLate && before != RechargeCreated:
		t.Fatalf("%+v succeeded", e)
	case succeeded && e.kind == RechargeLate && (e.state != before || before == RechargeCreated || before == RechargeCommitted):
		t.Fatalf("%+v succeeded", e)
	}
}
