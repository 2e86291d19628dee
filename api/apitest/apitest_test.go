package apitest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const anID = "019aa8e2-0c1e-7a40-8c11-5b0c9e1d3a74"

// added is a good answer to account/add.
func added() exchange {
	return exchange{
		request: httptest.NewRequest("POST", "/mobile-api/account/add", nil), sent: []byte(`{"type":1}`), status: 201,
		header: http.Header{"X-Request-Id": {"r"}, "Content-Type": {"application/json; charset=utf-8"}},
		body:   []byte(`{"status":"success","sessionId":"` + anID + `"}`),
	}
}

func TestWhatTheDocumentDoesNotSayIsReported(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]struct {
		change func(*exchange)
		want   string // "" for nothing
	}{
		"a good answer":         {func(*exchange) {}, ""},
		"a replay":              {func(e *exchange) { e.header.Set("Idempotent-Replayed", "true") }, ""},
		"another status":        {func(e *exchange) { e.status = 200 }, "the status 200 is not documented"},
		"no request id":         {func(e *exchange) { e.header.Del("X-Request-Id") }, "the header X-Request-Id"},
		"a header too many":     {func(e *exchange) { e.header.Set("Operation-Id", anID) }, "the header Operation-Id is not documented"},
		"a header of another":   {func(e *exchange) { e.header.Set("Idempotent-Replayed", "yes") }, "the header Idempotent-Replayed"},
		"another Content-Type":  {func(e *exchange) { e.header.Set("Content-Type", "text/html") }, "is not documented"},
		"what is no JSON":       {func(e *exchange) { e.body = []byte("{") }, "is not JSON"},
		"a member too few":      {func(e *exchange) { e.body = []byte(`{"status":"success"}`) }, "sessionId"},
		"a member too many":     {func(e *exchange) { e.body = []byte(`{"status":"success","sessionId":"` + anID + `","x":1}`) }, "'x'"},
		"an id of another form": {func(e *exchange) { e.body = []byte(`{"status":"success","sessionId":"1"}`) }, "pattern"},
		"a wrong request":       {func(e *exchange) { e.sent = []byte(`{"type":3}`) }, "a request that is not as documented succeeds"},
		"a wrong request, again": {func(e *exchange) {
			e.sent = []byte(`{"type":3}`)
			e.status, e.body = 202, []byte(`{"status":"error","description":"no"}`)
		}, ""},
		"a refusal without end": {func(e *exchange) { e.status, e.body = 202, []byte(`{"status":"error"}`) }, "description"},
		"503 without when":      {func(e *exchange) { e.status, e.body = 503, []byte(`{"status":"error","description":"no"}`) }, "the header Retry-After"},
		"another address":       {func(e *exchange) { e.request.URL.Path = "/none"; e.status = 418 }, ""},
		"HEAD, as GET": {func(e *exchange) {
			e.request = httptest.NewRequest("HEAD", "/operations/"+anID, nil)
			e.status, e.sent, e.body = 200, nil, nil
		}, ""},
	} {
		e := added()
		story.change(&e)
		err := e.check(open(t))
		if story.want == "" && err != nil || story.want != "" && (err == nil || !strings.Contains(err.Error(), story.want)) {
			t.Errorf("%s: %v, want %q", name, err, story.want)
		}
	}
}

func TestACallbackIsHeldToItsWebhook(t *testing.T) {
	t.Parallel()
	header := http.Header{
		"Webhook-Id": {anID}, "Webhook-Timestamp": {"1767225600"}, "Webhook-Attempt": {"1"},
		"Webhook-Signature": {"v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	}
	event := func(data string) string {
		return `{"id":"` + anID + `","type":"callback.test","timestamp":"2026-11-21T20:00:00.123456Z","data":` + data + `}`
	}
	for body, want := range map[string]string{
		event(`{"message":"m"}`): "",
		event(`{}`):              "message",
		`{"type":"none"}`:        `there is no webhook "none"`,
		`{"token":"e30.eyJpYXQiOjEsIm1lc3NhZ2UiOiJtIn0.x"}`: "", // {"iat":1,"message":"m"}
		`{"token":"e30.eyJtZXNzYWdlIjoibSJ9.x"}`:            "iat",
		`{"token":"e30.eyJpYXQiOjF9.x"}`:                    "no event's",
	} {
		err := checkCallback(open(t), header, []byte(body))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	header.Del("Webhook-Signature")
	if err := checkCallback(open(t), header, []byte(event(`{"message":"m"}`))); err == nil {
		t.Error("a callback without a signature is as documented")
	}
}
