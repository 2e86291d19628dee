package main

import (
	"github.com/IBM/pgxpoolprometheus"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/relay"
)

// metrics are all that the API counts. A test holds them and deploy/docs/metrics.md together.
type metrics struct {
	queue    *queue.Metrics
	relay    *relay.Metrics
	api      *api.Metrics
	acquirer *prometheus.CounterVec
	database *workers.Database
	pool     prometheus.Collector
}

func newMetrics(books *store.Store) *metrics {
	return &metrics{
		queue: queue.NewMetrics(), relay: relay.NewMetrics(), api: api.NewMetrics(), acquirer: newTokenCalls(),
		database: workers.WatchDatabase(books.Ready),
		pool:     pgxpoolprometheus.NewCollector(books.Pool(), map[string]string{"db": "quittance"}),
	}
}

func (m *metrics) registry() *prometheus.Registry {
	return workers.Registry(m.queue.Collectors(), m.relay.Collectors(), m.api.Collectors(), m.database.Collectors(),
		[]prometheus.Collector{m.acquirer, m.pool})
}
