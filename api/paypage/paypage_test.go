package paypage

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/store"
)

func TestAnInvoicesPageSaysWhereItStands(t *testing.T) {
	t.Parallel()
	later := now.AddDate(0, 0, 30)
	for _, story := range []struct {
		name         string
		invoice      func(*store.ShopInvoice)
		payments     [][2]string // newest last
		status       int
		says, hushes []string
	}{
		{
			name: "to be paid", status: 200,
			says: []string{
				"A &lt;shop&gt;", "Invoice No. 1870", "three &lt;books&gt;", "500.00 UAH", "11.00 UAH", "511.00 UAH", `autocomplete="cc-number"`,
				`autocomplete="cc-exp"`, `autocomplete="cc-csc"`, `inputmode="numeric"`, "Pay 511.00 UAH",
			},
			hushes: []string{"<shop>", "http-equiv", "Back to the shop"},
		},
		{
			name: "of services", status: 200, invoice: func(i *store.ShopInvoice) {
				i.Services = []store.Service{{Destination: "a fee", DestinationName: "Treasury", Amount: 50000, Commission: 34}}
			},
			says: []string{"a fee", "Treasury", "0.34 UAH", "Pay 500.34 UAH"},
		},
		{name: "to be reserved", status: 200, invoice: func(i *store.ShopInvoice) { i.Type = store.Hold }, says: []string{"Reserve 511.00 UAH", "reserved on your card"}},
		{
			name: "a subscription", status: 200, invoice: func(i *store.ShopInvoice) {
				i.Type, i.Subscription = store.Subscribe, &store.Subscription{Interval: 30, ExpiresAt: later, Active: true}
			},
			says: []string{"charged 511.00 UAH; then the same every 30 days until 21 Dec 2026"},
		},
		{
			name: "an open amount", status: 200, invoice: func(i *store.ShopInvoice) { i.Amount = 0 },
			says: []string{"How much", `name="amount"`, `data-millipercents="2000"`, `data-fixed="100"`, "Commission: 2% &#43; 1.00 UAH"}, hushes: []string{"cc-number"},
		},
		{name: "declined before", status: 200, payments: [][2]string{{store.StatusCanceled, store.PaymentRejected}}, says: []string{"Pay 511.00 UAH"}},
		{
			name: "paid by somebody at this moment", status: 200, payments: [][2]string{{store.StatusCanceled, store.PaymentRejected}, {store.StatusNew, store.PaymentOpen}},
			says:   []string{"This invoice is being paid", `<noscript><meta http-equiv="refresh" content="3">`, `data-refresh="3"`},
			hushes: []string{"cc-number", "Show your payment", "4111"},
		},
		{name: "paid", status: 200, payments: [][2]string{{store.StatusFinished, store.PaymentFinished}}, says: []string{"This invoice is paid", "https://shop.example/back?order=1"}, hushes: []string{"Show your payment"}},
		{name: "reserved", status: 200, payments: [][2]string{{store.StatusPaid, store.PaymentHolded}}, says: []string{"This invoice is paid"}},
		{name: "paid and given back", status: 200, payments: [][2]string{{store.StatusReversed, store.PaymentReversed}}, says: []string{"This invoice is paid"}},
		{
			name: "paid, and paid again", status: 200, invoice: func(i *store.ShopInvoice) { i.Reusable = true },
			payments: [][2]string{{store.StatusFinished, store.PaymentFinished}, {store.StatusNew, store.PaymentOpen}}, says: []string{"Pay 511.00 UAH"},
		},
		{name: "too late", status: 410, invoice: func(i *store.ShopInvoice) { i.Active = false }, says: []string{"can no longer be paid", "Back to the shop"}, hushes: []string{"cc-number"}},
		{
			name: "paid, and too late to pay again", status: 200, invoice: func(i *store.ShopInvoice) { i.Active = false },
			payments: [][2]string{{store.StatusFinished, store.PaymentFinished}}, says: []string{"This invoice is paid"},
		},
		{
			name: "a subscription that goes on", status: 200, invoice: func(i *store.ShopInvoice) {
				i.Type, i.Subscription = store.Subscribe, &store.Subscription{Interval: 30, ExpiresAt: later, Active: true, PaidAt: &now, DueAt: &later}
			},
			payments: [][2]string{{store.StatusFinished, store.PaymentFinished}, {store.StatusCanceled, store.PaymentRejected}},
			says:     []string{"This invoice is paid", "Next payment: 21 Dec 2026."},
		},
		{
			name: "a subscription that is over", status: 200, invoice: func(i *store.ShopInvoice) {
				i.Type, i.Active, i.Subscription = store.Subscribe, false, &store.Subscription{Interval: 30, ExpiresAt: now, PaidAt: &now, DueAt: &later}
			},
			says: []string{"This subscription has ended"},
		},
		{
			name: "with ten refused cards", status: 429, payments: tenRefused,
			says: []string{"Too many cards were declined"}, hushes: []string{"cc-number"},
		},
		{name: "with ten refused cards, of many payers", status: 200, invoice: func(i *store.ShopInvoice) { i.Reusable = true }, payments: tenRefused, says: []string{"Pay 511.00 UAH"}},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, story.invoice)
			for _, status := range story.payments {
				p.payment(status[0], status[1], nil)
			}
			check(t, p.get(p.page()), story.status, story.says, story.hushes)
		})
	}
}

