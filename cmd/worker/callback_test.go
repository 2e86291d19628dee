package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/callback/callbacktest"
)

// Names that are no addresses are those of the tests: see callbacktest.
func init() { net.DefaultResolver = callbacktest.ChangingNames() }

// telling is a process that may call receivers on this machine, and does not wait for them
// for long.
func telling(t *testing.T) *process {
	t.Helper()
	p := prepare(t)
	p.environ["QUITTANCE_CALLBACK_ALLOW"] = "127.0.0.0/8"
	p.environ["QUITTANCE_CALLBACK_TIMEOUT"] = "2s"
	return p
}

// partner is a receiver with one callback to it, and what must become of that.
type partner struct {
	name     string
	receiver callbacktest.Receiver
	shop     bool // is told at its invoice's callbackUrl
	attempts string
	delays   string // after each but the last
	ends     string
	logged   string // of each attempt but the last
	last     string // of the last, where that is another

	ref store.Ref
}

// Four attempts of twelve, or of a shop's six: between the second and the last two but one the
// test lets time fly.
const (
	all12   = "1 2 11 12"
	delay12 = "5s 30s 24h"
	all6    = "1 2 5 6"
	delay6  = "5s 5m 24h"
	usedUp  = "dead"
)

func partners() []*partner {
	return []*partner{
		{name: "answers 200", receiver: callbacktest.Answering(200), attempts: "1", ends: "succeeded", logged: `delivered 200 "" this is 200`},
		{name: "answers 200, a shop", receiver: callbacktest.Answering(200), shop: true, attempts: "1", ends: "succeeded", logged: `delivered 200 "" this is 200`},
		{name: "answers 204", receiver: callbacktest.Answering(204), attempts: "1", ends: "succeeded", logged: `delivered 204 "" `},
		{name: "answers 204, a shop", receiver: callbacktest.Answering(204), shop: true, attempts: all6, delays: delay6, ends: usedUp, logged: `refused 204 "answered 204 No Content: only 200 counts" `},
		{name: "answers 302", receiver: callbacktest.Answering(302, "Location", "http://127.0.0.1/"), attempts: all12, delays: delay12, ends: usedUp, logged: `refused 302 "answered 302 Found: redirects are not followed" this is 302`},
		{name: "answers 400", receiver: callbacktest.Answering(400), attempts: all12, delays: delay12, ends: usedUp, logged: `refused 400 "answered 400 Bad Request" this is 400`},
		{name: "answers 410", receiver: callbacktest.Answering(410), attempts: "1", ends: "running held, disabled gone", logged: `gone 410 "answered 410 Gone" this is 410`},
		{name: "answers 410, a shop", receiver: callbacktest.Answering(410), shop: true, attempts: "1", ends: "failed gone", logged: `gone 410 "answered 410 Gone" this is 410`},
		{name: "answers 429 with Retry-After", receiver: callbacktest.Answering(429, "Retry-After", "8"), attempts: all12, delays: "8s 30s 24h", ends: usedUp, logged: `refused 429 "answered 429 Too Many Requests" this is 429`},
		{name: "answers 429 with a Retry-After that is a rung", receiver: callbacktest.Answering(429, "Retry-After", "120"), attempts: all12, delays: "10s 1m 24h", ends: usedUp, logged: `refused 429 "answered 429 Too Many Requests" this is 429`},
		{name: "answers 500, then 200", receiver: recovering, attempts: "1 2", delays: "5s", ends: "succeeded", logged: `refused 500 "answered 500 Internal Server Error" not yet`, last: `delivered 200 "" now`},
		{name: "hangs on connect", receiver: callbacktest.HangingOnConnect, attempts: all12, delays: delay12, ends: usedUp, logged: `timeout - "no answer within 2s" `},
		{name: "hangs on headers", receiver: callbacktest.Hanging, attempts: all12, delays: delay12, ends: usedUp, logged: `timeout - "no answer within 2s" `},
		{name: "trickles its body", receiver: callbacktest.Trickling, attempts: "1", ends: "succeeded", logged: `delivered 200 "" slow`},
		{name: "has an endless body", receiver: callbacktest.Endless, attempts: "1", ends: "succeeded", logged: `delivered 200 "" ` + strings.Repeat("and so on ", 1639)[:16<<10]},
		{name: "resets", receiver: callbacktest.Resetting, attempts: all12, delays: delay12, ends: usedUp, logged: `connection - "connection reset by peer" `},
		{name: "closes early", receiver: callbacktest.HangingUp, shop: true, attempts: all6, delays: delay6, ends: usedUp, logged: `connection - "closed without an answer" `},
		{name: "has a bad certificate", receiver: callbacktest.BadlyCertified, attempts: all12, delays: delay12, ends: usedUp, logged: `tls - "tls: failed to verify certificate: x509: certificate signed by unknown authority" `},
		{name: "has an unknown name", receiver: callbacktest.At("http://unknown.example/"), shop: true, attempts: all6, delays: delay6, ends: usedUp, logged: `dns - "unknown.example: no such host" `},
		{name: "is in a private network", receiver: callbacktest.At("http://10.1.2.3/"), attempts: "1", ends: "failed forbidden", logged: `forbidden - "its address is not one of the public internet" `},
	}
}

