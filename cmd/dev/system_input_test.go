package main

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// member is a JSON text; "" leaves the member out.
type member = string

// What is wrong in any member of its kind.
var (
	wrongIntegers = map[string]member{
		"a string": `"7"`, "a fraction": `10.0`, "an exponent": `1e3`, "zero": `0`, "negative": `-1`, "null": `null`, "missing": "",
		"beyond 64 bits": `9223372036854775808`, "far beyond": `1` + strings.Repeat("0", 400), "true": `true`, "a list": `[7]`, "an object": `{"v": 7}`,
	}
	wrongTexts = map[string]member{
		"a number": `7`, "null": `null`, "missing": "", "a list": `["a"]`, "an object": `{}`, "false": `false`,
		"a control character": `"a\u0007b"`, "a line break": `"a\nb"`, "NUL": `"a\u0000b"`, "1001 characters": `"` + strings.Repeat("ж", 1001) + `"`,
	}
	wrongCurrencies = map[string]member{"unknown": `811`, "of four digits": `1810`, "beyond 16 bits": `66346`}
	wrongSessions   = map[string]member{"not a UUID": `"session"`, "in braces": `"{7289ec99-7916-472c-b56d-ae8864b53f54}"`, "empty": `""`}
	wrongItems      = map[string]member{
		"null": `null`, "missing": "", "a number": `7`, "an object": `{}`, "a list of numbers": `[1]`,
		"not adding up": `[{"price": 99, "name": "a", "selected": true}]`,
		"overflowing":   `[{"price": 9223372036854775807, "name": "a"}, {"price": 9223372036854775807, "name": "b"}, {"price": 102, "name": "c"}]`,
	}
	wrongPositions = map[string]member{
		"items[0].price": `[{"price": 100.0, "name": "a"}]`,
		"items[1].price": `[{"price": 100, "name": "a"}, {"name": "b"}]`,
		"items[0].name":  `[{"price": 100, "name": "a\u0000"}]`,
	}
)

// endpoint is a POST with a body that it accepts.
type endpoint struct {
	path  string
	body  map[string]member
	wrong map[string][]map[string]member // by member
}

func endpoints(payer, recipient phone, b bill) map[string]endpoint {
	text := func(s string) member { return `"` + s + `"` }
	return map[string]endpoint{
		"add": {
			path:  "/mobile-api/account/add",
			body:  map[string]member{"type": `1`, "push_token": `"a"`, "locale": `"uk"`},
			wrong: map[string][]map[string]member{"type": {wrongIntegers, {"unknown": `3`}}, "push_token": {optional(wrongTexts), {"513 characters": text(strings.Repeat("a", 513))}}, "locale": {optional(wrongTexts), {"unknown": `"de"`}}},
		},
		"push token": {
			path:  "/mobile-api/account/" + payer.session + "/push-token",
			body:  map[string]member{"push_token": `"a"`},
			wrong: map[string][]map[string]member{"push_token": {optional(wrongTexts), {"513 characters": text(strings.Repeat("a", 513))}}},
		},
		"make": {
			path: "/mobile-api/invoice/make",
			body: map[string]member{
				"amount": `100`, "items": `[{"price": 100, "name": "a", "selected": true}]`, "currencyCode": `810`, "description": `"a"`, "payer": text(payer.number),
				"recipient": text(recipient.number), "sessionId": text(recipient.session), "nameCheque": `"a"`, "datePayCheque": `"a"`,
			},
			wrong: map[string][]map[string]member{
				"amount": {wrongIntegers}, "currencyCode": {wrongIntegers, wrongCurrencies}, "items": {wrongItems}, "description": {wrongTexts}, "payer": {wrongTexts},
				"recipient": {wrongTexts}, "sessionId": {wrongTexts, wrongSessions}, "nameCheque": {wrongTexts}, "datePayCheque": {wrongTexts},
			},
		},
		"pay": {
			path: payPath,
			body: map[string]member{
				"amount": `100`, "currencyCode": `810`, "description": `"a"`, "number": text(b.number), "recipient": text(recipient.number), "sessionId": text(payer.session),
			},
			wrong: map[string][]map[string]member{
				"amount": {wrongIntegers, {"not the invoice's": `101`}}, "currencyCode": {wrongIntegers, wrongCurrencies, {"not the invoice's": `643`}}, "description": {wrongTexts},
				"number": {wrongTexts}, "recipient": {wrongTexts, {"not the invoice's": text(payer.number)}}, "sessionId": {wrongTexts, wrongSessions},
			},
		},
	}
}

