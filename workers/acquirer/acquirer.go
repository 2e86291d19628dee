// Package acquirer calls the card acquirer.
//
// Every call carries an id of the caller's choice: the same call under the same id has its
// effect once, however often it is made, and answers the same. An error that is ErrNotSent or
// ErrRefused says that this try did nothing (an earlier one under the same id may have); after
// any other error nobody knows, and Inquire is how to find out. Card numbers and security codes
// go into Tokenise and nowhere else, and into no error.
package acquirer

import (
	"context"
	"errors"

	"github.com/quittance/quittance/store/money"
)

// Acquirer moves money on cards.
type Acquirer interface {
	// Tokenise exchanges a card's details for a token. The security code, if any, is good for
	// the token's next authorisation.
	Tokenise(ctx context.Context, id string, details Details) (Token, error)
	Authorise(ctx context.Context, id string, a Authorisation) (Answer, error)
	// Confirm goes on with an authorisation that the payer has confirmed.
	Confirm(ctx context.Context, id string, c Confirmation) (Answer, error)
	Capture(ctx context.Context, id string, m Movement) (Answer, error)
	Void(ctx context.Context, id string, m Movement) (Answer, error)
	Refund(ctx context.Context, id string, m Movement) (Answer, error)
	// Inquire returns what became of the call with this id, or ErrNotFound: it may still
	// arrive, unless the same call is made again under the same id.
	Inquire(ctx context.Context, id string) (Answer, error)
	// Ping returns nil while calls have somebody to go to.
	Ping(ctx context.Context) error
}

var (
	// ErrNotSent says that the call provably never left: nothing was done, and another try
	// is as good as the first.
	ErrNotSent = errors.New("the acquirer was not reached")
	// ErrRefused says that the acquirer does not take calls from us, or not like this: a
	// wrong key, a malformed call. Nothing was done.
	ErrRefused = errors.New("the acquirer does not take the call")
	// ErrNotFound says that no call with this id has arrived so far.
	ErrNotFound = errors.New("the acquirer knows no such call")
	// ErrCardRefused says that the card's details are not those of a card. It is Tokenise's only.
	ErrCardRefused = errors.New("the acquirer does not know such a card")
)

// Details are a card's. They are never shown: whatever would print, log or encode them says so
// instead.
type Details struct {
	Number       string // digits; "" where Token is given
	Expiry       string // YYYY-MM
	SecurityCode string // 3 or 4 digits, or ""
	Token        string // of a card that was tokenised before, to add a security code
}

// Token stands for a card.
type Token struct {
	Token  string
	Mask   string // first six and last four digits
	Expiry string // YYYY-MM
	Brand  string // visa, mastercard, …; "" where it is none of those
}

// Authorisation is a payment to be authorised.
type Authorisation struct {
	Payment    string // for the acquirer's list
	Amount     money.Amount
	Token      string
	TokenTo    string // P2P: the card that gets the money less Commission
	Commission int64  // minor units of Amount that are ours; of P2P
	Capture    bool   // take the money at once
	Unattended bool   // a saved card, and no payer is there to confirm: declined rather than NeedsConfirmation
	NotifyURL  string // where to say that there is news; "" for nowhere
}

// Confirmation goes on with an authorisation.
type Confirmation struct {
	Payment string
	Of      string // the authorisation's id
	Code    string // a PaRes, or what the payer typed
}

// Movement acts upon an authorisation.
type Movement struct {
	Payment    string
	Of         string // the authorisation's id
	Amount     money.Amount
	Commission int64 // minor units of Amount that are ours; of P2P, whose recipient gets, or gives back, the rest
}

// Status is what became of a call.
type Status string

// These three are clear answers.
const (
	Approved          Status = "approved"
	Declined          Status = "declined"
	NeedsConfirmation Status = "needs_confirmation"
)

// Answer is a clear answer.
type Answer struct {
	Status             Status
	Code               string     // why it was declined: declined, insufficient_funds, wrong_code, …
	Message            string     // a sentence for the payer
	Reference          string     // the acquirer's
	SendOperationID    string     // P2P
	ReceiveOperationID string     // P2P
	Challenge          *Challenge // of NeedsConfirmation
}

// Challenge is what the payer has to do.
type Challenge struct {
	Type string            // 3DS or LOOKUP
	URL  string            // 3DS: of the bank's page, which Form, a TermUrl and an MD are posted to
	Form map[string]string // 3DS: PaReq
	Left int               // tries
}
