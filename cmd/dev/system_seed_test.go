package main

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// How the values look that differ from run to run.
const (
	number     = `^[0-9]+$`
	hex20      = `^[0-9a-f]{20}$`
	hex40      = `^[0-9a-f]{40}$`
	hex64      = `^[0-9a-f]{64}$`
	moscowTime = `^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$`
	version1   = `^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
	version4   = `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
)

// example is one of the original document, with its bodies as they stand there.
type example struct {
	method, path, body string
	want               string
	varies             map[string]string // member → how its value looks
}

// The examples that leave everything as it was come first.
func TestSystemAnswersAsTheOriginalDocument(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	if err := s.books.LoadDemo(t.Context(), acquirertest.TokenOf); err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]example{
		"adding a virtual account": {
			method: "POST", path: "/mobile-api/account/add",
			body: `{
"type": 2,
"push_token": "e8S8tTljQ5w:APA91bGZKdRR-nHTIwqy60OIH21vgM3WqCji6v7fvf6MTaJd1RP1w_WC7MsqW4dxkIRnQwz4enm15BlC3xt-sopAQk4rJp3Tb4jZKLS42GgUAgUVLatYYbz73pp_gNfqSpsg6G20UJdc"
}`,
			want:   `{"status": "success", "sessionId": "6671d112-3579-4857-8eac-d08dd9b38004"}`,
			varies: map[string]string{"sessionId": version4},
		},
		"info about a virtual account": {
			method: "GET", path: "/mobile-api/account/info/6671d112-3579-4857-8eac-d08dd9b38004",
			// balances is ours, beyond the original.
			want: `{
"status": "success",
"data": {
"id": 27,
"device_id": "dc36699179e667934d2e",
"device_type": 2,
"session_id": "6671d112-3579-4857-8eac-d08dd9b38004",
"account_number": "34444777c294e1e8657aa6068ee3090f8e300faa",
"push_token": "e8S8tTljQ5w:APA91bGZKdRR-nHTIwqy60OIH21vgM3WqCji6v7fvf6MTaJd1RP1w_WC7MsqW4dxkIRnQwz4enm15BlC3xt-sopAQk4rJp3Tb4jZKLS42GgUAgUVLatYYbz73pp_gNfqSpsg6G20UJdc",
"deleted": false,
"last_active_at": "2019-09-15 10:43:13",
"created_at": "2019-09-15 10:43:13",
"balances": []
}
}`,
		},
		"making an invoice": {
			method: "POST", path: "/mobile-api/invoice/make",
			body: `{
"amount": 10000,
"items": [
{
"price": 6000,
"name": "Position 1",
"selected" : false
},
{
"price": 1000,
"name": "Position 2",
"selected" : false
},
{
"price": 3000,
"name": "Position 3",
"selected" : true
}
],
"currencyCode": 810,
"description": "test",
"payer": "f2bead373b32dfe107d35a8c1d1d24108a67e892",
"recipient": "2a9fb79f-b7e4-471e-a498-aa9a7bfc0525",
"sessionId": "7289ec99-7916-472c-b56d-ae8864b53f54",
"nameCheque": "ООО МАКДОНАЛДС",
"datePayCheque": "2019-09-13T21:14:00"
}`,
			want:   `{"status": "success", "number": "b3172f1c-d78b-11e9-a50c-0cc47a75a680"}`,
			varies: map[string]string{"number": version1},
		},
		"info about an invoice": {
			// The document asks for b3172f1c-… and shows this one.
			method: "GET", path: "/mobile-api/invoice/info/0b36e540-d780-11e9-be95-8c1645e90d4c",
			want: `{
"status": "success",
"data": {
"number": "0b36e540-d780-11e9-be95-8c1645e90d4c",
"currencyCode": 810,
"amount": 10000,
"description": "test",
"recipient": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3",
"payer": "1002a8ea371fa1c582cb6f158f8c8be7cf17cba2",
"state": 2,
"created": 1568528056860,
"updated": 0,
"owner": "263093b1c21f98c5f9b6433bf9bbb97bb87b6e79",
"errorCode": 0,
"items": [
{
"price": 6000,
"name": "Position 1",
"selected": true
},
{
"price": 1000,
"name": "Position 2",
"selected": true
},
{
"price": 3000,
"name": "Position 3",
"selected": false
}
],
"date_pay_cheque": "2019-09-13T21:14:00",
"name_cheque": "ООО МАКДОНАЛДС"
}
}`,
			varies: map[string]string{"data.created": `^15685280\d{5}$`}, // the demo's is the second that the number was made in
		},
		"info about the invoice that the document asks for": {
			method: "GET", path: "/mobile-api/invoice/info/b3172f1c-d78b-11e9-a50c-0cc47a75a680",
			want: `{"status": "success", "data": {"number": "b3172f1c-d78b-11e9-a50c-0cc47a75a680", "currencyCode": 810, "amount": 10000,
"description": "test", "recipient": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3", "payer": "1002a8ea371fa1c582cb6f158f8c8be7cf17cba2",
"state": 2, "created": 0, "updated": 0, "owner": "263093b1c21f98c5f9b6433bf9bbb97bb87b6e79", "errorCode": 0,
"items": [{"price": 6000, "name": "Position 1", "selected": true}, {"price": 1000, "name": "Position 2", "selected": true}, {"price": 3000, "name": "Position 3", "selected": false}],
"date_pay_cheque": "2019-09-13T21:14:00", "name_cheque": "ООО МАКДОНАЛДС"}}`,
			varies: map[string]string{"data.created": `^15685\d{8}$`},
		},
		"the invoices of a virtual account": {
			method: "GET", path: "/mobile-api/account/ccf619e5-f1a8-466b-93a1-7a1e23bae5ec/invoices/list",
			// The original showed null for its own older rows; ours always have a status.
			want: `{
"status": "success",
"data": [
{
"amount": 1000,
"currency_code": 810,
"description": "teetee",
"number": "b556ce38-d720-11e9-9468-8c1645e90d4c",
"payer": "1002a8ea371fa1c582cb6f158f8c8be7cf17cba2",
"recipient": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3",
"tx_id": "0947d3e4564c10db31d55f3575c1b3a1823fbc3d377d3fdb9fbbf5ed88a3e2e3",
"status_code": 2,
"created_at": "2019-09-14 21:51:51"
}
]
}`,
			varies: map[string]string{"data.0.tx_id": hex64, "data.0.created_at": `^2019-09-14 21:51:\d\d$`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.must(e.method, e.path, e.body, "Accept", "application/json")
			if a.status != http.StatusCreated {
				t.Errorf("%s %s: status %d, want 201", e.method, e.path, a.status)
			}
			if got, want := a.header.Get("Content-Type"), "application/json; charset=utf-8"; got != want {
				t.Errorf("%s %s: Content-Type %q, want %q", e.method, e.path, got, want)
			}
			compare(t, a.body, e.want, e.varies)
		})
	}

	t.Run("the list of virtual accounts", func(t *testing.T) {
		a := s.accepted("GET", "/mobile-api/accounts/list", "")
		list, _ := a.object()["data"].([]any)
		at := slices.IndexFunc(list, func(v any) bool { return v.(map[string]any)["device_id"] == "b82d95961b1eb9886178" })
		if at < 0 || at+2 > len(list) {
			t.Fatalf("accounts/list: %s, want account 17 and after it account 12", a)
		}
		compare(t, encoded(list[at:at+2]), `[
{
"id": 17,
"device_id": "b82d95961b1eb9886178",
"device_type": 2,
"session_id": "ab0e0bdb-7a22-4db5-bbcc-1a77b5d0bafe",
"account_number": "a9eb5169ada8ad3923bc64d370ffca7e5619a04c",
"created_at": "2019-09-15 00:38:32"
},
{
"id": 12,
"device_id": "9acddb9b276bb242a228",
"device_type": 2,
"session_id": "99a9cc31-84a7-47f5-8f69-bd00dc91a35a",
"account_number": "b29de584e7022238bb2d3c4d790e435cbc5faa59",
"created_at": "2019-09-14 22:02:27"
}
]`, nil)
	})
	t.Run("what was added looks like what the document shows", func(t *testing.T) { checkAdded(t, s) })
	t.Run("paying moves exactly the amount", func(t *testing.T) { checkDocumentedPayment(t, s) })
}

