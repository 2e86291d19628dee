package acquirer

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/quittance/quittance/store/money"
)

type tokeniseCall struct {
	ID           string `json:"id"`
	Number       string `json:"number,omitempty"`
	Expiry       string `json:"expiry,omitempty"`
	SecurityCode string `json:"security_code,omitempty"`
	Token        string `json:"token,omitempty"`
}

type authoriseCall struct {
	ID         string         `json:"id"`
	Payment    string         `json:"payment"`
	Amount     int64          `json:"amount"`
	Currency   money.Currency `json:"currency"`
	Token      string         `json:"token"`
	TokenTo    string         `json:"token_to,omitempty"`
	Commission int64          `json:"commission,omitempty"`
	Capture    bool           `json:"capture"`
	Unattended bool           `json:"unattended"`
	NotifyURL  string         `json:"notify_url,omitempty"`
}

type confirmCall struct {
	ID      string `json:"id"`
	Payment string `json:"payment"`
	Of      string `json:"of"`
	Code    string `json:"code"`
}

type movementCall struct {
	ID         string         `json:"id"`
	Payment    string         `json:"payment"`
	Of         string         `json:"of"`
	Amount     int64          `json:"amount"`
	Currency   money.Currency `json:"currency"`
	Commission int64          `json:"commission,omitempty"`
}

func newMovementCall(id string, m Movement) movementCall {
	return movementCall{ID: id, Payment: m.Payment, Of: m.Of, Amount: m.Amount.Minor, Currency: m.Amount.Currency, Commission: m.Commission}
}

type inquireCall struct {
	ID string `json:"id"`
}

type tokenAnswer struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Token  string `json:"token"`
	Mask   string `json:"mask"`
	Expiry string `json:"expiry"`
	Brand  string `json:"brand"`
}

var (
	masks    = regexp.MustCompile(`^[0-9]{10}$`)
	expiries = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])$`)
	brands   = regexp.MustCompile(`^[a-z ]{0,20}$`)
	tokens   = regexp.MustCompile(`^[!-~]{1,500}$`)
)

// understand is strict about what is to be stored: a mask that is a number, or a token that
// holds one, must not get there.
func (a tokenAnswer) understand(id string, of Details) (Token, error) {
	if a.ID != id {
		return Token{}, errNotUnderstood
	}
	switch Status(a.Status) {
	case Declined:
		return Token{}, ErrCardRefused
	case Approved:
	default:
		return Token{}, errNotUnderstood
	}
	if !masks.MatchString(a.Mask) || !expiries.MatchString(a.Expiry) || !brands.MatchString(a.Brand) || !tokens.MatchString(a.Token) {
		return Token{}, errNotUnderstood
	}
	if of.Number != "" && strings.Contains(a.Token, of.Number) {
		return Token{}, errNotUnderstood
	}
	return Token{Token: a.Token, Mask: a.Mask, Expiry: a.Expiry, Brand: a.Brand}, nil
}

type wireAnswer struct {
	ID                 string         `json:"id"`
	Status             string         `json:"status"`
	Code               string         `json:"code"`
	Message            string         `json:"message"`
	Reference          string         `json:"reference"`
	SendOperationID    string         `json:"send_operation_id"`
	ReceiveOperationID string         `json:"receive_operation_id"`
	Challenge          *wireChallenge `json:"challenge"`
}

type wireChallenge struct {
	Type string            `json:"type"`
	URL  string            `json:"url"`
	Form map[string]string `json:"form"`
	Left int               `json:"left"`
}

// notFound is the status of an inquiry about a call that has not arrived.
const notFound = "not_found"

// understand returns the answer if it is a clear one, to this call. Anything else is no
// answer: what became of the call is unknown.
func (a wireAnswer) understand(call, id string) (Answer, error) {
	answer := Answer{
		Status:             Status(a.Status),
		Code:               clean(a.Code, 40),
		Message:            clean(a.Message, 300),
		Reference:          clean(a.Reference, 100),
		SendOperationID:    clean(a.SendOperationID, 100),
		ReceiveOperationID: clean(a.ReceiveOperationID, 100),
	}
	switch {
	case a.ID != id:
		return Answer{}, errNotUnderstood
	case call == "inquire" && a.Status == notFound:
		return Answer{}, ErrNotFound
	case answer.Status == Approved:
		return answer, nil
	case answer.Status == Declined:
		if answer.Code == "" {
			answer.Code = "declined"
		}
		return answer, nil
	case answer.Status == NeedsConfirmation && confirmable(call) && a.Challenge.clear():
		answer.Challenge = &Challenge{Type: a.Challenge.Type, URL: a.Challenge.URL, Form: a.Challenge.Form, Left: a.Challenge.Left}
		return answer, nil
	default:
		return Answer{}, errNotUnderstood
	}
}

// confirmable says whether a payer may have to do something after such a call.
func confirmable(call string) bool {
	return call == "authorise" || call == "confirm" || call == "inquire"
}

// clear says whether a payer can be told what to do. The URL becomes a form's target, so it
// must be one of the web.
func (c *wireChallenge) clear() bool {
	switch {
	case c == nil || c.Left <= 0:
		return false
	case c.Type == "LOOKUP":
		return true
	case c.Type != "3DS":
		return false
	}
	u, err := url.Parse(c.URL)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// clean keeps of a text what can be stored and shown.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most])
	}
	return text
}
