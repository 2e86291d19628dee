package queue_test

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestEveryMetricIsVisibleFromTheStart(t *testing.T) {
	t.Parallel()
	m := queue.NewMetrics()
	queue.Connect("amqp://127.0.0.1:1", "publish", discard(), m)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}

	queues := 2 * len(queue.WorkQueues) // each with its dead letters
	want := map[string]int{
		"quittance_publish_total":  4,
		"quittance_consume_total":  4 * queues,
		"quittance_batch_size":     queues,
		"quittance_handle_seconds": queues,
		"quittance_amqp_connected": 1,
		"quittance_amqp_blocked":   1,
	}
	for _, family := range families {
		name := family.GetName()
		if got := len(family.GetMetric()); got != want[name] {
			t.Errorf("%s has %d series, want %d", name, got, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}
