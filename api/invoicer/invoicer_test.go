package invoicer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// theBooks answer every call with err, or as if all went well, and remember what they were
// asked to do.
type theBooks struct {
	err     error
	shop    store.Shop
	invoice store.ShopInvoice
	payment store.CardPayment
	card    store.Card
	lease   error // of LeaseKey
	asked   []any
	leases  []string
}

func (b *theBooks) note(asked any) error {
	b.asked = append(b.asked, asked)
	return b.err
}

func (b *theBooks) Shop(_ context.Context, number int64) (store.Shop, error) {
	if number != b.shop.Number {
		return store.Shop{}, store.ErrClientNotFound
	}
	return b.shop, nil
}

func (b *theBooks) ShopOfSession(_ context.Context, session store.ClientSession) (store.Shop, error) {
	if session != theSession {
		return store.Shop{}, store.ErrClientSessionNotFound
	}
	return b.shop, nil
}

func (b *theBooks) OpenClientSession(_ context.Context, client int64, session store.ClientSession, once store.Once) error {
	return b.note(openedSession{client, session, once})
}

type openedSession struct {
	client  int64
	session store.ClientSession
	once    store.Once
}

func (b *theBooks) IssueShopInvoice(_ context.Context, n store.NewShopInvoice, once store.Once) error {
	return b.note(issued{n, once})
}

type issued struct {
	store.NewShopInvoice
	once store.Once
}

func (b *theBooks) ShopInvoice(_ context.Context, number store.InvoiceNumber) (store.ShopInvoice, error) {
	if b.err == nil && number != b.invoice.ID {
		return store.ShopInvoice{}, store.ErrInvoiceNotFound
	}
	return b.invoice, b.err
}

func (b *theBooks) ShopInvoices(_ context.Context, client int64, ids []store.InvoiceNumber, externalIDs []string) ([]store.ShopInvoice, error) {
	return []store.ShopInvoice{b.invoice}, b.note(askedFor{client, ids, externalIDs})
}

type askedFor struct {
	Client      int64
	IDs         []store.InvoiceNumber
	ExternalIDs []string
}

func (b *theBooks) UpdateSubscription(_ context.Context, change store.SubscriptionChange) (store.Answer, error) {
	if err := b.note(change); err != nil {
		return store.Answer{}, err
	}
	return change.Answer(b.invoice), nil
}

func (b *theBooks) CardPayment(_ context.Context, client int64, payment store.PaymentID) (store.CardPayment, error) {
	if b.err == nil && (client != b.payment.Client || payment != b.payment.ID) {
		return store.CardPayment{}, store.ErrPaymentNotFound
	}
	return b.payment, b.err
}

func (b *theBooks) CreateCardPayment(_ context.Context, n store.NewCardPayment) (store.OperationID, error) {
	return anOperation, b.note(n)
}

func (b *theBooks) AcceptPaymentCommand(_ context.Context, c store.PaymentCommand) (store.OperationID, error) {
	return anOperation, b.note(c)
}

func (b *theBooks) InquireNow(_ context.Context, intent store.IntentID) error { return b.note(intent) }

func (b *theBooks) LeaseKey(_ context.Context, once store.Once, _ store.IntentID) (store.IntentID, error) {
	b.leases = append(b.leases, "lease "+once.Key)
	return anIntent, b.lease
}

func (b *theBooks) ReleaseKey(ctx context.Context, once store.Once) error {
	b.leases = append(b.leases, "release "+once.Key)
	return ctx.Err()
}

func (b *theBooks) AddCard(_ context.Context, n store.NewCard, once store.Once) error {
	return b.note(added{n, once})
}

type added struct {
	store.NewCard
	once store.Once
}

func (b *theBooks) CardToken(_ context.Context, client int64, card store.CardID) (store.Card, string, error) {
	if client != b.shop.Client || card != b.card.ID {
		return store.Card{}, "", store.ErrCardNotFound
	}
	return b.card, "saved token", nil
}

// theTokens is an acquirer's.
type theTokens struct {
	err   error
	id    store.IntentID
	asked []api.CardDetails
}

