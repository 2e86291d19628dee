package paypage

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

func TestAFormPaysOnce(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	form := p.form(p.page())
	w := p.post(p.page(), form)
	if w.Code != http.StatusSeeOther || len(p.books.created) != 1 {
		t.Fatalf("%d %s, %d payments", w.Code, w.Body, len(p.books.created))
	}
	n := p.books.created[0]
	want := store.NewCardPayment{
		Invoice: p.books.invoice.ID, NewCard: true, Card: store.Card{Mask: "4111111111", Expiry: "2030-12", Brand: "visa"}, Token: n.Token, SavedToken: n.Token,
	}
	if diff := cmp.Diff(want, n, cmpopts.IgnoreFields(store.NewCardPayment{}, "ID", "Intent", "Once", "Card.ID")); diff != "" || n.Card.ID.IsZero() || n.Intent.IsZero() {
		t.Errorf("the payment (-want +got):\n%s", diff)
	}
	if "token "+n.Intent.String() == n.Token {
		t.Error("the authorisation has the intent of the tokenisation")
	}
	if diff := cmp.Diff([]api.CardDetails{{Number: "4111111111111111", Expiry: "2030-12", SecurityCode: "737"}}, p.cards.seen); diff != "" {
		t.Error("the acquirer got another card")
	}
	path := paymentPath(n.Invoice, n.ID)
	if got := w.Header().Get("Location"); got != path {
		t.Errorf("the browser is sent to %s, want %s", got, path)
	}
	if once := p.books.leased[0]; once.Scope != "page "+n.Invoice.String() || len(once.Key) < 20 || string(once.Answer.Body) != path || !cmp.Equal(once, n.Once) {
		t.Errorf("the key is %+v", once)
	}
	if p.cookies[paymentCookie] != n.ID.String() {
		t.Error("the browser does not know its payment")
	}

	p.books.leases = []error{&store.Replay{Answer: store.Answer{Status: 303, Body: []byte(path)}}}
	again := p.post(p.page(), form)
	if again.Code != http.StatusSeeOther || again.Header().Get("Location") != path || len(p.books.created) != 1 || len(p.cards.seen) != 1 {
		t.Errorf("the same form again: %d to %s, %d payments, %d tokens", again.Code, again.Header().Get("Location"), len(p.books.created), len(p.cards.seen))
	}
	if p.books.leased[0].Key != p.books.leased[1].Key {
		t.Error("the same form has two keys")
	}
	if other := p.form(p.page()); other.Get("form") == form.Get("form") {
		t.Error("two forms have one key")
	}
}

func TestAPayerFindsThePaymentAgain(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	path := p.payment(store.StatusNew, store.PaymentOpen, nil)
	p.cookies[paymentCookie] = p.books.invoice.Payments[0].ID.String()
	check(t, p.get(p.page()), 200, []string{"Show your payment", path}, nil)
}

func TestASecondPressWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPayer(t, nil)
		form := p.form(p.page())
		busy := store.ErrKeyInProgress
		p.books.leases = []error{busy, busy, busy, &store.Replay{Answer: store.Answer{Status: 303, Body: []byte("/i/paid")}}}
		if w := p.post(p.page(), form); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/i/paid" {
			t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
		}
		for range 1000 {
			p.books.leases = append(p.books.leases, busy)
		}
		check(t, p.post(p.page(), form), http.StatusAccepted,
			[]string{"Your payment is being made", `<meta http-equiv="refresh" content="3; url=` + p.page() + `">`}, []string{"cc-number"})
		if len(p.books.created) != 0 {
			t.Error("a payment was made")
		}
	})
}

// changed changes a form's nonce by one character.
func changed(f url.Values) {
	first := "A"
	if strings.HasPrefix(f.Get("form"), first) {
		first = "B"
	}
	f.Set("form", first+f.Get("form")[1:])
}

