package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

const unavailable = `{"status":"error","description":"Service temporarily unavailable!"}`

// Neither program is started again here: what comes back is used again.
func TestSystemOutages(t *testing.T) {
	t.Parallel()
	s, servers := startOwn(t)
	payer, recipient := s.phone(100_000), s.phone(0)
	bills := make([]bill, 40)
	for i := range bills {
		bills[i] = s.bill(payer, recipient, 10)
	}
	s.accepted("POST", payPath, bills[0].payment, "Prefer", waitTen)

	t.Run("without PostgreSQL everything is refused for now", func(t *testing.T) {
		s.t = t
		if err := servers.Postgres.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for path, body := range map[string]string{
			payPath:                    bills[1].payment,
			"/mobile-api/account/add":  `{"type": 1}`,
			"/mobile-api/invoice/make": makeBody(payer, recipient, 1),
			"/mobile-api/account/" + payer.session + "/push-token": `{"push_token": "a"}`,
		} {
			checkUnavailable(t, path, s.must("POST", path, body, "Idempotency-Key", "k"))
		}
		for _, path := range []string{
			"/mobile-api/accounts/list", "/mobile-api/account/info/" + payer.session, "/mobile-api/invoice/info/" + bills[1].number,
			"/mobile-api/account/" + payer.session + "/transfers", "/mobile-api/account/" + payer.session + "/invoices/list",
		} {
			checkUnavailable(t, path, s.get(path))
		}
		a := s.get("/operations/01a1fcf0-6c46-7281-826a-bc829a8be8bd")
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("an operation without PostgreSQL: %s, Retry-After %q; want 503 and when to come back", a, a.header.Get("Retry-After"))
		}
		for _, p := range []*program{s.api, s.worker} {
			if status, body := s.monitor(p, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"postgresql"`) {
				t.Errorf("/readyz of the %s without PostgreSQL: %d %s, want 503 and postgresql", p, status, body)
			}
			if status, _ := s.monitor(p, "/healthz"); status != http.StatusOK {
				t.Errorf("/healthz of the %s without PostgreSQL: %d, want 200", p, status)
			}
		}
	})
	t.Run("with PostgreSQL back everything goes on", func(t *testing.T) {
		s.t = t
		if err := servers.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.books.Pool().Reset()
		s.awaitReady(s.api, s.worker)
		for _, b := range bills[1:10] {
			if _, err := s.insist(payPath, b.payment, "Prefer", "wait=30"); err != nil {
				t.Fatal(err)
			}
			s.awaitEnds(patience) // a wait ends with its answer, which may have been lost
			checkInvoice(t, s, b, statePaid)
		}
	})
	t.Run("without RabbitMQ payments are accepted", func(t *testing.T) {
		s.t = t
		if err := servers.RabbitMQ.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "the worker misses rabbitmq", func() bool {
			status, body := s.monitor(s.worker, "/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(body, `"rabbitmq"`) && !strings.Contains(body, `"postgresql"`)
		})
		for _, b := range bills[10:] {
			s.accepted("POST", payPath, b.payment)
			checkInvoice(t, s, b, stateInProgress)
		}
		if status, body := s.monitor(s.api, "/readyz"); status != http.StatusOK {
			t.Errorf("/readyz of the api without RabbitMQ: %d %s, want 200", status, body)
		}
		began := time.Now()
		a := s.get("/operations/"+s.accepted("POST", payPath, bills[10].payment).operation(), "Prefer", "wait=1")
		if a.object()["status"] != "accepted" || time.Since(began) < time.Second {
			t.Errorf("an operation without RabbitMQ: %s after %s, want it accepted after a second", a, time.Since(began))
		}
	})
	t.Run("with RabbitMQ back they are settled", func(t *testing.T) {
		s.t = t
		if err := servers.RabbitMQ.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.awaitEnds(patience)
		for _, b := range bills {
			checkInvoice(t, s, b, statePaid)
		}
		if got := s.balance(recipient); got != "400" {
			t.Errorf("the recipient has %s, want 400", got)
		}
		s.awaitReady(s.api, s.worker)
	})
	t.Run("both end and start without PostgreSQL", func(t *testing.T) {
		s.t = t
		if err := servers.Postgres.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.restartUnready(s.api, s.worker)
		if err := servers.Postgres.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.books.Pool().Reset()
		s.awaitReady(s.api, s.worker)
	})
	t.Run("both end and start without RabbitMQ, with commands waiting", func(t *testing.T) {
		s.t = t
		if err := servers.RabbitMQ.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		late := s.bill(payer, recipient, 10)
		s.accepted("POST", payPath, late.payment)
		s.terminate(s.api)
		s.run(s.api)
		s.restartUnready(s.worker)
		if err := servers.RabbitMQ.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.awaitEnds(patience)
		checkInvoice(t, s, late, statePaid)
		s.awaitReady(s.api, s.worker)
	})
	s.t = t
	s.checkNothingUsedUp()
}

// restartUnready ends programs and starts them again where something is missing: they run,
// and say what.
func (s *system) restartUnready(programs ...*program) {
	s.t.Helper()
	for _, p := range programs {
		s.terminate(p)
		if err := p.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		eventually(s.t, patience, p.String()+" runs and is not ready", func() bool {
			status, _ := s.monitor(p, "/readyz")
			return status == http.StatusServiceUnavailable
		})
	}
}

func checkUnavailable(t *testing.T, what string, a answer) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || a.body != unavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("%s: %s, Retry-After %q; want 503 %s and when to come back", what, a, a.header.Get("Retry-After"), unavailable)
	}
}

// awaitReady waits until running programs say that they can do their work.
func (s *system) awaitReady(programs ...*program) {
	s.t.Helper()
	for _, p := range programs {
		eventually(s.t, patience, p.String()+" is ready", func() bool {
			status, _ := s.monitor(p, "/readyz")
			return status == http.StatusOK
		})
	}
}
