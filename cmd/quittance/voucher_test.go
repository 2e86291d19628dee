package main

import (
	"strings"
	"testing"

	"github.com/quittance/quittance/store/storetest"
)

func TestVouchersAreMadeAndShownOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	out, err := operate(t, db.URL, "voucher", "--amount", "12.50", "--currency", "RUR", "--count", "3")
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]bool{}
	for _, code := range strings.Fields(out) {
		codes[code] = true
	}
	if len(codes) != 3 || strings.Count(out, "\n") != 3 {
		t.Errorf("3 vouchers are shown as %q, want a code a line and nothing else", out)
	}
	if n := db.Count("SELECT count(*) FROM vouchers WHERE amount = 1250 AND currency = 810 AND redeemed_at IS NULL"); n != 3 {
		t.Errorf("%d vouchers of 12.50 RUR are stored, want 3", n)
	}
	if out, err := operate(t, db.URL, "voucher", "--amount", "3", "--currency", "JPY", "-o", "json"); err != nil || !strings.HasPrefix(out, `["`) {
		t.Errorf("as JSON: %q, %v", out, err)
	}
}

func TestAVoucherIsRefused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for name, args := range map[string]string{
		"of nothing":                "--amount 0 --currency RUR",
		"of less than nothing":      "--amount -5 --currency RUR",
		"of half a yen":             "--amount 0.5 --currency JPY",
		"of no number":              "--amount ten --currency RUR",
		"of more than there can be": "--amount 1e30 --currency RUR",
		"in a currency of nobody":   "--amount 1 --currency XXQ",
		"without a currency":        "--amount 1",
		"none of it":                "--amount 1 --currency RUR --count 0",
		"more than a transaction":   "--amount 1 --currency RUR --count 1001",
	} {
		if out, err := operate(t, db.URL, append([]string{"voucher"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("%s: voucher %s: %q", name, args, out)
		}
	}
	environ := map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_SECRET_KEY": ""}
	if out, err := operateIn(t, environ, "voucher", "--amount", "1", "--currency", "RUR"); err == nil {
		t.Errorf("with a fingerprint that nobody would find again: %q", out)
	}
	if n := db.Count("SELECT count(*) FROM vouchers"); n != 0 {
		t.Errorf("%d vouchers were made of what was refused", n)
	}
}
