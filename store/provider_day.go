package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// providerDay is a provider's UTC day.
type providerDay struct {
	provider int64
	day      time.Time
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

const openDaysSQL = `
INSERT INTO provider_days (provider_id, day, total)
SELECT d.provider, d.day, 0
FROM unnest(@providers::bigint[], @days::date[]) AS d (provider, day)
ORDER BY d.provider, d.day
ON CONFLICT DO NOTHING`

const lockDaysSQL = `
SELECT t.provider_id, t.total
FROM unnest(@providers::bigint[], @days::date[]) AS d (provider, day)
JOIN provider_days t ON t.provider_id = d.provider AND t.day = d.day
ORDER BY t.provider_id, t.day
FOR NO KEY UPDATE OF t`

// holdToDays refuses what would take a provider beyond its limit per day. The day's row
// stays locked, so that two who come at once do not both find room for the last one.
func holdToDays(ctx context.Context, tx pgx.Tx, all []*NewRecharge) error {
	providers := make(map[int64]bool)
	var day time.Time
	for _, n := range all {
		if n.verdict == nil && n.decided.limit > 0 {
			providers[n.decided.provider] = true
			day = dayOf(n.decided.CreatedAt)
		}
	}
	if len(providers) == 0 {
		return nil
	}
	totals, err := lockDays(ctx, tx, providers, day)
	if err != nil {
		return fmt.Errorf("lock the providers' days: %w", err)
	}
	for _, n := range all {
		if n.verdict != nil || n.decided.limit == 0 {
			continue
		}
		total := totals[n.decided.provider]
		if n.decided.Amount.Minor > n.decided.limit-total {
			n.verdict = &FieldError{"amount", "is beyond what is left of the provider's limit per day"}
			continue
		}
		totals[n.decided.provider] = total + n.decided.Amount.Minor
	}
	return nil
}

func lockDays(ctx context.Context, tx pgx.Tx, providers map[int64]bool, day time.Time) (totals map[int64]int64, err error) {
	var ids []int64
	var days []time.Time
	for id := range providers {
		ids, days = append(ids, id), append(days, day)
	}
	args := pgx.NamedArgs{"providers": ids, "days": days}
	if _, err := tx.Exec(ctx, openDaysSQL, args); err != nil {
		return nil, err
	}
	rows, _ := tx.Query(ctx, lockDaysSQL, args)
	totals = make(map[int64]int64)
	var id, total int64
	_, err = pgx.ForEachRow(rows, []any{&id, &total}, func() error {
		totals[id] = total
		return nil
	})
	return totals, err
}

func (d providerDay) compare(other providerDay) int {
	return cmp.Or(cmp.Compare(d.provider, other.provider), d.day.Compare(other.day))
}

const addToDaysSQL = `
UPDATE provider_days t
SET total = t.total + d.amount
FROM unnest(@providers::bigint[], @days::date[], @amounts::bigint[]) AS d (provider, day, amount)
WHERE t.provider_id = d.provider AND t.day = d.day`

// moveDays adds to what providers have taken on in a day, or takes away from it.
func moveDays(batch *pgx.Batch, deltas map[providerDay]int64) {
	if len(deltas) == 0 {
		return
	}
	var providers, amounts []int64
	var days []time.Time
	for _, d := range slices.SortedFunc(maps.Keys(deltas), providerDay.compare) { // in the order of lockDays
		providers, days, amounts = append(providers, d.provider), append(days, d.day), append(amounts, deltas[d])
	}
	batch.Queue(addToDaysSQL, pgx.NamedArgs{"providers": providers, "days": days, "amounts": amounts}).Exec(affects(len(amounts)))
}
