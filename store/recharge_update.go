package store

import (
	"context"
	"encoding/json"
	"errors"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// RechargeUpdate changes what is said about a recharge, and never what it is worth.
type RechargeUpdate struct {
	Provider    string // reference
	ID          RechargeID
	Description *string                    // nil for unchanged
	Params      map[string]json.RawMessage // merged into those that are there; null takes one away (RFC 7396)
	Amount      *money.Decimal             // nil, or the recharge's own
	Currency    money.Currency             // 0, or the recharge's own
	Once        Once
}

// How many bytes and members a recharge's params may have, however they came together.
const (
	maxParams       = 16 << 10
	maxParamMembers = 50
)

const lockRechargeSQL = `
SELECT r.amount, r.currency, r.description, r.params,
       r.voucher_id IS NOT NULL OR EXISTS (SELECT FROM vouchers v WHERE v.fingerprint = @code)
FROM providers p
JOIN recharges r ON ` + ofProvider + openRechargeOperation + `
WHERE p.reference = @provider AND r.id = @id AND r.state = 'created' AND o.id IS NULL AND r.expires_at > deciding_time()
FOR NO KEY UPDATE OF r`

const updateRechargeSQL = `
UPDATE recharges
SET description = @description, params = @params, updated_at = deciding_time()
WHERE id = @id`

// UpdateRecharge changes a recharge that is created and that nothing is being done to. Its
// errors are ErrProviderNotFound, ErrRechargeNotFound, ErrRechargeState, *FieldError,
// *Replay and ErrKeyReused.
func (s *Store) UpdateRecharge(ctx context.Context, u RechargeUpdate) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, u.Once); err != nil {
			return err
		}
		var r Recharge
		var codeStays bool
		err := tx.QueryRow(ctx, lockRechargeSQL, pgx.NamedArgs{"provider": u.Provider, "id": u.ID, "code": s.voucherFingerprint(codeOf(u.Params))}).
			Scan(&r.Amount.Minor, &r.Amount.Currency, &r.Description, &r.Params, &codeStays)
		if err != nil {
			return err
		}
		params, err := u.merge(r, codeStays)
		if err != nil {
			return err
		}
		if u.Description != nil {
			r.Description = *u.Description
		}
		_, err = tx.Exec(ctx, updateRechargeSQL, pgx.NamedArgs{"id": u.ID, "description": r.Description, "params": params})
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		_, err = s.Recharge(ctx, u.Provider, u.ID)
		if err == nil {
			err = ErrRechargeState
		}
	}
	return unavailable(wrap("update recharge "+u.ID.String(), err))
}

// merge is pure: it returns the params as they will be, or what cannot be changed. codeStays
// says that a code is a voucher's.
func (u RechargeUpdate) merge(r Recharge, codeStays bool) ([]byte, error) {
	if u.Amount != nil {
		if amount, err := u.Amount.In(r.Amount.Currency); err != nil || amount != r.Amount {
			return nil, &FieldError{"amount", "cannot be changed"}
		}
	}
	if u.Currency != 0 && u.Currency != r.Amount.Currency {
		return nil, &FieldError{"currency", "cannot be changed"}
	}
	merged := maps.Clone(r.Params)
	if merged == nil {
		merged = make(map[string]json.RawMessage)
	}
	for name, value := range u.Params {
		if name == voucherParam && codeStays && string(value) != string(merged[name]) {
			return nil, &FieldError{"params." + name, "cannot be changed"}
		}
		if string(value) == "null" {
			delete(merged, name)
			continue
		}
		merged[name] = value
	}
	if len(merged) > maxParamMembers {
		return nil, &FieldError{"params", "would have more than 50 members"}
	}
	params, err := json.Marshal(merged)
	if err == nil && len(params) > maxParams {
		err = &FieldError{"params", "would have more than 16 KiB"}
	}
	return params, err
}
