package relay

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the gauges of the outbox.
type Metrics struct {
	rows   prometheus.Gauge
	oldest prometheus.Gauge
}

// NewMetrics returns gauges at 0. The caller registers Collectors.
func NewMetrics() *Metrics {
	return &Metrics{
		rows: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quittance_outbox_rows",
			Help: "Messages that are committed and not yet confirmed by the broker.",
		}),
		oldest: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quittance_outbox_oldest_seconds",
			Help: "How long the oldest of them has been waiting, in seconds.",
		}),
	}
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.rows, m.oldest}
}
