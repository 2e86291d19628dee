package invoicer

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// shownPayment has the keys of the original, in its order and types; what there is none of
// is absent. ReversedAmount is ours: how much of the amount was given back.
type shownPayment struct {
	InvoiceID          string `json:"invoiceId"`
	PaymentID          string `json:"paymentId"`
	Number             int64  `json:"number"`
	ReceiptID          string `json:"receiptId"`
	Amount             int64  `json:"amount"`     // what the shop gets
	Commission         int64  `json:"commission"` // what the payer pays on top
	ReversedAmount     int64  `json:"reversedAmount"`
	Currency           string `json:"currency"`
	CardFromMasked     string `json:"cardFromMasked"`
	CardToMasked       string `json:"cardToMasked,omitempty"`
	CardFromID         string `json:"cardFromId"`
	CardToID           string `json:"cardToId,omitempty"`
	SendOperationID    string `json:"sendOperationId,omitempty"`
	ReceiveOperationID string `json:"receiveOperationId,omitempty"`
	PaymentStatus      string `json:"paymentStatus"`
	Status             string `json:"status"`
	PaidAt             string `json:"paidAt,omitempty"`
	ReversedAt         string `json:"reversedAt,omitempty"`
	FinishedAt         string `json:"finishedAt,omitempty"`
	CanceledAt         string `json:"canceledAt,omitempty"`
	CreatedAt          string `json:"createdAt"`
	UpdatedAt          string `json:"updatedAt"`
	ChequeLink         string `json:"chequeLink,omitempty"` // to the receipt, of what was paid
}

func (h *handlers) shownPayment(p store.CardPayment) shownPayment {
	s := shownPayment{
		InvoiceID: p.Invoice.String(), PaymentID: p.ID.String(), Number: p.Number, ReceiptID: p.ReceiptID,
		Amount: p.Amount.Minor, Commission: p.Commission, ReversedAmount: p.Reversed, Currency: strconv.Itoa(int(p.Amount.Currency)),
		CardFromMasked: p.CardFrom.Mask, CardToMasked: p.CardTo.Mask, CardFromID: p.CardFrom.ID.String(),
		SendOperationID: p.SendOperationID, ReceiveOperationID: p.ReceiveOperationID,
		PaymentStatus: p.PaymentStatus, Status: p.Status,
		PaidAt: timeOrNone(p.PaidAt), ReversedAt: timeOrNone(p.ReversedAt), FinishedAt: timeOrNone(p.FinishedAt), CanceledAt: timeOrNone(p.CanceledAt),
		CreatedAt: api.Time(p.CreatedAt), UpdatedAt: api.Time(p.UpdatedAt),
	}
	if !p.CardTo.ID.IsZero() {
		s.CardToID = p.CardTo.ID.String()
	}
	if p.HasReceipt() {
		s.ChequeLink = h.PublicURL + "/api/acquiring/receipts/v2/" + p.ID.String() + ".pdf"
	}
	return s
}

func timeOrNone(t *time.Time) string {
	if t == nil {
		return ""
	}
	return api.Time(*t)
}

// shownAlone is a payment that is shown without its invoice.
type shownAlone struct {
	shownPayment
	ClientID   int64  `json:"clientId"`
	SystemType string `json:"systemType"`
	Type       string `json:"type"`
	Email      string `json:"email,omitempty"`
}

func (h *handlers) showPayment(c *gin.Context, r *request) error {
	p, err := h.paymentOf(c, r)
	if err != nil {
		return err
	}
	return h.show(c, r, shownAlone{
		shownPayment: h.shownPayment(p), ClientID: p.ClientNumber, SystemType: string(p.SystemType), Type: string(p.Type), Email: p.Email,
	})
}

// paymentOf returns the shop's payment that a request names, and which must be of the
// invoice where it names that as well.
func (h *handlers) paymentOf(c *gin.Context, r *request) (store.CardPayment, error) {
	r.params.require("paymentId")
	payment := id(r.params, "paymentId", store.ParsePaymentID)
	invoice := id(r.params, "invoiceId", store.ParseInvoiceNumber)
	if err := invalid(r.wrong); err != nil {
		return store.CardPayment{}, err
	}
	p, err := h.Books.CardPayment(c.Request.Context(), r.shop.Client, payment)
	if err == nil && !invoice.IsZero() && invoice != p.Invoice {
		return store.CardPayment{}, store.ErrPaymentNotFound
	}
	return p, err
}

// thePlugin is the original's number of what takes the payment. We have one.
const thePlugin = 2

// checkedStatus tells how a payment comes on. The original has swapped status and
// paymentStatus here, and only here.
type checkedStatus struct {
	ID            string             `json:"id"`
	Status        string             `json:"status"` // the payment's paymentStatus
	Amount        int64              `json:"amount"`
	PluginID      int                `json:"pluginId"`
	Confirmation  *shownConfirmation `json:"confirmation,omitempty"`
	PaymentStatus string             `json:"paymentStatus"` // the payment's status
}

// shownConfirmation is what the payer has to do: LOOKUP wants a code, which payments/confirm
// takes; 3DS wants Form posted to URL together with TermUrl, which is Redirect.URL, and MD.
type shownConfirmation struct {
	Type     string            `json:"type"`
	Left     int               `json:"confirmationsLeft,omitempty"`
	URL      string            `json:"url,omitempty"`
	Form     map[string]string `json:"form,omitempty"`
	Redirect *redirect         `json:"redirect,omitempty"`
}

// redirect is where the bank sends the payer back to.
type redirect struct {
	URL    string            `json:"url"`
	Params map[string]string `json:"params"`
}

func (h *handlers) checkStatus(c *gin.Context, r *request) error {
	p, err := h.paymentOf(c, r)
	if err != nil {
		return err
	}
	return h.show(c, r, checkedStatus{
		ID: p.ID.String(), Status: p.PaymentStatus, Amount: p.Amount.Minor, PluginID: thePlugin,
		Confirmation: h.confirmation(p), PaymentStatus: p.Status,
	})
}

func (h *handlers) confirmation(p store.CardPayment) *shownConfirmation {
	if p.Confirmation == nil {
		return nil
	}
	if p.Confirmation.Type != "3DS" {
		return &shownConfirmation{Type: p.Confirmation.Type, Left: p.Confirmation.Left}
	}
	return &shownConfirmation{
		Type: p.Confirmation.Type, URL: p.Confirmation.URL, Form: p.Confirmation.Form,
		Redirect: &redirect{
			URL:    h.PublicURL + "/i/" + p.Invoice.String() + "/payments/" + p.ID.String() + "/3ds",
			Params: map[string]string{"id": p.ID.String()},
		},
	}
}
