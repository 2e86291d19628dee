package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer"
)

// acquirerTokens is what tokeniser needs of the acquirer.
type acquirerTokens interface {
	Tokenise(ctx context.Context, id string, details acquirer.Details) (acquirer.Token, error)
}

// tokeniser lets the APIs, which know nothing of the acquirer, have its tokens.
type tokeniser struct {
	acquirer acquirerTokens
	calls    *prometheus.CounterVec
}

// newTokenCalls counts as the card worker counts its calls, from 0.
func newTokenCalls() *prometheus.CounterVec {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quittance_acquirer_calls_total",
		Help: "Calls of the acquirer, by what was asked and what came of it; unknown is everything but a clear answer.",
	}, []string{"call", "outcome"})
	for _, outcome := range []string{"approved", "declined", "refused", "not_sent", "unknown"} {
		calls.WithLabelValues("tokenise", outcome)
	}
	return calls
}

// outcomeOf is what is counted of a call that came to err.
func outcomeOf(err error) string {
	switch {
	case err == nil:
		return "approved"
	case errors.Is(err, acquirer.ErrCardRefused):
		return "declined"
	case errors.Is(err, acquirer.ErrRefused):
		return "refused"
	case errors.Is(err, acquirer.ErrNotSent):
		return "not_sent"
	}
	return "unknown"
}

// Tokenise moves no money: where the acquirer did not answer, whoever asked may ask again.
// That it does not take our calls is nothing that the API's client could change.
func (t tokeniser) Tokenise(ctx context.Context, id store.IntentID, details api.CardDetails) (store.Card, string, error) {
	token, err := t.acquirer.Tokenise(ctx, id.String(), acquirer.Details(details))
	t.calls.WithLabelValues("tokenise", outcomeOf(err)).Inc()
	switch {
	case err == nil:
		return store.Card{Mask: token.Mask, Expiry: token.Expiry, Brand: token.Brand}, token.Token, nil
	case errors.Is(err, acquirer.ErrCardRefused):
		return store.Card{}, "", fmt.Errorf("%w: %w", api.ErrCardRefused, err)
	case errors.Is(err, acquirer.ErrRefused):
		return store.Card{}, "", err
	default:
		return store.Card{}, "", away{err}
	}
}

// away says that the acquirer did not answer. To a client it is what the database's absence
// is; the log has its own words.
type away struct{ error }

func (a away) Error() string { return "the acquirer did not answer: " + a.error.Error() }

func (a away) Unwrap() error { return a.error }

func (away) Is(target error) bool { return target == store.ErrUnavailable }
