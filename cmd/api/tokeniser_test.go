package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer"
)

// answers is an acquirer that answers one thing, and remembers what it was asked.
type answers struct {
	token acquirer.Token
	err   error
	id    string
	asked acquirer.Details
}

func (a *answers) Tokenise(_ context.Context, id string, details acquirer.Details) (acquirer.Token, error) {
	a.id, a.asked = id, details
	return a.token, a.err
}

func TestACardIsTokenisedUnderItsIntent(t *testing.T) {
	t.Parallel()
	theirs := &answers{token: acquirer.Token{Token: "t", Mask: "4111111111", Expiry: "2031-12", Brand: "visa"}}
	id, details := store.NewIntentID(), api.CardDetails{Number: "4111111111111111", Expiry: "2031-12", SecurityCode: "123", Token: "old"}
	card, token, err := tokeniser{theirs, newTokenCalls()}.Tokenise(t.Context(), id, details)
	if err != nil || token != "t" || card != (store.Card{Mask: "4111111111", Expiry: "2031-12", Brand: "visa"}) {
		t.Errorf("the token is %q of %+v, %v", token, card, err)
	}
	if theirs.id != id.String() || theirs.asked != acquirer.Details(details) {
		t.Errorf("the acquirer was asked under %s, want %s; the details are the same: %v", theirs.id, id, theirs.asked == acquirer.Details(details))
	}
}

func TestWhatATokenIsRefusedFor(t *testing.T) {
	t.Parallel()
	type verdict struct {
		CardRefused, Unavailable bool
		Counted                  string
	}
	for _, story := range []struct {
		err  error
		want verdict
	}{
		{acquirer.ErrCardRefused, verdict{CardRefused: true, Counted: "declined"}},
		{acquirer.ErrNotSent, verdict{Unavailable: true, Counted: "not_sent"}},
		{errors.New("500"), verdict{Unavailable: true, Counted: "unknown"}},
		{context.DeadlineExceeded, verdict{Unavailable: true, Counted: "unknown"}},
		{acquirer.ErrRefused, verdict{Counted: "refused"}},
	} {
		calls := newTokenCalls()
		_, _, err := tokeniser{&answers{err: fmt.Errorf("tokenise: %w", story.err)}, calls}.Tokenise(t.Context(), store.NewIntentID(), api.CardDetails{})
		got := verdict{CardRefused: errors.Is(err, api.ErrCardRefused), Unavailable: errors.Is(err, store.ErrUnavailable)}
		for _, outcome := range []string{"approved", "declined", "refused", "not_sent", "unknown"} {
			if testutil.ToFloat64(calls.WithLabelValues("tokenise", outcome)) == 1 {
				got.Counted += outcome
			}
		}
		if diff := cmp.Diff(story.want, got); err == nil || diff != "" {
			t.Errorf("%v is %v: -want +got\n%s", story.err, err, diff)
		}
	}
}
