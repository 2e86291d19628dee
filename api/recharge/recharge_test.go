package recharge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/quittance/quittance/store/money"
)

// theBooks answer every call with err, or as if all went well, and remember what they were
// asked.
type theBooks struct {
	err      error
	recharge store.Recharge
	asked    []any
}

func (b *theBooks) note(asked any) error {
	b.asked = append(b.asked, asked)
	return b.err
}

func (b *theBooks) Providers(context.Context) ([]store.Provider, error) {
	return []store.Provider{{Reference: "external", Name: "External"}, {Reference: "voucher", Name: "Voucher", Params: []string{"code"}}}, b.err
}

func (b *theBooks) Recharges(_ context.Context, f store.RechargeFilter) ([]store.Recharge, error) {
	return []store.Recharge{b.recharge}, b.note(f)
}

func (b *theBooks) Recharge(_ context.Context, provider string, id store.RechargeID) (store.Recharge, error) {
	return b.recharge, b.note(provider + " " + id.String())
}

func (b *theBooks) CreateRecharge(_ context.Context, n store.NewRecharge) (store.Answer, error) {
	if err := b.note(n); err != nil {
		return store.Answer{}, err
	}
	made := b.recharge
	made.ID, made.Account, made.Description, made.Params, made.CreatedBy = n.ID, n.Account, n.Description, n.Params, n.User
	if n.Currency != 0 {
		made.Amount.Currency = n.Currency
	}
	if n.Amount != nil {
		amount, err := n.Amount.In(made.Amount.Currency)
		if err != nil {
			return store.Answer{}, &store.FieldError{Field: "amount", Problem: err.Error()}
		}
		made.Amount = amount
	}
	return n.Answer(made), nil
}

func (b *theBooks) UpdateRecharge(_ context.Context, u store.RechargeUpdate) error { return b.note(u) }

func (b *theBooks) AcceptRecharge(_ context.Context, r store.RechargeCommand) (store.Answer, error) {
	if err := b.note(r); err != nil {
		return store.Answer{}, err
	}
	answer := r.Answer(b.recharge)
	answer.Operation = anOperation
	return answer, nil
}

// clerk is whom each call is made by, or why it is not allowed.
type clerk struct {
	caller store.Caller
	err    error
	needs  []string
}

func (c *clerk) Allowed(_ *gin.Context, rights ...string) (store.Caller, error) {
	c.needs = rights
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
	anOperation = store.NewOperationID()
	aRecharge   = store.Recharge{
		ID: store.NewRechargeID(), PaymentNo: 17, Provider: "external", Account: 7, Amount: money.Amount{Minor: 1250, Currency: 810},
		Description: "top-up", Params: map[string]json.RawMessage{"till": json.RawMessage(`{"no":3}`)}, CreatedBy: 3, State: store.RechargeCreated,
		CreatedAt: time.UnixMilli(1637486683122), UpdatedAt: time.UnixMilli(1637486683122), ExpiresAt: time.UnixMilli(1637573083122),
	}
	onePayment = "/v3/rechargeProviders/external/payments/" + aRecharge.ID.String()
)

// office is the API in front of the books.
type office struct {
	t         *testing.T
	books     *theBooks
	clerk     *clerk
	admission *api.Admission
	handler   http.Handler
}

func newOffice(t *testing.T, operation store.Operation) *office {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	o := &office{
		t: t, books: &theBooks{recharge: aRecharge}, clerk: &clerk{caller: store.Caller{Client: 5, User: 3}},
		admission: api.NewAdmission(func(context.Context) (time.Duration, error) { return time.Hour, nil }, func() bool { return true }, time.Second),
	}
	waiter := api.NewWaiter(ends(operation), quiet, nil)
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { defer close(stopped); _ = waiter.Run(ctx) }()
	t.Cleanup(func() { stop(); <-stopped })
	handler, err := api.New(api.Config{Log: quiet, Metrics: api.NewMetrics()},
		New(Config{Books: o.books, Waiter: waiter, Admission: o.admission, Callers: o.clerk}))
	if err != nil {
		t.Fatal(err)
	}
	o.handler = apitest.Checked(t, handler)
	return o
}

// ask sends a request; headers come in pairs.
func (o *office) ask(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	o.handler.ServeHTTP(w, r)
	return w
}

// expect fails unless the answer is this status and body. Bodies are compared as text: the
// spelling of an amount is part of it.
func (o *office) expect(w *httptest.ResponseRecorder, status int, body string) {
	o.t.Helper()
	if diff := cmp.Diff(body, w.Body.String()); w.Code != status || diff != "" {
		o.t.Errorf("answered %d, want %d; -want +got\n%s", w.Code, status, diff)
	}
}

