package recharge

import (
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// createRequest is what a payment is made of.
type createRequest struct {
	UserID      api.ID
	Description api.Text
	Params      params
	Sum         sum
}

func readCreate(o api.Object) (r createRequest, p api.Problems) {
	p = api.Problems{}
	o.Read("userId", &r.UserID)
	o.Read("description", &r.Description)
	r.Params = readParams(p, o)
	r.Sum = sumOf(p, o, r.Params)
	p.Required("userId", r.UserID)
	p.Optional("description", r.Description)
	p.Check("params.createdBy", !r.Params.createdBy.Sent() && !r.Params.createdBy.Null(), "is set by us")
	return r, p
}

type created struct {
	ID          string                     `json:"id"`
	UserID      int64                      `json:"userId"`
	Amount      json.Number                `json:"amount"`
	Description string                     `json:"description"`
	Params      map[string]json.RawMessage `json:"params"`
}

// createPayment makes a payment that does nothing until it is committed.
func (h *handlers) createPayment(c *gin.Context, by store.Caller) error {
	reference, err := provider(c)
	if err != nil {
		return err
	}
	o, text, err := object(c)
	if err != nil {
		return err
	}
	r, problems := readCreate(o)
	if err := invalid(problems); err != nil {
		return err
	}
	once, err := once(c, by, text, store.Answer{})
	if err != nil {
		return err
	}
	answer, err := h.Books.CreateRecharge(c.Request.Context(), store.NewRecharge{
		ID: store.NewRechargeID(), Provider: reference, Account: r.UserID.Value, Amount: r.Sum.amount, Currency: r.Sum.currency,
		Description: r.Description.Value, Params: r.Params.own, Client: by.Client, User: by.User, Once: once,
		Answer: func(made store.Recharge) store.Answer { return answerCreated(made, r.Params.currency.Sent()) },
	})
	if err != nil {
		return err
	}
	api.Answer(c, answer.Status, answer.Body)
	return nil
}

// answerCreated shows the params as they were sent, and what they always have.
func answerCreated(r store.Recharge, withCurrency bool) store.Answer {
	params := shownParams(r)
	if withCurrency {
		params["currency"] = api.Encode(r.Amount.Currency.Alpha())
	}
	return store.Answer{Status: http.StatusCreated, Body: api.Encode(created{
		ID: r.ID.String(), UserID: r.Account, Amount: json.Number(r.Amount.Decimal()), Description: r.Description, Params: params,
	})}
}

const cannotChange = "cannot be changed"

// updateRequest changes what is said about a payment, never the money.
type updateRequest struct {
	Description api.Text
	Params      params
	Sum         sum
}

func readUpdate(o api.Object) (r updateRequest, p api.Problems) {
	p = api.Problems{}
	o.Read("description", &r.Description)
	r.Params = readParams(p, o)
	r.Sum = sumOf(p, o, r.Params)
	p.Optional("description", r.Description)
	for _, name := range []string{"amount", "currency"} {
		p.Check(name, string(o[name]) != "null", cannotChange)
	}
	p.Check("params.amount", !r.Params.amount.Null(), cannotChange)
	p.Check("params.currency", !r.Params.currency.Null(), cannotChange)
	p.Optional("params.createdBy", r.Params.createdBy)
	p.Check("params.createdBy", !r.Params.createdBy.Null(), cannotChange)
	p.Check("body", len(p) > 0 || r.description() != nil || r.Params.sent, "must have a description or params")
	return r, p
}

// description is nil where it stays; null takes it away, as it takes away one of the params.
func (r updateRequest) description() *string {
	if !r.Description.Sent() && !r.Description.Null() {
		return nil
	}
	return &r.Description.Value
}

func (h *handlers) updatePayment(c *gin.Context, by store.Caller) error {
	reference, id, err := payment(c)
	if err != nil {
		return err
	}
	o, text, err := object(c)
	if err != nil {
		return err
	}
	r, problems := readUpdate(o)
	if err := invalid(problems); err != nil {
		return err
	}
	if err := h.checkCreatedBy(c, reference, id, r.Params.createdBy); err != nil {
		return err
	}
	answer := store.Answer{Status: http.StatusNoContent}
	once, err := once(c, by, text, answer)
	if err != nil {
		return err
	}
	err = h.Books.UpdateRecharge(c.Request.Context(), store.RechargeUpdate{
		Provider: reference, ID: id, Description: r.description(), Params: r.Params.own, Amount: r.Sum.amount, Currency: r.Sum.currency, Once: once,
	})
	if err != nil {
		return err
	}
	api.Answer(c, answer.Status, answer.Body)
	return nil
}

// checkCreatedBy lets a client send back what it was shown. It reads before the update,
// which is safe: who created a payment never changes.
func (h *handlers) checkCreatedBy(c *gin.Context, reference string, id store.RechargeID, sent api.Integer) error {
	if !sent.Sent() {
		return nil
	}
	r, err := h.Books.Recharge(c.Request.Context(), reference, id)
	if err != nil {
		return err
	}
	problems := api.Problems{}
	problems.Check("params.createdBy", sent.Value != 0 && sent.Value == r.CreatedBy, cannotChange)
	return invalid(problems)
}
