// Package invoicer is the API of shops: invoices that are paid by card, on a hosted page
// or here; holds, reversals, subscriptions, and payments from card to card.
//
// It speaks the original's envelope. A request is {"params":{…},"data":{…}}, or has a
// token beside or in place of them: a JWT (HS256 and nothing else) of {params, data, iat}
// under the shop's secret. Then only what the token says counts, and the answer's data is
// such a token as well. A shop may be required to sign. A body, and a token's payload, is
// refused unless it can be read in one way only; no number of it ever is a float.
//
// Success is {"status":1,"data":{…}}; what is refused is {"status":0,"error":{"code",
// "message","fields"}}, both with HTTP status 200. fields mirrors the request, lists by
// index, and has a word for each member that is wrong:
//
//	REQUIRED     it is missing, null or empty
//	FORMAT       it is not of the documented kind
//	RANGE        too small or too large, too short or too long, or past
//	MISMATCH     it is not what another member, or the invoice, says
//	NOT_ALLOWED  it is not for a request of this kind
//	NOT_FOUND    it names nothing
//	SIGNATURE    the caller's key has not signed it
//
// These are the codes:
//
//	FORMAT_ERROR               the request is not as documented: see fields
//	TIMELIMIT_ERROR            iat is more than 20 seconds from the time
//	NOT_ALLOWED                session or client unknown, signature missing or wrong: see fields
//	INVOICE_NOT_FOUND          no invoice of the client has this id
//	INVOICE_INACTIVE           the invoice can no longer be paid
//	INVOICE_PAID               the one-time invoice is paid
//	PAYMENT_NOT_FOUND          no payment of the invoice has this id
//	PAYMENT_IN_PROGRESS        another payment of the invoice is in progress
//	COMMAND_IN_PROGRESS        another command on the payment is in progress
//	WRONG_STATUS               the payment's status does not allow the command
//	CARD_NOT_FOUND             the client has no card with this id
//	CARD_EXPIRED               the card has expired
//	CARD_REFUSED               the acquirer does not know such a card
//	SAME_CARD                  a card would be paid from itself
//	NOT_A_SUBSCRIPTION         the invoice is not of type SUBSCRIBE
//	SUBSCRIPTION_ENDED         the subscription has ended
//	TOO_LARGE                  the body is larger than 1 MiB
//	IDEMPOTENCY_KEY_MALFORMED  the Idempotency-Key is not 1 to 255 printable ASCII characters
//
// These keep their HTTP status:
//
//	400  FORMAT_ERROR                 of a notification, which the acquirer sends
//	404  NOT_FOUND                    there is no such call
//	405  METHOD_NOT_ALLOWED           every call is a POST
//	409  IDEMPOTENCY_KEY_IN_PROGRESS  the same request is being worked on
//	422  IDEMPOTENCY_KEY_REUSED       the key was used by another request
//	429  TOO_MANY_REQUESTS            sessions/create is limited by address
//	500  INTERNAL                     a fault of ours
//	503  UNAVAILABLE                  nothing is known to be done: try again
//
// A command on a payment is accepted, and the operation that the answer's headers name
// tells how it ended. Who prefers to wait for its end (Prefer: wait=N) is answered with the
// code of what was refused meanwhile: DECLINED, INSUFFICIENT_FUNDS, WRONG_CODE and whatever
// else the acquirer says.
//
// The number of a card goes to the acquirer and nowhere else: no message, no log line and
// no stored fingerprint has it. The known hole: a number in a member that is not for one
// is kept as what that member is for.
package invoicer

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// books is what this API needs of the store.
type books interface {
	Shop(ctx context.Context, number int64) (store.Shop, error)
	ShopOfSession(context.Context, store.ClientSession) (store.Shop, error)
	OpenClientSession(ctx context.Context, client int64, session store.ClientSession, once store.Once) error

	IssueShopInvoice(context.Context, store.NewShopInvoice, store.Once) error
	ShopInvoice(context.Context, store.InvoiceNumber) (store.ShopInvoice, error)
	ShopInvoices(ctx context.Context, client int64, ids []store.InvoiceNumber, externalIDs []string) ([]store.ShopInvoice, error)
	UpdateSubscription(context.Context, store.SubscriptionChange) (store.Answer, error)

	CardPayment(ctx context.Context, client int64, id store.PaymentID) (store.CardPayment, error)
	CreateCardPayment(context.Context, store.NewCardPayment) (store.OperationID, error)
	AcceptPaymentCommand(context.Context, store.PaymentCommand) (store.OperationID, error)
	InquireNow(context.Context, store.IntentID) error

	LeaseKey(ctx context.Context, once store.Once, fresh store.IntentID) (store.IntentID, error)
	ReleaseKey(context.Context, store.Once) error
	AddCard(context.Context, store.NewCard, store.Once) error
	CardToken(ctx context.Context, client int64, id store.CardID) (store.Card, string, error)
}

