package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// books are the checks of the ledger itself, in the order in which one needs another.
func (a *audit) books() []*auditStep {
	return []*auditStep{
		newAuditStep("transfers", "transfers",
			"every transfer's tx_id is its hash, and it moved what its settled source says, between the right accounts", a.auditTransfers),
		newAuditStep("balances", "ledger_accounts", "every balance is the sum of its transfers, and not below zero unless it may be", a.auditBalances),
		newAuditStep("currencies", "", "the balances of a currency add up to zero", a.auditCurrencies),
	}
}

// A balance, and what was booked since the transfers were read: both as of one snapshot. A sum
// that no balance can be is cut off.
const auditBalancesSQL = `
SELECT l.id, l.kind, l.owner, l.currency, l.balance, l.may_go_negative,
       greatest(least(c.amount - d.amount, 9223372036854775807), -9223372036854775808)::bigint
FROM (
	SELECT f.id, f.kind, f.owner, f.currency, f.balance, f.may_go_negative
	FROM ledger_accounts f
	WHERE f.id > @after
	ORDER BY f.id
	LIMIT @limit
) l
CROSS JOIN LATERAL (SELECT coalesce(sum(t.amount), 0) AS amount FROM transfers t WHERE t.credit = l.id AND t.id > @mark OFFSET 0) c
CROSS JOIN LATERAL (SELECT coalesce(sum(t.amount), 0) AS amount FROM transfers t WHERE t.debit  = l.id AND t.id > @mark OFFSET 0) d
ORDER BY l.id`

// auditedBalance is a ledger account with what it should hold.
type auditedBalance struct {
	id       LedgerAccountID
	key      ledgerKey
	balance  int64
	mayOwe   bool
	moved    int64  // since the mark
	sum      string // of all its transfers; "" where it was not asked for
	asNumber string // the balance, to be compared with sum
}

// auditBalances compares each balance with the sum that auditTransfers has made and what was
// booked since. A transfer that had its number by the mark, and committed after its chunk was
// read, is in neither: what seems to be off is looked at again, all of it in one snapshot.
func (a *audit) auditBalances(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedBalance]{
		sql: auditBalancesSQL, args: pgx.NamedArgs{"after": int64(0), "mark": a.mark},
		fields: func(b *auditedBalance) []any {
			return []any{&b.id, &b.key.kind, &b.key.owner, &b.key.currency, &b.balance, &b.mayOwe, &b.moved}
		},
		next: func(b *auditedBalance) pgx.NamedArgs { return pgx.NamedArgs{"after": b.id} },
		look: func(b *auditedBalance) *AuditFinding {
			if b.balance != a.sums[b.id]+b.moved || b.belowZero() {
				a.suspects = append(a.suspects, b.id)
			}
			return nil
		},
	}
	if err := pass.run(ctx, a, step); err != nil {
		return err
	}
	looked := step.check.Rows
	err := a.auditSuspects(ctx, step)
	step.check.Rows = looked
	return err
}

func (b *auditedBalance) belowZero() bool { return b.balance < 0 && !b.mayOwe }

const auditSuspectsSQL = `
SELECT l.id, l.kind, l.owner, l.currency, l.balance, l.may_go_negative, l.balance::text, (c.amount - d.amount)::text
FROM (
	SELECT f.id, f.kind, f.owner, f.currency, f.balance, f.may_go_negative
	FROM ledger_accounts f
	WHERE f.id = ANY(@suspects::bigint[]) AND f.id > @after
	ORDER BY f.id
	LIMIT @limit
) l
CROSS JOIN LATERAL (SELECT coalesce(sum(t.amount), 0) AS amount FROM transfers t WHERE t.credit = l.id OFFSET 0) c
CROSS JOIN LATERAL (SELECT coalesce(sum(t.amount), 0) AS amount FROM transfers t WHERE t.debit  = l.id OFFSET 0) d
ORDER BY l.id`

func (a *audit) auditSuspects(ctx context.Context, step *auditStep) error {
	for suspects := range slices.Chunk(a.suspects, 100) { // each may have the transfers of half the house
		pass := auditPass[auditedBalance]{
			sql: auditSuspectsSQL, args: pgx.NamedArgs{"after": int64(0), "suspects": suspects}, slow: true,
			fields: func(b *auditedBalance) []any {
				return []any{&b.id, &b.key.kind, &b.key.owner, &b.key.currency, &b.balance, &b.mayOwe, &b.asNumber, &b.sum}
			},
			next: func(b *auditedBalance) pgx.NamedArgs { return pgx.NamedArgs{"after": b.id} },
			look: (*auditedBalance).look,
		}
		if err := pass.run(ctx, a, step); err != nil {
			return err
		}
	}
	return nil
}

func (b *auditedBalance) look() *AuditFinding {
	row := fmt.Sprintf("ledger account %d (%s)", b.id, b.key.text())
	switch {
	case b.asNumber != b.sum:
		return &AuditFinding{row, "a balance of " + b.sum + ", the sum of its transfers in minor units", b.asNumber}
	case b.belowZero():
		return &AuditFinding{row, "a balance that is not below zero", b.asNumber}
	}
	return nil
}

const auditCurrenciesSQL = `
SELECT l.currency, sum(l.balance)::text
FROM ledger_accounts l
WHERE l.currency > @after
GROUP BY l.currency
ORDER BY l.currency
LIMIT @limit`

// auditCurrencies reads all balances at once: of one snapshot, or their sum says nothing.
func (a *audit) auditCurrencies(ctx context.Context, step *auditStep) error {
	type total struct {
		currency money.Currency
		sum      string
	}
	pass := auditPass[total]{
		sql: auditCurrenciesSQL, args: pgx.NamedArgs{"after": -1}, slow: true,
		fields: func(t *total) []any { return []any{&t.currency, &t.sum} },
		next:   func(t *total) pgx.NamedArgs { return pgx.NamedArgs{"after": t.currency} },
		look: func(t *total) *AuditFinding {
			if t.sum == "0" {
				return nil
			}
			return &AuditFinding{"currency " + t.currency.Alpha(), "balances that add up to 0", t.sum + " minor units"}
		},
	}
	return pass.run(ctx, a, step)
}
