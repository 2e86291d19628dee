// Package paypage is what a payer sees: the page on which an invoice is paid by card, its QR
// code, and the receipt.
//
// It works without JavaScript; the script checks what is typed, computes the commission and
// looks whether the payment goes on. Nothing is loaded from elsewhere, and the browser is told
// so. A card's number and security code go to the acquirer's tokenise call and nowhere else:
// a form that is shown again is shown without them.
//
// A form pays once: it carries a nonce, which is the command's idempotency key, so a double
// click and a page from the browser's history lead to the payment that was made.
//
// Known hole: a bank's page may send the payer on to another address of the bank's, which the
// browser then refuses: only the address that the acquirer named may be posted to.
package paypage

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// books is what the page needs of the store.
type books interface {
	ShopInvoice(context.Context, store.InvoiceNumber) (store.ShopInvoice, error)
	CardPayment(ctx context.Context, client int64, id store.PaymentID) (store.CardPayment, error)
	Receipt(context.Context, store.PaymentID) (store.Receipt, error)
	LeaseKey(ctx context.Context, once store.Once, fresh store.IntentID) (store.IntentID, error)
	ReleaseKey(context.Context, store.Once) error
	CreateCardPayment(context.Context, store.NewCardPayment) (store.OperationID, error)
	AcceptPaymentCommand(context.Context, store.PaymentCommand) (store.OperationID, error)
}

// waiter tells when an operation is final.
type waiter interface {
	Wait(context.Context, store.OperationID, time.Duration) (store.Operation, bool)
}

// Config is what the page is built from.
type Config struct {
	Books     books
	Waiter    waiter
	Admission *api.Admission
	Tokeniser api.Tokeniser
	Limit     *api.RateLimit // of card forms: a page that takes cards is used to try stolen ones
	PublicURL string         // as payers' browsers know us; without a slash at its end
	Key       [32]byte       // forms are signed with it
	PDF       func(store.Receipt) ([]byte, error)
	HTML      func(r store.Receipt, language, stylesheet string) ([]byte, error)
}

// New returns the page, the QR code and the receipt, each below a prefix of its own.
func New(cfg Config) []api.API {
	const (
		invoice = "/i/:invoice"
		payment = invoice + "/payments/:payment"
	)
	h := &handlers{Config: cfg}
	pages := []api.Route{
		{Method: http.MethodGet, Path: invoice, Who: "a payer", Handle: h.showInvoice},
		{Method: http.MethodPost, Path: invoice, Who: "a payer's form", Handle: cfg.Limit.Around(h.pay)},
		{Method: http.MethodGet, Path: payment, Who: "a payer", Handle: h.showPayment},
		{Method: http.MethodGet, Path: payment + "/state", Who: "our script", Handle: h.showState},
		{Method: http.MethodPost, Path: payment + "/3ds", Who: "a payer, sent by the bank", Handle: h.returnFromBank},
		{Method: http.MethodPost, Path: payment + "/confirm", Who: "a payer's form", Handle: h.confirm},
		{Method: http.MethodPost, Path: payment + "/cancel", Who: "a payer's form", Handle: h.cancel},
	}
	return []api.API{
		h.below("/i/", append(pages, assetRoutes()...)...),
		h.below("/api/qr/", api.Route{Method: http.MethodGet, Path: "/api/qr/invoicer/:invoice", Who: "anyone", Handle: h.showQR}),
		h.below("/api/acquiring/receipts/", api.Route{Method: http.MethodGet, Path: "/api/acquiring/receipts/v2/:file", Who: "whoever knows the payment", Handle: h.showReceipt}),
	}
}

func (h *handlers) below(prefix string, routes ...api.Route) api.API {
	return api.API{Prefix: prefix, Mistake: http.StatusBadRequest, Refusals: refusals, Render: h.refuse, Routes: routes}
}

type handlers struct{ Config }

// codeNothing is of what there is nothing to show about.
const codeNothing = "not_found"

var errNothingHere = &api.Refusal{Status: http.StatusNotFound, Code: codeNothing, Message: "There is nothing at this address."}

// refusals are the store's errors that are answered with a page of their own.
var refusals = []api.Case{
	{Err: store.ErrInvoiceNotFound, Refusal: *errNothingHere},
	{Err: store.ErrPaymentNotFound, Refusal: *errNothingHere},
	{Err: store.ErrNoReceipt, Refusal: *errNothingHere},
}

// invoice reads the invoice that a path names. What cannot be one is one that nobody issued.
func (h *handlers) invoice(c *gin.Context) (store.ShopInvoice, error) {
	id, ok := store.ParseInvoiceNumber(c.Param("invoice"))
	if !ok {
		return store.ShopInvoice{}, store.ErrInvoiceNotFound
	}
	return h.Books.ShopInvoice(c.Request.Context(), id)
}

// payment reads the payment that a path names, which must be of the invoice that it names.
func (h *handlers) payment(c *gin.Context) (store.CardPayment, error) {
	invoice, known := store.ParseInvoiceNumber(c.Param("invoice"))
	id, named := store.ParsePaymentID(c.Param("payment"))
	if !known || !named {
		return store.CardPayment{}, store.ErrPaymentNotFound
	}
	p, err := h.Books.CardPayment(c.Request.Context(), 0, id)
	if err == nil && p.Invoice != invoice {
		return store.CardPayment{}, store.ErrPaymentNotFound
	}
	return p, err
}

func invoicePath(id store.InvoiceNumber) string { return "/i/" + id.String() }

func paymentPath(invoice store.InvoiceNumber, id store.PaymentID) string {
	return invoicePath(invoice) + "/payments/" + id.String()
}

// seeOther sends the browser on, by GET.
func seeOther(c *gin.Context, path string) {
	c.Header("Cache-Control", "no-store")
	c.Redirect(http.StatusSeeOther, path)
}
