package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// operateWith runs one command with an input.
func operateWith(t *testing.T, databaseURL, input string, args ...string) (string, error) {
	t.Helper()
	root := newRoot(map[string]string{
		"DATABASE_URL":         databaseURL,
		"QUITTANCE_SECRET_KEY": base64.StdEncoding.EncodeToString(storetest.Secret[:]),
	})
	var out bytes.Buffer
	root.SetIn(strings.NewReader(input))
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestAClientIsMadeChangedAndListed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	out, err := operate(t, db.URL, "client", "add", "--id", "office", "--scope", "credit", "--right", "manage_payments", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var made struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID != "office" || len(made.Secret) != 43 {
		t.Fatalf("%s: %v", out, err)
	}
	tokens := func(secret string) error {
		_, err := db.ClientTokens(t.Context(), store.Credentials{ClientID: "office", Secret: secret}, nil)
		return err
	}
	if err := tokens(made.Secret); err != nil {
		t.Errorf("the secret that was shown: %v", err)
	}

	out, err = operate(t, db.URL, "client", "secret", "office")
	if err != nil || !strings.Contains(out, "shown this once") {
		t.Errorf("a new secret: %q, %v", out, err)
	}
	if err := tokens(made.Secret); !errors.Is(err, store.ErrClientRefused) {
		t.Errorf("the old secret: %v", err)
	}

	if out, err := operate(t, db.URL, "client", "disable", "office"); err != nil {
		t.Errorf("disable: %q, %v", out, err)
	}
	out, err = operate(t, db.URL, "client", "list")
	for _, shown := range []string{"office", "credit", "manage_payments", "true"} {
		if err != nil || !strings.Contains(out, shown) {
			t.Errorf("the list does not show %q: %v\n%s", shown, err, out)
		}
	}
	if strings.Contains(out, "argon2id") {
		t.Errorf("the list shows a hash:\n%s", out)
	}
	if out, err := operate(t, db.URL, "client", "enable", "office"); err != nil {
		t.Errorf("enable: %q, %v", out, err)
	}
	for _, wrong := range [][]string{{"client", "add"}, {"client", "add", "--id", "office"}, {"client", "add", "--id", "x", "--right", "y"}, {"client", "add", "--id", "x", "-o", "yaml"}, {"client", "disable", "nobody"}, {"client", "secret", "nobody"}} {
		if out, err := operate(t, db.URL, wrong...); err == nil {
			t.Errorf("%v: %q", wrong, out)
		}
	}
}

func TestSecretsAreNotKeptUnderNoKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	root := newRoot(map[string]string{"DATABASE_URL": db.URL})
	root.SetArgs([]string{"client", "add", "--id", "office"})
	if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "QUITTANCE_SECRET_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

func TestAUserIsMadeChangedAndListed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	office := store.Credentials{ClientID: "office", Secret: "the office's"}
	if _, err := db.AddClient(t.Context(), store.NewClient{ClientID: office.ClientID, Secret: office.Secret}); err != nil {
		t.Fatal(err)
	}
	logIn := func(l store.Login) error {
		_, err := db.LoginTokens(t.Context(), office, l, nil)
		return err
	}

	out, err := operateWith(t, db.URL, "", "user", "add", "alice", "--generate-pin", "--generate-password", "--right", "manage_payments", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ Name, PIN, Password string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Name != "alice" || len(made.PIN) != 6 || len(made.Password) != 43 {
		t.Fatalf("%s: %v", out, err)
	}
	for _, l := range []store.Login{{Type: store.LoginPIN, PIN: made.PIN}, {Type: store.LoginPassword, Name: "alice", Password: made.Password}} {
		if err := logIn(l); err != nil {
			t.Errorf("what was generated, type %d: %v", l.Type, err)
		}
	}

	out, err = operateWith(t, db.URL, "04A2\n9876\nbob's password\n", "user", "add", "bob", "--card-stdin", "--pin-stdin", "--password-stdin")
	if err != nil || strings.Contains(out, "9876") || strings.Contains(out, "04A2") || strings.Contains(out, "bob's") {
		t.Errorf("what was typed is shown again: %q, %v", out, err)
	}
	for _, l := range []store.Login{{Type: store.LoginCardPIN, Card: "04A2", PIN: "9876"}, {Type: store.LoginPassword, Name: "bob", Password: "bob's password"}} {
		if err := logIn(l); err != nil {
			t.Errorf("what was typed, type %d: %v", l.Type, err)
		}
	}

	if out, err := operate(t, db.URL, "user", "disable", "bob"); err != nil {
		t.Errorf("disable: %q, %v", out, err)
	}
	if err := logIn(store.Login{Type: store.LoginPIN, PIN: "9876"}); !errors.Is(err, store.ErrLoginRefused) {
		t.Errorf("a disabled user: %v", err)
	}
	if out, err := operate(t, db.URL, "user", "enable", "bob"); err != nil {
		t.Errorf("enable: %q, %v", out, err)
	}
	out, err = operate(t, db.URL, "user", "list")
	for _, shown := range []string{"alice", "bob", "manage_payments"} {
		if err != nil || !strings.Contains(out, shown) {
			t.Errorf("the list does not show %q: %v\n%s", shown, err, out)
		}
	}
	for _, wrong := range [][]string{
		{"user", "add"},
		{"user", "add", "alice"},
		{"user", "add", "carol", "--pin", "9876"},
		{"user", "add", "carol", "--pin", "12"},
		{"user", "add", "carol", "--pin", "1212", "--generate-pin"},
		{"user", "add", "carol", "--password-stdin"},
		{"user", "disable", "nobody"},
	} {
		if out, err := operateWith(t, db.URL, "", wrong...); err == nil {
			t.Errorf("%v: %q", wrong, out)
		}
	}
}

func TestTheDemoHasAnOfficeAndItsUsers(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for range 2 {
		if out, err := operate(t, db.URL, "demo"); err != nil {
			t.Fatalf("demo: %q, %v", out, err)
		}
	}
	demo := store.Credentials{ClientID: "demo", Secret: "demo-secret"}
	for _, story := range []struct {
		login  store.Login
		rights int
	}{
		{store.Login{Type: store.LoginPIN, PIN: "1234"}, 1},
		{store.Login{Type: store.LoginPassword, Name: "demo", Password: "demo-password"}, 1},
		{store.Login{Type: store.LoginPIN, PIN: "4321"}, 0},
	} {
		tokens, err := db.LoginTokens(t.Context(), demo, story.login, []string{"credit"})
		if err != nil {
			t.Errorf("%+v: %v", story.login, err)
			continue
		}
		caller, err := db.Authorize(t.Context(), tokens.Access)
		if err != nil || len(caller.Rights) != story.rights || len(caller.Scopes) != 1 {
			t.Errorf("%+v: %+v, %v", story.login, caller, err)
		}
	}
}
