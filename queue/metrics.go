package queue

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what this package does. One serves all connections of a process; the
// caller registers it.
type Metrics struct {
	publish   *prometheus.CounterVec
	consume   *prometheus.CounterVec
	batch     *prometheus.HistogramVec
	handle    *prometheus.HistogramVec
	connected *prometheus.GaugeVec
	blocked   *prometheus.GaugeVec
}

// The closed sets of labels. A paused message is counted each time that its handler
// left it for later.
const (
	resultAcked    = "acked"
	resultNacked   = "nacked"
	resultReturned = "returned"
	resultUnknown  = "unknown"

	outcomeAcked    = "acked"
	outcomeRejected = "rejected"
	outcomeRequeued = "requeued"
	outcomePaused   = "paused"
)

// NewMetrics makes metrics in which every queue and every result is visible at 0.
func NewMetrics() *Metrics {
	m := &Metrics{
		publish: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_publish_total",
			Help: "Publications by what the broker said to them; unknown ones may or may not have arrived.",
		}, []string{"result"}),
		consume: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_consume_total",
			Help: "Messages consumed by what became of them; a message is counted as paused each time it is kept for later.",
		}, []string{"queue", "outcome"}),
		batch: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quittance_batch_size",
			Help:    "Messages handed to a batch handler in one call.",
			Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000},
		}, []string{"queue"}),
		handle: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quittance_handle_seconds",
			Help:    "Duration of one call of a handler, for a whole batch where there are batches.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"queue"}),
		connected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "quittance_amqp_connected",
			Help: "Whether the connection of this name is open and has declared its queues.",
		}, []string{"connection"}),
		blocked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "quittance_amqp_blocked",
			Help: "Whether the broker, short of memory or disk space, has stopped reading from the connection of this name.",
		}, []string{"connection"}),
	}
	m.showAll()
	return m
}

// Collectors lists everything to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.publish, m.consume, m.batch, m.handle, m.connected, m.blocked}
}

func (m *Metrics) showAll() {
	for _, result := range []string{resultAcked, resultNacked, resultReturned, resultUnknown} {
		m.publish.WithLabelValues(result)
	}
	for _, work := range WorkQueues {
		for _, name := range []string{work, DeadQueue(work)} {
			for _, outcome := range []string{outcomeAcked, outcomeRejected, outcomeRequeued, outcomePaused} {
				m.consume.WithLabelValues(name, outcome)
			}
			m.batch.WithLabelValues(name)
			m.handle.WithLabelValues(name)
		}
	}
}
