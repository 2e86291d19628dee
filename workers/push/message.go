package push

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"firebase.google.com/go/v4/messaging"

	"github.com/quittance/quittance/store"
)

// A message to FCM has 4,096 bytes at most, and is refused beyond that.
const (
	maxBytes = 3800 // of it in our JSON; some are FCM's own
	maxText  = 200  // runes of a description, in what the device shows
	fewest   = 60   // runes of a long text, where the message is too long as a whole
)

// Actions are what the app is asked to do: the original's pay, and what there is besides.
var actions = map[store.EventType]string{
	store.EventInvoiceMade:       "pay",
	store.EventInvoicePaid:       "paid",
	store.EventInvoiceRefused:    "refused",
	store.EventRechargeCommitted: "topped_up",
}

// message is what is sent for a push at a time. It has the same bytes whenever that is, but for
// how long it still has: what is sent twice is one notification, since the event's id is its
// collapse key on both kinds of devices.
func message(p store.Push, now time.Time) *messaging.Message {
	m := messageWith(p, now)
	if size(m) <= maxBytes {
		return m
	}
	p.Items = nil // the app reads the invoice by its number
	if m = messageWith(p, now); size(m) <= maxBytes {
		return m
	}
	p.Description, p.NameCheque, p.DatePayCheque = cut(p.Description, fewest), cut(p.NameCheque, fewest), cut(p.DatePayCheque, fewest)
	return messageWith(p, now)
}

func messageWith(p store.Push, now time.Time) *messaging.Message {
	title, body := tongueOf(p.Locale).tell(p)
	m := &messaging.Message{
		Token:        p.Token,
		Notification: &messaging.Notification{Title: title, Body: body},
		Data:         data(p, title),
	}
	key, ends := p.Event.String(), p.At.Add(store.PushUse)
	if p.Device == store.IOS {
		m.APNS = &messaging.APNSConfig{
			Headers: map[string]string{
				"apns-collapse-id": key,
				"apns-expiration":  strconv.FormatInt(ends.Unix(), 10),
				"apns-priority":    "10",
			},
			Payload: &messaging.APNSPayload{Aps: &messaging.Aps{Sound: "default"}},
		}
		return m
	}
	ttl := max(ends.Sub(now).Truncate(time.Second), 0)
	m.Android = &messaging.AndroidConfig{
		Priority: "high", CollapseKey: key, TTL: &ttl,
		Notification: &messaging.AndroidNotification{
			Tag: key, Sound: "default", ClickAction: "FCM_PLUGIN_ACTIVITY", Icon: "fcm_push_icon",
		},
	}
	return m
}

// data is what the original sent with its pushes, under its names: amounts in minor units, and
// currencies by their number, as its API has them. FCM takes nothing but strings.
func data(p store.Push, title string) map[string]string {
	d := map[string]string{
		"title": title, "action": actions[p.Type],
		"amount": strconv.FormatInt(p.Amount.Minor, 10), "currency": strconv.Itoa(int(p.Amount.Currency)),
		"description": p.Description, "recipient": p.Recipient,
		"invoice_number": "", "user_session_id": "", "datePayCheque": p.DatePayCheque, "nameCheque": p.NameCheque, "items": "[]",
	}
	if !p.Invoice.IsZero() {
		d["invoice_number"], d["user_session_id"] = p.Invoice.String(), strconv.FormatInt(p.Session, 10)
	}
	if items, err := json.Marshal(p.Items); err == nil && len(p.Items) > 0 {
		d["items"] = string(items)
	}
	return d
}

func size(m *messaging.Message) int {
	text, err := json.Marshal(m)
	if err != nil {
		return maxBytes + 1
	}
	return len(text)
}

// cut shortens a text to so many runes.
func cut(text string, runes int) string {
	if utf8.RuneCountInString(text) <= runes {
		return text
	}
	return string([]rune(text)[:runes-1]) + "…"
}
