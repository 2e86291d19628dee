package recharge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/api/recharge"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

const (
	jsonBody = "application/json; charset=utf-8"
	formBody = "application/x-www-form-urlencoded"
)

// counter is where tokens are asked for: the API on a real store, with the demo's client
// and users.
type counter struct {
	*storetest.DB
	t    *testing.T
	http http.Handler
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	db := storetest.New(t)
	if err := db.LoadDemo(t.Context(), acquirertest.TokenOf); err != nil {
		t.Fatal(err)
	}
	if err := db.AddUser(t.Context(), store.NewUser{Name: "alice", Card: "04A2B1C3", PIN: "567890", Password: "alice's password"}); err != nil {
		t.Fatal(err)
	}
	return open(t, db, 1000)
}

// open serves tokens from a store, and what an API asks of its callers at /v3/who.
func open(t *testing.T, db *storetest.DB, perSecond float64) *counter {
	t.Helper()
	guard := api.Bearers{Tokens: db, Scope: store.ScopeCredit}
	who := func(rights ...string) api.Handler {
		return func(c *gin.Context) error {
			caller, err := guard.Allowed(c, rights...)
			if err == nil {
				api.Answer(c, http.StatusOK, []byte(fmt.Sprintf(`{"user":%d}`, caller.User)))
			}
			return err
		}
	}
	h, err := api.New(api.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: api.NewMetrics()},
		recharge.NewAuth(recharge.AuthConfig{Tokens: db, Limit: api.NewRateLimit(perSecond)}),
		api.API{Prefix: "/v3/", Mistake: http.StatusBadRequest, Shape: api.PlainShape, Routes: []api.Route{
			{Method: http.MethodGet, Path: "/v3/who", Handle: who()},
			{Method: http.MethodGet, Path: "/v3/who/manages", Handle: who(store.RightManagePayments)},
		}})
	if err != nil {
		t.Fatal(err)
	}
	return &counter{DB: db, t: t, http: apitest.Checked(t, h)}
}

func (c *counter) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.http.ServeHTTP(w, r)
	return w
}

// post sends a body; headers are pairs of name and value.
func (c *counter) post(path, contentType, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return c.do(r)
}

type answer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"`
	Scope        string `json:"scope"`
	RefreshToken string `json:"refresh_token"`

	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (c *counter) read(w *httptest.ResponseRecorder) (a answer) {
	c.t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		c.t.Errorf("answered %d %s: %v", w.Code, w.Body, err)
	}
	return a
}

// token asks for tokens and gets them.
func (c *counter) token(contentType, body string, headers ...string) answer {
	c.t.Helper()
	w := c.post("/api/auth/token", contentType, body, headers...)
	a := c.read(w)
	if w.Code != http.StatusOK || a.TokenType != "Bearer" || a.ExpiresIn != 1800 || len(a.AccessToken) != 43 || len(a.RefreshToken) != 43 {
		c.t.Fatalf("%s\nis answered %d %s", body, w.Code, w.Body)
	}
	c.checkNotStored(w)
	return a
}

func (c *counter) checkNotStored(w *httptest.ResponseRecorder) {
	c.t.Helper()
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Pragma") != "no-cache" {
		c.t.Errorf("%d may be cached: %v", w.Code, w.Header())
	}
}

// get asks who the caller is; headers are pairs of name and value.
func (c *counter) get(path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return c.do(r)
}

const demo = `"client_id":"demo","client_secret":"demo-secret"`

