package callback

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/store"
)

// theBooks answer every call with err, or as if all went well, and remember what they were
// asked.
type theBooks struct {
	err   error
	asked []any
}

func (b *theBooks) note(asked ...any) error {
	b.asked = append(b.asked, asked...)
	return b.err
}

func (b *theBooks) Endpoint(_ context.Context, client int64, id store.EndpointID) (store.Endpoint, error) {
	return anEndpoint, b.note(client, id)
}

func (b *theBooks) Endpoints(_ context.Context, client int64, page store.Page[store.EndpointID]) ([]store.Endpoint, error) {
	return []store.Endpoint{anEndpoint, anInvoices}, b.note(client, page)
}

func (b *theBooks) CreateEndpoint(_ context.Context, client int64, settings store.EndpointSettings, by store.EndpointCommand) (store.Endpoint, error) {
	made := anEndpoint
	made.ID, made.Secret = by.ID, "whsec_secret"
	return made, b.note(client, by, settings)
}

func (b *theBooks) ChangeEndpoint(_ context.Context, settings store.EndpointSettings, by store.EndpointCommand) (store.Endpoint, error) {
	return anEndpoint, b.note(by, settings)
}

func (b *theBooks) RotateSecret(_ context.Context, by store.EndpointCommand) (store.Endpoint, error) {
	rotated := anEndpoint
	rotated.Secret, rotated.OldSecretUntil = "whsec_new", &then
	return rotated, b.note(by)
}

func (b *theBooks) DeleteEndpoint(_ context.Context, by store.EndpointCommand) error {
	return b.note(by)
}

func (b *theBooks) TestEndpoint(_ context.Context, t store.EndpointTest) (store.Answer, error) {
	answer := t.Answer(anEvent)
	answer.Operation = aCallback.ID
	return answer, b.note(t)
}

func (b *theBooks) Callback(_ context.Context, client int64, id store.OperationID) (store.CallbackStory, error) {
	return store.CallbackStory{CallbackRecord: aCallback, Body: []byte(`{"id":"<x>"}`), History: []store.CallbackAttempt{
		{StartedAt: then, Attempt: 1, Outcome: store.CallbackRefused, Status: 500, Reason: "answered 500", Answer: []byte("<oops>\xff"), Duration: 20 * time.Millisecond},
		{StartedAt: then, Outcome: store.CallbackTimeout, Reason: "no answer within 15s", Duration: 15 * time.Second},
	}}, b.note(client, id)
}

func (b *theBooks) Callbacks(_ context.Context, f store.CallbackFilter) ([]store.CallbackRecord, error) {
	return []store.CallbackRecord{aCallback}, b.note(f)
}

func (b *theBooks) ReplayCallback(_ context.Context, r store.CallbackReplay) (store.Answer, error) {
	r.Once.Answer.Operation = r.ID
	return r.Once.Answer, b.note(r)
}

// clerk is whom each call is made by, or why it is not allowed.
type clerk struct {
	caller store.Caller
	err    error
}

func (c *clerk) Allowed(g *gin.Context, _ ...string) (store.Caller, error) {
	if c.err != nil {
		g.Header("WWW-Authenticate", "Bearer")
	}
	return c.caller, c.err
}

// ends is a store whose operations have all ended in one way.
type ends store.Operation

func (e ends) Operations(_ context.Context, ids []store.OperationID) ([]store.Operation, error) {
	o := store.Operation(e)
	o.ID = ids[0]
	return []store.Operation{o}, nil
}

var (
	then     = time.UnixMilli(1637486683122)
	anEvent  = store.NewEventID()
	aPayment = store.NewPaymentID()

	anEndpoint = store.Endpoint{
		ID: store.NewEndpointID(), Client: 5, ClientID: "partner", Policy: store.PolicyStandard, Origin: "https://a.example:443", URL: "https://a.example/told?a=1&b=2",
		EventTypes: []store.EventType{store.EventPaymentFinished}, RateLimit: 50, State: store.EndpointDisabled, StateReason: store.DisabledFailing,
		FailingSince: &then, Failures: 20, CreatedAt: then, UpdatedAt: then,
	}
	anInvoices = store.Endpoint{ID: store.NewEndpointID(), Client: 5, Policy: store.PolicyInvoicer, Origin: "http://a.example:80", State: store.EndpointEnabled, CreatedAt: then, UpdatedAt: then}
	aCallback  = store.CallbackRecord{
		ID: store.NewOperationID(), Event: anEvent, Type: store.EventPaymentFinished, Resource: aPayment, Client: 5, Endpoint: anEndpoint.ID,
		Policy: store.PolicyStandard, URL: anEndpoint.URL, Status: store.Dead, Attempts: 12, ErrorCode: "dead", ErrorMessage: "answered 500", CreatedAt: then,
	}

	endpointPath = "/v1/callback-endpoints/" + anEndpoint.ID.String()
	callbackPath = "/v1/callbacks/" + aCallback.ID.String()
)

