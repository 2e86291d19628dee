package invoicer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

func TestAPaymentIsMadeWithATokenOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	call := s.everyCall()["invoicer/payments/create"]
	w := s.ask("invoicer/payments/create", plain(call[0], with(t, call[1], `"amount":5,"email":"a@b.test","currency":"980"`)), "Idempotency-Key", "k")
	n := last[store.NewCardPayment](s)
	s.expect(w, 200, `{"status":1,"data":{"id":"`+n.ID.String()+`"}}`)
	if w.Header().Get("Operation-Id") != anOperation.String() || w.Header().Get("Location") != "/operations/"+anOperation.String() {
		t.Errorf("headers %v", w.Header())
	}
	want := store.NewCardPayment{
		ID: n.ID, Intent: n.Intent, Invoice: s.books.invoice.ID, Client: 7, Amount: 5, Card: s.books.card, Token: "fresh token", Email: "a@b.test",
		Once: store.Once{Scope: "shop 7", Key: "k", Request: n.Once.Request, Answer: store.Answer{Status: 200, Body: w.Body.Bytes()}},
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if n.Intent.IsZero() || n.Intent == anIntent || s.tokens.id != anIntent {
		t.Errorf("tokenised under %s, authorised under %s; the lease's intent is %s", s.tokens.id, n.Intent, anIntent)
	}
	if len(s.tokens.asked) != 1 || s.tokens.asked[0] != (api.CardDetails{Token: "saved token", SecurityCode: "530"}) {
		t.Error("the acquirer was asked for another token")
	}
	if diff := cmp.Diff([]string{"lease k"}, s.books.leases); diff != "" { // which the commit ends
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestACardIsStoredAsItsToken(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	call := s.everyCall()["cards/create"]
	w := s.ask("cards/create", plain(call[0], call[1]))
	n := last[added](s)
	s.expect(w, 200, `{"status":1,"data":{"id":"`+n.ID.String()+`"}}`)
	want := store.NewCard{Card: store.Card{ID: n.ID, Mask: "4111111111", Expiry: "2031-12", Brand: "visa"}, Client: 7, Token: "fresh token"}
	if diff := cmp.Diff(want, n.NewCard); diff != "" || n.ID.IsZero() {
		t.Errorf("-want +got\n%s", diff)
	}
	if s.tokens.asked[0] != (api.CardDetails{Number: "4111111111111111", Expiry: "2031-12"}) {
		t.Error("the acquirer was asked for another token")
	}
}

func TestAKeyIsGivenUpUnlessItsCommandIsDone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"invoicer/payments/create", "cards/create"} {
		for _, story := range []struct {
			name                  string
			lease, tokens, commit error
			status                int
			leases                []string
			committed             bool
		}{
			{"all goes well", nil, nil, nil, 200, []string{"lease k"}, true},
			{"somebody has the key", store.ErrKeyInProgress, nil, nil, 409, []string{"lease k"}, false},
			{"another request has it", store.ErrKeyReused, nil, nil, 422, []string{"lease k"}, false},
			{"it is done", &store.Replay{Answer: store.Answer{Status: 200, Body: []byte(`{"status":1,"data":{"id":"` + store.NewPaymentID().String() + `"}}`)}}, nil, nil, 200, []string{"lease k"}, false},
			{"no such card", nil, api.ErrCardRefused, nil, 200, []string{"lease k", "release k"}, false},
			{"the acquirer is away", nil, store.ErrUnavailable, nil, 503, []string{"lease k", "release k"}, false},
			{"it is refused", nil, nil, store.ErrCardExpired, 200, []string{"lease k", "release k"}, true},
			{"nobody knows whether it is done", nil, nil, store.ErrUnavailable, 503, []string{"lease k", "release k"}, true},
		} {
			s := newStall(t, store.Operation{})
			s.books.lease, s.tokens.err, s.books.err = story.lease, story.tokens, story.commit
			call := s.everyCall()[path]
			w := s.ask(path, plain(call[0], call[1]), "Idempotency-Key", "k")
			if w.Code != story.status || !cmp.Equal(s.books.leases, story.leases) || (len(s.books.asked) > 0) != story.committed {
				t.Errorf("%s, %s: answered %d after %v and %d commits", path, story.name, w.Code, s.books.leases, len(s.books.asked))
			}
		}
	}
}

