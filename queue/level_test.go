package queue_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

func TestLevels(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Cards, messages(3)...)
	queuetest.Publish(t, url, "retry.10m", queue.Cards, messages(2)...)
	queuetest.DeleteQueue(t, url, queue.DeadQueue(queue.Pushes))

	asked := slices.Concat([]string{queue.DeadQueue(queue.Pushes), queue.Cards, "no such queue", queue.Receipts}, queue.RungQueues()[5:])
	got, err := c.Levels(t.Context(), asked...)
	if err != nil {
		t.Fatal(err)
	}
	want := []queue.Level{{Queue: queue.Cards, Messages: 3}, {Queue: queue.Receipts}, {Queue: "retry.5m"}, {Queue: "retry.10m", Messages: 2}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
	for range 2 {
		queuetest.Run(t, func(ctx context.Context) error {
			return c.ConsumeSingly(ctx, queue.Single{Queue: queue.Receipts, Prefetch: 1}, func(context.Context, queue.Message) error { return nil })
		})
	}
	awaitConsumers(t, c, queue.Receipts, 2)
}

// awaitConsumers asks until a queue has n consumers: the broker tells nobody.
func awaitConsumers(t *testing.T, c *queue.Connection, name string, n int) {
	t.Helper()
	ctx := within(t, queuetest.Patience)
	for {
		levels, err := c.Levels(ctx, name)
		if err != nil {
			t.Fatalf("%s does not get %d consumers: %v", name, n, err)
		}
		if levels[0].Consumers == n {
			return
		}
	}
}

func TestLevelsOfABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	c := queue.Connect("amqp://127.0.0.1:1", "nobody listens", discard(), nil)
	if levels, err := c.Levels(t.Context(), queue.Cards); !errors.Is(err, queue.ErrNotConnected) || levels != nil {
		t.Errorf("levels: %v, %v; want ErrNotConnected", levels, err)
	}
}

func TestABlockedConnectionIsShownUntilItEnds(t *testing.T) {
	t.Parallel()
	proxy, through := queuetest.NewProxy(t, queuetest.New(t))
	m := queue.NewMetrics()
	c := queue.Connect(through, "publisher", discard(), m)
	queuetest.Run(t, c.Run)
	queuetest.Await(t, c.Changed, c.Ready)
	shown := func(want float64) func() bool {
		return func() bool { return gauge(t, m, "quittance_amqp_blocked") == want }
	}

	proxy.Block(t)
	queuetest.Await(t, c.Changed, shown(1))
	proxy.Unblock(t)
	queuetest.Await(t, c.Changed, shown(0))
	proxy.Block(t)
	queuetest.Await(t, c.Changed, shown(1))
	proxy.Cut()
	queuetest.Await(t, c.Changed, func() bool { return shown(0)() && c.Ready() })
}

// gauge returns the only value that the metrics have under a name.
func gauge(t *testing.T, m *queue.Metrics, name string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(m.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