// last is what the books were asked last.
func last[Asked any](o *office) Asked {
	o.t.Helper()
	if len(o.books.asked) == 0 {
		o.t.Fatal("the books were asked nothing")
	}
	asked, ok := o.books.asked[len(o.books.asked)-1].(Asked)
	if !ok {
		o.t.Fatalf("the books were asked %T", o.books.asked[len(o.books.asked)-1])
	}
	return asked
}

func TestProvidersAreListed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	o.expect(o.ask("GET", "/v3/rechargeProviders", ""), 200,
		`{"providers":[{"name":"External","reference":"external","description":"","params":[]},{"name":"Voucher","reference":"voucher","description":"","params":["code"]}],"count":2}`)
	if len(o.clerk.needs) != 0 {
		t.Errorf("the list of providers needs %v", o.clerk.needs)
	}
}

const shownAs = `"userId":7,"amount":12.5,"currency":"RUR","state":"created","created":"2021-11-21T09:24:43.122Z","updated":"2021-11-21T09:24:43.122Z","expires":"2021-11-22T09:24:43.122Z","paymentNo":17,"provider":"external","description":"top-up"`

func TestPaymentsAreListed(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	w := o.ask("GET", "/v3/rechargeProviders/external/payments?userId=7&state=rolling_back&limit=3&before="+aRecharge.ID.String(), "")
	o.expect(w, 200, `{"payments":[{"id":"`+aRecharge.ID.String()+`",`+shownAs+`}],"count":1}`)
	want := store.RechargeFilter{Provider: "external", Account: 7, State: store.RechargeRollingBack, Page: store.Page[store.RechargeID]{Limit: 3, Before: aRecharge.ID}}
	if diff := cmp.Diff(want, last[store.RechargeFilter](o)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	o.ask("GET", "/v3/rechargeProviders/external/payments", "")
	want = store.RechargeFilter{Provider: "external", Page: store.Page[store.RechargeID]{Limit: 100}}
	if diff := cmp.Diff(want, last[store.RechargeFilter](o)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAWrongQueryIsRefused(t *testing.T) {
	t.Parallel()
	for query, problem := range map[string]string{
		"userId=0":                    "userId must be a positive integer",
		"userId=":                     "userId must be a positive integer",
		"userId=x":                    "userId must be a positive integer",
		"state=open":                  "state must be created, committing, committed, rolling_back, rolled_back or expired",
		"state=":                      "state must be created, committing, committed, rolling_back, rolled_back or expired",
		"limit=0":                     "limit must be an integer from 1 to 1000",
		"limit=1001":                  "limit must be an integer from 1 to 1000",
		"before=17":                   "before must be what the list showed",
		"before=%00":                  "before must be what the list showed",
		"limit=1e2":                   "limit must be an integer from 1 to 1000",
		"userId=99999999999999999999": "userId must be a positive integer",
	} {
		o := newOffice(t, store.Operation{})
		field, message, _ := strings.Cut(problem, " ")
		o.expect(o.ask("GET", "/v3/rechargeProviders/external/payments?"+query, ""), 400,
			`{"code":400,"message":"Invalid parameters.","data":[{"field":"`+field+`","message":"`+message+`"}]}`)
	}
}

func TestAPaymentIsShownWithItsParams(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	o.expect(o.ask("GET", onePayment, ""), 200,
		`{"id":"`+aRecharge.ID.String()+`",`+shownAs+`,"params":{"amount":12.5,"createdBy":3,"till":{"no":3}}}`)
	if got := last[string](o); got != "external "+aRecharge.ID.String() {
		t.Errorf("the books were asked for %s", got)
	}
}

func TestAPaymentIsCreated(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name, body string
		currency   money.Currency
		answer     string // after the id
	}{
		{
			"as the original's client", `{"userId":7,"description":"","params":{"amount":12.5}}`, 0,
			`"userId":7,"amount":12.5,"description":"","params":{"amount":12.5,"createdBy":3}}`,
		},
		{
			"params as a string, the id as well", `{"userId":"7","description":"d","params":"{\"amount\":12.50,\"currency\":\"RUR\"}"}`, 810,
			`"userId":7,"amount":12.5,"description":"d","params":{"amount":12.5,"createdBy":3,"currency":"RUR"}}`,
		},
		{
			"the amount at top level", `{"userId":7,"amount":3.00}`, 0,
			`"userId":7,"amount":3,"description":"","params":{"amount":3,"createdBy":3}}`,
		},
		{
			"the same amount twice", `{"userId":7,"amount":1.25e1,"params":{"amount":12.50,"a":[1.50,null,"<ж>"]}}`, 0,
			`"userId":7,"amount":12.5,"description":"","params":{"a":[1.50,null,"<ж>"],"amount":12.5,"createdBy":3}}`,
		},
		{
			"a currency without decimals", `{"userId":7,"params":{"amount":1200,"currency":"JPY"}}`, 392,
			`"userId":7,"amount":1200,"description":"","params":{"amount":1200,"createdBy":3,"currency":"JPY"}}`,
		},
		{
			"a voucher says how much it is worth", `{"userId":7,"params":{"code":"x"}}`, 0,
			`"userId":7,"amount":12.5,"description":"","params":{"amount":12.5,"code":"x","createdBy":3}}`,
		},
	} {
		o := newOffice(t, store.Operation{})
		w := o.ask("POST", "/v3/rechargeProviders/external/payments", story.body, "Idempotency-Key", "k")
		n := last[store.NewRecharge](o)
		o.expect(w, 201, `{"id":"`+n.ID.String()+`",`+story.answer)
		if n.Provider != "external" || n.Account != 7 || n.Currency != story.currency || n.Client != 5 || n.User != 3 || n.Params == nil {
			t.Errorf("%s: the books were asked for %+v", story.name, n)
		}
		if n.Once.Scope != "client 5 user 3" || n.Once.Key != "k" {
			t.Errorf("%s: the key is bound to %+v", story.name, n.Once)
		}
	}
}

func TestWhoIsNotLoggedInIsNotShownAsCreator(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	o.clerk.caller.User = 0
	w := o.ask("POST", "/v3/rechargeProviders/external/payments", `{"userId":7,"params":{"amount":1}}`)
	o.expect(w, 201, `{"id":"`+last[store.NewRecharge](o).ID.String()+`","userId":7,"amount":1,"description":"","params":{"amount":1}}`)
}

func TestAPaymentIsUpdated(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	twelve, err := money.ParseDecimal("12.5")
	if err != nil {
		t.Fatal(err)
	}
	for _, story := range []struct {
		name, body string
		want       store.RechargeUpdate
	}{
		{"its description", `{"description":"new"}`, store.RechargeUpdate{Description: text("new")}},
		{"its description is taken away", `{"description":null}`, store.RechargeUpdate{Description: text("")}},
		{"its params", `{"params":{"till":null,"a":1.0}}`, store.RechargeUpdate{Params: map[string]json.RawMessage{"till": json.RawMessage("null"), "a": json.RawMessage("1.0")}}},
		{
			"what was shown is sent back", `{"params":{"amount":12.50,"currency":"RUR","createdBy":3,"till":{"no":3}}}`,
			store.RechargeUpdate{Amount: &twelve, Currency: 810, Params: map[string]json.RawMessage{"till": json.RawMessage(`{"no":3}`)}},
		},
	} {
		o := newOffice(t, store.Operation{})
		o.expect(o.ask("PATCH", onePayment, story.body, "Idempotency-Key", "k"), 204, "")
		got := last[store.RechargeUpdate](o)
		if got.Once.Answer.Status != 204 || got.Once.Scope != "client 5 user 3" {
			t.Errorf("%s: the key is bound to %+v", story.name, got.Once)
		}
		story.want.Provider, story.want.ID, story.want.Once = "external", aRecharge.ID, got.Once
		if story.want.Params == nil {
			story.want.Params = map[string]json.RawMessage{}
		}
		if diff := cmp.Diff(story.want, got, cmp.Comparer(func(a, b money.Decimal) bool { return a == b })); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
	}
}

func TestWhoCreatedAPaymentIsNotChanged(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{"4", "0", "null", `"3"`, "3.0"} {
		o := newOffice(t, store.Operation{})
		if w := o.ask("PATCH", onePayment, `{"params":{"createdBy":`+sent+`}}`); w.Code != 400 || !strings.Contains(w.Body.String(), `"params.createdBy"`) {
			t.Errorf("createdBy %s: %d %s", sent, w.Code, w.Body)
		}
		for _, asked := range o.books.asked {
			if _, is := asked.(store.RechargeUpdate); is {
				t.Errorf("createdBy %s: the payment was updated", sent)
			}
		}
	}
}

func TestACommandIsAccepted(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name, path, body string
		prefer           string
		ended            store.Operation
		status           int
		answer, ending   string
	}{
		{name: "a commit", path: "/commit", status: 202, answer: `{"amount":12.5}`},
		{name: "a commit of white space", path: "/commit", body: " \r\n\t", status: 202, answer: `{"amount":12.5}`},
		{name: "a commit of an empty object", path: "/commit", body: " { } ", status: 202, answer: `{"amount":12.5}`},
		{name: "a commit that succeeds meanwhile", path: "/commit", prefer: "wait=5", ended: store.Operation{Status: store.Succeeded}, status: 200, answer: `{"amount":12.5}`, ending: "succeeded"},
		{name: "a commit that waits for an operator", path: "/commit", prefer: "wait=5", ended: store.Operation{Status: store.Dead, ErrorCode: "technical", ErrorMessage: "no"}, status: 202, answer: `{"amount":12.5}`, ending: "dead"},
		{name: "a commit that is refused meanwhile", path: "/commit", prefer: "wait=5", ended: store.Operation{Status: store.Failed, ErrorCode: "closed", ErrorMessage: "The account is closed."}, status: 409, answer: `{"code":409,"message":"The account is closed.","data":[]}`, ending: "failed"},
		{name: "a rollback", path: "/rollback", body: `{"reason":"test"}`, status: 202, answer: `{}`},
		{name: "a rollback that succeeds meanwhile", path: "/rollback", body: `{"reason":"test"}`, prefer: "wait=5", ended: store.Operation{Status: store.Succeeded}, status: 200, answer: `{}`, ending: "succeeded"},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, story.ended)
			w := o.ask("POST", onePayment+story.path, story.body, "Prefer", story.prefer)
			o.expect(w, story.status, story.answer)
			got := [3]string{w.Header().Get("Operation-Id"), w.Header().Get("Location"), w.Header().Get("Operation-Status")}
			if want := [3]string{anOperation.String(), "/operations/" + anOperation.String(), story.ending}; got != want {
				t.Errorf("headers %q, want %q", got, want)
			}
		})
	}
}

