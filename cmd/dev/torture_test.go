package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

// seed is SEED, by which a run can be repeated as far as processes can be. Where it is set
// somebody asked for torture, and it is longer than among the other tests.
func seed(t testing.TB) (value uint64, asked bool) {
	t.Helper()
	text := os.Getenv("SEED")
	if text == "" {
		return 1, false
	}
	value, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	return value, true
}

// load is clients that top up their wallets and pay each other's invoices as fast as the
// pace allows, and insist on an answer.
type load struct {
	*office
	phones []phone
	pace   *rate.Limiter
	end    context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	accepted map[string]string // invoice → operation
	topUps   map[string]string // recharge → the operation that ends it
	credited int               // minor units that were accepted to be brought in
}

func (o *office) startLoad(random *rand.Rand, clients int, phones []phone) *load {
	ctx, end := context.WithCancel(o.t.Context())
	l := &load{
		office: o, phones: phones, pace: rate.NewLimiter(100, 10), end: end,
		accepted: make(map[string]string), topUps: make(map[string]string),
	}
	for range clients {
		mine := rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
		l.ended.Go(func() {
			for l.pace.Wait(ctx) == nil {
				one := l.payOne
				if mine.IntN(4) == 0 {
					one = l.topUpOne
				}
				if err := one(mine); err != nil {
					o.t.Error(err)
					return
				}
			}
		})
	}
	o.t.Cleanup(l.stop)
	return l
}

