package invoicer

import (
	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// createCard stores a card: the acquirer's token of it, and what may be shown.
func (h *handlers) createCard(c *gin.Context, r *request) error {
	details := h.readCard(r.data)
	if err := invalid(r.wrong); err != nil {
		return err
	}
	card := store.NewCardID()
	once, err := r.once(c, success(named{card.String()}))
	if err != nil {
		return err
	}
	ctx := c.Request.Context()
	err = h.withToken(ctx, once, details, func(known store.Card, token string) error {
		known.ID = card
		return h.Books.AddCard(ctx, store.NewCard{Card: known, Client: r.shop.Client, Token: token}, once)
	})
	if err != nil {
		return err
	}
	return h.answer(c, r, once.Answer)
}

func (h *handlers) readCard(data form) api.CardDetails {
	data.require("pan", "expiresAt")
	details := api.CardDetails{Number: data.text("pan", maxText), Expiry: data.text("expiresAt", maxText)}
	data.check("pan", api.IsCardNumber(details.Number), format)
	month, past := api.CardExpiry(details.Expiry, h.Now())
	data.check("expiresAt", month, format)
	data.check("expiresAt", !past, outOfRange)
	return details
}