// recovering answers 500 once.
func recovering(t testing.TB) string {
	var asked atomic.Int32
	return callbacktest.Handling(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "not yet")
			return
		}
		_, _ = io.WriteString(w, "now")
	})
}

func TestCallbacksToEveryKindOfReceiver(t *testing.T) {
	t.Parallel()
	p := telling(t)
	p.watchDelays()
	t.Cleanup(p.begin(t).stop)
	shop, all := p.Shop(), partners()
	for _, a := range all {
		if a.shop {
			a.ref = p.InvoiceCallback(shop, a.receiver(t))
		} else {
			a.ref = p.Callback(p.Endpoint(shop.Client, a.receiver(t)))
		}
	}
	for made := range 3 {
		for _, a := range all {
			p.letTimePass(a, made+1)
		}
	}
	for _, a := range all {
		p.check(t, a)
	}
	p.CheckInvariants()
}

// watchDelays has the database write down for how long each retry waits.
func (p *process) watchDelays() {
	p.Exec(`CREATE TABLE delays (id uuid, n integer, wait interval, waits boolean)`)
	p.Exec(`CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO delays VALUES (NEW.id, NEW.attempts, NEW.due_at - now(), NEW.waits); RETURN NULL; END $$`)
	p.Exec(`CREATE TRIGGER watch AFTER UPDATE ON operations FOR EACH ROW
		WHEN (NEW.attempts = OLD.attempts + 1 AND NEW.seq > OLD.seq AND NEW.due_at < 'infinity') EXECUTE FUNCTION watch()`)
}

// letTimePass waits until a callback has failed so often, and lets the next attempt be due; after
// the second, the last but one. One that ended needs no more time.
func (p *process) letTimePass(a *partner, made int) {
	const over = "SELECT count(*) FROM operations o JOIN callbacks c USING (id) WHERE id = $1 AND (finished_at IS NOT NULL OR held)"
	const failed = "SELECT count(*) FROM callback_attempts WHERE callback_id = $1"
	p.Eventually(a.name+" is tried", 1, "SELECT (("+over+") > 0 OR ("+failed+") >= $2)::int", a.ref.ID, made)
	jump := 0
	if made == 2 {
		jump = map[bool]int{false: 10, true: 4}[a.shop]
	}
	p.Exec(`WITH passed AS (
			UPDATE operations SET due_at = now(), waits = true, attempts = greatest(attempts, $2::int)
			WHERE id = $1 AND status = 'running' AND due_at < 'infinity'
			RETURNING id
		)
		INSERT INTO attempts (operation_id, seq, attempt, error)
		SELECT id, 1000 + n, n, 'long ago' FROM passed CROSS JOIN generate_series($3::int, $2::int) AS n`, a.ref.ID, jump, made+1)
}

// check says what became of a callback.
func (p *process) check(t *testing.T, a *partner) {
	t.Helper()
	const end = `
		SELECT concat_ws(', ', concat_ws(' ', o.status, CASE o.status WHEN 'dead' THEN NULL ELSE o.error_code END, CASE WHEN c.held THEN 'held' END),
			nullif(concat_ws(' ', nullif(e.state, 'enabled'), nullif(e.state_reason, '')), ''))
		FROM operations o JOIN callbacks c USING (id) JOIN callback_endpoints e ON e.id = c.endpoint_id
		WHERE o.id = $1`
	p.Eventually(a.name+" ends "+a.ends, 1, "SELECT count(*) FROM ("+end+") AS ends (text) WHERE text = $2", a.ref.ID, a.ends)
	if diff := cmp.Diff(a.delays, p.delays(t, a)); diff != "" {
		t.Errorf("%s: delays, -want +got\n%s", a.name, diff)
	}

	var attempts []string
	logged := p.logOf(t, a, &attempts)
	want := make([]string, len(logged))
	for i := range want {
		want[i] = a.logged
	}
	if n := len(want); n > 0 && a.last != "" {
		want[n-1] = a.last
	}
	if diff := cmp.Diff(a.attempts, strings.Join(attempts, " ")); diff != "" {
		t.Errorf("%s: attempts, -want +got\n%s", a.name, diff)
	}
	if diff := cmp.Diff(want, logged); diff != "" {
		t.Errorf("%s: what is logged, -want +got\n%s", a.name, diff)
	}
}

