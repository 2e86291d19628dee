package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

const (
	rechargesPath = "/v3/rechargeProviders"
	paymentsPath  = rechargesPath + "/external/payments"
	wrongState    = `{"code":409,"message":"Invalid operation: The operation cannot be performed in the current state.","data":[]}`
)

// office is a back office: somebody with a token.
type office struct {
	*system
	token string
}

// backOffice loads the demo and logs its client in.
func (s *system) backOffice() *office {
	s.t.Helper()
	if err := s.books.LoadDemo(s.t.Context(), acquirertest.TokenOf); err != nil {
		s.t.Fatal(err)
	}
	return &office{system: s, token: s.log(`{"grant_type":"client_credentials","scope":"credit","client_id":"demo","client_secret":"demo-secret"}`)}
}

// log logs in and returns the access token.
func (s *system) log(login string) string {
	s.t.Helper()
	a := s.must("POST", "/api/auth/token", login)
	token, ok := a.object()["access_token"].(string)
	if a.status != http.StatusOK || !ok {
		s.t.Fatalf("%s: %s, want a token", login, a)
	}
	return token
}

func (o *office) ask(method, path, body string, headers ...string) answer {
	o.t.Helper()
	return o.must(method, path, body, append(headers, "Authorization", "Bearer "+o.token)...)
}

// create creates a payment for a phone and returns its path.
func (o *office) create(p phone, amount string) string {
	o.t.Helper()
	a := o.ask("POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"params":{"amount":%s}}`, p.id, amount))
	if a.status != http.StatusCreated {
		o.t.Fatalf("create: %s", a)
	}
	return paymentsPath + "/" + a.object()["id"].(string)
}

func (o *office) state(path string) string {
	o.t.Helper()
	return fmt.Sprint(o.ask("GET", path, "").object()["state"])
}

const (
	version7 = `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`
)

// shape replaces values by the patterns that they match, and leaves the others.
func shape(v any, varies map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			if pattern, ok := varies[name]; ok && regexp.MustCompile(pattern).MatchString(fmt.Sprint(value)) {
				v[name] = pattern
				continue
			}
			v[name] = shape(value, varies)
		}
	case []any:
		for i := range v {
			v[i] = shape(v[i], varies)
		}
	}
	return v
}

// The endpoints of the original document in its order, with bodies of its form.
func TestSystemAnswersAsTheRechargeDocument(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	p := s.phone(0)
	varies := map[string]string{"id": version7, "created": isoTime, "updated": isoTime, "expires": isoTime, "paymentNo": number}
	check := func(what string, a answer, status int, want string) {
		t.Helper()
		if diff := cmp.Diff(shape(decode(want), nil), shape(decode(a.body), varies)); diff != "" || a.status != status {
			t.Errorf("%s: %s, want %d (-want +got):\n%s", what, a, status, diff)
		}
	}
	check("get current active recharge providers", o.must("GET", rechargesPath, "", "Authentication", "Bearer "+o.token), 200, `{
"providers": [
{"name": "External Payment Providers", "reference": "external", "description": "", "params": []},
{"name": "Voucher", "reference": "voucher", "description": "", "params": ["code"]}
],
"count": 2}`)
	created := o.ask("POST", paymentsPath, fmt.Sprintf(`{
"userId": %d,
"description": "string",
"params": {"amount": 12.50, "additionalProp1": "string"}
}`, p.id))
	check("create a payment", created, 201, fmt.Sprintf(`{
"id": %q,
"userId": %d,
"amount": 12.5,
"description": "string",
"params": {"amount": 12.5, "additionalProp1": "string"}}`, version7, p.id))
	path := paymentsPath + "/" + decode(created.body).(map[string]any)["id"].(string)

	if a := o.ask("PATCH", path, `{"description": "changed", "params": {"additionalProp2": "string", "additionalProp1": null}}`); a.status != 204 || a.body != "" {
		t.Errorf("update the payment: %s, want 204 and nothing", a)
	}
	listed := `{
"payments": [
{"id": %q, "userId": %d, "amount": 12.5, "currency": "RUR", "state": %q, "created": %q, "updated": %q, "expires": %q,
"paymentNo": %q, "provider": "external", "description": "changed"}
],
"count": 1}`
	list := func(state string) string {
		return fmt.Sprintf(listed, version7, p.id, state, isoTime, isoTime, isoTime, number)
	}
	check("get payments", o.ask("GET", fmt.Sprintf("%s?userId=%d", paymentsPath, p.id), ""), 200, list("created"))
	check("commit the payment", o.ask("POST", path+"/commit", "", "Prefer", waitTen), 200, `{"amount": 12.5}`)
	check("get payments", o.ask("GET", paymentsPath+"?state=committed", ""), 200, list("committed"))
	if got := s.balance(p); got != "1250" {
		t.Errorf("the wallet holds %s, want 1250", got)
	}
	for _, e := range []struct{ what, path, body string }{
		{"commit again", path + "/commit", "{}"},
		{"roll back what is committed", path + "/rollback", `{"reason": "string"}`},
	} {
		check(e.what, o.ask("POST", e.path, e.body, "Prefer", waitTen), 409, wrongState)
	}
	second := o.create(p, "3")
	accepted := o.ask("POST", second+"/rollback", `{"reason": "string"}`)
	check("roll back the payment", accepted, 202, `{}`)
	operation := s.get("/operations/"+accepted.operation(), "Prefer", waitTen).object()
	if operation["status"] != "succeeded" || operation["type"] != "recharge.rollback" || operation["resource"] != second {
		t.Errorf("its operation: %v", operation)
	}
	if got := o.state(second); got != "rolled_back" {
		t.Errorf("it is %s, want rolled_back", got)
	}
}

