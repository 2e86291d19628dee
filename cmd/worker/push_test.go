package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/push/fcmtest"
)

// phone opens an account whose phone has a token.
func (p *process) phone(t *testing.T, token string) storetest.Account {
	t.Helper()
	a := p.Account(1000)
	if err := p.SetPushToken(t.Context(), a.Session, &token, store.Once{}); err != nil {
		t.Fatal(err)
	}
	return a
}

// pushesThat counts the pushes to an account of which a condition holds, o being the operation.
func pushesThat(condition string) string {
	return "SELECT count(*) FROM pushes p JOIN operations o ON o.id = p.id WHERE p.account_id = $1 AND " + condition
}

// Every answer of FCM, through the real SDK, the broker and the database: one call an attempt,
// the right end, the right delay.
func TestEveryAnswerHasItsConsequence(t *testing.T) {
	t.Parallel()
	p, fcm := prepare(t), fcmtest.Start(t)
	p.environ["QUITTANCE_FCM_URL"] = fcm.URL
	const (
		sent  = "o.status = 'succeeded' AND o.attempts = 1"
		again = "o.status = 'running' AND o.attempts = 1 AND o.seq = 2 AND o.due_at = (SELECT a.failed_at FROM attempts a WHERE a.operation_id = o.id) + "
		grace = "2 s" // of the process, on top of what the broker holds
	)
	failed := func(code string) string {
		return "o.status = 'failed' AND o.attempts = 1 AND o.error_code = '" + code + "'"
	}
	after := func(rung string) string {
		return again + "interval '" + rung + "' + interval '" + grace + "' AND NOT o.waits"
	}
	inRow := func(wait string) string { return again + "interval '" + wait + "' AND o.waits" }
	stories := []struct {
		token, ends string
		active      bool // the token, in the end
	}{
		{"fine", sent, true},
		{"slow-200-x", sent, true},
		{"unreg-1", failed("dead_token"), false},
		{"sender-1", failed("dead_token"), false},
		{"badtok-1", failed("dead_token"), false},
		{"badarg-1", failed("token_strike"), true},
		{"badpay-1", "o.status = 'dead' AND o.attempts = 1 AND EXISTS (SELECT FROM dead_letters d WHERE d.message_id = o.id::text AND d.error LIKE '%payload_refused%')", true},
		{"apns-1", failed("config_fault"), true},
		{"nowhere-1", failed("config_fault"), true},
		{"quota-0-x", inRow("1 m"), true},
		{"quota-120-x", after("2 m"), true},
		{"quota-200-x", inRow("200 s"), true},
		{"busy-1", inRow("1 m"), true},
		{"unavail-9-x", after("10 s"), true},
		{"later-30-x", after("30 s"), true},
		{"later-1800-x", inRow("30 m"), true},
		{"int-1", after("10 s"), true},
		{"html502-1", after("10 s"), true},
		{"reset-1", after("10 s"), true},
		{"cut-1", after("10 s"), true},
		{"garbage-1", after("10 s"), true},
		{"moved-1", after("10 s"), true},
	}
	shop := p.Account(0)
	phones := make([]storetest.Account, len(stories))
	for i, s := range stories {
		phones[i] = p.phone(t, s.token)
		p.Invoice(phones[i], shop, 300)
	}
	t.Cleanup(p.begin(t).stop)
	for i, s := range stories {
		p.Eventually(s.token, 1, pushesThat(s.ends), phones[i].ID)
		if n := len(fcm.Calls(s.token)); n != 1 {
			t.Errorf("%s: FCM was called %d times", s.token, n)
		}
		if info, err := p.Store.Account(t.Context(), phones[i].Session); err != nil || (info.PushToken != nil) != s.active {
			t.Errorf("%s: the token is shown as %v, %v", s.token, info.PushToken, err)
		}
	}
	p.CheckInvariants()
}

// collapse is what makes a device take a message for a copy.
type collapse struct {
	Android struct {
		Key          string `json:"collapse_key"`
		Notification struct{ Tag string }
	}
}

