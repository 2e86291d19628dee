package main

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// operate runs one command and returns what it prints.
func operate(t *testing.T, databaseURL string, args ...string) (string, error) {
	t.Helper()
	return operateIn(t, map[string]string{"DATABASE_URL": databaseURL}, args...)
}

// operateIn runs one command in an environment, which gets the secret key where it has none.
func operateIn(t *testing.T, environ map[string]string, args ...string) (string, error) {
	t.Helper()
	if _, set := environ["QUITTANCE_SECRET_KEY"]; !set {
		environ["QUITTANCE_SECRET_KEY"] = base64.StdEncoding.EncodeToString(storetest.Secret[:])
	}
	root := newRoot(environ)
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestMigrateAndDemoMayBeRepeated(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for range 2 {
		if out, err := operate(t, db.URL, "migrate"); err != nil || !strings.Contains(out, "the schema is the newest") {
			t.Fatalf("migrate: %q, %v", out, err)
		}
		if out, err := operate(t, db.URL, "demo"); err != nil {
			t.Fatalf("demo: %q, %v", out, err)
		}
	}
	accounts, err := db.Accounts(t.Context(), store.Page[int64]{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts) != 9 || accounts[0].ID != 27 {
		t.Errorf("the demo has %d accounts, the newest is %d; want 9 and 27", len(accounts), accounts[0].ID)
	}
	if n := db.Count("SELECT count(*) FROM invoices"); n != 6 {
		t.Errorf("the demo has %d invoices, want 6", n)
	}
	db.CheckInvariants()
}

func TestACommandThatIsNotThereIsRefused(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"nope", "callback repley x", "callback endpoint nope", "client nope", "dead nope"} {
		if out, err := operate(t, "", strings.Fields(wrong)...); err == nil || !strings.Contains(err.Error(), "unknown command") {
			t.Errorf("%s: %q, %v", wrong, out, err)
		}
	}
	for _, group := range []string{"callback", "callback endpoint", "client --help"} {
		if out, err := operate(t, "", strings.Fields(group)...); err != nil || !strings.Contains(out, "Available Commands") {
			t.Errorf("%s: %q, %v", group, out, err)
		}
	}
}

func TestABalanceIsOpenedOncePerReference(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	account := db.Account(0)
	const reference = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	open := func(args ...string) (string, error) {
		return operate(t, db.URL, append([]string{"open-balance", "--account", account.Number, "--currency", "810", "--reference", reference}, args...)...)
	}
	if out, err := open("--amount", "500"); err != nil || !strings.Contains(out, "credited 5.00 RUR") {
		t.Errorf("the first: %q, %v", out, err)
	}
	if out, err := open("--amount", "500"); err != nil || !strings.Contains(out, "nothing was done") {
		t.Errorf("the second: %q, %v", out, err)
	}
	for _, wrong := range [][]string{{"--amount", "501"}, {"--amount", "9223372036854775807", "--reference", "7c9e6679-7425-40de-944b-e07fc1f90ae9"}, {"--amount", "0"}, {"--amount", "-1"}, {"--amount", "1", "--currency", "1"}, {"--amount", "1", "--reference", "x"}, {"--amount", "1", "--account", "nobody", "--reference", "7c9e6679-7425-40de-944b-e07fc1f90ae8"}} {
		if out, err := open(wrong...); err == nil {
			t.Errorf("%v: %q", wrong, out)
		}
	}
	if got := db.Balance(account); got != 500 {
		t.Errorf("the wallet holds %d, want 500", got)
	}
	db.CheckInvariants()
}

func TestDeadLettersAreListed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ref := db.Accepted(db.Account(10), db.Account(0), 1)
	_, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{
		{Queue: "payments", MessageID: ref.ID.String(), Seq: 1, Operation: ref.ID, Reason: "rejected", Error: "a check failed", Body: []byte("x")},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := operate(t, db.URL, "dead", "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{ref.ID.String(), "payments", "rejected", "a check failed"} {
		if !strings.Contains(out, shown) {
			t.Errorf("the list does not show %q:\n%s", shown, out)
		}
	}
}