func TestACommandSaysWhatItIs(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	o.ask("POST", onePayment+"/commit", "", "Idempotency-Key", "k")
	commit := last[store.RechargeCommand](o)
	if commit.Type != store.RechargeCommit || commit.Provider != "external" || commit.ID != aRecharge.ID || commit.Once.Scope != "client 5 user 3" {
		t.Errorf("a commit is %+v", commit)
	}
	o.ask("POST", onePayment+"/commit", "{ }", "Idempotency-Key", "k")
	if again := last[store.RechargeCommand](o); again.Once.Request != commit.Once.Request {
		t.Error("an empty object is another request than an empty body")
	}
	o.ask("POST", onePayment+"/rollback", `{"reason":"test"}`)
	rollback := last[store.RechargeCommand](o)
	if rollback.Type != store.RechargeRollback || rollback.Reason != "test" || rollback.ID != aRecharge.ID {
		t.Errorf("a rollback is %+v", rollback)
	}
}

func TestCommandsAreNotAdmittedWhileTheOldOnesWait(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{})
	ended, end := context.WithCancel(t.Context())
	end()
	_ = o.admission.Run(ended) // looks once
	for path, body := range map[string]string{"/commit": "", "/rollback": `{"reason":"test"}`} {
		w := o.ask("POST", onePayment+path, body)
		o.expect(w, 503, `{"code":503,"message":"Service temporarily unavailable!","data":[]}`)
		if w.Header().Get("Retry-After") == "" {
			t.Errorf("%s does not say when to try again", path)
		}
	}
	if len(o.books.asked) != 0 {
		t.Errorf("the books were asked %v", o.books.asked)
	}
	if w := o.ask("POST", "/v3/rechargeProviders/external/payments", `{"userId":7,"amount":1}`); w.Code != 201 {
		t.Errorf("creating a payment, which moves nothing: %d", w.Code)
	}
}

