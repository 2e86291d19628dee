package invoicer

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// market is the API on a real store, with one shop in it.
type market struct {
	*storetest.DB
	t       *testing.T
	shop    store.Shop
	session string
	tokens  *slowTokens
	handler http.Handler
}

// slowTokens makes tokens, each after somebody has let it.
type slowTokens struct {
	asked chan store.IntentID // nil: nobody wants to know
	let   chan error

	mu      sync.Mutex
	intents []store.IntentID
}

func (a *slowTokens) Tokenise(ctx context.Context, id store.IntentID, details api.CardDetails) (store.Card, string, error) {
	a.mu.Lock()
	a.intents = append(a.intents, id)
	a.mu.Unlock()
	if a.asked != nil {
		a.asked <- id
		if err := <-a.let; err != nil {
			return store.Card{}, "", err
		}
	}
	number := details.Number
	if details.Token != "" {
		number = details.Token
	}
	return store.Card{Mask: "4111111111", Expiry: "2099-12", Brand: "visa"}, fmt.Sprintf("token of %.6s", number), ctx.Err()
}

func newMarket(t *testing.T) *market {
	t.Helper()
	db := storetest.New(t)
	shop := db.Shop()
	m := &market{DB: db, t: t, shop: shop, session: string(db.Session(shop)), tokens: &slowTokens{}}
	m.serve(db.Store)
	return m
}

// serve is a process that serves the API.
func (m *market) serve(books *store.Store) {
	m.t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	waiter := api.NewWaiter(books, quiet, nil)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = waiter.Run(ctx) }()
	m.t.Cleanup(func() { stop(); <-stopped })
	handler, err := api.New(api.Config{Log: quiet, Metrics: api.NewMetrics()}, New(Config{
		Books: books, Tokeniser: m.tokens, Waiter: waiter, SessionLimit: api.NewRateLimit(1e9), PublicURL: "https://pay.test",
	}))
	if err != nil {
		m.t.Fatal(err)
	}
	m.handler = apitest.Checked(m.t, handler)
}

// said is what a call is answered.
type said struct {
	Status int
	ID     string
	Data   json.RawMessage
	Error  struct {
		Code   string
		Fields json.RawMessage
	}
	http   int
	header http.Header
}

func (a said) outcome() string {
	if a.Status == 1 {
		return "done"
	}
	return strings.TrimSpace(a.Error.Code + " " + string(a.Error.Fields))
}

func (a said) read(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(a.Data, into); err != nil || a.Status != 1 {
		t.Fatalf("answered %s %s: %v", a.outcome(), a.Data, err)
	}
}

func (a said) id(t *testing.T) string {
	t.Helper()
	var named struct{ ID, PaymentID string }
	a.read(t, &named)
	return named.ID + named.PaymentID
}