var tenRefused = func() (all [][2]string) {
	for range maxRefused {
		all = append(all, [2]string{store.StatusCanceled, store.PaymentRejected})
	}
	return all
}()

func TestCardsAreTakenAgainAnHourAfterTheyWereRefused(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	for range maxRefused {
		p.payment(store.StatusCanceled, store.PaymentRejected, func(one *store.CardPayment) { one.CreatedAt = now.Add(-refusedWithin) })
	}
	check(t, p.get(p.page()), 200, []string{"Pay 511.00 UAH"}, nil)
}

func TestAPaymentsPageSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name                  string
		status, paymentStatus string
		payment               func(*store.CardPayment)
		invoice               func(*store.ShopInvoice)
		says, hushes          []string
	}{
		{
			name: "it is being authorised", status: store.StatusNew, paymentStatus: store.PaymentOpen,
			says: []string{"is being made", `<noscript><meta http-equiv="refresh" content="3">`, `/state"`, `data-state="OPEN"`}, hushes: []string{"Back to the shop"},
		},
		{name: "nobody knows", status: store.StatusNew, paymentStatus: store.PaymentPending, says: []string{"waiting for the bank", "Please do not pay again"}},
		{
			name: "the bank asks", status: store.StatusNew, paymentStatus: store.PaymentNeedsConfirmation,
			payment: func(p *store.CardPayment) {
				p.Confirmation = &store.Confirmation{Type: "3DS", URL: "https://bank.example/3ds?a=1", Form: map[string]string{"PaReq": `"x"`}, Left: 3}
			},
			says: []string{`action="https://bank.example/3ds?a=1"`, `name="PaReq" value="&#34;x&#34;"`, `name="TermUrl" value="http://pay.example/i/`, `/3ds">`, "Cancel the payment"},
		},
		{
			name: "the bank sent a code", status: store.StatusNew, paymentStatus: store.PaymentNeedsConfirmation,
			payment: func(p *store.CardPayment) { p.Confirmation = &store.Confirmation{Type: "LOOKUP", Left: 2} },
			says:    []string{"Enter the code", `autocomplete="one-time-code"`, "Tries left: 2", "Cancel the payment"}, hushes: []string{"not right"},
		},
		{
			name: "the code is being looked at", status: store.StatusNew, paymentStatus: store.PaymentNeedsConfirmation,
			payment: func(p *store.CardPayment) {
				p.Confirmation, p.StepOpen = &store.Confirmation{Type: "LOOKUP", Left: 2}, true
			},
			says: []string{"is being made", `data-state="NEEDS_CONFIRMATION/2/busy"`}, hushes: []string{"one-time-code"},
		},
		{
			name: "a bank's address that is none", status: store.StatusNew, paymentStatus: store.PaymentNeedsConfirmation,
			payment: func(p *store.CardPayment) {
				p.Confirmation = &store.Confirmation{Type: "3DS", URL: "javascript:alert(1)", Left: 3}
			},
			hushes: []string{"javascript:"},
		},
		{name: "reserved", status: store.StatusPaid, paymentStatus: store.PaymentHolded, says: []string{"Reserved", "511.00 UAH is reserved", "Back to the shop"}, hushes: []string{".pdf"}},
		{
			name: "finished", status: store.StatusFinished, paymentStatus: store.PaymentFinished,
			says:   []string{"<h1>Paid</h1>", "4111 11•• •••• 1111", "511.00 UAH", ".pdf", ".html", `href="https://shop.example/back?order=1"`, "2175"},
			hushes: []string{"data-watch", "http-equiv"},
		},
		{
			name: "finished, and the shop named no way back", status: store.StatusFinished, paymentStatus: store.PaymentFinished,
			invoice: func(i *store.ShopInvoice) { i.RedirectURL = "" }, says: []string{"<h1>Paid</h1>"}, hushes: []string{"Back to the shop"},
		},
		{
			name: "finished, and a part given back", status: store.StatusFinished, paymentStatus: store.PaymentFinished,
			payment: func(p *store.CardPayment) { p.Reversed = 12345 }, says: []string{"Returned", "123.45 UAH"},
		},
		{name: "given back", status: store.StatusReversed, paymentStatus: store.PaymentReversed, says: []string{"The money was returned", ".pdf"}},
		{
			name: "declined", status: store.StatusCanceled, paymentStatus: store.PaymentRejected,
			payment: func(p *store.CardPayment) { p.RefusalCode, p.RefusalMessage = "insufficient_funds", "No money." },
			says:    []string{"not enough money", "Nothing was charged", "Try another card"}, hushes: []string{".pdf", "No money."},
		},
		{
			name: "declined for a reason of the bank's own", status: store.StatusCanceled, paymentStatus: store.PaymentRejected,
			payment: func(p *store.CardPayment) { p.RefusalCode, p.RefusalMessage = "fraud", "Call <us>." },
			says:    []string{"Call &lt;us&gt;."},
		},
		{
			name: "declined, and too late for another card", status: store.StatusCanceled, paymentStatus: store.PaymentRejected,
			invoice: func(i *store.ShopInvoice) { i.Active = false }, says: []string{"declined"}, hushes: []string{"Try another card"},
		},
		{
			name: "declined, of an open amount", status: store.StatusCanceled, paymentStatus: store.PaymentRejected,
			invoice: func(i *store.ShopInvoice) { i.Amount = 0 }, says: []string{"?amount=500.00"},
		},
		{name: "canceled", status: store.StatusCanceled, paymentStatus: store.PaymentCanceled, says: []string{"was canceled", "Nothing was charged", "Pay again"}},
		{
			name: "let go", status: store.StatusCanceled, paymentStatus: store.PaymentCanceled,
			payment: func(p *store.CardPayment) { p.PaidAt = &now }, says: []string{"has been let go"},
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := newPayer(t, story.invoice)
			check(t, p.get(p.payment(story.status, story.paymentStatus, story.payment)), 200, story.says, story.hushes)
		})
	}
}