func login(info string) string {
	return `{"grant_type":"login_info","scope":"credit",` + demo + `,"login_info":` + info + `}`
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func TestEveryGrantGivesTokens(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	basic := []string{"Authorization", "Basic ZGVtbzpkZW1vLXNlY3JldA=="} // demo:demo-secret
	for _, story := range []struct {
		name, contentType, body string
		headers                 []string
		scope                   string
		user                    int
	}{
		{"the original's example", jsonBody, `{"grant_type":"client_credentials","scope":"credit",` + demo + `}`, nil, "credit", 0},
		{"no scope is every scope", jsonBody, `{"grant_type":"client_credentials",` + demo + `}`, nil, "credit callbacks", 0},
		{"an empty scope is none", formBody, form("grant_type", "client_credentials", "scope", "", "client_id", "demo", "client_secret", "demo-secret"), nil, "credit callbacks", 0},
		{"scopes that nobody has", jsonBody, `{"grant_type":"client_credentials","scope":"users printers",` + demo + `}`, nil, "", 0},
		{"what is unknown is ignored", jsonBody, `{"grant_type":"client_credentials","more":[1],"login_info":null,` + demo + `}`, nil, "credit callbacks", 0},
		{"a form", formBody, form("grant_type", "client_credentials", "client_id", "demo", "client_secret", "demo-secret"), nil, "credit callbacks", 0},
		{"an object, whatever it is called", formBody, ` {"grant_type":"client_credentials",` + demo + `}`, nil, "credit callbacks", 0},
		{"Basic", formBody, form("grant_type", "client_credentials"), basic, "credit callbacks", 0},
		{"Basic, and the same id in the body", jsonBody, `{"grant_type":"client_credentials","client_id":"demo"}`, basic, "credit callbacks", 0},
		{"Basic, form-encoded", formBody, form("grant_type", "client_credentials"), []string{"Authorization", "basic ZGVtbzpkZW1vJTJEc2VjcmV0"}, "credit callbacks", 0},
		{"a card", jsonBody, login(`{"type":1,"card":"04A2B1C3"}`), nil, "credit", 3},
		{"a PIN", jsonBody, login(`{"type":2,"pin":"1234"}`), nil, "credit", 1},
		{"another PIN", jsonBody, login(`{"type":2,"pin":"4321"}`), nil, "credit", 2},
		{"user and password", jsonBody, login(`{"type":3,"user":"demo","pwd":"demo-password"}`), nil, "credit", 1},
		{"card and PIN", jsonBody, login(`{"type":4,"card":"04A2B1C3","pin":"567890"}`), nil, "credit", 3},
		{"card and password", jsonBody, login(`{"type":5,"card":"04A2B1C3","pwd":"alice's password"}`), nil, "credit", 3},
		{"the type as text", jsonBody, login(`{"type":"2","pin":"1234"}`), nil, "credit", 1},
		{"login_info as text", jsonBody, login(`"{\"type\":2,\"pin\":\"1234\"}"`), nil, "credit", 1},
		{"login_info over several lines", jsonBody, login("{\n\t\"type\": 2,\n\t\"pin\": \"1234\"\n}"), nil, "credit", 1},
		{"login_info in a form", formBody, form("grant_type", "login_info", "client_id", "demo", "client_secret", "demo-secret", "login_info", `{"type":2,"pin":"1234"}`), nil, "credit callbacks", 1},
	} {
		a := c.token(story.contentType, story.body, story.headers...)
		if a.Scope != story.scope {
			t.Errorf("%s: scope %q, want %q", story.name, a.Scope, story.scope)
		}
		caller, err := c.Authorize(t.Context(), a.AccessToken)
		if err != nil || caller.User != int64(story.user) {
			t.Errorf("%s: user %d, %v; want user %d", story.name, caller.User, err, story.user)
		}
	}
	if n := c.Count("SELECT count(*) FROM clients WHERE secret_hash NOT LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'"); n != 0 {
		t.Error("a secret is hashed at less than full cost")
	}
}

func TestARefreshTokenIsExchangedOnce(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	first := c.token(jsonBody, login(`{"type":2,"pin":"1234"}`))
	exchange := `{"grant_type":"refresh_token",` + demo + `,"refresh_token":"` + first.RefreshToken + `"}`
	second := c.token(jsonBody, exchange)
	if second.Scope != "credit" || second.RefreshToken == first.RefreshToken {
		t.Errorf("exchanged for %+v", second)
	}
	third := c.token(formBody, form("grant_type", "refresh_token", "client_id", "demo", "client_secret", "demo-secret", "refresh_token", second.RefreshToken, "scope", "nothing"))
	if third.Scope != "" {
		t.Errorf("a narrower scope: %q", third.Scope)
	}
	w := c.post("/api/auth/token", jsonBody, exchange)
	if a := c.read(w); w.Code != http.StatusBadRequest || a.Error != "invalid_grant" {
		t.Errorf("a second time: %d %s", w.Code, w.Body)
	}
	if w := c.get("/v3/who", "Authorization", "Bearer "+second.AccessToken); w.Code != http.StatusUnauthorized {
		t.Errorf("the grant goes on after the reuse: %d %s", w.Code, w.Body)
	}
}

func TestTokensAreRevoked(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	if _, err := c.AddClient(t.Context(), store.NewClient{ClientID: "other", Secret: "other-secret"}); err != nil {
		t.Fatal(err)
	}
	tokens := c.token(jsonBody, `{"grant_type":"client_credentials",`+demo+`}`)
	opens := func() int { return c.get("/v3/who", "Authorization", "Bearer "+tokens.AccessToken).Code }
	for _, story := range []struct {
		name, contentType, body string
		status, opens           int
		code                    string
	}{
		{"an unknown token", jsonBody, `{"token":"unknown",` + demo + `}`, 200, 200, ""},
		{"another client's", jsonBody, `{"token":"` + tokens.AccessToken + `","client_id":"other","client_secret":"other-secret"}`, 200, 200, ""},
		{"nobody's", jsonBody, `{"token":"` + tokens.AccessToken + `"}`, 401, 200, "invalid_client"},
		{"a wrong secret", jsonBody, `{"token":"` + tokens.AccessToken + `","client_id":"demo","client_secret":"x"}`, 401, 200, "invalid_client"},
		{"no token", jsonBody, `{` + demo + `}`, 400, 200, "invalid_request"},
		{"its own", formBody, form("token", tokens.RefreshToken, "token_type_hint", "refresh_token", "client_id", "demo", "client_secret", "demo-secret"), 200, 401, ""},
		{"again", jsonBody, `{"token":"` + tokens.AccessToken + `",` + demo + `}`, 200, 401, ""},
	} {
		w := c.post("/api/auth/revoke", story.contentType, story.body)
		if a := c.read(w); w.Code != story.status || a.Error != story.code {
			t.Errorf("%s: %d %s, want %d %s", story.name, w.Code, w.Body, story.status, story.code)
		}
		c.checkNotStored(w)
		if got := opens(); got != story.opens {
			t.Errorf("%s: then the token is answered %d, want %d", story.name, got, story.opens)
		}
	}
}

func TestWhatIsRefusedIsRefusedInTheWordsOfTheRFC(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	const (
		grant = `"grant_type":"client_credentials"`
		basic = "Basic ZGVtbzpkZW1vLXNlY3JldA=="
		wrong = "Basic ZGVtbzp3cm9uZy1zZWNyZXQ=" // demo:wrong-secret
	)
	long := strings.Repeat("x", 1025)
	for _, story := range []struct {
		name, contentType, body string
		basic                   string
		status                  int
		code                    string
	}{
		{"no grant_type", jsonBody, `{` + demo + `}`, "", 400, "invalid_request"},
		{"another grant_type", jsonBody, `{"grant_type":"password",` + demo + `}`, "", 400, "unsupported_grant_type"},
		{"a grant_type that is no text", jsonBody, `{"grant_type":1,` + demo + `}`, "", 400, "invalid_request"},
		{"no client", jsonBody, `{` + grant + `}`, "", 401, "invalid_client"},
		{"no secret", jsonBody, `{` + grant + `,"client_id":"demo"}`, "", 401, "invalid_client"},
		{"an unknown client", jsonBody, `{` + grant + `,"client_id":"nobody","client_secret":"demo-secret"}`, "", 401, "invalid_client"},
		{"a wrong secret", jsonBody, `{` + grant + `,"client_id":"demo","client_secret":"wrong-secret"}`, "", 401, "invalid_client"},
		{"a wrong secret, Basic", formBody, form("grant_type", "client_credentials"), wrong, 401, "invalid_client"},
		{"Basic that is not base64", formBody, form("grant_type", "client_credentials"), "Basic !", 401, "invalid_client"},
		{"Basic without a colon", formBody, form("grant_type", "client_credentials"), "Basic ZGVtbw==", 401, "invalid_client"},
		{"Basic with a broken escape", formBody, form("grant_type", "client_credentials"), "Basic ZGVtbzolZw==", 401, "invalid_client"},
		{"Basic and a secret in the body", jsonBody, `{` + grant + `,` + demo + `}`, basic, 400, "invalid_request"},
		{"Basic and another id in the body", jsonBody, `{` + grant + `,"client_id":"other"}`, basic, 400, "invalid_request"},
		{"a scope with two spaces", jsonBody, `{` + grant + `,"scope":"credit  x",` + demo + `}`, "", 400, "invalid_scope"},
		{"a scope with a quote", jsonBody, `{` + grant + `,"scope":"\"credit\"",` + demo + `}`, "", 400, "invalid_scope"},
		{"no refresh token", jsonBody, `{"grant_type":"refresh_token",` + demo + `}`, "", 400, "invalid_request"},
		{"an unknown refresh token", jsonBody, `{"grant_type":"refresh_token","refresh_token":"x",` + demo + `}`, "", 400, "invalid_grant"},
		{"no login_info", jsonBody, `{"grant_type":"login_info",` + demo + `}`, "", 400, "invalid_request"},
		{"login_info that is no object", jsonBody, login(`[1]`), "", 400, "invalid_request"},
		{"login_info that is not JSON", jsonBody, login(`"pin"`), "", 400, "invalid_request"},
		{"no type", jsonBody, login(`{"pin":"1234"}`), "", 400, "invalid_request"},
		{"another type", jsonBody, login(`{"type":6,"pin":"1234"}`), "", 400, "invalid_request"},
		{"a type that is a fraction", jsonBody, login(`{"type":2.0,"pin":"1234"}`), "", 400, "invalid_request"},
		{"no PIN", jsonBody, login(`{"type":2}`), "", 400, "invalid_request"},
		{"a PIN that is a number", jsonBody, login(`{"type":2,"pin":1234}`), "", 400, "invalid_request"},
		{"no password", jsonBody, login(`{"type":3,"user":"demo","pwd":""}`), "", 400, "invalid_request"},
		{"a user with a NUL", jsonBody, login(`{"type":3,"user":"demo\u0000","pwd":"x"}`), "", 400, "invalid_request"},
		{"a password that is too long", jsonBody, login(`{"type":3,"user":"demo","pwd":"` + long + `"}`), "", 400, "invalid_request"},
		{"a wrong PIN", jsonBody, login(`{"type":2,"pin":"0000"}`), "", 400, "invalid_grant"},
		{"a wrong password", jsonBody, login(`{"type":3,"user":"demo","pwd":"wrong-secret"}`), "", 400, "invalid_grant"},
		{"an unknown user", jsonBody, login(`{"type":3,"user":"nobody","pwd":"demo-password"}`), "", 400, "invalid_grant"},
		{"a secret that is too long", jsonBody, `{` + grant + `,"client_id":"demo","client_secret":"` + long + `"}`, "", 400, "invalid_request"},
		{"a client id that is not UTF-8", formBody, "grant_type=client_credentials&client_id=%ff&client_secret=x", "", 400, "invalid_request"},
		{"a client id with a NUL", formBody, "grant_type=client_credentials&client_id=%00&client_secret=x", "", 400, "invalid_request"},
		{"a parameter twice", formBody, "grant_type=client_credentials&scope=a&scope=b&client_id=demo&client_secret=demo-secret", "", 400, "invalid_request"},
		{"a broken form", formBody, "grant_type=%", "", 400, "invalid_request"},
		{"broken JSON", jsonBody, `{`, "", 400, "invalid_request"},
		{"JSON that is no object", jsonBody, `[]`, "", 400, "invalid_request"},
		{"a body that is not UTF-8", jsonBody, "{\xff}", "", 400, "invalid_request"},
		{"another type of body", "text/plain", "grant_type=client_credentials&client_id=demo&client_secret=demo-secret", "", 400, "invalid_request"},
		{"no type of body", "", "grant_type=client_credentials&client_id=demo&client_secret=demo-secret", "", 400, "invalid_request"},
		{"a body that is too large", jsonBody, strings.Repeat(" ", 1<<20+1), "", 413, "invalid_request"},
	} {
		var headers []string
		if story.basic != "" {
			headers = []string{"Authorization", story.basic}
		}
		w := c.post("/api/auth/token", story.contentType, story.body, headers...)
		a := c.read(w)
		if w.Code != story.status || a.Error != story.code || a.Description == "" {
			t.Errorf("%s: %d %s, want %d %s", story.name, w.Code, w.Body, story.status, story.code)
		}
		c.checkNotStored(w)
		if got, want := w.Header().Get("WWW-Authenticate") != "", w.Code == 401 && story.basic != ""; got != want {
			t.Errorf("%s: WWW-Authenticate %q", story.name, w.Header().Get("WWW-Authenticate"))
		}
		for _, secret := range []string{"demo-secret", "wrong-secret", "1234", "0000"} {
			if strings.Contains(w.Body.String(), secret) {
				t.Errorf("%s: the answer repeats a secret: %s", story.name, w.Body)
			}
		}
	}
	if w := c.get("/api/auth/token"); w.Code != http.StatusMethodNotAllowed || c.read(w).Error != "invalid_request" {
		t.Errorf("another method: %d %s", w.Code, w.Body)
	}
	if w := c.post("/api/auth/tokens", jsonBody, "{}"); w.Code != http.StatusNotFound || c.read(w).Error != "invalid_request" {
		t.Errorf("another address: %d %s", w.Code, w.Body)
	}
}

func TestWhoFailsTooOftenIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	c.Exec("INSERT INTO login_attempts (subject, failures, locked_until) VALUES ('user 1', 10, now() + interval '10 minutes')")
	w := c.post("/api/auth/token", jsonBody, login(`{"type":3,"user":"demo","pwd":"demo-password"}`))
	seconds, _ := strconv.Atoi(w.Header().Get("Retry-After")) // what is left of it by then
	if a := c.read(w); w.Code != http.StatusTooManyRequests || a.Error != "invalid_grant" || seconds < 540 || seconds > 600 {
		t.Errorf("%d %s, Retry-After %s", w.Code, w.Body, w.Header().Get("Retry-After"))
	}
	c.checkNotStored(w)
}

