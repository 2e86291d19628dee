package workers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Metrics are what the workers count.
type Metrics struct {
	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	retries    *prometheus.CounterVec
}

// NewMetrics returns metrics that show 0 from the start. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_operations_total",
			Help: "Operations that this process ended, by type and final status.",
		}, []string{"type", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quittance_operation_seconds",
			Help:    "Time from the acceptance of an operation to its end, in seconds.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
		}, []string{"type"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_retries_total",
			Help: "Failed attempts whose retry was stored, by work queue and rung of the retry ladder; row is longer than any rung.",
		}, []string{"queue", "delay"}),
	}
	for _, kind := range store.OperationTypes() {
		for _, status := range []store.Status{store.Succeeded, store.Failed} {
			m.operations.WithLabelValues(string(kind), string(status))
		}
		m.seconds.WithLabelValues(string(kind))
	}
	for _, q := range queue.WorkQueues {
		for _, wait := range queue.Rungs() {
			delay, _ := queue.RungName(wait)
			m.retries.WithLabelValues(q, delay)
		}
		m.retries.WithLabelValues(q, inRow)
	}
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.operations, m.seconds, m.retries}
}

func (m *Metrics) finished(o store.Outcome) {
	m.operations.WithLabelValues(string(o.Type), string(o.Status)).Inc()
	m.seconds.WithLabelValues(string(o.Type)).Observe(o.Waited.Seconds())
}

// inRow is the delay, as it is counted, of what waits in its row.
const inRow = "row"

func (m *Metrics) retried(queue, delay string) {
	if delay == "" {
		delay = inRow
	}
	m.retries.WithLabelValues(queue, delay).Inc()
}