func (p *process) logOf(t *testing.T, a *partner, attempts *[]string) (logged []string) {
	t.Helper()
	rows, err := p.Pool().Query(t.Context(), `
		SELECT attempt, outcome, coalesce(status::text, '-'), reason, convert_from(answer, 'UTF8')
		FROM callback_attempts WHERE callback_id = $1 ORDER BY started_at`, a.ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var attempt int
		var outcome, status, reason, answer string
		if err := rows.Scan(&attempt, &outcome, &status, &reason, &answer); err != nil {
			t.Fatal(err)
		}
		*attempts = append(*attempts, fmt.Sprint(attempt))
		logged = append(logged, fmt.Sprintf("%s %s %q %s", outcome, status, reason, answer))
	}
	return logged
}

// delays says for how long each retry was to wait: exactly on its rung, and up to a tenth longer
// in its row.
func (p *process) delays(t *testing.T, a *partner) string {
	t.Helper()
	rows, err := p.Pool().Query(t.Context(), "SELECT wait, waits FROM delays WHERE id = $1 ORDER BY n", a.ref.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var wait time.Duration
		var inRow bool
		if err := rows.Scan(&wait, &inRow); err != nil {
			t.Fatal(err)
		}
		if !inRow {
			wait -= 2 * time.Second // QUITTANCE_MESSAGE_GRACE
		}
		if day := 24 * time.Hour; inRow && wait >= day && wait <= day+day/10 {
			wait = day
		}
		all = append(all, strings.NewReplacer("m0s", "m", "h0m0s", "h").Replace(wait.String()))
	}
	return strings.Join(all, " ")
}

// A name that stood for a public address when it was checked stands for 127.0.0.1 when it is
// dialled, where callbacks must not go.
func TestACallbackToANameThatChangesIsForbidden(t *testing.T) {
	t.Parallel()
	p := start(t)
	var heard atomic.Int32
	inside := callbacktest.Handling(t, func(http.ResponseWriter, *http.Request) { heard.Add(1) })
	_, port, _ := strings.Cut(strings.TrimPrefix(inside, "http://"), ":")
	if _, err := net.DefaultResolver.LookupHost(t.Context(), "changing.example"); err != nil { // the check
		t.Fatal(err)
	}
	a := &partner{
		name: "it", attempts: "1", ends: "failed forbidden", logged: `forbidden - "its address is not one of the public internet" `,
		ref: p.InvoiceCallback(p.Shop(), "http://changing.example:"+port+"/"),
	}
	p.watchDelays()
	p.check(t, a)
	if n := heard.Load(); n != 0 {
		t.Errorf("it was heard %d times", n)
	}
	p.CheckInvariants()
}

// inbox answers 200 and counts what it hears, by webhook-id.
type inbox struct {
	mu    sync.Mutex
	heard map[string]int
	on    func(n int) // is called for each that it hears, if not nil
}

func (i *inbox) open(t *testing.T) string {
	i.heard = make(map[string]int)
	return callbacktest.Handling(t, func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.heard[r.Header.Get("webhook-id")]++
		n := len(i.heard)
		i.mu.Unlock()
		if i.on != nil {
			i.on(n)
		}
	})
}

func (i *inbox) ids() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.heard)
}

const told = "SELECT count(*) FROM operations WHERE type = 'callback.send' AND status = 'succeeded' AND attempts = 1"

