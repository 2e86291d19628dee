package queue_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

// What the broker must hold, written down once more and by hand: it accepts a misspelt
// argument without a word, so only reading back finds one.
var (
	wantWork  = []string{"payments", "cards", "recharges", "callbacks", "callbacks.retry", "pushes", "receipts"}
	wantRungs = map[string]float64{"1s": 1000, "5s": 5000, "10s": 10_000, "30s": 30_000, "2m": 120_000, "5m": 300_000, "10m": 600_000}
)

func wantQueues() map[string]queuetest.Queue {
	want := make(map[string]queuetest.Queue)
	add := func(name string, args map[string]any) {
		args["x-queue-type"] = "quorum"
		want[name] = queuetest.Queue{Name: name, Type: "quorum", Durable: true, Arguments: args}
	}
	for _, name := range wantWork {
		add(name, map[string]any{
			"x-delivery-limit":          20.0,
			"x-overflow":                "reject-publish",
			"x-dead-letter-exchange":    "dead",
			"x-dead-letter-routing-key": name,
			"x-dead-letter-strategy":    "at-least-once",
		})
		add(name+".dead", map[string]any{"x-delivery-limit": 1_000_000.0})
	}
	for _, name := range []string{"payments", "recharges"} {
		want[name].Arguments["x-single-active-consumer"] = true
	}
	for rung, ttl := range wantRungs {
		add("retry."+rung, map[string]any{
			"x-message-ttl":          ttl,
			"x-overflow":             "reject-publish",
			"x-dead-letter-exchange": "return",
			"x-dead-letter-strategy": "at-least-once",
		})
	}
	return want
}

func wantBindings() []queuetest.Binding {
	var want []queuetest.Binding
	for _, name := range wantWork {
		want = append(want,
			queuetest.Binding{Exchange: "commands", Key: name, Queue: name},
			queuetest.Binding{Exchange: "return", Key: name, Queue: name},
			queuetest.Binding{Exchange: "dead", Key: name, Queue: name + ".dead"})
	}
	for rung := range wantRungs {
		want = append(want, queuetest.Binding{Exchange: "retry." + rung, Queue: "retry." + rung})
	}
	return want
}

func TestTopologyIsDeclaredAsDesigned(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	queuetest.Connect(t, url)

	if diff := gocmp.Diff(wantQueues(), queuetest.Queues(t, url)); diff != "" {
		t.Errorf("queues (-want +got):\n%s", diff)
	}

	exchanges := map[string]string{"commands": "direct", "return": "direct", "dead": "direct"}
	for rung := range wantRungs {
		exchanges["retry."+rung] = "fanout"
	}
	if diff := gocmp.Diff(exchanges, queuetest.Exchanges(t, url)); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}

	order := func(a, b queuetest.Binding) int {
		return cmp.Or(cmp.Compare(a.Exchange, b.Exchange), cmp.Compare(a.Queue, b.Queue))
	}
	want, got := wantBindings(), queuetest.Bindings(t, url)
	slices.SortFunc(want, order)
	slices.SortFunc(got, order)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("bindings (-want +got):\n%s", diff)
	}
}

func TestEveryEpochDeclaresTheTopologyAgain(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	proxy, through := queuetest.NewProxy(t, url)
	c := queuetest.Connect(t, through)

	queuetest.DeleteQueue(t, url, queue.Cards)
	proxy.Cut()
	queuetest.Await(t, c.Changed, func() bool { return !c.Ready() })
	queuetest.Await(t, c.Changed, c.Ready)

	if diff := gocmp.Diff(wantQueues(), queuetest.Queues(t, url)); diff != "" {
		t.Errorf("queues in the second epoch (-want +got):\n%s", diff)
	}
}

func TestAnOperatorMayCloseTheConnection(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)

	queuetest.CloseConnections(t, url)
	queuetest.Await(t, c.Changed, func() bool { return !c.Ready() })
	queuetest.Await(t, c.Changed, c.Ready)
}

// Of a cluster's nodes any one will do, and another one when that has gone.
func TestANodeThatHasGoneIsReplacedByAnother(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	first, throughFirst := queuetest.NewProxy(t, url)
	second, throughSecond := queuetest.NewProxy(t, url)
	c := queuetest.Connect(t, "amqp://127.0.0.1:1/,"+throughFirst+","+throughSecond)

	first.Close()
	queuetest.Await(t, c.Changed, func() bool { return second.Used() && c.Ready() })
	second.Close()
	queuetest.Await(t, c.Changed, func() bool { return !c.Ready() })
}

func TestDepth(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Cards, messages(3)...)

	got, err := c.Depth(t.Context(), queue.Cards)
	if err != nil || got != 3 {
		t.Errorf("depth of cards: %d, %v; want 3, nil", got, err)
	}
	if _, err := c.Depth(t.Context(), "no such queue"); err == nil {
		t.Error("depth of a queue that does not exist: no error")
	}
	// Asking for what is missing must not have harmed the connection.
	if got, err := c.Depth(t.Context(), queue.Pushes); err != nil || got != 0 {
		t.Errorf("depth of pushes: %d, %v; want 0, nil", got, err)
	}
}

func TestRungs(t *testing.T) {
	t.Parallel()
	want := []time.Duration{
		time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		2 * time.Minute, 5 * time.Minute, 10 * time.Minute,
	}
	if diff := gocmp.Diff(want, queue.Rungs()); diff != "" {
		t.Errorf("rungs (-want +got):\n%s", diff)
	}
	for name, ttl := range wantRungs {
		got, ok := queue.RungName(time.Duration(ttl) * time.Millisecond)
		if !ok || got != name {
			t.Errorf("the rung of %v ms: %q, %v; want %q", ttl, got, ok, name)
		}
	}
	if name, ok := queue.RungName(3 * time.Second); ok {
		t.Errorf("the rung of 3 s: %q, want none", name)
	}
}
