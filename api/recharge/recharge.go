// Package recharge is the API of back offices: two-phase top-ups of an account's wallet.
// A payment is created, and then committed or rolled back.
//
// Amounts are decimal numbers, read exactly and shown in their shortest exact form; no
// float is ever made of them. A body is refused unless it can be read in one way only. A
// commit or rollback is a command: it is accepted, and the operation that the answer names
// tells how it ended.
package recharge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// books is what this API needs of the store.
type books interface {
	Providers(context.Context) ([]store.Provider, error)
	Recharges(context.Context, store.RechargeFilter) ([]store.Recharge, error)
	Recharge(ctx context.Context, provider string, id store.RechargeID) (store.Recharge, error)
	CreateRecharge(context.Context, store.NewRecharge) (store.Answer, error)
	UpdateRecharge(context.Context, store.RechargeUpdate) error
	AcceptRecharge(context.Context, store.RechargeCommand) (store.Answer, error)
}

// callers says who calls: somebody who may use this API and has these rights, or an error.
type callers interface {
	Allowed(c *gin.Context, rights ...string) (store.Caller, error)
}

// Config is what the API is built from.
type Config struct {
	Books     books
	Waiter    *api.Waiter
	Admission *api.Admission
	Callers   callers
}

// New returns the API.
func New(cfg Config) api.API {
	const (
		providers = "/v3/rechargeProviders"
		payments  = providers + "/:reference/payments"
		payment   = payments + "/:id"
		manager   = "scope credit, right manage_payments"
	)
	h := &handlers{Config: cfg}
	byManager := func(handle func(*gin.Context, store.Caller) error) api.Handler {
		return h.by(handle, store.RightManagePayments)
	}
	return api.API{
		Prefix:   "/v3/",
		Mistake:  http.StatusBadRequest,
		Shape:    shape,
		Refusals: refusals,
		Routes: []api.Route{
			{Method: http.MethodGet, Path: providers, Who: "scope credit", Handle: h.by(h.listProviders)},
			{Method: http.MethodGet, Path: payments, Who: manager, Handle: byManager(h.listPayments)},
			{Method: http.MethodPost, Path: payments, Who: manager, Handle: byManager(h.createPayment)},
			{Method: http.MethodGet, Path: payment, Who: manager, Handle: byManager(h.showPayment)},
			{Method: http.MethodPatch, Path: payment, Who: manager, Handle: byManager(h.updatePayment)},
			{Method: http.MethodPost, Path: payment + "/commit", Who: manager, Handle: byManager(h.commitPayment)},
			{Method: http.MethodPost, Path: payment + "/rollback", Who: manager, Handle: byManager(h.rollBackPayment)},
		},
	}
}

type handlers struct{ Config }

// by lets a handler answer those who have the rights.
func (h *handlers) by(handle func(*gin.Context, store.Caller) error, rights ...string) api.Handler {
	return func(c *gin.Context) error {
		caller, err := h.Callers.Allowed(c, rights...)
		if err != nil {
			return err
		}
		return named(handle(c, caller))
	}
}

// named says which field the store does not accept.
func named(err error) error {
	var wrong *store.FieldError
	if errors.As(err, &wrong) {
		return invalid(api.Problems{wrong.Field: wrong.Problem})
	}
	return err
}

// refused is a refusal as the original worded it. Data is a list, empty unless it says what
// is wrong with which field.
type refused struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Data    []problem `json:"data"`
}

type problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func shape(r api.Refusal) any {
	shown := refused{Code: r.Status, Message: r.Message, Data: []problem{}}
	for field, wrong := range r.Fields {
		shown.Data = append(shown.Data, problem{Field: field, Message: wrong})
	}
	slices.SortFunc(shown.Data, func(a, b problem) int { return cmp.Compare(a.Field, b.Field) })
	return shown
}

// wrongState is the original's sentence.
const wrongState = "Invalid operation: The operation cannot be performed in the current state."

// refusals are the store's errors that are the client's.
var refusals = []api.Case{
	{Err: store.ErrProviderNotFound, Refusal: api.Refusal{Status: http.StatusNotFound, Code: "provider_not_found", Message: "Payment provider not found."}},
	{Err: store.ErrRechargeNotFound, Refusal: api.Refusal{Status: http.StatusNotFound, Code: "payment_not_found", Message: "Payment not found."}},
	{Err: store.ErrRechargeState, Refusal: api.Refusal{Status: http.StatusConflict, Code: "wrong_state", Message: wrongState}},
	{Err: store.ErrProviderDisabled, Refusal: api.Refusal{Status: http.StatusConflict, Code: "provider_disabled", Message: wrongState + " Payment provider is disabled."}},
	{Err: store.ErrAccountNotFound, Refusal: api.Refusal{Code: "user_not_found", Message: invalidParameters, Fields: map[string]string{"userId": "is not the id of an open account"}}},
	api.TooLarge,
}

const invalidParameters = "Invalid parameters."

func invalid(problems api.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return &api.Refusal{Code: "invalid", Message: invalidParameters, Fields: problems}
}

// object reads a body that is a JSON object.
func object(c *gin.Context) (api.Object, []byte, error) {
	text, err := api.Body(c)
	if err != nil {
		return nil, nil, err
	}
	o, wrong := api.ParseObject(text)
	if wrong != "" {
		return nil, nil, invalid(api.Problems{"body": wrong})
	}
	return o, text, nil
}

// once reads the Idempotency-Key. A key belongs to the client and, where one is logged in,
// the user.
func once(c *gin.Context, by store.Caller, body []byte, answer store.Answer) (store.Once, error) {
	return api.Once(c, fmt.Sprintf("client %d user %d", by.Client, by.User), body, answer)
}

var saneReference = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// provider reads the reference of a path. What cannot be one is a provider that nobody has.
func provider(c *gin.Context) (string, error) {
	reference := c.Param("reference")
	if !saneReference.MatchString(reference) {
		return "", store.ErrProviderNotFound
	}
	return reference, nil
}

// payment reads the reference and the id of a path.
func payment(c *gin.Context) (reference string, id store.RechargeID, err error) {
	if reference, err = provider(c); err != nil {
		return "", store.RechargeID{}, err
	}
	id, ok := store.ParseRechargeID(c.Param("id"))
	if !ok {
		return "", store.RechargeID{}, store.ErrRechargeNotFound
	}
	return reference, id, nil
}
