package invoicer

import (
	"context"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/store"
)

// shopOfSession finds who asks by the session, which every call but sessions/create has.
func (h *handlers) shopOfSession(ctx context.Context, params form) (store.Shop, error) {
	params.require("sessionId")
	session := id(params, "sessionId", parseSession)
	if err := invalid(params.wrong); err != nil {
		return store.Shop{}, err
	}
	return h.Books.ShopOfSession(ctx, session)
}

func parseSession(text string) (store.ClientSession, bool) {
	id, err := uuid.Parse(text)
	return store.ClientSession(id.String()), err == nil && len(text) == 36 // uuid.Parse takes three other forms
}

// shopOfClient finds who asks by the number of the client, a text or an integer.
func (h *handlers) shopOfClient(ctx context.Context, params form) (store.Shop, error) {
	params.require("clientId")
	number := params.number("clientId")
	if err := invalid(params.wrong); err != nil {
		return store.Shop{}, err
	}
	return h.Books.Shop(ctx, number)
}

type named struct {
	ID string `json:"id"`
}

// createSession gives the shop a credential for its other calls.
func (h *handlers) createSession(c *gin.Context, r *request) error {
	session := uuid.NewString()
	answer := success(named{session})
	answer.ID = session
	once, err := r.once(c, answer)
	if err != nil {
		return err
	}
	if err := h.Books.OpenClientSession(c.Request.Context(), r.shop.Client, store.ClientSession(session), once); err != nil {
		return err
	}
	c.Header("Cache-Control", "no-store")
	return h.answer(c, r, once.Answer)
}
