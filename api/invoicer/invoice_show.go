package invoicer

import (
	"encoding/json"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// maxListed is how many invoices can be asked for at once.
const maxListed = 100

// shownInvoice has the keys of the original, in its order and types. Amounts are minor
// units; null is an amount that the payer chooses.
type shownInvoice struct {
	ID            string             `json:"id"`
	ExternalID    string             `json:"externalId"`
	InvoiceNumber int64              `json:"invoiceNumber"`
	ClientID      int64              `json:"clientId"`
	ClientName    string             `json:"clientName"`
	Description   string             `json:"description"`
	SystemType    string             `json:"systemType"`
	Amount        *int64             `json:"amount"`
	Reusability   bool               `json:"reusability"`
	InvoiceStatus string             `json:"invoiceStatus"`
	Type          string             `json:"type"`
	ServiceData   []store.Service    `json:"serviceData"`
	RedirectURL   *string            `json:"redirectUrl"`
	CallbackURL   *string            `json:"callbackUrl"`
	Email         *string            `json:"email"`
	ExtraInfo     api.Object         `json:"extraInfo"`
	CardToID      *string            `json:"cardToId"`
	PayExpiresAt  string             `json:"payExpiresAt,omitempty"`
	CreatedAt     string             `json:"createdAt"`
	Payments      []shownPayment     `json:"payments"`
	RecurringData shownRecurringData `json:"recurringData"`
}

// shownRecurringData is {} of what is no subscription. Dates are Kyiv's.
type shownRecurringData struct {
	EndSubscribeDate string `json:"endSubscribeDate,omitempty"`
	PrevPaymentDate  string `json:"prevPaymentDate,omitempty"` // with the time of day
	NextPaymentDate  string `json:"nextPaymentDate,omitempty"`
}

func (h *handlers) shown(i store.ShopInvoice) shownInvoice {
	s := shownInvoice{
		ID: i.ID.String(), ExternalID: i.ExternalID, InvoiceNumber: i.Number, ClientID: i.ClientNumber, ClientName: i.ClientName,
		Description: i.Description, SystemType: string(i.SystemType), Amount: orNull(i.Amount), Reusability: i.Reusable,
		InvoiceStatus: invoiceStatus(i.Active), Type: string(i.Type), ServiceData: orNone(i.Services),
		RedirectURL: orNull(i.RedirectURL), CallbackURL: orNull(i.CallbackURL), Email: orNull(i.Email),
		ExtraInfo: extraInfo(i.ExtraInfo), CreatedAt: api.Time(i.CreatedAt), Payments: []shownPayment{},
		RecurringData: recurringData(i.Subscription),
	}
	if !i.CardTo.IsZero() {
		s.CardToID = orNull(i.CardTo.String())
	}
	if i.PayExpiresAt != nil {
		s.PayExpiresAt = i.PayExpiresAt.In(kyiv).Format(time.DateTime)
	}
	for _, p := range i.Payments {
		s.Payments = append(s.Payments, h.shownPayment(p))
	}
	return s
}

func orNull[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

// orNone makes a list that is not there one without anything in it.
func orNone[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func invoiceStatus(active bool) string {
	if active {
		return "ACTIVE"
	}
	return "INACTIVE"
}

// extraInfo is what the shop sent, and where the invoice comes from.
func extraInfo(sent json.RawMessage) api.Object {
	shown := api.Object{}
	_ = json.Unmarshal(sent, &shown) // it was read as an object before it was stored; nothing is no object
	shown["origin"] = json.RawMessage(`"invoicer"`)
	return shown
}

func recurringData(s *store.Subscription) (shown shownRecurringData) {
	if s == nil {
		return shown
	}
	shown.EndSubscribeDate = s.ExpiresAt.In(kyiv).Format(time.DateOnly)
	if s.PaidAt != nil {
		shown.PrevPaymentDate = s.PaidAt.In(kyiv).Format(time.DateTime)
	}
	if s.DueAt != nil && s.Active {
		shown.NextPaymentDate = s.DueAt.In(kyiv).Format(time.DateOnly)
	}
	return shown
}

// invoiceOf returns the invoice that a request names, if it is the shop's.
func (h *handlers) invoiceOf(c *gin.Context, r *request, name string) (store.ShopInvoice, error) {
	r.params.require(name)
	number := id(r.params, name, store.ParseInvoiceNumber)
	if err := invalid(r.wrong); err != nil {
		return store.ShopInvoice{}, err
	}
	i, err := h.Books.ShopInvoice(c.Request.Context(), number)
	if err == nil && i.Client != r.shop.Client {
		return store.ShopInvoice{}, store.ErrInvoiceNotFound
	}
	return i, err
}

func (h *handlers) showInvoice(c *gin.Context, r *request) error {
	i, err := h.invoiceOf(c, r, "id")
	if err != nil {
		return err
	}
	return h.show(c, r, h.shown(i))
}

type listed struct {
	Invoices []shownInvoice `json:"invoices"`
}

// listInvoices shows those that have one of the ids, or one of the external ids.
func (h *handlers) listInvoices(c *gin.Context, r *request) error {
	numbers := ids(r.params, "ids", store.ParseInvoiceNumber)
	externalIDs := ids(r.params, "externalIds", func(text string) (string, bool) { return text, true })
	r.params.check("ids", len(numbers)+len(externalIDs) > 0, required)
	r.params.check("externalIds", len(numbers)+len(externalIDs) > 0, required)
	r.params.check("externalIds", len(numbers)+len(externalIDs) <= maxListed, outOfRange)
	if err := invalid(r.wrong); err != nil {
		return err
	}
	invoices, err := h.Books.ShopInvoices(c.Request.Context(), r.shop.Client, numbers, externalIDs)
	if err != nil {
		return err
	}
	list := listed{Invoices: []shownInvoice{}}
	for _, i := range invoices {
		list.Invoices = append(list.Invoices, h.shown(i))
	}
	return h.show(c, r, list)
}

type shownCommission struct {
	Commission       shownTariff `json:"commission"`
	CommissionAmount int64       `json:"commissionAmount"`
}

// shownTariff is what a payment costs on top: so many percents of it, exactly, and so many
// minor units.
type shownTariff struct {
	Percents json.Number `json:"percents"`
	Fixed    int64       `json:"fixed"`
}

// showCommission says what a payment of the invoice costs on top. The amount is asked for
// where the invoice's is open; otherwise the invoice's is what counts, as it was the
// original's.
func (h *handlers) showCommission(c *gin.Context, r *request) error {
	amount := r.data.integer("amount", 1, store.MaxCardAmount)
	i, err := h.invoiceOf(c, r, "invoiceId")
	if err != nil {
		return err
	}
	if i.Amount > 0 {
		amount = i.Amount
	}
	r.data.check("amount", amount > 0, required)
	if err := invalid(r.wrong); err != nil {
		return err
	}
	return h.show(c, r, shownCommission{
		Commission:       shownTariff{Percents: json.Number(i.Tariff.Percents()), Fixed: i.Tariff.Fixed},
		CommissionAmount: i.Commission(amount),
	})
}
