package mobile

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store/money"
)

const aSession = "99a9cc31-84a7-47f5-8f69-bd00dc91a35a"

// with is a request's JSON with one member changed; a nil value takes it away.
func with(t testing.TB, base, name string, value any) []byte {
	t.Helper()
	var members map[string]any
	d := json.NewDecoder(strings.NewReader(base))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		t.Fatal(err)
	}
	members[name] = value
	if value == nil {
		delete(members, name)
	}
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

const validPay = `{"amount":1000,"currencyCode":810,"description":"","number":"f625c064-d73d-11e9-854b-0cc47a75a680","recipient":"x","sessionId":"` + aSession + `"}`

const validMake = `{"amount":10,"items":[{"price":4,"name":"a","selected":true},{"price":6,"name":"b"}],"currencyCode":810,"description":"",
	"payer":"p","recipient":"r","sessionId":"` + aSession + `","nameCheque":"","datePayCheque":""}`

func TestEveryFieldIsCheckedAndNamed(t *testing.T) {
	t.Parallel()
	raw := func(s string) any { return json.RawMessage(s) }
	for _, story := range []struct {
		name    string
		request func() interface{ problems() api.Problems }
		body    []byte
		want    api.Problems
	}{
		{"a payment", newPay, []byte(validPay), nil},
		{"an invoice", newMake, []byte(validMake), nil},
		{"an invoice without items", newMake, with(t, validMake, "items", raw("[]")), nil},
		{"amount is a string", newPay, with(t, validPay, "amount", "1000"), api.Problems{"amount": "must be an integer"}},
		{"amount is a fraction", newPay, with(t, validPay, "amount", raw("10.0")), api.Problems{"amount": "must be an integer"}},
		{"amount has an exponent", newPay, with(t, validPay, "amount", raw("1e3")), api.Problems{"amount": "must be an integer"}},
		{"amount is zero", newPay, with(t, validPay, "amount", 0), api.Problems{"amount": "must be positive"}},
		{"amount is minus zero", newPay, with(t, validPay, "amount", raw("-0")), api.Problems{"amount": "must be positive"}},
		{"amount is negative", newPay, with(t, validPay, "amount", -5), api.Problems{"amount": "must be positive"}},
		{"amount is null", newPay, with(t, validPay, "amount", raw("null")), api.Problems{"amount": "is required"}},
		{"amount is missing", newPay, with(t, validPay, "amount", nil), api.Problems{"amount": "is required"}},
		{"amount overflows", newPay, with(t, validPay, "amount", raw("9223372036854775808")), api.Problems{"amount": "is too large"}},
		{"amount is the largest", newPay, with(t, validPay, "amount", raw("9223372036854775807")), nil},
		{"currency is unknown", newPay, with(t, validPay, "currencyCode", 1), api.Problems{"currencyCode": "must be an ISO 4217 numeric code"}},
		{"currency would wrap around", newPay, with(t, validPay, "currencyCode", 65536+810), api.Problems{"currencyCode": "must be an ISO 4217 numeric code"}},
		{"session is none", newPay, with(t, validPay, "sessionId", "1"), api.Problems{"sessionId": "must be a session id"}},
		{"description has a NUL", newPay, with(t, validPay, "description", "a\x00b"), api.Problems{"description": "must not have control characters"}},
		{"description is too long", newPay, with(t, validPay, "description", strings.Repeat("ж", 1001)), api.Problems{"description": "must have at most 1000 characters"}},
		{"description is long", newPay, with(t, validPay, "description", strings.Repeat("ж", 1000)), nil},
		{"items do not add up", newMake, with(t, validMake, "amount", 11), api.Problems{"items": "must add up to the amount"}},
		{"items overflow to the amount", newMake, with(t, string(with(t, validMake, "amount", math.MaxInt64)), "items", raw(`[{"price":9223372036854775807,"name":"a"},{"price":1,"name":"b"}]`)), api.Problems{"items": "must add up to the amount"}},
		{"items are missing", newMake, with(t, validMake, "items", nil), api.Problems{"items": "is required"}},
		{"items are an object", newMake, with(t, validMake, "items", raw("{}")), api.Problems{"items": "must be a list of objects of the documented form"}},
		{"an item costs nothing", newMake, with(t, validMake, "items", raw(`[{"price":10,"name":"a"},{"price":0,"name":"b"}]`)), api.Problems{"items[1].price": "must be positive"}},
		{"an item has no name", newMake, with(t, validMake, "items", raw(`[{"price":10}]`)), api.Problems{"items[0].name": "is required"}},
		{"an account speaks Ukrainian", newAccount, []byte(`{"type":1,"locale":"uk"}`), nil},
		{"an account speaks as it likes", newAccount, []byte(`{"type":1,"locale":null}`), nil},
		{"an account speaks German", newAccount, []byte(`{"type":1,"locale":"de"}`), api.Problems{"locale": "must be en, ru or uk"}},
		{"an account speaks a number", newAccount, []byte(`{"type":1,"locale":1}`), api.Problems{"locale": "must be a string"}},
		{"a push token is taken away", newToken, []byte(`{"push_token":null}`), nil},
		{"a push token is misspelt", newToken, []byte(`{"pushToken":"x"}`), api.Problems{"push_token": "is required"}},
		{"a push token is too long", newToken, with(t, `{}`, "push_token", strings.Repeat("x", 513)), api.Problems{"push_token": "must have at most 512 characters"}},
		{"nothing is sent", newPay, []byte("{}"), api.Problems{
			"amount": "is required", "currencyCode": "is required", "description": "is required", "number": "is required",
			"recipient": "is required", "sessionId": "is required",
		}},
	} {
		r := story.request()
		if err := api.Decode(story.body, r); err != nil {
			t.Errorf("%s: %v", story.name, err)
			continue
		}
		if diff := cmp.Diff(story.want, r.problems(), cmp.Transformer("nil", func(p api.Problems) map[string]string {
			if len(p) == 0 {
				return nil
			}
			return p
		})); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
	}
}

