package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/api/apitest"
)

// A number that nobody has, and that only this test uses. Approved.
const (
	secretNumber  = "4539578763621486"
	spacedNumber  = "4539 5787 6362 1486"
	secretUnknown = "4539578763621487" // fails the check digit
)

// Whatever a card's number is sent to, with whatever mistake: it is in no answer, log, table,
// message, or file of a server.
func TestSystemACardNumberIsKeptNowhere(t *testing.T) {
	t.Parallel()
	s, servers := startOwn(t)
	o := s.shop()

	o.sendNumberToEveryCall()
	o.sendNumberToEveryAddress()
	paid := o.payOnThePage(secretNumber)
	o.becomes(paid, "FINISHED")
	s.awaitEnds(patience)

	s.terminate(s.api)
	s.terminate(s.worker)
	s.exec("CHECKPOINT")
	s.checkNoTableHas(secretNumber, spacedNumber, secretUnknown)
	s.checkNoFileHas(filepath.Dir(s.serverLogs[0]), secretNumber, spacedNumber, secretUnknown)
	if out, err := servers.RabbitMQ.Ctl(t.Context(), "list_queues", "name", "messages"); err != nil {
		t.Error(out, err)
	}
	for _, log := range append([]string{s.api.log, s.worker.log}, s.serverLogs...) {
		s.checkNoFileHas(log, secretNumber, spacedNumber, secretUnknown)
	}
}

// answeredWithout sends a request, and checks that the number does not come back.
func (s *system) answeredWithout(secret, method, path, body string, headers ...string) {
	s.t.Helper()
	a := s.must(method, path, body, headers...)
	if strings.Contains(a.body, secret) {
		s.t.Errorf("%s %s is answered with the card's number: %s", method, path, a)
	}
}

// sendNumberToEveryCall sends it where it belongs, and where it does not.
func (o *shop) sendNumberToEveryCall() {
	o.t.Helper()
	invoice := o.invoice(object{"reusability": true})
	card := object{"pan": secretNumber, "expiresAt": "2031-12", "securityCode": "913"}
	id, _ := o.data("cards/create", nil, card, "Idempotency-Key", "card")["id"].(string)
	o.data("cards/create", nil, card, "Idempotency-Key", "card") // the stored answer
	if payment, a := o.pay(invoice, id, nil); payment == "" {
		o.t.Fatalf("the card is not good: %s", a)
	}
	for _, wrong := range []object{
		{"pan": secretUnknown, "expiresAt": "2031-12"},
		{"pan": spacedNumber, "expiresAt": "2031-12"},
		{"pan": secretNumber, "expiresAt": "2001-12"},
		{"pan": secretNumber, "expiresAt": secretNumber},
		{"pan": []string{secretNumber}},
		{"pan": secretNumber + "x", "expiresAt": "2031-12"},
	} {
		o.sendNumber("cards/create", nil, wrong)
	}
	params := object{"pan": secretNumber, "sessionId": secretNumber, "clientId": secretNumber, "id": secretNumber, "paymentId": secretNumber, "invoiceId": secretNumber, "code": secretNumber}
	data := object{"pan": secretNumber, "invoiceId": secretNumber, "amount": secretNumber, "cardFrom": object{"id": secretNumber, "pan": secretNumber, "securityCode": secretNumber}}
	for _, call := range []string{
		"sessions/create", "cards/create", "invoicer/invoices/create", "invoicer/invoices/show", "invoicer/invoices/show/list",
		"invoicer/payments/create", "invoicer/payments/confirm", "invoicer/payments/checkStatus", "invoicer/payments/show", "invoicer/payments/complete",
		"invoicer/payments/cancel", "invoicer/payments/reverse", "invoicer/payments/showCommission", "invoicer/subscriptions/update", "acquiring/notifications",
	} {
		o.sendNumber(call, params, data)
		o.sendNumber(call, object{"pan": secretNumber}, data)
		o.answeredWithout(secretNumber, http.MethodPost, "/api/"+call, `{"params":`+secretNumber)
		o.answeredWithout(secretNumber, http.MethodPost, "/api/"+call, `{"params":{"sessionId":"`+o.session+`","sessionId":"`+secretNumber+`"}}`)
	}
	o.sendNumber("invoicer/payments/create", object{"device": object{"ip": "::1"}}, object{
		"invoiceId": invoice, "cardFrom": object{"id": id, "securityCode": "913", "pan": secretNumber}, "pan": secretNumber,
	})
}

func (o *shop) sendNumber(call string, params, data object) {
	o.t.Helper()
	a, err := o.ask(call, params, data)
	if err != nil {
		o.t.Fatal(err)
	}
	if strings.Contains(a.body, secretNumber) || strings.Contains(a.body, secretUnknown) || strings.Contains(a.body, spacedNumber) {
		o.t.Errorf("%s %v %v is answered with the card's number: %s", call, params, data, a)
	}
}

