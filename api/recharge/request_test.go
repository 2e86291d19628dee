package recharge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

func TestEveryFieldOfAPaymentIsCheckedAndNamed(t *testing.T) {
	t.Parallel()
	params := func(members string) string { return `{"userId":7,"params":{` + members + `}}` }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"m%d":0,`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for _, story := range []struct {
		name, body string
		want       api.Problems
	}{
		{"no user", `{"amount":1}`, api.Problems{"userId": "is required"}},
		{"no amount: the provider knows whether it needs one", `{"userId":7}`, nil},
		{"a user of zero", `{"userId":0}`, api.Problems{"userId": "must be a positive integer"}},
		{"a user of text", `{"userId":"bob"}`, api.Problems{"userId": "must be a positive integer"}},
		{"a user of a fraction", `{"userId":7.0}`, api.Problems{"userId": "must be a positive integer"}},
		{"a user with zeros before", `{"userId":"007"}`, api.Problems{"userId": "must be a positive integer"}},
		{"a user beyond 64 bits", `{"userId":9223372036854775808}`, api.Problems{"userId": "must be a positive integer"}},
		{"a user of another kind", `{"userId":[7]}`, api.Problems{"userId": "must be a positive integer"}},
		{"an amount of text", `{"userId":7,"amount":"12.5"}`, api.Problems{"amount": "must be a number"}},
		{"an amount of text in params", params(`"amount":"12.5"`), api.Problems{"params.amount": "must be a number"}},
		{"an amount of true", params(`"amount":true`), api.Problems{"params.amount": "must be a number"}},
		{"no amount is null", params(`"amount":null`), nil},
		{"a hostile amount is still a number", params(`"amount":1e999999999`), nil},
		{"two amounts", `{"userId":7,"amount":12.5,"params":{"amount":12.51}}`, api.Problems{"amount": "must be the same as params.amount"}},
		{"one amount, spelt in two ways", `{"userId":7,"amount":12.5,"params":{"amount":1250e-2}}`, nil},
		{"a currency of digits", params(`"currency":"810"`), api.Problems{"params.currency": "must be the three letters of an ISO 4217 currency"}},
		{"a currency of a number", params(`"currency":810`), api.Problems{"params.currency": "must be the three letters of an ISO 4217 currency"}},
		{"an empty currency", `{"userId":7,"currency":""}`, api.Problems{"currency": "must be the three letters of an ISO 4217 currency"}},
		{"two currencies", `{"userId":7,"currency":"USD","params":{"currency":"RUR"}}`, api.Problems{"currency": "must be the same as params.currency"}},
		{"a creator", params(`"createdBy":3`), api.Problems{"params.createdBy": "is set by us"}},
		{"no creator", params(`"createdBy":null`), api.Problems{"params.createdBy": "is set by us"}},
		{"a description of 1000 characters", `{"userId":7,"description":"` + strings.Repeat("ж", 1000) + `"}`, nil},
		{"a longer description", `{"userId":7,"description":"` + strings.Repeat("ж", 1001) + `"}`, api.Problems{"description": "must have at most 1000 characters"}},
		{"a description of a number", `{"userId":7,"description":1}`, api.Problems{"description": "must be a string"}},
		{"params of null", `{"userId":7,"params":null}`, nil},
		{"params of text", `{"userId":7,"params":"string"}`, api.Problems{"params": "must be a JSON object"}},
		{"params of a list", `{"userId":7,"params":[]}`, api.Problems{"params": "must be a JSON object"}},
		{"params with something after them", `{"userId":7,"params":"{} {}"}`, api.Problems{"params": "must be a JSON object"}},
		{"params twice in a string", `{"userId":7,"params":"\"{}\""}`, api.Problems{"params": "must be a JSON object"}},
		{"params in which a member comes twice", `{"userId":7,"params":"{\"amount\":1,\"amount\":2}"}`, api.Problems{"params": "has a member twice"}},
		{"params with a NUL", `{"userId":7,"params":"{\"a\":\"\\u0000\"}"}`, api.Problems{"params": "has text that is not valid"}},
		{"params with half a character", `{"userId":7,"params":"{\"a\":\"\\ud83d\"}"}`, api.Problems{"params": "has text that is not valid"}},
		{"50 params", params(many(50)), nil},
		{"51 params", params(many(51)), api.Problems{"params": "must have at most 50 members"}},
		{"a param without a name", params(`"":1`), api.Problems{"params": "must have names of 1 to 100 characters"}},
		{"a param with a name of 100 characters", params(`"` + strings.Repeat("ж", 100) + `":1`), nil},
		{"a param with a longer name", params(`"` + strings.Repeat("ж", 101) + `":1`), api.Problems{"params": "must have names of 1 to 100 characters"}},
		{"a param with a line in its name", params(`"a\nb":1`), api.Problems{"params": "must not have control characters in names"}},
		{"a param with a line in its value", params(`"a":"b\nc"`), nil},
		{"16 KiB of params", params(`"a":"` + strings.Repeat("x", 16<<10-8) + `"`), nil},
		{"more params", params(`"a":"` + strings.Repeat("x", 16<<10-7) + `"`), api.Problems{"params": "must have at most 16 KiB"}},
		{"deep params", params(`"a":` + strings.Repeat("[", 18) + strings.Repeat("]", 18)), nil},
		{"a number that no column can hold", params(`"a":[{"b":1e999999999}]`), api.Problems{"params": "has a number of more than 100 characters, or beyond 1e308"}},
		{"a number that no column can hold, near zero", params(`"a":1e-20000`), api.Problems{"params": "has a number of more than 100 characters, or beyond 1e308"}},
		{"a long number", params(`"a":` + strings.Repeat("9", 101)), api.Problems{"params": "has a number of more than 100 characters, or beyond 1e308"}},
		{"numbers of all kinds", params(`"a":[0,-1.50,1e308,1E-308,` + strings.Repeat("9", 100) + `]`), nil},
		{"a member of another case is another member", `{"userId":7,"UserId":8,"Amount":3,"params":{"Amount":4}}`, nil},
	} {
		o, wrong := api.ParseObject([]byte(story.body))
		if wrong != "" {
			t.Errorf("%s: the body %s", story.name, wrong)
			continue
		}
		r, problems := readCreate(o)
		if diff := cmp.Diff(story.want, problems, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		if len(problems) == 0 && r.UserID.Value != 7 {
			t.Errorf("%s: the user is %d", story.name, r.UserID.Value)
		}
	}
}

func TestWhatAnUpdateMayNot(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name, body string
		want       api.Problems
	}{
		{"nothing", `{}`, api.Problems{"body": "must have a description or params"}},
		{"empty params", `{"params":{}}`, api.Problems{"body": "must have a description or params"}},
		{"params of null", `{"params":null}`, api.Problems{"body": "must have a description or params"}},
		{"params of a list", `{"params":[]}`, api.Problems{"params": "must be a JSON object"}},
		{"an amount alone", `{"amount":12.5}`, api.Problems{"body": "must have a description or params"}},
		{"take the amount away", `{"params":{"amount":null}}`, api.Problems{"params.amount": "cannot be changed"}},
		{"take the amount away at top level", `{"description":"","amount":null}`, api.Problems{"amount": "cannot be changed"}},
		{"take the currency away", `{"params":{"currency":null}}`, api.Problems{"params.currency": "cannot be changed"}},
		{"take its creator away", `{"params":{"createdBy":null}}`, api.Problems{"params.createdBy": "cannot be changed"}},
		{"an amount of text", `{"params":{"amount":"12.5"}}`, api.Problems{"params.amount": "must be a number"}},
		{"a description of a list", `{"description":[]}`, api.Problems{"description": "must be a string"}},
	} {
		o, wrong := api.ParseObject([]byte(story.body))
		if wrong != "" {
			t.Fatalf("%s: the body %s", story.name, wrong)
		}
		if _, problems := readUpdate(o); !cmp.Equal(story.want, problems) {
			t.Errorf("%s: %v, want %v", story.name, problems, story.want)
		}
	}
}

func TestABodyThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	for _, story := range []struct{ body, problem string }{
		{`{"userId":7,"amount":1,"amount":1000}`, "has a member twice"},
		{`{"userId":7,"params":{"amount":1,"amount":1000}}`, "has a member twice"},
		{`{"userId":7,"params":{"amount":1,"\u0061mount":1000}}`, "has a member twice"},
		{`{"userId":7,"amount":1,"ignored":[{"a":1,"a":2}]}`, "has a member twice"},
		{`{"userId":7,"userId":8,"amount":1}`, "has a member twice"},
		{`{"userId":7,"description":"\u0000"}`, "has text that is not valid"},
		{`{"userId":7,"description":"\udc00\ud800"}`, "has text that is not valid"},
		{`{"userId":7,"amount":1}{"amount":2}`, "must be a JSON object"},
		{`{"userId":7,"amount":1`, "must be a JSON object"},
		{`[]`, "must be a JSON object"},
		{`null`, "must be a JSON object"},
		{``, "must be a JSON object"},
		{strings.Repeat(`{"a":`, 21) + "1" + strings.Repeat("}", 21), "is nested too deeply"},
	} {
		o := newOffice(t, store.Operation{})
		o.expect(o.ask("POST", "/v3/rechargeProviders/external/payments", story.body, "Idempotency-Key", "k"), 400,
			`{"code":400,"message":"Invalid parameters.","data":[{"field":"body","message":"`+story.problem+`"}]}`)
		if len(o.books.asked) != 0 {
			t.Errorf("%s asked the books %v", story.body, o.books.asked)
		}
	}
}

func TestACommandWithABodyOfItsOwnIsRefused(t *testing.T) {
	t.Parallel()
	for _, story := range []struct{ path, body, field, problem string }{
		{"/commit", `{"amount":1}`, "body", "must be empty"},
		{"/commit", `null`, "body", "must be empty"},
		{"/commit", `[]`, "body", "must be empty"},
		{"/commit", `{}{}`, "body", "must be empty"},
		{"/commit", "\x00", "body", "must be empty"},
		{"/rollback", ``, "body", "must be a JSON object"},
		{"/rollback", `{}`, "reason", "is required"},
		{"/rollback", `{"reason":null}`, "reason", "is required"},
		{"/rollback", `{"reason":""}`, "reason", "must have at least one character"},
		{"/rollback", `{"reason":1}`, "reason", "must be a string"},
		{"/rollback", `{"Reason":"x"}`, "reason", "is required"},
		{"/rollback", `{"reason":"` + strings.Repeat("x", 1001) + `"}`, "reason", "must have at most 1000 characters"},
	} {
		o := newOffice(t, store.Operation{})
		o.expect(o.ask("POST", onePayment+story.path, story.body), 400,
			`{"code":400,"message":"Invalid parameters.","data":[{"field":"`+story.field+`","message":"`+story.problem+`"}]}`)
		if len(o.books.asked) != 0 {
			t.Errorf("%s %s asked the books %v", story.path, story.body, o.books.asked)
		}
	}
}

func TestParamsInAStringAreTheSameParams(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOf(rapid.StringMatching(`[a-zж]{1,5}`), rapid.OneOf(
			rapid.Map(rapid.StringMatching(`[^\x00]*`), func(s string) any { return s }),
			rapid.Map(rapid.Int64(), func(n int64) any { return n }),
			rapid.Just[any](nil), rapid.Just[any]([]any{true, "\n"}),
		)).Draw(t, "members")
		text, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		quoted, err := json.Marshal(string(text))
		if err != nil {
			t.Fatal(err)
		}
		plain, inString := api.Problems{}, api.Problems{}
		a := readParams(plain, api.Object{"params": text})
		b := readParams(inString, api.Object{"params": quoted})
		if !cmp.Equal(a.own, b.own) || !cmp.Equal(plain, inString) || len(plain) > 0 {
			t.Fatalf("%s is %v %v; in a string %v %v", text, a.own, plain, b.own, inString)
		}
	})
}

// What passes can be stored and can be shown; what does not never panics.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"userId":7,"description":"d","params":{"amount":12.5,"currency":"RUR","a":[1,{"b":null}]}}`))
	f.Add([]byte(`{"userId":"7","amount":1e3,"params":"{\"code\":\"x\",\"n\":-1.50E+2}"}`))
	f.Add([]byte(`{"params":{"createdBy":3,"a":"\ud83d\ude00"},"description":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, wrong := api.ParseObject(body)
		if wrong != "" {
			return
		}
		readUpdate(o)
		r, problems := readCreate(o)
		if len(problems) > 0 {
			return
		}
		if r.UserID.Value <= 0 || r.Params.own == nil || len(r.Params.own) > maxMembers || strings.ContainsRune(r.Description.Value, 0) {
			t.Errorf("%q passed as %+v", body, r)
		}
		for name, value := range r.Params.own {
			if name == "amount" || strings.IndexFunc(name, unicode.IsControl) >= 0 || !api.Storable(value) {
				t.Errorf("%q passed with %q: %s", body, name, value)
			}
		}
		answer := answerCreated(store.Recharge{Amount: money.Amount{Minor: 1, Currency: 810}, Params: r.Params.own}, true)
		if !json.Valid(answer.Body) {
			t.Errorf("%q is answered %s", body, answer.Body)
		}
	})
}