// partner calls the API in front of the books.
type partner struct {
	t       *testing.T
	books   *theBooks
	clerk   *clerk
	handler http.Handler
}

func newPartner(t *testing.T, operation store.Operation) *partner {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	p := &partner{t: t, books: &theBooks{}, clerk: &clerk{caller: store.Caller{Client: 5}}}
	waiter := api.NewWaiter(ends(operation), quiet, nil)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = waiter.Run(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	handler, err := api.New(api.Config{Log: quiet, Metrics: api.NewMetrics()}, New(Config{Books: p.books, Waiter: waiter, Callers: p.clerk}))
	if err != nil {
		t.Fatal(err)
	}
	p.handler = apitest.Checked(t, handler)
	return p
}

// ask sends a request; headers come in pairs.
func (p *partner) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w
}

// expect fails unless the answer is this status and body.
func (p *partner) expect(w *httptest.ResponseRecorder, status int, body string) {
	p.t.Helper()
	if diff := cmp.Diff(body, w.Body.String()); w.Code != status || diff != "" {
		p.t.Errorf("answered %d, want %d; -want +got\n%s", w.Code, status, diff)
	}
}

// last is what the books were asked last.
func last[Asked any](p *partner) Asked {
	p.t.Helper()
	var none Asked
	if len(p.books.asked) == 0 {
		p.t.Error("the books were asked nothing")
		return none
	}
	asked, ok := p.books.asked[len(p.books.asked)-1].(Asked)
	if !ok {
		p.t.Errorf("the books were asked %T", p.books.asked[len(p.books.asked)-1])
	}
	return asked
}

func shownAs(id, secret, oldUntil string) string {
	if secret != "" {
		secret = `"secret":"` + secret + `",`
	}
	return `{"id":"` + id + `","policy":"standard","url":"https://a.example/told?a=1&b=2","origin":"https://a.example:443","eventTypes":["payment.finished"],` +
		`"description":"","rateLimit":50,"enabled":false,"disabledReason":"failing","failingSince":"2021-11-21T09:24:43.122Z","failures":20,` + secret +
		`"oldSecretUntil":` + oldUntil + `,"createdAt":"2021-11-21T09:24:43.122Z","updatedAt":"2021-11-21T09:24:43.122Z"}`
}

