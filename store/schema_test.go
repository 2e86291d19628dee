package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/store/storetest"
)

// What the schema refuses, whoever writes it: code with a bug, or a hand in psql.
func TestTheSchemaDefendsItself(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payer, shop := db.Account(1000), db.Account(0)
	ref := db.Accepted(payer, shop, 300)
	db.Settle(ref)
	db.Accepted(payer, shop, 1)
	db.Exec("INSERT INTO ledger_accounts (kind, owner, currency) VALUES ('wallet', 1, 978)")

	transfer := func(values string) string {
		return "INSERT INTO transfers (kind, reference, debit, credit, amount, currency, operation_id, tx_id, created_at) SELECT " + values +
			" FROM (SELECT min(id) a, max(id) b FROM ledger_accounts WHERE currency = 810) l, transfers t WHERE t.kind = 'payment'"
	}
	const sound = "'payment', gen_random_uuid(), l.a, l.b, 5, 810, t.operation_id, t.tx_id, now()"
	for _, story := range []struct{ name, sql, says string }{
		{"a sound transfer is stored", transfer(sound), ""},
		{"a second transfer for the same reference", transfer(strings.Replace(sound, "gen_random_uuid()", "t.reference", 1)), "one_transfer_per_reference_and_kind"},
		{"a transfer of nothing", transfer(strings.Replace(sound, " 5,", " 0,", 1)), "amount_is_positive"},
		{"a transfer to itself", transfer(strings.Replace(sound, "l.b", "l.a", 1)), "debit_and_credit_differ"},
		{"a transfer in another currency", transfer(strings.Replace(sound, "810", "978", 1)), "both_accounts_have_the_currency"},
		{"a transfer to an account of another currency", transfer(strings.Replace(sound, "l.b", "(SELECT id FROM ledger_accounts WHERE currency = 978)", 1)), "both_accounts_have_the_currency"},
		{"a transfer to nowhere", transfer(strings.Replace(sound, "l.b", "999999", 1)), "both_accounts_have_the_currency"},
		{"a payment without its operation", transfer(strings.Replace(sound, "t.operation_id", "NULL", 1)), "only_an_opening_has_no_operation"},
		{"a transfer is changed", "UPDATE transfers SET amount = amount + 1", "never changed or deleted"},
		{"a transfer is deleted", "DELETE FROM transfers", "never changed or deleted"},
		{"a wallet goes below zero", "UPDATE ledger_accounts SET balance = -1 WHERE kind = 'wallet'", "balance_is_not_negative_unless_it_may"},
		{"a wallet may go below zero", "INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative) VALUES ('wallet', 9, 810, true)", "no_wallet_may_go_negative"},
		{"a ledger account changes its currency", "UPDATE ledger_accounts SET currency = 643", "only the balance changes"},
		{"a ledger account is deleted", "DELETE FROM ledger_accounts", "only the balance changes"},
		{"a second wallet in a currency", "INSERT INTO ledger_accounts (kind, owner, currency) SELECT kind, owner, currency FROM ledger_accounts", "one_ledger_account_per_kind_owner_and_currency"},
		{"a second open payment of an invoice", "INSERT INTO operations (id, type, resource, due_at) SELECT gen_random_uuid(), type, resource, now() FROM operations WHERE finished_at IS NULL", "one_open_payment_per_invoice"},
		{"an operation succeeds without an end", "UPDATE operations SET status = 'succeeded' WHERE finished_at IS NULL", "finished_exactly_if_final"},
		{"an operation fails without a reason", "UPDATE operations SET status = 'failed', finished_at = now() WHERE finished_at IS NULL", "error_exactly_if_failed_or_dead"},
		{"an invoice pays its own issuer's payer", "UPDATE invoices SET recipient_id = payer_id", "payer_and_recipient_differ"},
		{"a paid invoice has an error", "UPDATE invoices SET error_code = 1 WHERE state = 5", "paid_means_no_error"},
	} {
		_, err := db.Pool().Exec(t.Context(), story.sql)
		var pg *pgconn.PgError
		switch {
		case story.says == "" && err != nil:
			t.Errorf("%s: %v", story.name, err)
		case story.says != "" && (!errors.As(err, &pg) || (pg.ConstraintName != story.says && !strings.Contains(pg.Message, story.says))):
			t.Errorf("%s: %v, want %s", story.name, err, story.says)
		}
	}
}
