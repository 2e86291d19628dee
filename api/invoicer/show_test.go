package invoicer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
)

// shownAs asks a question and compares what is answered, member for member.
func (s *stall) shownAs(path string, want string) {
	s.t.Helper()
	call := s.everyCall()[path]
	w := s.ask(path, plain(call[0], call[1]))
	got, wanted := map[string]any{}, map[string]any{}
	if err := json.Unmarshal([]byte(`{"status":1,"data":`+want+`}`), &wanted); err != nil {
		s.t.Fatal(err)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		s.t.Fatalf("%s: %s", path, w.Body)
	}
	if diff := cmp.Diff(wanted, got); w.Code != 200 || diff != "" {
		s.t.Errorf("%s: %d -want +got\n%s", path, w.Code, diff)
	}
}

// shownPlainly is the invoice of the stall.
const shownPlainly = `{"id":"INVOICE","externalId":"1500383075","invoiceNumber":1870,"clientId":1,"clientName":"UAPAY","description":"Test payment",
	"systemType":"ECOM","amount":13500,"reusability":false,"invoiceStatus":"ACTIVE","type":"PAY","serviceData":[],"redirectUrl":null,"callbackUrl":null,
	"email":null,"extraInfo":{"origin":"invoicer"},"cardToId":null,"createdAt":"2018-11-30T11:42:39.000Z","payments":[PAYMENT],"recurringData":{}}`

const shownPaid = `{"invoiceId":"INVOICE","paymentId":"PAID","number":2175,"receiptId":"E76EZFQFK2FE","amount":13500,"commission":564,"reversedAmount":0,
	"currency":"980","cardFromMasked":"5269615505","cardFromId":"CARD","paymentStatus":"FINISHED","status":"FINISHED",
	"finishedAt":"2018-11-30T11:45:37.000Z","createdAt":"2018-11-30T11:44:38.000Z","updatedAt":"2018-11-30T11:45:37.000Z",
	"chequeLink":"https://pay.test/api/acquiring/receipts/v2/PAID.pdf"}`

// of fills in what is new in each test.
func (s *stall) of(text string) string {
	return strings.NewReplacer("PAYMENT", s.payment(), "INVOICE", s.books.invoice.ID.String()).Replace(text)
}

func (s *stall) payment() string {
	return strings.NewReplacer("INVOICE", s.books.invoice.ID.String(), "PAID", s.books.payment.ID.String(), "CARD", s.books.payment.CardFrom.ID.String()).Replace(shownPaid)
}

