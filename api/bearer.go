package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

// authorizer is what Bearers needs of the store.
type authorizer interface {
	Authorize(ctx context.Context, token string) (store.Caller, error)
}

// Bearers knows callers by their access tokens.
type Bearers struct {
	Tokens authorizer
	Scope  string // that a token must be good for
}

// rightNames are the original's names of the rights.
var rightNames = map[string]string{store.RightManagePayments: "Manage payments"}

// Allowed returns who calls, if his token has the scope and he has these rights; or the
// refusal, with its header set.
func (b Bearers) Allowed(c *gin.Context, rights ...string) (store.Caller, error) {
	caller, err := b.caller(c)
	if err != nil {
		return store.Caller{}, err
	}
	if !slices.Contains(caller.Scopes, b.Scope) {
		return store.Caller{}, b.challenge(c, http.StatusForbidden, "insufficient_scope", "The scope "+b.Scope+" is missing.")
	}
	for _, right := range rights {
		if !slices.Contains(caller.Rights, right) {
			name := cmp.Or(rightNames[right], right)
			return store.Caller{}, &Refusal{Status: http.StatusForbidden, Code: "right_missing", Message: "The right " + name + " is missing."}
		}
	}
	return caller, nil
}

// caller returns whom the request's token stands for, in "Authorization: Bearer" or in the
// original document's own "Authentication: Bearer".
func (b Bearers) caller(c *gin.Context) (store.Caller, error) {
	tokens := tokensOf(c.Request.Header)
	switch len(tokens) {
	case 0:
		return store.Caller{}, b.challenge(c, http.StatusUnauthorized, "", "An access token is missing.")
	case 1:
	default:
		return store.Caller{}, b.challenge(c, http.StatusBadRequest, "invalid_request", "There are two different access tokens.")
	}
	caller, err := b.Tokens.Authorize(c.Request.Context(), tokens[0])
	if errors.Is(err, store.ErrTokenInvalid) {
		return store.Caller{}, b.challenge(c, http.StatusUnauthorized, "invalid_token", "The access token is invalid, expired or revoked.")
	}
	return caller, err
}

// tokensOf are the different tokens of a request.
func tokensOf(h http.Header) (tokens []string) {
	for _, value := range slices.Concat(h.Values("Authorization"), h.Values("Authentication")) {
		scheme, token, _ := strings.Cut(strings.TrimSpace(value), " ")
		token = strings.TrimSpace(token)
		if strings.EqualFold(scheme, "Bearer") && token != "" && !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

// challenge refuses a request for its token, in the words of RFC 6750, 3: code is "" where
// none was sent.
func (b Bearers) challenge(c *gin.Context, status int, code, message string) error {
	header := "Bearer"
	if code != "" {
		header += ` error="` + code + `"`
	}
	if code == "insufficient_scope" {
		header += `, scope="` + b.Scope + `"`
	}
	c.Header("WWW-Authenticate", header)
	return &Refusal{Status: status, Code: cmp.Or(code, "token_missing"), Message: message}
}