// post sends a body as it is.
func (m *market) post(path, body string, headers ...string) said {
	r := httptest.NewRequest("POST", "/api/"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.handler.ServeHTTP(w, r)
	a := said{http: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		m.t.Errorf("%s: answered %d %s", path, w.Code, w.Body)
	}
	return a
}

// ask sends params, to which it adds the session, and data.
func (m *market) ask(path, params, data string, headers ...string) said {
	return m.post(path, plain(with(m.t, `{"sessionId":"`+m.session+`"}`, params), "{"+data+"}"), headers...)
}

// settle has the acquirer answer the operation that a call was answered with.
func (m *market) settle(a said, outcome store.CallOutcome) {
	m.t.Helper()
	id, ok := store.ParseOperationID(a.header.Get("Operation-Id"))
	if !ok {
		m.t.Fatalf("answered %s without an operation", a.outcome())
	}
	m.Finish(m.Call(m.Ref(id)), outcome)
}

// issue creates an invoice, newCard a card, and pay a payment that the acquirer answers.
func (m *market) issue(params, data string) string {
	m.t.Helper()
	return m.ask("invoicer/invoices/create", params, data).id(m.t)
}

func (m *market) newCard() string {
	m.t.Helper()
	return m.ask("cards/create", ``, `"pan":"4111111111111111","expiresAt":"2099-12"`).id(m.t)
}

func (m *market) pay(invoice string, outcome store.CallOutcome) (payment string) {
	m.t.Helper()
	a := m.ask("invoicer/payments/create", ``, `"invoiceId":"`+invoice+`","cardFrom":{"id":"`+m.newCard()+`","securityCode":"530"},"currency":980`)
	m.settle(a, outcome)
	return a.id(m.t)
}

// command asks for a command on a payment.
func (m *market) command(name, invoice, payment, params, data string) said {
	return m.ask("invoicer/payments/"+name, `"invoiceId":"`+invoice+`","paymentId":"`+payment+`"`+params, data)
}

// states are a payment's as each of the calls shows them: status/paymentStatus.
func (m *market) states(invoice, payment string) string {
	m.t.Helper()
	var inInvoice struct{ Payments []shownPayment }
	m.ask("invoicer/invoices/show", `"id":"`+invoice+`"`, ``).read(m.t, &inInvoice)
	var alone shownPayment
	m.ask("invoicer/payments/show", `"paymentId":"`+payment+`"`, ``).read(m.t, &alone)
	var checked checkedStatus
	m.command("checkStatus", invoice, payment, ``, ``).read(m.t, &checked)
	shown := alone.Status + "/" + alone.PaymentStatus
	if len(inInvoice.Payments) == 0 || inInvoice.Payments[0] != alone || checked.PaymentStatus+"/"+checked.Status != shown {
		m.t.Errorf("the payment is %+v, in its invoice %+v, checked %+v", alone, inInvoice.Payments, checked)
	}
	return shown
}

const payOnce = `"externalId":"1","type":"PAY","description":"d","amount":10000`

// Every status of the original's table is reached, and shown alike by every call.
func TestEveryStatusOfAPayment(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	hold := strings.Replace(payOnce, "PAY", "HOLD", 1)
	for _, story := range []struct {
		name, data string
		outcome    store.CallOutcome
		then       func(invoice, payment string)
		want       string
	}{
		{"paid", payOnce, store.Approved, nil, "FINISHED/FINISHED"},
		{"declined", payOnce, store.Declined, nil, "CANCELED/REJECTED"},
		{"unknown", payOnce, store.Unknown, nil, "NEW/PENDING"},
		{"to be confirmed", payOnce, store.NeedsConfirmation, nil, "NEW/NEEDS_CONFIRMATION"},
		{"confirmed", payOnce, store.NeedsConfirmation, func(i, p string) {
			m.settle(m.command("confirm", i, p, `,"code":"1234","key":"k"`, ``), store.Approved)
		}, "FINISHED/FINISHED"},
		{"held", hold, store.Approved, nil, "PAID/HOLDED"},
		{"completed", hold, store.Approved, func(i, p string) { m.settle(m.command("complete", i, p, ``, ``), store.Approved) }, "FINISHED/FINISHED"},
		{"let go", hold, store.Approved, func(i, p string) { m.settle(m.command("cancel", i, p, ``, ``), store.Approved) }, "CANCELED/CANCELED"},
		{"given back", payOnce, store.Approved, func(i, p string) { m.settle(m.command("reverse", i, p, ``, ``), store.Approved) }, "REVERSED/REVERSED"},
		{"given back in part", payOnce, store.Approved, func(i, p string) { m.settle(m.command("reverse", i, p, ``, `"amount":1`), store.Approved) }, "FINISHED/FINISHED"},
	} {
		invoice := m.issue(`"systemType":"ECOM"`, story.data)
		payment := m.pay(invoice, story.outcome)
		if story.then != nil {
			story.then(invoice, payment)
		}
		if got := m.states(invoice, payment); got != story.want {
			t.Errorf("%s: the payment is %s, want %s", story.name, got, story.want)
		}
	}
	m.CheckInvariants()
}

func TestAPaymentFollowsWhatWasCompletedAndGivenBack(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	invoice := m.issue(`"systemType":"ECOM"`, strings.Replace(payOnce, "PAY", "HOLD", 1))
	payment := m.pay(invoice, store.Approved)
	shown := func(what string, amount, commission, reversed int64) {
		t.Helper()
		var p shownPayment
		m.ask("invoicer/payments/show", `"paymentId":"`+payment+`"`, ``).read(t, &p)
		if p.Amount != amount || p.Commission != commission || p.ReversedAmount != reversed {
			t.Errorf("%s: %d + %d, reversed %d; want %d + %d, %d", what, p.Amount, p.Commission, p.ReversedAmount, amount, commission, reversed)
		}
	}
	shown("held", 10000, 300, 0)
	m.settle(m.command("complete", invoice, payment, `,"amount":5000`, ``), store.Approved)
	shown("completed", 5000, 200, 0)
	m.settle(m.command("reverse", invoice, payment, ``, `"amount":2000`), store.Approved)
	shown("given back in part", 5000, 200, 2000)
	if got := m.command("reverse", invoice, payment, ``, `"amount":3001`).outcome(); got != `FORMAT_ERROR {"data":{"amount":"RANGE"}}` {
		t.Errorf("more than is left: %s", got)
	}
	m.settle(m.command("reverse", invoice, payment, ``, ``), store.Approved)
	shown("given back", 5000, 200, 5000)
	m.CheckInvariants()
}

func TestWhatAPaymentIsRefusedFor(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	card := m.newCard()
	pay := func(invoice, data string) said {
		return m.ask("invoicer/payments/create", ``, `"invoiceId":"`+invoice+`","cardFrom":{"id":"`+card+`","securityCode":"530"}`+data)
	}
	open := m.issue(`"systemType":"ECOM"`, `"externalId":"1","type":"PAY","description":"d"`)
	fixed := m.issue(`"systemType":"ECOM"`, payOnce)
	paid := m.issue(`"systemType":"ECOM"`, payOnce)
	m.pay(paid, store.Approved)
	held := m.issue(`"systemType":"ECOM"`, strings.Replace(payOnce, "PAY", "HOLD", 1))
	heldBy := m.pay(held, store.Approved)
	busy := m.issue(`"systemType":"ECOM"`, payOnce)
	m.pay(busy, store.Unknown)
	late := m.issue(`"systemType":"ECOM"`, payOnce+`,"payExpiresAt":"2021-07-28 15:00:00"`)
	own := m.issue(`"systemType":"P2P"`, payOnce+`,"cardTo":{"id":"`+card+`"}`)
	other := store.NewPaymentID().String()
	for _, story := range []struct {
		name string
		said said
		want string
	}{
		{"no amount where it is open", pay(open, ``), `FORMAT_ERROR {"data":{"amount":"REQUIRED"}}`},
		{"another amount than the invoice's", pay(fixed, `,"amount":9999`), `FORMAT_ERROR {"data":{"amount":"MISMATCH"}}`},
		{"it is paid", pay(paid, ``), "INVOICE_PAID"},
		{"it is held", pay(held, ``), "INVOICE_PAID"},
		{"it is being paid", pay(busy, ``), "PAYMENT_IN_PROGRESS"},
		{"its time is over", pay(late, ``), "INVOICE_INACTIVE"},
		{"it is for this very card", pay(own, ``), "SAME_CARD"},
		{"nobody's invoice", pay(other, ``), "INVOICE_NOT_FOUND"},
		{"nobody's card", m.ask("invoicer/payments/create", ``, `"invoiceId":"`+fixed+`","cardFrom":{"id":"`+other+`","securityCode":"530"}`), "CARD_NOT_FOUND"},
		{"nobody's card to pay to", m.ask("invoicer/invoices/create", `"systemType":"P2P"`, payOnce+`,"cardTo":{"id":"`+other+`"}`), "CARD_NOT_FOUND"},
		{"a subscription that is over", m.ask("invoicer/invoices/create", `"systemType":"ECOM"`, strings.Replace(payOnce, "PAY", "SUBSCRIBE", 1)+`,"recurringInterval":30,"expiresAt":1539345600000`), `FORMAT_ERROR {"data":{"expiresAt":"RANGE"}}`},
		{"confirm what is held", m.command("confirm", held, heldBy, `,"code":"1"`, ``), "WRONG_STATUS"},
		{"reverse what is held", m.command("reverse", held, heldBy, ``, ``), "WRONG_STATUS"},
		{"complete more than is held", m.command("complete", held, heldBy, `,"amount":10001`, ``), `FORMAT_ERROR {"params":{"amount":"RANGE"}}`},
		{"complete by another invoice", m.command("complete", fixed, heldBy, ``, ``), "PAYMENT_NOT_FOUND"},
		{"complete nobody's payment", m.command("complete", held, other, ``, ``), "PAYMENT_NOT_FOUND"},
		{"complete", m.command("complete", held, heldBy, ``, ``), "done"},
		{"complete again meanwhile", m.command("complete", held, heldBy, ``, ``), "COMMAND_IN_PROGRESS"},
		{"update what is no subscription", m.ask("invoicer/subscriptions/update", `"invoiceId":"`+fixed+`"`, `"interval":1`), "NOT_A_SUBSCRIPTION"},
	} {
		if got := story.said.outcome(); got != story.want || story.said.http != 200 {
			t.Errorf("%s: answered %d %s, want %s", story.name, story.said.http, got, story.want)
		}
	}
	m.CheckInvariants()
}

func TestAnotherShopSeesNothing(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	invoice := m.issue(`"systemType":"ECOM"`, payOnce)
	payment, card := m.pay(invoice, store.Approved), m.newCard()
	m.session = string(m.Session(m.Shop()))
	for name, asked := range map[string]struct {
		said said
		want string
	}{
		"show":           {m.ask("invoicer/invoices/show", `"id":"`+invoice+`"`, ``), "INVOICE_NOT_FOUND"},
		"showCommission": {m.ask("invoicer/payments/showCommission", `"invoiceId":"`+invoice+`"`, `"amount":1`), "INVOICE_NOT_FOUND"},
		"update":         {m.ask("invoicer/subscriptions/update", `"invoiceId":"`+invoice+`"`, `"interval":1`), "INVOICE_NOT_FOUND"},
		"payment":        {m.ask("invoicer/payments/show", `"paymentId":"`+payment+`"`, ``), "PAYMENT_NOT_FOUND"},
		"checkStatus":    {m.command("checkStatus", invoice, payment, ``, ``), "PAYMENT_NOT_FOUND"},
		"reverse":        {m.command("reverse", invoice, payment, ``, ``), "PAYMENT_NOT_FOUND"},
		"create":         {m.ask("invoicer/payments/create", ``, `"invoiceId":"`+invoice+`","cardFrom":{"id":"`+card+`","securityCode":"530"}`), "CARD_NOT_FOUND"},
	} {
		if got := asked.said.outcome(); got != asked.want {
			t.Errorf("%s: %s, want %s", name, got, asked.want)
		}
	}
	var list struct{ Invoices []any }
	m.ask("invoicer/invoices/show/list", `"ids":["`+invoice+`"],"externalIds":["1"]`, ``).read(t, &list)
	if len(list.Invoices) != 0 {
		t.Errorf("the list has %v", list.Invoices)
	}
}

func TestInvoicesAreListed(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	first := m.issue(`"systemType":"ECOM"`, payOnce)
	second := m.issue(`"systemType":"BILLER"`, strings.Replace(payOnce, `"externalId":"1"`, `"externalId":"2"`, 1))
	again := m.issue(`"systemType":"ECOM"`, payOnce)
	for _, story := range []struct {
		params string
		want   []string
	}{
		{`"ids":["` + second + `","` + first + `"]`, []string{second, first}},
		{`"externalIds":["1"]`, []string{again, first}},
		{`"externalIds":["2"],"ids":["` + first + `","` + second + `"]`, []string{second, first}},
		{`"externalIds":["nobody's"]`, nil},
	} {
		var list struct{ Invoices []struct{ ID string } }
		m.ask("invoicer/invoices/show/list", story.params, ``).read(t, &list)
		var got []string
		for _, i := range list.Invoices {
			got = append(got, i.ID)
		}
		if diff := cmp.Diff(story.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.params, diff)
		}
	}
}

