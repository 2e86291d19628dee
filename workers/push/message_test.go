package push

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// made is an invoice that its payer is to be told of.
func made() store.Push {
	return store.Push{
		Event: store.EventID{1}, Type: store.EventInvoiceMade, At: noon,
		Token: "token", Device: store.Android, Locale: store.English,
		Amount: money.Amount{Minor: 123456789, Currency: 980}, Description: "Dinner", Recipient: "4444",
		Invoice: store.InvoiceNumber{2}, Session: 7, NameCheque: "ООО МАКДОНАЛДС", DatePayCheque: "2019-09-13T21:14:00",
		Items: []store.Item{{Price: 100, Name: "Soup", Selected: true}},
	}
}

const (
	eventID = "01000000-0000-0000-0000-000000000000"
	number  = "02000000-0000-0000-0000-000000000000"
)

func TestWhatADeviceIsSent(t *testing.T) {
	t.Parallel()
	day := 23 * time.Hour
	for _, story := range []struct {
		name   string
		change func(*store.Push)
		want   messaging.Message
	}{
		{"an Android phone", func(*store.Push) {}, messaging.Message{
			Token:        "token",
			Notification: &messaging.Notification{Title: "New invoice", Body: "To pay: 1,234,567.89\u00a0UAH\nDinner"},
			Data: map[string]string{
				"title": "New invoice", "action": "pay", "amount": "123456789", "currency": "980", "description": "Dinner",
				"invoice_number": number, "recipient": "4444", "user_session_id": "7", "datePayCheque": "2019-09-13T21:14:00",
				"nameCheque": "ООО МАКДОНАЛДС", "items": `[{"price":100,"name":"Soup","selected":true}]`,
			},
			Android: &messaging.AndroidConfig{Priority: "high", CollapseKey: eventID, TTL: &day, Notification: &messaging.AndroidNotification{
				Tag: eventID, Sound: "default", ClickAction: "FCM_PLUGIN_ACTIVITY", Icon: "fcm_push_icon",
			}},
		}},
		{"an iPhone, of a top-up", func(p *store.Push) {
			*p = store.Push{
				Event: p.Event, Type: store.EventRechargeCommitted, At: p.At, Token: "token", Device: store.IOS, Locale: store.Ukrainian,
				Amount: money.Amount{Minor: 1200, Currency: 392}, Recipient: "4444",
			}
		}, messaging.Message{
			Token:        "token",
			Notification: &messaging.Notification{Title: "Баланс поповнено", Body: "Зараховано: 1\u00a0200\u00a0JPY"},
			Data: map[string]string{
				"title": "Баланс поповнено", "action": "topped_up", "amount": "1200", "currency": "392", "description": "",
				"invoice_number": "", "recipient": "4444", "user_session_id": "", "datePayCheque": "", "nameCheque": "", "items": "[]",
			},
			APNS: &messaging.APNSConfig{
				Headers: map[string]string{"apns-collapse-id": eventID, "apns-expiration": "1795348800", "apns-priority": "10"},
				Payload: &messaging.APNSPayload{Aps: &messaging.Aps{Sound: "default"}},
			},
		}},
	} {
		p := made()
		story.change(&p)
		if diff := cmp.Diff(&story.want, message(p, noon.Add(time.Hour))); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
	}
}