func TestAnInvoiceIsShownInTheOriginalsTypes(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	s.shownAs("invoicer/invoices/show", s.of(shownPlainly))
	s.shownAs("invoicer/invoices/show/list", `{"invoices":[`+s.of(shownPlainly)+`]}`)
	if diff := cmp.Diff(askedFor{Client: 7, ExternalIDs: []string{"a", "b"}}, last[askedFor](s)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAllThatAnInvoiceMayHaveIsShown(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	one, card, expires := int64(1), store.NewCardID(), moment("2021-07-28T12:00:00Z")
	i := &s.books.invoice
	i.SystemType, i.Type, i.Reusable, i.Active, i.Amount, i.CardTo = store.BILLER, store.Hold, true, false, 0, card
	i.RedirectURL, i.CallbackURL, i.Email, i.PayExpiresAt = "https://uapay.ua/?a=b&c=<d>", "http://example.com/", "test@uapay.ua", &expires
	i.ExtraInfo = json.RawMessage(`{"base": true, "n": 9007199254740993.10, "origin": "theirs"}`)
	i.Services = []store.Service{
		{ServiceID: &one, Destination: "d", DestinationName: "n", Account: "UA461234560000026002001304675", MFO: "123456", OKPO: "12345678", BankName: "b", Description: "x", Amount: 1000, Commission: 20},
		{Amount: 5},
	}
	i.Payments = nil
	s.shownAs("invoicer/invoices/show", s.of(`{"id":"INVOICE","externalId":"1500383075","invoiceNumber":1870,"clientId":1,"clientName":"UAPAY","description":"Test payment",
		"systemType":"BILLER","amount":null,"reusability":true,"invoiceStatus":"INACTIVE","type":"HOLD",
		"serviceData":[{"serviceId":1,"destination":"d","destinationName":"n","account":"UA461234560000026002001304675","mfo":"123456","okpo":"12345678","bankName":"b","description":"x","amount":1000,"commission":20},
		{"amount":5,"commission":0}],"redirectUrl":"https://uapay.ua/?a=b&c=<d>","callbackUrl":"http://example.com/","email":"test@uapay.ua",
		"extraInfo":{"base":true,"n":9007199254740993.10,"origin":"invoicer"},"cardToId":"`+card.String()+`","payExpiresAt":"2021-07-28 15:00:00",
		"createdAt":"2018-11-30T11:42:39.000Z","payments":[],"recurringData":{}}`))
	if w := s.ask("invoicer/invoices/show", plain(s.everyCall()["invoicer/invoices/show"][0], "{}")); !strings.Contains(w.Body.String(), `"n":9007199254740993.10,`) {
		t.Errorf("a number of extraInfo is changed: %s", w.Body)
	}
}

func TestASubscriptionIsShownInKyivsDates(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	s.subscribed()
	paid := moment("2026-11-28T22:30:05Z")
	s.books.invoice.Subscription.PaidAt = &paid
	shown := func(recurring string) string {
		return strings.NewReplacer(`"type":"PAY"`, `"type":"SUBSCRIBE"`, `"recurringData":{}`, `"recurringData":`+recurring).Replace(s.of(shownPlainly))
	}
	s.shownAs("invoicer/invoices/show", shown(`{"endSubscribeDate":"2027-06-01","prevPaymentDate":"2026-11-29 00:30:05","nextPaymentDate":"2026-12-01"}`))
	s.books.invoice.Subscription.Active = false
	s.shownAs("invoicer/invoices/show", shown(`{"endSubscribeDate":"2027-06-01","prevPaymentDate":"2026-11-29 00:30:05"}`))
	s.books.invoice.Subscription.PaidAt, s.books.invoice.Subscription.DueAt = nil, nil
	s.shownAs("invoicer/invoices/show", shown(`{"endSubscribeDate":"2027-06-01"}`))
}

func TestASubscriptionIsChanged(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	s.subscribed()
	s.books.invoice.Amount = 1000
	s.shownAs("invoicer/subscriptions/update", `{"invoiceId":"`+s.books.invoice.ID.String()+`","amount":1000,"commission":120,"interval":2,
		"expiresAt":"2027-05-31T23:30:00.000Z","plannedPaidAt":"2026-11-30T22:30:00.000Z","status":"ACTIVE"}`)
	change := last[store.SubscriptionChange](s)
	if change.Client != 7 || change.Invoice != s.books.invoice.ID || change.Interval != 2 || !change.ExpiresAt.IsZero() {
		t.Errorf("the books were asked for %+v", change)
	}
	s.ask("invoicer/subscriptions/update", plain(`{"sessionId":"`+string(theSession)+`","id":"`+s.books.invoice.ID.String()+`"}`, `{"expiresAt":1635749199999}`))
	if change = last[store.SubscriptionChange](s); change.Interval != 0 || change.ExpiresAt.UnixMilli() != 1635749199999 || change.Invoice != s.books.invoice.ID {
		t.Errorf("the books were asked for %+v", change)
	}
}

func TestAPaymentIsShownByItself(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	s.shownAs("invoicer/payments/show", strings.Replace(s.payment(), "{", `{"clientId":1,"systemType":"ECOM","type":"PAY",`, 1))

	at := moment("2026-11-21T09:00:00.120Z")
	p := &s.books.payment
	p.SystemType, p.Type, p.Email, p.Reversed, p.Status, p.PaymentStatus = store.P2P, store.Hold, "a@b.test", 13500, store.StatusReversed, store.PaymentReversed
	p.CardTo = store.Card{ID: store.NewCardID(), Mask: "4111111111"}
	p.SendOperationID, p.ReceiveOperationID = "s1", "r1"
	p.PaidAt, p.ReversedAt, p.CanceledAt, p.FinishedAt = &at, &at, &at, nil
	want := strings.NewReplacer(`"finishedAt":"2018-11-30T11:45:37.000Z"`, `"paidAt":"2026-11-21T09:00:00.120Z","reversedAt":"2026-11-21T09:00:00.120Z","canceledAt":"2026-11-21T09:00:00.120Z",
		"cardToId":"`+p.CardTo.ID.String()+`","cardToMasked":"4111111111","sendOperationId":"s1","receiveOperationId":"r1","clientId":1,"systemType":"P2P","type":"HOLD","email":"a@b.test"`,
		`"reversedAmount":0`, `"reversedAmount":13500`, `"FINISHED"`, `"REVERSED"`).Replace(s.payment())
	s.shownAs("invoicer/payments/show", want)

	p.Status, p.PaymentStatus = store.StatusCanceled, store.PaymentRejected
	call := s.everyCall()["invoicer/payments/show"]
	if w := s.ask("invoicer/payments/show", plain(call[0], "{}")); strings.Contains(w.Body.String(), "chequeLink") {
		t.Errorf("a refused payment has a receipt: %s", w.Body)
	}
}

func TestAnothersIsNotShown(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	other := store.NewShopInvoiceID().String()
	for _, path := range []string{"invoicer/payments/show", "invoicer/payments/checkStatus"} {
		s.refusedWith("another invoice's payment", s.ask(path, plain(with(t, s.everyCall()[path][0], `"invoiceId":"`+other+`"`), "{}")), "PAYMENT_NOT_FOUND", "")
		s.refusedWith("nobody's payment", s.ask(path, plain(with(t, s.everyCall()[path][0], `"paymentId":"`+other+`"`), "{}")), "PAYMENT_NOT_FOUND", "")
		if w := s.ask(path, plain(with(t, s.everyCall()[path][0], `"invoiceId":"-"`), "{}")); !strings.HasPrefix(w.Body.String(), `{"status":1,`) {
			t.Errorf("%s without its invoice: %s", path, w.Body)
		}
	}
	s.books.invoice.Client = 8
	for _, path := range []string{"invoicer/invoices/show", "invoicer/payments/showCommission"} {
		call := s.everyCall()[path]
		s.refusedWith("another shop's invoice", s.ask(path, plain(call[0], call[1])), "INVOICE_NOT_FOUND", "")
	}
}

func TestStatusAndPaymentStatusAreSwappedInCheckStatus(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	p := &s.books.payment
	answer := func(rest string) string {
		return `{"id":"` + p.ID.String() + `","amount":13500,"pluginId":2,` + rest + `}`
	}
	p.Status, p.PaymentStatus = store.StatusPaid, store.PaymentHolded
	s.shownAs("invoicer/payments/checkStatus", answer(`"status":"HOLDED","paymentStatus":"PAID"`))

	p.Status, p.PaymentStatus, p.Confirmation = store.StatusNew, store.PaymentNeedsConfirmation, &store.Confirmation{Type: "LOOKUP", Left: 3}
	s.shownAs("invoicer/payments/checkStatus", answer(`"status":"NEEDS_CONFIRMATION","paymentStatus":"NEW","confirmation":{"type":"LOOKUP","confirmationsLeft":3}`))

	p.Confirmation = &store.Confirmation{Type: "3DS", Left: 3, URL: "https://bank.test/acs", Form: map[string]string{"PaReq": "x"}}
	s.shownAs("invoicer/payments/checkStatus", answer(`"status":"NEEDS_CONFIRMATION","paymentStatus":"NEW","confirmation":{"type":"3DS","url":"https://bank.test/acs",
		"form":{"PaReq":"x"},"redirect":{"url":"https://pay.test/i/`+p.Invoice.String()+`/payments/`+p.ID.String()+`/3ds","params":{"id":"`+p.ID.String()+`"}}}`))
}

func TestWhatACommissionIs(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name    string
		tariff  store.Tariff
		invoice int64
		data    string
		want    string
	}{
		{"the original's sample", store.Tariff{Millipercents: 2000, Fixed: 100}, 0, `{"amount":50000}`, `{"commission":{"percents":2,"fixed":100},"commissionAmount":1100}`},
		{"the invoice has an amount", store.Tariff{Millipercents: 2000, Fixed: 100}, 100, `{"amount":50000}`, `{"commission":{"percents":2,"fixed":100},"commissionAmount":102}`},
		{"and nobody says another", store.Tariff{Millipercents: 2000, Fixed: 100}, 100, `{}`, `{"commission":{"percents":2,"fixed":100},"commissionAmount":102}`},
		{"parts of a percent, half up", store.Tariff{Millipercents: 1550}, 0, `{"amount":100}`, `{"commission":{"percents":1.55,"fixed":0},"commissionAmount":2}`},
		{"nothing", store.Tariff{}, 0, `{"amount":100}`, `{"commission":{"percents":0,"fixed":0},"commissionAmount":0}`},
		{"all", store.Tariff{Millipercents: 100000}, 0, `{"amount":1}`, `{"commission":{"percents":100,"fixed":0},"commissionAmount":1}`},
		{"a thousandth", store.Tariff{Millipercents: 1}, 0, `{"amount":1000000}`, `{"commission":{"percents":0.001,"fixed":0},"commissionAmount":10}`},
	} {
		s := newStall(t, store.Operation{})
		s.books.invoice.Tariff, s.books.invoice.Amount = story.tariff, story.invoice
		w := s.ask("invoicer/payments/showCommission", plain(s.everyCall()["invoicer/payments/showCommission"][0], story.data))
		s.expect(w, 200, `{"status":1,"data":`+story.want+`}`)
	}
	s := newStall(t, store.Operation{})
	s.books.invoice.Amount = 0
	s.refusedWith("an open amount that nobody says", s.ask("invoicer/payments/showCommission", plain(s.everyCall()["invoicer/payments/showCommission"][0], `{}`)), "FORMAT_ERROR", `{"data":{"amount":"REQUIRED"}}`)
}
