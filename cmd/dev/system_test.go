package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

const waitTen = "wait=10"

func TestSystemThirtyPaymentsOfOneInvoiceMoveTheMoneyOnce(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	bill := s.bill(payer, recipient, 100)

	operations := make(map[string]bool)
	for _, a := range s.atOnce(30, func(i int) (answer, error) {
		if i%2 == 0 {
			return s.call("POST", payPath, bill.payment, "Prefer", waitTen)
		}
		return s.call("POST", payPath, bill.payment)
	}) {
		switch {
		case a.status == http.StatusCreated && a.says("success"):
			operations[a.operation()] = true
		case a.status != http.StatusCreated || a.object()["description"] != "Invoice was paid earlier!":
			t.Errorf("one of 30 payments: %s, want 201 and success, or that it was paid earlier", a)
		}
	}
	s.awaitEnds(patience)
	if len(operations) != 1 {
		t.Errorf("30 payments of one invoice were accepted as %d operations, want 1", len(operations))
	}
	if n := s.count("SELECT count(*) FROM transfers WHERE kind = 'payment'"); n != 1 {
		t.Errorf("30 payments of one invoice made %d transfers, want 1", n)
	}
	if got := s.balance(payer) + " " + s.balance(recipient); got != "900 100" {
		t.Errorf("balances of payer and recipient: %s, want 900 100", got)
	}
	s.checkNothingUsedUp()
}

func TestSystemABalanceIsSpentOnce(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(350), s.phone(0)
	bills := make([]bill, 8)
	for i := range bills {
		bills[i] = s.bill(payer, recipient, 100)
	}

	var refused []bill
	for i, a := range s.atOnce(len(bills), func(i int) (answer, error) {
		return s.call("POST", payPath, bills[i].payment, "Prefer", waitTen)
	}) {
		if a.status == http.StatusCreated && a.says("success") {
			checkInvoice(t, s, bills[i], statePaid)
			continue
		}
		refused = append(refused, bills[i])
		if a.status != http.StatusAccepted {
			t.Errorf("payment beyond the balance: %s, want 202", a)
		}
		compare(t, a.body, `{"status": "error", "description": "The payer's balance does not cover the amount."}`, nil)
		checkInvoice(t, s, bills[i], stateInsufficient)
		compare(t, s.get("/operations/"+a.operation()).body, `{"id": "`+a.operation()+`", "type": "invoice.pay", "status": "failed", "attempts": 1,
"error": {"code": "insufficient_funds", "message": "The payer's balance does not cover the amount."},
"resource": "/mobile-api/invoice/info/`+bills[i].number+`", "createdAt": "", "finishedAt": ""}`,
			map[string]string{"createdAt": isoTime, "finishedAt": isoTime})
	}
	if len(refused) != 5 {
		t.Fatalf("of 8 payments of 100 from 350, %d were refused, want 5", len(refused))
	}

	s.fund(payer, 450)
	for _, b := range refused {
		s.accepted("POST", payPath, b.payment, "Prefer", waitTen)
		checkInvoice(t, s, b, statePaid)
	}
	if got := s.balance(payer) + " " + s.balance(recipient); got != "0 800" {
		t.Errorf("balances after all were paid: %s, want 0 800", got)
	}
	s.checkNothingUsedUp()
}

func checkInvoice(t *testing.T, s *system, b bill, want string) {
	t.Helper()
	if got := s.invoice(b.number); got != want {
		t.Errorf("invoice %s: %s, want %s", b.number, got, want)
	}
}

func TestSystemAKeyIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	bill := s.bill(payer, recipient, 100)
	makeInvoice, pushToken := makeBody(payer, recipient, 7), "/mobile-api/account/"+payer.session+"/push-token"

	for name, c := range map[string]struct{ path, body, other string }{
		"pay":        {payPath, bill.payment, strings.Replace(bill.payment, `"amount":100`, `"amount":101`, 1)},
		"make":       {"/mobile-api/invoice/make", makeInvoice, strings.Replace(makeInvoice, "test", "another", 1)},
		"add":        {"/mobile-api/account/add", `{"type": 1}`, `{"type": 2}`},
		"push token": {pushToken, `{"push_token": "a"}`, `{"push_token": "b"}`},
	} {
		t.Run(name, func(t *testing.T) {
			key := uuid.NewString()
			send := func(body string) (answer, error) {
				return s.call("POST", c.path, body, "Idempotency-Key", key, "Prefer", waitTen)
			}
			var replayed int
			first := map[string]bool{}
			for _, a := range s.atOnce(16, func(int) (answer, error) { return send(c.body) }) {
				if a.status != http.StatusCreated || !a.says("success") {
					t.Errorf("one of 16 with the same key: %s, want 201 and success", a)
				}
				if a.header.Get("Idempotent-Replayed") == "true" {
					replayed++
				}
				first[a.operation()+" "+a.header.Get("Location")+" "+a.body] = true
			}
			if replayed != 15 || len(first) != 1 {
				t.Errorf("16 with the same key: %d replays and %d different answers, want 15 and 1", replayed, len(first))
			}

			later := must(t, send, " "+c.body+"\n") // the same JSON, written otherwise
			if later.header.Get("Idempotent-Replayed") != "true" || !first[later.operation()+" "+later.header.Get("Location")+" "+later.body] {
				t.Errorf("the same request later: %s, want the first answer again", later)
			}
			other := must(t, send, c.other)
			if other.status != http.StatusUnprocessableEntity || !other.says("error") {
				t.Errorf("another body under the same key: %s, want 422 and an error", other)
			}
		})
	}
	s.awaitEnds(patience)
	for what, want := range map[string]int{"operations WHERE type <> 'push.send'": 1, "invoices": 2, "accounts": 3} { // the payer's phone is told of an invoice, if it has its token by then
		if n := s.count("SELECT count(*) FROM " + what); n != want {
			t.Errorf("%d %s, want %d", n, what, want)
		}
	}
	s.checkNothingUsedUp()
}

