package push

import (
	"errors"
	"testing"

	"golang.org/x/oauth2"
)

// A machine may not know yet who it is: that is an outage of credentials, and not the end.
func TestDefaultCredentialsAreLookedForUntilTheyAreFound(t *testing.T) {
	t.Parallel()
	unknown, searches := errors.New("nobody knows"), 0
	l := &lazily{find: func() (oauth2.TokenSource, error) {
		if searches++; searches == 1 {
			return nil, unknown
		}
		return oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"}), nil
	}}
	source := &marking{source: l}
	_, err := source.Token()
	if said, is := errors.AsType[*credentialError](err); !is || !errors.Is(said, unknown) {
		t.Errorf("at first: %v", err)
	}
	for range 2 {
		if token, err := source.Token(); err != nil || token.AccessToken != "token" {
			t.Errorf("then: %v, %v", token, err)
		}
	}
	if searches != 2 {
		t.Errorf("it was looked for %d times", searches)
	}
}