func TestEndpointsAreListed(t *testing.T) {
	t.Parallel()
	p := newPartner(t, store.Operation{})
	invoices := `{"id":"` + anInvoices.ID.String() + `","policy":"invoicer","url":null,"origin":"http://a.example:80","eventTypes":[],"description":"","rateLimit":null,` +
		`"enabled":true,"disabledReason":null,"failingSince":null,"failures":0,"oldSecretUntil":null,"createdAt":"2021-11-21T09:24:43.122Z","updatedAt":"2021-11-21T09:24:43.122Z"}`
	p.expect(p.ask("GET", "/v1/callback-endpoints?limit=2&before="+anEndpoint.ID.String(), ""), 200,
		`{"endpoints":[`+shownAs(anEndpoint.ID.String(), "", "null")+`,`+invoices+`],"count":2}`)
	if diff := cmp.Diff(store.Page[store.EndpointID]{Limit: 2, Before: anEndpoint.ID}, last[store.Page[store.EndpointID]](p)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnEndpointIsMadeShownChangedRotatedAndDeleted(t *testing.T) {
	t.Parallel()
	p := newPartner(t, store.Operation{})
	w := p.ask("POST", "/v1/callback-endpoints", `{"url":"https://a.example/","eventTypes":["payment.finished"],"description":"d","rateLimit":null}`, "Idempotency-Key", "k")
	if p.books.asked[0] != int64(5) {
		t.Errorf("made for %v", p.books.asked[0])
	}
	by, _ := p.books.asked[1].(store.EndpointCommand)
	p.expect(w, 201, shownAs(by.ID.String(), "whsec_secret", "null"))
	if w.Header().Get("Location") != "/v1/callback-endpoints/"+by.ID.String() || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
	if by.Client != 5 || by.AllowHTTP || by.Once.Key != "k" || by.Once.Scope != "client 5 user 0" {
		t.Errorf("asked by %+v", by)
	}
	made := anEndpoint
	made.ID, made.Secret = by.ID, "whsec_secret"
	if stored := by.Answer(made); stored.Status != 201 || string(stored.Body) != w.Body.String() {
		t.Errorf("a repeat would be answered %d %s", stored.Status, stored.Body)
	}
	want := store.EndpointSettings{URL: new("https://a.example/"), EventTypes: &[]store.EventType{store.EventPaymentFinished}, Description: new("d"), RateLimit: new(0)}
	if diff := cmp.Diff(want, last[store.EndpointSettings](p)); diff != "" {
		t.Errorf("settings -want +got\n%s", diff)
	}

	p.expect(p.ask("GET", endpointPath, ""), 200, shownAs(anEndpoint.ID.String(), "", "null"))
	p.expect(p.ask("PATCH", endpointPath, `{"enabled":true,"rateLimit":7,"eventTypes":[],"description":null}`), 200, shownAs(anEndpoint.ID.String(), "", "null"))
	want = store.EndpointSettings{EventTypes: &[]store.EventType{}, Description: new(""), RateLimit: new(7), Enabled: new(true)}
	if diff := cmp.Diff(want, last[store.EndpointSettings](p)); diff != "" {
		t.Errorf("settings -want +got\n%s", diff)
	}
	p.expect(p.ask("POST", endpointPath+"/rotate-secret", ""), 200, shownAs(anEndpoint.ID.String(), "whsec_new", `"2021-11-21T09:24:43.122Z"`))
	p.expect(p.ask("DELETE", endpointPath, ""), 204, "")
	if by := last[store.EndpointCommand](p); by.ID != anEndpoint.ID || by.Client != 5 {
		t.Errorf("deleted by %+v", by)
	}
}

func TestWhatIsWrongWithARequestIsSaidByField(t *testing.T) {
	t.Parallel()
	for _, story := range []struct{ method, path, body, field, wrong string }{
		{"POST", "/v1/callback-endpoints", `{}`, "url", "is required"},
		{"POST", "/v1/callback-endpoints", `{"url":null}`, "url", "must be a string"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","eventtypes":[]}`, "eventtypes", "is not known"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","enabled":true}`, "enabled", "is not known"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","url":"https://b.example"}`, "body", "has a member twice"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","eventTypes":"payment.finished"}`, "eventTypes", "must be a list of strings"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","description":7}`, "description", "must be a string"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","rateLimit":0}`, "rateLimit", "must be 1 to 10000 a second, or null"},
		{"POST", "/v1/callback-endpoints", `{"url":"https://a.example","rateLimit":1.5}`, "rateLimit", "must be an integer"},
		{"POST", "/v1/callback-endpoints", `[]`, "body", "must be a JSON object"},
		{"PATCH", endpointPath, `{}`, "body", "must have something to change"},
		{"PATCH", endpointPath, `{"enabled":null}`, "enabled", "must be true or false"},
		{"PATCH", endpointPath, `{"secret":"whsec_mine"}`, "secret", "is not known"},
		{"POST", endpointPath + "/rotate-secret", `{"secret":"mine"}`, "body", "must be empty"},
		{"POST", endpointPath + "/test", `x`, "body", "must be empty"},
		{"POST", callbackPath + "/replay", `[]`, "body", "must be empty"},
		{"GET", "/v1/callback-endpoints?client=6", "", "client", "is not known"},
		{"GET", "/v1/callbacks?limit=0", "", "limit", "must be an integer from 1 to 1000"},
		{"GET", "/v1/callbacks?status=open", "", "status", "must be accepted, running, succeeded, failed or dead"},
		{"GET", "/v1/callbacks?state=dead", "", "state", "is not known"},
		{"GET", "/v1/callbacks?status=dead&status=failed", "", "status", "is sent more than once"},
		{"GET", "/v1/callbacks?type=payment", "", "type", "is no event type"},
		{"GET", "/v1/callbacks?held=1", "", "held", "must be true"},
		{"GET", "/v1/callbacks?since=yesterday", "", "since", "must be a time, as 2026-11-21T20:00:00Z"},
		{"GET", "/v1/callbacks?until=1969-12-31T00:00:00Z", "", "until", "must be a time, as 2026-11-21T20:00:00Z"},
		{"GET", "/v1/callbacks?endpoint=", "", "endpoint", "must be an endpoint's id"},
		{"GET", "/v1/callbacks?resource=17", "", "resource", "must be the id of a payment, a recharge or an invoice"},
	} {
		p := newPartner(t, store.Operation{})
		p.expect(p.ask(story.method, story.path, story.body), 400,
			`{"error":{"code":"invalid","fields":{"`+story.field+`":"`+story.wrong+`"},"message":"The request is not as documented: see fields."}}`)
		if len(p.books.asked) > 0 {
			t.Errorf("%s %s %s: the books were asked %v", story.method, story.path, story.body, p.books.asked)
		}
	}
}

