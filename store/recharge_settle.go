package store

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// SettleRecharges settles a batch of commits, rollbacks, expiries and late ones, as
// PayInvoices does with payments: each gets an outcome; the transfers, the recharges' states
// and the operations' ends are stored together or not at all, and what a held row is needed
// for is left out. After a crash before the commit nothing was moved, and the messages are
// delivered again; after it they are stale.
func (s *Store) SettleRecharges(ctx context.Context, refs []Ref) ([]Outcome, error) {
	outcomes, err := s.settle(ctx, func(tx pgx.Tx, held locking) ([]Outcome, bool, error) {
		batch, err := lockForRecharge(ctx, tx, refs, held)
		if err != nil {
			return nil, false, err
		}
		decided := batch.decide(refs) // no SQL, no clock
		enqueued, err := s.writeRecharged(ctx, tx, decided)
		return decided.outcomes, enqueued, err
	})
	return outcomes, unavailable(wrap("settle recharges", err))
}

const lockRechargesSQL = `
SELECT o.id, o.type, o.seq, o.status, o.created_at, r.id, r.state, r.provider_id, r.account_id, r.amount, r.currency,
       r.limited_day, coalesce(r.voucher_id, 0), r.client_id, r.payment_no, v.reference, r.description, r.created_at,
       a.deleted, has_phone(a), now(), (SELECT deciding_time())
FROM operations o
JOIN recharges r ON r.id = o.resource
JOIN accounts a  ON a.id = r.account_id
JOIN providers v ON v.id = r.provider_id
WHERE o.id = ANY(@ids) AND o.type IN ('recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late')
ORDER BY o.id
FOR NO KEY UPDATE OF o, r`

const lockLedgerSQL = `
SELECT l.id, l.kind, l.owner, l.currency, l.balance
FROM ledger_accounts l
WHERE l.id = ANY(ARRAY(
	SELECT k.id
	FROM unnest(@kinds::text[], @owners::bigint[]) AS n (kind, owner)
	CROSS JOIN LATERAL (SELECT k.id FROM ledger_accounts k WHERE k.kind = n.kind AND k.owner = n.owner OFFSET 0) k))
ORDER BY l.id
FOR NO KEY UPDATE`

const (
	lockFreeRechargesSQL = lockRechargesSQL + " SKIP LOCKED"
	lockFreeLedgerSQL    = lockLedgerSQL + " SKIP LOCKED"
)

// topUp is a recharge, and the operation on it that is to be settled.
type topUp struct {
	id       OperationID
	kind     OperationType
	seq      int64
	status   Status
	accepted time.Time

	recharge rechargeRow
	day      *time.Time // where the provider has a limit per day
	closed   bool       // the account is
	trace    string     // the attempt
	phone    bool       // of the account, that can be told something
}

// rechargeBatch is what a batch of recharges is decided on.
type rechargeBatch struct {
	held     locking
	now      time.Time // of the database
	deciding time.Time
	topUps   map[OperationID]topUp
	ledger   map[ledgerKey]*wallet
}

