package mobile

import (
	"encoding/hex"
	"net/http"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

const maxPushToken = 512

type addAccountRequest struct {
	Type      api.Integer `json:"type"`
	PushToken api.Text    `json:"push_token"`
	Locale    api.Text    `json:"locale"` // beyond the original
}

func (r *addAccountRequest) problems() api.Problems {
	p := api.Problems{}
	p.Required("type", r.Type)
	p.Check("type", r.Type.Value == 1 || r.Type.Value == 2, "must be 1 (Android) or 2 (iOS)")
	checkPushToken(p, r.PushToken)
	p.Optional("locale", r.Locale)
	p.Check("locale", r.Locale.Value == "" || store.Locale(r.Locale.Value).Known(), "must be en, ru or uk")
	return p
}

func checkPushToken(p api.Problems, token api.Text) {
	p.Optional("push_token", token)
	p.Check("push_token", utf8.RuneCountInString(token.Value) <= maxPushToken, "must have at most 512 characters")
}

// optionalText is nil where nothing, null or an empty text was sent.
func optionalText(t api.Text) *string {
	if t.Value == "" {
		return nil
	}
	return &t.Value
}

func (h *handlers) addAccount(c *gin.Context) error {
	var r addAccountRequest
	body, err := decoded(c, &r)
	if err != nil {
		return err
	}
	session := store.SessionID(uuid.NewString())
	answer := store.Answer{Status: http.StatusCreated, Body: encode(succeeded{SessionID: string(session)})}
	once, err := api.Once(c, "", body, answer)
	if err != nil {
		return err
	}
	err = h.Books.AddAccount(c.Request.Context(), store.NewAccount{
		Session: session, DeviceType: store.DeviceType(r.Type.Value), PushToken: optionalText(r.PushToken),
		Locale: store.Locale(r.Locale.Value),
	}, once)
	if err != nil {
		return err
	}
	api.Answer(c, answer.Status, answer.Body)
	return nil
}

type accountInfo struct {
	ID            int64     `json:"id"`
	DeviceID      string    `json:"device_id"`
	DeviceType    int       `json:"device_type"`
	SessionID     string    `json:"session_id"`
	AccountNumber string    `json:"account_number"`
	PushToken     *string   `json:"push_token"`
	Deleted       bool      `json:"deleted"`
	LastActiveAt  string    `json:"last_active_at"`
	CreatedAt     string    `json:"created_at"`
	Balances      []balance `json:"balances"` // beyond the original
}

// balance is in minor units of the currency, by its ISO 4217 number.
type balance struct {
	CurrencyCode int   `json:"currencyCode"`
	Amount       int64 `json:"amount"`
}

func (h *handlers) accountInfo(c *gin.Context) error {
	id, err := session(c)
	if err != nil {
		return err
	}
	a, err := h.Books.Account(c.Request.Context(), id)
	if err != nil {
		return err
	}
	info := accountInfo{
		ID: a.ID, DeviceID: a.DeviceID, DeviceType: int(a.DeviceType), SessionID: string(a.Session), AccountNumber: a.Number,
		PushToken: a.PushToken, Deleted: a.Deleted, LastActiveAt: localTime(a.LastActiveAt), CreatedAt: localTime(a.CreatedAt),
		Balances: []balance{},
	}
	for _, b := range a.Balances {
		info.Balances = append(info.Balances, balance{CurrencyCode: int(b.Currency), Amount: b.Minor})
	}
	success(c, succeeded{Data: info})
	return nil
}

type listedAccount struct {
	ID            int64  `json:"id"`
	DeviceID      string `json:"device_id"`
	DeviceType    int    `json:"device_type"`
	SessionID     string `json:"session_id"`
	AccountNumber string `json:"account_number"`
	CreatedAt     string `json:"created_at"`
}

var errListClosed = &api.Refusal{Code: "closed", Message: "The list of accounts is closed!"}

func (h *handlers) listAccounts(c *gin.Context) error {
	if !h.OpenList {
		return errListClosed
	}
	page, err := page(c, api.ParseID)
	if err != nil {
		return err
	}
	accounts, err := h.Books.Accounts(c.Request.Context(), page)
	if err != nil {
		return err
	}
	list := make([]listedAccount, len(accounts))
	for i, a := range accounts {
		list[i] = listedAccount{
			ID: a.ID, DeviceID: a.DeviceID, DeviceType: int(a.DeviceType), SessionID: string(a.Session),
			AccountNumber: a.Number, CreatedAt: localTime(a.CreatedAt),
		}
	}
	success(c, succeeded{Data: list})
	return nil
}

type pushTokenRequest struct {
	PushToken api.Text `json:"push_token"`
}

func (r *pushTokenRequest) problems() api.Problems {
	p := api.Problems{}
	if !r.PushToken.Null() {
		p.Required("push_token", r.PushToken)
	}
	checkPushToken(p, r.PushToken)
	return p
}

// setPushToken stores the phone's present token; null takes it away.
func (h *handlers) setPushToken(c *gin.Context) error {
	id, err := session(c)
	if err != nil {
		return err
	}
	var r pushTokenRequest
	body, err := decoded(c, &r)
	if err != nil {
		return err
	}
	answer := store.Answer{Status: http.StatusCreated, Body: encode(succeeded{})}
	once, err := api.Once(c, string(id), body, answer)
	if err != nil {
		return err
	}
	if err := h.Books.SetPushToken(c.Request.Context(), id, optionalText(r.PushToken), once); err != nil {
		return err
	}
	api.Answer(c, answer.Status, answer.Body)
	return nil
}

// transfer is a line of the account's statement. amount is in minor units; direction is
// in or out; number is the invoice that was paid, null for an opening balance.
type transfer struct {
	ID           int64   `json:"id"`
	Kind         string  `json:"kind"`
	Direction    string  `json:"direction"`
	Amount       int64   `json:"amount"`
	CurrencyCode int     `json:"currency_code"`
	Counterparty *string `json:"counterparty"`
	Number       *string `json:"number"`
	TxID         string  `json:"tx_id"`
	CreatedAt    string  `json:"created_at"`
}

func (h *handlers) listTransfers(c *gin.Context) error {
	id, err := session(c)
	if err != nil {
		return err
	}
	page, err := page(c, api.ParseID)
	if err != nil {
		return err
	}
	transfers, err := h.Books.Transfers(c.Request.Context(), id, page)
	if err != nil {
		return err
	}
	list := make([]transfer, len(transfers))
	for i, t := range transfers {
		list[i] = showTransfer(t)
	}
	success(c, succeeded{Data: list})
	return nil
}

func showTransfer(t store.Transfer) transfer {
	shown := transfer{
		ID: t.ID, Kind: string(t.Kind), Direction: "out", Amount: t.Amount.Minor, CurrencyCode: int(t.Amount.Currency),
		TxID: hex.EncodeToString(t.TxID), CreatedAt: localTime(t.CreatedAt),
	}
	if t.Credit {
		shown.Direction = "in"
	}
	if t.Counterparty != "" {
		shown.Counterparty = &t.Counterparty
	}
	if t.Kind == store.PaymentTransfer {
		number := store.InvoiceNumber(t.Reference).String()
		shown.Number = &number
	}
	return shown
}
