package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// payShop is a shop whose invoices are paid in a browser.
type payShop struct {
	*shop
	browser *browser
}

// page issues an invoice of 150.00, unless change makes it another, and returns the address
// where it is paid.
func (p *payShop) page(change object) string {
	p.t.Helper()
	all := object{"amount": 15000, "description": "Замовлення № 17: «Кобзар», зібрання творів", "redirectUrl": p.home() + "/shop"}
	maps.Copy(all, change)
	return p.home() + "/i/" + p.invoice(all)
}

func (p *payShop) home() string { return "http://" + p.api.addresses[0] }

// checkPayments checks the payments of an invoice, newest first, and that the acquirer took
// what the books say.
func (p *payShop) checkPayments(page string, want ...string) {
	p.t.Helper()
	var got []string
	for _, one := range p.payments(strings.TrimPrefix(page, p.home()+"/i/")) {
		got = append(got, fmt.Sprint(one["paymentStatus"]))
		p.checkTaken(fmt.Sprint(one["paymentId"]))
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("the payments of %s are %v, want %v", page, got, want)
	}
}

// card fills the form in.
func (p *tab) card(number string) {
	p.t.Helper()
	p.fill("#number", number)
	p.fill("#expiry", "1230")
	if value[string](p, `document.querySelector("#expiry").value`) == "1230" { // without script nobody adds the stroke
		p.fill("#expiry", "12/30")
	}
	p.fill("#code", "123")
}

// pay fills the form in, and sends it.
func (p *tab) pay(number string) {
	p.t.Helper()
	p.card(number)
	p.click("#card button")
}

// pageStory is what a payer does in a tab of the browser.
type pageStory struct {
	name    string
	prepare []action
	bank    bool // the payer is sent to the bank's page
	play    func(p *payShop, b *tab)
}

func TestSystemThePaymentPageInABrowser(t *testing.T) {
	t.Parallel()
	p := &payShop{browser: startBrowser(t)}
	p.shop = startShared(t, "QUITTANCE_ACQUIRER_TIMEOUT=5s").shop()
	acquirerHost := strings.Split(strings.TrimPrefix(p.acquirer.URL(), "http://"), "/")[0]
	for _, story := range pageStories {
		t.Run(story.name, func(t *testing.T) {
			b := p.browser.tab(t, story.prepare...)
			story.play(p, b)
			for _, host := range b.asked() {
				if host != p.api.addresses[0] && !(story.bank && host == acquirerHost) {
					t.Errorf("the page asked %s", host)
				}
			}
		})
	}
}

var threeServices = []object{
	{"serviceId": 1, "destination": "Адміністративний збір за державну реєстрацію", "destinationName": "Казначейство", "amount": 7800},
	{"serviceId": 2, "iban": "UA461234560000026002001304675", "destination": "Адміністративний збір", "destinationName": "Онлайн Будинок Юстиції", "amount": 4200},
	{"serviceId": 4, "destination": "Інформаційні послуги", "amount": 1500},
}

