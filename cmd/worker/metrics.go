package main

import (
	"github.com/IBM/pgxpoolprometheus"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/callback"
	"github.com/quittance/quittance/workers/card"
	"github.com/quittance/quittance/workers/deadletter"
	"github.com/quittance/quittance/workers/gauge"
	"github.com/quittance/quittance/workers/push"
	"github.com/quittance/quittance/workers/relay"
	"github.com/quittance/quittance/workers/schedule"
)

// metrics are all that a process of workers counts, whichever of them it runs. A test holds them
// and deploy/docs/metrics.md together.
type metrics struct {
	queue      *queue.Metrics
	relay      *relay.Metrics
	workers    *workers.Metrics
	card       *card.Metrics
	callback   *callback.Metrics
	push       *push.Metrics
	deadletter *deadletter.Metrics
	schedule   *schedule.Metrics
	gauge      *gauge.Metrics
	database   *workers.Database
	pool       prometheus.Collector
}

func newMetrics(books *store.Store) *metrics {
	return &metrics{
		queue: queue.NewMetrics(), relay: relay.NewMetrics(), workers: workers.NewMetrics(), card: card.NewMetrics(), callback: callback.NewMetrics(),
		push: push.NewMetrics(), deadletter: deadletter.NewMetrics(), schedule: schedule.NewMetrics(), gauge: gauge.NewMetrics(),
		database: workers.WatchDatabase(books.Ready),
		pool:     pgxpoolprometheus.NewCollector(books.Pool(), map[string]string{"db": "quittance"}),
	}
}

func (m *metrics) registry() *prometheus.Registry {
	return workers.Registry(m.queue.Collectors(), m.relay.Collectors(), m.workers.Collectors(), m.card.Collectors(), m.callback.Collectors(),
		m.push.Collectors(), m.deadletter.Collectors(), m.schedule.Collectors(), m.gauge.Collectors(), m.database.Collectors(),
		[]prometheus.Collector{m.pool})
}
