package invoicer

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quittance/quittance/store"
)

// sign makes a token of a payload as it stands, whatever it is.
func sign(t *testing.T, header, payload, key string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	signature, err := jwt.SigningMethodHS256.Sign(text, []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const hs256Header = `{"alg":"HS256","typ":"JWT"}`

func token(t *testing.T, params, data string) string {
	t.Helper()
	return sign(t, hs256Header, fmt.Sprintf(`{"params":%s,"data":%s,"iat":%d}`, params, data, now.Unix()), "demo-secret")
}

// formA repeats beside the token what is in it, formB has only params there.
func formA(t *testing.T, params, data string) string {
	t.Helper()
	return fmt.Sprintf(`{"params":%s,"data":%s,"iat":%d,"token":"%s"}`, params, data, now.Unix(), token(t, params, data))
}

func formB(t *testing.T, params, data string) string {
	t.Helper()
	return formBAt(t, now, params, data, "demo-secret")
}

func formBAt(t *testing.T, at time.Time, params, data, key string) string {
	t.Helper()
	return fmt.Sprintf(`{"params":%s,"token":"%s"}`, params, sign(t, hs256Header, fmt.Sprintf(`{"params":%s,"data":%s,"iat":%d}`, params, data, at.Unix()), key))
}

// unsealed verifies a signed answer, and returns what it says.
func unsealed(t *testing.T, body string) map[string]any {
	t.Helper()
	var answer struct {
		Status int
		ID     *string
		Data   struct{ Token string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != 1 || answer.ID != nil {
		t.Fatalf("answered %s", body)
	}
	said := jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber(), jwt.WithoutClaimsValidation()).
		ParseWithClaims(answer.Data.Token, said, func(*jwt.Token) (any, error) { return []byte("demo-secret"), nil })
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if said["iat"] != json.Number(fmt.Sprint(now.Unix())) {
		t.Errorf("answered at %v, want %d", said["iat"], now.Unix())
	}
	delete(said, "iat")
	return said
}

func TestWhoSignsIsAnsweredSigned(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]func(*testing.T, string, string) string{
		"form A": formA, "form B": formB,
		"the token alone": func(t *testing.T, params, data string) string { return `{"token":"` + token(t, params, data) + `"}` },
	} {
		for path := range newStall(t, store.Operation{}).everyCall() {
			s := newStall(t, store.Operation{})
			s.subscribed()
			s.books.shop.SignatureRequired = true
			call := s.everyCall()[path]
			signed := s.ask(path, form(t, call[0], call[1]))
			said := unsealed(t, signed.Body.String())

			s.books.shop.SignatureRequired = false
			var plainly struct{ Data map[string]any }
			if err := json.Unmarshal(s.ask(path, plain(call[0], call[1])).Body.Bytes(), &plainly); err != nil {
				t.Fatal(err)
			}
			if len(said) != len(plainly.Data) || len(said) == 0 {
				t.Errorf("%s of %s says %v, plainly %v", name, path, said, plainly.Data)
			}
		}
	}
}

func TestOnlyWhatIsSignedCounts(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	params := `{"sessionId":"613F7045-03A2-4BBB-8FF8-E2202E71D41F","systemType":"ECOM"}`
	said := token(t, params, `{"externalId":"e","type":"PAY","description":"d","amount":1000000000000}`)
	for _, beside := range []string{
		`"params":{"sessionId":"613f7045-03a2-4bbb-8ff8-e2202e71d41f","systemType":"nonsense"},"data":{"amount":1},"iat":0`,
		`"params":{"sessionId":null},"data":17`,
		`"params":7`,
		`"x":{}`,
	} {
		unsealed(t, s.ask("invoicer/invoices/create", `{`+beside+`,"token":"`+said+`"}`).Body.String())
		if n := last[issued](s); n.Amount != 1_000_000_000_000 || n.SystemType != store.ECOM || n.Shop.Client != 7 {
			t.Errorf("beside %s the invoice is %+v", beside, n)
		}
	}
}

func TestNumbersStayExactInASignature(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	s.books.payment.Amount.Minor = 9007199254740993 // what no float holds
	call := s.everyCall()["invoicer/payments/show"]
	said := unsealed(t, s.ask("invoicer/payments/show", formB(t, call[0], call[1])).Body.String())
	if said["amount"] != json.Number("9007199254740993") {
		t.Errorf("the amount is %v", said["amount"])
	}
	s.ask("invoicer/invoices/create", formB(t, `{"sessionId":"`+string(theSession)+`","systemType":"ECOM"}`,
		`{"externalId":"e","type":"PAY","description":"d","amount":999999999999,"extraInfo":{"n":9007199254740993.10}}`))
	if n := last[issued](s); n.Amount != 999999999999 || string(n.ExtraInfo) != `{"n":9007199254740993.10}` {
		t.Errorf("the invoice is of %d, its extraInfo %s", n.Amount, n.ExtraInfo)
	}
}

func TestTheTimeOfASignatureIsNearNow(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	for iat, want := range map[string]string{
		fmt.Sprint(now.Unix()):             "",
		fmt.Sprint(now.Unix() - 20):        "",
		fmt.Sprint(now.Unix() + 20):        "",
		fmt.Sprintf(`"%d"`, now.Unix()):    "",
		fmt.Sprintf(`%d.75`, now.Unix()):   "",
		fmt.Sprint(now.Unix() - 21):        "TIMELIMIT_ERROR",
		fmt.Sprint(now.Unix() + 21):        "TIMELIMIT_ERROR",
		fmt.Sprintf(`"%d"`, now.Unix()-21): "TIMELIMIT_ERROR",
		fmt.Sprint(now.UnixMilli()):        "TIMELIMIT_ERROR",
		"0":                                "TIMELIMIT_ERROR",
		"-9223372036854775808":             "TIMELIMIT_ERROR",
		"9223372036854775807":              "TIMELIMIT_ERROR",
		"9223372036854775808":              "FORMAT_ERROR",
		"null":                             "FORMAT_ERROR",
		`""`:                               "FORMAT_ERROR",
		`"soon"`:                           "FORMAT_ERROR",
		"true":                             "FORMAT_ERROR",
		"[]":                               "FORMAT_ERROR",
		"1e999999999":                      "FORMAT_ERROR",
	} {
		said := sign(t, hs256Header, `{"params":{"clientId":1},"iat":`+iat+`}`, "demo-secret")
		w := s.ask("sessions/create", fmt.Sprintf(`{"iat":%d,"token":"%s"}`, now.Unix(), said))
		switch want {
		case "":
			unsealed(t, w.Body.String())
		case "TIMELIMIT_ERROR":
			s.refusedWith("iat "+iat, w, want, "")
		default:
			fields := `{"iat":"FORMAT"}`
			if iat == "null" || iat == `""` {
				fields = `{"iat":"REQUIRED"}`
			}
			s.refusedWith("iat "+iat, w, want, fields)
		}
	}
}

func TestWhatIsNotSignedByTheCallerIsRefused(t *testing.T) {
	t.Parallel()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	payload := fmt.Sprintf(`{"params":{"clientId":1},"data":{},"iat":%d}`, now.Unix())
	by := func(method jwt.SigningMethod, key any) string {
		said := jwt.MapClaims{}
		if err := json.Unmarshal([]byte(payload), &said); err != nil {
			t.Fatal(err)
		}
		text, err := jwt.NewWithClaims(method, said).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	good := sign(t, hs256Header, payload, "demo-secret")
	cut := strings.LastIndex(good, ".")
	of := func(payload string) string { return sign(t, hs256Header, payload, "demo-secret") }
	at := fmt.Sprintf(`"iat":%d`, now.Unix())
	for _, story := range []struct {
		name, body, code, fields string
	}{
		{"another key", `{"token":"` + sign(t, hs256Header, payload, "demo-secre") + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"no key", `{"token":"` + sign(t, hs256Header, payload, "") + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"no signature", `{"token":"` + good[:cut+1] + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg none", `{"token":"` + by(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType) + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg None", `{"token":"` + sign(t, `{"alg":"None"}`, payload, "demo-secret") + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg HS384", `{"token":"` + by(jwt.SigningMethodHS384, []byte("demo-secret")) + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg HS512", `{"token":"` + by(jwt.SigningMethodHS512, []byte("demo-secret")) + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg RS256", `{"token":"` + by(jwt.SigningMethodRS256, rsaKey) + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"alg RS512", `{"token":"` + by(jwt.SigningMethodRS512, rsaKey) + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"RS256 in the header, HS256 in truth", `{"token":"` + sign(t, `{"alg":"RS256"}`, payload, "demo-secret") + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"no alg", `{"token":"` + sign(t, `{}`, payload, "demo-secret") + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"another's signature", `{"token":"` + of(`{"params":{"clientId":1},"data":{"a":1},` + at + `}`)[:strings.LastIndex(of(`{"params":{"clientId":1},"data":{"a":1},`+at+`}`), ".")] + good[cut:] + `"}`, "NOT_ALLOWED", `{"token":"SIGNATURE"}`},
		{"a client that nobody knows", `{"token":"` + of(`{"params":{"clientId":2},`+at+`}`) + `"}`, "NOT_ALLOWED", `{"params":{"clientId":"NOT_FOUND"}}`},
		{"another client beside the token", `{"params":{"clientId":2},"token":"` + good + `"}`, "NOT_ALLOWED", `{"params":{"clientId":"MISMATCH"}}`},
		{"a session beside the token", `{"params":{"sessionId":"` + string(theSession) + `"},"token":"` + good + `"}`, "NOT_ALLOWED", `{"params":{"sessionId":"MISMATCH"}}`},
		{"who it is only beside the token", `{"params":{"clientId":1},"token":"` + of(`{"data":{},`+at+`}`) + `"}`, "FORMAT_ERROR", `{"params":{"clientId":"REQUIRED"}}`},
		{"no time", `{"token":"` + of(`{"params":{"clientId":1}}`) + `"}`, "FORMAT_ERROR", `{"iat":"REQUIRED"}`},
		{"the time only beside the token", `{` + at + `,"token":"` + of(`{"params":{"clientId":1}}`) + `"}`, "FORMAT_ERROR", `{"iat":"REQUIRED"}`},
		{"a member twice in the payload", `{"token":"` + of(`{"params":{"clientId":1,"clientId":1},`+at+`}`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"params twice in the payload", `{"token":"` + of(`{"params":{"clientId":1},"params":{"clientId":1},`+at+`}`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"iat twice in the payload", `{"token":"` + of(`{"params":{"clientId":1},"iat":1,`+at+`}`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a NUL in the payload", `{"token":"` + of(`{"params":{"clientId":1},"data":"\u0000",`+at+`}`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a deep payload", `{"token":"` + of(`{"params":{"clientId":1},"data":`+strings.Repeat("[", 20)+strings.Repeat("]", 20)+`}`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a payload of null", `{"token":"` + of(`null`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a payload of a list", `{"token":"` + of(`[]`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a payload of a text", `{"token":"` + of(`"{}"`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a payload that is not JSON", `{"token":"` + of(`{`) + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"params of a text in the payload", `{"token":"` + of(`{"params":"x",`+at+`}`) + `"}`, "FORMAT_ERROR", `{"params":"FORMAT"}`},
		{"no token at all", `{"token":""}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"half a token", `{"token":"a.b"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a token of two tokens", `{"token":"` + good + `.` + good + `"}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a token with padding", `{"token":"` + good + `="}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a token of a number", `{"token":1}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"a token of an object", `{"token":{}}`, "FORMAT_ERROR", `{"token":"FORMAT"}`},
		{"not signed", `{"params":{"clientId":1}}`, "NOT_ALLOWED", `{"token":"REQUIRED"}`},
		{"a token of null is none", `{"params":{"clientId":1},"token":null}`, "NOT_ALLOWED", `{"token":"REQUIRED"}`},
		{"the token twice", `{"token":"` + good + `","token":"` + good + `"}`, "FORMAT_ERROR", ``},
		{"a member twice beside the token", `{"a":1,"a":1,"token":"` + good + `"}`, "FORMAT_ERROR", ``},
	} {
		s := newStall(t, store.Operation{})
		s.books.shop.SignatureRequired = true
		s.refusedWith(story.name, s.ask("sessions/create", story.body), story.code, story.fields)
		if len(s.books.asked) != 0 {
			t.Errorf("%s: the books were asked %v", story.name, s.books.asked)
		}
	}
}

func TestABodyThatIsNotAnEnvelopeIsRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 21) + "1" + strings.Repeat("}", 21)
	for _, story := range []struct{ name, body, fields string }{
		{"nothing", ``, ""},
		{"no JSON", `params=x`, ""},
		{"null", `null`, ""},
		{"a list", `[]`, ""},
		{"two objects", `{}{}`, ""},
		{"a member twice", `{"params":{"sessionId":"` + string(theSession) + `"},"params":{}}`, ""},
		{"a member twice, spelt in two ways", `{"params":{"sessionId":"x","sess\u0069onId":"y"}}`, ""},
		{"too deep", deep, ""},
		{"half a character", `{"data":"\ud800"}`, ""},
		{"no UTF-8", "{\"data\":\"\xff\"}", ""},
		{"params of a list", `{"params":[],"data":{}}`, `{"params":"FORMAT"}`},
		{"data of a text", `{"params":{},"data":"{}"}`, `{"data":"FORMAT"}`},
		{"neither", `{}`, `{"params":{"sessionId":"REQUIRED"}}`},
		{"params of null", `{"params":null}`, `{"params":{"sessionId":"REQUIRED"}}`},
		{"a session of null", `{"params":{"sessionId":null}}`, `{"params":{"sessionId":"REQUIRED"}}`},
		{"an empty session", `{"params":{"sessionId":""}}`, `{"params":{"sessionId":"REQUIRED"}}`},
		{"a session of a number", `{"params":{"sessionId":1}}`, `{"params":{"sessionId":"FORMAT"}}`},
		{"a session in braces", `{"params":{"sessionId":"{613f7045-03a2-4bbb-8ff8-e2202e71d41f}"}}`, `{"params":{"sessionId":"FORMAT"}}`},
		{"a session without dashes", `{"params":{"sessionId":"613f704503a24bbb8ff8e2202e71d41f"}}`, `{"params":{"sessionId":"FORMAT"}}`},
	} {
		for path := range newStall(t, store.Operation{}).everyCall() {
			if path == "sessions/create" {
				continue
			}
			s := newStall(t, store.Operation{})
			s.refusedWith(story.name+" to "+path, s.ask(path, story.body), "FORMAT_ERROR", story.fields)
			if len(s.books.asked) != 0 {
				t.Errorf("%s: the books were asked %v", story.name, s.books.asked)
			}
		}
	}
	s := newStall(t, store.Operation{})
	s.refusedWith("a session that nobody has", s.ask("invoicer/invoices/show", `{"params":{"sessionId":"613f7045-03a2-4bbb-8ff8-e2202e71d41e"}}`), "NOT_ALLOWED", `{"params":{"sessionId":"NOT_FOUND"}}`)
	s.refusedWith("more than 1 MiB", s.ask("invoicer/invoices/show", strings.Repeat(" ", 1<<20+1)), "TOO_LARGE", "")
}

func TestWhoTheClientIsMayBeATextOrANumber(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	for _, sent := range []string{`1`, `"1"`} {
		w := s.ask("sessions/create", `{"params":{"clientId":`+sent+`}}`)
		opened := last[openedSession](s)
		s.expect(w, 200, fmt.Sprintf(`{"status":1,"id":"%s","data":{"id":"%s"}}`, opened.session, opened.session))
		if opened.client != 7 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("opened for %d, %v", opened.client, w.Header())
		}
	}
	for sent, want := range map[string][2]string{
		`2`:                      {"NOT_ALLOWED", `{"params":{"clientId":"NOT_FOUND"}}`},
		`9223372036854775807`:    {"NOT_ALLOWED", `{"params":{"clientId":"NOT_FOUND"}}`},
		`9223372036854775808`:    {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`0`:                      {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`1.0`:                    {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`"01"`:                   {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`"demo"`:                 {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`["1"]`:                  {"FORMAT_ERROR", `{"params":{"clientId":"FORMAT"}}`},
		`null`:                   {"FORMAT_ERROR", `{"params":{"clientId":"REQUIRED"}}`},
		`""`:                     {"FORMAT_ERROR", `{"params":{"clientId":"REQUIRED"}}`},
		`1,"sessionId":"nobody"`: {"", ""},
	} {
		w := s.ask("sessions/create", `{"params":{"clientId":`+sent+`}}`)
		if want[0] == "" {
			if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":1`) {
				t.Errorf("%s: %s", sent, w.Body)
			}
			continue
		}
		s.refusedWith("clientId "+sent, w, want[0], want[1])
	}
}

func TestARepeatIsAnsweredAsTheFirstAndSignedAsItIs(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	first := s.books.payment.ID.String()
	answered := `{"status":1,"data":{"paymentId":"` + first + `"}}`
	s.books.err = &store.Replay{Answer: store.Answer{Status: 200, Body: []byte(answered), Operation: anOperation}}
	const path = "invoicer/payments/cancel"
	call := s.everyCall()[path]
	w := s.ask(path, plain(call[0], call[1]), "Idempotency-Key", "k")
	s.expect(w, 200, answered)
	if w.Header().Get("Idempotent-Replayed") != "true" || w.Header().Get("Operation-Id") != anOperation.String() {
		t.Errorf("headers %v", w.Header())
	}
	w = s.ask(path, formB(t, call[0], call[1]), "Idempotency-Key", "k")
	if said := unsealed(t, w.Body.String()); said["paymentId"] != first || w.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("the repeat says %v, headers %v", said, w.Header())
	}
	if first, second := s.books.asked[0].(store.PaymentCommand).Once, s.books.asked[1].(store.PaymentCommand).Once; first.Request != second.Request || first.Scope != "shop 7" || second.Scope != "shop 7" {
		t.Errorf("signed it is another request: %+v, %+v", first, second)
	}
}
