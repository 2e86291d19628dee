package callback

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// business is a client with a token, and the API in front of a real store.
type business struct {
	*storetest.DB
	t       *testing.T
	token   string
	handler http.Handler
}

func newBusiness(t *testing.T, db *storetest.DB, name string, scopes ...string) *business {
	t.Helper()
	secret, err := db.AddClient(t.Context(), store.NewClient{ClientID: name, Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := db.ClientTokens(t.Context(), store.Credentials{ClientID: name, Secret: secret}, nil)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	handler, err := api.New(api.Config{Log: quiet, Metrics: api.NewMetrics()}, New(Config{
		Books: db.Store, Waiter: api.NewWaiter(db, quiet, nil), Callers: api.Bearers{Tokens: db, Scope: store.ScopeCallbacks}, AllowHTTP: true,
	}))
	if err != nil {
		t.Fatal(err)
	}
	return &business{DB: db, t: t, token: tokens.Access, handler: apitest.Checked(t, handler)}
}

// ask sends a request with the token, and fails unless it is answered with this status.
func (b *business) ask(status int, method, path, body string, headers ...string) (*httptest.ResponseRecorder, map[string]any) {
	b.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+b.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	var said map[string]any
	if w.Body.Len() > 0 && json.Unmarshal(w.Body.Bytes(), &said) != nil || w.Code != status {
		b.t.Fatalf("%s %s: answered %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	return w, said
}

func TestAPartnerRegistersTestsReplaysAndLooks(t *testing.T) {
	t.Parallel()
	b := newBusiness(t, storetest.New(t), "partner", store.ScopeCallbacks)
	const endpoints = "/v1/callback-endpoints"
	wanted := `{"url":"http://127.0.0.1:8090/inbox/x","eventTypes":["recharge.committed"]}`
	first, made := b.ask(201, "POST", endpoints, wanted, "Idempotency-Key", "k")
	again, _ := b.ask(201, "POST", endpoints, `{"eventTypes":["recharge.committed"], "url":"http://127.0.0.1:8090/inbox/x"}`, "Idempotency-Key", "k")
	if first.Body.String() != again.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("a repeat is answered %v %s, the first was %s", again.Header(), again.Body, first.Body)
	}
	b.ask(422, "POST", endpoints, `{"url":"http://127.0.0.1:8090/inbox/y"}`, "Idempotency-Key", "k")
	id, _ := made["id"].(string)
	path := endpoints + "/" + id

	if _, shown := b.ask(200, "GET", path, ""); shown["secret"] != nil || shown["url"] != "http://127.0.0.1:8090/inbox/x" {
		t.Errorf("shown later: %v", shown)
	}
	if _, rotated := b.ask(200, "POST", path+"/rotate-secret", ""); rotated["secret"] == made["secret"] || rotated["oldSecretUntil"] == nil {
		t.Errorf("rotated: %v", rotated)
	}
	if _, changed := b.ask(200, "PATCH", path, `{"rateLimit":5,"description":"ours"}`); changed["rateLimit"] != 5.0 || changed["description"] != "ours" {
		t.Errorf("changed: %v", changed)
	}

	test, _ := b.ask(202, "POST", path+"/test", "", "Idempotency-Key", "t")
	callback := test.Header().Get("Operation-Id")
	if repeated, _ := b.ask(202, "POST", path+"/test", "{}", "Idempotency-Key", "t"); repeated.Header().Get("Operation-Id") != callback {
		t.Errorf("a repeat names %s, the first named %s", repeated.Header().Get("Operation-Id"), callback)
	}
	_, listed := b.ask(200, "GET", "/v1/callbacks?type=callback.test&endpoint="+id, "")
	if listed["count"] != 1.0 {
		t.Errorf("listed: %v", listed)
	}
	if replay, _ := b.ask(202, "POST", "/v1/callbacks/"+callback+"/replay", ""); replay.Header().Get("Operation-Id") != callback {
		t.Errorf("the replay names %v", replay.Header())
	}
	if _, shown := b.ask(200, "GET", "/v1/callbacks/"+callback, ""); shown["replaying"] != true || !strings.Contains(shown["body"].(string), `"type":"callback.test"`) {
		t.Errorf("replayed: %v", shown)
	}

	b.ask(200, "PATCH", path, `{"enabled":false}`)
	b.ask(204, "DELETE", path, "")
	b.ask(404, "GET", path, "")
	b.ask(409, "POST", "/v1/callbacks/"+callback+"/replay", "")
	b.CheckInvariants()
}

func TestAStrangerFindsNothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	b := newBusiness(t, db, "partner", store.ScopeCallbacks)
	_, made := b.ask(201, "POST", "/v1/callback-endpoints", `{"url":"https://a.example"}`)
	id, _ := made["id"].(string)
	test, _ := b.ask(202, "POST", "/v1/callback-endpoints/"+id+"/test", "")
	callback := "/v1/callbacks/" + test.Header().Get("Operation-Id")

	stranger := newBusiness(t, db, "stranger", store.ScopeCallbacks)
	for _, path := range []string{"/v1/callback-endpoints/" + id, callback} {
		stranger.ask(404, "GET", path, "")
	}
	stranger.ask(404, "PATCH", "/v1/callback-endpoints/"+id, `{"url":"https://stranger.example"}`)
	stranger.ask(404, "DELETE", "/v1/callback-endpoints/"+id, "")
	stranger.ask(404, "POST", "/v1/callback-endpoints/"+id+"/rotate-secret", "")
	stranger.ask(404, "POST", "/v1/callback-endpoints/"+id+"/test", "")
	stranger.ask(404, "POST", callback+"/replay", "")
	for _, list := range []string{"/v1/callback-endpoints", "/v1/callbacks", "/v1/callbacks?endpoint=" + id, "/v1/callbacks?status=accepted"} {
		if _, found := stranger.ask(200, "GET", list, ""); found["count"] != 0.0 {
			t.Errorf("%s: %v", list, found)
		}
	}
	newBusiness(t, db, "office", store.ScopeCredit).ask(403, "GET", "/v1/callbacks", "")
	b.ask(200, "GET", "/v1/callback-endpoints/"+id, "")
}
