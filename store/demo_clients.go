package store

import (
	"context"
	"errors"
)

// Nobody loads the demo where it is not wanted: these secrets are public.
var (
	demoClient = NewClient{ClientID: "demo", Secret: "demo-secret", Scopes: []string{ScopeCredit}, Rights: []string{RightManagePayments}}
	demoUsers  = []NewUser{
		{Name: "demo", PIN: "1234", Password: "demo-password", Rights: []string{RightManagePayments}},
		{Name: "clerk", PIN: "4321"},
	}
)

// loadDemoClients makes the back office and its users. What is there already is left alone.
func (s *Store) loadDemoClients(ctx context.Context) error {
	if _, err := s.AddClient(ctx, demoClient); err != nil && !errors.Is(err, ErrClientTaken) {
		return err
	}
	for _, u := range demoUsers {
		err := s.AddUser(ctx, u)
		if err != nil && !errors.Is(err, ErrNameTaken) && !errors.Is(err, ErrPINTaken) {
			return err
		}
	}
	return nil
}