// optional leaves out what is wrong only in a member that is required.
func optional(wrong map[string]member) map[string]member {
	wrong = maps.Clone(wrong)
	delete(wrong, "null")
	delete(wrong, "missing")
	return wrong
}

// join writes the body with one member replaced.
func join(body map[string]member, name string, value member) string {
	var members []string
	for _, n := range slices.Sorted(maps.Keys(body)) {
		v := body[n]
		if n == name {
			v = value
		}
		if v != "" {
			members = append(members, `"`+n+`": `+v)
		}
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// Whatever is refused changes nothing, and leaves its key free.
func TestSystemBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	b := s.bill(payer, recipient, 100)
	before := s.fingerprint()
	refused := func(t *testing.T, path, body, field string) answer {
		t.Helper()
		a := s.must("POST", path, body, "Idempotency-Key", uuid.NewString(), "Prefer", waitTen)
		errs, _ := a.object()["errors"].(map[string]any)
		description, _ := a.object()["description"].(string)
		if a.status != http.StatusAccepted || !a.says("error") || description == "" || (field != "" && errs[field] == nil) {
			t.Errorf("POST %s %.300s: %s, want 202, an error with a description, and %q among the errors", path, body, a, field)
		}
		if after := s.fingerprint(); after != before {
			t.Errorf("POST %s %.300s: the database was\n%s\nand is\n%s", path, body, before, after)
			before = after
		}
		return a
	}

	all := endpoints(payer, recipient, b)
	for name, e := range all {
		t.Run(name, func(t *testing.T) {
			for field, kinds := range e.wrong {
				for _, kind := range kinds {
					for _, value := range kind {
						refused(t, e.path, join(e.body, field, value), field)
					}
				}
			}
		})
		t.Run(name+", not an object", func(t *testing.T) {
			whole := join(e.body, "", "")
			for what, body := range map[string]string{
				"nothing": "", "blank": " \n", "text": "amount=100", "a list": "[" + whole + "]", "null": "null", "a string": `"a"`, "cut off": whole[:len(whole)-1],
				"a comment": whole + "// paid", "twice": whole + whole, "trailing garbage": whole + "x", "trailing NUL": whole + "\x00",
				"invalid UTF-8": strings.Replace(whole, `"a"`, "\"\xff\xfe\"", 1), "overlong NUL": strings.Replace(whole, `"a"`, "\"\xc0\x80\"", 1),
				"a megabyte and more": whole + strings.Repeat(" ", 1<<20), "nested too deep": strings.Repeat(`{"a":`, 100_000),
			} {
				if a := refused(t, e.path, body, ""); strings.Contains(a.body, "goroutine") {
					t.Errorf("%s: the answer tells how we work: %s", what, a)
				}
			}
		})
	}
	t.Run("a position that is wrong is named", func(t *testing.T) {
		for field, items := range wrongPositions {
			refused(t, all["make"].path, join(all["make"].body, "items", items), field)
		}
	})

	stranger := `"` + uuid.NewString() + `"`
	for name, c := range map[string]struct{ to, field, value, want string }{
		"an unknown payer":                    {"make", "payer", `"` + strings.Repeat("0", 40) + `"`, "Payer not found!"},
		"a payer's session that nobody has":   {"make", "payer", stranger, "Payer not found!"},
		"an empty payer":                      {"make", "payer", `""`, "Payer not found!"},
		"an unknown recipient":                {"make", "recipient", `"` + strings.Repeat("0", 40) + `"`, "Recipient not found!"},
		"an unknown session":                  {"make", "sessionId", stranger, "Session with id not found!"},
		"payer and recipient are the same":    {"make", "payer", `"` + recipient.number + `"`, "Payer and recipient are the same account!"},
		"one by its number, one by session":   {"make", "payer", `"` + strings.ToUpper(recipient.session) + `"`, "Payer and recipient are the same account!"},
		"payment in an unknown session":       {"pay", "sessionId", stranger, "Session with id not found!"},
		"payment in the recipient's session":  {"pay", "sessionId", `"` + recipient.session + `"`, "Invoice is to be paid by another account!"},
		"payment of an unknown invoice":       {"pay", "number", stranger, "Invoice with number not found!"},
		"payment of what is no number at all": {"pay", "number", `"1 OR 1=1"`, "Invoice with number not found!"},
	} {
		t.Run(name, func(t *testing.T) {
			a := refused(t, all[c.to].path, join(all[c.to].body, c.field, c.value), "")
			if got := a.object()["description"]; got != c.want {
				t.Errorf("%s: %v, want %s", name, got, c.want)
			}
		})
	}
	t.Run("the push token of an unknown session", func(t *testing.T) {
		refused(t, "/mobile-api/account/"+uuid.NewString()+"/push-token", `{"push_token": "a"}`, "")
		refused(t, "/mobile-api/account/nobody/push-token", `{"push_token": "a"}`, "")
	})
	t.Run("a key that is none", func(t *testing.T) {
		for _, key := range []string{"with space", strings.Repeat("k", 256), "ключ"} {
			a := s.must("POST", "/mobile-api/account/add", `{"type": 1}`, "Idempotency-Key", key)
			if a.status != http.StatusAccepted || !a.says("error") || s.fingerprint() != before {
				t.Errorf("Idempotency-Key %.20q: %s, want 202, an error, and nothing done", key, a)
			}
		}
	})
	t.Run("what is right is still accepted", func(t *testing.T) {
		for _, e := range all {
			s.accepted("POST", e.path, join(e.body, "", ""), "Prefer", waitTen)
		}
	})
}

// fingerprint is all that the database holds, as a hash a table.
func (s *system) fingerprint() (all string) {
	s.t.Helper()
	for _, table := range []string{
		"accounts", "sessions", "invoices", "operations", "attempts", "outbox", "idempotency_keys", "transfers", "ledger_accounts", "dead_letters",
	} {
		var hash string
		sql := "SELECT count(*) || ' ' || md5(coalesce(string_agg(t::text, ',' ORDER BY t::text), '')) FROM " + table + " t"
		if err := s.books.Pool().QueryRow(s.t.Context(), sql).Scan(&hash); err != nil {
			s.t.Fatal(err)
		}
		all += table + " " + hash + "\n"
	}
	return all
}

func TestSystemAddresses(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	p := s.phone(0)
	for name, c := range map[string]struct {
		method, path string
		status       int
		field        string
	}{
		"a limit of zero":                 {"GET", "/mobile-api/account/" + p.session + "/transfers?limit=0", 202, "limit"},
		"a limit beyond 1000":             {"GET", "/mobile-api/account/" + p.session + "/invoices/list?limit=1001", 202, "limit"},
		"a limit that is no number":       {"GET", "/mobile-api/accounts/list?limit=all", 202, "limit"},
		"an empty limit":                  {"GET", "/mobile-api/accounts/list?limit=", 202, "limit"},
		"before an id that is none":       {"GET", "/mobile-api/accounts/list?before=-1", 202, "before"},
		"before an id beyond 64 bits":     {"GET", "/mobile-api/account/" + p.session + "/transfers?before=9223372036854775808", 202, "before"},
		"before a number that is none":    {"GET", "/mobile-api/account/" + p.session + "/invoices/list?before=1", 202, "before"},
		"the account of nobody":           {"GET", "/mobile-api/account/info/" + uuid.NewString(), 202, ""},
		"the account of no session":       {"GET", "/mobile-api/account/info/1%00", 202, ""},
		"the statement of nobody":         {"GET", "/mobile-api/account/" + uuid.NewString() + "/transfers", 202, ""},
		"the invoices of nobody":          {"GET", "/mobile-api/account/" + uuid.NewString() + "/invoices/list", 202, ""},
		"an invoice that there is not":    {"GET", "/mobile-api/invoice/info/" + uuid.NewString(), 202, ""},
		"an invoice number that is none":  {"GET", "/mobile-api/invoice/info/abc", 202, ""},
		"GET where POST is right":         {"GET", payPath, 405, ""},
		"POST where GET is right":         {"POST", "/mobile-api/accounts/list", 405, ""},
		"PUT":                             {"PUT", "/mobile-api/account/add", 405, ""},
		"DELETE":                          {"DELETE", "/mobile-api/invoice/info/" + uuid.NewString(), 405, ""},
		"an unknown address of the API":   {"GET", "/mobile-api/invoice/refund", 404, ""},
		"a slash too many":                {"POST", payPath + "/", 404, ""},
		"the API's own name":              {"GET", "/mobile-api", 404, ""},
		"the monitor's address elsewhere": {"GET", "/metrics", 404, ""},
		"nothing":                         {"GET", "/", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.must(c.method, c.path, "")
			errs, _ := a.object()["errors"].(map[string]any)
			described := a.object()["description"] != nil || a.object()["error"] != nil // ours have another shape
			if a.status != c.status || a.says("success") || !described || (c.field != "" && errs[c.field] == nil) {
				t.Errorf("%s %s: %s, want %d, a description, and %q among the errors", c.method, c.path, a, c.status, c.field)
			}
		})
	}
}
