package recharge_test

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/quittance/quittance/store"
)

// nobody is a store without clients. It panics where it is handed what a database cannot
// store.
type nobody struct{}

func (nobody) refuse(texts ...string) error {
	for _, text := range texts {
		if len(text) > 1024 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			panic("handed on: " + text)
		}
	}
	return store.ErrClientRefused
}

func (n nobody) ClientTokens(_ context.Context, by store.Credentials, scopes []string) (store.Tokens, error) {
	return store.Tokens{}, n.refuse(append(scopes, by.ClientID, by.Secret)...)
}

func (n nobody) LoginTokens(_ context.Context, by store.Credentials, l store.Login, scopes []string) (store.Tokens, error) {
	return store.Tokens{}, n.refuse(append(scopes, by.ClientID, by.Secret, l.Card, l.PIN, l.Name, l.Password)...)
}

func (n nobody) RefreshTokens(_ context.Context, by store.Credentials, refresh string, scopes []string) (store.Tokens, error) {
	return store.Tokens{}, n.refuse(append(scopes, by.ClientID, by.Secret, refresh)...)
}

func (n nobody) RevokeToken(_ context.Context, by store.Credentials, token string) error {
	return n.refuse(by.ClientID, by.Secret, token)
}