func (a *theTokens) Tokenise(_ context.Context, intent store.IntentID, details api.CardDetails) (store.Card, string, error) {
	a.id, a.asked = intent, append(a.asked, details)
	return store.Card{Mask: "4111111111", Expiry: "2031-12", Brand: "visa"}, "fresh token", a.err
}

// ends is a store whose operations have all ended in one way.
type ends store.Operation

func (e ends) Operations(_ context.Context, ids []store.OperationID) ([]store.Operation, error) {
	o := store.Operation(e)
	o.ID = ids[0]
	return []store.Operation{o}, nil
}

const theSession store.ClientSession = "613f7045-03a2-4bbb-8ff8-e2202e71d41f"

var (
	anOperation = store.NewOperationID()
	anIntent    = store.NewIntentID()
	now         = time.Date(2026, 11, 21, 10, 0, 0, 700e6, time.UTC)
)

func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// stall is the API in front of the books of one shop.
type stall struct {
	t       *testing.T
	books   *theBooks
	tokens  *theTokens
	handler http.Handler
	log     bytes.Buffer
}

func newStall(t *testing.T, operation store.Operation) *stall {
	t.Helper()
	paid := moment("2018-11-30T11:45:37Z")
	s := &stall{t: t, tokens: &theTokens{}, books: &theBooks{
		shop: store.Shop{Client: 7, Number: 1, Name: "UAPAY", SigningSecret: "demo-secret", Tariff: store.Tariff{Millipercents: 2000, Fixed: 100}},
		card: store.Card{ID: store.NewCardID(), Mask: "4111111111", Expiry: "2031-12", Brand: "visa"},
		payment: store.CardPayment{
			ID: store.NewPaymentID(), Invoice: store.NewShopInvoiceID(), Number: 2175, ReceiptID: "E76EZFQFK2FE", Client: 7, ClientNumber: 1,
			SystemType: store.ECOM, Type: store.Pay, Amount: money.Amount{Minor: 13500, Currency: 980}, Commission: 564,
			Status: store.StatusFinished, PaymentStatus: store.PaymentFinished, CardFrom: store.Card{ID: store.NewCardID(), Mask: "5269615505"},
			CreatedAt: moment("2018-11-30T11:44:38Z"), UpdatedAt: paid, FinishedAt: &paid,
		},
	}}
	s.books.invoice = store.ShopInvoice{
		ID: s.books.payment.Invoice, Number: 1870, ExternalID: "1500383075", Client: 7, ClientNumber: 1, ClientName: "UAPAY", Tariff: s.books.shop.Tariff,
		SystemType: store.ECOM, Type: store.Pay, Description: "Test payment", Amount: 13500, Active: true,
		CreatedAt: moment("2018-11-30T11:42:39Z"), Payments: []store.CardPayment{s.books.payment},
	}
	waiter := api.NewWaiter(ends(operation), slog.New(slog.DiscardHandler), nil)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = waiter.Run(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	handler, err := api.New(api.Config{Log: slog.New(slog.NewJSONHandler(&s.log, nil)), Metrics: api.NewMetrics()}, New(Config{
		Books: s.books, Tokeniser: s.tokens, Waiter: waiter, SessionLimit: api.NewRateLimit(1e9), PublicURL: "https://pay.test",
		Now: func() time.Time { return now },
	}))
	if err != nil {
		t.Fatal(err)
	}
	s.handler = apitest.Checked(t, handler)
	return s
}

// ask sends a request; headers come in pairs.
func (s *stall) ask(path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/api/"+path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// expect fails unless the answer is this status and body.
func (s *stall) expect(w *httptest.ResponseRecorder, status int, body string) {
	s.t.Helper()
	if diff := cmp.Diff(body, w.Body.String()); w.Code != status || diff != "" {
		s.t.Errorf("answered %d, want %d; -want +got\n%s", w.Code, status, diff)
	}
}

// refusedWith fails unless a request is refused with a code and these fields.
func (s *stall) refusedWith(what string, w *httptest.ResponseRecorder, code, fields string) {
	s.t.Helper()
	var got struct {
		Status *int
		Error  struct {
			Code, Message string
			Fields        json.RawMessage
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Status == nil || got.Error.Message == "" {
		s.t.Fatalf("%s: answered %s", what, w.Body)
	}
	if w.Code != 200 || *got.Status != 0 || got.Error.Code != code || string(got.Error.Fields) != fields {
		s.t.Errorf("%s: answered %d %s, want code %s and fields %s", what, w.Code, w.Body, code, fields)
	}
}

// last is what the books were asked last.
func last[Asked any](s *stall) Asked {
	s.t.Helper()
	if len(s.books.asked) == 0 {
		s.t.Fatal("the books were asked nothing")
	}
	asked, ok := s.books.asked[len(s.books.asked)-1].(Asked)
	if !ok {
		s.t.Fatalf("the books were asked %T", s.books.asked[len(s.books.asked)-1])
	}
	return asked
}

// everyCall is one valid call of each endpoint; its params and data.
func (s *stall) everyCall() map[string][2]string {
	session := `"sessionId":"` + string(theSession) + `"`
	invoice := `"invoiceId":"` + s.books.invoice.ID.String() + `"`
	payment := session + `,` + invoice + `,"paymentId":"` + s.books.payment.ID.String() + `"`
	return map[string][2]string{
		"sessions/create":                  {`{"clientId":"1"}`, `{}`},
		"cards/create":                     {`{` + session + `}`, `{"pan":"4111111111111111","expiresAt":"2031-12"}`},
		"invoicer/invoices/create":         {`{` + session + `,"systemType":"ECOM"}`, `{"externalId":"1","type":"PAY","description":"d","amount":100}`},
		"invoicer/invoices/show":           {`{` + session + `,"id":"` + s.books.invoice.ID.String() + `"}`, `{}`},
		"invoicer/invoices/show/list":      {`{` + session + `,"externalIds":["a","b"]}`, `{}`},
		"invoicer/payments/create":         {`{` + session + `}`, `{` + invoice + `,"cardFrom":{"id":"` + s.books.card.ID.String() + `","securityCode":"530"},"currency":980}`},
		"invoicer/payments/confirm":        {`{` + payment + `,"code":"1234","key":"k"}`, `{}`},
		"invoicer/payments/complete":       {`{` + payment + `,"amount":1200}`, `{}`},
		"invoicer/payments/cancel":         {`{` + payment + `}`, `{}`},
		"invoicer/payments/reverse":        {`{` + payment + `}`, `{"amount":100}`},
		"invoicer/payments/show":           {`{` + payment + `}`, `{}`},
		"invoicer/payments/checkStatus":    {`{` + payment + `}`, `{}`},
		"invoicer/payments/showCommission": {`{` + session + `,` + invoice + `}`, `{"amount":50000}`},
		"invoicer/subscriptions/update":    {`{` + session + `,` + invoice + `}`, `{"interval":2}`},
	}
}

func plain(params, data string) string { return `{"params":` + params + `,"data":` + data + `}` }

// subscribed makes the books' invoice a subscription.
func (s *stall) subscribed() {
	due := moment("2026-12-01T00:30:00+02:00")
	s.books.invoice.Type = store.Subscribe
	s.books.invoice.Subscription = &store.Subscription{Interval: 2, ExpiresAt: moment("2027-05-31T23:30:00Z"), Active: true, DueAt: &due}
}

func TestEveryCallIsAnsweredWithStatus1(t *testing.T) {
	t.Parallel()
	for path, call := range newStall(t, store.Operation{}).everyCall() {
		s := newStall(t, store.Operation{})
		s.subscribed()
		call = s.everyCall()[path]
		w := s.ask(path, plain(call[0], call[1]))
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), `{"status":1,`) || !strings.Contains(w.Body.String(), `"data":{`) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestWhatTheBooksRefuse(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		err    error
		status int
		code   string
		fields string
	}{
		{store.ErrInvoiceNotFound, 200, "INVOICE_NOT_FOUND", ""},
		{store.ErrInvoiceInactive, 200, "INVOICE_INACTIVE", ""},
		{store.ErrInvoicePaid, 200, "INVOICE_PAID", ""},
		{store.ErrInThePast, 200, "FORMAT_ERROR", `{"data":{"expiresAt":"RANGE"}}`},
		{store.ErrNotASubscription, 200, "NOT_A_SUBSCRIPTION", ""},
		{store.ErrSubscriptionEnded, 200, "SUBSCRIPTION_ENDED", ""},
		{store.ErrPaymentNotFound, 200, "PAYMENT_NOT_FOUND", ""},
		{store.ErrPaymentInProgress, 200, "PAYMENT_IN_PROGRESS", ""},
		{store.ErrStepInProgress, 200, "COMMAND_IN_PROGRESS", ""},
		{store.ErrPaymentState, 200, "WRONG_STATUS", ""},
		{store.ErrAmountNeeded, 200, "FORMAT_ERROR", `{"data":{"amount":"REQUIRED"}}`},
		{store.ErrAmountNotOpen, 200, "FORMAT_ERROR", `{"data":{"amount":"MISMATCH"}}`},
		{store.ErrServicesSum, 200, "FORMAT_ERROR", `{"data":{"amount":"MISMATCH"}}`},
		{store.ErrAmountTooLarge, 200, "FORMAT_ERROR", `{"data":{"amount":"RANGE"}}`},
		{store.ErrBeyondHeld, 200, "FORMAT_ERROR", `{"params":{"amount":"RANGE"}}`},
		{store.ErrBeyondLeft, 200, "FORMAT_ERROR", `{"data":{"amount":"RANGE"}}`},
		{store.ErrCardNotFound, 200, "CARD_NOT_FOUND", ""},
		{store.ErrCardExpired, 200, "CARD_EXPIRED", ""},
		{store.ErrPaysOwnCard, 200, "SAME_CARD", ""},
		{api.ErrCardRefused, 200, "CARD_REFUSED", ""},
		{store.ErrKeyReused, 422, "IDEMPOTENCY_KEY_REUSED", ""},
		{store.ErrKeyInProgress, 409, "IDEMPOTENCY_KEY_IN_PROGRESS", ""},
		{store.ErrUnavailable, 503, "UNAVAILABLE", ""},
		{errors.New("secret"), 500, "INTERNAL", ""},
	} {
		for path := range newStall(t, store.Operation{}).everyCall() {
			if ofKey := story.status == 409 || story.status == 422; ofKey && (strings.Contains(path, "/show") || strings.HasSuffix(path, "/checkStatus")) {
				continue // who only asks has no key
			}
			s := newStall(t, store.Operation{})
			s.books.err = story.err
			call := s.everyCall()[path]
			w := s.ask(path, plain(call[0], call[1]))
			if w.Code != story.status {
				t.Errorf("%s, %v: answered %d, want %d", path, story.err, w.Code, story.status)
			}
			w.Code = 200
			s.refusedWith(path, w, story.code, story.fields)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%s tells %s", path, w.Body)
			}
			if (story.status == 503 || story.status == 409) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("%s, %v: Retry-After is %q", path, story.err, w.Header().Get("Retry-After"))
			}
		}
	}
}

func TestWhatIsNoCallIsSaidInTheSameShape(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	for path, code := range map[string]string{"nothing": "NOT_FOUND", "invoicer/invoices": "NOT_FOUND", "invoicer/invoices/create/": "NOT_FOUND"} {
		w := s.ask(path, "{}")
		if w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
		w.Code = 200
		s.refusedWith(path, w, code, "")
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequest("GET", "/api/invoicer/invoices/create", nil))
	s.expect(w, 405, `{"status":0,"error":{"code":"METHOD_NOT_ALLOWED","message":"This address does not take this method."}}`)
}

func TestTheRateOfSessionsIsLimited(t *testing.T) {
	t.Parallel()
	handler, err := api.New(api.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: api.NewMetrics()},
		New(Config{Books: newStall(t, store.Operation{}).books, SessionLimit: api.NewRateLimit(0.5)}))
	if err != nil {
		t.Fatal(err)
	}
	s := &stall{t: t, handler: apitest.Checked(t, handler)}
	if w := s.ask("sessions/create", `{"params":{"clientId":1}}`); w.Code != 200 {
		t.Errorf("the first: %d", w.Code)
	}
	s.expect(s.ask("sessions/create", `{"params":{"clientId":1}}`), 429,
		`{"status":0,"error":{"code":"TOO_MANY_REQUESTS","message":"Too many requests, try again later!"}}`)
}