func TestSystemWhoMayRecharge(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	const login = `{"grant_type":"login_info","scope":"credit","client_id":"demo","client_secret":"demo-secret","login_info":%s}`
	clerk := &office{s, s.log(fmt.Sprintf(login, `{"type":2,"pin":"4321"}`))}
	manager := &office{s, s.log(fmt.Sprintf(login, `{"type":3,"user":"demo","pwd":"demo-password"}`))}
	unscoped := &office{s, s.log(`{"grant_type":"client_credentials","scope":"other","client_id":"demo","client_secret":"demo-secret"}`)}
	p := s.phone(0)
	for _, story := range []struct {
		who             *office
		list, providers int
	}{
		{o, 200, 200},
		{manager, 200, 200},
		{clerk, 403, 200},
		{unscoped, 403, 403},
		{&office{s, "nonsense"}, 401, 401},
	} {
		for path, want := range map[string]int{paymentsPath: story.list, rechargesPath: story.providers} {
			a := story.who.ask("GET", path, "")
			if a.status != want || want != 200 && fmt.Sprint(a.object()["code"]) != fmt.Sprint(want) {
				t.Errorf("GET %s: %s, want %d", path, a, want)
			}
		}
	}
	if a := s.get(paymentsPath); a.status != 401 || fmt.Sprint(a.object()["data"]) != "[]" {
		t.Errorf("without a token: %s", a)
	}
	var made struct{ Params map[string]json.RawMessage }
	a := manager.ask("POST", paymentsPath, fmt.Sprintf(`{"userId":"%d","amount":1,"params":"{}"}`, p.id))
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || made.Params["createdBy"] == nil {
		t.Errorf("a manager's payment: %s, want createdBy", a)
	}
	if a := s.must("POST", "/api/auth/revoke", fmt.Sprintf(`{"token":%q,"client_id":"demo","client_secret":"demo-secret"}`, manager.token)); a.status != 200 {
		t.Errorf("revoke: %s", a)
	}
	if a := manager.ask("GET", paymentsPath, ""); a.status != 401 {
		t.Errorf("with a revoked token: %s, want 401", a)
	}
}

func TestSystemCommitAndRollbackFromSixteenClientsEndInOneState(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	p := s.phone(0)
	credited := 0
	for range 10 {
		path := o.create(p, "0.07")
		answers := s.atOnce(16, func(i int) (answer, error) {
			if i%2 == 0 {
				return s.call("POST", path+"/commit", "", "Authorization", "Bearer "+o.token, "Prefer", waitTen)
			}
			return s.call("POST", path+"/rollback", `{"reason":"changed their mind"}`, "Authorization", "Bearer "+o.token, "Prefer", waitTen)
		})
		done := map[int]int{}
		for i, a := range answers {
			done[a.status]++
			if a.status == 200 && i%2 == 0 {
				credited += 7
			}
			if want := map[bool]string{true: "committed", false: "rolled_back"}[i%2 == 0]; a.status == 200 && o.state(path) != want {
				t.Errorf("it is %s, want %s", o.state(path), want)
			}
		}
		if done[200] != 1 || done[409] != 15 {
			t.Errorf("answers by status: %v, want one 200 and fifteen 409", done)
		}
	}
	if got := s.balance(p); got != fmt.Sprint(credited) {
		t.Errorf("the wallet holds %s, want %d", got, credited)
	}
}

