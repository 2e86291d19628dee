package mobile

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

type makeInvoiceRequest struct {
	Amount        api.Integer `json:"amount"` // minor units
	Items         items       `json:"items"`
	CurrencyCode  api.Integer `json:"currencyCode"` // ISO 4217 number
	Description   api.Text    `json:"description"`
	Payer         api.Text    `json:"payer"`     // account number or session id
	Recipient     api.Text    `json:"recipient"` // account number or session id
	SessionID     api.Text    `json:"sessionId"`
	NameCheque    api.Text    `json:"nameCheque"`
	DatePayCheque api.Text    `json:"datePayCheque"`
}

func (r *makeInvoiceRequest) problems() api.Problems {
	p := api.Problems{}
	p.Required("items", r.Items)
	p.Required("description", r.Description)
	p.Required("payer", r.Payer)
	p.Required("recipient", r.Recipient)
	p.Required("nameCheque", r.NameCheque)
	p.Required("datePayCheque", r.DatePayCheque)
	checkSession(p, r.SessionID)
	checkAmount(p, r.Amount, r.CurrencyCode)
	r.Items.check(p, r.Amount.Value)
	return p
}

func checkSession(p api.Problems, id api.Text) {
	p.Required("sessionId", id)
	_, ok := parseSession(id.Value)
	p.Check("sessionId", ok, "must be a session id")
}

func checkAmount(p api.Problems, minor, currency api.Integer) {
	p.Required("amount", minor)
	p.Check("amount", minor.Value > 0, "must be positive")
	p.Required("currencyCode", currency)
	_, known := money.ParseCurrency(currency.Value)
	p.Check("currencyCode", known, "must be an ISO 4217 numeric code")
}

// amountOf is for requests whose problems were checked.
func amountOf(minor, currency api.Integer) money.Amount {
	return money.Amount{Minor: minor.Value, Currency: money.Currency(currency.Value)}
}

// items are the positions of an invoice: a list, which may be empty but must be sent.
type items struct {
	api.List[item]
}

type item struct {
	Price    api.Integer `json:"price"` // minor units
	Name     api.Text    `json:"name"`
	Selected bool        `json:"selected"`
}

// check reports the first position that is not right, and positions that do not add up.
func (l items) check(p api.Problems, amount int64) {
	sum := money.Amount{}
	for n, i := range l.Value {
		at := "items[" + strconv.Itoa(n) + "]"
		p.Required(at+".price", i.Price)
		p.Check(at+".price", i.Price.Value > 0, "must be positive")
		p.Required(at+".name", i.Name)
		if len(p) > 0 {
			return
		}
		var err error
		if sum, err = sum.Add(money.Amount{Minor: i.Price.Value}); err != nil {
			p["items"] = "must add up to the amount"
			return
		}
	}
	p.Check("items", len(l.Value) == 0 || sum.Minor == amount, "must add up to the amount")
}

func (l items) stored() []store.Item {
	stored := make([]store.Item, len(l.Value))
	for n, i := range l.Value {
		stored[n] = store.Item{Price: i.Price.Value, Name: i.Name.Value, Selected: i.Selected}
	}
	return stored
}

func (h *handlers) makeInvoice(c *gin.Context) error {
	var r makeInvoiceRequest
	body, err := decoded(c, &r)
	if err != nil {
		return err
	}
	id, _ := parseSession(r.SessionID.Value)
	number := store.InvoiceNumber(uuid.Must(uuid.NewUUID()))
	answer := store.Answer{Status: http.StatusCreated, Body: encode(succeeded{Number: number.String()})}
	once, err := api.Once(c, string(id), body, answer)
	if err != nil {
		return err
	}
	err = h.Books.IssueInvoice(c.Request.Context(), store.NewInvoice{
		Number: number, Session: id, Payer: partyOf(r.Payer), Recipient: partyOf(r.Recipient),
		Amount: amountOf(r.Amount, r.CurrencyCode), Description: r.Description.Value,
		NameCheque: r.NameCheque.Value, DatePayCheque: r.DatePayCheque.Value, Items: r.Items.stored(),
	}, once)
	if err != nil {
		return err
	}
	api.Answer(c, answer.Status, answer.Body)
	return nil
}

// partyOf brings a session id to its canonical form and leaves an account number alone.
func partyOf(t api.Text) string {
	if id, ok := parseSession(t.Value); ok {
		return string(id)
	}
	return strings.ToLower(t.Value)
}

// invoiceInfo is an invoice as the original showed it. Times are milliseconds since 1970,
// 0 for never.
type invoiceInfo struct {
	Number        string      `json:"number"`
	CurrencyCode  int         `json:"currencyCode"`
	Amount        int64       `json:"amount"`
	Description   string      `json:"description"`
	Recipient     string      `json:"recipient"`
	Payer         string      `json:"payer"`
	State         int         `json:"state"`
	Created       int64       `json:"created"`
	Updated       int64       `json:"updated"`
	Owner         string      `json:"owner"`
	ErrorCode     int         `json:"errorCode"`
	Items         []shownItem `json:"items"`
	DatePayCheque string      `json:"date_pay_cheque"`
	NameCheque    string      `json:"name_cheque"`
}

