package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/deploy/docs/docstest"
	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/gauge"
)

// With its servers, since without them there are no gauges of what they hold.
func TestEveryMetricOfAWorkerIsDescribed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Account(1)
	m := newMetrics(db.Store)
	c := queue.Connect(queuetest.New(t), "worker consumer", slog.New(slog.DiscardHandler), m.queue)
	queuetest.Run(t, c.Run)
	for _, w := range gauge.New(db.Store, c, slog.New(slog.DiscardHandler), m.gauge) {
		queuetest.Run(t, w.Run)
	}
	registry := m.registry()
	awaited := []string{"quittance_queue_messages", "quittance_money_waiting", "quittance_ledger_imbalance", "quittance_dead_letters", "quittance_replication_standbys"}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(queuetest.Patience); ; <-tick.C {
		shown, err := testutil.GatherAndCount(registry, awaited...)
		if err != nil {
			t.Fatal(err)
		}
		if shown > len(awaited) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d gauges of what the servers hold are shown", shown)
		}
	}
	docstest.CheckMetrics(t, "../../deploy/docs/metrics.md", "worker", registry)
}