// everyCall is one valid call of each endpoint that needs the right to manage payments.
var everyCall = []struct{ method, path, body string }{
	{"GET", "/v3/rechargeProviders/external/payments", ""},
	{"POST", "/v3/rechargeProviders/external/payments", `{"userId":7,"amount":1}`},
	{"GET", onePayment, ""},
	{"PATCH", onePayment, `{"description":"x"}`},
	{"POST", onePayment + "/commit", ""},
	{"POST", onePayment + "/rollback", `{"reason":"x"}`},
}

func TestWhatTheBooksRefuse(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		err    error
		status int
		body   string
	}{
		{store.ErrProviderNotFound, 404, `"message":"Payment provider not found.","data":[]}`},
		{store.ErrRechargeNotFound, 404, `"message":"Payment not found.","data":[]}`},
		{store.ErrRechargeState, 409, `"message":"Invalid operation: The operation cannot be performed in the current state.","data":[]}`},
		{store.ErrProviderDisabled, 409, `"message":"Invalid operation: The operation cannot be performed in the current state. Payment provider is disabled.","data":[]}`},
		{store.ErrAccountNotFound, 400, `"message":"Invalid parameters.","data":[{"field":"userId","message":"is not the id of an open account"}]}`},
		{fmt.Errorf("create: %w", &store.FieldError{Field: "amount", Problem: "has more decimals than RUR"}), 400, `"message":"Invalid parameters.","data":[{"field":"amount","message":"has more decimals than RUR"}]}`},
		{store.ErrKeyReused, 422, `"message":"This Idempotency-Key was used before, by another request!","data":[]}`},
		{store.ErrUnavailable, 503, `"message":"Service temporarily unavailable!","data":[]}`},
		{errors.New("secret"), 500, `"message":"Internal error!","data":[]}`},
	} {
		for _, call := range everyCall {
			if call.method == "GET" && (story.status == 409 || story.status == 422) {
				continue // who only asks has no key, and every state can be looked at
			}
			o := newOffice(t, store.Operation{})
			o.books.err = story.err
			w := o.ask(call.method, call.path, call.body)
			o.expect(w, story.status, fmt.Sprintf(`{"code":%d,`, story.status)+story.body)
			if story.status == 503 && w.Header().Get("Retry-After") == "" {
				t.Errorf("%s %s does not say when to try again", call.method, call.path)
			}
		}
	}
}