func TestWhatIsNotThereHasAPageThatSaysSo(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	own := p.payment(store.StatusFinished, store.PaymentFinished, nil)
	other := newPayer(t, nil)
	foreign := strings.Replace(own, p.books.invoice.ID.String(), other.books.invoice.ID.String(), 1)
	for name, path := range map[string]string{
		"an invoice that nobody issued": "/i/" + store.NewShopInvoiceID().String(), "what is no invoice's id": "/i/1870", "nothing": "/i/",
		"a payment that nobody made": p.page() + "/payments/" + store.NewPaymentID().String(), "a payment of another invoice": foreign,
		"its state": foreign + "/state", "what is no payment's id": p.page() + "/payments/1", "a file of ours that is none": "/i/-/page.exe",
		"a code of no invoice": "/api/qr/invoicer/" + store.NewShopInvoiceID().String(), "a receipt of no payment": receiptPath(store.NewPaymentID(), ".pdf"),
		"a receipt in no form": "/api/acquiring/receipts/v2/" + store.NewPaymentID().String() + ".doc",
	} {
		w := p.get(path)
		check(t, w, 404, []string{"There is nothing here", "<html lang=\"en\">"}, nil)
		if w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s has no policy", name)
		}
	}
}

func TestAPageIsInTheLanguageThatTheBrowserAsksFor(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"": "en", "en-GB,en;q=0.9": "en", "uk": "uk", "uk-UA,uk;q=0.9,en;q=0.5": "uk", "en;q=0.5,uk;q=0.9": "uk", "ru-RU,ru;q=0.9": "uk",
		"de-DE,de;q=0.9": "en", "de,uk;q=0.5": "uk", "*": "en", "\x7f;;q=": "en", strings.Repeat("uk,", 5000): "",
	} {
		p := newPayer(t, nil)
		p.language = header
		w := p.get(p.page())
		if want != "" && (w.Header().Get("Content-Language") != want || !strings.Contains(w.Body.String(), `<html lang="`+want+`">`)) {
			t.Errorf("for %q the page is in %s, want %s", header, w.Header().Get("Content-Language"), want)
		}
		if w.Code != http.StatusOK || !strings.Contains(strings.Join(w.Header().Values("Vary"), ","), "Accept-Language") {
			t.Errorf("for %.40q: %d, Vary %q", header, w.Code, w.Header().Values("Vary"))
		}
	}
	p := newPayer(t, nil)
	p.language = "uk"
	check(t, p.get(p.page()), 200, []string{"До сплати", "511,00 грн", "Рахунок № 1870", "Номер картки"}, []string{"Card number", "UAH"})
}

