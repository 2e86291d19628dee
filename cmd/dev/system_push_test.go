package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/quittance/quittance/workers/push/fcmtest"
)

// shownPush is what a phone shows, and what its app gets.
type shownPush struct {
	Notification struct{ Title, Body string }
	Data         struct {
		Action string
		Number string `json:"invoice_number"`
	}
}

// From a request to what two phones show, through all programs: the payer is told of the
// invoice, and of a refusal; the recipient of the money. A phone without the app is told once.
func TestSystemPhonesAreTold(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	s := startShared(t, "QUITTANCE_FCM_URL="+fcm.URL)
	payer := s.phoneAs(`{"type": 1, "push_token": "payer", "locale": "uk"}`, 1000)
	recipient := s.phoneAs(`{"type": 2, "push_token": "recipient"}`, 0)
	gone := s.phoneAs(`{"type": 1, "push_token": "unreg-1", "locale": "ru"}`, 0)
	titles := func(token string) (told []string) {
		for _, m := range fcm.Calls(token) {
			var shown shownPush
			if err := json.Unmarshal(m.Message, &shown); err != nil {
				t.Error(err)
			}
			told = append(told, shown.Data.Action+" "+shown.Notification.Title)
		}
		slices.Sort(told)
		return told
	}
	awaitTold := func(token string, want ...string) {
		t.Helper()
		eventually(t, patience, fmt.Sprintf("%s is told %q, not %q", token, want, titles(token)), func() bool { return slices.Equal(titles(token), want) })
	}

	small, large := s.bill(payer, recipient, 100), s.bill(payer, recipient, 5000)
	awaitTold("payer", "pay Новий рахунок", "pay Новий рахунок")
	s.accepted("POST", payPath, small.payment)
	s.accepted("POST", payPath, large.payment)
	awaitTold("recipient", "paid Invoice paid")
	awaitTold("payer", "pay Новий рахунок", "pay Новий рахунок", "refused Платіж відхилено")

	s.bill(gone, recipient, 1)
	awaitTold("unreg-1", "pay Новый счёт")
	eventually(t, patience, "the dead token is shown as null", func() bool {
		data, _ := s.accepted("GET", "/mobile-api/account/info/"+gone.session, "").object()["data"].(map[string]any)
		token, shown := data["push_token"]
		return shown && token == nil
	})
	s.bill(gone, recipient, 1)
	awaitTold("unreg-1", "pay Новый счёт")
}
