package main

import (
	"strings"
	"testing"

	"github.com/quittance/quittance/store/storetest"
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