func TestTheRateIsLimitedInTheWordsOfTheRFC(t *testing.T) {
	t.Parallel()
	c := open(t, storetest.New(t), 0.5) // one at once
	c.post("/api/auth/token", jsonBody, "{}")
	w := c.post("/api/auth/revoke", jsonBody, "{}")
	if a := c.read(w); w.Code != http.StatusTooManyRequests || a.Error != "invalid_request" || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	c.checkNotStored(w)
}

func TestALostDatabaseIsSaidInTheWordsOfTheRFC(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	faults := storetest.NewFaults(t, db.URL)
	faults.Down()
	c := open(t, &storetest.DB{Store: storetest.Open(t, faults.URL)}, 1000)
	w := c.post("/api/auth/token", jsonBody, `{"grant_type":"client_credentials",`+demo+`}`)
	if a := c.read(w); w.Code != http.StatusServiceUnavailable || a.Error != "temporarily_unavailable" || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	c.checkNotStored(w)
	if w := c.get("/v3/who", "Authorization", "Bearer x"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a caller: %d %s, want 503 and not 401: his token may be good", w.Code, w.Body)
	}
}

func TestWhoCallsMustHaveTokenScopeAndRight(t *testing.T) {
	t.Parallel()
	c := newCounter(t)
	manager := c.token(jsonBody, login(`{"type":2,"pin":"1234"}`))
	clerk := c.token(jsonBody, login(`{"type":2,"pin":"4321"}`))
	narrow := c.token(jsonBody, `{"grant_type":"client_credentials","scope":"other",`+demo+`}`)
	for _, story := range []struct {
		name      string
		headers   []string
		who       int // without a right
		manages   int // with the right
		challenge string
	}{
		{"no token", nil, 401, 401, `Bearer`},
		{"another scheme", []string{"Authorization", "Basic ZGVtbzpkZW1v"}, 401, 401, `Bearer`},
		{"an empty token", []string{"Authorization", "Bearer "}, 401, 401, `Bearer`},
		{"an unknown token", []string{"Authorization", "Bearer x"}, 401, 401, `Bearer error="invalid_token"`},
		{"a refresh token", []string{"Authorization", "Bearer " + manager.RefreshToken}, 401, 401, `Bearer error="invalid_token"`},
		{"who has the right", []string{"Authorization", "Bearer " + manager.AccessToken}, 200, 200, ""},
		{"the original's own header", []string{"Authentication", "bearer  " + manager.AccessToken}, 200, 200, ""},
		{"both, the same", []string{"Authorization", "Bearer " + manager.AccessToken, "Authentication", "BEARER " + manager.AccessToken}, 200, 200, ""},
		{"both, different", []string{"Authorization", "Bearer " + manager.AccessToken, "Authentication", "Bearer " + clerk.AccessToken}, 400, 400, `Bearer error="invalid_request"`},
		{"twice, different", []string{"Authorization", "Bearer " + manager.AccessToken, "Authorization", "Bearer " + clerk.AccessToken}, 400, 400, `Bearer error="invalid_request"`},
		{"who does not have the right", []string{"Authorization", "Bearer " + clerk.AccessToken}, 200, 403, ""},
		{"who does not have the scope", []string{"Authorization", "Bearer " + narrow.AccessToken}, 403, 403, `Bearer error="insufficient_scope", scope="credit"`},
	} {
		for path, want := range map[string]int{"/v3/who": story.who, "/v3/who/manages": story.manages} {
			w := c.get(path, story.headers...)
			if w.Code != want || w.Header().Get("WWW-Authenticate") != story.challenge {
				t.Errorf("%s, %s: %d %s, WWW-Authenticate %q; want %d and %q", story.name, path, w.Code, w.Body, w.Header().Get("WWW-Authenticate"), want, story.challenge)
			}
		}
	}
}

// Whatever is sent is refused as JSON, and is no fault of ours.
func FuzzTokenRequest(f *testing.F) {
	f.Add(jsonBody, login(`{"type":2,"pin":"1234"}`), "")
	f.Add(formBody, form("grant_type", "refresh_token", "refresh_token", "x", "client_id", "demo", "client_secret", "x"), "")
	f.Add(jsonBody, `{"grant_type":"client_credentials","scope":"a b"}`, "Basic ZGVtbzpkZW1v")
	h, err := api.New(api.Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: api.NewMetrics()},
		recharge.NewAuth(recharge.AuthConfig{Tokens: nobody{}, Limit: api.NewRateLimit(1e9)}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, contentType, body, authorization string) {
		for _, path := range []string{"/api/auth/token", "/api/auth/revoke"} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Header.Set("Content-Type", contentType)
			r.Header.Set("Authorization", authorization)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 400 && w.Code != 401 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%q %q %q is answered %d %s", contentType, body, authorization, w.Code, w.Body)
			}
		}
	})
}