// What is at the edge of what is accepted can be stored, and is shown as it was sent.
func TestTheLargestInvoiceIsStored(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	wide := func(n int) string { return strings.Repeat("\U0001F4B3", n) }
	service := `{"serviceId":9007199254740992,"destination":"` + wide(1000) + `","amount":10000000000}`
	extra := `{"":{"a":` + strings.Repeat("[", 15) + `1e308,-1E-308,"` + wide(10) + `\\u0007"` + strings.Repeat("]", 15) + `}}`
	invoice := m.issue(`"systemType":"ECOM"`, `"externalId":"`+wide(255)+`","type":"HOLD","description":"`+wide(1000)+`","payExpiresAt":"9999-12-31 23:59:59",
		"redirectUrl":"https://uapay.ua/`+wide(1983)+`","extraInfo":`+extra+`,"services":[`+service+strings.Repeat(","+service, 99)+`]`)
	var shown shownInvoice
	m.ask("invoicer/invoices/show", `"id":"`+invoice+`"`, ``).read(t, &shown)
	if *shown.Amount != 1_000_000_000_000 || shown.ExternalID != wide(255) || shown.Description != wide(1000) || len(shown.ServiceData) != 100 ||
		shown.ServiceData[99].Destination != wide(1000) || shown.PayExpiresAt != "9999-12-31 23:59:59" || len(shown.ExtraInfo) != 2 {
		t.Errorf("it is shown as %.1000v", shown)
	}
	subscription := m.issue(`"systemType":"ECOM"`, `"externalId":"1","type":"SUBSCRIBE","description":"d","amount":1000000000000,"recurringInterval":366,"expiresAt":253402300799999`)
	m.ask("invoicer/invoices/show", `"id":"`+subscription+`"`, ``).read(t, &shown)
	if shown.RecurringData.EndSubscribeDate != "10000-01-01" { // in Kyiv
		t.Errorf("the subscription ends on %q", shown.RecurringData.EndSubscribeDate)
	}
	m.CheckInvariants()
}

