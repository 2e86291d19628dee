package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store/storetest"
)

// providers returns what the list has to say to programs.
func providers(t *testing.T, db *storetest.DB) []listedProvider {
	t.Helper()
	out, err := operate(t, db.URL, "provider", "list", "-o", "json")
	if err != nil {
		t.Fatalf("provider list: %v", err)
	}
	var all []listedProvider
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("provider list is no JSON: %v\n%s", err, out)
	}
	return all
}

func TestAProviderIsAddedAndChanged(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if all := providers(t, db); all == nil || len(all) != 0 {
		t.Errorf("there are %+v in a new database, want []", all)
	}
	for _, step := range []struct{ args, said string }{
		{"add bank --name Bank --param account --param note --currency rur --limit-per-payment 15000.5 --limit-per-day 1e6", "added bank"},
		{"add bank --description Transfers --limit-per-day 0 --expires-after 90m", "changed bank"},
		{"disable bank", "disabled bank"},
	} {
		out, err := operate(t, db.URL, append([]string{"provider"}, strings.Fields(step.args)...)...)
		if err != nil || !strings.Contains(out, step.said) {
			t.Fatalf("provider %s: %q, %v; want %q", step.args, out, err, step.said)
		}
	}
	want := []listedProvider{{
		Reference: "bank", Name: "Bank", Description: "Transfers", Params: []string{"account", "note"}, Currency: "RUR",
		LimitPerPayment: "15000.5", ExpiresAfter: "1h30m", Enabled: false,
	}}
	if diff := cmp.Diff(want, providers(t, db)); diff != "" {
		t.Errorf("the list (-want +got):\n%s", diff)
	}
	if out, err := operate(t, db.URL, "provider", "enable", "bank"); err != nil || !providers(t, db)[0].Enabled {
		t.Errorf("provider enable bank: %q, %v; it is not enabled", out, err)
	}
	out, err := operate(t, db.URL, "provider", "list")
	if err != nil || !strings.Contains(out, "bank") || !strings.Contains(out, "15000.5") {
		t.Errorf("the table does not show the provider: %v\n%s", err, out)
	}
}

func TestAProviderIsRefused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	if out, err := operate(t, db.URL, "provider", "add", "bank", "--name", "Bank", "--currency", "RUR", "--limit-per-day", "100"); err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	before := providers(t, db)
	for name, args := range map[string]string{
		"without a name":                            "add shop --currency RUR",
		"without a currency":                        "add shop --name Shop",
		"without a reference":                       "add --name Shop --currency RUR",
		"a reference that fits no path":             "add a/b --name Shop --currency RUR",
		"a currency that nobody has":                "add shop --name Shop --currency XXQ",
		"a limit of less than a kopeck":             "add shop --name Shop --currency RUR --limit-per-day 0.001",
		"a limit below zero":                        "add shop --name Shop --currency RUR --limit-per-payment -1",
		"a limit that is no number":                 "add shop --name Shop --currency RUR --limit-per-payment much",
		"expiry at once":                            "add shop --name Shop --currency RUR --expires-after 0s",
		"another currency, the limits left in this": "add bank --currency JPY",
		"one to enable that is not there":           "enable shop",
		"one to disable that is not there":          "disable shop",
		"a list of no known form":                   "list -o xml",
	} {
		if out, err := operate(t, db.URL, append([]string{"provider"}, strings.Fields(args)...)...); err == nil {
			t.Errorf("%s: provider %s: %q", name, args, out)
		}
	}
	if diff := cmp.Diff(before, providers(t, db)); diff != "" {
		t.Errorf("what was refused has changed something (-before +after):\n%s", diff)
	}
}

func TestShortDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 30 * time.Second: "30s",
		time.Hour + 10*time.Second: "1h0m10s", 0: "0s", 100 * time.Hour: "100h",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("shortDuration(%v) = %q, want %q", d, got, want)
		}
	}
}