func TestBothLanguagesSayTheSame(t *testing.T) {
	t.Parallel()
	for key, said := range inEnglish {
		if inUkrainian[key] == "" {
			t.Errorf("%q is not said in Ukrainian", key)
		}
		for _, gap := range []string{"{0}", "{1}", "{2}"} {
			if strings.Contains(said, gap) != strings.Contains(inUkrainian[key], gap) {
				t.Errorf("%q says %s in one language only", key, gap)
			}
		}
	}
	if len(inUkrainian) != len(inEnglish) {
		t.Errorf("%d sentences in Ukrainian, %d in English", len(inUkrainian), len(inEnglish))
	}
}

func TestThePolicyLetsThePageDoWhatItMustAndNoMore(t *testing.T) {
	t.Parallel()
	const strict = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	p := newPayer(t, nil)
	bank := p.payment(store.StatusNew, store.PaymentNeedsConfirmation, func(one *store.CardPayment) {
		one.Confirmation = &store.Confirmation{Type: "3DS", URL: "https://bank.example:8443/3ds", Left: 3}
	})
	trick := p.payment(store.StatusNew, store.PaymentNeedsConfirmation, func(one *store.CardPayment) {
		one.Confirmation = &store.Confirmation{Type: "3DS", URL: "https://bank.example;script-src/3ds", Left: 3}
	})
	for path, want := range map[string]string{
		p.page(): strict, bank: strict + " https://bank.example:8443", trick: strict, bank + "/state": strict, "/i/-/page.css": strict,
	} {
		w := p.get(path)
		if got := w.Header().Get("Content-Security-Policy"); got != want {
			t.Errorf("%s: the policy is\n%s, want\n%s", path, got, want)
		}
		for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": ""} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		if strings.Contains(w.Body.String(), "<style") || strings.Contains(w.Body.String(), " style=") || strings.Contains(w.Body.String(), " onclick=") {
			t.Errorf("%s has a style or a script in itself", path)
		}
	}
	if got := p.get(p.page()).Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("the page may be kept: %q", got)
	}
}

func TestFilesOfOursAreKeptUnderTheirOwnNameOnly(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	for path, want := range map[string]string{scriptAddress: "public, max-age=31536000, immutable", "/i/-/page.js?v=older": "no-cache", "/i/-/icon.svg": "no-cache"} {
		if w := p.get(path); w.Code != 200 || w.Header().Get("Cache-Control") != want {
			t.Errorf("%s: %d, %q, want %q", path, w.Code, w.Header().Get("Cache-Control"), want)
		}
	}
	if body := p.get(p.page()).Body.String(); !strings.Contains(body, scriptAddress) || !strings.Contains(body, styleAddress) {
		t.Errorf("the page does not load its own: %s", body)
	}
}

func TestTheStateOfAPaymentIsTold(t *testing.T) {
	t.Parallel()
	p := newPayer(t, nil)
	w := p.get(p.payment(store.StatusNew, store.PaymentOpen, func(one *store.CardPayment) { one.StepOpen = true }) + "/state")
	if got := w.Body.String(); w.Code != 200 || got != `{"state":"OPEN/busy"}` || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s, %q", w.Code, got, w.Header().Get("Cache-Control"))
	}
}

func TestTimesAreKyivsAndRatesAreShort(t *testing.T) {
	t.Parallel()
	if got := english.when(time.Date(2026, 7, 1, 22, 30, 0, 0, time.UTC)); got != "2 Jul 2026, 01:30" {
		t.Errorf("in Kyiv's summer it is %q", got)
	}
	for rate, want := range map[int64]string{0: "0%", 2000: "2%", 1500: "1.5%", 1: "0.001%", 10000: "10%"} {
		if got := english.percents(store.Tariff{Millipercents: rate}); got != want {
			t.Errorf("%d thousandths of a percent are %q, want %q", rate, got, want)
		}
	}
}
