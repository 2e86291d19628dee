package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// ofDevelopment are the statements that only development runs, under its one role.
var ofDevelopment = map[string]bool{
	"setClockAheadSQL": true, "insertDemoAccountSQL": true, "skipDemoIDsSQL": true, "insertDemoSessionsSQL": true,
	"insertDemoPaymentSQL": true, "readDemoLedgerSQL": true,
}

// EXPLAIN asks for every privilege that the statement takes, and does nothing.
func TestTheRuntimeRoleMayRunEveryStatement(t *testing.T) {
	t.Parallel()
	conn := connect(t, storetest.WithRoles(t).Runtime)
	for name, sql := range statementsOf(t, ".") {
		if ofDevelopment[name] || strings.HasPrefix(name, "select") { // what begins with select is a part of one
			continue
		}
		prepared, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), conn, sql, nil)
		if err != nil {
			t.Fatal(err)
		}
		described, err := conn.Prepare(t.Context(), name, prepared)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nothing := strings.TrimSuffix(strings.Repeat("NULL, ", len(described.ParamOIDs)), ", ")
		if nothing != "" {
			nothing = "(" + nothing + ")"
		}
		if _, err := conn.PgConn().Exec(t.Context(), "EXPLAIN EXECUTE "+pgx.Identifier{name}.Sanitize()+nothing).ReadAll(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoRoleButTheOwnerMayRewriteWhatHappened(t *testing.T) {
	t.Parallel()
	roles := storetest.WithRoles(t)
	refused := []string{
		"UPDATE transfers SET amount = 1",
		"UPDATE transfers SET tx_id = ''",
		"DELETE FROM transfers",
		"ALTER TABLE transfers DISABLE TRIGGER ALL",
		"DROP TRIGGER transfers_are_never_changed ON transfers",
		"UPDATE ledger_accounts SET may_go_negative = true",
		"DELETE FROM ledger_accounts",
		"UPDATE invoices SET amount = 1",
		"DELETE FROM invoices",
		"DELETE FROM payments",
		"UPDATE recharges SET amount = 1",
		"DELETE FROM recharges",
		"UPDATE acquirer_intents SET amount = 1",
		"DELETE FROM acquirer_intents",
		"UPDATE operations SET type = 'invoice.pay'",
		"UPDATE attempts SET error = ''",
		"UPDATE events SET body = '{}'",
		"UPDATE dead_letters SET error = ''",
		"DELETE FROM dead_letters",
		"UPDATE idempotency_keys SET answer = ''",
		"UPDATE suspense_notes SET note = ''",
		"DELETE FROM suspense_notes",
		"UPDATE deciding_clock SET ahead = '1 day'",
		"UPDATE goose_db_version SET version_id = 1",
		"CREATE TABLE public.mine ()",
		"SET session_replication_role = replica",
	}
	owner := connect(t, roles.Owner)
	for _, table := range tables(t, owner) {
		refused = append(refused, "TRUNCATE "+table+" CASCADE", "DROP TABLE "+table+" CASCADE")
	}
	for name, address := range map[string]string{"the runtime": roles.Runtime, "the reader": roles.Reader} {
		conn := connect(t, address)
		for _, sql := range refused {
			if err := attempt(t, conn, sql); !denied(err) {
				t.Errorf("%s: %s: %v, want it to be denied", name, sql, err)
			}
		}
	}
	reader := connect(t, roles.Reader)
	for _, table := range tables(t, owner) {
		for _, privilege := range []string{"INSERT", "UPDATE", "DELETE"} {
			if may(t, reader, table, privilege) {
				t.Errorf("the reader may %s %s", privilege, table)
			}
		}
	}
}

// The books are written under the runtime's role and checked under the reader's.
func TestTheRuntimeRoleKeepsTheBooks(t *testing.T) {
	t.Parallel()
	db := storetest.WithRoles(t)
	payer, shop := db.Account(1000), db.Account(0)
	if o := db.Settle(db.Accepted(payer, shop, 300)); o.Status != store.Succeeded {
		t.Errorf("the payment: %+v", o)
	}
	db.Provider("external", nil)
	if o := db.SettleRecharge(db.Commanded(store.RechargeCommit, db.Recharge(shop, "5"))); o.Status != store.Succeeded {
		t.Errorf("the recharge: %+v", o)
	}
	if _, err := db.Forget(t.Context(), 100); err != nil {
		t.Errorf("forget: %v", err)
	}
	if got := db.Balance(shop); got != 800 {
		t.Errorf("the shop has %d, want 800", got)
	}
	db.CheckInvariants()
}

func TestGrantsMayBeRepeatedAndTakeBackWhatIsTooMuch(t *testing.T) {
	t.Parallel()
	roles := storetest.WithRoles(t)
	runtime, reader := roles.RoleNames()
	owner := connect(t, roles.Owner)
	for _, sql := range []string{
		"GRANT ALL ON ALL TABLES IN SCHEMA public TO " + runtime + ", " + reader,
		"GRANT UPDATE (amount) ON transfers TO " + reader,
		"GRANT DELETE ON transfers TO PUBLIC",
	} {
		if err := attempt(t, owner, sql); err != nil {
			t.Fatal(err)
		}
	}
	roles.Grant(t)
	for _, address := range []string{roles.Runtime, roles.Reader} {
		for _, sql := range []string{"UPDATE transfers SET amount = 1", "DELETE FROM transfers", "TRUNCATE transfers"} {
			if err := attempt(t, connect(t, address), sql); !denied(err) {
				t.Errorf("%s: %v, want it to be denied", sql, err)
			}
		}
	}
	roles.CheckInvariants()
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func attempt(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	_, err := conn.Exec(t.Context(), sql)
	return err
}

// denied says whether it was for want of a privilege.
func denied(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "42501"
}

func tables(t *testing.T, conn *pgx.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 30 {
		t.Fatalf("%d tables, %v", len(names), err)
	}
	return names
}

func may(t *testing.T, conn *pgx.Conn, table, privilege string) (held bool) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT has_table_privilege($1, $2)", table, privilege).Scan(&held); err != nil {
		t.Fatal(err)
	}
	return held
}
