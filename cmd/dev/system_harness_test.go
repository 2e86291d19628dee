package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// patience is how long a test waits for something that will happen. It is generous: it
// passes only when a test fails.
const patience = time.Minute

// eventually polls until ok, for what nobody announces.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, within)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The programs are built once, with the race detector or without.
var (
	buildPlain = sync.OnceValues(func() (string, error) { return buildPrograms("tested") })
	buildRaced = sync.OnceValues(func() (string, error) { return buildPrograms("tested-race", "-race") })
)

func buildPrograms(folder string, flags ...string) (string, error) {
	root, err := local.Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".local", folder)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", dir+"/", "./cmd/api", "./cmd/worker", "./cmd/quittance", "./cmd/sandbox")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return dir, nil
}

// system is the whole: an api and a worker, as processes, on a database and a broker.
type system struct {
	t        testing.TB
	database string // its address
	broker   string // its address
	api      *program
	worker   *program
	acquirer *acquirertest.Server
	books    *store.Store // for what has no API: opening balances, and looking
	client   *http.Client

	mu         sync.Mutex
	unexpected []string // answers that blame us
	secrets    []string // that clients were given
	serverLogs []string // where the servers are its own
	outages    bool     // the test breaks something: then they are expected
}

// startShared starts a system on the servers of the environment: a database and a virtual
// host of its own.
func startShared(t testing.TB, env ...string) *system {
	t.Helper()
	return start(t, raced, storetest.Create(t), queuetest.New(t), env...)
}

// startOwn starts a system on servers of its own, which the test may break. The programs
// are built without the race detector: here speed finds more than it does.
func startOwn(t testing.TB, env ...string) (*system, *local.Servers) {
	t.Helper()
	all := t.TempDir()
	dir := filepath.Join(all, "servers")
	servers, err := local.Start(t.Context(), local.Options{Dir: dir, Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(servers.Kill(), local.Remove(context.Background(), all)); err != nil { // also what is elsewhere
			t.Error(err)
		}
	})
	database := servers.Postgres.URL("quittance")
	if _, err := migrations.Up(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	s := start(t, false, database, servers.RabbitMQ.URL(), env...)
	s.outages = true
	s.serverLogs = []string{filepath.Join(dir, "postgresql.log"), filepath.Join(dir, "rabbitmq.log")}
	awaitQueuesKept(t, dir)
	return s, servers
}

// awaitQueuesKept waits until the broker has written down that the topology's last queue
// exists: one that is killed before forgets the log of it.
func awaitQueuesKept(t testing.TB, dir string) {
	t.Helper()
	eventually(t, patience, "the queues survive a kill", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "rabbitmq/mnesia/*/quorum/*/names.dets")) // the pattern is well-formed
		for _, file := range files {
			if register, err := os.ReadFile(file); err == nil && bytes.Contains(register, []byte("_retry.10m")) {
				return true
			}
		}
		return len(files) == 0 // in Docker
	})
}