func TestTheStoresRefusalsAreTheClients(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		err    error
		status int
		code   string
	}{
		{store.ErrEndpointNotFound, 404, "endpoint_not_found"},
		{store.ErrEndpointsFull, 409, "too_many_endpoints"},
		{store.ErrNotRegistered, 409, "not_registered"},
		{store.ErrEndpointForbidden, 409, "disabled_by_operator"},
		{store.ErrKeyReused, 422, "idempotency_key_reused"},
		{store.ErrUnavailable, 503, "unavailable"},
		{&store.FieldError{Field: "url", Problem: "must be an https address"}, 400, "invalid"},
	} {
		p := newPartner(t, store.Operation{})
		p.books.err = story.err
		if w := p.ask("PATCH", endpointPath, `{"url":"http://a.example"}`); w.Code != story.status || !strings.Contains(w.Body.String(), `"code":"`+story.code+`"`) {
			t.Errorf("%v: answered %d %s", story.err, w.Code, w.Body)
		}
	}
	for err, code := range map[error]string{
		store.ErrCallbackNotFound: "callback_not_found", store.ErrCallbackHeld: "endpoint_disabled", store.ErrCallbackUnwanted: "unwanted",
	} {
		p := newPartner(t, store.Operation{})
		p.books.err = err
		if w := p.ask("POST", callbackPath+"/replay", ""); !strings.Contains(w.Body.String(), `"code":"`+code+`"`) {
			t.Errorf("%v: answered %d %s", err, w.Code, w.Body)
		}
	}
	p := newPartner(t, store.Operation{})
	if w := p.ask("POST", "/v1/callback-endpoints", `{"url":"`+strings.Repeat("x", 2<<20)+`"}`); w.Code != 413 {
		t.Errorf("2 MiB: answered %d", w.Code)
	}
}

func TestWhatCannotBeAnIDIsNotFound(t *testing.T) {
	t.Parallel()
	for _, story := range [][2]string{
		{"GET", "/v1/callback-endpoints/17"},
		{"PATCH", "/v1/callback-endpoints/x"},
		{"DELETE", "/v1/callback-endpoints/x"},
		{"POST", "/v1/callback-endpoints/x/test"},
		{"POST", "/v1/callback-endpoints/x/rotate-secret"},
		{"GET", "/v1/callbacks/00000000-0000-0000-0000-000000000000"},
		{"POST", "/v1/callbacks/x/replay"},
	} {
		p := newPartner(t, store.Operation{})
		if w := p.ask(story[0], story[1], ""); w.Code != 404 || !strings.Contains(w.Body.String(), `_not_found"`) {
			t.Errorf("%v: answered %d %s", story, w.Code, w.Body)
		}
	}
}