// stop returns when the clients have their last answers.
func (l *load) stop() {
	l.end()
	l.ended.Wait()
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

// payOne has one phone bill another, which pays: more than it has, now and then.
func (l *load) payOne(random *rand.Rand) error {
	pair := random.Perm(len(l.phones))
	from, to, minor := l.phones[pair[0]], l.phones[pair[1]], 1+random.Int64N(3000)
	made, err := l.insist("/mobile-api/invoice/make", makeBody(from, to, minor))
	if err != nil {
		return err
	}
	b := billOf(made, from, to, minor)
	a, err := l.insist(payPath, b.payment)
	if err != nil {
		return err
	}
	l.accept(b, a)
	return nil
}

// accept notes down what was answered to a bill's payment.
func (l *load) accept(b bill, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[b.number] = a.operation()
}

// topUpOne creates a recharge and commits it or, less often, rolls it back.
func (l *load) topUpOne(random *rand.Rand) error {
	to, minor := l.phones[random.IntN(len(l.phones))], 1+random.IntN(99)
	token := []string{"Authorization", "Bearer " + l.token}
	created, err := l.insistOn(http.StatusCreated, paymentsPath, fmt.Sprintf(`{"userId":%d,"params":{"amount":0.%02d}}`, to.id, minor), token...)
	if err != nil {
		return err
	}
	id, _ := created.object()["id"].(string)
	command, body := "/commit", ""
	if random.IntN(4) == 0 {
		command, body, minor = "/rollback", `{"reason":"torture"}`, 0
	}
	a, err := l.insistOn(http.StatusAccepted, paymentsPath+"/"+id+command, body, token...)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topUps[id] = a.operation()
	l.credited += minor
	return nil
}

// awaitProgress waits until so many more payments are accepted.
func (l *load) awaitProgress(n int) {
	l.t.Helper()
	before := l.answered()
	eventually(l.t, 2*patience, "more is accepted", func() bool { return l.t.Failed() || l.answered() >= before+n })
}

// awaitSettled waits until so many more payments are final.
func (l *load) awaitSettled(n int) {
	l.t.Helper()
	final := func() int { return l.count("SELECT count(*) FROM operations WHERE finished_at IS NOT NULL") }
	before := final()
	eventually(l.t, 2*patience, "more is settled", func() bool { return l.t.Failed() || final() >= before+n })
}

// kill is a death, and the next life.
type kill struct {
	victim string
	kill   func()
}

// kills are those of each process, and of all together. meanwhile passes while something is
// dead that clients can do without.
func (s *system) kills(servers *local.Servers, meanwhile func()) []kill {
	start := func(start func(context.Context) error) {
		s.t.Helper()
		if err := start(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	return []kill{
		{"api", func() {
			s.api.process().Kill()
			s.run(s.api)
		}},
		{"worker", func() {
			s.worker.process().Kill()
			meanwhile()
			s.run(s.worker)
		}},
		{"RabbitMQ", func() {
			servers.RabbitMQ.Kill()
			meanwhile()
			start(servers.RabbitMQ.Start)
		}},
		{"PostgreSQL", func() {
			servers.Postgres.Kill()
			start(servers.Postgres.Start)
			s.books.Pool().Reset() // ours is the one client that does not try again
		}},
		{"everything", func() {
			s.acquirer.Down()
			servers.Postgres.Kill()
			servers.RabbitMQ.Kill()
			s.api.process().Kill()
			s.worker.process().Kill()
			start(servers.Postgres.Start)
			s.books.Pool().Reset()
			start(servers.RabbitMQ.Start)
			s.acquirer.Up()
			s.run(s.worker, s.api)
		}},
	}
}

// Whatever is killed, in whatever order: each payment that was accepted ends, and once.
func TestTortureKillsLoseNothing(t *testing.T) {
	t.Parallel()
	value, asked := seed(t)
	rounds := 2
	if asked {
		rounds = 3
	}
	random := rand.New(rand.NewPCG(value, 0))
	s, servers := startOwn(t)
	o := s.backOffice()
	const each, people = 3000, 20
	phones := make([]phone, people)
	for i := range phones {
		phones[i] = s.phone(each)
	}
	l := o.startLoad(random, 6, phones)
	l.awaitSettled(20)

	kills := s.kills(servers, func() { l.awaitProgress(20) })
	for range rounds {
		for _, i := range random.Perm(len(kills)) {
			l.awaitProgress(1 + random.IntN(50))
			t.Logf("SEED=%d: %s is killed after %d payments", value, kills[i].victim, l.answered())
			kills[i].kill()
			l.awaitSettled(30)
		}
	}
	l.stop()
	l.check(each * people)

	t.Log("RabbitMQ is wiped while commands wait in it")
	s.terminate(s.worker)
	for range 50 {
		if err := l.payOne(random); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, patience, "the commands wait in the queue", func() bool {
		return s.count("SELECT count(*) FROM outbox") == 0 && queuetest.Depth(t, s.broker, queue.Payments) >= 50
	})
	if err := servers.RabbitMQ.Wipe(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.run(s.worker)
	l.check(each * people)
	if n := s.count("SELECT count(*) FROM (SELECT seq FROM operations WHERE type = 'invoice.pay' ORDER BY created_at DESC LIMIT 50) o WHERE o.seq = 1"); n != 0 {
		t.Errorf("%d of the 50 payments whose messages were deleted were not enqueued again", n)
	}
}

// check waits for the ends of all that was accepted and looks whether each is there, once,
// and all the money too.
func (l *load) check(total int) {
	l.t.Helper()
	l.awaitEnds(2 * patience)
	l.mu.Lock()
	defer l.mu.Unlock()
	ends, became := l.ends(), make(map[string]int)
	for number, operation := range l.accepted {
		became[ends[operation]]++
		if end := ends[operation]; end != "succeeded" && end != "failed" {
			l.t.Errorf("invoice %s, operation %s: %q, want succeeded or failed", number, operation, end)
		}
	}
	for id, operation := range l.topUps {
		if end := ends[operation]; end != "succeeded" {
			l.t.Errorf("recharge %s, operation %s: %q, want succeeded", id, operation, end)
		}
	}
	l.t.Logf("%d payments: %v; %d recharges", len(l.accepted), became, len(l.topUps))
	if became["succeeded"] == 0 || became["failed"] == 0 {
		l.t.Errorf("%v, want some to succeed and some to fail", became)
	}
	for what, want := range map[string]int{
		"FROM operations WHERE type <> 'payment.authorise'":                                                                   len(l.accepted) + len(l.topUps), // those are of the demo
		"FROM recharges WHERE state IN ('committed', 'rolled_back')":                                                          len(l.topUps),
		"FROM invoices i WHERE i.state = 5 AND i.number = ANY (SELECT t.reference FROM transfers t WHERE t.kind = 'payment')": became["succeeded"],
		"FROM transfers t WHERE t.kind = 'payment'":                                                                           became["succeeded"],
		"FROM invoices i WHERE i.state = 2 AND error_code = 1":                                                                became["failed"],
		"FROM outbox": 0,
	} {
		if n := l.count("SELECT count(*) " + what); n != want {
			l.t.Errorf("SELECT count(*) %s: %d, want %d", what, n, want)
		}
	}
	if n := l.count("SELECT sum(balance) FROM ledger_accounts WHERE kind = 'wallet' AND owner = ANY($1)", l.owners()); n != total+l.credited {
		l.t.Errorf("the wallets hold %d, want the %d that were brought in", n, total+l.credited)
	}
	l.checkNothingUsedUp()
}

// owners are the accounts of the phones: the demo has others.
func (l *load) owners() []int64 {
	var ids []int64
	for _, p := range l.phones {
		ids = append(ids, p.id)
	}
	return ids
}

// A broker that is short of memory takes nothing and refuses nothing: what was written to
// it may arrive after it was given up.
func TestTortureABlockedBrokerUsesUpNothing(t *testing.T) {
	t.Parallel()
	blocked := 15 * time.Second
	if _, asked := seed(t); asked {
		blocked = time.Minute
	}
	s, servers := startOwn(t)
	payer, recipient := s.phone(1_000_000), s.phone(0)
	s.accepted("POST", payPath, s.bill(payer, recipient, 1).payment, "Prefer", waitTen)

	watermark := func(fraction string) {
		t.Helper()
		if _, err := servers.RabbitMQ.Ctl(t.Context(), "set_vm_memory_high_watermark", fraction); err != nil {
			t.Fatal(err)
		}
	}
	watermark("0.0000001")
	payments := 1
	eventually(t, patience, "the worker misses rabbitmq", func() bool {
		s.accepted("POST", payPath, s.bill(payer, recipient, 1).payment)
		payments++
		status, body := s.monitor(s.worker, "/readyz")
		apiStatus, _ := s.monitor(s.api, "/readyz")
		return apiStatus == http.StatusOK && payments > 10 || status == http.StatusServiceUnavailable && strings.Contains(body, `"rabbitmq"`)
	})
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for until := time.Now().Add(blocked); time.Now().Before(until); <-pace.C {
		s.accepted("POST", payPath, s.bill(payer, recipient, 1).payment)
		payments++
	}
	if status, body := s.monitor(s.api, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz of the api at a blocked broker: %d %s, want 200: what it accepts waits in the outbox", status, body)
	}
	if n := s.count("SELECT count(*) FROM operations WHERE finished_at IS NULL"); n < payments/2 {
		t.Errorf("%d of %d payments are open at a blocked broker: it was not blocked", n, payments)
	}
	watermark("0.4")

	s.awaitEnds(2 * patience)
	if got, want := s.balance(recipient), strconv.Itoa(payments); got != want {
		t.Errorf("the recipient has %s, want %s", got, want)
	}
	s.checkNothingUsedUp()
	s.awaitReady(s.api, s.worker)
	_, metrics := s.monitor(s.worker, "/metrics")
	for _, outcome := range []string{"rejected", "requeued"} {
		if line := `quittance_consume_total{outcome="` + outcome + `",queue="payments"} 0`; !strings.Contains(metrics, line) {
			t.Errorf("the worker's metrics lack %s", line)
		}
	}
}
