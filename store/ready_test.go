package store_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// On an older schema this version's statements fail, and the messages with them: a worker that
// took some would use up their attempts.
func TestNothingIsReadyBeforeTheNewestMigration(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if err := db.Ready(t.Context()); err != nil {
		t.Errorf("the newest schema: %v", err)
	}
	db.Exec("DELETE FROM goose_db_version v WHERE v.version_id = (SELECT max(n.version_id) FROM goose_db_version n)")
	if err := db.Ready(t.Context()); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "quittance migrate") {
		t.Errorf("the schema before: %v, want that it is to be migrated", err)
	}
	db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (1000, true)")
	if err := db.Ready(t.Context()); err != nil {
		t.Errorf("a schema of a later version: %v", err)
	}
}