func TestSystemARechargesKeyIsUsedOnce(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	p := s.phone(0)
	key := uuid.NewString()
	body := fmt.Sprintf(`{"userId":%d,"params":{"amount":2}}`, p.id)
	first := o.ask("POST", paymentsPath, body, "Idempotency-Key", key)
	for _, a := range s.atOnce(8, func(int) (answer, error) {
		return s.call("POST", paymentsPath, body, "Idempotency-Key", key, "Authorization", "Bearer "+o.token)
	}) {
		if a.body != first.body || a.status != 201 || a.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("create again: %s, want %s", a, first)
		}
	}
	if a := o.ask("POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"params":{"amount":3}}`, p.id), "Idempotency-Key", key); a.status != 422 {
		t.Errorf("another amount under the key: %s, want 422", a)
	}
	path := paymentsPath + "/" + first.object()["id"].(string)
	for _, command := range []struct{ path, body string }{{path + "/commit", ""}, {o.create(p, "1") + "/rollback", `{"reason":"r"}`}} {
		accepted := o.ask("POST", command.path, command.body, "Idempotency-Key", command.path)
		again := o.ask("POST", command.path, command.body, "Idempotency-Key", command.path, "Prefer", waitTen)
		if accepted.status != 202 || again.status != 202 || again.body != accepted.body || again.operation() != accepted.operation() {
			t.Errorf("%s: %s, and again %s", command.path, accepted, again)
		}
	}
	s.awaitEnds(patience)
	if got := s.balance(p); got != "200" {
		t.Errorf("the wallet holds %s, want 200", got)
	}
}

