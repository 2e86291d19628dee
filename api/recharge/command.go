package recharge

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// committed says how much is credited.
type committed struct {
	Amount json.Number `json:"amount"`
}

// commitPayment credits the account with what was agreed on when the payment was created.
func (h *handlers) commitPayment(c *gin.Context, by store.Caller) error {
	if err := nothingIn(c); err != nil {
		return err
	}
	return h.accept(c, by, nil, store.RechargeCommand{
		Type: store.RechargeCommit,
		Answer: func(r store.Recharge) store.Answer {
			return accepted(committed{Amount: json.Number(r.Amount.Decimal())})
		},
	})
}

// nothingIn accepts a body that says nothing: none, white space, or an empty object.
func nothingIn(c *gin.Context) error {
	text, err := api.Body(c)
	if err != nil {
		return err
	}
	if len(bytes.Trim(text, " \t\r\n")) == 0 {
		return nil
	}
	o, wrong := api.ParseObject(text)
	problems := api.Problems{}
	problems.Check("body", wrong == "" && len(o) == 0, "must be empty")
	return invalid(problems)
}

// rollBackPayment gives the payment up.
func (h *handlers) rollBackPayment(c *gin.Context, by store.Caller) error {
	o, text, err := object(c)
	if err != nil {
		return err
	}
	var reason api.Text
	o.Read("reason", &reason)
	problems := api.Problems{}
	problems.Required("reason", reason)
	problems.Check("reason", reason.Value != "", "must have at least one character")
	if err := invalid(problems); err != nil {
		return err
	}
	return h.accept(c, by, text, store.RechargeCommand{
		Type: store.RechargeRollback, Reason: reason.Value,
		Answer: func(store.Recharge) store.Answer { return accepted(struct{}{}) },
	})
}

func accepted(body any) store.Answer {
	return store.Answer{Status: http.StatusAccepted, Body: api.Encode(body)}
}

// accept enqueues a command about the payment of the path. text is what the command's
// Idempotency-Key is bound to.
func (h *handlers) accept(c *gin.Context, by store.Caller, text []byte, command store.RechargeCommand) (err error) {
	if command.Provider, command.ID, err = payment(c); err != nil {
		return err
	}
	if err := h.Admission.Admit(); err != nil {
		return err
	}
	if command.Once, err = once(c, by, text, store.Answer{}); err != nil {
		return err
	}
	answer, err := h.Books.AcceptRecharge(c.Request.Context(), command)
	if err != nil {
		return err
	}
	return h.Waiter.Accepted(c, answer, http.StatusOK, notDone)
}

// notDone answers whoever waited for a command that was refused. One that died is still
// accepted: it waits for an operator.
func notDone(o store.Operation) *api.Refusal {
	if o.Status == store.Dead {
		return nil
	}
	return &api.Refusal{Status: http.StatusConflict, Code: o.ErrorCode, Message: o.ErrorMessage}
}