// start starts api and worker and returns when both are ready. When the test ends they are
// asked to end, which they must do with exit code 0, and the books are checked.
func start(t testing.TB, race bool, database, broker string, env ...string) *system {
	t.Helper()
	built := buildPlain
	if race {
		built = buildRaced
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	addresses := freeAddresses(t, 3)
	acquirer := acquirertest.Start(t, acquirertest.Config{Folder: t.TempDir()})
	environ := append([]string{
		"QUITTANCE_ENV=test", // nothing is taken from a development that runs here
		"DATABASE_URL=" + database,
		"AMQP_URL=" + broker,
		"QUITTANCE_SECRET_KEY=" + base64.StdEncoding.EncodeToString(storetest.Secret[:]),
		"QUITTANCE_HTTP_ADDR=" + addresses[0],
		"QUITTANCE_API_MONITOR_ADDR=" + addresses[1],
		"QUITTANCE_WORKER_MONITOR_ADDR=" + addresses[2],
		"QUITTANCE_MOBILE_OPEN_LIST=true",
		"QUITTANCE_ACCOUNT_ADD_RATE=100000",
		"QUITTANCE_TOKEN_RATE=100000",
		"QUITTANCE_SESSION_RATE=100000",
		"QUITTANCE_PAGE_RATE=100000",
		"QUITTANCE_PUBLIC_URL=http://" + addresses[0],
		"QUITTANCE_ACQUIRER_URL=" + acquirer.URL(),
		"QUITTANCE_ACQUIRER_TIMEOUT=2s",
		"QUITTANCE_CALLBACK_ALLOW=127.0.0.0/8",
		"QUITTANCE_CALLBACK_HTTP=true",
		"QUITTANCE_MESSAGE_GRACE=2s",
	}, env...)
	logs := t.TempDir()
	s := &system{
		t: t, database: database, broker: broker, acquirer: acquirer,
		api: &program{
			name: "api", path: filepath.Join(bin, "api"), log: filepath.Join(logs, "api.log"), env: environ,
			health: "http://" + addresses[1] + "/readyz", addresses: addresses[:2],
		},
		worker: &program{
			name: "worker", path: filepath.Join(bin, "worker"), log: filepath.Join(logs, "worker.log"), env: environ,
			health: "http://" + addresses[2] + "/readyz", addresses: addresses[2:],
		},
		books:  storetest.Open(t, database),
		client: &http.Client{Timeout: 45 * time.Second, Transport: apitest.Transport(t, &http.Transport{MaxIdleConnsPerHost: 64})},
	}
	t.Cleanup(s.finish)
	s.run(s.api, s.worker)
	return s
}

// freeAddresses are ports below those of outgoing connections, one of which could hold the
// port of a program that is to be started again.
func freeAddresses(t testing.TB, n int) []string {
	t.Helper()
	var addresses []string
	for range 1000 {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000)))
		if err != nil {
			continue
		}
		defer l.Close() // all stay taken until each purpose has one
		if addresses = append(addresses, l.Addr().String()); len(addresses) == n {
			return addresses
		}
	}
	t.Fatal("no port is free on 127.0.0.1 between 10000 and 20000")
	return nil
}