func TestARepeatIsAnsweredAsTheFirst(t *testing.T) {
	t.Parallel()
	o := newOffice(t, store.Operation{Status: store.Succeeded})
	o.books.err = &store.Replay{Answer: store.Answer{Status: 202, Body: []byte(`{"amount":12.5}`), Operation: anOperation}}
	w := o.ask("POST", onePayment+"/commit", "", "Idempotency-Key", "k", "Prefer", "wait=5")
	o.expect(w, 202, `{"amount":12.5}`)
	if w.Header().Get("Idempotent-Replayed") != "true" || w.Header().Get("Operation-Id") != anOperation.String() {
		t.Errorf("headers %v", w.Header())
	}
	o.books.err = &store.Replay{Answer: store.Answer{Status: 204}}
	o.expect(o.ask("PATCH", onePayment, `{"description":"x"}`, "Idempotency-Key", "k"), 204, "")
}

func TestWhoMayNotIsToldNothing(t *testing.T) {
	t.Parallel()
	for _, call := range everyCall {
		o := newOffice(t, store.Operation{})
		o.clerk.err = &api.Refusal{Status: 403, Code: "forbidden", Message: "no"}
		o.expect(o.ask(call.method, call.path, call.body), 403, `{"code":403,"message":"no","data":[]}`)
		if len(o.books.asked) != 0 {
			t.Errorf("%s %s asked the books %v", call.method, call.path, o.books.asked)
		}
		if diff := cmp.Diff([]string{store.RightManagePayments}, o.clerk.needs); diff != "" {
			t.Errorf("%s %s needs: %s", call.method, call.path, diff)
		}
	}
}

func TestWhatCannotExistIsNotLookedUp(t *testing.T) {
	t.Parallel()
	for path, message := range map[string]string{
		"/v3/rechargeProviders/a%00b/payments":                                    "Payment provider not found.",
		"/v3/rechargeProviders/%ff/payments":                                      "Payment provider not found.",
		"/v3/rechargeProviders/" + strings.Repeat("a", 65) + "/payments":          "Payment provider not found.",
		"/v3/rechargeProviders/external/payments/1":                               "Payment not found.",
		"/v3/rechargeProviders/external/payments/%00":                             "Payment not found.",
		"/v3/rechargeProviders/external/payments/{" + aRecharge.ID.String() + "}": "Payment not found.",
		"/v3/rechargeProviders/external":                                          "There is nothing at this address.",
		"/v3/users":                                                               "There is nothing at this address.",
	} {
		o := newOffice(t, store.Operation{})
		o.expect(o.ask("GET", path, ""), 404, `{"code":404,"message":"`+message+`","data":[]}`)
		if len(o.books.asked) != 0 {
			t.Errorf("%s asked the books %v", path, o.books.asked)
		}
	}
	o := newOffice(t, store.Operation{})
	o.expect(o.ask("DELETE", onePayment, ""), 405, `{"code":405,"message":"This address does not take this method.","data":[]}`)
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	t.Parallel()
	for _, call := range everyCall {
		if call.method == "GET" {
			continue
		}
		o := newOffice(t, store.Operation{})
		o.expect(o.ask(call.method, call.path, strings.Repeat(" ", 1<<20+1)), 413, `{"code":413,"message":"The request body is larger than 1 MiB!","data":[]}`)
	}
}
