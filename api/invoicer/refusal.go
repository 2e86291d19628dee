package invoicer

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// refused is a refusal as the original worded it. Fields mirrors the request: under each
// member that is wrong stands why.
type refused struct {
	Status int     `json:"status"`
	Error  refusal `json:"error"`
}

type refusal struct {
	Code    string         `json:"code"`
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields,omitempty"`
}

func shape(r api.Refusal) any {
	return refused{Error: refusal{Code: strings.ToUpper(r.Code), Message: r.Message, Fields: mirrored(r.Fields)}}
}

// mirrored makes a tree of paths. What is wrong with an object hides what is wrong in it.
func mirrored(flat map[string]string) map[string]any {
	tree := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(flat)) { // an object comes before its members
		plant(tree, strings.Split(path, "."), flat[path])
	}
	return tree
}

func plant(tree map[string]any, path []string, code string) {
	if len(path) == 1 {
		tree[path[0]] = code
		return
	}
	if _, there := tree[path[0]]; !there {
		tree[path[0]] = map[string]any{}
	}
	if inner, is := tree[path[0]].(map[string]any); is {
		plant(inner, path[1:], code)
	}
}

func invalid(problems api.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	r := formatError(problems)
	return &r
}

func formatError(fields map[string]string) api.Refusal {
	return api.Refusal{Code: "format_error", Message: "The request is not as documented.", Fields: fields}
}

func notAllowed(field, code string) api.Refusal {
	return api.Refusal{Code: "not_allowed", Message: "The caller is not known, or may not do this.", Fields: map[string]string{field: code}}
}

var errTimeLimit = &api.Refusal{Code: "timelimit_error", Message: "iat is more than 20 seconds from the time."}

// refusals are the store's errors that are the client's.
var refusals = []api.Case{
	{Err: store.ErrClientSessionNotFound, Refusal: notAllowed("params.sessionId", notFound)},
	{Err: store.ErrClientNotFound, Refusal: notAllowed("params.clientId", notFound)},

	{Err: store.ErrInvoiceNotFound, Refusal: api.Refusal{Code: "invoice_not_found", Message: "No invoice of the client has this id."}},
	{Err: store.ErrInvoiceInactive, Refusal: api.Refusal{Code: "invoice_inactive", Message: "The invoice can no longer be paid."}},
	{Err: store.ErrInvoicePaid, Refusal: api.Refusal{Code: "invoice_paid", Message: "The invoice is paid."}},
	{Err: store.ErrInThePast, Refusal: formatError(map[string]string{"data.expiresAt": outOfRange})},
	{Err: store.ErrNotASubscription, Refusal: api.Refusal{Code: "not_a_subscription", Message: "The invoice is not of type SUBSCRIBE."}},
	{Err: store.ErrSubscriptionEnded, Refusal: api.Refusal{Code: "subscription_ended", Message: "The subscription has ended."}},

	{Err: store.ErrPaymentNotFound, Refusal: api.Refusal{Code: "payment_not_found", Message: "No payment of the invoice has this id."}},
	{Err: store.ErrPaymentInProgress, Refusal: api.Refusal{Code: "payment_in_progress", Message: "Another payment of the invoice is in progress."}},
	{Err: store.ErrStepInProgress, Refusal: api.Refusal{Code: "command_in_progress", Message: "Another command on the payment is in progress."}},
	{Err: store.ErrPaymentState, Refusal: api.Refusal{Code: "wrong_status", Message: "The payment's status does not allow it."}},
	{Err: store.ErrAmountNeeded, Refusal: formatError(map[string]string{"data.amount": required})},
	{Err: store.ErrAmountNotOpen, Refusal: formatError(map[string]string{"data.amount": mismatch})},
	{Err: store.ErrServicesSum, Refusal: formatError(map[string]string{"data.amount": mismatch})},
	{Err: store.ErrAmountTooLarge, Refusal: formatError(map[string]string{"data.amount": outOfRange})},
	{Err: store.ErrBeyondHeld, Refusal: formatError(map[string]string{"params.amount": outOfRange})},
	{Err: store.ErrBeyondLeft, Refusal: formatError(map[string]string{"data.amount": outOfRange})},

	{Err: store.ErrCardNotFound, Refusal: api.Refusal{Code: "card_not_found", Message: "The client has no card with this id."}},
	{Err: store.ErrCardExpired, Refusal: api.Refusal{Code: "card_expired", Message: "The card has expired."}},
	{Err: store.ErrPaysOwnCard, Refusal: api.Refusal{Code: "same_card", Message: "The card would be paid from itself."}},
	{Err: api.ErrCardRefused, Refusal: api.Refusal{Code: "card_refused", Message: "The acquirer does not know such a card."}},
}

// notDone answers whoever waited for a command that was refused. One that died is still
// accepted: it waits for an operator.
func notDone(o store.Operation) *api.Refusal {
	if o.Status == store.Dead {
		return nil
	}
	return &api.Refusal{Status: http.StatusOK, Code: o.ErrorCode, Message: o.ErrorMessage}
}
