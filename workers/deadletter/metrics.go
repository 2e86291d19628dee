package deadletter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
)

// Metrics count dead letters.
type Metrics struct{ letters *prometheus.CounterVec }

// NewMetrics returns counters at 0. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{letters: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quittance_dead_letters_total",
		Help: "Messages that were given up and are kept for an operator, by work queue and reason.",
	}, []string{"queue", "reason"})}
	for _, q := range queue.WorkQueues {
		for reason := range sentences {
			m.letters.WithLabelValues(q, reason)
		}
	}
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m.letters} }
