package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func logged(t *testing.T, db *storetest.DB, args ...string) (acts []shownAct) {
	t.Helper()
	out, err := operate(t, db.URL, append([]string{"audit", "log", "--limit", "1000", "-o", "json"}, args...)...)
	if err == nil {
		err = json.Unmarshal([]byte(out), &acts)
	}
	if err != nil {
		t.Fatalf("audit log %v: %q, %v", args, out, err)
	}
	return acts
}

// Whatever command changes something is in the log, once, and without a secret.
func TestEveryChangeIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	environ := map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development", "QUITTANCE_OPERATOR": "olga"}
	if out, err := operateIn(t, environ, "demo"); err != nil { // its accounts come first
		t.Fatalf("demo: %q, %v", out, err)
	}
	if acts := logged(t, db, "--action", "demo.load", "--actor", "olga"); len(acts) != 1 {
		t.Errorf("the demo: %+v", acts)
	}
	account, client := db.Account(0), db.BackOffice()
	endpoint := db.Registered(client, "https://a.example/")
	db.Provider("external", nil)
	late := db.Recharge(account, "3")
	db.SettleRecharge(db.Commanded(store.RechargeRollback, late))
	callback := db.Callback(endpoint.ID)
	db.Attempted(db.Sending(callback), store.Delivered)
	replayed, dropped := idText(db.Dies(db.Accepted(account, db.Account(0), 1))), idText(db.Dies(db.Accepted(account, db.Account(0), 1)))
	const reference = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

	for _, story := range []struct{ args, action, subject string }{
		{"open-balance --account " + account.Number + " --amount 500 --currency 810 --reference " + reference, "balance.open", account.Number},
		{"client add --id terminal --scope credit", "client.add", "terminal"},
		{"client add --id 77 --shop Tea --percents 2.5", "client.add", "77"},
		{"client secret terminal", "client.secret", "terminal"},
		{"client disable terminal", "client.disable", "terminal"},
		{"client enable terminal", "client.enable", "terminal"},
		{"user add alice --pin 735912 --card 04A2B1C3 --generate-password", "user.add", "alice"},
		{"user disable alice", "user.disable", "alice"},
		{"user enable alice", "user.enable", "alice"},
		{"provider add cash --name Cash --currency RUR", "provider.put", "cash"},
		{"provider disable cash", "provider.disable", "cash"},
		{"provider enable cash", "provider.enable", "cash"},
		{"voucher --amount 100 --currency RUR --count 2", "voucher.make", ""},
		{"recharge late --provider external --id " + late.String() + " --note statement --author clerk", "recharge.late", late.String()},
		{"callback replay " + callback.ID.String(), "callback.replay", callback.ID.String()},
		{"callback replay-since 24h --endpoint " + endpoint.ID.String(), "callback.replay_since", endpoint.ID.String()},
		{"callback endpoint disable " + endpoint.ID.String(), "endpoint.disable", endpoint.ID.String()},
		{"callback endpoint enable " + endpoint.ID.String(), "endpoint.enable", endpoint.ID.String()},
		{"callback endpoint rotate " + endpoint.ID.String(), "endpoint.rotate", endpoint.ID.String()},
		{"callback endpoint limit " + endpoint.ID.String() + " 5", "endpoint.change", endpoint.ID.String()},
		{"callback endpoint test " + endpoint.ID.String(), "endpoint.test", endpoint.ID.String()},
		{"callback endpoint remove " + endpoint.ID.String(), "endpoint.remove", endpoint.ID.String()},
		{"clock --ahead 1h", "clock.set", ""},
		{"dead replay " + replayed, "dead.replay", replayed},
		{"dead drop " + dropped + " --reason because", "dead.drop", dropped},
	} {
		before := len(logged(t, db, "--actor", "olga"))
		if out, err := operateIn(t, environ, strings.Fields(story.args)...); err != nil {
			t.Fatalf("%s: %q, %v", story.args, out, err)
		}
		acts := logged(t, db, "--actor", "olga")
		if len(acts) != before+1 || acts[0].Action != story.action || acts[0].Subject != story.subject {
			t.Errorf("%s: the log has %d more, the newest is %+v", story.args, len(acts)-before, acts[0])
		}
	}
	out, err := operate(t, db.URL, "audit", "log", "--limit", "1000")
	if err != nil || !strings.Contains(out, "client.secret") {
		t.Errorf("as a table: %q, %v", out, err)
	}
	for _, secret := range []string{"735912", "04A2B1C3", "demo-secret", endpoint.Secret, "whsec_"} {
		if strings.Contains(out, secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	db.CheckInvariants()
}

func TestTheAuditLogIsSearched(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, args := range []string{"provider add a --name A --currency RUR --as olga", "provider disable a --as ivan", "provider add b --name B --currency RUR", "clock --ahead 1h --as olga"} {
		if out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development", "QUITTANCE_OPERATOR": "env"}, strings.Fields(args)...); err != nil {
			t.Fatalf("%s: %q, %v", args, out, err)
		}
	}
	for name, story := range map[string]struct {
		args []string
		want int
	}{
		"all": {nil, 4}, "by an operator": {[]string{"--actor", "olga"}, 2}, "by who the environment names": {[]string{"--actor", "env"}, 1},
		"of a kind": {[]string{"--action", "provider"}, 3}, "of one action": {[]string{"--action", "provider.disable"}, 1}, "of no action": {[]string{"--action", "prov"}, 0},
		"about something": {[]string{"--subject", "a"}, 2}, "since an hour ago": {[]string{"--since", "1h"}, 4}, "until an hour ago": {[]string{"--until", "1h"}, 0},
	} {
		if acts := logged(t, db, story.args...); len(acts) != story.want || acts == nil {
			t.Errorf("%s: %+v, want %d", name, acts, story.want)
		}
	}
	if acts := logged(t, db); !acts[0].At.After(time.Now().Add(-time.Hour)) || acts[0].Action != "clock.set" || !strings.Contains(string(acts[0].Details), "1h0m0s") {
		t.Errorf("the newest is %+v", acts[0])
	}
	for _, wrong := range []string{"--actor=", "--limit 0", "--since soon"} {
		if out, err := operate(t, db.URL, append([]string{"audit", "log"}, strings.Fields(wrong)...)...); err == nil {
			t.Errorf("audit log %s: %q", wrong, out)
		}
	}
}

// Who is doing it is never nobody.
func TestTheOperatorHasAName(t *testing.T) {
	t.Parallel()
	for _, story := range []struct{ as, environ, want string }{
		{"olga", "env", "olga"}, {"", "env", "env"}, {" ", "", "@"}, {"", "", "@"},
	} {
		o := &operator{as: story.as}
		if got := o.actor(settings.Quittance{Operator: story.environ}); !strings.Contains(got, story.want) || len(got) < 3 {
			t.Errorf("--as %q, QUITTANCE_OPERATOR %q: %q", story.as, story.environ, got)
		}
	}
}
