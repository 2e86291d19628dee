package recharge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// issuer is what the token endpoints need of the store.
type issuer interface {
	ClientTokens(ctx context.Context, by store.Credentials, scopes []string) (store.Tokens, error)
	LoginTokens(ctx context.Context, by store.Credentials, l store.Login, scopes []string) (store.Tokens, error)
	RefreshTokens(ctx context.Context, by store.Credentials, refresh string, scopes []string) (store.Tokens, error)
	RevokeToken(ctx context.Context, by store.Credentials, token string) error
}

// AuthConfig is what the token endpoints are built from.
type AuthConfig struct {
	Tokens issuer
	Limit  *api.RateLimit
}

// NewAuth returns the API that gives tokens and takes them back: RFC 6749 with the
// original's grant login_info, and RFC 7009. Its refusals are those of RFC 6749, 5.2.
func NewAuth(cfg AuthConfig) api.API {
	h := &authHandlers{tokens: cfg.Tokens}
	around := func(handle api.Handler) api.Handler { return neverStored(cfg.Limit.Around(handle)) }
	return api.API{
		Prefix:  "/api/auth",
		Mistake: http.StatusBadRequest,
		Shape:   authShape,
		Refusals: []api.Case{
			{Err: store.ErrLoginRefused, Refusal: api.Refusal{Code: "invalid_grant", Message: "The login is refused."}},
			{Err: store.ErrRefreshRefused, Refusal: api.Refusal{Code: "invalid_grant", Message: "The refresh token is invalid, expired, revoked or used."}},
		},
		Routes: []api.Route{
			{Method: http.MethodPost, Path: "/api/auth/token", Who: "a client, at a limited rate", Handle: around(h.token)},
			{Method: http.MethodPost, Path: "/api/auth/revoke", Who: "the token's client, at a limited rate", Handle: around(h.revoke)},
		},
	}
}

type authHandlers struct{ tokens issuer }

// neverStored keeps answers, which are credentials, out of caches.
func neverStored(handle api.Handler) api.Handler {
	return func(c *gin.Context) error {
		c.Header("Cache-Control", "no-store")
		c.Header("Pragma", "no-cache")
		return handle(c)
	}
}

// authRefused is a refusal as RFC 6749, 5.2 words it.
type authRefused struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// authCodes are the codes of the RFC; what else the router refuses becomes one of them.
var authCodes = map[string]string{
	"invalid_request": "invalid_request", "invalid_client": "invalid_client", "invalid_grant": "invalid_grant",
	"invalid_scope": "invalid_scope", "unsupported_grant_type": "unsupported_grant_type",
	"unavailable": "temporarily_unavailable", "internal": "server_error",
}

func authShape(r api.Refusal) any {
	code, known := authCodes[r.Code]
	if !known {
		code = "invalid_request" // another address or method, too large, too often
	}
	return authRefused{Error: code, Description: r.Message}
}

func invalidRequest(message string) error {
	return &api.Refusal{Code: "invalid_request", Message: message}
}

// given are the tokens as a client gets them.
type given struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	Scope        string `json:"scope"`      // granted, which may be less than what was asked for
	RefreshToken string `json:"refresh_token"`
}

func (h *authHandlers) token(c *gin.Context) error {
	p, by, err := authRequest(c)
	if err != nil {
		return err
	}
	scopes, err := p.scopes()
	if err != nil {
		return err
	}
	t, err := h.grant(c.Request.Context(), p, by, scopes)
	if err != nil {
		return refusedClient(c, err)
	}
	api.Answer(c, http.StatusOK, api.Encode(given{
		AccessToken: t.Access, TokenType: "Bearer", ExpiresIn: int(t.ExpiresIn.Seconds()),
		Scope: strings.Join(t.Scopes, " "), RefreshToken: t.Refresh,
	}))
	return nil
}

func (h *authHandlers) grant(ctx context.Context, p authParams, by store.Credentials, scopes []string) (store.Tokens, error) {
	switch p["grant_type"] {
	case "client_credentials":
		return h.tokens.ClientTokens(ctx, by, scopes)
	case "login_info":
		login, err := p.login()
		if err != nil {
			return store.Tokens{}, err
		}
		return h.tokens.LoginTokens(ctx, by, login, scopes)
	case "refresh_token":
		if p["refresh_token"] == "" {
			return store.Tokens{}, invalidRequest("refresh_token is required.")
		}
		return h.tokens.RefreshTokens(ctx, by, p["refresh_token"], scopes)
	case "":
		return store.Tokens{}, invalidRequest("grant_type is required.")
	}
	return store.Tokens{}, &api.Refusal{Code: "unsupported_grant_type", Message: "grant_type is client_credentials, login_info or refresh_token."}
}

// revoke answers 200 whatever the token was: who must not revoke it learns nothing.
func (h *authHandlers) revoke(c *gin.Context) error {
	p, by, err := authRequest(c)
	if err != nil {
		return err
	}
	if p["token"] == "" {
		return invalidRequest("token is required.")
	}
	if err := h.tokens.RevokeToken(c.Request.Context(), by, p["token"]); err != nil {
		return refusedClient(c, err)
	}
	api.Answer(c, http.StatusOK, []byte("{}"))
	return nil
}

// refusedClient words the store's refusals that need the request.
func refusedClient(c *gin.Context, err error) error {
	var locked *store.Locked
	switch {
	case errors.As(err, &locked):
		return &api.Refusal{Status: http.StatusTooManyRequests, Code: "invalid_grant", Message: "There were too many failures.", RetryAfter: locked.For}
	case errors.Is(err, store.ErrClientRefused):
		return invalidClient(c)
	}
	return err
}

func invalidClient(c *gin.Context) error {
	if usesBasic(c) {
		c.Header("WWW-Authenticate", `Basic realm="quittance", charset="UTF-8"`)
	}
	return &api.Refusal{Status: http.StatusUnauthorized, Code: "invalid_client", Message: "The client's authentication failed."}
}

// authRequest reads a body and who sends it.
func authRequest(c *gin.Context) (authParams, store.Credentials, error) {
	p, err := readAuthParams(c)
	if err != nil {
		return nil, store.Credentials{}, err
	}
	by, err := credentials(c, p)
	return p, by, err
}

// credentials are in the body or in "Authorization: Basic", not in both.
func credentials(c *gin.Context, p authParams) (store.Credentials, error) {
	by := store.Credentials{ClientID: p["client_id"], Secret: p["client_secret"], Address: c.ClientIP()}
	if usesBasic(c) {
		id, secret, ok := readBasic(c.Request)
		switch {
		case !ok:
			return by, invalidClient(c)
		case by.Secret != "", by.ClientID != "" && by.ClientID != id:
			return by, invalidRequest("The client authenticates in the header and in the body.")
		}
		by.ClientID, by.Secret = id, secret
	}
	if by.ClientID == "" || by.Secret == "" {
		return by, invalidClient(c)
	}
	return by, nil
}

// usesBasic says whether a request has credentials in its header, well-formed or not.
func usesBasic(c *gin.Context) bool {
	scheme, _, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	return strings.EqualFold(scheme, "Basic")
}

// readBasic reads id and secret, each of them form-encoded (RFC 6749, 2.3.1).
func readBasic(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	id, badID := url.QueryUnescape(id)
	secret, badSecret := url.QueryUnescape(secret)
	return id, secret, ok && badID == nil && badSecret == nil && sane(id) && sane(secret)
}