type shownItem struct {
	Price    int64  `json:"price"`
	Name     string `json:"name"`
	Selected bool   `json:"selected"`
}

func (h *handlers) invoiceInfo(c *gin.Context) error {
	number, ok := store.ParseInvoiceNumber(c.Param("number"))
	if !ok {
		return store.ErrInvoiceNotFound
	}
	i, err := h.Books.Invoice(c.Request.Context(), number)
	if err != nil {
		return err
	}
	info := invoiceInfo{
		Number: i.Number.String(), CurrencyCode: int(i.Amount.Currency), Amount: i.Amount.Minor, Description: i.Description,
		Recipient: i.Recipient, Payer: i.Payer, State: int(i.State), Created: i.CreatedAt.UnixMilli(), Owner: i.Owner,
		ErrorCode: int(i.Error), Items: []shownItem{}, DatePayCheque: i.DatePayCheque, NameCheque: i.NameCheque,
	}
	for _, item := range i.Items {
		info.Items = append(info.Items, shownItem{Price: item.Price, Name: item.Name, Selected: item.Selected})
	}
	if i.UpdatedAt != nil {
		info.Updated = i.UpdatedAt.UnixMilli()
	}
	success(c, succeeded{Data: info})
	return nil
}

type listedInvoice struct {
	Amount       int64  `json:"amount"`
	CurrencyCode int    `json:"currency_code"`
	Description  string `json:"description"`
	Number       string `json:"number"`
	Payer        string `json:"payer"`
	Recipient    string `json:"recipient"`
	TxID         string `json:"tx_id"`       // SHA-256 of the invoice as issued
	StatusCode   int    `json:"status_code"` // its state
	CreatedAt    string `json:"created_at"`
}

func (h *handlers) listInvoices(c *gin.Context) error {
	id, err := session(c)
	if err != nil {
		return err
	}
	page, err := page(c, store.ParseInvoiceNumber)
	if err != nil {
		return err
	}
	invoices, err := h.Books.InvoicesIssued(c.Request.Context(), id, page)
	if err != nil {
		return err
	}
	list := make([]listedInvoice, len(invoices))
	for n, i := range invoices {
		list[n] = listedInvoice{
			Amount: i.Amount.Minor, CurrencyCode: int(i.Amount.Currency), Description: i.Description, Number: i.Number.String(),
			Payer: i.Payer, Recipient: i.Recipient, TxID: hex.EncodeToString(i.TxID[:]), StatusCode: int(i.State),
			CreatedAt: localTime(i.CreatedAt),
		}
	}
	success(c, succeeded{Data: list})
	return nil
}

type payRequest struct {
	Amount       api.Integer `json:"amount"`
	CurrencyCode api.Integer `json:"currencyCode"`
	Description  api.Text    `json:"description"`
	Number       api.Text    `json:"number"`
	Recipient    api.Text    `json:"recipient"`
	SessionID    api.Text    `json:"sessionId"`
}

func (r *payRequest) problems() api.Problems {
	p := api.Problems{}
	checkAmount(p, r.Amount, r.CurrencyCode)
	p.Required("description", r.Description)
	p.Required("number", r.Number)
	p.Required("recipient", r.Recipient)
	checkSession(p, r.SessionID)
	return p
}

// paid echoes the payment, as the original did.
type paid struct {
	Amount       int64  `json:"amount"`
	CurrencyCode int64  `json:"currencyCode"`
	Description  string `json:"description"`
	Number       string `json:"number"`
	Recipient    string `json:"recipient"`
}

func (h *handlers) payInvoice(c *gin.Context) error {
	var r payRequest
	body, err := decoded(c, &r)
	if err != nil {
		return err
	}
	number, ok := store.ParseInvoiceNumber(r.Number.Value)
	if !ok {
		return store.ErrInvoiceNotFound
	}
	if err := h.Admission.Admit(); err != nil {
		return err
	}
	id, _ := parseSession(r.SessionID.Value)
	answer := store.Answer{Status: http.StatusCreated, Body: encode(succeeded{Data: paid{
		Amount: r.Amount.Value, CurrencyCode: r.CurrencyCode.Value, Description: r.Description.Value,
		Number: number.String(), Recipient: partyOf(r.Recipient),
	}})}
	once, err := api.Once(c, string(id), body, answer)
	if err != nil {
		return err
	}
	answer.Operation, err = h.Books.AcceptPayment(c.Request.Context(), store.Payment{
		Session: id, Number: number, Amount: amountOf(r.Amount, r.CurrencyCode), Recipient: partyOf(r.Recipient), Once: once,
	})
	if err != nil {
		return mismatch(err)
	}
	return h.Waiter.Accepted(c, answer, answer.Status, notPaid)
}

// mismatch says which field is not the invoice's.
func mismatch(err error) error {
	var m *store.Mismatch
	if !errors.As(err, &m) {
		return err
	}
	return &api.Refusal{Code: "mismatch", Message: "The payment does not match the invoice!", Fields: map[string]string{m.Field: "is not the invoice's"}}
}

// notPaid answers whoever waited for a payment that was refused.
func notPaid(o store.Operation) *api.Refusal {
	return &api.Refusal{Code: o.ErrorCode, Message: o.ErrorMessage}
}