// run starts programs and returns when they are ready.
func (s *system) run(programs ...*program) {
	s.t.Helper()
	for _, p := range programs {
		if err := p.Start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, p := range programs {
		if err := p.Ready(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// terminate asks a program to end, which it must do by itself and with exit code 0.
func (s *system) terminate(p *program) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		s.t.Error(err)
	}
	if err := p.process().Err(); err != nil {
		s.t.Errorf("%s, asked to end, ended with %v, want exit code 0: %s", p, err, lastLines(p.log))
	}
}

func (s *system) finish() {
	for _, p := range []*program{s.api, s.worker} {
		if proc := p.process(); proc != nil && runs(proc) {
			s.terminate(p)
		}
		log, _ := os.ReadFile(p.log) // none where it has not been started
		troubles := []string{"panic", "DATA RACE", `"level":"ERROR","msg":"worker stopped"`}
		if !s.outages {
			troubles = append(troubles, `"level":"ERROR"`)
		}
		for _, trouble := range troubles {
			if at := bytes.Index(log, []byte(trouble)); at >= 0 {
				s.t.Errorf("%s logged %q: %.3000s", p, trouble, log[at:])
			}
		}
		if s.t.Failed() {
			s.t.Logf("%s: %s", p, lastLines(p.log))
		}
	}
	s.client.CloseIdleConnections()
	s.checkNoSecrets()
	if len(s.unexpected) > 0 {
		s.t.Errorf("%d answers blame us, the first is %s", len(s.unexpected), s.unexpected[0])
	}
	storetest.CheckInvariants(s.t, s.database)
}

func runs(p *local.Process) bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// answer is what a request was answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// object is the decoded body; numbers stay as they are written.
func (a answer) object() map[string]any {
	o, _ := decode(a.body).(map[string]any)
	return o
}

// says tells whether the body is an envelope with this status.
func (a answer) says(status string) bool { return a.object()["status"] == status }

func (a answer) operation() string { return a.header.Get("Operation-Id") }

// decode returns nil for what is not JSON, which equals nothing that a test wants.
func decode(text string) (v any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return nil
	}
	return v
}

// call sends a request to the api. An error means that nothing was answered. headers are name
// and value in turn.
func (s *system) call(method, path, body string, headers ...string) (answer, error) {
	return s.callAt(method, "http://"+s.api.addresses[0]+path, body, headers...)
}

func (s *system) callAt(method, url, body string, headers ...string) (answer, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{resp.StatusCode, resp.Header, string(text)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, member := range []string{"access_token", "refresh_token", "sessionId", "secret"} {
		if secret, ok := a.object()[member].(string); ok {
			s.secrets = append(s.secrets, secret)
		}
	}
	if a.status >= 500 && !s.outages {
		s.unexpected = append(s.unexpected, method+" "+url+": "+a.String())
	}
	return a, nil
}

// must sends a request that is answered.
func (s *system) must(method, path, body string, headers ...string) answer {
	s.t.Helper()
	a, err := s.call(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *system) get(path string, headers ...string) answer {
	s.t.Helper()
	return s.must(http.MethodGet, path, "", headers...)
}

// accepted sends a request that must be answered 201, success.
func (s *system) accepted(method, path, body string, headers ...string) answer {
	s.t.Helper()
	a := s.must(method, path, body, headers...)
	if a.status != http.StatusCreated || !a.says("success") {
		s.t.Fatalf("%s %s %s: %s, want 201 and success", method, path, body, a)
	}
	return a
}

// insist sends a command of the mobile API until it succeeds.
func (s *system) insist(path, body string, headers ...string) (answer, error) {
	a, err := s.insistOn(http.StatusCreated, path, body, headers...)
	if err == nil && !a.says("success") {
		err = fmt.Errorf("POST %s %s: %s, want success", path, body, a)
	}
	return a, err
}

// insistOn sends a command until it is answered, and with this status. No answer, or one
// that blames the server, says nothing about what was done; under its key the command is
// done once.
func (s *system) insistOn(status int, path, body string, headers ...string) (answer, error) {
	headers = append(headers, "Idempotency-Key", uuid.NewString())
	deadline := time.Now().Add(2 * patience)
	for {
		a, err := s.call("POST", path, body, headers...)
		switch {
		case err == nil && a.status == status:
			return a, nil
		case err == nil && a.status < 500:
			return a, fmt.Errorf("POST %s %s: %s, want %d", path, body, a, status)
		case time.Now().After(deadline):
			return a, fmt.Errorf("POST %s: still %s, %w", path, a, err)
		}
		time.Sleep(50 * time.Millisecond) // a client's manners
	}
}

// monitor asks a program's monitor; "" where it does not answer.
func (s *system) monitor(p *program, path string) (status int, body string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: apitest.Transport(s.t, &http.Transport{DisableKeepAlives: true})}
	resp, err := client.Get("http://" + p.addresses[len(p.addresses)-1] + path)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(text)
}

// phone is an account with a session.
type phone struct {
	id              int64
	session, number string
}

// phone opens an account whose wallet holds minor units of 810; 0 for no wallet.
func (s *system) phone(minor int64) phone { return s.phoneAs(`{"type": 1}`, minor) }

// phoneAs opens the account of a phone that introduces itself.
func (s *system) phoneAs(body string, minor int64) phone {
	s.t.Helper()
	a := s.accepted("POST", "/mobile-api/account/add", body)
	p := phone{session: a.object()["sessionId"].(string)}
	info := s.accepted("GET", "/mobile-api/account/info/"+p.session, "")
	data := info.object()["data"].(map[string]any)
	p.number = data["account_number"].(string)
	p.id, _ = data["id"].(json.Number).Int64()
	if minor > 0 {
		s.fund(p, minor)
	}
	return p
}

func (s *system) fund(p phone, minor int64) {
	s.t.Helper()
	amount := money.Amount{Minor: minor, Currency: storetest.RUR}
	if _, err := s.books.OpenBalance(s.t.Context(), p.number, amount, uuid.New()); err != nil {
		s.t.Fatal(err)
	}
}

// balance is what a phone's wallet holds, as its owner sees it.
func (s *system) balance(p phone) string {
	s.t.Helper()
	data, _ := s.accepted("GET", "/mobile-api/account/info/"+p.session, "").object()["data"].(map[string]any)
	balances, _ := data["balances"].([]any)
	for _, b := range balances {
		if b, ok := b.(map[string]any); ok && fmt.Sprint(b["currencyCode"]) == "810" {
			return fmt.Sprint(b["amount"])
		}
	}
	return "0"
}

// bill is an invoice, and the request that pays it.
type bill struct{ number, payment string }

const payPath = "/mobile-api/invoice/pay"

// bill issues an invoice of minor units of 810.
func (s *system) bill(from, to phone, minor int64) bill {
	s.t.Helper()
	a := s.accepted("POST", "/mobile-api/invoice/make", makeBody(from, to, minor))
	return billOf(a, from, to, minor)
}

func makeBody(from, to phone, minor int64) string {
	return encoded(map[string]any{
		"amount": minor, "items": []any{}, "currencyCode": 810, "description": "a test's", "payer": from.number,
		"recipient": to.number, "sessionId": to.session, "nameCheque": "test", "datePayCheque": "2019-09-13T21:14:00",
	})
}

func billOf(made answer, from, to phone, minor int64) bill {
	number, _ := made.object()["number"].(string)
	return bill{number: number, payment: encoded(map[string]any{
		"amount": minor, "currencyCode": 810, "description": "a test's", "number": number,
		"recipient": to.number, "sessionId": from.session,
	})}
}

func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own literal
	}
	return string(text)
}

