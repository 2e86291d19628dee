package store_test

import (
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// Whatever an operator does is in the log if it was done, and only then.
func TestAnActAndItsRecordCommitTogether(t *testing.T) {
	acts := map[string]struct {
		do   func(t *testing.T, s *store.Store) error
		done string
	}{
		"one statement": {func(t *testing.T, s *store.Store) error { return s.SetProviderEnabled(t.Context(), "external", false) }, "SELECT count(*) FROM providers WHERE NOT enabled"},
		"more than one": {func(t *testing.T, s *store.Store) error {
			return s.SetClientDisabled(t.Context(), "back office", true)
		}, "SELECT count(*) FROM clients WHERE disabled"},
	}
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
				db.Provider("external", nil)
				db.BackOffice()
				operator := storetest.Operated(t, db.faults.URL)
				db.faults.CutNextCommit(cut)
				if err := act.do(t, operator); err == nil {
					t.Fatal("it was not cut")
				}
				checkAllOrNothing(t, db, done, act.done, "SELECT count(*) FROM audit_log WHERE actor = 'olga'")
			})
		})
	}
}

func TestTheAuditLogNeverChanges(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	operator := storetest.Operated(t, db.URL)
	db.Provider("external", nil)
	if err := operator.SetProviderEnabled(t.Context(), "external", false); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log", "TRUNCATE audit_log"} {
		if _, err := db.Pool().Exec(t.Context(), sql); err == nil {
			t.Errorf("%s: done", sql)
		}
	}
	if n := db.Count("SELECT count(*) FROM audit_log"); n != 1 {
		t.Errorf("%d acts are left", n)
	}
}

// What clients and workers do is not an operator's, and what did nothing was not done.
func TestOnlyWhatAnOperatorDidIsInTheLog(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	operator := storetest.Operated(t, db.URL)
	endpoint := db.Endpoint(db.BackOffice(), "https://a.example/")
	db.Dies(db.Callback(endpoint))
	if err := operator.SetProviderEnabled(t.Context(), "nobody", false); err == nil {
		t.Error("a provider that is not there was switched")
	}
	if err := operator.SetClientDisabled(t.Context(), "nobody", true); err == nil {
		t.Error("a client that is not there was switched")
	}
	if _, err := operator.DropDeadLetters(t.Context(), []int64{4711}, "because", store.ForReal); err != nil {
		t.Error(err)
	}
	if n := db.Count("SELECT count(*) FROM audit_log"); n != 0 {
		t.Errorf("%d acts are in the log", n)
	}
}

// Of a name that cannot be stored nothing would be left, and the log says nothing of nobody.
func TestAnOperatorHasAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"\xff\xfe", "\x00", " \xff"} {
		s, err := store.Open(t.Context(), store.Config{URL: "postgres://127.0.0.1:1/none", Secret: storetest.Secret, Actor: name})
		if err == nil {
			s.Close()
			t.Errorf("%q operates", name)
		}
	}
}