func must(t *testing.T, send func(string) (answer, error), body string) answer {
	t.Helper()
	a, err := send(body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSystemAKeyBelongsToItsCaller(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(1000)
	for _, b := range []bill{s.bill(payer, recipient, 100), s.bill(recipient, payer, 200)} {
		a := s.accepted("POST", payPath, b.payment, "Idempotency-Key", "1", "Prefer", waitTen)
		if a.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("another caller's key 1 is answered with the first one's: %s", a)
		}
		checkInvoice(t, s, b, statePaid)
	}
	if got := s.balance(payer) + " " + s.balance(recipient); got != "1100 900" {
		t.Errorf("balances: %s, want 1100 900", got)
	}
}

// A key keeps what was answered at acceptance, whatever became of the command.
func TestSystemAReplayIsTheAcceptance(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	bill := s.bill(s.phone(0), s.phone(0), 100)
	refused := s.must("POST", payPath, bill.payment, "Idempotency-Key", "k", "Prefer", waitTen)
	if refused.status != http.StatusAccepted {
		t.Fatalf("payment from an empty wallet: %s, want 202", refused)
	}
	for range 2 {
		again := s.accepted("POST", payPath, bill.payment, "Idempotency-Key", "k", "Prefer", waitTen)
		if again.header.Get("Idempotent-Replayed") != "true" || again.operation() != refused.operation() {
			t.Errorf("the same again: operation %s, replayed %q; want %s and true", again.operation(), again.header.Get("Idempotent-Replayed"), refused.operation())
		}
	}
}

const isoTime = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`

func TestSystemOperations(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	bill := s.bill(payer, recipient, 100)
	shown := func(id, status, attempts, finished string) string {
		return `{"id": "` + id + `", "type": "invoice.pay", "status": "` + status + `", "attempts": ` + attempts + `, "error": null,
"resource": "/mobile-api/invoice/info/` + bill.number + `", "createdAt": "", "finishedAt": ` + finished + `}`
	}

	release := s.holdSettling()
	a := s.accepted("POST", payPath, bill.payment)
	id := a.operation()
	if got, want := a.header.Get("Location"), "/operations/"+id; got != want || uuid.Validate(id) != nil {
		t.Fatalf("accepted: Operation-Id %q, Location %q; want a UUID, and its address", id, got)
	}
	checkInvoice(t, s, bill, stateInProgress)

	t.Run("one that is open says so, when asked and when the wait is over", func(t *testing.T) {
		compare(t, s.get("/operations/"+id).body, shown(id, "accepted", "0", "null"), map[string]string{"createdAt": isoTime})
		began := time.Now()
		compare(t, s.get("/operations/"+id, "Prefer", "wait=1").body, shown(id, "accepted", "0", "null"), map[string]string{"createdAt": isoTime})
		if took := time.Since(began); took < time.Second || took > 5*time.Second {
			t.Errorf("Prefer: wait=1 on an open operation took %s, want about a second", took)
		}
	})
	t.Run("all who wait are told when it ends", func(t *testing.T) {
		waiting := make(chan []answer, 1)
		go func() {
			waiting <- s.atOnce(12, func(i int) (answer, error) {
				if i%3 == 0 {
					return s.call("POST", payPath, bill.payment, "Prefer", `respond-async, wait="10"`, "Idempotency-Key", strconv.Itoa(i))
				}
				return s.call("GET", "/operations/"+id, "", "Prefer", waitTen)
			})
		}()
		eventually(t, patience, "whoever paid again is accepted", func() bool {
			return s.count("SELECT count(*) FROM idempotency_keys") == 4
		})
		select {
		case early := <-waiting:
			t.Fatalf("answered before the operation was final: %v", early)
		default:
		}
		release()
		for i, a := range <-waiting {
			if i%3 == 0 {
				if a.status != http.StatusCreated || a.operation() != id {
					t.Errorf("the payer who asked again and waited: %s of operation %s, want 201 of %s", a, a.operation(), id)
				}
				continue
			}
			compare(t, a.body, shown(id, "succeeded", "1", `""`), map[string]string{"createdAt": isoTime, "finishedAt": isoTime})
		}
	})
	t.Run("one that is final is answered at once", func(t *testing.T) {
		began := time.Now()
		a := s.get("/operations/"+id, "Prefer", "wait=30")
		if took := time.Since(began); a.status != http.StatusOK || took > 5*time.Second {
			t.Errorf("Prefer: wait=30 on a final operation: %s after %s, want 200 at once", a, took)
		}
	})
	t.Run("an id that nobody has is not found", func(t *testing.T) {
		for _, unknown := range []string{uuid.NewString(), "1", strings.ToUpper(id) + "0", "%00"} {
			a := s.get("/operations/" + unknown)
			if a.status != http.StatusNotFound {
				t.Errorf("GET /operations/%s: %s, want 404", unknown, a)
			}
			compare(t, a.body, `{"error": {"code": "not_found", "message": "There is no operation with this id."}}`, nil)
		}
	})
	s.checkNothingUsedUp()
}

// Terminated while it holds more than it can settle at once, a worker settles what it was
// handed and gives nothing back: that would use up one of a message's deliveries.
func TestSystemAWorkerThatIsAskedToEndGivesNothingBack(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(100_000), s.phone(0)
	bills := make([]bill, 200)
	for i := range bills {
		bills[i] = s.bill(payer, recipient, 1)
	}
	release := s.holdSettling()
	for _, b := range bills[:150] {
		s.accepted("POST", payPath, b.payment)
	}
	queuetest.AwaitDepth(t, s.broker, queue.Payments, 0) // all are with the worker, or on their way
	eventually(t, patience, "all are published", func() bool { return s.count("SELECT count(*) FROM outbox") == 0 })

	var ending sync.WaitGroup
	ending.Go(func() { s.terminate(s.worker) })
	sent := 150
	published := func() bool { return s.count("SELECT count(*) FROM outbox") == 0 }
	eventually(t, patience, "the worker takes no more", func() bool {
		s.accepted("POST", payPath, bills[sent].payment)
		sent++
		eventually(t, patience, "it is published", published) // one at a time: so one at most crosses the cancellation
		return queuetest.Depth(t, s.broker, queue.Payments) >= 5
	})
	release()
	ending.Wait()

	eventually(t, patience, "all are published", func() bool { return s.count("SELECT count(*) FROM outbox") == 0 })
	settled, left := s.count("SELECT count(*) FROM operations WHERE status = 'succeeded'"), queuetest.Depth(t, s.broker, queue.Payments)
	if settled < 150 || settled+left != sent {
		t.Errorf("of %d payments the worker settled %d and left %d, want the 150 that it held settled, and none lost", sent, settled, left)
	}
	for i, d := range queuetest.GetMany(t, s.broker, queue.Payments, left) {
		if i == 0 && d.Headers["x-delivery-count"] == int64(1) {
			continue // the broker sent it at the moment of the cancellation, took it back, and counted it
		}
		if d.Redelivered || d.Headers["x-delivery-count"] != nil {
			t.Errorf("message %s was delivered before: redelivered %v, headers %v", d.MessageId, d.Redelivered, d.Headers)
		}
	}
	// Taking them has lost them. They are found.
	s.run(s.worker)
	s.awaitEnds(patience)
	s.checkNothingUsedUp()
	if got, want := s.balance(recipient), strconv.Itoa(sent); got != want {
		t.Errorf("the recipient has %s, want %s", got, want)
	}
}

func TestSystemBothAreAskedToEndUnderLoad(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1_000_000), s.phone(0)

	var mu sync.Mutex
	var accepted []string // operations
	answered := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted)
	}
	pay := func() error {
		made, err := s.call("POST", "/mobile-api/invoice/make", makeBody(payer, recipient, 10))
		if err != nil {
			return err
		}
		a, err := s.call("POST", payPath, billOf(made, payer, recipient, 10).payment)
		if err != nil {
			return err
		}
		if a.status != http.StatusCreated || !a.says("success") {
			t.Errorf("under load: %s, want 201 and success", a)
		}
		mu.Lock()
		defer mu.Unlock()
		accepted = append(accepted, a.operation())
		return nil
	}
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for pay() == nil { // until the api has ended
			}
		})
	}
	for _, p := range []*program{s.worker, s.api} {
		before := answered()
		eventually(t, patience, "some are accepted", func() bool { return answered() > before+50 })
		s.terminate(p)
	}
	load.Wait()

	s.run(s.api, s.worker)
	s.awaitEnds(patience)
	ends := s.ends()
	for _, id := range accepted {
		if ends[id] != "succeeded" {
			t.Errorf("operation %s, answered 201: %q, want succeeded", id, ends[id])
		}
	}
	if len(ends) != len(accepted) {
		t.Errorf("%d operations for %d answers: a request under way was not answered", len(ends), len(accepted))
	}
	if got, want := s.balance(recipient), strconv.Itoa(10*len(ends)); got != want {
		t.Errorf("the recipient has %s, want %s for %d payments", got, want, len(ends))
	}
	s.checkNothingUsedUp()
}

// An outbox row that the broker will never take waits with its error; the others pass it.
func TestSystemABadOutboxRowHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	s.exec(`INSERT INTO outbox (queue, message_id, seq, type) VALUES ('nowhere', gen_random_uuid(), 1, 'invoice.pay')`)
	for range 20 {
		s.accepted("POST", payPath, s.bill(payer, recipient, 1).payment, "Prefer", waitTen)
	}
	s.awaitEnds(patience)
	eventually(t, patience, "the bad row was tried more than once", func() bool {
		return s.count("SELECT coalesce(sum(postponed), 0) FROM outbox") > 1
	})
	type row struct{ Queue, Error string }
	var left row
	if err := s.books.Pool().QueryRow(t.Context(), "SELECT queue, error FROM outbox").Scan(&left.Queue, &left.Error); err != nil {
		t.Fatal(err)
	}
	if left.Queue != "nowhere" || left.Error == "" {
		t.Errorf("what is left in the outbox: %+v, want the row for nowhere with its error", left)
	}
	s.checkNothingUsedUp()
}

func TestSystemListsArePaged(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	payer, recipient := s.phone(1000), s.phone(0)
	var want []string
	for range 5 {
		b := s.bill(payer, recipient, 1)
		s.accepted("POST", payPath, b.payment, "Prefer", waitTen)
		want = append([]string{b.number}, want...)
	}
	for list, cursor := range map[string]string{"invoices/list": "number", "transfers": "id"} {
		var got []string
		for before := ""; ; {
			a := s.accepted("GET", "/mobile-api/account/"+recipient.session+"/"+list+"?limit=2"+before, "")
			page, ok := a.object()["data"].([]any)
			if !ok {
				t.Fatalf("%s: %s, want a list", list, a)
			}
			if len(page) == 0 {
				break
			}
			for _, v := range page {
				got = append(got, fmt.Sprint(v.(map[string]any)["number"]))
				before = "&before=" + fmt.Sprint(v.(map[string]any)[cursor])
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, two by two (-want +got):\n%s", list, diff)
		}
	}
}