// invoice is an invoice's state and errorCode, as a payer sees them.
func (s *system) invoice(number string) string {
	s.t.Helper()
	data, _ := s.accepted("GET", "/mobile-api/invoice/info/"+number, "").object()["data"].(map[string]any)
	return fmt.Sprintf("state %v, errorCode %v", data["state"], data["errorCode"])
}

const (
	statePaid         = "state 5, errorCode 0"
	stateInProgress   = "state 3, errorCode 0"
	stateInsufficient = "state 2, errorCode 1"
)

// atOnce sends the same kind of request from n clients and returns what each was answered.
func (s *system) atOnce(n int, send func(i int) (answer, error)) []answer {
	s.t.Helper()
	answers, errs := make([]answer, n), make([]error, n)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { answers[i], errs[i] = send(i) })
	}
	clients.Wait()
	if err := cmp.Or(errs...); err != nil {
		s.t.Error(err)
	}
	return answers
}

// count returns the one number that a query answers.
func (s *system) count(sql string, args ...any) (n int) {
	s.t.Helper()
	if err := s.books.Pool().QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// exec runs SQL past the store: how a test makes the damage that it needs.
func (s *system) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.books.Pool().Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// holdSettling keeps whoever books a transfer waiting until release is called, for less than
// the ten seconds that a statement may take. What is only locked would be passed over.
func (s *system) holdSettling() (release func()) {
	s.t.Helper()
	s.exec(`CREATE TABLE held AS SELECT true AS yes`)
	s.exec(`CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			WHILE EXISTS (SELECT FROM held) LOOP PERFORM pg_sleep(0.01); END LOOP;
			RETURN NULL;
		END $$`)
	s.exec(`CREATE TRIGGER hold BEFORE INSERT ON transfers FOR EACH STATEMENT EXECUTE FUNCTION hold()`)
	release = sync.OnceFunc(func() {
		if _, err := s.books.Pool().Exec(context.Background(), `DELETE FROM held`); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(release)
	return release
}

// awaitEnds waits until nothing that was accepted is open.
func (s *system) awaitEnds(within time.Duration) {
	s.t.Helper()
	eventually(s.t, within, "all operations are final", func() bool {
		return s.count("SELECT count(*) FROM operations WHERE finished_at IS NULL") == 0
	})
}

// checkNothingUsedUp checks that each operation had one attempt, which decided it, and that
// the broker gave up on nothing.
func (s *system) checkNothingUsedUp() {
	s.t.Helper()
	for _, sql := range []string{
		"SELECT count(*) FROM operations WHERE attempts <> 1 OR finished_at IS NULL",
		"SELECT count(*) FROM attempts",
		"SELECT count(*) FROM dead_letters",
	} {
		if n := s.count(sql); n != 0 {
			s.t.Errorf("%s: %d, want 0", sql, n)
		}
	}
}

// ends returns how each operation ended, by its id.
func (s *system) ends() map[string]string {
	s.t.Helper()
	rows, err := s.books.Pool().Query(s.t.Context(), "SELECT id::text, status FROM operations")
	if err != nil {
		s.t.Fatal(err)
	}
	ends := make(map[string]string)
	var id, status string
	if _, err := pgx.ForEachRow(rows, []any{&id, &status}, func() error { ends[id] = status; return nil }); err != nil {
		s.t.Fatal(err)
	}
	return ends
}