// checkAdded adds an account and an invoice, and looks at the ids that they were given.
func checkAdded(t *testing.T, s *system) {
	added := s.accepted("POST", "/mobile-api/account/add", `{"type": 2}`).object()["sessionId"].(string)
	info := s.accepted("GET", "/mobile-api/account/info/"+added, "")
	compare(t, info.body, `{"status": "success", "data": {"id": 1, "device_id": "", "device_type": 2, "session_id": "`+added+`",
"account_number": "", "push_token": null, "deleted": false, "last_active_at": "", "created_at": "", "balances": []}}`,
		map[string]string{
			"data.id": number, "data.device_id": hex20, "data.account_number": hex40,
			"data.last_active_at": moscowTime, "data.created_at": moscowTime,
		})

	s.accepted("POST", "/mobile-api/invoice/make", `{"amount": 1, "items": [], "currencyCode": 810, "description": "", "payer": "f2bead373b32dfe107d35a8c1d1d24108a67e892",
"recipient": "`+added+`", "sessionId": "`+added+`", "nameCheque": "", "datePayCheque": ""}`)
	list := s.accepted("GET", "/mobile-api/account/"+added+"/invoices/list", "")
	data := info.object()["data"].(map[string]any)
	compare(t, list.body, `{"status": "success", "data": [{"amount": 1, "currency_code": 810, "description": "", "number": "",
"payer": "f2bead373b32dfe107d35a8c1d1d24108a67e892", "recipient": "`+data["account_number"].(string)+`", "tx_id": "", "status_code": 2, "created_at": ""}]}`,
		map[string]string{"data.0.number": version1, "data.0.tx_id": hex64, "data.0.created_at": moscowTime})
}

