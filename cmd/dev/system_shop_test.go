package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// shop is a shop that calls the invoicer API.
type shop struct {
	*system
	client  int64 // its row
	secret  string
	session string
}

var shopsMade atomic.Int64

// shop makes a shop whose payments cost 2 % and a hryvnia on top, and opens its session.
func (s *system) shop() *shop {
	s.t.Helper()
	number := 100 + shopsMade.Add(1)
	secret, err := s.books.AddClient(s.t.Context(), store.NewClient{
		ClientID: strconv.FormatInt(number, 10),
		Shop:     &store.ShopTerms{Name: "Чайна", AllowUnsigned: true, Tariff: store.Tariff{Millipercents: 2000, Fixed: 100}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	o := &shop{system: s, secret: secret, client: int64(s.count("SELECT id FROM clients WHERE client_id = $1", strconv.FormatInt(number, 10)))}
	a := s.must(http.MethodPost, "/api/sessions/create", encoded(map[string]any{"params": object{"clientId": number}}))
	o.session, _ = a.object()["id"].(string)
	if o.session == "" {
		s.t.Fatalf("sessions/create: %s", a)
	}
	return o
}

type object = map[string]any

// ask sends a request of the invoicer API with the shop's session.
func (o *shop) ask(path string, params, data object, headers ...string) (answer, error) {
	all := object{"sessionId": o.session}
	for name, value := range params {
		all[name] = value
	}
	body := object{"params": all}
	if data != nil {
		body["data"] = data
	}
	return o.call(http.MethodPost, "/api/"+path, encoded(body), headers...)
}

// data is what a request is answered that must succeed.
func (o *shop) data(path string, params, data object, headers ...string) object {
	o.t.Helper()
	a, err := o.ask(path, params, data, headers...)
	if err != nil || !succeeded(a) {
		o.t.Fatalf("%s %v %v: %s, %v; want status 1", path, params, data, a, err)
	}
	d, _ := a.object()["data"].(object)
	return d
}

func succeeded(a answer) bool {
	return a.status == http.StatusOK && fmt.Sprint(a.object()["status"]) == "1"
}

// card stores a card and returns its id.
func (o *shop) card(number string) string {
	o.t.Helper()
	id, _ := o.data("cards/create", nil, object{"pan": number, "expiresAt": "2031-12"})["id"].(string)
	return id
}

// invoice issues an invoice; change sets other fields than the usual ones.
func (o *shop) invoice(change object) string {
	o.t.Helper()
	system := "ECOM"
	data := object{"externalId": "order", "type": "PAY", "description": "Чай і тістечко", "amount": 10_000}
	for name, value := range change {
		switch {
		case name == "systemType":
			system = value.(string)
		case value == nil:
			delete(data, name)
		default:
			data[name] = value
		}
	}
	id, _ := o.data("invoicer/invoices/create", object{"systemType": system}, data)["id"].(string)
	return id
}

// pay pays an invoice with a card, and waits for what becomes of it.
func (o *shop) pay(invoice, card string, change object) (payment string, a answer) {
	o.t.Helper()
	data := object{"invoiceId": invoice, "cardFrom": object{"id": card, "securityCode": "530"}}
	for name, value := range change {
		data[name] = value
	}
	a, err := o.ask("invoicer/payments/create", nil, data, "Prefer", waitTen)
	if err != nil {
		o.t.Fatal(err)
	}
	d, _ := a.object()["data"].(object)
	payment, _ = d["id"].(string)
	return payment, a
}

// show is an invoice as its shop sees it.
func (o *shop) show(invoice string) object {
	o.t.Helper()
	return o.data("invoicer/invoices/show", object{"id": invoice}, nil)
}

// payments are those of an invoice, newest first.
func (o *shop) payments(invoice string) []object {
	o.t.Helper()
	list, _ := o.show(invoice)["payments"].([]any)
	var all []object
	for _, p := range list {
		all = append(all, p.(object))
	}
	return all
}

// becomes waits until an invoice's newest payment has a paymentStatus, and returns it.
func (o *shop) becomes(invoice, paymentStatus string) (p object) {
	o.t.Helper()
	eventually(o.t, patience, "the payment is "+paymentStatus, func() bool {
		if all := o.payments(invoice); len(all) > 0 {
			p = all[0]
		}
		return p["paymentStatus"] == paymentStatus
	})
	return p
}

// command sends a command on a payment and waits for its end.
func (o *shop) command(name, invoice, payment string, params, data object) answer {
	o.t.Helper()
	all := object{"invoiceId": invoice, "paymentId": payment}
	for name, value := range params {
		all[name] = value
	}
	a, err := o.ask("invoicer/payments/"+name, all, data, "Prefer", waitTen)
	if err != nil {
		o.t.Fatal(err)
	}
	return a
}

func integer(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

// The money that the acquirer says it took, less what it gave back, is what the books say.
func (o *shop) checkTaken(payment string) {
	o.t.Helper()
	var taken int64
	for _, op := range o.acquirer.Operations(payment) {
		switch {
		case op.Captured:
			taken += op.Amount
		case op.Call == "refund":
			taken -= op.Amount
		}
	}
	const sql = `
		SELECT coalesce(sum(CASE WHEN t.kind IN ('card_payment', 'card_commission') THEN t.amount ELSE -t.amount END), 0)
		FROM transfers t
		JOIN acquirer_intents i ON i.id = t.reference
		WHERE i.payment_id = $1`
	if booked := int64(o.count(sql, payment)); booked != taken {
		o.t.Errorf("payment %s: the acquirer took %d, the books say %d: %v", payment, taken, booked, o.acquirer.Operations(payment))
	}
}

const (
	approvedCard     = "4111111111111111"
	declinedCard     = "4000000000000002"
	confirmedCard    = "4000000000003220"
	poorCard         = "4000000000009995"
	cutAfterCharging = "4000000000000119"
	cutBefore        = "4000000000000341"
	codeCard         = "4000000000003063"
	rightCode        = "1234"
)

// Every status of the original's table, and how a shop sees it.
func TestSystemEveryStatusOfACardPaymentIsReached(t *testing.T) {
	t.Parallel()
	o := startShared(t).shop()
	hold := object{"type": "HOLD"}
	for _, story := range []struct {
		name, card    string
		invoice       object
		then          func(invoice, payment string) answer
		status        string
		paymentStatus string
		amount        int64 // that the shop has in the end
	}{
		{name: "approved", card: approvedCard, status: "FINISHED", paymentStatus: "FINISHED", amount: 10_000},
		{name: "held", card: approvedCard, invoice: hold, status: "PAID", paymentStatus: "HOLDED"},
		{
			name: "held, and a part completed", card: approvedCard, invoice: hold, status: "FINISHED", paymentStatus: "FINISHED", amount: 4000,
			then: func(i, p string) answer { return o.command("complete", i, p, object{"amount": 4000}, nil) },
		},
		{
			name: "held, and let go", card: approvedCard, invoice: hold, status: "CANCELED", paymentStatus: "CANCELED",
			then: func(i, p string) answer { return o.command("cancel", i, p, nil, nil) },
		},
		{
			name: "given back", card: approvedCard, status: "REVERSED", paymentStatus: "REVERSED",
			then: func(i, p string) answer { return o.command("reverse", i, p, nil, nil) },
		},
		{
			name: "a part given back", card: approvedCard, status: "FINISHED", paymentStatus: "FINISHED", amount: 9_999,
			then: func(i, p string) answer { return o.command("reverse", i, p, nil, object{"amount": 1}) },
		},
		{name: "declined", card: declinedCard, status: "CANCELED", paymentStatus: "REJECTED"},
		{name: "no money", card: poorCard, status: "CANCELED", paymentStatus: "REJECTED"},
		{name: "to be confirmed", card: confirmedCard, status: "NEW", paymentStatus: "NEEDS_CONFIRMATION"},
		{
			name: "confirmed", card: codeCard, status: "FINISHED", paymentStatus: "FINISHED", amount: 10_000,
			then: func(i, p string) answer {
				return o.command("confirm", i, p, object{"code": rightCode, "key": "x"}, nil)
			},
		},
		{name: "unknown, and charged", card: cutAfterCharging, status: "FINISHED", paymentStatus: "FINISHED", amount: 10_000},
		{name: "unknown, and not charged", card: cutBefore, status: "CANCELED", paymentStatus: "REJECTED"},
	} {
		t.Run(name(story.name), func(t *testing.T) {
			known, unknown := make(chan struct{}), story.card == cutAfterCharging || story.card == cutBefore
			if unknown { // for as long as the acquirer says nothing
				o.acquirer.Fault(acquirertest.Fault{Call: "inquire", Kind: acquirertest.Delay, Until: known, Times: 100})
			}
			invoice := o.invoice(story.invoice)
			payment, _ := o.pay(invoice, o.card(story.card), nil)
			if unknown {
				o.becomes(invoice, "PENDING")
			}
			close(known)
			if story.then != nil {
				if a := story.then(invoice, payment); !succeeded(a) {
					t.Fatalf("the command was answered %s", a)
				}
			}
			p := o.becomes(invoice, story.paymentStatus)
			if p["status"] != story.status {
				t.Errorf("status %v, want %s: %v", p["status"], story.status, p)
			}
			if got := integer(p["amount"]) - integer(p["reversedAmount"]); story.amount != 0 && got != story.amount {
				t.Errorf("amount less reversedAmount is %d, want %d", got, story.amount)
			}
			o.checkTaken(fmt.Sprint(p["paymentId"]))
		})
	}
	const merchant = "SELECT coalesce(sum(balance), 0) FROM ledger_accounts WHERE kind = 'merchant' AND owner = $1"
	if got, want := o.count(merchant, o.client), 10_000+4000+9_999+10_000+10_000; got != want {
		t.Errorf("the shop has %d, want %d", got, want)
	}
}

func name(story string) string { return strings.ReplaceAll(story, " ", "_") }

// Whoever comes second is refused, whatever the two do.
func TestSystemRacesOnACardPaymentTakeItOnce(t *testing.T) {
	t.Parallel()
	o := startShared(t).shop()
	card := o.card(approvedCard)

	t.Run("eight completes", func(t *testing.T) {
		invoice := o.invoice(object{"type": "HOLD"})
		payment, _ := o.pay(invoice, card, nil)
		params := object{"invoiceId": invoice, "paymentId": payment, "amount": 7000}
		answers := o.atOnce(8, func(int) (answer, error) { return o.ask("invoicer/payments/complete", params, nil, "Prefer", waitTen) })
		if n := count(answers, succeeded); n != 1 {
			t.Errorf("%d of 8 completes succeeded, want 1: %v", n, answers)
		}
		o.becomes(invoice, "FINISHED")
		if got := o.acquirer.Captured(payment); got != 7000+240 {
			t.Errorf("the acquirer captured %d, want 7240", got)
		}
		o.checkTaken(payment)
	})
	t.Run("six partial reversals that exceed the payment", func(t *testing.T) {
		invoice := o.invoice(nil)
		payment, _ := o.pay(invoice, card, nil)
		params := object{"invoiceId": invoice, "paymentId": payment}
		answers := o.atOnce(6, func(int) (answer, error) {
			return o.ask("invoicer/payments/reverse", params, object{"amount": 3000}, "Prefer", waitTen)
		})
		if n := count(answers, succeeded); n != 3 {
			t.Errorf("%d of 6 reversals succeeded, want 3 of 3000 of 10000: %v", n, answers)
		}
		if p := o.payments(invoice)[0]; integer(p["reversedAmount"]) != 9000 || p["status"] != "FINISHED" {
			t.Errorf("the payment is %v, want 9000 reversed and FINISHED", p)
		}
		o.checkTaken(payment)
	})
	t.Run("twelve payers of a one-time invoice", func(t *testing.T) {
		invoice := o.invoice(nil)
		data := object{"invoiceId": invoice, "cardFrom": object{"id": card, "securityCode": "530"}}
		answers := o.atOnce(12, func(int) (answer, error) { return o.ask("invoicer/payments/create", nil, data, "Prefer", waitTen) })
		if n := count(answers, succeeded); n != 1 {
			t.Errorf("%d of 12 payments succeeded, want 1: %v", n, answers)
		}
		if all := o.payments(invoice); len(all) != 1 {
			t.Errorf("the invoice has %d payments, want 1", len(all))
		}
	})
	t.Run("the page and the API at once", func(t *testing.T) {
		invoice := o.invoice(nil)
		page := "http://" + o.api.addresses[0] + "/i/" + invoice
		data := object{"invoiceId": invoice, "cardFrom": object{"id": card, "securityCode": "530"}}
		type payer struct {
			browser *http.Client
			form    url.Values
		}
		var atPage []payer // each with the form before it
		for range 4 {
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			browser := &http.Client{Jar: jar, Timeout: patience, Transport: apitest.Transport(t, &http.Transport{})}
			form := o.formOf(browser, page)
			for name, value := range map[string]string{"number": approvedCard, "expiry": "12/31", "code": "913"} {
				form.Set(name, value)
			}
			atPage = append(atPage, payer{browser, form})
		}
		var payers sync.WaitGroup
		for _, p := range atPage {
			payers.Go(func() {
				defer p.browser.CloseIdleConnections()
				resp, err := p.browser.PostForm(page, p.form)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				if resp.StatusCode >= 500 {
					t.Errorf("the page answers %d", resp.StatusCode)
				}
			})
			payers.Go(func() {
				if a, err := o.ask("invoicer/payments/create", nil, data); err != nil || a.status != http.StatusOK {
					t.Errorf("the API answers %s, %v", a, err)
				}
			})
		}
		payers.Wait()
		p := o.becomes(invoice, "FINISHED")
		if all := o.payments(invoice); len(all) != 1 {
			t.Errorf("the invoice has %d payments, want 1", len(all))
		}
		o.checkTaken(fmt.Sprint(p["paymentId"]))
	})
	t.Run("one request sent eight times under one key", func(t *testing.T) {
		invoice := o.invoice(object{"reusability": true})
		data := object{"invoiceId": invoice, "cardFrom": object{"id": card, "securityCode": "530"}}
		o.atOnce(8, func(int) (answer, error) {
			return o.ask("invoicer/payments/create", nil, data, "Idempotency-Key", "pay-"+invoice)
		})
		o.becomes(invoice, "FINISHED")
		if all := o.payments(invoice); len(all) != 1 {
			t.Errorf("the invoice has %d payments, want 1", len(all))
		}
	})
}

func count(answers []answer, ok func(answer) bool) (n int) {
	for _, a := range answers {
		if ok(a) {
			n++
		}
	}
	return n
}