func TestAFormIsCheckedAgain(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name    string
		invoice func(*store.ShopInvoice)
		form    func(url.Values)
		status  int
		says    []string
	}{
		{name: "a digit is wrong", form: set("number", "4111111111111112"), status: 422, says: []string{"not the number of a card", `aria-invalid="true" autofocus`, `role="alert"`}},
		{name: "no number", form: set("number", ""), status: 422, says: []string{"not the number of a card"}},
		{name: "too long a number", form: set("number", "41111111111111111111"), status: 422, says: []string{"not the number of a card"}},
		{name: "letters", form: set("number", "4111 1111 1111 111a"), status: 422, says: []string{"not the number of a card"}},
		{name: "the month before", form: set("expiry", "10/26"), status: 422, says: []string{"This card has expired"}},
		{name: "this month", form: set("expiry", "11/26"), status: 303},
		{name: "as browsers fill it in", form: set("expiry", "11/2026"), status: 303},
		{name: "without a stroke", form: set("expiry", "1126"), status: 303},
		{name: "no such month", form: set("expiry", "13/30"), status: 422, says: []string{"as in 09/28"}},
		{name: "two digits of a code", form: set("code", "73"), status: 422, says: []string{"Enter the 3 digits"}},
		{name: "four digits of a code", form: set("code", "7373"), status: 422, says: []string{"Enter the 3 digits"}},
		{name: "four digits of American Express", form: func(f url.Values) { f.Set("number", "378282246310005"); f.Set("code", "7373") }, status: 303},
		{name: "another total than is shown", form: set("total", "1"), status: 422, says: []string{"The total has changed"}},
		{name: "no form of ours", form: set("form", ""), status: 403, says: []string{"out of date", "Nothing was charged"}},
		{name: "a form that was changed", form: changed, status: 403, says: []string{"out of date"}},
		{name: "a field twice", form: func(f url.Values) { f.Add("number", "4111111111111111") }, status: 400, says: []string{"could not be read", "Back to the invoice"}},
		{name: "too large", form: set("more", strings.Repeat("x", maxForm)), status: 413, says: []string{"could not be read"}},
		{name: "half a character", form: set("number", "\xff"), status: 400, says: []string{"could not be read"}},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, story.invoice)
			form := p.form(p.page())
			story.form(form)
			w := p.post(p.page(), form)
			check(t, w, story.status, story.says, nil)
			if made := len(p.books.created); (made == 1) != (story.status == 303) {
				t.Errorf("%d payments were made", made)
			}
			checkNoCard(t, w, form)
		})
	}
}

func set(name, value string) func(url.Values) { return func(f url.Values) { f.Set(name, value) } }

// checkNoCard checks that an answer repeats nothing of a card.
func checkNoCard(t *testing.T, w *httptest.ResponseRecorder, form url.Values) {
	t.Helper()
	all := w.Body.String()
	for name, values := range w.Header() {
		all += name + strings.Join(values, " ")
	}
	for _, secret := range []string{form.Get("number"), strings.ReplaceAll(form.Get("number"), " ", ""), `value="` + form.Get("code")} {
		if len(secret) > 8 && strings.Contains(all, secret) {
			t.Errorf("the answer repeats %q", secret)
		}
	}
}

func TestAFormOfAnotherPageIsNotTaken(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	form := p.form(p.page())

	stranger := *p
	stranger.cookies = map[string]string{}
	check(t, stranger.post(p.page(), form), 403, []string{"out of date"}, nil)
	stranger.form(p.page())
	check(t, stranger.post(p.page(), form), 403, []string{"out of date"}, nil)

	other := *p
	other.books = &theBooks{invoice: p.books.invoice}
	other.books.invoice.ID = store.NewShopInvoiceID()
	other.serve(1e6)
	check(t, other.post(other.page(), form), 403, []string{"out of date"}, nil)

	wrongKind := httptest.NewRequest(http.MethodPost, p.page(), strings.NewReader(`{"number":"4111111111111111"}`))
	wrongKind.Header.Set("Content-Type", "application/json")
	check(t, p.send(wrongKind), 400, []string{"could not be read"}, nil)
	if n := len(p.books.created) + len(other.books.created); n != 0 {
		t.Errorf("%d payments were made", n)
	}
}

func TestTheBrowsersCookieIsItsOwn(t *testing.T) {
	t.Parallel()
	for public, want := range map[string]string{
		"http://pay.example":  "quittance_page=",
		"https://pay.example": "__Host-quittance_page=",
	} {
		p := newPayer(t, nil)
		p.public = public
		p.serve(1e6)
		cookie := p.get(p.page()).Header().Get("Set-Cookie")
		if !strings.HasPrefix(cookie, want) || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") ||
			strings.Contains(cookie, "Secure") != strings.HasPrefix(public, "https") {
			t.Errorf("%s sets %s", public, cookie)
		}
		if again := p.get(p.page()).Header().Get("Set-Cookie"); again != "" {
			t.Errorf("a browser that has one gets another: %s", again)
		}
	}
}

