package paypage

import (
	"context"
	"errors"
	"net/url"
	"regexp"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

// maxPaRes bounds what a bank may say: two or three times what the largest say.
const maxPaRes = 48 << 10

// returnFromBank takes what the bank's page sends by way of the payer's browser. It comes from
// another site, so no cookie and no form of ours vouches for it: the acquirer, who gets what
// the bank said, does; and the payment's id is known to the payer alone.
func (h *handlers) returnFromBank(c *gin.Context) error {
	p, err := h.payment(c)
	if err != nil {
		return err
	}
	form, err := readForm(c, maxReturn)
	if err != nil {
		return err
	}
	said := form.Get("PaRes")
	if form.Get("MD") != p.ID.String() || said == "" || len(said) > maxPaRes {
		return errForm
	}
	return h.command(c, store.PaymentCommand{Type: store.PaymentConfirm, Payment: p.ID, Invoice: p.Invoice, Code: said})
}

var typedCode = regexp.MustCompile(`^[0-9A-Za-z]{1,20}$`)

// confirm takes the code that the payer's bank has sent.
func (h *handlers) confirm(c *gin.Context) error {
	return h.byForm(c, func(p store.CardPayment, key string, form url.Values) store.PaymentCommand {
		command := store.PaymentCommand{Type: store.PaymentConfirm, Payment: p.ID, Invoice: p.Invoice, Code: withoutSpaces.Replace(form.Get("code"))}
		command.Once = once(p.Invoice, key, "POST "+c.Request.URL.Path+"\n"+command.Code, paymentPath(p.Invoice, p.ID))
		return command
	}, func(form url.Values) bool { return typedCode.MatchString(withoutSpaces.Replace(form.Get("code"))) })
}

// cancel gives the payment up before it is confirmed.
func (h *handlers) cancel(c *gin.Context) error {
	return h.byForm(c, func(p store.CardPayment, key string, _ url.Values) store.PaymentCommand {
		return store.PaymentCommand{
			Type: store.PaymentCancel, Payment: p.ID, Invoice: p.Invoice,
			Once: once(p.Invoice, key, "POST "+c.Request.URL.Path, paymentPath(p.Invoice, p.ID)),
		}
	}, func(url.Values) bool { return true })
}

// byForm accepts the command of a form of ours. What is out of date, or not filled in, leads to
// the payment's page, which has the form again.
func (h *handlers) byForm(c *gin.Context, of func(store.CardPayment, string, url.Values) store.PaymentCommand, sane func(url.Values) bool) error {
	p, err := h.payment(c)
	if err != nil {
		return err
	}
	form, err := readForm(c, maxForm)
	if err != nil {
		return err
	}
	key, signed := h.key(c, form, p.Invoice)
	if !signed {
		seeOther(c, paymentPath(p.Invoice, p.ID))
		return nil
	}
	if !sane(form) {
		seeOther(c, paymentPath(p.Invoice, p.ID)+"?"+triedQuery)
		return nil
	}
	return h.command(c, of(p, key, form))
}

// command accepts what the payer wants and shows the payment. Whoever comes too late, or twice,
// is shown it as well: it says why.
func (h *handlers) command(c *gin.Context, command store.PaymentCommand) error {
	path := paymentPath(command.Invoice, command.Payment)
	if command.Type == store.PaymentConfirm {
		path += "?" + triedQuery
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), payWithin)
	defer cancel()
	operation, err := h.Books.AcceptPaymentCommand(ctx, command)
	late := errors.Is(err, store.ErrPaymentState) || errors.Is(err, store.ErrStepInProgress) || errors.Is(err, store.ErrKeyReused)
	if _, replay := errors.AsType[*store.Replay](err); err != nil && !late && !replay {
		return err
	}
	if err == nil {
		h.Waiter.Wait(c.Request.Context(), operation, showWithin)
	}
	seeOther(c, path)
	return nil
}
