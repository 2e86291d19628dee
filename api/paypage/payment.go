package paypage

import (
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// triedQuery stands in the address of a payment to which the payer has just sent a code: where
// it asks for one again, that one was wrong.
const triedQuery = "tried"

// showPayment shows what became of a payment, or what the payer has to do for it.
func (h *handlers) showPayment(c *gin.Context) error {
	p, err := h.payment(c)
	if err != nil {
		return err
	}
	in, err := h.Books.ShopInvoice(c.Request.Context(), p.Invoice)
	if err != nil {
		return err
	}
	t := tongueOf(c.Request)
	v := view{Bill: billOf(t, in), Watch: paymentPath(in.ID, p.ID) + "/state", State: stateOf(p)}
	switch {
	case p.Status != store.StatusNew:
		v.Watch = ""
		v.Title, v.Notice = h.outcome(t, in, p)
		return h.tell(c, http.StatusOK, v)
	case p.PaymentStatus == store.PaymentNeedsConfirmation && !p.StepOpen:
		return h.askToConfirm(c, v, in, p)
	default:
		return h.showWaiting(c, v, in, p)
	}
}

// stateOf tells two states of a payment apart that are shown differently.
func stateOf(p store.CardPayment) string {
	state := p.PaymentStatus
	if p.Confirmation != nil {
		state += "/" + strconv.Itoa(p.Confirmation.Left)
	}
	if p.StepOpen && p.Status == store.StatusNew {
		state += "/busy"
	}
	return state
}

// showState tells our script whether the page is still what it would be now.
func (h *handlers) showState(c *gin.Context) error {
	p, err := h.payment(c)
	if err != nil {
		return err
	}
	protect(c, "")
	c.Header("Cache-Control", "no-store")
	api.Answer(c, http.StatusOK, api.Encode(map[string]string{"state": stateOf(p)}))
	return nil
}

func (h *handlers) showWaiting(c *gin.Context, v view, in store.ShopInvoice, p store.CardPayment) error {
	t := tongueOf(c.Request)
	said := "wait"
	if p.PaymentStatus == store.PaymentPending {
		said = "pending"
	}
	v.Title, v.Refresh = t.Words[said+"_title"], lookAgainAfter
	v.Bill.charge(t, p.Amount.Minor, p.Commission)
	v.Notice = &notice{Kind: "wait", Text: t.Words[said+"_text"]}
	v.Notice.Links = []link{{Text: t.Words["wait_again"], URL: paymentPath(in.ID, p.ID)}}
	return h.tell(c, http.StatusOK, v)
}

// askToConfirm sends the payer to the bank's page, or asks for the bank's code.
func (h *handlers) askToConfirm(c *gin.Context, v view, in store.ShopInvoice, p store.CardPayment) error {
	t := tongueOf(c.Request)
	here := paymentPath(in.ID, p.ID)
	_, tried := c.GetQuery(triedQuery)
	v.Bill.charge(t, p.Amount.Minor, p.Commission)
	v.Confirmation, v.Cancel, v.Paying = p.Confirmation, here+"/cancel", t.Words["paying"]
	v.Left = t.say("left", strconv.Itoa(p.Confirmation.Left))
	v.Form = h.newForm(c, in.ID)
	if bank := originOf(p.Confirmation.URL); p.Confirmation.Type == "3DS" && bank != "" {
		v.Title, v.Text = t.Words["bank_title"], t.Words["bank_text"]
		v.TermURL, v.MD = h.PublicURL+here+"/3ds", p.ID.String()
		if tried {
			v.Wrong = map[string]string{"": t.Words["bank_retry"]}
		} else {
			v.Once = p.ID.String() // whoever was refused goes on when he has read that
		}
		return h.render(c, http.StatusOK, "bank", v, bank)
	}
	v.Title, v.Text, v.Action = t.Words["lookup_title"], t.Words["lookup_text"], here+"/confirm"
	if tried {
		v.Wrong = map[string]string{"code": t.Words["lookup_wrong"]}
	}
	return h.render(c, http.StatusOK, "lookup", v, "")
}

// outcome words the end of a payment, or that it is reserved.
func (h *handlers) outcome(t *tongue, in store.ShopInvoice, p store.CardPayment) (title string, n *notice) {
	n = &notice{Kind: "plain", Facts: factsOf(t, p)}
	again := link{Text: t.Words["again"], URL: payAgain(in, p), Main: true}
	total := t.money(p.Amount.Minor + p.Commission)
	switch p.PaymentStatus {
	case store.PaymentHolded:
		title, n.Kind, n.Text = "held", "done", t.say("held_text", total)
	case store.PaymentFinished:
		title, n.Kind, n.Text = "finished", "done", t.say("finished_text", in.ClientName)
	case store.PaymentReversed:
		title, n.Text = "reversed", t.Words["reversed_text"]
	case store.PaymentRejected:
		title, n.Kind, n.Text = "declined", "failed", declined(t, p)
		again.Text = t.Words["another_card"]
	default:
		title, n.Text = "canceled", t.Words["canceled_text"]
		if p.PaidAt != nil {
			n.Text = t.Words["released_text"]
		}
	}
	if p.Status == store.StatusCanceled && standingOf(in) == payable {
		n.Links = append(n.Links, again)
	}
	n.Links = append(n.Links, toShop(t, in, len(n.Links) == 0)...)
	if p.HasReceipt() {
		n.Links = append(n.Links,
			link{Text: t.Words["receipt_pdf"], URL: receiptPath(p.ID, ".pdf")}, link{Text: t.Words["receipt_html"], URL: receiptPath(p.ID, ".html")})
	}
	return t.Words[title+"_title"], n
}

// declined is why, in the payer's language where we know the reason.
func declined(t *tongue, p store.CardPayment) string {
	if said, known := t.Words["declined_"+p.RefusalCode]; known && p.RefusalCode != "other" {
		return said
	}
	if p.RefusalMessage == "" {
		return t.Words["declined_declined"]
	}
	return t.say("declined_other", p.RefusalMessage)
}

func factsOf(t *tongue, p store.CardPayment) []fact {
	facts := []fact{
		{t.Words["amount"], t.money(p.Amount.Minor)},
		{t.Words["commission"], t.money(p.Commission)},
		{t.Words["total"], t.money(p.Amount.Minor + p.Commission)},
	}
	if p.GivenBack() > 0 {
		facts = append(facts, fact{t.Words["returned"], t.money(p.GivenBack())})
	}
	return append(facts,
		fact{t.Words["card"], mask(p.CardFrom.Mask)},
		fact{t.Words["payment_no"], strconv.FormatInt(p.Number, 10)},
		fact{t.Words["date"], t.when(p.UpdatedAt)})
}

// mask shows the ten digits that are known of a card.
func mask(digits string) string {
	if len(digits) != 10 {
		return ""
	}
	return digits[:4] + " " + digits[4:6] + "•• •••• " + digits[6:]
}
