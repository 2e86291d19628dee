package main

import (
	"testing"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// tale is a payment by card that comes to a call of the acquirer with which something goes
// wrong, and how it must end whatever that is.
type tale struct {
	name    string
	invoice func(*store.NewShopInvoice)
	card    string // its number
	ready   string // the paymentStatus in which the call is asked for; "" where it is the first
	call    string
	ask     func(*town, *actor)
	want    string
}

const (
	approved  = "4111111111111111"
	declined  = "4000000000000002"
	asks      = "4000000000003063" // for a LOOKUP code
	recipient = "5269615500005505"
)

func pay(n *store.NewShopInvoice)  {}
func hold(n *store.NewShopInvoice) { n.Type = store.Hold }
func subscribe(n *store.NewShopInvoice) {
	n.Type, n.Interval, n.EndsAt = store.Subscribe, 30, time.Now().AddDate(1, 0, 0)
}

var tales = []tale{
	{"pay", pay, approved, "", "authorise", nil, "FINISHED/FINISHED, succeeded, taken 51100"},
	{"pay, and the bank says no", pay, declined, "", "authorise", nil, "CANCELED/REJECTED, failed declined"},
	{"pay, and the bank asks", pay, asks, "", "authorise", nil, "NEW/NEEDS_CONFIRMATION, succeeded"},
	{"hold", hold, approved, "", "authorise", nil, "PAID/HOLDED, succeeded"},
	{"from card to card", func(n *store.NewShopInvoice) { n.SystemType = store.P2P }, approved, "", "authorise", nil, "FINISHED/FINISHED, succeeded, taken 51100"},
	{"subscribe", subscribe, approved, "", "authorise", nil, "FINISHED/FINISHED, succeeded, taken 51100"},
	{"charge a subscription", subscribe, approved, "FINISHED", "authorise", (*town).charge, "FINISHED/FINISHED, succeeded, taken 51100"},
	{"confirm", pay, asks, "NEEDS_CONFIRMATION", "confirm", (*town).confirm, "FINISHED/FINISHED, succeeded, taken 51100"},
	{"confirm with a wrong code", pay, asks, "NEEDS_CONFIRMATION", "confirm", (*town).confirmWrongly, "NEW/NEEDS_CONFIRMATION, failed wrong_code"},
	{"complete a part", hold, approved, "HOLDED", "capture", (*town).complete, "FINISHED/FINISHED, succeeded, taken 30700"},
	{"cancel", hold, approved, "HOLDED", "void", (*town).cancel, "CANCELED/CANCELED, succeeded"},
	{"a hold expires", hold, approved, "HOLDED", "void", (*town).expire, "CANCELED/CANCELED, succeeded"},
	{"a confirmation expires", pay, asks, "NEEDS_CONFIRMATION", "void", (*town).expire, "CANCELED/CANCELED, succeeded"},
	{"reverse all", pay, approved, "FINISHED", "refund", (*town).reverse, "REVERSED/REVERSED, succeeded, taken 51100, given back 51100"},
	{"reverse a part", pay, approved, "FINISHED", "refund", (*town).reversePart, "FINISHED/FINISHED, succeeded, taken 51100, given back 20440"},
}

const openSteps = "SELECT count(*) FROM operations WHERE finished_at IS NULL AND type LIKE 'payment.%'"

// Whatever goes wrong with a call, and whatever becomes of the processes that make it: money
// is taken once at most, and in the end everybody knows.
func TestEveryFaultOfEveryCall(t *testing.T) {
	t.Parallel()
	for _, fate := range []struct {
		name         string
		stop, killed bool
	}{
		{name: "the processes go on"},
		{name: "the processes are told to stop", stop: true},
		{name: "the processes are killed", stop: true, killed: true},
	} {
		t.Run(fate.name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			over := make(chan struct{})
			w.enterAll(map[string]acquirertest.Fault{
				"answered late":         {Kind: acquirertest.Delay, Delay: 2 * time.Second},
				"arrived after the end": {Kind: acquirertest.Delay, Until: over},
				"answered with 500":     {Kind: acquirertest.Error500},
				"cut before":            {Kind: acquirertest.CutBefore},
				"cut after":             {Kind: acquirertest.CutAfter},
				"notified twice":        {Kind: acquirertest.DuplicateNotification},
			})
			w.environ["QUITTANCE_ACQUIRER_TIMEOUT"] = "1500ms"
			w.prepareAll()
			w.askAll()
			allStruck, answer := w.strikeAll()
			lives := w.beginEnough()
			within(t, 30*time.Second, "every call is made", allStruck)

			if fate.killed {
				w.faults.Down() // nothing that they do now leaves a trace
			}
			if fate.stop {
				for _, l := range lives {
					l.end()
				}
			}
			answer()
			if fate.stop {
				for _, l := range lives {
					l.stop()
				}
				const lost = "SELECT count(*) FROM acquirer_intents WHERE state = 'called'"
				if n := w.Count(lost); fate.killed && n != len(w.actors) {
					t.Errorf("%d answers are lost, want all %d", n, len(w.actors))
				}
				w.faults.Up()
				lives = []*life{w.begin(t)}
			}
			w.Eventually("steps that are open", 0, openSteps)
			close(over)
			for _, l := range lives {
				l.stop()
			}
			w.check()
		})
	}
}

// beginEnough begins as many processes as can make all calls at the same time.
func (w *town) beginEnough() (lives []*life) {
	for range len(w.actors)/32 + 1 {
		lives = append(lives, w.begin(w.t))
	}
	return lives
}

func within(t *testing.T, limit time.Duration, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("not within %s: %s", limit, what)
	}
}

// An acquirer that cannot be reached is waited for. Nothing is used up, and nothing becomes
// unknown by it.
func TestAnAcquirerThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.enterAll(map[string]acquirertest.Fault{"down": {}})
	w.prepareAll()
	l := w.begin(t)
	before := w.enter(tales[0], "none")
	w.pay(before)
	w.Eventually("the first payment", 1, "SELECT count(*) FROM operations WHERE id = $1 AND status = 'succeeded'", before.operation) // it runs

	w.bank.Down()
	w.askSome(func(a *actor) bool { return a != before })
	queuetest.AwaitDepth(t, w.broker, queue.Cards, 0) // it holds the messages, and can call nobody
	l.stop()
	l = w.begin(t) // nor can the next one
	w.bank.Up()
	w.Eventually("steps that are open", 0, openSteps)
	l.stop()
	if n := w.Count("SELECT count(*) FROM acquirer_intents WHERE inquiries > 0"); n != 0 {
		t.Errorf("the acquirer was asked about %d calls that were never sent", n)
	}
	w.check()
}
