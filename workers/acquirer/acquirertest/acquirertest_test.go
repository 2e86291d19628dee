package acquirertest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good       = "4111111111111111"
	bad        = "4000000000000002"
	poor       = "4000000000009995"
	secure     = "4000000000003220"
	lookup     = "4000000000003063"
	cutAfter   = "4000000000000119"
	cutBefore  = "4000000000000341"
	later      = "2099-12"
	patience   = 10 * time.Second
	payment    = "payment"
	authorised = "a"
)

func uah(minor int64) money.Amount { return money.Amount{Minor: minor, Currency: 980} }

func client(t *testing.T, s *acquirertest.Server) *acquirer.Client {
	t.Helper()
	c, err := acquirer.New(s.URL(), "", patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func hold(number string, minor int64) acquirer.Authorisation {
	return acquirer.Authorisation{Payment: payment, Amount: uah(minor), Token: acquirertest.TokenOf(number, later)}
}

func pay(number string, minor int64) acquirer.Authorisation {
	a := hold(number, minor)
	a.Capture = true
	return a
}

func TestACardToCardPaymentHasTwoOperations(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	a := pay(secure, 100)
	a.TokenTo, a.Commission = acquirertest.TokenOf(good, later), 10
	asked, err := client(t, s).Authorise(t.Context(), "a", a)
	if err != nil || asked.SendOperationID != "" {
		t.Errorf("before it is confirmed: %+v, %v", asked, err)
	}
	got, err := client(t, s).Confirm(t.Context(), "f", acquirer.Confirmation{Payment: payment, Of: "a", Code: "1234"})
	if err != nil || got.SendOperationID == "" || got.ReceiveOperationID == "" || got.SendOperationID == got.ReceiveOperationID {
		t.Errorf("confirmed: %+v, %v", got, err)
	}
}

func TestAHoldEnds(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := acquirertest.Start(t, acquirertest.Config{HoldFor: 24 * time.Hour, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	c := client(t, s)
	first := told(authorise("a", hold(good, 100))(t.Context(), c))
	mu.Lock()
	now = now.Add(24 * time.Hour)
	mu.Unlock()
	got := []string{first, told(capture("c", 100)(t.Context(), c)), told(void("v")(t.Context(), c))}
	if diff := cmp.Diff([]string{"approved", "declined hold_expired", "approved"}, got); diff != "" {
		t.Errorf("a day later (-want +got):\n%s", diff)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	tokenise := func(id string, d acquirer.Details) acquirer.Token {
		t.Helper()
		token, err := c.Tokenise(t.Context(), id, d)
		if err != nil {
			t.Fatalf("tokenise %s: %v", id, err)
		}
		if strings.Contains(token.Token, good) {
			t.Errorf("the token shows the number: %s", token.Token)
		}
		return token
	}
	saved := tokenise("1", acquirer.Details{Number: good, Expiry: later})
	if saved.Mask != "4111111111" || saved.Expiry != later || saved.Brand != "visa" {
		t.Errorf("a card is %+v", saved)
	}
	if again := tokenise("1", acquirer.Details{Number: good, Expiry: later}); again != saved {
		t.Errorf("the same call again gives %+v, want %+v", again, saved)
	}
	coded := tokenise("2", acquirer.Details{Token: saved.Token, SecurityCode: "123"})
	if coded.Mask != saved.Mask || coded.Token == saved.Token {
		t.Errorf("with a code the card is %+v", coded)
	}
	for i, token := range []string{saved.Token, coded.Token, acquirertest.TokenOf(good, later)} {
		if a, err := c.Authorise(t.Context(), fmt.Sprint("a", i), of(token, "")); err != nil || a.Status != acquirer.Approved {
			t.Errorf("token %d pays: %+v, %v", i, a, err)
		}
	}
	// Demos are loaded with it: it must be the same in every process of every version.
	if got, want := acquirertest.TokenOf(good, later), "sandbox_N4d3jY97Ou3oXYYo4HMO6CTiS7JmJxKL8zuZWwWtKL4MzuzbBsWBiLyfrifo9i7vlq2eRQ"; got != want {
		t.Errorf("TokenOf is %s, want %s", got, want)
	}
	if _, err := c.Tokenise(t.Context(), "1", acquirer.Details{Number: bad, Expiry: later}); err == nil || errors.Is(err, acquirer.ErrRefused) {
		t.Errorf("another card under the same id: %v, want an error that leaves it open", err)
	}
	for name, d := range map[string]acquirer.Details{
		"a digit is wrong": {Number: "4111111111111112", Expiry: later},
		"too short":        {Number: "42", Expiry: later},
		"no such month":    {Number: good, Expiry: "2030-13"},
		"a foreign token":  {Token: "sandbox_AAAA", SecurityCode: "123"},
	} {
		if _, err := c.Tokenise(t.Context(), strings.ReplaceAll(name, " ", "-"), d); !errors.Is(err, acquirer.ErrCardRefused) {
			t.Errorf("%s: %v, want %v", name, err, acquirer.ErrCardRefused)
		}
	}
}

func TestBrands(t *testing.T) {
	t.Parallel()
	c := client(t, acquirertest.Start(t, acquirertest.Config{}))
	for number, want := range map[string]string{
		"4111111111111111": "visa", "5555555555554444": "mastercard", "2223003122003222": "mastercard",
		"378282246310005": "amex", "6759649826438453": "maestro", "2200000000000004": "mir", "3566002020360505": "",
	} {
		if got, err := c.Tokenise(t.Context(), number[:6], acquirer.Details{Number: number, Expiry: later}); err != nil || got.Brand != want {
			t.Errorf("%s is of %q, %v, want %q", number, got.Brand, err, want)
		}
	}
}

// Calls of one id race: one of them is done, and all hear the same.
func TestOneIDIsDoneOnce(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{Folder: t.TempDir()})
	c := client(t, s)
	heard := together(16, func(int) string {
		a, err := c.Authorise(t.Context(), "a", pay(good, 100))
		return told(a, err) + a.Reference
	})
	if len(heard) != 1 || s.Captured(payment) != 100 || len(s.Operations(payment)) != 1 {
		t.Errorf("16 times one call: %v; %v", heard, listed(s.Operations(payment)))
	}
}

// Captures of different ids race: one of them takes the money.
func TestAHoldIsCapturedOnce(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	if got := told(authorise(authorised, hold(good, 100))(t.Context(), c)); got != "approved" {
		t.Fatal(got)
	}
	heard := together(16, func(i int) string { return told(capture(fmt.Sprint("c", i), 60)(t.Context(), c)) })
	want := map[string]int{"approved": 1, "declined already_captured": 15}
	if diff := cmp.Diff(want, heard); diff != "" || s.Captured(payment) != 60 {
		t.Errorf("%d were taken; what they heard (-want +got):\n%s", s.Captured(payment), diff)
	}
}

// together does something n times at once, and counts what came of it.
func together(n int, do func(int) string) map[string]int {
	heard := make(map[string]int)
	var mu sync.Mutex
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			got := do(i)
			mu.Lock()
			defer mu.Unlock()
			heard[got]++
		})
	}
	running.Wait()
	return heard
}

func TestWhoHasNotTheKey(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{Key: "secret"})
	c := client(t, s)
	if err := c.Ping(t.Context()); !errors.Is(err, acquirer.ErrRefused) {
		t.Errorf("ping: %v", err)
	}
	if got := told(authorise("a", pay(good, 100))(t.Context(), c)); got != "refused" || len(s.Operations("")) != 0 {
		t.Errorf("authorise: %s; %v", got, s.Operations(""))
	}
	known, err := acquirer.New(s.URL(), "secret", patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := known.Ping(t.Context()); err != nil {
		t.Errorf("ping with the key: %v", err)
	}
}

func TestWhatIsNoCall(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	for _, r := range []struct {
		call, body string
		want       int
	}{
		{"authorise", `{`, 400},
		{"authorise", `{"id":"a"} {}`, 400},
		{"authorise", `{"id":"a","colour":"red"}`, 400},
		{"authorise", strings.Repeat(" ", 65<<10) + `{"id":"a"}`, 400},
		{"authorise", `{"id":"a"}`, 422},
		{"authorise", `{"id":"a","payment":"p","amount":-1,"currency":980,"token":"t"}`, 422},
		{"authorise", `{"id":"a","payment":"p","amount":1,"currency":980,"token":"t","commission":1}`, 422},
		{"authorise", `{"id":"a","payment":"p","amount":1,"currency":980,"token":"t","notify_url":"file:///etc/passwd"}`, 422},
		{"authorise", `{"id":"a","payment":"p","amount":1,"currency":980,"token":"t","of":"b"}`, 422},
		{"capture", `{"id":"a","payment":"p","of":"b","amount":0,"currency":980}`, 422},
		{"tokenise", `{"id":"a","number":"1","token":"t"}`, 422},
		{"tokenise", `{"id":"a","number":"1","security_code":"12"}`, 422},
		{"confirm", `{"id":"a","payment":"p","of":"b","code":"1","amount":3}`, 422},
		{"inquire", `{"id":""}`, 422},
		{"inquire", `{"id":"a","of":"b"}`, 422},
		{"dance", `{"id":"a"}`, 404},
	} {
		if status, _ := post(t, s.URL()+"/"+r.call, r.body); status != r.want {
			t.Errorf("%s %.80s: %d, want %d", r.call, r.body, status, r.want)
		}
	}
	if len(s.Operations("")) != 0 {
		t.Errorf("something was done: %v", s.Operations(""))
	}
}

var browser = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

func post(t *testing.T, url, body string) (status int, answer string) {
	t.Helper()
	return ask(t, http.MethodPost, url, body)
}

func ask(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestOperationsAreShown(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	if _, got := ask(t, http.MethodGet, s.URL()+"/operations?payment=nobody", ""); got != "[]\n" {
		t.Errorf("of a payment that nobody made: %s", got)
	}
	c := client(t, s)
	told(authorise("a", pay(good, 100))(t.Context(), c))
	for i := range 1000 {
		if _, err := c.Void(t.Context(), fmt.Sprint(i), acquirer.Movement{Payment: "other", Of: fmt.Sprint("a", i), Amount: uah(1)}); err != nil {
			t.Fatal(err)
		}
	}
	_, got := ask(t, http.MethodGet, s.URL()+"/operations?payment="+payment, "")
	if want := `[{"payment":"payment","call":"authorise","key":"a","amount":100,"captured":true}]` + "\n"; got != want {
		t.Errorf("of a payment: %s, want %s", got, want)
	}
	var all []acquirertest.Operation
	_, got = ask(t, http.MethodGet, s.URL()+"/operations", "")
	if err := json.Unmarshal([]byte(got), &all); err != nil || len(all) != 1000 || all[0].Key != "0" || all[999].Key != "999" {
		t.Errorf("of all: %d, %v", len(all), err)
	}
}