// checkDocumentedPayment sends the document's payment to the address that the document
// means: the one that it prints is that of invoice/make, a slip.
func checkDocumentedPayment(t *testing.T, s *system) {
	payer := phone{session: "99a9cc31-84a7-47f5-8f69-bd00dc91a35a", number: "b29de584e7022238bb2d3c4d790e435cbc5faa59"}
	recipient := phone{session: "e4d7a8b2-91c6-4c35-a0fd-7b6e5f2c1d05", number: "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3"}
	if got := s.balance(payer) + " " + s.balance(recipient); got != "10000000 0" {
		t.Fatalf("balances before: %s, want 10000000 0", got)
	}
	const body = `{
"amount": 1000,
"currencyCode": 810,
"description": "teetee",
"number": "f625c064-d73d-11e9-854b-0cc47a75a680",
"recipient": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3",
"sessionId": "99a9cc31-84a7-47f5-8f69-bd00dc91a35a"
}`
	a := s.accepted("POST", payPath, body, "Prefer", "wait=10")
	compare(t, a.body, `{
"status": "success",
"data": {
"amount": 1000,
"currencyCode": 810,
"description": "teetee",
"number": "f625c064-d73d-11e9-854b-0cc47a75a680",
"recipient": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3"
}
}`, nil)
	if got := s.balance(payer) + " " + s.balance(recipient); got != "9999000 1000" {
		t.Errorf("balances after: %s, want 9999000 1000", got)
	}
	if got := s.invoice("f625c064-d73d-11e9-854b-0cc47a75a680"); got != statePaid {
		t.Errorf("the invoice: %s, want %s", got, statePaid)
	}

	statement := s.accepted("GET", "/mobile-api/account/"+payer.session+"/transfers?limit=1", "")
	compare(t, statement.body, `{"status": "success", "data": [{"id": 1, "kind": "payment", "direction": "out", "amount": 1000, "currency_code": 810,
"counterparty": "1003a8ea371fa1c582cb6f158f8c8be7cf17cba3", "number": "f625c064-d73d-11e9-854b-0cc47a75a680", "tx_id": "", "created_at": ""}]}`,
		map[string]string{"data.0.id": number, "data.0.tx_id": hex64, "data.0.created_at": moscowTime})

	again := s.must("POST", payPath, body)
	if again.status != http.StatusCreated {
		t.Errorf("paid again: status %d, want 201 as the original", again.status)
	}
	compare(t, again.body, `{"status": "error", "description": "Invoice was paid earlier!"}`, nil)
}

// compare compares JSON without regard to order of members, but for the members that vary,
// whose values only have a look. A path names members and, in lists, places.
func compare(t *testing.T, got, want string, varies map[string]string) {
	t.Helper()
	g, w := decode(got), decode(want)
	for path, look := range varies {
		value, ok := replace(g, path, "varies")
		if !ok {
			t.Errorf("%s has no %s", got, path)
		}
		if text := strings.Trim(encoded(value), `"`); !regexp.MustCompile(look).MatchString(text) {
			t.Errorf("%s is %s, want something like %s", path, text, look)
		}
		replace(w, path, "varies")
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
}

// replace sets the value at a path and returns the one that was there.
func replace(v any, path string, by any) (was any, ok bool) {
	name, rest, deeper := strings.Cut(path, ".")
	switch v := v.(type) {
	case map[string]any:
		if was, ok = v[name]; ok && !deeper {
			v[name] = by
			return was, ok
		}
	case []any:
		if name == "0" && len(v) > 0 {
			was, ok = v[0], true
		}
	}
	if !ok || !deeper {
		return nil, false
	}
	return replace(was, rest, by)
}

// A number of version 1 holds the time at which it was made, and must not hold the address
// of the machine.
func TestSystemInvoiceNumbersNameNoMachine(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	a, b := s.phone(0), s.phone(0)
	made := uuid.MustParse(s.bill(a, b, 1).number)
	if made.Version() != 1 || made.NodeID()[0]&1 == 0 {
		t.Errorf("invoice number %s: version %d, node %x; want version 1 and a node with the multicast bit", made, made.Version(), made.NodeID())
	}
}
