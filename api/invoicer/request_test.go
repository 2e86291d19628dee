package invoicer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// with changes members of an object; a value of "" takes one away.
func with(t *testing.T, object, changes string) string {
	t.Helper()
	var o, c map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &o); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte("{"+changes+"}"), &c); err != nil {
		t.Fatalf("{%s}: %v", changes, err)
	}
	for name, value := range c {
		o[name] = value
		if string(value) == `"-"` {
			delete(o, name)
		}
	}
	return string(api.Encode(o))
}

// field is one change of a valid call's params or data, and what is then said to be wrong.
type field struct{ params, data, wrong string }

// refuses fails unless each change of a valid call makes it refused, and nothing happens.
func refuses(t *testing.T, path string, stories []field) {
	t.Helper()
	for _, story := range stories {
		s := newStall(t, store.Operation{})
		call := s.everyCall()[path]
		w := s.ask(path, plain(with(t, call[0], story.params), with(t, call[1], story.data)))
		s.refusedWith(path+" with "+story.params+story.data, w, "FORMAT_ERROR", story.wrong)
		if len(s.books.asked)+len(s.books.leases)+len(s.tokens.asked) != 0 {
			t.Errorf("%s with %s%s: the books were asked %v", path, story.params, story.data, s.books.asked)
		}
	}
}

