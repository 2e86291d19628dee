package acquirertest

import (
	"encoding/binary"
	"fmt"
)

// The status of an answer.
const (
	approved          = "approved"
	declined          = "declined"
	needsConfirmation = "needs_confirmation"
	notFound          = "not_found"
)

// answer is what a call that was understood is answered.
type answer struct {
	ID                 string     `json:"id"`
	Status             string     `json:"status"`
	Code               string     `json:"code,omitempty"`
	Message            string     `json:"message,omitempty"`
	Reference          string     `json:"reference,omitempty"`
	SendOperationID    string     `json:"send_operation_id,omitempty"`
	ReceiveOperationID string     `json:"receive_operation_id,omitempty"`
	Challenge          *challenge `json:"challenge,omitempty"`

	Token  string `json:"token,omitempty"`
	Mask   string `json:"mask,omitempty"`
	Expiry string `json:"expiry,omitempty"`
	Brand  string `json:"brand,omitempty"`
}

// challenge is what the payer has to do.
type challenge struct {
	Type string            `json:"type"`
	URL  string            `json:"url,omitempty"`
	Form map[string]string `json:"form,omitempty"`
	Left int               `json:"left"`
}

// messages are what a payer is told, by code.
var messages = map[string]string{
	"declined":                "The bank declined the payment.",
	"insufficient_funds":      "There is not enough money on the card.",
	"expired_card":            "The card has expired.",
	"no_such_card":            "There is no such card.",
	"authentication_required": "The bank wants the payer to confirm the payment.",
	"wrong_code":              "The code is wrong.",
	"canceled":                "The payment was given up.",
	"no_such_authorisation":   "There is no such payment.",
	"not_confirmed":           "The payment has not been confirmed.",
	"already_confirmed":       "The payment needs no confirmation.",
	"already_captured":        "The money has been taken.",
	"not_captured":            "The money has not been taken.",
	"voided":                  "The payment was called off.",
	"hold_expired":            "The money is no longer held.",
	"beyond_hold":             "The amount is more than is held.",
	"beyond_captured":         "The amount is more than was taken.",
	"wrong_currency":          "The currency is another one.",
}

func decline(id, code string) answer {
	return answer{ID: id, Status: declined, Code: code, Message: messages[code], Reference: reference(id)}
}

func approve(id string) answer {
	return answer{ID: id, Status: approved, Reference: reference(id)}
}

// reference is what the acquirer calls a call: twelve digits.
func reference(id string) string {
	return fmt.Sprintf("%012d", binary.BigEndian.Uint64(mac("reference", id))%1e12)
}
