package store

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// A voucher's code is 80 random bits in Crockford's base 32, which has no letters that are
// taken for digits: sixteen characters in groups of four.
var voucherAlphabet = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

func newVoucherCode() string {
	c := voucherAlphabet.EncodeToString(randomBytes(10))
	return c[:4] + "-" + c[4:8] + "-" + c[8:12] + "-" + c[12:]
}

// canonicalCode reads a code as people type it: in either case, with or without hyphens
// and blanks, with O for 0 and I or L for 1.
func canonicalCode(code string) string { return codeSpellings.Replace(strings.ToUpper(code)) }

var codeSpellings = strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1")

// codeOf is the code among params; what is no text is no code.
func codeOf(params map[string]json.RawMessage) (code string) {
	_ = json.Unmarshal(params[voucherParam], &code)
	return code
}

// voucherFingerprint is what a voucher is found by; NULL for no code.
func (s *Store) voucherFingerprint(code string) []byte {
	if code == "" {
		return nil
	}
	return s.seal.fingerprint([]byte("voucher"), []byte(canonicalCode(code)))
}

// maskVoucher is what is stored and shown of a code: it is money until it is redeemed.
func maskVoucher(code string) string {
	c := canonicalCode(code)
	return "****-" + c[max(0, len(c)-4):]
}

const insertVouchersSQL = `
INSERT INTO vouchers (fingerprint, amount, currency)
SELECT v.fingerprint, @amount, @currency
FROM unnest(@fingerprints::bytea[]) AS v (fingerprint)`

// MakeVouchers makes n vouchers of an amount and returns their codes. They are not stored:
// this is the only time that they can be read.
func (s *Store) MakeVouchers(ctx context.Context, amount money.Amount, n int) ([]string, error) {
	codes := make([]string, n)
	fingerprints := make([][]byte, n)
	for i := range codes {
		codes[i] = newVoucherCode()
		fingerprints[i] = s.voucherFingerprint(codes[i])
	}
	made := act{"voucher.make", "", map[string]any{"amount": amount.Minor, "currency": amount.Currency.Alpha(), "count": n}}
	_, err := s.execAct(ctx, made, insertVouchersSQL, pgx.NamedArgs{
		"fingerprints": fingerprints, "amount": amount.Minor, "currency": amount.Currency,
	})
	if err != nil {
		return nil, unavailable(wrap("make vouchers", err))
	}
	return codes, nil
}
