package recharge

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

type shownProvider struct {
	Name        string   `json:"name"`
	Reference   string   `json:"reference"`
	Description string   `json:"description"`
	Params      []string `json:"params"`
}

type shownProviders struct {
	Providers []shownProvider `json:"providers"`
	Count     int             `json:"count"`
}

func (h *handlers) listProviders(c *gin.Context, _ store.Caller) error {
	providers, err := h.Books.Providers(c.Request.Context())
	if err != nil {
		return err
	}
	list := shownProviders{Providers: make([]shownProvider, len(providers)), Count: len(providers)}
	for i, p := range providers {
		list.Providers[i] = shownProvider{Name: p.Name, Reference: p.Reference, Description: p.Description, Params: append([]string{}, p.Params...)}
	}
	api.Answer(c, http.StatusOK, api.Encode(list))
	return nil
}

// shownPayment is a recharge as clients see it. Times are ISO 8601 with milliseconds, in
// UTC; the amount is a number of whole units, the currency its three letters.
type shownPayment struct {
	ID          string      `json:"id"`
	UserID      int64       `json:"userId"`
	Amount      json.Number `json:"amount"`
	Currency    string      `json:"currency"`
	State       string      `json:"state"`
	Created     string      `json:"created"`
	Updated     string      `json:"updated"`
	Expires     string      `json:"expires"`
	PaymentNo   int64       `json:"paymentNo"`
	Provider    string      `json:"provider"`
	Description string      `json:"description"`
}

type shownPayments struct {
	Payments []shownPayment `json:"payments"`
	Count    int            `json:"count"`
}

func show(r store.Recharge) shownPayment {
	return shownPayment{
		ID: r.ID.String(), UserID: r.Account, Amount: json.Number(r.Amount.Decimal()), Currency: r.Amount.Currency.Alpha(),
		State: string(r.State), Created: api.Time(r.CreatedAt), Updated: api.Time(r.UpdatedAt), Expires: api.Time(r.ExpiresAt),
		PaymentNo: r.PaymentNo, Provider: r.Provider, Description: r.Description,
	}
}

func (h *handlers) listPayments(c *gin.Context, _ store.Caller) error {
	filter, err := filterOf(c)
	if err != nil {
		return err
	}
	recharges, err := h.Books.Recharges(c.Request.Context(), filter)
	if err != nil {
		return err
	}
	list := shownPayments{Payments: make([]shownPayment, len(recharges)), Count: len(recharges)}
	for i, r := range recharges {
		list.Payments[i] = show(r)
	}
	api.Answer(c, http.StatusOK, api.Encode(list))
	return nil
}

var states = []store.RechargeState{
	store.RechargeCreated, store.RechargeCommitting, store.RechargeCommitted,
	store.RechargeRollingBack, store.RechargeRolledBack, store.RechargeExpired,
}

func filterOf(c *gin.Context) (store.RechargeFilter, error) {
	reference, err := provider(c)
	if err != nil {
		return store.RechargeFilter{}, err
	}
	p := api.Problems{}
	f := store.RechargeFilter{Provider: reference, Page: api.Page(c, p, store.ParseRechargeID)}
	if text, ok := c.GetQuery("userId"); ok {
		id, valid := api.ParseID(text)
		p.Check("userId", valid, "must be a positive integer")
		f.Account = id
	}
	if text, ok := c.GetQuery("state"); ok {
		f.State = store.RechargeState(text)
		p.Check("state", slices.Contains(states, f.State), "must be created, committing, committed, rolling_back, rolled_back or expired")
	}
	return f, invalid(p)
}

// detailedPayment is what one payment has beyond its line in the list.
type detailedPayment struct {
	shownPayment
	Params map[string]json.RawMessage `json:"params"`
}

func (h *handlers) showPayment(c *gin.Context, _ store.Caller) error {
	reference, id, err := payment(c)
	if err != nil {
		return err
	}
	r, err := h.Books.Recharge(c.Request.Context(), reference, id)
	if err != nil {
		return err
	}
	api.Answer(c, http.StatusOK, api.Encode(detailedPayment{shownPayment: show(r), Params: shownParams(r)}))
	return nil
}

// shownParams are the client's own params and what they are always shown with.
func shownParams(r store.Recharge) map[string]json.RawMessage {
	shown := make(map[string]json.RawMessage, len(r.Params)+3)
	for name, value := range r.Params {
		shown[name] = value
	}
	shown["amount"] = json.RawMessage(r.Amount.Decimal())
	if r.CreatedBy != 0 {
		shown["createdBy"] = json.RawMessage(strconv.FormatInt(r.CreatedBy, 10))
	}
	return shown
}