// FCM has taken it, and its answer is lost: it goes out again, and replaces the first.
func TestACopyReplacesTheFirst(t *testing.T) {
	t.Parallel()
	p, fcm := prepare(t), fcmtest.Start(t)
	p.environ["QUITTANCE_FCM_URL"] = fcm.URL
	t.Cleanup(p.begin(t).stop)
	phone := p.phone(t, "cut-1")
	p.Invoice(phone, p.Account(0), 300)
	p.Eventually("the first attempt", 1, pushesThat("o.attempts = 1"), phone.ID)
	p.Exec("UPDATE operations SET due_at = now() - interval '1 hour' WHERE type = 'push.send'") // ten seconds are over, and more
	p.Eventually("the second attempt", 1, pushesThat("o.attempts = 2"), phone.ID)

	calls := fcm.Calls("cut-1")
	if len(calls) != 2 {
		t.Fatalf("FCM was called %d times", len(calls))
	}
	var first, second collapse
	for i, c := range []*collapse{&first, &second} {
		if err := json.Unmarshal(calls[i].Message, c); err != nil {
			t.Fatal(err)
		}
	}
	if first != second || first.Android.Key == "" || first.Android.Key != first.Android.Notification.Tag {
		t.Errorf("the first is %+v, its copy %+v", first, second)
	}
	if n := p.Count("SELECT count(*) FROM events WHERE id::text = $1", first.Android.Key); n != 1 {
		t.Errorf("the collapse key %s is no event's", first.Android.Key)
	}
}

// While nobody takes our credentials pushes wait, for as long as it takes, and use up nothing.
func TestPushesWaitForCredentials(t *testing.T) {
	t.Parallel()
	for _, trouble := range []fcmtest.Trouble{fcmtest.NoTokens, fcmtest.Unauthenticated, fcmtest.Denied} {
		t.Run(string(trouble), func(t *testing.T) {
			t.Parallel()
			p, fcm := prepare(t), fcmtest.Start(t)
			fcm.Guard()
			fcm.SetTrouble(trouble)
			account, err := fcmtest.ServiceAccount("demo", fcm.URL+"/token")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "account.json")
			if err := os.WriteFile(path, account, 0o600); err != nil {
				t.Fatal(err)
			}
			p.environ["QUITTANCE_FCM_URL"], p.environ["QUITTANCE_FCM_CREDENTIALS"] = fcm.URL, path
			p.environ["QUITTANCE_FCM_PATIENCE"] = "100ms"
			l := p.begin(t)
			shop := p.Account(0)
			for n := range 5 {
				p.Invoice(p.phone(t, fmt.Sprint("fine-", n)), shop, 300)
			}
			for fcm.TokenCalls() < 3 && len(fcm.Messages()) < 3 { // it has tried, and asked again
				arrived := fcm.Arrived()
				if trouble == fcmtest.NoTokens {
					p.Eventually("pushes that wait", 5, "SELECT count(*) FROM operations WHERE type = 'push.send' AND attempts = 0")
					continue
				}
				<-arrived
			}
			l.stop()
			l = p.begin(t) // nor can the next one
			if n := p.Count("SELECT count(*) FROM operations WHERE type = 'push.send' AND (attempts > 0 OR status NOT IN ('accepted', 'running'))"); n != 0 {
				t.Errorf("%d pushes had an attempt used up, or were given up", n)
			}
			fcm.SetTrouble(fcmtest.NoTrouble)
			p.Eventually("pushes that were sent", 5, "SELECT count(*) FROM operations WHERE type = 'push.send' AND status = 'succeeded' AND attempts = 1")
			l.stop()
			p.CheckInvariants()
		})
	}
}

// A message that FCM alone does not take our credentials for holds up nobody for long.
func TestOneDeniedMessageHoldsUpNobody(t *testing.T) {
	t.Parallel()
	p, fcm := prepare(t), fcmtest.Start(t)
	p.environ["QUITTANCE_FCM_URL"], p.environ["QUITTANCE_FCM_PATIENCE"] = fcm.URL, "100ms"
	t.Cleanup(p.begin(t).stop)
	denied, fine, shop := p.phone(t, "denied-1"), p.phone(t, "fine"), p.Account(0)
	p.Invoice(denied, shop, 300)
	p.Eventually("the denied push", 1, pushesThat("o.status = 'running' AND o.attempts = 1 AND o.seq = 2"), denied.ID)
	p.Invoice(fine, shop, 300)
	p.Eventually("another push", 1, pushesThat("o.status = 'succeeded'"), fine.ID)
	if n := len(fcm.Calls("denied-1")); n != 2 {
		t.Errorf("FCM was called %d times: once, and again after it had said that it takes our credentials", n)
	}
	p.CheckInvariants()
}

func TestWithoutFCMPushesSaySo(t *testing.T) {
	t.Parallel()
	p := start(t)
	phone := p.phone(t, "fine")
	p.Invoice(phone, p.Account(0), 300)
	p.Eventually("the push", 1, pushesThat("o.status = 'failed' AND o.error_code = 'pushes_off'"), phone.ID)
	p.CheckInvariants()
}
