package schedule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
)

// Metrics count what was enqueued again.
type Metrics struct{ again *prometheus.CounterVec }

// NewMetrics returns counters at 0. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{again: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quittance_enqueued_again_total",
		Help: "Operations that were due and not final, with no backlog to explain it, and were enqueued again; those that waited in their rows on purpose are not among them.",
	}, []string{"queue"})}
	for _, q := range queue.WorkQueues {
		m.again.WithLabelValues(q)
	}
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m.again} }