func (s *system) sendNumberToEveryAddress() {
	s.t.Helper()
	for _, path := range []string{
		"/i/%s", "/i/%s/payments/%s", "/i/%s/payments/%s/state", "/api/qr/invoicer/%s", "/api/acquiring/receipts/v2/%s.pdf", "/api/acquiring/receipts/v2/%s.html",
		"/operations/%s", "/mobile-api/account/info/%s", "/mobile-api/invoice/info/%s", "/v3/rechargeProviders/%s/payments/%s", "/%s", "/i/-/%s", "/mobile-api/accounts/list?card=%s",
	} {
		s.answeredWithout(secretNumber, http.MethodGet, strings.ReplaceAll(path, "%s", secretNumber), "")
		s.answeredWithout(secretNumber, http.MethodPost, strings.ReplaceAll(path, "%s", secretNumber), "number="+secretNumber, "Content-Type", "application/x-www-form-urlencoded")
	}
	for _, path := range []string{"/mobile-api/account/add", "/mobile-api/invoice/make", payPath, "/api/auth/token"} {
		s.answeredWithout(secretNumber, http.MethodPost, path, `{"pan":"`+secretNumber+`","number":"`+secretNumber+`","amount":"`+secretNumber+`"}`)
	}
}

var hidden = regexp.MustCompile(`<input type="hidden" name="(form|total|amount)" value="([^"]*)"`)

// payOnThePage pays a new invoice on its page, after every mistake that a payer can make, and
// returns the invoice.
func (o *shop) payOnThePage(number string) (invoice string) {
	o.t.Helper()
	invoice = o.invoice(nil)
	jar, err := cookiejar.New(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: apitest.Transport(o.t, &http.Transport{})}
	defer browser.CloseIdleConnections()
	page := "http://" + o.api.addresses[0] + "/i/" + invoice
	for _, wrong := range []map[string]string{
		{"number": secretUnknown}, {"expiry": "01/20"}, {"code": "x"}, {"expiry": number, "code": number}, {"form": "x"}, {},
	} {
		form := o.formOf(browser, page)
		for name, value := range map[string]string{"number": number, "expiry": "12/31", "code": "913"} {
			form.Set(name, value)
		}
		for name, value := range wrong {
			form.Set(name, value)
		}
		resp, err := browser.PostForm(page, form)
		if err != nil {
			o.t.Fatal(err)
		}
		text := new(bytes.Buffer)
		_, _ = text.ReadFrom(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode >= 500 || bytes.Contains(text.Bytes(), []byte(number)) || bytes.Contains(text.Bytes(), []byte(secretUnknown)) ||
			strings.Contains(resp.Request.URL.String(), number) {
			o.t.Errorf("the page answers %v with %d at %s: %s", wrong, resp.StatusCode, resp.Request.URL, text)
		}
	}
	return invoice
}

// formOf opens the page and returns what its form carries.
func (s *system) formOf(browser *http.Client, page string) url.Values {
	s.t.Helper()
	resp, err := browser.Get(page)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text := new(bytes.Buffer)
	if _, err := text.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	form := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(text.String(), -1) {
		form.Set(field[1], field[2])
	}
	if form.Get("form") == "" {
		s.t.Fatalf("%s has no form: %s", page, text)
	}
	return form
}

// spellings are how a table or a file might have it.
func spellings(secret string) []string {
	var all []string
	for offset := range 3 { // of what stands before it
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
		all = append(all, text[4:len(text)-4])
	}
	return append(all, secret, hex.EncodeToString([]byte(secret)))
}

func (s *system) checkNoTableHas(secrets ...string) {
	s.t.Helper()
	rows, err := s.books.Pool().Query(s.t.Context(), "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		s.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.t.Fatal(err)
	}
	if len(tables) < 20 {
		s.t.Fatalf("only %d tables are searched", len(tables))
	}
	for _, table := range tables {
		for _, secret := range secrets {
			for _, spelling := range spellings(secret) {
				sql := fmt.Sprintf("SELECT count(*) FROM %s t WHERE strpos(t::text, $1) > 0", pgx.Identifier{table}.Sanitize())
				if n := s.count(sql, spelling); n != 0 {
					s.t.Errorf("%d rows of %s have %s", n, table, spelling)
				}
			}
		}
	}
}

// checkNoFileHas searches a file, or all below a folder: what a server wrote, message stores and
// write-ahead logs too.
func (s *system) checkNoFileHas(path string, secrets ...string) {
	s.t.Helper()
	searched := 0
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // it is gone meanwhile, or a socket
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil
		}
		searched++
		for _, secret := range secrets {
			for _, spelling := range spellings(secret) {
				if at := bytes.Index(text, []byte(spelling)); at >= 0 {
					s.t.Errorf("%s has %s: %q", file, spelling, text[max(0, at-100):min(len(text), at+100)])
				}
			}
		}
		return nil
	})
	if err != nil || searched == 0 {
		s.t.Errorf("%s: %d files were searched, %v", path, searched, err)
	}
}