func TestAnotherCardUnderTheSameKeyIsTheSameRequest(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	bound := func(path, data string) string {
		call := s.everyCall()[path]
		s.ask(path, plain(call[0], with(t, call[1], data)), "Idempotency-Key", "k")
		if path == "cards/create" {
			return last[added](s).once.Request
		}
		return last[store.NewCardPayment](s).Once.Request
	}
	card := s.books.card.ID.String()
	for _, pair := range []struct {
		path, first, second string
		same                bool
	}{
		{"cards/create", ``, `"pan":"5555555555554444"`, true},
		{"cards/create", ``, `"expiresAt":"2032-12"`, false},
		{"invoicer/payments/create", ``, `"cardFrom":{"securityCode":"999","id":"` + card + `"}`, true},
		{"invoicer/payments/create", `"x":[{"pan":"1","a":1.50}]`, `"x":[{"a":1.50,"pan":"2"}]`, true},
		{"invoicer/payments/create", `"x":1.5`, `"x":1.50`, false},
		{"invoicer/payments/create", `"amount":1`, `"amount":2`, false},
	} {
		first, second := bound(pair.path, pair.first), bound(pair.path, pair.second)
		if (first == second) != pair.same {
			t.Errorf("%s with %s and with %s: %s and %s", pair.path, pair.first, pair.second, first, second)
		}
		for _, secret := range []string{"4111111111111111", "5555555555554444", "530", "999"} {
			if strings.Contains(first+second, secret) {
				t.Errorf("%s is bound to %s", pair.path, first)
			}
		}
	}
}

func TestACommandSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		path, params, data string
		want               store.PaymentCommand
	}{
		{"confirm", ``, ``, store.PaymentCommand{Type: store.PaymentConfirm, Code: "1234"}},
		{"complete", ``, ``, store.PaymentCommand{Type: store.PaymentComplete, Amount: 1200}},
		{"complete", `"amount":"-"`, ``, store.PaymentCommand{Type: store.PaymentComplete}},
		{"complete", `"amount":"-"`, `"amount":7`, store.PaymentCommand{Type: store.PaymentComplete, Amount: 7}},
		{"cancel", ``, `"amount":7`, store.PaymentCommand{Type: store.PaymentCancel}},
		{"reverse", ``, ``, store.PaymentCommand{Type: store.PaymentReverse, Amount: 100}},
		{"reverse", ``, `"amount":"-"`, store.PaymentCommand{Type: store.PaymentReverse}},
		{"reverse", `"amount":100`, ``, store.PaymentCommand{Type: store.PaymentReverse, Amount: 100}},
		{"reverse", `"amount":7`, `"amount":"-"`, store.PaymentCommand{Type: store.PaymentReverse, Amount: 7}},
	} {
		s := newStall(t, store.Operation{})
		call := s.everyCall()["invoicer/payments/"+story.path]
		w := s.ask("invoicer/payments/"+story.path, plain(with(t, call[0], story.params), with(t, call[1], story.data)), "Idempotency-Key", "k")
		s.expect(w, 200, `{"status":1,"data":{"paymentId":"`+s.books.payment.ID.String()+`"}}`)
		got := last[store.PaymentCommand](s)
		story.want.Payment, story.want.Invoice, story.want.Client = s.books.payment.ID, s.books.payment.Invoice, 7
		story.want.Once = store.Once{Scope: "shop 7", Key: "k", Request: got.Once.Request, Answer: store.Answer{Status: 200, Body: w.Body.Bytes()}}
		if diff := cmp.Diff(story.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.path, diff)
		}
	}
}

func TestWhoWaitsIsToldHowACommandEnded(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"create", "confirm", "complete", "cancel", "reverse"} {
		path := "invoicer/payments/" + path
		for _, story := range []struct {
			ended  store.Operation
			answer string
		}{
			{store.Operation{Status: store.Succeeded}, ""},
			{store.Operation{Status: store.Dead, ErrorCode: "technical", ErrorMessage: "no"}, ""},
			{store.Operation{Status: store.Failed, ErrorCode: "insufficient_funds", ErrorMessage: "Not enough money."}, `{"status":0,"error":{"code":"INSUFFICIENT_FUNDS","message":"Not enough money."}}`},
		} {
			s := newStall(t, story.ended)
			call := s.everyCall()[path]
			w := s.ask(path, plain(call[0], call[1]), "Prefer", "wait=5")
			if w.Code != 200 || w.Header().Get("Operation-Status") != string(story.ended.Status) || w.Header().Get("Operation-Id") != anOperation.String() {
				t.Errorf("%s that %s: %d, %v", path, story.ended.Status, w.Code, w.Header())
			}
			if story.answer != "" {
				s.expect(w, 200, story.answer)
			} else if !strings.HasPrefix(w.Body.String(), `{"status":1,`) {
				t.Errorf("%s that %s: %s", path, story.ended.Status, w.Body)
			}
		}
		s := newStall(t, store.Operation{Status: store.Succeeded})
		call := s.everyCall()[path]
		unsealed(t, s.ask(path, formA(t, call[0], call[1]), "Prefer", "wait=5").Body.String())
	}
}

