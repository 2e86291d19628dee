package migrations_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/store/storetest"
)

// A backup reads every table for as long as it takes. A migration that waits for it must not have
// everybody else wait behind the migration.
func TestAMigrationThatWaitsIsInNobodysWay(t *testing.T) {
	t.Parallel()
	address := before(t, 10, "ALTER TABLE operations DROP COLUMN trace_parent")
	backup, watcher, api := connect(t, address), connect(t, address), connect(t, address)
	exec(t, backup, "BEGIN")
	exec(t, backup, "LOCK TABLE operations IN ACCESS SHARE MODE")
	applied := up(t, address)
	for range 2 { // and not only while it waits for the first time
		until(t, watcher, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'operations'::regclass AND NOT granted)")
		exec(t, api, "SET lock_timeout = '1s'") // as the store has it
		exec(t, api, "UPDATE operations SET attempts = 0")
	}
	exec(t, backup, "COMMIT")
	if got := <-applied; !slices.Contains(got, "00010_traces.sql") {
		t.Errorf("applied %v, want what waited among them", got)
	}
}

// Operations are never forgotten: to read all of them takes longer than anybody waits for a row.
func TestAnIndexOfOperationsIsMadeBesideThoseThatWrite(t *testing.T) {
	t.Parallel()
	address := before(t, 11, "DROP INDEX open_reversals")
	writer, watcher, api := connect(t, address), connect(t, address), connect(t, address)
	exec(t, writer, "BEGIN")
	exec(t, writer, "LOCK TABLE operations IN ROW EXCLUSIVE MODE")
	applied := up(t, address)
	until(t, watcher, "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'open_reversals')") // begun, and not valid yet
	exec(t, api, "SET lock_timeout = '1s'")
	exec(t, api, "UPDATE operations SET attempts = 0")
	exec(t, writer, "COMMIT")
	if got := <-applied; !slices.Equal(got, []string{"00011_gauges.sql"}) {
		t.Errorf("applied %v", got)
	}
	until(t, watcher, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'open_reversals'::regclass")
}

func TestAnIndexThatWasLeftHalfMadeIsMadeAnew(t *testing.T) {
	t.Parallel()
	address := before(t, 11, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'open_reversals'::regclass")
	<-up(t, address)
	until(t, connect(t, address), "SELECT indisvalid FROM pg_index WHERE indexrelid = 'open_reversals'::regclass")
}

// before makes a database as it was before a migration and those after it; undo takes back what
// that one did, as far as it must not be there.
func before(t *testing.T, version int, undo string) (address string) {
	t.Helper()
	address = storetest.Create(t)
	conn := connect(t, address)
	exec(t, conn, undo)
	if version < 11 {
		exec(t, conn, "DROP INDEX open_reversals")
	}
	exec(t, conn, "DELETE FROM goose_db_version WHERE version_id >= $1", version)
	return address
}

// up migrates meanwhile.
func up(t *testing.T, address string) (applied <-chan []string) {
	t.Helper()
	done := make(chan []string, 1)
	go func() {
		names, err := migrations.Up(t.Context(), address)
		if err != nil {
			t.Error(err)
		}
		done <- names
	}()
	return done
}

// until asks again and again whether something is so.
func until(t *testing.T, conn *pgx.Conn, question string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for so := false; !so; {
		if err := conn.QueryRow(ctx, question).Scan(&so); err != nil {
			t.Fatalf("%s: %v", question, err)
		}
	}
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

func exec(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
