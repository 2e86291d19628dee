package store

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// providerDay is a provider's UTC day, in one currency.
type providerDay struct {
	provider int64
	currency money.Currency
	day      time.Time
}

// dayOf is the day that a recharge counts for, where its provider has a limit.
func dayOf(r rechargeRow) providerDay {
	return providerDay{r.provider, r.Amount.Currency, r.CreatedAt.UTC().Truncate(24 * time.Hour)}
}

func (d providerDay) compare(other providerDay) int {
	return cmp.Or(cmp.Compare(d.provider, other.provider), cmp.Compare(d.currency, other.currency), d.day.Compare(other.day))
}

// dayColumns are days in the order in which they are locked everywhere, with an amount each.
func dayColumns(amounts map[providerDay]int64) pgx.NamedArgs {
	var providers, each []int64
	var currencies []money.Currency
	var days []time.Time
	for _, d := range slices.SortedFunc(maps.Keys(amounts), providerDay.compare) {
		providers, currencies, days, each = append(providers, d.provider), append(currencies, d.currency), append(days, d.day), append(each, amounts[d])
	}
	return pgx.NamedArgs{"providers": providers, "currencies": currencies, "days": days, "amounts": each}
}

const openDaysSQL = `
INSERT INTO provider_days (provider_id, currency, day, total)
SELECT d.provider, d.currency, d.day, 0
FROM unnest(@providers::bigint[], @currencies::smallint[], @days::date[]) AS d (provider, currency, day)
ORDER BY d.provider, d.currency, d.day
ON CONFLICT DO NOTHING`

const lockDaysSQL = `
SELECT t.provider_id, t.currency, t.day, t.total
FROM unnest(@providers::bigint[], @currencies::smallint[], @days::date[]) AS d (provider, currency, day)
JOIN provider_days t ON t.provider_id = d.provider AND t.currency = d.currency AND t.day = d.day
ORDER BY t.provider_id, t.currency, t.day
FOR NO KEY UPDATE OF t`

// holdToDays refuses what would take a provider beyond its limit per day. The day's row
// stays locked, so that two who come at once do not both find room for the last one.
func holdToDays(ctx context.Context, tx pgx.Tx, all []*NewRecharge) error {
	totals := make(map[providerDay]int64)
	for _, n := range all {
		if n.verdict == nil && n.decided.limit > 0 {
			totals[dayOf(n.decided)] = 0
		}
	}
	if len(totals) == 0 {
		return nil
	}
	if err := lockDays(ctx, tx, totals); err != nil {
		return fmt.Errorf("lock the providers' days: %w", err)
	}
	var free []Once
	for _, n := range all {
		if n.verdict != nil || n.decided.limit == 0 {
			continue
		}
		day := dayOf(n.decided)
		if n.decided.Amount.Minor <= n.decided.limit-totals[day] {
			totals[day] += n.decided.Amount.Minor
			continue
		}
		n.verdict = &FieldError{"amount", "is beyond what is left of the provider's limit per day"}
		if n.Once.Key != "" {
			free = append(free, n.Once)
		}
	}
	return freeKeys(ctx, tx, free)
}

// lockDays locks days, which it makes where they have just begun, and fills in their totals.
func lockDays(ctx context.Context, tx pgx.Tx, totals map[providerDay]int64) error {
	args := dayColumns(totals)
	if _, err := tx.Exec(ctx, openDaysSQL, args); err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, lockDaysSQL, args)
	var d providerDay
	var total int64
	_, err := pgx.ForEachRow(rows, []any{&d.provider, &d.currency, &d.day, &total}, func() error {
		totals[d] = total
		return nil
	})
	return err
}

const moveDaysSQL = `
UPDATE provider_days t
SET total = t.total + d.amount
FROM unnest(@providers::bigint[], @currencies::smallint[], @days::date[], @amounts::bigint[]) AS d (provider, currency, day, amount)
WHERE t.provider_id = d.provider AND t.currency = d.currency AND t.day = d.day`

// moveDays adds to what providers have taken on in a day, or takes away from it.
func moveDays(batch *pgx.Batch, deltas map[providerDay]int64) {
	if len(deltas) > 0 {
		batch.Queue(moveDaysSQL, dayColumns(deltas)).Exec(affects(len(deltas)))
	}
}