// What was sent is not sent again because its answer could not be stored at once, or because
// nobody knows whether it is.
func TestAnAnswerIsKeptUntilItIsStored(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		strike func(*storetest.Faults)
	}{
		{"the database is away", (*storetest.Faults).Down},
		{"failed and not done", func(f *storetest.Faults) { f.CutNextCommit(storetest.CommitNotDone) }},
		{"failed but done", func(f *storetest.Faults) { f.CutNextCommit(storetest.CommitDone) }},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			p := telling(t)
			arrived := make(chan struct{})
			in := &inbox{on: func(int) {
				story.strike(p.faults)
				close(arrived) // a second one panics, and is no 200
			}}
			endpoint := p.Endpoint(p.Shop().Client, in.open(t))
			t.Cleanup(p.begin(t).stop)
			p.Callback(endpoint)
			within(t, 30*time.Second, "it arrives", arrived)
			p.faults.Up()
			p.Eventually("the callback", 1, told)
			if n := p.Count("SELECT count(*) FROM callback_attempts"); n != 1 {
				t.Errorf("%d attempts are logged", n)
			}
			p.CheckInvariants()
		})
	}
}

// Whatever becomes of the worker, of the queues and of the database: every event arrives, under
// its one id.
func TestEveryEventArrives(t *testing.T) {
	t.Parallel()
	const events = 100
	p := telling(t)
	third := make(chan struct{})
	done := sync.OnceFunc(func() { close(third) })
	in := &inbox{on: func(n int) {
		if n >= events/3 {
			done()
		}
	}}
	endpoint := p.Endpoint(p.Shop().Client, in.open(t))
	l := p.begin(t)
	for range events {
		p.Callback(endpoint)
	}
	within(t, 30*time.Second, "a third of them", third)
	p.faults.Down() // nothing that it does now leaves a trace: it is killed
	l.stop()
	p.faults.Up()
	queuetest.DeleteQueue(t, p.broker, queue.Callbacks)
	queuetest.DeleteQueue(t, p.broker, queue.CallbacksRetry)

	t.Cleanup(p.begin(t).stop)
	p.Eventually("all callbacks", events, told)
	if n := in.ids(); n != events {
		t.Errorf("%d events were heard of, want %d", n, events)
	}
	p.CheckInvariants()
}

// What is for a disabled endpoint is held, and sent when that is enabled.
func TestWhatWasHeldIsSent(t *testing.T) {
	t.Parallel()
	p := telling(t)
	in := &inbox{}
	endpoint := p.Endpoint(p.Shop().Client, in.open(t))
	t.Cleanup(p.begin(t).stop)
	p.Callback(endpoint)
	p.Eventually("the first", 1, told)
	if _, err := p.DisableEndpoint(t.Context(), store.EndpointCommand{ID: endpoint}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.Callback(endpoint)
	}
	p.Eventually("those that are held", 3, "SELECT count(*) FROM callbacks WHERE held")
	if n := in.ids(); n != 1 {
		t.Errorf("%d were sent before it was enabled, want 1", n)
	}
	if _, err := p.EnableEndpoint(t.Context(), store.EndpointCommand{ID: endpoint}); err != nil {
		t.Fatal(err)
	}
	p.Eventually("all", 4, told)
	p.CheckInvariants()
}

// One that hangs has its calls, and no more: what is for others does not wait for it, and what
// is for itself waits without using up attempts.
func TestAHangingPartnerHoldsUpNobody(t *testing.T) {
	t.Parallel()
	p := telling(t)
	p.environ["QUITTANCE_CALLBACK_TIMEOUT"] = "60s"
	answer := make(chan struct{})
	hanging := callbacktest.Handling(t, func(http.ResponseWriter, *http.Request) { <-answer })
	in, client := &inbox{}, p.Shop().Client
	bad, good := p.Endpoint(client, hanging), p.Endpoint(client, in.open(t))
	for range 200 {
		p.Callback(bad)
	}
	for range 50 {
		p.Callback(good)
	}
	t.Cleanup(p.begin(t).stop)
	p.Eventually("those of others", 50, told)
	p.Eventually("those that were put off", 184, "SELECT count(*) FROM callbacks WHERE parks > 0")
	if n := p.Count("SELECT count(*) FROM operations WHERE attempts > 0 AND status <> 'succeeded'"); n != 0 {
		t.Errorf("%d used up an attempt", n)
	}
	close(answer)
	p.Exec("UPDATE operations SET due_at = now(), waits = true WHERE status IN ('accepted', 'running') AND id IN (SELECT id FROM callbacks WHERE parks > 0)")
	p.Eventually("all", 250, told)
	p.CheckInvariants()
}