var pageStories = []pageStory{
	{name: "pay", play: func(p *payShop, b *tab) {
		page := p.page(object{"services": threeServices, "amount": nil})
		b.open(page)
		b.await("h1", "140.70 UAH") // 135.00, and 2.56 + 1.84 + 1.30
		b.shoot("form")
		b.fill("#number", "4111111111111112")
		b.await("#number-wrong", "not the number of a card")
		b.fill("#expiry", "0120")
		b.await("#expiry-wrong", "expired")
		b.click("#card button")
		b.await("#code-wrong", "3 digits")
		if focus := value[string](b, "document.activeElement.id"); focus != "number" {
			b.t.Errorf("the focus is on %q, want the first field that is wrong", focus)
		}
		b.shoot("wrong")
		b.fill("#number", approvedCard)
		b.await("#brand", "Visa")
		if typed := value[string](b, `document.querySelector("#number").value`); typed != "4111 1111 1111 1111" {
			b.t.Errorf("the number is shown as %q", typed)
		}
		b.shoot("filled")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.shoot("paid")
		if b.text(".links") == "" || !strings.Contains(b.text(".links"), "Back to the shop") {
			b.t.Errorf("the links are %q", b.text(".links"))
		}
		p.checkPayments(page, "FINISHED")
		receipt := value[string](b, `document.querySelector('a[href$=".pdf"]').getAttribute("href")`)
		if pdf := p.get(receipt); pdf.status != 200 || !strings.HasPrefix(pdf.body, "%PDF-") {
			b.t.Errorf("the receipt is answered %d", pdf.status)
		}
		b.click(`a[href$=".html"]`)
		b.await("h1", "Receipt")
		b.await("body", "411111••••••1111")
		b.shoot("receipt")
		b.open(page)
		b.await("h1", "This invoice is paid")
		b.shoot("is-paid")
		b.click("nav a")
		b.await("h1", "Paid")
	}},
	{name: "declined, then another card", play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.pay(declinedCard)
		b.await("h1", "declined")
		b.shoot("declined")
		b.click("nav a.button")
		b.pay(poorCard)
		b.await("body", "not enough money")
		b.click("nav a.button")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED", "REJECTED", "REJECTED")
	}},
	{name: "3-D Secure", bank: true, play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.pay(confirmedCard)
		b.await("h1", "Confirm the payment") // the bank's
		b.fill("#code", "0000")
		b.shoot("bank")
		b.click("#confirm")
		b.await(".alert", "did not accept")
		b.shoot("again")
		b.click("#bank button")
		b.await("h1", "Confirm the payment")
		b.fill("#code", rightCode)
		b.click("#confirm")
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
	{name: "3-D Secure, given up", bank: true, play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.pay(confirmedCard)
		b.await("h1", "Confirm the payment")
		b.back()
		b.await("h1", "is being paid")
		b.click("nav a")
		b.await("h1", "at your bank") // and is not sent away again
		b.shoot("ours")
		b.click("button.quiet")
		b.await("h1", "canceled")
		b.shoot("canceled")
		b.click("nav a.button")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED", "CANCELED")
	}},
	{name: "a code from the bank", play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.pay(codeCard)
		b.await("h1", "Enter the code")
		b.fill("#code", "9999")
		b.click("button.main")
		b.await("#code-wrong", "not right")
		b.await("#code-left", "2")
		b.shoot("wrong")
		b.fill("#code", rightCode)
		b.click("button.main")
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
	{name: "an open amount", play: func(p *payShop, b *tab) {
		page := p.page(object{"amount": nil, "redirectUrl": nil})
		b.open(page)
		b.fill("#amount", "1234,5")
		b.await("#total", "1,260.19 UAH") // 1234.50 + 2 % (24.69) + 1.00
		b.shoot("typed")
		b.click("button.main")
		b.await("h1", "1,260.19 UAH")
		b.shoot("form")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.await(".sums", "1,260.19 UAH")
		if strings.Contains(b.text("main"), "Back to the shop") {
			b.t.Error("there is a way to a shop that named none")
		}
		p.checkPayments(page, "FINISHED")
	}},
	{name: "a double click", play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.card(approvedCard)
		b.do(chromedp.DoubleClick(chromedp.CSS("#card button")))
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
	{name: "a double click without script", prepare: []action{withoutScript()}, play: func(p *payShop, b *tab) {
		page := p.page(object{"reusability": true}) // nothing but the form itself stands in the way
		b.open(page)
		b.card(approvedCard)
		b.doubleClickAtOnce("#card button")
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
	{name: "the back button", play: func(p *payShop, b *tab) {
		page := p.page(object{"reusability": true})
		b.open(page)
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.back()
		b.await("h1", "154.00 UAH")
		if typed := value[string](b, `document.querySelector("#number").value + document.querySelector("#code").value`); typed != "" {
			b.t.Error("the browser's history has kept a card")
		}
		b.pay(approvedCard) // a form of its own: this is meant
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED", "FINISHED")
		once := p.page(nil)
		b.open(once)
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.back()
		b.await("h1", "This invoice is paid")
	}},
	{name: "without script", bank: true, prepare: []action{withoutScript()}, play: func(p *payShop, b *tab) {
		page := p.page(object{"amount": nil})
		b.open(page)
		b.fill("#amount", "1234,5")
		b.click("button.main")
		b.await("h1", "1,260.19 UAH")
		b.pay("4111111111111112")
		b.await("#number-wrong", "not the number of a card")
		b.shoot("wrong")
		b.pay(confirmedCard)
		b.await("h1", "at your bank")
		b.shoot("bank")
		b.click("#bank button")
		b.await("h1", "Confirm the payment")
		b.fill("#code", rightCode)
		b.click("#confirm")
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
	{name: "waiting", play: func(p *payShop, b *tab) { p.wait(b) }},
	{name: "waiting without script", prepare: []action{withoutScript()}, play: func(p *payShop, b *tab) { p.wait(b) }},
	{name: "on a phone", prepare: []action{chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile)}, play: func(p *payShop, b *tab) {
		page := p.page(object{"services": threeServices, "amount": nil, "description": strings.Repeat("Дуженьдовгесловобезпробілів", 8)})
		b.open(page)
		b.shoot("form")
		b.checkFits()
		b.pay(declinedCard)
		b.await("h1", "declined")
		b.checkFits()
		b.shoot("declined")
		b.click("nav a.button")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.checkFits()
		b.shoot("paid")
		b.click(`a[href$=".html"]`)
		b.await("h1", "Receipt")
		b.checkFits()
		b.shoot("receipt")
	}},
	{name: "in Ukrainian", prepare: []action{inUkrainian()}, play: func(p *payShop, b *tab) {
		page := p.page(object{"services": threeServices, "amount": nil})
		b.open(page)
		b.await("h1", "140,70 грн")
		b.shoot("form")
		if lang := value[string](b, "document.documentElement.lang"); lang != "uk" {
			b.t.Errorf("the page is in %q", lang)
		}
		b.pay(declinedCard)
		b.await("h1", "Платіж відхилено")
		b.click("nav a.button")
		b.pay(approvedCard)
		b.await("h1", "Сплачено")
		b.shoot("paid")
		b.click(`a[href$=".html"]`)
		b.await("h1", "Квитанція")
	}},
	{name: "in the dark", prepare: []action{inTheDark()}, play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		b.fill("#number", "4111111111111112")
		b.shoot("form")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.shoot("paid")
	}},
	{name: "a hold", play: func(p *payShop, b *tab) {
		page := p.page(object{"type": "HOLD"})
		b.open(page)
		b.await("button.main", "Reserve 154.00 UAH")
		b.shoot("form")
		b.pay(approvedCard)
		b.await("h1", "Reserved")
		b.shoot("reserved")
		p.checkPayments(page, "HOLDED")
	}},
	{name: "a subscription", play: func(p *payShop, b *tab) {
		page := p.page(object{"type": "SUBSCRIBE", "recurringInterval": 30, "expiresAt": time.Now().AddDate(1, 0, 0).UnixMilli()})
		b.open(page)
		b.await(".note", "every 30 days")
		b.shoot("form")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		b.open(page)
		b.await("body", "Next payment")
		b.shoot("goes-on")
	}},
	{name: "what cannot be paid", play: func(p *payShop, b *tab) {
		page := p.page(object{"payExpiresAt": "2021-07-28 15:00:00"})
		b.open(page)
		b.await("h1", "can no longer be paid")
		b.shoot("expired")
		b.open(page[:len(page)-12] + "000000000000")
		b.await("h1", "nothing here")
		b.shoot("unknown")
	}},
	{name: "while the acquirer is away", play: func(p *payShop, b *tab) {
		page := p.page(nil)
		b.open(page)
		p.acquirer.Down()
		p.outages = true // the answer blames us, and rightly
		b.pay(approvedCard)
		b.await("body", "Nothing was charged")
		b.shoot("away")
		p.acquirer.Up()
		b.click("nav a.button")
		b.pay(approvedCard)
		b.await("h1", "Paid")
		p.checkPayments(page, "FINISHED")
	}},
}

// wait pays while the acquirer takes its time: the page goes on by itself.
func (p *payShop) wait(b *tab) {
	page := p.page(nil)
	b.open(page)
	until := make(chan struct{})
	p.acquirer.Fault(acquirertest.Fault{Call: "authorise", Kind: acquirertest.Delay, Until: until})
	b.pay(approvedCard)
	b.await("h1", "is being made")
	b.shoot("made")
	other := p.browser.tab(b.t)
	other.open(page)
	other.await("h1", "is being paid")
	other.shoot("elsewhere")
	close(until)
	b.await("h1", "Paid")
	other.await("h1", "This invoice is paid")
	if strings.Contains(other.text("main"), "Show your payment") {
		b.t.Error("somebody else's browser is shown the payment")
	}
	p.checkPayments(page, "FINISHED")
}

// doubleClickAtOnce presses twice before the browser has got any answer.
func (p *tab) doubleClickAtOnce(selector string) {
	p.t.Helper()
	p.do(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	box := value[[]float64](p, fmt.Sprintf(`(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector(%q).getBoundingClientRect())`, selector))
	for range 2 {
		p.do(chromedp.MouseClickXY(box[0], box[1]))
	}
}

// checkFits checks that nothing has to be scrolled sideways, and that a finger finds what can
// be pressed.
func (p *tab) checkFits() {
	p.t.Helper()
	if wide := value[[]int](p, `[document.documentElement.scrollWidth, document.documentElement.clientWidth]`); wide[0] > wide[1] {
		p.t.Errorf("the page is %d wide on a screen of %d", wide[0], wide[1])
	}
	small := value[[]string](p, `[...document.querySelectorAll("button, input:not([type=hidden]), nav a")].filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)`)
	if len(small) > 0 {
		p.t.Errorf("too small for a finger: %v", small)
	}
}
