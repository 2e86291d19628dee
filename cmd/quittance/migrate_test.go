package main

import (
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

func TestMigrateGrantsToTheRolesThatItIsTold(t *testing.T) {
	t.Parallel()
	db := storetest.WithRoles(t)
	runtime, reader := db.RoleNames()
	for range 2 {
		out, err := operate(t, db.Owner, "migrate", "--runtime", runtime, "--reader", reader)
		if err != nil || !strings.Contains(out, "granted to "+runtime) || !strings.Contains(out, "granted to "+reader) {
			t.Fatalf("migrate: %q, %v", out, err)
		}
	}
	if out, err := operate(t, db.Owner, "migrate", "--runtime", "nobody_"+runtime); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("to a role that is not there: %q, %v", out, err)
	}
	if out, err := operate(t, db.Runtime, "client", "add", "--id", "office", "--scope", "credit"); err != nil {
		t.Errorf("client add as the runtime: %q, %v", out, err)
	}
	if out, err := operate(t, db.Reader, "client", "list"); err != nil || !strings.Contains(out, "office") {
		t.Errorf("client list as the reader: %q, %v", out, err)
	}
	if out, err := operate(t, db.Reader, "client", "add", "--id", "other"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("client add as the reader: %q, %v", out, err)
	}
}

func TestMigrateRefusesARoleWithoutAName(t *testing.T) {
	t.Parallel()
	if out, err := operate(t, storetest.New(t).URL, "migrate", "--runtime="); err == nil {
		t.Errorf("migrate --runtime=: %q; want it refused: nothing would be granted", out)
	}
}

func TestMigrateSaysWhatIsUnsafeInProduction(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	migrate := func(environment string) string {
		t.Helper()
		out, err := operateIn(t, map[string]string{"QUITTANCE_ENV": environment, "DATABASE_URL": db.URL}, "migrate")
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := migrate("production"); strings.Contains(out, "unsafe") {
		t.Errorf("a new database: %s", out)
	}
	if err := db.LoadDemo(t.Context(), acquirertest.TokenOf); err != nil {
		t.Fatal(err)
	}
	if err := db.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	out := migrate("production")
	for _, unsafe := range []string{"the clock that decides what has expired is ahead by 25:00:00", "the demo is in it", "the requests of client 1 need no signature"} {
		if !strings.Contains(out, "unsafe in production: "+unsafe) {
			t.Errorf("it does not say %q:\n%s", unsafe, out)
		}
	}
	if out := migrate("development"); strings.Contains(out, "unsafe") {
		t.Errorf("in development: %s", out)
	}
}
