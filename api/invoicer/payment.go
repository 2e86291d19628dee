package invoicer

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

var securityCode = regexp.MustCompile(`^[0-9]{3,4}$`)

// createPayment pays an invoice with a card of the shop's. The security code is for this
// payment alone: the acquirer makes a token of both.
func (h *handlers) createPayment(c *gin.Context, r *request) error {
	n, details := readPayment(r.params, r.data)
	if err := invalid(r.wrong); err != nil {
		return err
	}
	var err error
	if n.Card, details.Token, err = h.Books.CardToken(c.Request.Context(), r.shop.Client, n.Card.ID); err != nil {
		return err
	}
	n.ID, n.Intent, n.Client = store.NewPaymentID(), store.NewIntentID(), r.shop.Client
	if n.Once, err = r.once(c, success(named{n.ID.String()})); err != nil {
		return err
	}
	var operation store.OperationID
	err = h.withToken(c.Request.Context(), n.Once, details, func(_ store.Card, token string) (err error) {
		n.Token = token
		operation, err = h.Books.CreateCardPayment(c.Request.Context(), n)
		return err
	})
	if err != nil {
		return err
	}
	return h.accepted(c, r, n.Once.Answer, operation)
}

func readPayment(params, data form) (store.NewCardPayment, api.CardDetails) {
	checkDevice(params)
	card := data.object("cardFrom")
	data.require("invoiceId")
	card.require("id", "securityCode")
	_, sent := data.sent("currency")
	data.check("currency", !sent || data.number("currency") == store.Hryvnia, outOfRange)
	n := store.NewCardPayment{
		Invoice: id(data, "invoiceId", store.ParseInvoiceNumber),
		Card:    store.Card{ID: id(card, "id", store.ParseCardID)},
		Amount:  data.integer("amount", 1, store.MaxCardAmount),
		Email:   data.email("email"),
	}
	return n, api.CardDetails{SecurityCode: card.matching("securityCode", securityCode)}
}

// withToken exchanges a card's details for a token and commits with it. The request's key is
// leased meanwhile: who sends the same again exchanges under the same intent, which has its
// effect once, and not at the same time. Whatever goes wrong gives the key up. What did
// commit all the same has claimed it, and is what the next such request is answered.
func (h *handlers) withToken(ctx context.Context, once store.Once, details api.CardDetails, commit func(store.Card, string) error) error {
	intent, err := h.Books.LeaseKey(ctx, once, store.NewIntentID())
	if err != nil {
		return err
	}
	card, token, err := h.Tokeniser.Tokenise(ctx, intent, details)
	if err == nil {
		err = commit(card, token)
	}
	if err != nil {
		return errors.Join(err, h.release(ctx, once))
	}
	return nil
}

// release gives a key up, even though the client may have hung up. It never makes a refusal
// a fault: a lease that stays ends by itself.
func (h *handlers) release(ctx context.Context, once store.Once) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return h.Books.ReleaseKey(ctx, once)
}

type acted struct {
	PaymentID string `json:"paymentId"`
}

// accept enqueues a command on a payment.
func (h *handlers) accept(command store.OperationType) func(*gin.Context, *request) error {
	return func(c *gin.Context, r *request) error {
		asked := readCommand(command, r.params, r.data)
		err := invalid(r.wrong)
		if err != nil {
			return err
		}
		asked.Client = r.shop.Client
		if asked.Once, err = r.once(c, success(acted{asked.Payment.String()})); err != nil {
			return err
		}
		operation, err := h.Books.AcceptPaymentCommand(c.Request.Context(), asked)
		if err != nil {
			return err
		}
		return h.accepted(c, r, asked.Once.Answer, operation)
	}
}

func readCommand(command store.OperationType, params, data form) store.PaymentCommand {
	params.require("paymentId", "invoiceId")
	asked := store.PaymentCommand{
		Type:    command,
		Payment: id(params, "paymentId", store.ParsePaymentID),
		Invoice: id(params, "invoiceId", store.ParseInvoiceNumber),
	}
	switch command {
	case store.PaymentConfirm:
		params.require("code")
		params.text("key", maxText) // of the original's own encryption; ours needs none
		asked.Code = params.text("code", maxText)
	case store.PaymentComplete, store.PaymentReverse:
		asked.Amount = readPart(params, data)
	}
	return asked
}

// readPart reads how much to complete or to reverse; 0 stands for all. The original has the
// amount in params of one and in data of the other. It is read from both: who mistook the
// place must not move all there is.
func readPart(params, data form) int64 {
	first, second := params.integer("amount", 1, store.MaxCardAmount), data.integer("amount", 1, store.MaxCardAmount)
	data.check("amount", first == 0 || second == 0 || first == second, mismatch)
	return max(first, second)
}
