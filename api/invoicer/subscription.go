package invoicer

import (
	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

type shownSubscription struct {
	InvoiceID     string `json:"invoiceId"`
	Amount        int64  `json:"amount"`
	Commission    int64  `json:"commission"`
	Interval      int    `json:"interval"` // days
	ExpiresAt     string `json:"expiresAt"`
	PlannedPaidAt string `json:"plannedPaidAt,omitempty"`
	Status        string `json:"status"`
}

// updateSubscription changes how often a subscription is charged, and how long.
func (h *handlers) updateSubscription(c *gin.Context, r *request) error {
	change := readChange(r.params, r.data)
	err := invalid(r.wrong)
	if err != nil {
		return err
	}
	change.Client, change.Answer = r.shop.Client, answerSubscription
	if change.Once, err = r.once(c, nil); err != nil {
		return err
	}
	answer, err := h.Books.UpdateSubscription(c.Request.Context(), change)
	if err != nil {
		return err
	}
	return h.answer(c, r, answer)
}

// readChange takes the invoice's id by either of the names that the original has for it.
func readChange(params, data form) store.SubscriptionChange {
	name := "invoiceId"
	if _, sent := params.sent(name); !sent {
		if _, sent := params.sent("id"); sent {
			name = "id"
		}
	}
	params.require(name)
	change := store.SubscriptionChange{
		Invoice:   id(params, name, store.ParseInvoiceNumber),
		Interval:  int(data.integer("interval", 1, maxInterval)),
		ExpiresAt: data.moment("expiresAt"),
	}
	if _, sent := data.sent("expiresAt"); !sent {
		data.require("interval")
	}
	return change
}

func answerSubscription(i store.ShopInvoice) store.Answer {
	s := i.Subscription
	shown := shownSubscription{
		InvoiceID: i.ID.String(), Amount: i.Amount, Commission: i.Commission(i.Amount), Interval: s.Interval,
		ExpiresAt: api.Time(s.ExpiresAt), Status: invoiceStatus(i.Active),
	}
	if s.Active {
		shown.PlannedPaidAt = timeOrNone(s.DueAt)
	}
	return store.Answer{Status: ok, Body: api.Encode(success(shown))}
}
