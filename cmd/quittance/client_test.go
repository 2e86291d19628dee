package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	if out, err := operate(t, db.URL, "client", "add", "--id", "typo", "--scope", "callback"); err == nil {
		t.Errorf("a client of a scope that there is not: %q", out)
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

func TestAShopIsMadeAndListed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, shop := range []struct {
		args   []string // after client add
		number int64
		want   store.ShopTerms
		listed []string
	}{
		{
			[]string{"--id", "2", "--shop", "Tea House", "--percents", "2.5", "--fixed", "100", "--allow-unsigned", "--hold-for", "72h"},
			2,
			store.ShopTerms{Name: "Tea House", Tariff: store.Tariff{Millipercents: 2500, Fixed: 100}, AllowUnsigned: true, HoldFor: 72 * time.Hour},
			[]string{"Tea House", "2.5 % + 1.00 UAH", "72h", "may be unsigned"},
		},
		{
			[]string{"--id", "3", "--shop", "Book Shop"},
			3,
			store.ShopTerms{Name: "Book Shop", HoldFor: 7 * 24 * time.Hour},
			[]string{"Book Shop", "0 %", "168h", "signed"},
		},
		{
			[]string{"--id", "4", "--shop", "Bank", "--percents", "100.000"},
			4,
			store.ShopTerms{Name: "Bank", Tariff: store.Tariff{Millipercents: 100_000}, HoldFor: 7 * 24 * time.Hour},
			[]string{"Bank", "100 %"},
		},
		{
			[]string{"--id", "5", "--shop", "Pharmacy", "--percents", "0.001"},
			5,
			store.ShopTerms{Name: "Pharmacy", Tariff: store.Tariff{Millipercents: 1}, HoldFor: 7 * 24 * time.Hour},
			[]string{"Pharmacy", "0.001 %"},
		},
	} {
		out, err := operate(t, db.URL, append([]string{"client", "add", "-o", "json"}, shop.args...)...)
		var made shownOnce
		if err != nil || json.Unmarshal([]byte(out), &made) != nil {
			t.Fatalf("%v: %q, %v", shop.args, out, err)
		}
		got, err := db.Store.Shop(t.Context(), shop.number)
		if err != nil || got.SigningSecret != made.Secret || got.SignatureRequired == shop.want.AllowUnsigned {
			t.Errorf("%v: signs with %q (%t), %v; want %q", shop.args, got.SigningSecret, got.SignatureRequired, err, made.Secret)
		}
		if got.Name != shop.want.Name || got.Tariff != shop.want.Tariff || got.HoldFor != shop.want.HoldFor {
			t.Errorf("%v: %+v, want %+v", shop.args, got, shop.want)
		}
		out, err = operate(t, db.URL, "client", "list", "--limit", "1")
		for _, shown := range shop.listed {
			if err != nil || !strings.Contains(out, shown) {
				t.Errorf("%v: the list does not show %q: %v\n%s", shop.args, shown, err, out)
			}
		}
	}
	if out, err := operate(t, db.URL, "client", "add", "--id", "office"); err != nil {
		t.Fatalf("no shop: %q, %v", out, err)
	}

	out, err := operate(t, db.URL, "client", "list", "-o", "json")
	var listed []shownClient
	if err != nil || json.Unmarshal([]byte(out), &listed) != nil || len(listed) != 5 {
		t.Fatalf("in JSON: %q, %v", out, err)
	}
	want := &shownShop{Name: "Tea House", Percents: "2.5", Fixed: 100, AllowUnsigned: true, HoldFor: "72h"}
	if diff := cmp.Diff(want, listed[4].Shop); diff != "" || listed[0].Shop != nil || strings.Contains(out, "null") {
		t.Errorf("in JSON: -want +got\n%s\n%s", diff, out)
	}
	db.CheckInvariants()
}

func TestAShopIsNotMade(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for name, args := range map[string][]string{
		"of another id than an integer":          {"--id", "tea", "--shop", "Tea House"},
		"without a name":                         {"--id", "2", "--shop", ""},
		"of more percents than three decimals":   {"--id", "2", "--shop", "Tea House", "--percents", "2.0005"},
		"of more percents than a hundred":        {"--id", "2", "--shop", "Tea House", "--percents", "100.001"},
		"of percents beyond any integer":         {"--id", "2", "--shop", "Tea House", "--percents", "1e999"},
		"of percents below zero":                 {"--id", "2", "--shop", "Tea House", "--percents", "-1"},
		"of percents that are no number":         {"--id", "2", "--shop", "Tea House", "--percents", "2,5"},
		"that pays its payers":                   {"--id", "2", "--shop", "Tea House", "--fixed", "-1"},
		"that holds money for no time":           {"--id", "2", "--shop", "Tea House", "--hold-for", "0"},
		"that holds money backwards":             {"--id", "2", "--shop", "Tea House", "--hold-for", "-1h"},
		"by its percents alone":                  {"--id", "2", "--percents", "2.5"},
		"by what is fixed alone":                 {"--id", "2", "--fixed", "100"},
		"by its way of calling alone":            {"--id", "2", "--allow-unsigned"},
		"by the time that it holds money for":    {"--id", "2", "--hold-for", "24h"},
		"by what is as if it had not been given": {"--id", "2", "--fixed", "0"},
	} {
		if out, err := operate(t, db.URL, append([]string{"client", "add"}, args...)...); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	if n := db.Count("SELECT count(*) FROM clients"); n != 0 {
		t.Errorf("%d were made all the same", n)
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
