package main

import (
	"context"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is a worker process, as far as its servers can tell: its own database, by way
// of a proxy that can cut, its own virtual host of the broker and its own acquirer.
type process struct {
	*storetest.DB
	broker string
	faults *storetest.Faults
	bank   *acquirertest.Server

	environ map[string]string // besides what every process needs
}

// prepare makes the servers of a process that does not run yet.
func prepare(t *testing.T) *process {
	t.Helper()
	p := &process{DB: storetest.New(t), broker: queuetest.New(t), bank: acquirertest.Start(t, acquirertest.Config{}), environ: make(map[string]string)}
	p.faults = storetest.NewFaults(t, p.URL)
	return p
}

// start makes a process that runs until its test ends.
func start(t *testing.T) *process {
	t.Helper()
	p := prepare(t)
	t.Cleanup(p.begin(t).stop)
	return p
}

// begin runs the process.
func (p *process) begin(t *testing.T) *life {
	t.Helper()
	return p.beginWith(t, func(ctx context.Context, environ map[string]string) error { return run(ctx, nil, environ) })
}

func (p *process) beginWith(t *testing.T, run func(context.Context, map[string]string) error) *life {
	t.Helper()
	environ := map[string]string{
		"DATABASE_URL":                  p.faults.URL,
		"AMQP_URL":                      p.broker,
		"QUITTANCE_SECRET_KEY":          base64.StdEncoding.EncodeToString(storetest.Secret[:]),
		"QUITTANCE_WORKER_MONITOR_ADDR": "127.0.0.1:0",
		"QUITTANCE_MESSAGE_GRACE":       "2s",
		"QUITTANCE_ACQUIRER_URL":        p.bank.URL(),
		"QUITTANCE_ACQUIRER_TIMEOUT":    "2s",
	}
	maps.Copy(environ, p.environ)
	ctx, end := context.WithCancel(context.Background())
	l := &life{t: t, end: end, ended: make(chan error, 1)}
	go func() { l.ended <- run(ctx, environ) }()
	return l
}

// life is one run of a process, which ends when it is told to.
type life struct {
	t     *testing.T
	end   func() // tells it to
	ended chan error
}

// stop tells it to end and waits until it has drained.
func (l *life) stop() {
	l.end()
	if err := <-l.ended; err != nil {
		l.t.Errorf("the worker ended: %v", err)
	}
}

const succeeded = "SELECT count(*) FROM operations WHERE status = 'succeeded'"

func TestWhatIsAcceptedIsSettled(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop := p.Account(1000), p.Account(0)
	for range 50 {
		p.Accepted(payer, shop, 7)
	}
	p.Eventually("payments settled", 50, succeeded)
	if got := p.Balance(shop); got != 350 {
		t.Errorf("the shop has %d, want 350", got)
	}
	p.CheckInvariants()
}

func TestRechargesAreSettledAndExpire(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Provider("external", nil)
	owner := p.Account(0)
	for range 20 {
		p.Commanded(store.RechargeCommit, p.Recharge(owner, "0.07"))
		p.Commanded(store.RechargeRollback, p.Recharge(owner, "0.07"))
	}
	left := p.Recharge(owner, "1")
	p.Eventually("recharges committed", 20, "SELECT count(*) FROM recharges WHERE state = 'committed'")
	p.Eventually("recharges rolled back", 20, "SELECT count(*) FROM recharges WHERE state = 'rolled_back'")
	if err := p.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	p.Eventually("the expired recharge", 1, "SELECT count(*) FROM recharges WHERE state = 'expired' AND id = $1", left)
	if got := p.Balance(owner); got != 140 {
		t.Errorf("the owner has %d, want 140", got)
	}
	p.CheckInvariants()
}

func TestAnOutageOfTheDatabaseUsesUpNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop := p.Account(1000), p.Account(0)
	p.Accepted(payer, shop, 1)
	p.Eventually("the first payment", 1, succeeded)

	p.faults.Down()
	ref := p.Accepted(payer, shop, 1) // by another process
	p.Exec("DELETE FROM outbox")
	body := []byte(`{"id":"` + ref.ID.String() + `","seq":1}`)
	queuetest.Publish(t, p.broker, "commands", queue.Payments, queuetest.Publishing{Body: body})
	queuetest.AwaitDepth(t, p.broker, queue.Payments, 0) // the worker holds it, and cannot settle it
	p.faults.Up()

	p.Eventually("both payments", 2, succeeded)
	// Not seq: where all is slow, a payment that is late is enqueued again, which uses up nothing.
	if n := p.Count("SELECT count(*) FROM operations o WHERE o.attempts <> 1 OR EXISTS (SELECT FROM attempts a WHERE a.operation_id = o.id)"); n != 0 {
		t.Errorf("%d operations had attempts used up by the outage", n)
	}
	if n := p.Count("SELECT count(*) FROM dead_letters"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	p.CheckInvariants()
}

func TestTheOneBadRowOfABatchIsDead(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop := p.Account(1000), p.Account(0)
	p.Exec("ALTER TABLE invoices ADD CONSTRAINT no_thirteen CHECK (amount <> 13 OR state <> 5)")
	bad := p.Accepted(payer, shop, 13)
	for range 20 {
		p.Accepted(payer, shop, 1)
	}
	p.Eventually("the other payments", 20, succeeded)
	p.Eventually("the dead letter", 1, "SELECT count(*) FROM dead_letters WHERE message_id = $1 AND reason = 'rejected' AND error LIKE '%no_thirteen%' AND jsonb_array_length(attempts) = 1", bad.ID.String())
	p.Eventually("the dead operation", 1, "SELECT count(*) FROM operations WHERE id = $1 AND status = 'dead'", bad.ID)
	p.CheckInvariants()
}

func TestAFaultOfOneMessageIsRetried(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop := p.Account(1000), p.Account(0)
	p.Exec(`CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'tripped'; END $$`)
	p.Exec(`CREATE TRIGGER trip BEFORE INSERT ON transfers FOR EACH ROW WHEN (NEW.amount = 13) EXECUTE FUNCTION trip()`)
	bad := p.Accepted(payer, shop, 13)
	p.Eventually("the first attempt", 1, "SELECT count(*) FROM attempts WHERE operation_id = $1 AND error LIKE '%tripped%'", bad.ID)
	p.Exec("DROP TRIGGER trip ON transfers")

	p.Eventually("the retry", 1, succeeded)
	if n := p.Count("SELECT attempts FROM operations WHERE id = $1", bad.ID); n < 2 {
		t.Errorf("it was settled at attempt %d, want a later one than the first", n)
	}
	p.CheckInvariants()
}

// A lock is nobody's fault: it must cost no attempt, and nobody else's payment.
func TestAWalletThatSomebodyHoldsUsesUpNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop, other, held := p.Account(1000), p.Account(0), p.Account(1000), p.Account(1)
	p.Accepted(payer, shop, 1)
	p.Eventually("the first payment", 1, succeeded) // it runs

	tx, err := p.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	if _, err := tx.Exec(t.Context(), "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil { // whoever holds it goes on holding it
		t.Fatal(err)
	}
	const hold = `SELECT FROM ledger_accounts WHERE kind = 'wallet' AND owner = (SELECT id FROM accounts WHERE account_number = $1) FOR UPDATE`
	if _, err := tx.Exec(t.Context(), hold, held.Number); err != nil {
		t.Fatal(err)
	}
	p.Accepted(other, held, 5)
	for range 3 {
		p.Accepted(payer, shop, 1)
	}
	p.Eventually("the payments of others", 4, succeeded)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Eventually("all payments", 5, succeeded)
	if n := p.Count("SELECT count(*) FROM operations WHERE attempts <> 1"); n != 0 {
		t.Errorf("%d operations had attempts used up by the lock", n)
	}
	if n := p.Count("SELECT count(*) FROM dead_letters"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	p.CheckInvariants()
}

func TestGarbageBecomesADeadLetter(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.Accepted(p.Account(1), p.Account(0), 1)
	p.Eventually("the first payment", 1, succeeded) // it runs
	queuetest.Publish(t, p.broker, "commands", queue.Payments, queuetest.Publishing{Body: []byte{0, 1, 0xff}},
		queuetest.Publishing{Body: []byte(`{"id":"` + store.NewOperationID().String() + `","seq":1}`)}) // names nothing: stale
	p.Eventually("the dead letter", 1, `SELECT count(*) FROM dead_letters WHERE body = '\x0001ff' AND queue = 'payments' AND reason = 'rejected'`)
}

func TestALostQueueLosesNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	payer, shop := p.Account(1000), p.Account(0)
	ref := p.Accepted(payer, shop, 1)
	p.Eventually("the first payment", 1, succeeded)

	lost := p.Accepted(payer, shop, 2)
	p.Exec("DELETE FROM outbox WHERE message_id = $1", lost.ID) // as if it had been in a queue that is gone
	queuetest.DeleteQueue(t, p.broker, queue.Payments)
	queuetest.CloseConnections(t, p.broker)

	p.Eventually("both payments", 2, succeeded)
	if o := p.Settle(ref); !o.Stale() {
		t.Errorf("a late copy of the first: %+v", o)
	}
	p.CheckInvariants()
}

// Whoever starts it with a mistake hears of all of them, and of no secret.
func TestAllProblemsOfTheConfigurationAreReported(t *testing.T) {
	t.Parallel()
	err := run(t.Context(), nil, map[string]string{
		"QUITTANCE_SECRET_KEY": "c2hvcnQ=", "QUITTANCE_MESSAGE_GRACE": "soon", "QUITTANCE_PUBLIC_URL": "ftp://here",
		"QUITTANCE_ACQUIRER_URL": "there", "QUITTANCE_SMTP_URL": "smtp://us:secret@",
		"QUITTANCE_CALLBACK_ALLOW": "10.0.0.0/8,here",
	})
	if err == nil {
		t.Fatal("it starts")
	}
	for _, problem := range []string{"DATABASE_URL", "AMQP_URL", "QUITTANCE_SECRET_KEY", "QUITTANCE_MESSAGE_GRACE", "QUITTANCE_PUBLIC_URL", "QUITTANCE_ACQUIRER_URL", "QUITTANCE_SMTP_URL", "QUITTANCE_CALLBACK_ALLOW"} {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("it says nothing of %s: %v", problem, err)
		}
	}
	if strings.Contains(err.Error(), "us:secret") {
		t.Errorf("it shows the password: %v", err)
	}
}