func TestSystemNonsenseToTheRechargeAPI(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	p := s.phone(0)
	path := o.create(p, "1")
	s.exec("UPDATE providers SET enabled = false WHERE reference = 'voucher'")
	unknown := paymentsPath + "/" + uuid.NewString()
	for _, story := range []struct {
		method, path, body string
		status             int
		contains           string
	}{
		{"POST", paymentsPath, `{"userId": 0, "description": "string", "params": "string"}`, 400, `"field":"params"`}, // the document's placeholders
		{"POST", paymentsPath, `{"userId":99999999,"amount":1}`, 400, `"field":"userId"`},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d}`, p.id), 400, `"field":"amount"`},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"amount":0.001}`, p.id), 400, "more than the 2 decimals"},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"amount":1e999999999}`, p.id), 400, `"field":"amount"`},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"amount":-1}`, p.id), 400, `"field":"amount"`},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"amount":1,"amount":2}`, p.id), 400, "twice"},
		{"POST", paymentsPath, fmt.Sprintf(`{"userId":%d,"amount":1,"params":{"amount":2}}`, p.id), 400, "must be the same"},
		{"POST", paymentsPath, `[]`, 400, `"field":"body"`},
		{"POST", rechargesPath + "/nobody/payments", fmt.Sprintf(`{"userId":%d,"amount":1}`, p.id), 404, "Payment provider not found."},
		{"POST", rechargesPath + "/voucher/payments", fmt.Sprintf(`{"userId":%d,"params":{"code":"x"}}`, p.id), 409, "Payment provider is disabled."},
		{"GET", rechargesPath + "/nobody/payments", "", 404, "Payment provider not found."},
		{"GET", paymentsPath + "?state=gone", "", 400, `"field":"state"`},
		{"GET", paymentsPath + "?limit=0", "", 400, `"field":"limit"`},
		{"PATCH", path, `{}`, 400, "description or params"},
		{"PATCH", path, `{"params":{"amount":2}}`, 400, "cannot be changed"},
		{"PATCH", unknown, `{"description":"x"}`, 404, "Payment not found."},
		{"POST", unknown + "/commit", "", 404, "Payment not found."},
		{"POST", path + "/commit", `{"amount":5}`, 400, `"field":"body"`},
		{"POST", path + "/rollback", `{}`, 400, `"field":"reason"`},
		{"DELETE", path, "", 405, `"code":405`},
		{"GET", "/v3/nothing", "", 404, `"code":404`},
	} {
		a := o.ask(story.method, story.path, story.body)
		if a.status != story.status || !bytes.Contains([]byte(a.body), []byte(story.contains)) || a.object()["data"] == nil {
			t.Errorf("%s %s %s: %s, want %d and %s", story.method, story.path, story.body, a, story.status, story.contains)
		}
	}
	if n := s.count("SELECT count(*) FROM recharges"); n != 1 {
		t.Errorf("%d recharges, want the one that was right", n)
	}
}

// A worker that is killed, and a broker that is wiped, with commits in the queue: each is
// credited, once.
func TestSystemCommitsSurviveTheWorkerAndTheBroker(t *testing.T) {
	t.Parallel()
	s, servers := startOwn(t)
	o := s.backOffice()
	p := s.phone(0)
	commit := func(n int) {
		t.Helper()
		for range n {
			if _, err := s.insistOn(http.StatusAccepted, o.create(p, "0.01")+"/commit", "", "Authorization", "Bearer "+o.token); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(50)
	s.worker.process().Kill() // somewhere among them
	<-s.worker.process().Done()
	commit(50)
	eventually(t, patience, "the commits wait in the queue", func() bool {
		return s.count("SELECT count(*) FROM outbox") == 0 && queuetest.Depth(t, s.broker, queue.Recharges) >= 50
	})
	if err := servers.RabbitMQ.Wipe(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.run(s.worker)
	s.awaitEnds(2 * patience)
	if got := s.balance(p); got != "100" {
		t.Errorf("the wallet holds %s, want 100", got)
	}
	s.checkNothingUsedUp()
}

// What expires is the schedule worker's to find, and late money an operator's to book.
func TestSystemARechargeExpires(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o := s.backOffice()
	p := s.phone(0)
	path := o.create(p, "5")
	if err := s.books.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the payment expires", func() bool { return o.state(path) == "expired" })
	if a := o.ask("POST", path+"/commit", ""); a.status != 409 || a.body != wrongState {
		t.Errorf("commit: %s, want 409", a)
	}
}

// checkNoSecrets checks that nothing that a client sent or was given as a credential is in
// a log: those of the programs, and of the servers where they are the test's own.
func (s *system) checkNoSecrets() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, file := range append([]string{s.api.log, s.worker.log}, s.serverLogs...) {
		log, _ := os.ReadFile(file) // none where it has not been started
		for _, secret := range s.secrets {
			if at := bytes.Index(log, []byte(secret)); at >= 0 {
				s.t.Errorf("%s has the secret %q: %.300s", file, secret, log[max(0, at-150):])
			}
		}
	}
}

// Whoever logs in leaves no secret in a refusal or a log, whether it goes well or not. The
// logs of every other test are searched as well, for what its clients were given.
func TestSystemNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	s, servers := startOwn(t)
	o := s.backOffice()
	const login = `{"grant_type":"login_info","scope":"credit","client_id":"demo","client_secret":%q,"login_info":%s}`
	secrets := []string{"wrong-secret-17", "wrong-password-17", "918273645", "demo-secret", "demo-password", "0T0P-5ECR-ETC0-DE17", o.token}
	for _, a := range []answer{
		s.must("POST", "/api/auth/token", fmt.Sprintf(login, "wrong-secret-17", `{"type":2,"pin":"1234"}`)),
		s.must("POST", "/api/auth/token", fmt.Sprintf(login, "demo-secret", `{"type":3,"user":"demo","pwd":"wrong-password-17"}`)),
		s.must("POST", "/api/auth/token", fmt.Sprintf(login, "demo-secret", `{"type":2,"pin":"918273645"}`)),
		s.must("POST", "/api/auth/token?client_secret=demo-secret", `{"grant_type":"demo-secret","client_secret":`),
		s.must("POST", "/api/auth/revoke", `{"token":"`+o.token+`","client_id":"demo","client_secret":"wrong-secret-17"}`),
		o.ask("POST", rechargesPath+"/voucher/payments", `{"userId":1,"params":{"code":"0T0P-5ECR-ETC0-DE17"}}`),
		o.ask("GET", rechargesPath+"/"+o.token+"/payments", ""),
	} {
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%s, want a refusal", a)
		}
		for _, secret := range secrets {
			if bytes.Contains([]byte(a.body), []byte(secret)) {
				t.Errorf("%s shows the secret %s", a, secret)
			}
		}
	}
	if err := servers.Postgres.Stop(t.Context()); err != nil { // an outage is logged with its error
		t.Fatal(err)
	}
	s.must("POST", "/api/auth/token", fmt.Sprintf(login, "demo-secret", `{"type":3,"user":"demo","pwd":"wrong-password-17"}`))
	o.ask("GET", paymentsPath, "")
	if err := servers.Postgres.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.books.Pool().Reset()
	s.awaitReady(s.api, s.worker)
	s.secrets = append(s.secrets, secrets...) // finish looks for them
}
