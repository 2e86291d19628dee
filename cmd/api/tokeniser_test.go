package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

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
	card, token, err := tokeniser{theirs}.Tokenise(t.Context(), id, details)
	if err != nil || token != "t" || card != (store.Card{Mask: "4111111111", Expiry: "2031-12", Brand: "visa"}) {
		t.Errorf("the token is %q of %+v, %v", token, card, err)
	}
	if theirs.id != id.String() || theirs.asked != acquirer.Details(details) {
		t.Errorf("the acquirer was asked under %s, want %s; the details are the same: %v", theirs.id, id, theirs.asked == acquirer.Details(details))
	}
}

func TestWhatATokenIsRefusedFor(t *testing.T) {
	t.Parallel()
	type verdict struct{ CardRefused, Unavailable bool }
	for _, story := range []struct {
		err  error
		want verdict
	}{
		{acquirer.ErrCardRefused, verdict{CardRefused: true}},
		{acquirer.ErrNotSent, verdict{Unavailable: true}},
		{errors.New("500"), verdict{Unavailable: true}},
		{context.DeadlineExceeded, verdict{Unavailable: true}},
		{acquirer.ErrRefused, verdict{}},
	} {
		_, _, err := tokeniser{&answers{err: fmt.Errorf("tokenise: %w", story.err)}}.Tokenise(t.Context(), store.NewIntentID(), api.CardDetails{})
		got := verdict{errors.Is(err, api.ErrCardRefused), errors.Is(err, store.ErrUnavailable)}
		if diff := cmp.Diff(story.want, got); err == nil || diff != "" {
			t.Errorf("%v is %v: -want +got\n%s", story.err, err, diff)
		}
	}
}
