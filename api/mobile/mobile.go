// Package mobile is the API of phone apps: virtual accounts, invoices, and paying them
// from the account's balance.
//
// It answers as the original did: 201 and {"status":"success",…}, or 202 and
// {"status":"error","description":…} for what it refuses. Beyond the original it checks
// what it is sent, says which field is wrong, and never claims that money moved: a payment
// is accepted, and the operation named in the answer's headers tells how it ended.
package mobile

import (
	"context"
	"net/http"
	"time"
	_ "time/tzdata" // Europe/Moscow, wherever we run

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// books is what this API needs of the store.
type books interface {
	AddAccount(context.Context, store.NewAccount, store.Once) error
	Account(context.Context, store.SessionID) (store.Account, error)
	Accounts(context.Context, store.Page[int64]) ([]store.Account, error)
	SetPushToken(context.Context, store.SessionID, *string, store.Once) error
	Transfers(context.Context, store.SessionID, store.Page[int64]) ([]store.Transfer, error)
	IssueInvoice(context.Context, store.NewInvoice, store.Once) error
	Invoice(context.Context, store.InvoiceNumber) (store.Invoice, error)
	InvoicesIssued(context.Context, store.SessionID, store.Page[store.InvoiceNumber]) ([]store.Invoice, error)
	AcceptPayment(context.Context, store.Payment) (store.OperationID, error)
}

// Config is what the API is built from.
type Config struct {
	Books     books
	Waiter    *api.Waiter
	Admission *api.Admission
	AddLimit  *api.RateLimit
	OpenList  bool // accounts/list shows every session id, which is a credential
}

// New returns the API.
func New(cfg Config) api.API {
	h := &handlers{Config: cfg}
	uuid.SetNodeID(randomNode()) // numbers of version 1 do not give the machine's address away
	return api.API{
		Prefix:   "/mobile-api",
		Mistake:  http.StatusAccepted,
		Shape:    shape,
		Refusals: refusals,
		Routes: []api.Route{
			{Method: http.MethodPost, Path: "/mobile-api/account/add", Who: "anybody, at a limited rate", Handle: cfg.AddLimit.Around(h.addAccount)},
			{Method: http.MethodGet, Path: "/mobile-api/account/info/:sessionId", Who: "the session", Handle: h.accountInfo},
			{Method: http.MethodGet, Path: "/mobile-api/accounts/list", Who: "anybody, where it is open", Handle: h.listAccounts},
			{Method: http.MethodPost, Path: "/mobile-api/account/:sessionId/push-token", Who: "the session", Handle: h.setPushToken},
			{Method: http.MethodGet, Path: "/mobile-api/account/:sessionId/transfers", Who: "the session", Handle: h.listTransfers},
			{Method: http.MethodGet, Path: "/mobile-api/account/:sessionId/invoices/list", Who: "the session", Handle: h.listInvoices},
			{Method: http.MethodPost, Path: "/mobile-api/invoice/make", Who: "a session", Handle: h.makeInvoice},
			{Method: http.MethodGet, Path: "/mobile-api/invoice/info/:number", Who: "who knows the number", Handle: h.invoiceInfo},
			{Method: http.MethodPost, Path: "/mobile-api/invoice/pay", Who: "the payer's session", Handle: h.payInvoice},
		},
	}
}

type handlers struct{ Config }

// randomNode is a node id with the multicast bit, which says that it is no address
// (RFC 9562, 6.10).
func randomNode() []byte {
	id := uuid.New()
	id[0] |= 1
	return id[:6]
}

// refused is a refusal in the original's envelope. Errors is ours: what is wrong with
// which field.
type refused struct {
	Status      string            `json:"status"`
	Description string            `json:"description"`
	Errors      map[string]string `json:"errors,omitempty"`
}

func shape(r api.Refusal) any {
	return refused{Status: "error", Description: r.Message, Errors: r.Fields}
}

// refusals are the store's errors that are the client's, with the original's sentences
// where it had any.
var refusals = []api.Case{
	{Err: store.ErrSessionNotFound, Refusal: api.Refusal{Code: "session_not_found", Message: "Session with id not found!"}},
	{Err: store.ErrPayerNotFound, Refusal: api.Refusal{Code: "payer_not_found", Message: "Payer not found!"}},
	{Err: store.ErrRecipientNotFound, Refusal: api.Refusal{Code: "recipient_not_found", Message: "Recipient not found!"}},
	{Err: store.ErrPaysItself, Refusal: api.Refusal{Code: "pays_itself", Message: "Payer and recipient are the same account!"}},
	{Err: store.ErrInvoiceNotFound, Refusal: api.Refusal{Code: "invoice_not_found", Message: "Invoice with number not found!"}},
	{Err: store.ErrPaidEarlier, Refusal: api.Refusal{Status: http.StatusCreated, Code: "paid_earlier", Message: "Invoice was paid earlier!"}}, // 201, as the original
	{Err: store.ErrExpired, Refusal: api.Refusal{Code: "expired", Message: "Invoice has expired!"}},
	{Err: store.ErrInProgress, Refusal: api.Refusal{Code: "in_progress", Message: "Invoice payment is in progress!"}},
	{Err: store.ErrNotThePayer, Refusal: api.Refusal{Code: "not_the_payer", Message: "Invoice is to be paid by another account!"}},
}

func invalid(problems api.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return &api.Refusal{Code: "invalid", Message: "Invalid post body or not enough required parameters!", Fields: problems}
}

// succeeded is the original's envelope of everything that went well.
type succeeded struct {
	Status    string `json:"status"`
	SessionID string `json:"sessionId,omitempty"`
	Number    string `json:"number,omitempty"`
	Data      any    `json:"data,omitempty"`
}

func encode(s succeeded) []byte {
	s.Status = "success"
	return api.Encode(s)
}

func success(c *gin.Context, s succeeded) {
	api.Answer(c, http.StatusCreated, encode(s)) // 201 for everything, GET included
}

// page reads limit and before of a list. before is in the cursor's own form.
func page[Cursor any](c *gin.Context, parse func(string) (Cursor, bool)) (store.Page[Cursor], error) {
	problems := api.Problems{}
	p := api.Page(c, problems, parse)
	if len(problems) > 0 {
		return p, &api.Refusal{Code: "invalid", Message: "Invalid query parameters!", Fields: problems}
	}
	return p, nil
}

var moscow = mustLoad("Europe/Moscow")

func mustLoad(name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // the database of zones is linked in
	}
	return zone
}

// localTime shows a time as the original did.
func localTime(t time.Time) string { return t.In(moscow).Format(time.DateTime) }

// session reads the session id of a path. What cannot be one is a session that nobody has.
func session(c *gin.Context) (store.SessionID, error) {
	id, ok := parseSession(c.Param("sessionId"))
	if !ok {
		return "", store.ErrSessionNotFound
	}
	return id, nil
}

func parseSession(text string) (store.SessionID, bool) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return "", false
	}
	return store.SessionID(id.String()), true
}

// decoded reads a body into a request and the request's own problems.
func decoded(c *gin.Context, into interface{ problems() api.Problems }) ([]byte, error) {
	body, err := api.Body(c)
	if err != nil {
		return nil, err
	}
	if err := api.Decode(body, into); err != nil {
		return nil, invalid(api.Problems{"body": "must be one JSON object"})
	}
	problems := into.problems()
	if _, wrong := api.ParseObject(body); wrong != "" && len(problems) == 0 {
		problems = api.Problems{"body": wrong} // no field is wrong, and yet it can be read in two ways
	}
	return body, invalid(problems)
}