func newAccount() interface{ problems() api.Problems } { return new(addAccountRequest) }
func newToken() interface{ problems() api.Problems }   { return new(pushTokenRequest) }

func newPay() interface{ problems() api.Problems }  { return new(payRequest) }
func newMake() interface{ problems() api.Problems } { return new(makeInvoiceRequest) }

func TestWhatIsNoObjectIsNotDecoded(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "null", "[]", `"x"`, "1", "{", validPay + "x", validPay + "{}", "\xef\xbb\xbf{}"} {
		if err := api.Decode([]byte(body), new(payRequest)); err == nil {
			t.Errorf("%q was decoded", body)
		}
	}
}

// What passes can be stored: the amounts are positive, the currencies known, the texts
// short and printable. What does not never panics.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(validPay))
	f.Add([]byte(validMake))
	f.Add([]byte(`{"type":2,"push_token":"x"}`))
	f.Add([]byte(`{"items":[{"price":1,"name":{}}],"amount":{"a":[]},"currencyCode":1e400}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var pay payRequest
		if api.Decode(body, &pay) == nil && len(pay.problems()) == 0 {
			if _, err := money.NewAmount(pay.Amount.Value, amountOf(pay.Amount, pay.CurrencyCode).Currency); err != nil {
				t.Errorf("%s passed: %v", body, err)
			}
		}
		var issue makeInvoiceRequest
		if api.Decode(body, &issue) == nil && len(issue.problems()) == 0 {
			var sum int64
			for _, i := range issue.Items.stored() {
				sum += i.Price
				if i.Price <= 0 || sum <= 0 || strings.ContainsRune(i.Name, 0) {
					t.Errorf("%s passed with item %+v", body, i)
				}
			}
			if len(issue.Items.Value) > 0 && sum != issue.Amount.Value {
				t.Errorf("%s passed although its items add up to %d", body, sum)
			}
		}
		var account addAccountRequest
		if api.Decode(body, &account) == nil && len(account.problems()) == 0 && account.Type.Value != 1 && account.Type.Value != 2 {
			t.Errorf("%s passed", body)
		}
		var token pushTokenRequest
		_ = api.Decode(body, &token)
		token.problems()
	})
}

// What one reader takes for a rouble another could take for a thousand.
func TestABodyThatCanBeReadInTwoWaysIsRefused(t *testing.T) {
	t.Parallel()
	for body, refused := range map[string]bool{
		`{"type":1}`:                       false,
		`{"type":1,"type":2}`:              true,
		`{"type":1,"x":{"a":1,"a":2}}`:     true,
		`{"type":1,"push_token":"\ud800"}`: true,
	} {
		c, _ := gin.CreateTestContext(httptest.NewRecorder())
		c.Request = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		_, err := decoded(c, newAccount())
		refusal, is := errors.AsType[*api.Refusal](err)
		if is != refused || is && refusal.Fields["body"] == "" {
			t.Errorf("%s: %v, want it refused: %v", body, err, refused)
		}
	}
}
