package paypage

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// showInvoice shows the page on which the invoice is paid, or why it cannot be. An open amount
// is asked for first, and is then a part of the address: so the payer sees the commission
// before the card is entered, with and without a script.
func (h *handlers) showInvoice(c *gin.Context) error {
	in, err := h.invoice(c)
	if err != nil {
		return err
	}
	if where := standingOf(in); where != payable {
		return h.showStanding(c, in, where)
	}
	typed, chosen := c.GetQuery("amount")
	if in.Amount != 0 {
		return h.showCardForm(c, http.StatusOK, in, 0, nil)
	}
	if !chosen {
		return h.showAmountForm(c, http.StatusOK, in, "", nil)
	}
	amount, w := readAmount(typed)
	if w != "" {
		return h.showAmountForm(c, http.StatusUnprocessableEntity, in, typed, wrongs{"amount": w})
	}
	return h.showCardForm(c, http.StatusOK, in, amount, nil)
}

// sentences words what is wrong with a form.
func (w wrongs) sentences(t *tongue) map[string]string {
	if len(w) == 0 {
		return nil
	}
	said := map[string]string{"": t.Words["wrong_form"]}
	for field, what := range w {
		said[field] = t.Words[string(what)+"_wrong"]
	}
	return said
}

func (h *handlers) showAmountForm(c *gin.Context, status int, in store.ShopInvoice, typed string, found wrongs) error {
	t := tongueOf(c.Request)
	if len(typed) > 40 {
		typed = ""
	}
	rate := t.percents(in.Tariff)
	if in.Tariff.Fixed > 0 {
		rate += " + " + t.money(in.Tariff.Fixed)
	}
	return h.render(c, status, "amount", view{
		Title: in.ClientName, Bill: billOf(t, in), Wrong: found.sentences(t), Action: invoicePath(in.ID), Amount: typed, Tariff: in.Tariff,
		Text: t.say("rate", rate),
	}, "")
}

// showCardForm shows the form without anything that was typed into it: of a card nothing is
// ever sent back.
func (h *handlers) showCardForm(c *gin.Context, status int, in store.ShopInvoice, amount int64, found wrongs) error {
	t := tongueOf(c.Request)
	v := view{Title: in.ClientName, Wrong: found.sentences(t), Action: invoicePath(in.ID), Paying: t.Words["paying"], Notes: notesOn(t, in, amount)}
	if in.Amount == 0 {
		v.Amount = plain(amount)
		v.Back = invoicePath(in.ID)
	} else {
		amount = in.Amount
	}
	v.Total = totalOf(in, amount)
	v.Bill = billOf(t, in).charge(t, amount, v.Total-amount)
	button := "pay"
	if in.Type == store.Hold {
		button = "reserve"
	}
	v.Pay = t.say(button, v.Bill.Total)
	v.Form = h.newForm(c, in.ID)
	return h.render(c, status, "pay", v, "")
}

func notesOn(t *tongue, in store.ShopInvoice, amount int64) []string {
	switch {
	case in.Type == store.Hold:
		return []string{t.Words["hold_note"]}
	case in.Type == store.Subscribe:
		until := in.Subscription.ExpiresAt
		every := t.say("every_days", strconv.Itoa(in.Subscription.Interval))
		if in.Subscription.Interval == 1 {
			every = t.Words["every_day"]
		}
		return []string{t.say("subscribe_note", t.money(totalOf(in, amount)), every, t.on(until))}
	case in.SystemType == store.P2P:
		return []string{t.Words["p2p_note"]}
	}
	return nil
}

// plain shows an amount as readAmount reads it.
func plain(minor int64) string {
	return money.Amount{Minor: minor, Currency: store.Hryvnia}.Format(".", "")
}

// payAgain is where the same amount of an invoice is paid with another card.
func payAgain(in store.ShopInvoice, p store.CardPayment) string {
	path := invoicePath(in.ID)
	if in.Amount == 0 {
		path += "?" + url.Values{"amount": {plain(p.Amount.Minor)}}.Encode()
	}
	return path
}

// lookAgainAfter is how many seconds a page without script waits before it is loaded again.
const lookAgainAfter = 3

// showStanding says why the invoice cannot be paid.
func (h *handlers) showStanding(c *gin.Context, in store.ShopInvoice, where standing) error {
	t := tongueOf(c.Request)
	v, n := view{Bill: billOf(t, in)}, &notice{Kind: "plain"}
	v.Notice = n
	said, status := "", http.StatusOK
	switch where {
	case inProgress:
		said, n.Kind = "progress", "wait"
		v.Refresh = lookAgainAfter
	case paid:
		said, n.Kind = "paid", "done"
	case expired:
		said, status = "expired", http.StatusGone
	case ended:
		said = "ended"
	case exhausted:
		said, status = "exhausted", http.StatusTooManyRequests
		c.Header("Retry-After", strconv.Itoa(int(refusedWithin/time.Second)))
	}
	v.Title, n.Text = t.Words[said+"_title"], t.Words[said+"_text"]
	if s := in.Subscription; where == paid && s != nil && s.DueAt != nil {
		n.Text = t.say("subscribed_text", t.on(*s.DueAt))
	}
	if p, ours := remembered(c, in); ours && (where == paid || where == inProgress) {
		n.Links = append(n.Links, link{Text: t.Words["to_payment"], URL: paymentPath(in.ID, p.ID), Main: true})
	}
	n.Links = append(n.Links, toShop(t, in, false)...)
	return h.tell(c, status, v)
}
