package paypage

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// theBooks hold one invoice, and remember what they were asked to do.
type theBooks struct {
	mu       sync.Mutex
	invoice  store.ShopInvoice
	receipt  store.Receipt
	err      error   // of what is asked to be done
	leases   []error // of the calls of LeaseKey to come; then none
	released int
	created  []store.NewCardPayment
	commands []store.PaymentCommand
	leased   []store.Once
}

func (b *theBooks) ShopInvoice(_ context.Context, id store.InvoiceNumber) (store.ShopInvoice, error) {
	if id != b.invoice.ID {
		return store.ShopInvoice{}, store.ErrInvoiceNotFound
	}
	return b.invoice, nil
}

func (b *theBooks) CardPayment(_ context.Context, client int64, id store.PaymentID) (store.CardPayment, error) {
	for _, p := range b.invoice.Payments {
		if p.ID == id && client == 0 {
			return p, nil
		}
	}
	return store.CardPayment{}, store.ErrPaymentNotFound
}

func (b *theBooks) Receipt(_ context.Context, id store.PaymentID) (store.Receipt, error) {
	switch {
	case id != b.receipt.ID:
		return store.Receipt{}, store.ErrPaymentNotFound
	case b.receipt.Status != store.StatusFinished:
		return store.Receipt{}, store.ErrNoReceipt
	}
	return b.receipt, nil
}

func (b *theBooks) LeaseKey(_ context.Context, once store.Once, fresh store.IntentID) (store.IntentID, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leased = append(b.leased, once)
	if len(b.leases) > 0 {
		err := b.leases[0]
		b.leases = b.leases[1:]
		return fresh, err
	}
	return fresh, nil
}

func (b *theBooks) ReleaseKey(context.Context, store.Once) error {
	b.released++
	return nil
}

func (b *theBooks) CreateCardPayment(_ context.Context, n store.NewCardPayment) (store.OperationID, error) {
	b.created = append(b.created, n)
	return store.NewOperationID(), b.err
}

func (b *theBooks) AcceptPaymentCommand(_ context.Context, c store.PaymentCommand) (store.OperationID, error) {
	b.commands = append(b.commands, c)
	return store.NewOperationID(), b.err
}

// Tokenise makes theBooks the acquirer as well.
func (c *theCards) Tokenise(_ context.Context, id store.IntentID, details api.CardDetails) (store.Card, string, error) {
	c.seen = append(c.seen, details)
	return store.Card{Mask: details.Number[:6] + details.Number[12:], Expiry: details.Expiry, Brand: "visa"}, "token " + id.String(), c.err
}

type theCards struct {
	seen []api.CardDetails
	err  error
}

type noWaiting struct{}

func (noWaiting) Wait(context.Context, store.OperationID, time.Duration) (store.Operation, bool) {
	return store.Operation{}, false
}

// payer is a browser without script, in front of the page.
type payer struct {
	t        *testing.T
	books    *theBooks
	cards    *theCards
	handler  http.Handler
	public   string
	cookies  map[string]string
	language string
}

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// newPayer is asked to pay an invoice of 500.00, and 11.00 on top; change makes it another.
func newPayer(t *testing.T, change func(*store.ShopInvoice)) *payer {
	t.Helper()
	in := store.ShopInvoice{
		ID: store.NewShopInvoiceID(), Number: 1870, Client: 7, ClientName: "A <shop>", Tariff: store.Tariff{Millipercents: 2000, Fixed: 100},
		SystemType: store.ECOM, Type: store.Pay, Description: "three <books>", Amount: 50000, Active: true, Now: now,
		RedirectURL: "https://shop.example/back?order=1",
	}
	if change != nil {
		change(&in)
	}
	p := &payer{t: t, books: &theBooks{invoice: in}, cards: &theCards{}, public: "http://pay.example", cookies: map[string]string{}}
	p.serve(1e6)
	return p
}

func (p *payer) serve(rate float64) {
	p.t.Helper()
	admission := api.NewAdmission(func(context.Context) (time.Duration, error) { return 0, nil }, func() bool { return true }, time.Second)
	pages := New(Config{
		Books: p.books, Waiter: noWaiting{}, Admission: admission, Tokeniser: p.cards, Limit: api.NewRateLimit(rate), PublicURL: p.public, Key: [32]byte{1},
		PDF: func(r store.Receipt) ([]byte, error) { return []byte("%PDF " + r.ReceiptID), nil },
		HTML: func(r store.Receipt, language, stylesheet string) ([]byte, error) {
			return []byte(language + " " + stylesheet), nil
		},
	})
	handler, err := api.New(api.Config{CORSOrigins: []string{"*"}, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: api.NewMetrics()}, pages...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.handler = apitest.Checked(p.t, handler)
}

func (p *payer) page() string { return invoicePath(p.books.invoice.ID) }

func (p *payer) send(r *http.Request) *httptest.ResponseRecorder {
	p.t.Helper()
	for name, v := range p.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	if p.language != "" {
		r.Header.Set("Accept-Language", p.language)
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		p.cookies[c.Name] = c.Value
	}
	return w
}

func (p *payer) get(path string) *httptest.ResponseRecorder {
	p.t.Helper()
	return p.send(httptest.NewRequest(http.MethodGet, path, nil))
}

func (p *payer) post(path string, form url.Values) *httptest.ResponseRecorder {
	p.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.send(r)
}

var inputs = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// form is the hidden part of the page's form, and a good card.
func (p *payer) form(path string) url.Values {
	p.t.Helper()
	form := url.Values{"number": {"4111 1111 1111 1111"}, "expiry": {"12/30"}, "code": {"737"}}
	w := p.get(path)
	for _, field := range inputs.FindAllStringSubmatch(w.Body.String(), -1) {
		form.Set(field[1], field[2])
	}
	if form.Get("form") == "" {
		p.t.Fatalf("%s has no form: %d %s", path, w.Code, w.Body)
	}
	return form
}

// payment adds a payment to the invoice and returns the path of its page.
func (p *payer) payment(status, paymentStatus string, change func(*store.CardPayment)) string {
	p.t.Helper()
	one := store.CardPayment{
		ID: store.NewPaymentID(), Invoice: p.books.invoice.ID, Number: 2175, Amount: money.Amount{Minor: 50000, Currency: store.Hryvnia}, Commission: 1100,
		Status: status, PaymentStatus: paymentStatus, CardFrom: store.Card{Mask: "4111111111"}, CreatedAt: now.Add(-time.Minute), UpdatedAt: now,
	}
	if change != nil {
		change(&one)
	}
	p.books.invoice.Payments = append([]store.CardPayment{one}, p.books.invoice.Payments...)
	return paymentPath(one.Invoice, one.ID)
}

// check checks an answer's status and what its page says, and does not say.
func check(t *testing.T, w *httptest.ResponseRecorder, status int, says, hushes []string) {
	t.Helper()
	body := strings.ReplaceAll(w.Body.String(), "\u00a0", " ")
	if w.Code != status {
		t.Errorf("answered %d, want %d: %s", w.Code, status, body)
	}
	for _, want := range says {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q: %s", want, body)
		}
	}
	for _, unwanted := range hushes {
		if strings.Contains(body, unwanted) {
			t.Errorf("the page says %q: %s", unwanted, body)
		}
	}
}
