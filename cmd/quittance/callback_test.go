package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// told runs one command on callbacks that answers JSON.
func told[Answer any](t *testing.T, db *storetest.DB, args ...string) (a Answer) {
	t.Helper()
	out, err := operate(t, db.URL, append(append([]string{"callback"}, args...), "-o", "json")...)
	if err != nil {
		t.Fatalf("callback %s: %q, %v", strings.Join(args, " "), out, err)
	}
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("callback %s is no JSON: %v\n%s", strings.Join(args, " "), err, out)
	}
	return a
}

func TestAnOperatorKeepsEndpoints(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.BackOffice()
	out, err := operate(t, db.URL, "callback", "endpoint", "add", "--client", "back office", "--url", "https://a.example/told",
		"--event", "recharge.committed", "--event", "invoice.paid", "--limit", "50", "--description", "ours")
	if err != nil || !strings.Contains(out, "whsec_") || !strings.Contains(out, "shown this once") || !strings.Contains(out, "recharge.committed, invoice.paid") {
		t.Fatalf("add: %q, %v", out, err)
	}
	made := told[[]shownEndpoint](t, db, "endpoint", "list", "--client", "back office")
	if len(made) != 1 || made[0].URL != "https://a.example/told" || made[0].RateLimit != 50 || made[0].Secret != "" {
		t.Fatalf("listed: %+v", made)
	}
	id := made[0].ID
	if e := told[shownEndpoint](t, db, "endpoint", "disable", id); e.State != "disabled" || e.StateReason != "operator" {
		t.Errorf("disabled: %+v", e)
	}
	out, err = operate(t, db.URL, "callback", "endpoint", "list")
	for _, shown := range []string{"back office", "https://a.example/told", "recharge.committed", "50/s", "disabled: operator"} {
		if err != nil || !strings.Contains(out, shown) {
			t.Errorf("the list does not show %q: %v\n%s", shown, err, out)
		}
	}
	if e := told[shownEndpoint](t, db, "endpoint", "enable", id); e.State != "enabled" {
		t.Errorf("enabled: %+v", e)
	}
	if e := told[shownEndpoint](t, db, "endpoint", "limit", id, "0"); e.RateLimit != 0 {
		t.Errorf("without a limit: %+v", e)
	}
	if e := told[shownEndpoint](t, db, "endpoint", "rotate", id); !strings.HasPrefix(e.Secret, "whsec_") || e.OldSecretUntil == nil {
		t.Errorf("rotated: %+v", e)
	}
	test := told[sentAgain](t, db, "endpoint", "test", id)
	if c := told[shownStory](t, db, "show", test.ID); c.Type != "callback.test" || c.EndpointID != id {
		t.Errorf("the test: %+v", c)
	}
	if out, err := operate(t, db.URL, "callback", "endpoint", "remove", id); err != nil || !strings.Contains(out, "removed "+id) {
		t.Errorf("remove: %q, %v", out, err)
	}
	if left := told[[]shownEndpoint](t, db, "endpoint", "list"); left == nil || len(left) != 0 {
		t.Errorf("left: %+v, want []", left)
	}
}

func TestWhatIsNotToBeDoneToEndpoints(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := db.Endpoint(db.BackOffice(), "https://a.example/").String()
	for name, args := range map[string]string{
		"nobody's":               "add --client nobody --url https://a.example",
		"without an address":     "add --client x",
		"plain http":             "add --client back\u00a0office --url http://a.example",
		"an unknown event":       "add --client back\u00a0office --url https://a.example --event payment.made",
		"a limit that is none":   "limit " + id + " many",
		"a limit below zero":     "limit " + id + " -- -1",
		"what is not there":      "enable 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74",
		"what cannot be":         "show 17",
		"the list of nobody":     "list --client nobody",
		"a list before what not": "list --before x",
	} {
		var split []string
		for _, arg := range strings.Fields(strings.ReplaceAll(args, "\u00a0", "_")) {
			split = append(split, strings.ReplaceAll(arg, "back_office", "back office"))
		}
		if out, err := operate(t, db.URL, append([]string{"callback", "endpoint"}, split...)...); err == nil {
			t.Errorf("%s: callback endpoint %s: %q", name, args, out)
		}
	}
	if n := db.Count("SELECT count(*) FROM callback_endpoints WHERE state = 'enabled' AND rate_limit IS NULL"); n != 1 {
		t.Error("what was refused has changed something")
	}
}

