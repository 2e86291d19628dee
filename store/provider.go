package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// Provider brings money in.
type Provider struct {
	Reference   string // its name in paths
	Name        string
	Description string
	Params      []string // what a recharge's params hold beside the amount; "code" makes it one of vouchers
	Currency    money.Currency
}

// voucherParam is the parameter whose providers take vouchers.
const voucherParam = "code"

const listProvidersSQL = `
SELECT p.reference, p.name, p.description, p.params, p.currency
FROM providers p
WHERE p.enabled
ORDER BY p.reference`

// Providers lists those that are enabled.
func (s *Store) Providers(ctx context.Context) ([]Provider, error) {
	rows, _ := s.pool.Query(ctx, listProvidersSQL)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Provider])
	return found, unavailable(wrap("list providers", err))
}

// NewProvider is a provider as an operator sets it up.
type NewProvider struct {
	Provider
	LimitPerPayment int64         // minor units; 0 for none
	LimitPerDay     int64         // minor units of all recharges that are made in a UTC day; 0 for none
	ExpiresAfter    time.Duration // how long a recharge can be committed
	Enabled         bool
}

const putProviderSQL = `
INSERT INTO providers (reference, name, description, params, currency, limit_per_payment, limit_per_day, expires_after, enabled)
VALUES (@reference, @name, @description, @params, @currency, nullif(@per_payment::bigint, 0), nullif(@per_day::bigint, 0), @expires_after, @enabled)
ON CONFLICT (reference) DO UPDATE
SET name = excluded.name, description = excluded.description, params = excluded.params, currency = excluded.currency,
    limit_per_payment = excluded.limit_per_payment, limit_per_day = excluded.limit_per_day,
    expires_after = excluded.expires_after`

// PutProvider makes a provider, or changes the one of this reference, but not whether it is
// enabled. What was created before keeps its currency and its time of expiry.
func (s *Store) PutProvider(ctx context.Context, p NewProvider) error {
	if p.Params == nil {
		p.Params = []string{}
	}
	put := act{"provider.put", p.Reference, map[string]any{
		"name": p.Name, "description": p.Description, "params": p.Params, "currency": p.Currency.Alpha(),
		"limitPerPayment": p.LimitPerPayment, "limitPerDay": p.LimitPerDay, "expiresAfter": p.ExpiresAfter.String(),
	}}
	_, err := s.execAct(ctx, put, putProviderSQL, pgx.NamedArgs{
		"reference": p.Reference, "name": p.Name, "description": p.Description, "params": p.Params, "currency": p.Currency,
		"per_payment": p.LimitPerPayment, "per_day": p.LimitPerDay, "expires_after": p.ExpiresAfter, "enabled": p.Enabled,
	})
	return unavailable(wrap("put provider "+p.Reference, err))
}

const setProviderEnabledSQL = `
UPDATE providers
SET enabled = @enabled
WHERE reference = @reference`

// SetProviderEnabled lets a provider take new recharges, or not. Its error is
// ErrProviderNotFound.
func (s *Store) SetProviderEnabled(ctx context.Context, reference string, enabled bool) error {
	tag, err := s.execAct(ctx, act{action: "provider." + switched(!enabled), subject: reference}, setProviderEnabledSQL, pgx.NamedArgs{"reference": reference, "enabled": enabled})
	if err == nil && tag.RowsAffected() == 0 {
		return ErrProviderNotFound
	}
	return unavailable(wrap("switch provider "+reference, err))
}

const allProvidersSQL = `
SELECT p.reference, p.name, p.description, p.params, p.currency, coalesce(p.limit_per_payment, 0) AS limit_per_payment,
       coalesce(p.limit_per_day, 0) AS limit_per_day, p.expires_after, p.enabled
FROM providers p
ORDER BY p.reference`

// AllProviders lists the enabled and the disabled.
func (s *Store) AllProviders(ctx context.Context) ([]NewProvider, error) {
	rows, _ := s.pool.Query(ctx, allProvidersSQL)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[NewProvider])
	return found, unavailable(wrap("list providers", err))
}