func TestASessionIsGoodUntilItsShopIsDisabled(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	invoice := m.issue(`"systemType":"ECOM"`, payOnce)
	opened := m.post("sessions/create", fmt.Sprintf(`{"params":{"clientId":"%d"}}`, m.shop.Number))
	if opened.ID == "" || opened.ID != opened.id(t) {
		t.Fatalf("opened %q, %s", opened.ID, opened.Data)
	}
	m.session = opened.ID
	show := func() string { return m.ask("invoicer/invoices/show", `"id":"`+invoice+`"`, ``).outcome() }
	if got := show(); got != "done" {
		t.Errorf("with a new session: %s", got)
	}
	if err := m.SetClientDisabled(t.Context(), fmt.Sprint(m.shop.Number), true); err != nil {
		t.Fatal(err)
	}
	const unknown = `NOT_ALLOWED {"params":{"sessionId":"NOT_FOUND"}}`
	if got := show(); got != unknown {
		t.Errorf("the shop is disabled: %s", got)
	}
	if got := m.post("sessions/create", fmt.Sprintf(`{"params":{"clientId":"%d"}}`, m.shop.Number)).outcome(); got != `NOT_ALLOWED {"params":{"clientId":"NOT_FOUND"}}` {
		t.Errorf("a new session of a disabled shop: %s", got)
	}
	if err := m.SetClientDisabled(t.Context(), fmt.Sprint(m.shop.Number), false); err != nil {
		t.Fatal(err)
	}
	if got := show(); got != unknown {
		t.Errorf("the shop is back, its old session: %s", got)
	}
}