func TestOnlyAClientsOwnTokenIsGoodHere(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/v1/callback-endpoints", endpointPath, "/v1/callbacks", callbackPath} {
		p := newPartner(t, store.Operation{})
		p.clerk.caller.User = 3
		p.expect(p.ask("GET", path, ""), 403, `{"error":{"code":"client_token_needed","message":"This is for the client's own token, without a user."}}`)
		p.clerk.err = &api.Refusal{Status: 401, Code: "token_missing", Message: "An access token is missing."}
		p.expect(p.ask("GET", path, ""), 401, `{"error":{"code":"token_missing","message":"An access token is missing."}}`)
	}
}

var callbackLine = `"id":"` + aCallback.ID.String() + `","eventId":"` + anEvent.String() + `","type":"payment.finished","resource":"` + aPayment.String() +
	`","endpointId":"` + anEndpoint.ID.String() + `","policy":"standard","url":"https://a.example/told?a=1&b=2","status":"dead","held":false,"replaying":false,"attempts":12,` +
	`"error":{"code":"dead","message":"answered 500"},"createdAt":"2021-11-21T09:24:43.122Z","nextAttemptAt":null,"finishedAt":null`

func TestTheLogIsListedAndShown(t *testing.T) {
	t.Parallel()
	p := newPartner(t, store.Operation{})
	w := p.ask("GET", "/v1/callbacks?endpoint="+anEndpoint.ID.String()+"&event="+anEvent.String()+"&resource="+aPayment.String()+
		"&type=payment.finished&status=dead&held=true&since=2026-11-21T20:00:00Z&until=2026-11-22T00:00:00%2B02:00&limit=3&before="+aCallback.ID.String(), "")
	p.expect(w, 200, `{"callbacks":[{`+callbackLine+`}],"count":1}`)
	want := store.CallbackFilter{
		Client: 5, Endpoint: anEndpoint.ID, Event: anEvent, Resource: aPayment, Type: store.EventPaymentFinished, Status: store.Dead, Held: true,
		Since: time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC), Until: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC),
		Page: store.Page[store.OperationID]{Limit: 3, Before: aCallback.ID},
	}
	if diff := cmp.Diff(want, last[store.CallbackFilter](p)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	p.expect(p.ask("GET", callbackPath, ""), 200, `{`+callbackLine+`,"body":"{\"id\":\"<x>\"}","history":[`+
		`{"startedAt":"2021-11-21T09:24:43.122Z","attempt":1,"outcome":"refused","status":500,"reason":"answered 500","answer":"<oops>\ufffd","durationMs":20},`+
		`{"startedAt":"2021-11-21T09:24:43.122Z","attempt":0,"outcome":"timeout","status":null,"reason":"no answer within 15s","answer":"","durationMs":15000}]}`)
}

func TestATestAndAReplayAreAcceptedAndCanBeWaitedFor(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name, path, prefer string
		ended              store.Operation
		status             int
		body, ending       string
	}{
		{name: "a test", path: endpointPath + "/test", status: 202, body: `{"eventId":"` + anEvent.String() + `"}`},
		{name: "a replay", path: callbackPath + "/replay", status: 202, body: `{"id":"` + aCallback.ID.String() + `"}`},
		{
			name: "a replay that is delivered meanwhile", path: callbackPath + "/replay", prefer: "wait=5", ended: store.Operation{Status: store.Succeeded},
			status: 200, body: `{"id":"` + aCallback.ID.String() + `"}`, ending: "succeeded",
		},
		{
			name: "a replay that is given up again", path: callbackPath + "/replay", prefer: "wait=5", ended: store.Operation{Status: store.Dead, ErrorCode: "dead"},
			status: 202, body: `{"id":"` + aCallback.ID.String() + `"}`, ending: "dead",
		},
		{
			name: "a test that ends", path: endpointPath + "/test", prefer: "wait=5",
			ended:  store.Operation{Status: store.Failed, ErrorCode: "forbidden", ErrorMessage: "10.0.0.1 is not allowed"},
			status: 409, body: `{"error":{"code":"forbidden","message":"10.0.0.1 is not allowed"}}`, ending: "failed",
		},
	} {
		p := newPartner(t, story.ended)
		w := p.ask("POST", story.path, "", "Prefer", story.prefer, "Idempotency-Key", "k")
		p.expect(w, story.status, story.body)
		if w.Header().Get("Operation-Id") != aCallback.ID.String() || w.Header().Get("Operation-Status") != story.ending {
			t.Errorf("%s: headers %v", story.name, w.Header())
		}
	}
}