func TestAnOperatorLooksAtCallbacksAndSendsThemAgain(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	client := db.BackOffice()
	endpoint := db.Endpoint(client, "https://a.example/")
	dead, sound := db.Callback(endpoint), db.Callback(endpoint)
	db.AttemptedWith(refusedWith(db.Sending(dead), "<b>\x1b[31mno\x00"))
	db.Attempted(db.Sending(sound), store.Delivered)
	db.Dies(db.Ref(dead.ID))

	if all := told[[]shownCallback](t, db, "list", "--client", "back office", "--since", "1h", "--status", "dead"); len(all) != 1 || all[0].ID != dead.ID.String() || all[0].Client != "back office" {
		t.Errorf("the dead: %+v", all)
	}
	if all := told[[]shownCallback](t, db, "list", "--until", "1h"); all == nil || len(all) != 0 {
		t.Errorf("those of an hour ago: %+v, want []", all)
	}
	out, err := operate(t, db.URL, "callback", "show", dead.ID.String())
	for _, shown := range []string{dead.ID.String(), "back office", "payment.finished", `"type":"payment.finished"`, "https://a.example/", "dead", "refused", "500", "<b> [31mno"} {
		if err != nil || !strings.Contains(out, shown) {
			t.Errorf("it does not show %q: %v\n%s", shown, err, out)
		}
	}
	if strings.ContainsAny(out, "\x1b\x00") {
		t.Errorf("a terminal is told what to do by a receiver: %q", out)
	}

	if out, err := operate(t, db.URL, "callback", "replay", sound.ID.String()); err != nil || !strings.Contains(out, sound.ID.String()) {
		t.Errorf("replay: %q, %v", out, err)
	}
	if c := told[shownStory](t, db, "show", sound.ID.String()); !c.Replaying || c.Status == "succeeded" || len(c.History) != 1 {
		t.Errorf("replayed: %+v", c)
	}
	if done := told[replayedSince](t, db, "replay-since", "1h", "--client", "back office", "--status", "dead"); done.Replayed != 1 {
		t.Errorf("replayed since then: %+v", done)
	}
	if done := told[replayedSince](t, db, "replay-since", time.Now().Add(-time.Hour).Format(time.RFC3339), "--everybody"); done.Replayed != 2 {
		t.Errorf("all are replayed since then: %+v", done)
	}
	for _, wrong := range []string{
		"replay-since 1h", "replay-since tomorrow --everybody", "replay-since 1h --everybody --client x", "replay-since 1h --everybody --status open",
		"replay-since 1h --client nobody", "replay x", "replay 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74", "show 01939d2c-6f1e-7a40-8c11-5b0c9e1d3a74",
		"list --status open", "list --type payment", "list --limit 0", "list --since soon", "list --endpoint x", "list --client nobody", "list --event 1",
	} {
		if out, err := operate(t, db.URL, append([]string{"callback"}, strings.Fields(wrong)...)...); err == nil {
			t.Errorf("callback %s: %q", wrong, out)
		}
	}
	for _, empty := range [][]string{
		{"replay-since", "1h", "--client", ""},
		{"replay-since", "1h", "--endpoint="},
		{"replay-since", "1h", "--client", "back office", "--endpoint", ""},
		{"replay-since", "", "--everybody"},
		{"replay-since", "1h", "--everybody", "--until", ""},
		{"list", "--client", ""},
		{"list", "--status", ""},
		{"list", "--since", ""},
		{"endpoint", "list", "--client", ""},
	} {
		if out, err := operate(t, db.URL, append([]string{"callback"}, empty...)...); err == nil || !strings.Contains(err.Error(), "is empty") {
			t.Errorf("callback %q: %q, %v: a choice of nothing is one of everything", empty, out, err)
		}
	}
	db.CheckInvariants()
}

func refusedWith(c store.Callback, answer string) store.CallbackResult {
	r := storetest.Attempt(c, store.CallbackRefused)
	r.Answer = []byte(answer)
	return r
}