func TestARepeatIsDoneOnce(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	sign := func(params, data string) string {
		return formBAt(t, time.Now(), `{"sessionId":"`+m.session+`",`+params+`}`, `{`+data+`}`, "shop-secret")
	}
	first := m.ask("invoicer/invoices/create", `"systemType":"ECOM"`, payOnce, "Idempotency-Key", "k")
	again := m.ask("invoicer/invoices/create", `"systemType":"ECOM"`, payOnce, "Idempotency-Key", "k")
	if first.id(t) != again.id(t) || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("first %s, then %s, %v", first.Data, again.Data, again.header)
	}
	signed := m.post("invoicer/invoices/create", sign(`"systemType":"ECOM"`, payOnce), "Idempotency-Key", "k")
	if !strings.Contains(string(signed.Data), `{"token":"`) || signed.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("signed, the same is answered %s, %v", signed.Data, signed.header)
	}
	for name, other := range map[string]said{
		"other data":   m.ask("invoicer/invoices/create", `"systemType":"ECOM"`, payOnce+`,"email":"a@b.test"`, "Idempotency-Key", "k"),
		"other params": m.ask("invoicer/invoices/create", `"systemType":"BILLER"`, payOnce, "Idempotency-Key", "k"),
		"another call": m.ask("cards/create", ``, `"pan":"4111111111111111","expiresAt":"2099-12"`, "Idempotency-Key", "k"),
	} {
		if other.http != 422 || other.outcome() != "IDEMPOTENCY_KEY_REUSED" {
			t.Errorf("%s: %d %s", name, other.http, other.outcome())
		}
	}
	payment := m.pay(first.id(t), store.Approved)
	command := func() said {
		return m.ask("invoicer/payments/reverse", `"invoiceId":"`+first.id(t)+`","paymentId":"`+payment+`"`, `"amount":1`, "Idempotency-Key", "r", "Prefer", "wait=0")
	}
	one, two := command(), command()
	if one.header.Get("Operation-Id") == "" || one.header.Get("Operation-Id") != two.header.Get("Operation-Id") || one.id(t) != two.id(t) {
		t.Errorf("first %v, then %v", one.header, two.header)
	}
	if n := m.Count("SELECT count(*) FROM operations WHERE type = 'payment.reverse'"); n != 1 {
		t.Errorf("%d reversals, want 1", n)
	}
	m.CheckInvariants()
}