func TestARefusalIsShownWhereItHelps(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name      string
		lease     error
		tokenise  error
		create    error
		status    int
		says      []string
		keepsKey  bool
		tokenised bool
	}{
		{name: "the acquirer knows no such card", tokenise: api.ErrCardRefused, status: 422, says: []string{"does not know this card", "cc-number"}, tokenised: true},
		{name: "the acquirer is away", tokenise: store.ErrUnavailable, status: 503, says: []string{"not possible at the moment", "Nothing was charged", "Back to the invoice"}, tokenised: true},
		{name: "the acquirer does not take our calls", tokenise: errors.New("wrong key 4111111111111111"), status: 500, says: []string{"went wrong on our side"}, tokenised: true},
		{name: "the database is away", lease: store.ErrUnavailable, status: 503, says: []string{"Nothing was charged"}, keepsKey: true},
		{name: "the form was used for something else", lease: store.ErrKeyReused, status: 422, says: []string{"out of date"}, keepsKey: true},
		{name: "the commit's answer was lost", create: store.ErrUnavailable, status: 503, says: []string{"could not see whether", "Back to the invoice"}, tokenised: true},
		{name: "somebody was faster", create: store.ErrPaymentInProgress, status: 200, says: []string{"is being paid"}, tokenised: true},
		{name: "somebody has paid", create: store.ErrInvoicePaid, status: 200, says: []string{"is paid"}, tokenised: true},
		{name: "its time is over", create: store.ErrInvoiceInactive, status: 410, says: []string{"no longer"}, tokenised: true},
		{name: "the recipient's own card", create: store.ErrPaysOwnCard, status: 422, says: []string{"recipient", "cc-number"}, tokenised: true},
		{name: "the card has just expired", create: store.ErrCardExpired, status: 422, says: []string{"has expired"}, tokenised: true},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, nil)
			form := p.form(p.page())
			p.books.leases, p.cards.err, p.books.err = []error{story.lease}, story.tokenise, story.create
			w := p.post(p.page(), form)
			check(t, w, story.status, story.says, []string{"wrong key"})
			checkNoCard(t, w, form)
			if (len(p.cards.seen) == 1) != story.tokenised || (p.books.released == 0) != story.keepsKey {
				t.Errorf("%d tokens, %d keys given up", len(p.cards.seen), p.books.released)
			}
		})
	}
}

func TestWhatCannotBePaidIsNotTokenised(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	form := p.form(p.page())
	p.payment(store.StatusFinished, store.PaymentFinished, nil)
	check(t, p.post(p.page(), form), 200, []string{"This invoice is paid"}, nil)
	if len(p.cards.seen) != 0 || p.books.released != 1 {
		t.Errorf("%d tokens, %d keys given up", len(p.cards.seen), p.books.released)
	}
}

func TestAnOpenAmountIsChosenFirst(t *testing.T) {
	t.Parallel()
	open := func(i *store.ShopInvoice) { i.Amount = 0 }
	for typed, want := range map[string]int64{"150": 15000, "150,5": 15050, "150.55": 15055, "1 234,50": 123450, "0,01": 1, "007": 700, "10000000000": 1_000_000_000_000} {
		p := newPayer(t, open)
		form := p.form(p.page() + "?amount=" + url.QueryEscape(typed))
		if w := p.post(p.page(), form); w.Code != http.StatusSeeOther || p.books.created[0].Amount != want {
			t.Errorf("%q: %d, %+v, want %d", typed, w.Code, p.books.created, want)
		}
	}
	for _, typed := range []string{"", "0", "0.00", "-1", "1e3", "1.234", "1,234.50", "abc", "150 грн", "1.", ".5", "10000000000.01", strings.Repeat("9", 30), "0x10", "١٢"} {
		p := newPayer(t, open)
		w := p.get(p.page() + "?amount=" + url.QueryEscape(typed))
		check(t, w, 422, []string{`id="open-amount"`, `aria-invalid="true"`}, []string{"cc-number"})
	}
	p := newPayer(t, open)
	check(t, p.get(p.page()+"?amount=150"), 200, []string{"Pay 154.00 UAH", `name="amount" value="150.00"`, `name="total" value="15400"`, "Change the amount"}, nil)
	form := p.form(p.page() + "?amount=150")
	form.Set("number", "1")
	check(t, p.post(p.page(), form), 422, []string{"Pay 154.00 UAH", "not the number"}, nil)
	form.Set("amount", "151")
	form.Set("number", "4111111111111111")
	check(t, p.post(p.page(), form), 422, []string{"The total has changed", "Pay 155.02 UAH"}, nil)
}

func TestFormsOfOneAddressAreLimited(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	p.serve(1)
	form := p.form(p.page())
	form.Set("number", "1")
	var last *httptest.ResponseRecorder
	for range 3 {
		last = p.post(p.page(), form)
	}
	check(t, last, 429, []string{"Too many tries", "Nothing was charged"}, nil)
	if last.Header().Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	check(t, p.get(p.page()), 200, nil, nil)
}

func FuzzAnyFormIsAnswered(f *testing.F) {
	f.Add("number=4111111111111111&expiry=12%2F30&code=123&amount=1%2C5&total=1")
	f.Add("number=%zz&&&=")
	f.Fuzz(func(t *testing.T, body string) {
		p := newPayer(t, func(i *store.ShopInvoice) { i.Amount = 0 })
		p.get(p.page() + "?amount=1")
		r := httptest.NewRequest(http.MethodPost, p.page(), strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if w := p.send(r); w.Code >= 500 || w.Code < 400 {
			t.Errorf("%q is answered %d", body, w.Code)
		}
	})
}
