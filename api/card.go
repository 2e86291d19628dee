package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/quittance/quittance/store"
)

// CardDetails are a card's, on their way to the acquirer. However they are printed, logged
// or encoded, nothing is shown of them. A struct that holds them in an unexported field
// must not be printed: fmt then goes past the methods.
type CardDetails struct {
	Number       string // digits; "" where Token is given
	Expiry       string // YYYY-MM
	SecurityCode string
	Token        string // of a card that was tokenised before, to add a security code
}

const hidden = "card details, not shown"

// String shows nothing.
func (CardDetails) String() string { return hidden }

// GoString shows nothing.
func (CardDetails) GoString() string { return hidden }

// Format shows nothing, whatever the verb.
func (CardDetails) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, hidden) }

// LogValue shows nothing.
func (CardDetails) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText shows nothing.
func (CardDetails) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// MarshalJSON shows nothing.
func (CardDetails) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// Tokeniser exchanges a card's details for the acquirer's token, outside of any transaction.
type Tokeniser interface {
	// Tokenise answers the same for the same id. Its errors are ErrCardRefused,
	// and store.ErrUnavailable where the acquirer did not answer.
	Tokenise(ctx context.Context, id store.IntentID, details CardDetails) (card store.Card, token string, err error)
}

// ErrCardRefused says that the acquirer knows no such card.
var ErrCardRefused = errors.New("the acquirer does not know such a card")