// Who sends a card again while the acquirer is at work on it waits; once it is done, he is
// answered as at first, even with another card; where it could not be done, he need not wait.
func TestACardIsTokenisedByOneAtATime(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	m.tokens.asked, m.tokens.let = make(chan store.IntentID), make(chan error)
	create := func(pan string) said {
		return m.ask("cards/create", ``, `"pan":"`+pan+`","expiresAt":"2099-12"`, "Idempotency-Key", "k")
	}
	begin := func() chan said {
		done := make(chan said, 1)
		go func() { done <- create("4111111111111111") }()
		<-m.tokens.asked
		return done
	}

	first := begin()
	if a := create("4111111111111111"); a.http != 409 || a.outcome() != "IDEMPOTENCY_KEY_IN_PROGRESS" || a.header.Get("Retry-After") == "" {
		t.Errorf("meanwhile: %d %s", a.http, a.outcome())
	}
	if a := m.ask("cards/create", ``, `"pan":"4111111111111111","expiresAt":"2098-12"`, "Idempotency-Key", "k"); a.http != 422 {
		t.Errorf("another request meanwhile: %d %s", a.http, a.outcome())
	}
	m.tokens.let <- store.ErrUnavailable
	if a := <-first; a.http != 503 || a.outcome() != "UNAVAILABLE" {
		t.Errorf("the acquirer is away: %d %s", a.http, a.outcome())
	}
	second := begin()
	m.tokens.let <- api.ErrCardRefused
	if a := <-second; a.outcome() != "CARD_REFUSED" {
		t.Errorf("no such card: %s", a.outcome())
	}
	third := begin()
	m.tokens.let <- nil
	card := (<-third).id(t)
	if a := create("5555555555554444"); a.id(t) != card || a.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("another card under the same key: %s, want %s", a.Data, card)
	}
	if n := m.Count("SELECT count(*) FROM cards"); n != 1 {
		t.Errorf("%d cards, want 1", n)
	}
	if n := m.Count("SELECT count(*) FROM idempotency_leases"); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	m.CheckInvariants()
}

// A process that dies between the token and the commit leaves its lease. Whoever comes after
// it goes on under the same intent.
func TestALeaseThatWasLeftIsTakenOver(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	invoice, card := m.issue(`"systemType":"ECOM"`, payOnce), m.newCard()
	pay := func() said {
		return m.ask("invoicer/payments/create", ``, `"invoiceId":"`+invoice+`","cardFrom":{"id":"`+card+`","securityCode":"530"}`, "Idempotency-Key", "k")
	}
	m.Exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'`)
	m.Exec("CREATE TRIGGER refuse BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION refuse()")
	m.Exec("CREATE TRIGGER refuse BEFORE DELETE ON idempotency_leases FOR EACH ROW EXECUTE FUNCTION refuse()")
	if a := pay(); a.http != 500 {
		t.Fatalf("answered %d %s", a.http, a.outcome())
	}
	m.Exec("DROP TRIGGER refuse ON payments")
	m.Exec("DROP TRIGGER refuse ON idempotency_leases")
	if a := pay(); a.http != 409 {
		t.Errorf("before the lease is over: %d %s", a.http, a.outcome())
	}
	m.Exec("UPDATE idempotency_leases SET leased_until = now() - interval '1 second'")
	first := pay()
	if again := pay(); first.id(t) != again.id(t) {
		t.Errorf("paid as %s and as %s", first.Data, again.Data)
	}
	intents := m.tokens.intents[1:] // after the card's own
	if len(intents) != 2 || intents[0] != intents[1] {
		t.Errorf("tokenised under %v, want twice under one", intents)
	}
	if n := m.Count("SELECT count(*) FROM payments"); n != 1 {
		t.Errorf("%d payments, want 1", n)
	}
	m.CheckInvariants()
}