func lockForRecharge(ctx context.Context, tx pgx.Tx, refs []Ref, held locking) (*rechargeBatch, error) {
	lockRecharges, lockLedger := lockRechargesSQL, lockLedgerSQL
	if held == passOverHeldRows {
		lockRecharges, lockLedger = lockFreeRechargesSQL, lockFreeLedgerSQL
	}
	b := &rechargeBatch{held: held, topUps: make(map[OperationID]topUp), ledger: make(map[ledgerKey]*wallet)}
	rows, _ := tx.Query(ctx, lockRecharges, pgx.NamedArgs{"ids": idsOf(refs)})
	var t topUp
	r := &t.recharge
	_, err := pgx.ForEachRow(rows, []any{
		&t.id, &t.kind, &t.seq, &t.status, &t.accepted, &r.ID, &r.State, &r.provider, &r.Account, &r.Amount.Minor, &r.Amount.Currency,
		&t.day, &r.voucher, &r.client, &r.PaymentNo, &r.Provider, &r.Description, &r.CreatedAt, &t.closed, &t.phone, &b.now, &b.deciding,
	}, func() error {
		b.topUps[t.id] = t
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lock recharges: %w", err)
	}
	return b, b.lockLedger(ctx, tx, lockLedger)
}

// lockLedger locks the ledger accounts that money will move between, in whatever currency.
func (b *rechargeBatch) lockLedger(ctx context.Context, tx pgx.Tx, sql string) error {
	needed := make(map[ledgerKey]bool)
	for _, t := range b.topUps {
		if from, to, moves := t.between(); moves {
			from.currency, to.currency = 0, 0
			needed[from], needed[to] = true, true
		}
	}
	if len(needed) == 0 {
		return nil
	}
	var kinds []string
	var owners []int64
	for k := range needed {
		kinds, owners = append(kinds, k.kind), append(owners, k.owner)
	}
	rows, _ := tx.Query(ctx, sql, pgx.NamedArgs{"kinds": kinds, "owners": owners})
	var w wallet
	var key ledgerKey
	_, err := pgx.ForEachRow(rows, []any{&w.id, &key.kind, &key.owner, &key.currency, &w.balance}, func() error {
		b.ledger[key] = &wallet{id: w.id, balance: w.balance}
		return nil
	})
	return wrap("lock ledger accounts", err)
}

// between says where the operation moves its money from and to, if it moves any.
func (t topUp) between() (from, to ledgerKey, moves bool) {
	if t.kind != RechargeCommit && t.kind != RechargeLate {
		return from, to, false
	}
	r := t.recharge
	from = ledgerKey{clearingKind, r.provider, r.Amount.Currency}
	to = ledgerKey{walletKind, r.Account, r.Amount.Currency}
	if t.kind == RechargeLate || t.closed {
		to = ledgerKey{suspenseKind, 0, r.Amount.Currency} // the money is here, and nobody can have it
	}
	return from, to, true
}

var (
	rechargeMovedOn   = refusal{code: "invalid_state", message: "The operation cannot be performed in the current state."}
	accountCannotHold = refusal{code: "account_cannot_receive", message: "A balance cannot hold the amount: the account's, or what the provider has brought in."}
)

// rechargeDecisions is what a batch came to, ready to be written.
type rechargeDecisions struct {
	now       time.Time
	deciding  time.Time
	outcomes  []Outcome // one a message
	transfers []transfer
	ends      []topUpEnd
}

// topUpEnd ends an operation and leaves its recharge in a state.
type topUpEnd struct {
	topUp
	refusal refusal
	state   RechargeState
}

// decide settles the operations in the order in which they arrived. It reads and uses up
// nothing but the batch.
func (b *rechargeBatch) decide(refs []Ref) rechargeDecisions {
	d := rechargeDecisions{now: b.now, deciding: b.deciding, outcomes: make([]Outcome, len(refs))}
	for i, ref := range refs {
		t, known := b.topUps[ref.ID]
		if !known || t.seq != ref.Seq || !t.status.Open() {
			continue // stale
		}
		delete(b.topUps, ref.ID) // the same message again, in the same batch, is stale
		t.trace = ref.Trace
		from, to, moves := t.between()
		if moves && b.held == passOverHeldRows && (b.ledger[from] == nil || b.ledger[to] == nil) {
			continue // held, as far as anybody can tell here
		}
		end := topUpEnd{topUp: t, state: t.recharge.State}
		if state := t.leadsTo(); state == "" {
			end.refusal = rechargeMovedOn
		} else if moves && !b.move(from, to, t.recharge.Amount.Minor) {
			end.refusal = accountCannotHold
		} else {
			end.state = state
			if moves {
				d.transfers = append(d.transfers, b.transferFor(t, from, to))
			}
		}
		d.ends = append(d.ends, end)
		d.outcomes[i] = end.refusal.outcome(t.kind, b.now.Sub(t.accepted))
	}
	return d
}

// leadsTo is the state in which the operation leaves its recharge, or "" where the present
// one does not allow it.
func (t topUp) leadsTo() RechargeState {
	ended := t.recharge.State == RechargeRolledBack || t.recharge.State == RechargeExpired
	created := t.recharge.State == RechargeCreated
	switch {
	case t.kind == RechargeLate && ended:
		return t.recharge.State
	case t.kind == RechargeCommit && created:
		return RechargeCommitted
	case t.kind == RechargeRollback && created:
		return RechargeRolledBack
	case t.kind == RechargeExpire && created:
		return RechargeExpired
	}
	return ""
}

// move moves the amount between the balances of the batch, if the other side can hold it.
func (b *rechargeBatch) move(from, to ledgerKey, minor int64) bool {
	debit, credit := b.ledger[from], b.ledger[to]
	if debit == nil || credit == nil || credit.balance > math.MaxInt64-minor || debit.balance < math.MinInt64+minor {
		return false
	}
	debit.balance -= minor
	credit.balance += minor
	return true
}

func (b *rechargeBatch) transferFor(t topUp, from, to ledgerKey) transfer {
	kind := RechargeTransfer
	if t.kind == RechargeLate {
		kind = LateRechargeTransfer
	}
	return transfer{
		kind: kind, reference: t.recharge.ID, operation: t.id,
		debit: b.ledger[from].id, credit: b.ledger[to].id, amount: t.recharge.Amount, at: b.now,
	}
}

const endRechargesSQL = `
UPDATE recharges r
SET state = d.state, updated_at = @deciding
FROM unnest(@recharges::uuid[], @states::text[]) AS d (recharge, state)
WHERE r.id = d.recharge AND r.state = 'created'`

const redeemVouchersSQL = `
UPDATE vouchers
SET redeemed_at = now()
WHERE recharge_id = ANY(@recharges)`

const releaseVouchersSQL = `
UPDATE vouchers
SET recharge_id = NULL
WHERE recharge_id = ANY(@recharges) AND redeemed_at IS NULL`

const noteClosedSQL = `
INSERT INTO suspense_notes (operation_id, note, author)
SELECT c.id, 'The account was closed before the recharge was committed.', 'quittance'
FROM unnest(@operations::uuid[]) AS c (id)`

// writeRecharged stores the decisions with a handful of statements, whatever their number. It
// says whether it left rows in the outbox.
func (s *Store) writeRecharged(ctx context.Context, tx pgx.Tx, d rechargeDecisions) (enqueued bool, err error) {
	if len(d.ends) == 0 {
		return false, nil
	}
	var events []event
	var ended, redeemed, released []RechargeID
	var states []RechargeState
	var closed []OperationID
	days := make(map[providerDay]int64)
	var ends operationEnds
	for _, e := range d.ends {
		ends.add(e.id, e.seq, e.refusal)
		if e.state == e.recharge.State {
			continue // refused, or late
		}
		ended, states = append(ended, e.recharge.ID), append(states, e.state)
		events = append(events, e.ended(d.now, d.deciding))
		switch {
		case e.state == RechargeCommitted && e.recharge.voucher != 0:
			redeemed = append(redeemed, e.recharge.ID)
		case e.state != RechargeCommitted && e.recharge.voucher != 0:
			released = append(released, e.recharge.ID)
		}
		if e.state == RechargeCommitted && e.closed {
			closed = append(closed, e.id)
		}
		if e.state != RechargeCommitted && e.day != nil {
			days[providerDay{e.recharge.provider, e.recharge.Amount.Currency, *e.day}] -= e.recharge.Amount.Minor
		}
	}
	batch := &pgx.Batch{}
	ends.write(batch)
	if len(ended) > 0 {
		batch.Queue(endRechargesSQL, pgx.NamedArgs{"recharges": ended, "states": states, "deciding": d.deciding}).Exec(affects(len(ended)))
	}
	post(batch, d.transfers)
	if len(redeemed) > 0 {
		batch.Queue(redeemVouchersSQL, pgx.NamedArgs{"recharges": redeemed}).Exec(affects(len(redeemed)))
	}
	if len(released) > 0 {
		batch.Queue(releaseVouchersSQL, pgx.NamedArgs{"recharges": released}).Exec(affects(len(released)))
	}
	if len(closed) > 0 {
		batch.Queue(noteClosedSQL, pgx.NamedArgs{"operations": closed})
	}
	moveDays(batch, days)
	if _, err := s.writeEvents(batch, events, &enqueued); err != nil {
		return false, err
	}
	err = tx.SendBatch(ctx, batch).Close()
	return enqueued, err
}