func TestWhatIsSaidInEachLanguage(t *testing.T) {
	t.Parallel()
	const sum = "1\u00a0234\u00a0567,89\u00a0UAH"
	for _, story := range []struct {
		locale      store.Locale
		kind        store.EventType
		why         store.InvoiceError
		title, body string
	}{
		{store.English, store.EventInvoiceMade, 0, "New invoice", "To pay: 1,234,567.89\u00a0UAH"},
		{store.English, store.EventInvoicePaid, 0, "Invoice paid", "You received 1,234,567.89\u00a0UAH"},
		{store.English, store.EventInvoiceRefused, store.InsufficientFunds, "Payment refused", "1,234,567.89\u00a0UAH not paid: not enough money"},
		{store.English, store.EventRechargeCommitted, 0, "Balance topped up", "Credited: 1,234,567.89\u00a0UAH"},
		{store.Russian, store.EventInvoiceMade, 0, "Новый счёт", "К оплате: " + sum},
		{store.Russian, store.EventInvoicePaid, 0, "Счёт оплачен", "Вы получили " + sum},
		{store.Russian, store.EventInvoiceRefused, store.RecipientCannotReceive, "Платёж отклонён", "Не оплачено " + sum + ": получатель не может принять платёж"},
		{store.Russian, store.EventRechargeCommitted, 0, "Баланс пополнен", "Зачислено: " + sum},
		{store.Ukrainian, store.EventInvoiceMade, 0, "Новий рахунок", "До сплати: " + sum},
		{store.Ukrainian, store.EventInvoicePaid, 0, "Рахунок сплачено", "Ви отримали " + sum},
		{store.Ukrainian, store.EventInvoiceRefused, store.CurrencyMismatch, "Платіж відхилено", "Не сплачено " + sum + ": немає коштів у цій валюті"},
		{store.Ukrainian, store.EventRechargeCommitted, 0, "Баланс поповнено", "Зараховано: " + sum},
		{"", store.EventInvoiceMade, 0, "New invoice", "To pay: 1,234,567.89\u00a0UAH"},
	} {
		p := made()
		p.Locale, p.Type, p.Error, p.Description = story.locale, story.kind, story.why, " "
		title, body := tongueOf(p.Locale).tell(p)
		if title != story.title || body != story.body {
			t.Errorf("%s of %s: %q, %q", story.locale, story.kind, title, body)
		}
	}
	for locale, tongue := range tongues {
		for kind := range actions {
			if tongue.says[kind].title == "" || tongue.says[kind].body == "" {
				t.Errorf("%s has no words for %s", locale, kind)
			}
		}
		for _, why := range []store.InvoiceError{store.InsufficientFunds, store.RecipientCannotReceive, store.CurrencyMismatch, store.TechnicalError} {
			if tongue.because[why] == "" {
				t.Errorf("%s has no words for error %d", locale, why)
			}
		}
	}
}

// Whatever the parties wrote, and whenever it is sent: FCM takes it, and a copy replaces the
// first.
func TestAMessageFitsAndCollapses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := made()
		text := rapid.StringN(0, 1500, -1)
		p.Description, p.NameCheque, p.DatePayCheque = text.Draw(t, "description"), text.Draw(t, "name"), text.Draw(t, "date")
		for range rapid.IntRange(0, 40).Draw(t, "items") {
			p.Items = append(p.Items, store.Item{Name: text.Draw(t, "item"), Price: 1})
		}
		p.Device = rapid.SampledFrom([]store.DeviceType{store.Android, store.IOS}).Draw(t, "device")
		first, second := message(p, noon), message(p, noon.Add(time.Duration(rapid.IntRange(0, 48).Draw(t, "hours"))*time.Hour))
		raw, err := json.Marshal(first)
		if err != nil || len(raw) > 4000 {
			t.Fatalf("%d bytes, %v: %s", len(raw), err, raw)
		}
		if collapseOf(first) != eventID || collapseOf(second) != eventID {
			t.Fatalf("collapse keys %q and %q", collapseOf(first), collapseOf(second))
		}
		if second.Android != nil && *second.Android.TTL < 0 {
			t.Fatalf("ttl %s", *second.Android.TTL)
		}
	})
}

func collapseOf(m *messaging.Message) string {
	if m.Android != nil {
		return m.Android.CollapseKey
	}
	return m.APNS.Headers["apns-collapse-id"]
}

func TestALongTextIsCutAtARune(t *testing.T) {
	t.Parallel()
	if got := cut(strings.Repeat("ї", 10), 4); got != "їїї…" {
		t.Errorf("%q", got)
	}
	if got := cut("їїїї", 4); got != "їїїї" {
		t.Errorf("%q", got)
	}
}
