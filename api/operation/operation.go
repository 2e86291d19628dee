// Package operation shows what became of a command: GET /operations/{id}, for whoever
// knows the id, which is random.
package operation

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// operations is what this API needs of the store.
type operations interface {
	Operation(context.Context, store.OperationID) (store.Operation, error)
}

// New returns the API.
func New(o operations, w *api.Waiter) api.API {
	h := &handlers{operations: o, waiter: w}
	return api.API{
		Prefix:  "/operations",
		Mistake: http.StatusBadRequest,
		Shape:   api.PlainShape,
		Routes: []api.Route{
			{Method: http.MethodGet, Path: "/operations/:id", Who: "who knows the id", Handle: h.show},
		},
		Refusals: []api.Case{
			{Err: store.ErrOperationNotFound, Refusal: api.Refusal{Status: http.StatusNotFound, Code: "not_found", Message: "There is no operation with this id."}},
		},
	}
}

type handlers struct {
	operations operations
	waiter     *api.Waiter
}

// shown is an operation as clients see it. Times are ISO 8601 with milliseconds, in UTC.
type shown struct {
	ID         string  `json:"id"`
	Type       string  `json:"type"`
	Status     string  `json:"status"`
	Attempts   int     `json:"attempts"`
	Error      *reason `json:"error"`
	Resource   string  `json:"resource"`
	CreatedAt  string  `json:"createdAt"`
	FinishedAt *string `json:"finishedAt"`
}

type reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (h *handlers) show(c *gin.Context) error {
	id, ok := store.ParseOperationID(c.Param("id"))
	if !ok {
		return store.ErrOperationNotFound
	}
	o, err := h.operations.Operation(c.Request.Context(), id)
	if err != nil {
		return err
	}
	if d := api.PreferredWait(c); d > 0 && o.Status.Open() {
		h.waiter.Wait(c.Request.Context(), id, d)
		if o, err = h.operations.Operation(c.Request.Context(), id); err != nil {
			return err
		}
	}
	api.Answer(c, http.StatusOK, api.Encode(show(o)))
	return nil
}

// resource says where the resource of an operation is found.
func resource(o store.Operation) string {
	switch o.Type {
	case store.InvoicePay:
		return "/mobile-api/invoice/info/" + store.InvoiceNumber(o.Resource).String()
	case store.RechargeCommit, store.RechargeRollback, store.RechargeExpire, store.RechargeLate:
		return "/v3/rechargeProviders/" + o.Provider + "/payments/" + store.RechargeID(o.Resource).String()
	case store.CallbackSend:
		return "/v1/callbacks/" + o.ID.String()
	default:
		return uuid.UUID(o.Resource).String()
	}
}

func show(o store.Operation) shown {
	s := shown{
		ID:        o.ID.String(),
		Type:      string(o.Type),
		Status:    string(o.Status),
		Attempts:  o.Attempts,
		Resource:  resource(o),
		CreatedAt: api.Time(o.CreatedAt),
	}
	if o.ErrorCode != "" {
		s.Error = &reason{Code: o.ErrorCode, Message: o.ErrorMessage}
	}
	if o.FinishedAt != nil {
		at := api.Time(*o.FinishedAt)
		s.FinishedAt = &at
	}
	return s
}