// Config is what the API is built from.
type Config struct {
	Books        books
	Tokeniser    api.Tokeniser
	Waiter       *api.Waiter
	SessionLimit *api.RateLimit
	PublicURL    string           // of this server, as payers reach it; without a slash at its end
	Now          func() time.Time // default time.Now
}

// New returns the API.
//
// It has no admission of its own: what waits for the acquirer waits in the queue of cards,
// whose consumers are bounded, and holds up nobody else's commands.
func New(cfg Config) api.API {
	h := &handlers{Config: cfg}
	if h.Now == nil {
		h.Now = time.Now
	}
	post := func(path, who string, handle api.Handler) api.Route {
		return api.Route{Method: http.MethodPost, Path: path, Who: who, Handle: handle}
	}
	const session = "a shop's session"
	return api.API{
		Prefix:   "/api/",
		Mistake:  http.StatusOK,
		Shape:    shape,
		Refusals: refusals,
		Routes: []api.Route{
			post("/api/sessions/create", "a shop, at a limited rate", cfg.SessionLimit.Around(h.by(h.shopOfClient, h.createSession))),
			post("/api/cards/create", session, h.by(h.shopOfSession, h.createCard)),
			post("/api/invoicer/invoices/create", session, h.by(h.shopOfSession, h.createInvoice)),
			post("/api/invoicer/invoices/show", session, h.by(h.shopOfSession, h.showInvoice)),
			post("/api/invoicer/invoices/show/list", session, h.by(h.shopOfSession, h.listInvoices)),
			post("/api/invoicer/payments/create", session, h.by(h.shopOfSession, h.createPayment)),
			post("/api/invoicer/payments/confirm", session, h.by(h.shopOfSession, h.accept(store.PaymentConfirm))),
			post("/api/invoicer/payments/complete", session, h.by(h.shopOfSession, h.accept(store.PaymentComplete))),
			post("/api/invoicer/payments/cancel", session, h.by(h.shopOfSession, h.accept(store.PaymentCancel))),
			post("/api/invoicer/payments/reverse", session, h.by(h.shopOfSession, h.accept(store.PaymentReverse))),
			post("/api/invoicer/payments/show", session, h.by(h.shopOfSession, h.showPayment)),
			post("/api/invoicer/payments/checkStatus", session, h.by(h.shopOfSession, h.checkStatus)),
			post("/api/invoicer/payments/showCommission", session, h.by(h.shopOfSession, h.showCommission)),
			post("/api/invoicer/subscriptions/update", session, h.by(h.shopOfSession, h.updateSubscription)),
			post("/api/acquiring/notifications", "anybody: it is a hint", h.notified),
		},
	}
}

type handlers struct{ Config }

// by lets a handler answer a shop. Who repeats a request is answered as it was at first,
// signed as this time.
func (h *handlers) by(who identify, handle func(*gin.Context, *request) error) api.Handler {
	return func(c *gin.Context) error {
		r, err := h.read(c, who)
		if err != nil {
			return err
		}
		err = handle(c, r)
		var replay *store.Replay
		if !errors.As(err, &replay) {
			return err
		}
		answer, err := h.sealed(r, replay.Answer)
		if err != nil {
			return err
		}
		return &store.Replay{Answer: answer}
	}
}

// ok is the HTTP status of every answer that is not for the infrastructure.
const ok = http.StatusOK

// succeeded is the original's envelope of everything that went well. ID is of
// sessions/create only, which the original documents so.
type succeeded struct {
	Status int    `json:"status"`
	ID     string `json:"id,omitempty"`
	Data   any    `json:"data"`
}

func success(data any) succeeded { return succeeded{Status: 1, Data: data} }

// signedData is what stands for an answer's data where the request was signed.
type signedData struct {
	Token string `json:"token"`
}

// answer sends what a request is answered, signed if it was.
func (h *handlers) answer(c *gin.Context, r *request, a store.Answer) error {
	a, err := h.sealed(r, a)
	if err != nil {
		return err
	}
	api.Answer(c, a.Status, a.Body)
	return nil
}

// show answers a question.
func (h *handlers) show(c *gin.Context, r *request, data any) error {
	return h.answer(c, r, store.Answer{Status: ok, Body: api.Encode(success(data))})
}

// accepted answers a command, once it has ended where the client prefers to wait.
func (h *handlers) accepted(c *gin.Context, r *request, a store.Answer, operation store.OperationID) error {
	a, err := h.sealed(r, a)
	if err != nil {
		return err
	}
	a.Operation = operation
	return h.Waiter.Accepted(c, a, ok, notDone)
}