// An answer that was lost on its way from the database is given to whoever asks again.
func TestACommandIsKeptWhateverItsAnswer(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]storetest.Cut{"failed and not done": storetest.CommitNotDone, "failed but done": storetest.CommitDone} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMarket(t)
			invoice, card := m.issue(`"systemType":"ECOM"`, payOnce), m.newCard()
			faults := storetest.NewFaults(t, m.URL)
			m.serve(storetest.Open(t, faults.URL))
			pay := func() said {
				return m.ask("invoicer/payments/create", ``, `"invoiceId":"`+invoice+`","cardFrom":{"id":"`+card+`","securityCode":"530"}`, "Idempotency-Key", "k")
			}
			m.tokens.asked, m.tokens.let = make(chan store.IntentID), make(chan error)
			done := make(chan said, 1)
			go func() { done <- pay() }()
			<-m.tokens.asked
			faults.CutNextCommit(cut)
			m.tokens.let <- nil
			if a := <-done; a.http != 503 {
				t.Errorf("answered %d %s", a.http, a.outcome())
			}
			m.tokens.asked = nil
			m.serve(m.Elsewhere().Store)
			if a := pay(); a.http != 200 || a.id(t) == "" || a.header.Get("Operation-Id") == "" {
				t.Errorf("asked again: %d %s", a.http, a.outcome())
			}
			if n := m.Count("SELECT count(*) FROM payments"); n != 1 {
				t.Errorf("%d payments, want 1", n)
			}
			m.CheckInvariants()
		})
	}
}

func TestASubscriptionIsShownAsItGoesOn(t *testing.T) {
	t.Parallel()
	m := newMarket(t)
	invoice := m.issue(`"systemType":"ECOM"`, strings.Replace(payOnce, "PAY", "SUBSCRIBE", 1)+`,"recurringInterval":30,"expiresAt":1900000000000`)
	recurring := func() (shown shownInvoice) {
		t.Helper()
		m.ask("invoicer/invoices/show", `"id":"`+invoice+`"`, ``).read(t, &shown)
		return shown
	}
	if got := recurring(); got.RecurringData != (shownRecurringData{EndSubscribeDate: "2030-03-17"}) || got.InvoiceStatus != "ACTIVE" {
		t.Errorf("before the first payment: %s, %+v", got.InvoiceStatus, got.RecurringData)
	}
	m.pay(invoice, store.Approved)
	paid, err := time.ParseInLocation(time.DateTime, recurring().RecurringData.PrevPaymentDate, kyiv)
	if err != nil || time.Since(paid) > time.Minute || recurring().RecurringData.NextPaymentDate != paid.Add(30*24*time.Hour).Format(time.DateOnly) {
		t.Errorf("after the first payment: %+v, %v", recurring().RecurringData, err)
	}
	var changed shownSubscription
	m.ask("invoicer/subscriptions/update", `"invoiceId":"`+invoice+`"`, `"interval":7,"expiresAt":1910000000123`).read(t, &changed)
	planned, err := time.Parse(time.RFC3339, changed.PlannedPaidAt)
	if err != nil || changed.Interval != 7 || changed.ExpiresAt != "2030-07-11T11:33:20.123Z" || changed.Status != "ACTIVE" || changed.Amount != 10000 || changed.Commission != 300 ||
		planned.In(kyiv).Format(time.DateOnly) != paid.Add(7*24*time.Hour).Format(time.DateOnly) {
		t.Errorf("changed to %+v, %v", changed, err)
	}
	if got := m.ask("invoicer/subscriptions/update", `"id":"`+invoice+`"`, `"expiresAt":1500000000000`).outcome(); got != `FORMAT_ERROR {"data":{"expiresAt":"RANGE"}}` {
		t.Errorf("an end in the past: %s", got)
	}
	m.Ahead(20 * 365 * 24 * time.Hour)
	if got := recurring(); got.InvoiceStatus != "INACTIVE" || got.RecurringData.NextPaymentDate != "" {
		t.Errorf("after its end: %s, %+v", got.InvoiceStatus, got.RecurringData)
	}
	if got := m.ask("invoicer/subscriptions/update", `"id":"`+invoice+`"`, `"interval":1`).outcome(); got != "SUBSCRIPTION_ENDED" {
		t.Errorf("a change after its end: %s", got)
	}
	m.CheckInvariants()
}