func TestANotificationIsAHint(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	w := s.ask("acquiring/notifications", `{"id":"`+anIntent.String()+`","news":[1]}`)
	s.expect(w, 204, "")
	if got := last[store.IntentID](s); got != anIntent {
		t.Errorf("inquired about %s", got)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"id":7}`, `{"id":"x"}`, `{"id":null}`, `{"id":"` + anIntent.String() + `","id":"x"}`, strings.Repeat(" ", 1<<20+1)} {
		if w := s.ask("acquiring/notifications", body); w.Code != 400 || !strings.Contains(w.Body.String(), `"code":"FORMAT_ERROR"`) {
			t.Errorf("%.50q: %d %s", body, w.Code, w.Body)
		}
	}
	s.books.err = store.ErrUnavailable
	if w := s.ask("acquiring/notifications", `{"id":"`+anIntent.String()+`"}`); w.Code != 503 {
		t.Errorf("without a database: %d", w.Code)
	}
}

// A card's number and code are sent in their place and wherever else they could end up, and
// everything goes wrong that can: no answer and no line of the log repeats them.
func TestACardIsNeverRepeated(t *testing.T) {
	t.Parallel()
	secrets := []string{"4000000000003220", "40000000000032", `"8642"`, "8642x"} // the code alone is in many an id
	bodies := []string{
		`"pan":"4000000000003220","expiresAt":"2031-12"`,
		`"pan":"4000000000003221","expiresAt":"2031-12"`,
		`"pan":4000000000003220,"expiresAt":"4000000000003220"`,
		`"cardFrom":{"id":"4000000000003220","securityCode":"8642x","pan":"4000000000003220"}`,
		`"cardFrom":"4000000000003220","amount":4000000000003220,"currency":4000000000003220,"email":"4000000000003220"`,
		`"services":[{"iban":"4000000000003220","amount":4000000000003220}],"externalId":4000000000003220,"type":"4000000000003220"`,
		`"invoiceId":"4000000000003220","redirectUrl":"4000000000003220","extraInfo":"4000000000003220","payExpiresAt":"4000000000003220"`,
		`"4000000000003220":"4000000000003220"`,
	}
	for path := range newStall(t, store.Operation{}).everyCall() {
		for _, body := range bodies {
			for _, err := range []error{nil, store.ErrUnavailable, errors.New("a bug"), api.ErrCardRefused} {
				s := newStall(t, store.Operation{})
				s.subscribed()
				s.books.err, s.tokens.err = err, err
				call := s.everyCall()[path]
				params, data := with(t, call[0], `"id":"4000000000003220","code":"8642"`), with(t, call[1], body)
				var told bytes.Buffer
				for _, sent := range []string{plain(call[0], data), plain(params, data), formB(t, call[0], data), plain(call[0], data) + "x"} {
					told.Write(s.ask(path, sent, "Idempotency-Key", "k").Body.Bytes())
				}
				told.Write(s.log.Bytes())
				for _, secret := range secrets {
					if i := bytes.Index(told.Bytes(), []byte(secret)); i >= 0 {
						t.Errorf("%s with %s repeats %s", path, body, told.Bytes()[max(0, i-100):min(i+100, told.Len())])
					}
				}
			}
		}
	}
}

// What the store is given of a card is a token and a mask.
func TestTheStoreIsGivenNoCard(t *testing.T) {
	t.Parallel()
	s := newStall(t, store.Operation{})
	for path, data := range map[string]string{
		"cards/create":             `"pan":"4000000000003220","securityCode":"8642"`,
		"invoicer/payments/create": `"cardFrom":{"id":"` + s.books.card.ID.String() + `","securityCode":"8642","pan":"4000000000003220"}`,
	} {
		call := s.everyCall()[path]
		s.ask(path, plain(call[0], with(t, call[1], data)), "Idempotency-Key", "k")
		s.ask(path, formA(t, call[0], with(t, call[1], data)), "Idempotency-Key", "k")
	}
	if len(s.books.asked) != 4 {
		t.Fatalf("the books were asked %d times", len(s.books.asked))
	}
	for _, asked := range s.books.asked {
		for _, secret := range []string{"4000000000003220", "8642"} {
			if given := fmt.Sprintf("%+v", asked); strings.Contains(given, secret) {
				t.Errorf("the books were given %s", given)
			}
		}
	}
}

func TestRefusalsMirrorTheRequest(t *testing.T) {
	t.Parallel()
	got := string(api.Encode(shape(api.Refusal{Code: "format_error", Message: "m", Fields: map[string]string{
		"data.services.1.amount": "RANGE", "data.services.0": "FORMAT", "data.amount": "REQUIRED", "params": "FORMAT", "params.sessionId": "REQUIRED", "token": "FORMAT",
	}})))
	want := `{"status":0,"error":{"code":"FORMAT_ERROR","message":"m","fields":{"data":{"amount":"REQUIRED","services":{"0":"FORMAT","1":{"amount":"RANGE"}}},"params":"FORMAT","token":"FORMAT"}}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEveryCodeIsInTheDocumentation(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("invoicer.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := string(source)
	for _, known := range slices.Concat(refusals, []api.Case{{Refusal: *errTimeLimit}}) {
		if code := strings.ToUpper(known.Refusal.Code); !strings.Contains(documented, "//\t"+code+" ") {
			t.Errorf("the table of codes has no %s", code)
		} else if !strings.Contains(string(readme), "`"+code+"`") {
			t.Errorf("the README has no %s", code)
		}
	}
	for _, word := range []string{required, format, outOfRange, mismatch, notFor, notFound, signature} {
		if !strings.Contains(documented, "//\t"+word+" ") {
			t.Errorf("the table of words has no %s", word)
		}
	}
}