func TestEveryFieldOfAnInvoiceIsCheckedAndNamed(t *testing.T) {
	t.Parallel()
	data := func(change, wrong string) field { return field{data: change, wrong: `{"data":` + wrong + `}`} }
	service := func(change, wrong string) field {
		return data(`"amount":"-","services":[{"amount":1},{"amount":2,`+change+`}]`, `{"services":{"1":`+wrong+`}}`)
	}
	subscribe := `"type":"SUBSCRIBE","amount":100,"recurringInterval":30,"expiresAt":1900000000000`
	long := strings.Repeat("ж", 1001)
	refuses(t, "invoicer/invoices/create", []field{
		{params: `"systemType":"-"`, wrong: `{"params":{"systemType":"REQUIRED"}}`},
		{params: `"systemType":"ecom"`, wrong: `{"params":{"systemType":"FORMAT"}}`},
		{params: `"systemType":1`, wrong: `{"params":{"systemType":"FORMAT"}}`},
		{params: `"device":"phone"`, wrong: `{"params":{"device":"FORMAT"}}`},
		{params: `"locale":"de"`, wrong: `{"params":{"locale":"FORMAT"}}`},
		{params: `"locale":1`, wrong: `{"params":{"locale":"FORMAT"}}`},
		data(`"externalId":"-"`, `{"externalId":"REQUIRED"}`),
		data(`"externalId":null`, `{"externalId":"REQUIRED"}`),
		data(`"externalId":""`, `{"externalId":"REQUIRED"}`),
		data(`"externalId":1500383075`, `{"externalId":"FORMAT"}`),
		data(`"externalId":"a\nb"`, `{"externalId":"FORMAT"}`),
		data(`"externalId":"`+strings.Repeat("ж", 256)+`"`, `{"externalId":"RANGE"}`),
		data(`"type":"-"`, `{"type":"REQUIRED"}`),
		data(`"type":"pay"`, `{"type":"FORMAT"}`),
		data(`"type":["PAY"]`, `{"type":"FORMAT"}`),
		data(`"description":"-"`, `{"description":"REQUIRED"}`),
		data(`"description":"`+long+`"`, `{"description":"RANGE"}`),
		data(`"description":{}`, `{"description":"FORMAT"}`),
		data(`"externalId":"-","type":"-","description":"-"`, `{"description":"REQUIRED","externalId":"REQUIRED","type":"REQUIRED"}`),
		data(`"amount":0`, `{"amount":"RANGE"}`),
		data(`"amount":-1`, `{"amount":"RANGE"}`),
		data(`"amount":1000000000001`, `{"amount":"RANGE"}`),
		data(`"amount":9223372036854775808`, `{"amount":"RANGE"}`),
		data(`"amount":1.0`, `{"amount":"FORMAT"}`),
		data(`"amount":1e2`, `{"amount":"FORMAT"}`),
		data(`"amount":"100"`, `{"amount":"FORMAT"}`),
		data(`"amount":""`, `{"amount":"FORMAT"}`),
		data(`"amount":true`, `{"amount":"FORMAT"}`),
		data(`"reusability":"true"`, `{"reusability":"FORMAT"}`),
		data(`"reusability":1`, `{"reusability":"FORMAT"}`),
		data(`"cardTo":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06"}`, `{"cardTo":"NOT_ALLOWED"}`),
		data(`"cardTo":"b8220f46-8c28-4068-9488-2e1b37359b06"`, `{"cardTo":"FORMAT"}`),
		{params: `"systemType":"P2P"`, wrong: `{"data":{"cardTo":{"id":"REQUIRED"}}}`},
		{params: `"systemType":"P2P"`, data: `"cardTo":{}`, wrong: `{"data":{"cardTo":{"id":"REQUIRED"}}}`},
		{params: `"systemType":"P2P"`, data: `"cardTo":{"id":"4111111111111111"}`, wrong: `{"data":{"cardTo":{"id":"FORMAT"}}}`},
		{params: `"systemType":"P2P"`, data: `"cardTo":{"id":7}`, wrong: `{"data":{"cardTo":{"id":"FORMAT"}}}`},
		{params: `"systemType":"P2P"`, data: `"cardTo":[]`, wrong: `{"data":{"cardTo":"FORMAT"}}`},
		{
			params: `"systemType":"P2P"`, data: `"amount":"-","cardTo":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06"},"services":[{"amount":1}]`,
			wrong: `{"data":{"services":"NOT_ALLOWED"}}`,
		},
		data(subscribe+`,"amount":"-"`, `{"amount":"REQUIRED"}`),
		data(subscribe+`,"recurringInterval":"-"`, `{"recurringInterval":"REQUIRED"}`),
		data(subscribe+`,"recurringInterval":0`, `{"recurringInterval":"RANGE"}`),
		data(subscribe+`,"recurringInterval":367`, `{"recurringInterval":"RANGE"}`),
		data(subscribe+`,"recurringInterval":"30"`, `{"recurringInterval":"FORMAT"}`),
		data(subscribe+`,"expiresAt":"-"`, `{"expiresAt":"REQUIRED"}`),
		data(subscribe+`,"expiresAt":0`, `{"expiresAt":"RANGE"}`),
		data(subscribe+`,"expiresAt":253402300800000`, `{"expiresAt":"RANGE"}`),
		data(subscribe+`,"expiresAt":"2030-01-01"`, `{"expiresAt":"FORMAT"}`),
		data(subscribe+`,"reusability":true`, `{"reusability":"NOT_ALLOWED"}`),
		data(subscribe+`,"services":[{"amount":100}]`, `{"services":"NOT_ALLOWED"}`),
		data(`"recurringInterval":0`, `{"recurringInterval":"RANGE"}`), // of a PAY as well
		data(`"payExpiresAt":"2021-07-28"`, `{"payExpiresAt":"FORMAT"}`),
		data(`"payExpiresAt":"2021-07-28T15:00:00Z"`, `{"payExpiresAt":"FORMAT"}`),
		data(`"payExpiresAt":"2021-07-28 15:00:00.5"`, `{"payExpiresAt":"FORMAT"}`),
		data(`"payExpiresAt":"2021-13-28 15:00:00"`, `{"payExpiresAt":"FORMAT"}`),
		data(`"payExpiresAt":"0001-01-01 00:00:00"`, `{"payExpiresAt":"RANGE"}`),
		data(`"payExpiresAt":1627477200`, `{"payExpiresAt":"FORMAT"}`),
		data(`"redirectUrl":"uapay.ua"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"javascript:alert(1)"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"ftp://uapay.ua"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"//uapay.ua"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://:443/"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https:uapay.ua"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://u:p@uapay.ua"`, `{"redirectUrl":"FORMAT"}`),
		data(`"callbackUrl":"https://uapay.ua:65536/"`, `{"callbackUrl":"FORMAT"}`),
		data(`"callbackUrl":"https://uapay.ua:0/"`, `{"callbackUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://uapay.ua\\@evil.test"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://uapay.ua/%zz"`, `{"redirectUrl":"FORMAT"}`),
		data(`"redirectUrl":"https://uapay.ua/`+strings.Repeat("a", 2000)+`"`, `{"redirectUrl":"RANGE"}`),
		data(`"redirectUrl":1`, `{"redirectUrl":"FORMAT"}`),
		data(`"callbackUrl":"uapay.ua"`, `{"callbackUrl":"FORMAT"}`),
		data(`"callbackUrl":"https://bob@uapay.ua"`, `{"callbackUrl":"FORMAT"}`),
		data(`"email":"test"`, `{"email":"FORMAT"}`),
		data(`"email":"Bob <test@uapay.ua>"`, `{"email":"FORMAT"}`),
		data(`"email":"a@uapay.ua, b@uapay.ua"`, `{"email":"FORMAT"}`),
		data(`"email":"a@uapay.ua\r\nBcc: b@uapay.ua"`, `{"email":"FORMAT"}`),
		data(`"email":"тест@uapay.ua"`, `{"email":"FORMAT"}`),
		data(`"email":"`+strings.Repeat("a", 250)+`@uapay.ua"`, `{"email":"RANGE"}`),
		data(`"email":{}`, `{"email":"FORMAT"}`),
		data(`"extraInfo":"x"`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":"[]"`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":"null"`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":[]`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":1`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":"{\"a\":1,\"a\":2}"`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":"{\"a\":\"\\u0000\"}"`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":{"a":1e999999999}`, `{"extraInfo":"FORMAT"}`),
		data(`"extraInfo":"{\"a\":\"`+strings.Repeat("x", 16<<10)+`\"}"`, `{"extraInfo":"RANGE"}`),
		data(`"services":{}`, `{"services":"FORMAT"}`),
		data(`"services":"[]"`, `{"services":"FORMAT"}`),
		data(`"amount":"-","services":[`+strings.Repeat(`{"amount":1},`, 100)+`{"amount":1}]`, `{"services":"RANGE"}`),
		data(`"amount":"-","services":[{"amount":1000000000000},{"amount":1}]`, `{"services":"RANGE"}`),
		data(`"amount":99,"services":[{"amount":100}]`, `{"amount":"MISMATCH"}`),
		data(`"amount":"-","services":[null]`, `{"services":{"0":{"amount":"REQUIRED"}}}`),
		data(`"amount":"-","services":[1]`, `{"services":{"0":"FORMAT"}}`),
		data(`"amount":"-","services":[{"amount":1},{},{"amount":0}]`, `{"services":{"1":{"amount":"REQUIRED"},"2":{"amount":"RANGE"}}}`),
		service(`"serviceId":"1"`, `{"serviceId":"FORMAT"}`),
		service(`"serviceId":-1`, `{"serviceId":"RANGE"}`),
		service(`"destination":1`, `{"destination":"FORMAT"}`),
		service(`"destinationName":"`+long+`"`, `{"destinationName":"RANGE"}`),
		service(`"description":[]`, `{"description":"FORMAT"}`),
		service(`"bankName":1`, `{"bankName":"FORMAT"}`),
		service(`"okpo":"1234567"`, `{"okpo":"FORMAT"}`),
		service(`"mfo":"12345"`, `{"mfo":"FORMAT"}`),
		service(`"iban":"UA461234560000026002001304676"`, `{"iban":"FORMAT"}`),
		service(`"iban":"ua461234560000026002001304675"`, `{"iban":"FORMAT"}`),
		service(`"iban":"UA46"`, `{"iban":"FORMAT"}`),
		service(`"iban":461234560000026002001304675`, `{"iban":"FORMAT"}`),
	})
}

func TestAnInvoiceIsReadAsItIsMeant(t *testing.T) {
	t.Parallel()
	card, _ := store.ParseCardID("b8220f46-8c28-4068-9488-2e1b37359b06")
	one := int64(1)
	base := store.NewShopInvoice{ExternalID: "1", SystemType: store.ECOM, Type: store.Pay, Description: "d", Amount: 100}
	for _, story := range []struct {
		name, params, data string
		want               func(*store.NewShopInvoice)
	}{
		{"the least", ``, ``, func(*store.NewShopInvoice) {}},
		{"nulls are as good as nothing", `"device":null,"locale":null`, `"reusability":null,"cardTo":null,"services":null,"payExpiresAt":null,"redirectUrl":null,"email":null,"extraInfo":null,"recurringInterval":null`, func(*store.NewShopInvoice) {}},
		{"so are empty texts", ``, `"redirectUrl":"","callbackUrl":"","email":"","extraInfo":"","payExpiresAt":"","services":[]`, func(*store.NewShopInvoice) {}},
		{"an open amount", `"locale":"uk","device":{"ip":"::1","colorDepth":[1]}`, `"amount":"-"`, func(n *store.NewShopInvoice) { n.Amount = 0 }},
		{"the most", `"systemType":"BILLER"`, `"amount":1000000000000,"type":"HOLD","reusability":true`, func(n *store.NewShopInvoice) {
			n.SystemType, n.Type, n.Amount, n.Reusable = store.BILLER, store.Hold, 1_000_000_000_000, true
		}},
		{"a time in Kyiv's summer", ``, `"payExpiresAt":"2021-07-28 15:00:00"`, func(n *store.NewShopInvoice) { n.PayExpiresAt = moment("2021-07-28T12:00:00Z") }},
		{"a time in Kyiv's winter", ``, `"payExpiresAt":"2030-12-31 23:59:59"`, func(n *store.NewShopInvoice) { n.PayExpiresAt = moment("2030-12-31T21:59:59Z") }},
		{"addresses", ``, `"redirectUrl":"https://uapay.ua","callbackUrl":"http://127.0.0.1:8090/inbox/a?b=c","email":"test@uapay.ua"`, func(n *store.NewShopInvoice) {
			n.RedirectURL, n.CallbackURL, n.Email = "https://uapay.ua", "http://127.0.0.1:8090/inbox/a?b=c", "test@uapay.ua"
		}},
		{"extraInfo in a string", ``, `"extraInfo":"{\"phoneFrom\": \"380971112233\"}"`, func(n *store.NewShopInvoice) { n.ExtraInfo = json.RawMessage(`{"phoneFrom": "380971112233"}`) }},
		{"extraInfo as an object", ``, `"extraInfo":{"a":[1.50]}`, func(n *store.NewShopInvoice) { n.ExtraInfo = json.RawMessage(`{"a":[1.50]}`) }},
		{"P2P", `"systemType":"P2P"`, `"cardTo":{"id":"B8220F46-8C28-4068-9488-2E1B37359B06"}`, func(n *store.NewShopInvoice) { n.SystemType, n.CardTo = store.P2P, card }},
		{"a subscription", ``, `"type":"SUBSCRIBE","recurringInterval":366,"expiresAt":1900000000123`, func(n *store.NewShopInvoice) {
			n.Type, n.Interval, n.EndsAt = store.Subscribe, 366, time.UnixMilli(1900000000123)
		}},
		{"services", ``, `"amount":3000,"services":[{"serviceId":1,"destination":"a","destinationName":"b","description":"c","amount":1000},{"amount":2000,"serviceId":null}]`, func(n *store.NewShopInvoice) {
			n.Amount = 3000
			n.Services = []store.Service{{ServiceID: &one, Destination: "a", DestinationName: "b", Description: "c", Amount: 1000}, {Amount: 2000}}
		}},
		{"a service that is collected for somebody", ``, `"amount":"-","services":[{"iban":"UA461234560000026002001304675","okpo":"12345678","bankName":"PJSC Bank","amount":1000}]`, func(n *store.NewShopInvoice) {
			n.Amount = 0
			n.Services = []store.Service{{Account: "UA461234560000026002001304675", MFO: "123456", OKPO: "12345678", BankName: "PJSC Bank", Amount: 1000}}
		}},
		{"a foreign account says no MFO, and is given one", ``, `"amount":"-","services":[{"iban":"GB82WEST12345698765432","amount":1},{"iban":"GB82WEST12345698765432","mfo":"654321","amount":1}]`, func(n *store.NewShopInvoice) {
			n.Amount = 0
			n.Services = []store.Service{{Account: "GB82WEST12345698765432", Amount: 1}, {Account: "GB82WEST12345698765432", MFO: "654321", Amount: 1}}
		}},
	} {
		s := newStall(t, store.Operation{})
		call := s.everyCall()["invoicer/invoices/create"]
		w := s.ask("invoicer/invoices/create", plain(with(t, call[0], story.params), with(t, call[1], story.data)), "Idempotency-Key", "k")
		if w.Code != 200 || len(s.books.asked) != 1 {
			t.Errorf("%s: %d %s", story.name, w.Code, w.Body)
			continue
		}
		n := last[issued](s)
		want := base
		story.want(&want)
		want.ID, want.Shop = n.ID, s.books.shop
		if diff := cmp.Diff(want, n.NewShopInvoice, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		s.expect(w, 200, fmt.Sprintf(`{"status":1,"data":{"id":"%[1]s","paymentPageUrl":"https://pay.test/i/%[1]s","paymentPageUrlQR":"https://pay.test/api/qr/invoicer/%[1]s"}}`, n.ID))
		if n.once.Key != "k" || n.once.Scope != "shop 7" || string(n.once.Answer.Body) != w.Body.String() {
			t.Errorf("%s: the key is bound to %+v", story.name, n.once)
		}
	}
}

func TestEveryFieldOfTheOtherCallsIsCheckedAndNamed(t *testing.T) {
	t.Parallel()
	params := func(change, wrong string) field { return field{params: change, wrong: `{"params":` + wrong + `}`} }
	data := func(change, wrong string) field { return field{data: change, wrong: `{"data":` + wrong + `}`} }
	for _, path := range []string{"confirm", "complete", "cancel", "reverse"} {
		refuses(t, "invoicer/payments/"+path, []field{
			params(`"paymentId":"-"`, `{"paymentId":"REQUIRED"}`),
			params(`"paymentId":""`, `{"paymentId":"REQUIRED"}`),
			params(`"paymentId":"x"`, `{"paymentId":"FORMAT"}`),
			params(`"paymentId":7`, `{"paymentId":"FORMAT"}`),
			params(`"paymentId":"00000000-0000-0000-0000-000000000000"`, `{"paymentId":"FORMAT"}`),
			params(`"invoiceId":"-"`, `{"invoiceId":"REQUIRED"}`),
			params(`"invoiceId":{}`, `{"invoiceId":"FORMAT"}`),
		})
	}
	for _, path := range []string{"complete", "reverse"} {
		amounts := func(change, wrong string) field { return data(`"amount":"-",`+change, wrong) }
		if path == "complete" {
			amounts = func(change, wrong string) field { return params(`"amount":"-",`+change, wrong) }
		}
		for sent, wrong := range map[string]string{`0`: "RANGE", `-5`: "RANGE", `1.5`: "FORMAT", `"1200"`: "FORMAT", `1000000000001`: "RANGE", `[]`: "FORMAT"} {
			refuses(t, "invoicer/payments/"+path, []field{amounts(`"amount":`+sent, `{"amount":"`+wrong+`"}`)})
		}
		refuses(t, "invoicer/payments/"+path, []field{{params: `"amount":1`, data: `"amount":2`, wrong: `{"data":{"amount":"MISMATCH"}}`}})
	}
	refuses(t, "invoicer/payments/confirm", []field{
		params(`"code":"-"`, `{"code":"REQUIRED"}`),
		params(`"code":""`, `{"code":"REQUIRED"}`),
		params(`"code":1234`, `{"code":"FORMAT"}`),
		params(`"code":"`+strings.Repeat("1", 1001)+`"`, `{"code":"RANGE"}`),
		params(`"key":1`, `{"key":"FORMAT"}`),
	})
	for _, path := range []string{"show", "checkStatus"} {
		refuses(t, "invoicer/payments/"+path, []field{
			params(`"paymentId":"-"`, `{"paymentId":"REQUIRED"}`),
			params(`"paymentId":"x"`, `{"paymentId":"FORMAT"}`),
			params(`"invoiceId":"x"`, `{"invoiceId":"FORMAT"}`),
		})
	}
	refuses(t, "invoicer/payments/showCommission", []field{
		params(`"invoiceId":"-"`, `{"invoiceId":"REQUIRED"}`),
		data(`"amount":0`, `{"amount":"RANGE"}`),
		data(`"amount":"50000"`, `{"amount":"FORMAT"}`),
		data(`"amount":1000000000001`, `{"amount":"RANGE"}`),
	})
	refuses(t, "invoicer/payments/create", []field{
		data(`"invoiceId":"-"`, `{"invoiceId":"REQUIRED"}`),
		data(`"invoiceId":"x"`, `{"invoiceId":"FORMAT"}`),
		data(`"cardFrom":"-"`, `{"cardFrom":{"id":"REQUIRED","securityCode":"REQUIRED"}}`),
		data(`"cardFrom":{"id":"x","securityCode":"12"}`, `{"cardFrom":{"id":"FORMAT","securityCode":"FORMAT"}}`),
		data(`"cardFrom":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06"}`, `{"cardFrom":{"securityCode":"REQUIRED"}}`),
		data(`"cardFrom":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06","securityCode":530}`, `{"cardFrom":{"securityCode":"FORMAT"}}`),
		data(`"cardFrom":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06","securityCode":"12345"}`, `{"cardFrom":{"securityCode":"FORMAT"}}`),
		data(`"cardFrom":[]`, `{"cardFrom":"FORMAT"}`),
		data(`"currency":810`, `{"currency":"RANGE"}`),
		data(`"currency":"UAH"`, `{"currency":"FORMAT"}`),
		data(`"currency":980.0`, `{"currency":"FORMAT"}`),
		data(`"amount":0`, `{"amount":"RANGE"}`),
		data(`"amount":"1"`, `{"amount":"FORMAT"}`),
		data(`"email":"x"`, `{"email":"FORMAT"}`),
		params(`"device":[]`, `{"device":"FORMAT"}`),
		params(`"locale":"xx"`, `{"locale":"FORMAT"}`),
	})
	refuses(t, "cards/create", []field{
		data(`"pan":"-"`, `{"pan":"REQUIRED"}`),
		data(`"pan":"4111111111111112"`, `{"pan":"FORMAT"}`),
		data(`"pan":4111111111111111`, `{"pan":"FORMAT"}`),
		data(`"pan":"4111 1111 1111 1111"`, `{"pan":"FORMAT"}`),
		data(`"pan":"41111111111"`, `{"pan":"FORMAT"}`),
		data(`"expiresAt":"-"`, `{"expiresAt":"REQUIRED"}`),
		data(`"expiresAt":"2026-10"`, `{"expiresAt":"RANGE"}`),
		data(`"expiresAt":"10/26"`, `{"expiresAt":"FORMAT"}`),
		data(`"expiresAt":"2031-13"`, `{"expiresAt":"FORMAT"}`),
		data(`"expiresAt":202612`, `{"expiresAt":"FORMAT"}`),
	})
	refuses(t, "invoicer/subscriptions/update", []field{
		params(`"invoiceId":"-"`, `{"invoiceId":"REQUIRED"}`),
		params(`"invoiceId":"-","id":"x"`, `{"id":"FORMAT"}`),
		data(`"interval":"-"`, `{"interval":"REQUIRED"}`),
		data(`"interval":0`, `{"interval":"RANGE"}`),
		data(`"interval":367`, `{"interval":"RANGE"}`),
		data(`"expiresAt":"2030-01-01"`, `{"expiresAt":"FORMAT"}`),
	})
	list := func(n int) string { return `"x"` + strings.Repeat(`,"x"`, n-1) }
	refuses(t, "invoicer/invoices/show/list", []field{
		params(`"externalIds":"-"`, `{"externalIds":"REQUIRED","ids":"REQUIRED"}`),
		params(`"externalIds":[]`, `{"externalIds":"REQUIRED","ids":"REQUIRED"}`),
		params(`"externalIds":"x"`, `{"externalIds":"FORMAT","ids":"REQUIRED"}`),
		params(`"externalIds":["x",1,null,""]`, `{"externalIds":{"1":"FORMAT","2":"REQUIRED","3":"REQUIRED"}}`),
		params(`"externalIds":[`+list(101)+`]`, `{"externalIds":"RANGE"}`),
		params(`"ids":["x"]`, `{"ids":{"0":"FORMAT"}}`),
		params(`"ids":["`+string(theSession)+`"],"externalIds":[`+list(100)+`]`, `{"externalIds":"RANGE"}`),
	})
	refuses(t, "invoicer/invoices/show", []field{
		params(`"id":"-"`, `{"id":"REQUIRED"}`),
		params(`"id":"1870"`, `{"id":"FORMAT"}`),
	})
}

// nonsense is what a member may hold that is not for it.
var nonsense = []string{
	`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `99999999999999999999`, `""`, `"x"`, `"\u0007"`, `"<b>' OR 1=1 --"`, `"00000000-0000-0000-0000-000000000000"`,
	`[]`, `{}`, `[null]`, `[[]]`, `[{}]`, `{"id":{}}`, `{"":0}`, `{"amount":[]}`, `"` + strings.Repeat("ы", 3000) + `"`,
}

// Nonsense in any member of any call is refused or ignored, and never is a fault of ours. Where
// it is refused nothing is done.
func TestNonsenseAnywhereIsNoFault(t *testing.T) {
	t.Parallel()
	names := []string{
		"sessionId", "clientId", "systemType", "device", "locale", "id", "ids", "externalIds", "paymentId", "invoiceId", "amount", "code", "key",
		"externalId", "type", "description", "reusability", "cardTo", "cardFrom", "recurringInterval", "expiresAt", "redirectUrl", "callbackUrl", "email", "extraInfo",
		"payExpiresAt", "services", "currency", "pan", "interval", "unknown",
	}
	for path := range newStall(t, store.Operation{}).everyCall() {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			s := newStall(t, store.Operation{})
			s.subscribed()
			call := s.everyCall()[path]
			for _, value := range nonsense {
				for _, name := range names {
					change := `"` + name + `":` + value
					s.isNoFault(path, plain(with(t, call[0], change), call[1]))
					s.isNoFault(path, plain(call[0], with(t, call[1], change)))
				}
				for _, name := range []string{"params", "data", "token", "iat", "unknown"} {
					s.isNoFault(path, with(t, plain(call[0], call[1]), `"`+name+`":`+value))
				}
			}
		})
	}
}

func (s *stall) isNoFault(path, body string) {
	s.t.Helper()
	done := len(s.books.asked)
	w := s.ask(path, body)
	refused := strings.HasPrefix(w.Body.String(), `{"status":0,`)
	if w.Code != 200 || !refused && !strings.HasPrefix(w.Body.String(), `{"status":1,`) {
		s.t.Errorf("%s: answered %d %s", body, w.Code, w.Body)
	}
	if refused && len(s.books.asked) != done {
		s.t.Errorf("%s was refused, and the books were asked %v", body, s.books.asked[done:])
	}
}

// What passes can be stored; what does not never panics.
func FuzzInvoice(f *testing.F) {
	f.Add([]byte(`{"params":{"systemType":"ECOM","device":{}},"data":{"externalId":"1","type":"PAY","description":"d","amount":100,"extraInfo":"{\"a\":1}"}}`))
	f.Add([]byte(`{"params":{"systemType":"P2P"},"data":{"externalId":"1","type":"PAY","description":"d","cardTo":{"id":"b8220f46-8c28-4068-9488-2e1b37359b06"}}}`))
	f.Add([]byte(`{"params":{"systemType":"ECOM"},"data":{"externalId":"1","type":"SUBSCRIBE","description":"d","amount":1,"recurringInterval":1,"expiresAt":1900000000000}}`))
	f.Add([]byte(`{"params":{"systemType":"ECOM"},"data":{"externalId":"1","type":"PAY","description":"d","payExpiresAt":"2021-07-28 15:00:00","redirectUrl":"https://a.b/c","email":"a@b.c","services":[{"serviceId":1,"amount":1,"iban":"UA461234560000026002001304675"}]}}`))
	f.Add([]byte(`{"params":{"ids":["b8220f46-8c28-4068-9488-2e1b37359b06"],"externalIds":[""],"paymentId":1},"data":{"pan":"4111111111111111","cardFrom":{"securityCode":"530"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, wrong := api.ParseObject(body)
		if wrong != "" {
			return
		}
		r, err := open(o)
		if err != nil {
			return
		}
		readPayment(r.params, r.data)
		readChange(r.params, r.data)
		for _, command := range []store.OperationType{store.PaymentConfirm, store.PaymentComplete, store.PaymentCancel, store.PaymentReverse} {
			readCommand(command, r.params, r.data)
		}
		ids(r.params, "ids", store.ParseInvoiceNumber)
		shape(api.Refusal{Fields: r.wrong})

		r, _ = open(o)
		n := readInvoice(r.params, r.data)
		if len(r.wrong) > 0 {
			return
		}
		var sum int64
		for _, s := range n.Services {
			sum += s.Amount
		}
		if n.Amount < 0 || n.Amount > store.MaxCardAmount || len(n.Services) > 0 && n.Amount != 0 && n.Amount != sum ||
			n.ExternalID == "" || strings.ContainsRune(n.Description, 0) || (n.SystemType == store.P2P) == n.CardTo.IsZero() ||
			n.Type == store.Subscribe && (n.Amount == 0 || n.Interval == 0 || n.EndsAt.IsZero() || n.Reusable) {
			t.Errorf("%q passed as %+v", body, n)
		}
		if n.ExtraInfo != nil && !json.Valid(n.ExtraInfo) {
			t.Errorf("%q passed with extraInfo %s", body, n.ExtraInfo)
		}
	})
}
