package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

// recharged stores a recharge in a state, by the provider external.
func recharged(db *storetest.DB, state string) string {
	id := uuid.Must(uuid.NewV7())
	db.Exec(`INSERT INTO clients (client_id, secret_hash, scopes, rights) VALUES ('c', '', '{}', '{}') ON CONFLICT DO NOTHING`)
	db.Exec(`INSERT INTO providers (reference, name, currency) VALUES ('external', 'External', 810) ON CONFLICT DO NOTHING`)
	db.Exec(`INSERT INTO recharges (id, provider_id, account_id, amount, currency, description, params, client_id, state, created_at, updated_at, expires_at)
		SELECT $1, p.id, (SELECT min(id) FROM accounts), 1250, 810, '', '{}', c.id, $2, now(), now(), now()
		FROM providers p, clients c WHERE p.reference = 'external' AND c.client_id = 'c'`, id, state)
	return id.String()
}

func TestMoneyThatCameTooLateIsBookedOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Account(0)
	for _, state := range []string{"rolled_back", "expired"} {
		id := recharged(db, state)
		late := func() (string, error) {
			return operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_OPERATOR": "olga"},
				"recharge", "late", "--provider", "external", "--id", id, "--note", "bank statement, line 7")
		}
		if out, err := late(); err != nil || !strings.Contains(out, "accepted") {
			t.Fatalf("%s: %q, %v", state, out, err)
		}
		if n := db.Count(`SELECT count(*) FROM operations o JOIN suspense_notes n ON n.operation_id = o.id
			WHERE o.type = 'recharge.late' AND o.resource = $1 AND n.author = 'olga' AND n.note = 'bank statement, line 7'`, id); n != 1 {
			t.Errorf("%s: %d operations with their note, want 1", state, n)
		}
		if out, err := late(); err == nil || !strings.Contains(err.Error(), "booked already") {
			t.Errorf("%s: a second time: %q, %v", state, out, err)
		}
	}
}

func TestMoneyThatCameTooLateIsRefused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Account(0)
	expired, created, committed := recharged(db, "expired"), recharged(db, "created"), recharged(db, "committed")
	for name, args := range map[string][]string{
		"not too late yet":              {"--provider", "external", "--id", created, "--note", "n", "--author", "a"},
		"credited in time":              {"--provider", "external", "--id", committed, "--note", "n", "--author", "a"},
		"of nobody":                     {"--provider", "external", "--id", uuid.NewString(), "--note", "n", "--author", "a"},
		"of another provider":           {"--provider", "nobody", "--id", expired, "--note", "n", "--author", "a"},
		"an id that is none":            {"--provider", "external", "--id", "7", "--note", "n", "--author", "a"},
		"without a note":                {"--provider", "external", "--id", expired, "--author", "a"},
		"with a note that says nothing": {"--provider", "external", "--id", expired, "--note", " ", "--author", "a"},
	} {
		if out, err := operate(t, db.URL, append([]string{"recharge", "late"}, args...)...); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	if n := db.Count("SELECT count(*) FROM operations"); n != 0 {
		t.Errorf("%d operations were opened by what was refused", n)
	}
}

func TestSuspenseIsListed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if out, err := operate(t, db.URL, "recharge", "suspense", "-o", "json"); err != nil || out != "[]\n" {
		t.Errorf("nothing in suspense is shown as %q, %v; want []", out, err)
	}
	if out, err := operate(t, db.URL, "recharge", "suspense", "--limit", "0"); err == nil {
		t.Errorf("a list of none: %q", out)
	}
	const rechargeID = "0192f3d4-5b6a-7c8d-9e0f-112233445566"
	id, _ := store.ParseRechargeID(rechargeID)
	entries := []store.SuspenseEntry{{
		Transfer: 9, Kind: "late_recharge", Recharge: id, Provider: "external", Account: 12,
		Amount: money.Amount{Minor: 1250, Currency: 810}, Note: "line 7", Author: "olga",
		CreatedAt: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC),
	}}
	for _, shown := range []string{"9", "2026-11-21 12:00:00Z", "late_recharge", "12.5 RUR", "external", "12", rechargeID, "olga", "line 7"} {
		if out := suspenseTable(entries); !strings.Contains(out, shown) {
			t.Errorf("the table does not show %q:\n%s", shown, out)
		}
	}
	got, err := json.Marshal(suspenseList(entries))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"transfer":9,"bookedAt":"2026-11-21T12:00:00Z","kind":"late_recharge","amount":12.5,"currency":"RUR",` +
		`"provider":"external","userId":12,"recharge":"` + rechargeID + `","author":"olga","note":"line 7"}]`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("as JSON (-want +got):\n%s", diff)
	}
}
