package callback

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/store"
)

// Metrics count what partners answer, and what has to wait for them.
type Metrics struct {
	attempts *prometheus.CounterVec
	seconds  prometheus.Histogram
	parks    *prometheus.CounterVec
}

// NewMetrics returns metrics that show 0 from the start. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_callback_attempts_total",
			Help: "Callbacks that were sent, or could not be, by what came of it; refused is an answer that does not count as delivered.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "quittance_callback_seconds",
			Help:    "Time that an attempt to send a callback took, in seconds.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}),
		parks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_callback_parked_total",
			Help: "Callbacks that were put off without an attempt, by why: their endpoint has enough calls under way (busy), fails all the time (breaker), or has had its share (rate).",
		}, []string{"reason"}),
	}
	for _, o := range []store.CallbackOutcome{
		store.Delivered, store.CallbackRefused, store.CallbackGone, store.CallbackTimeout, store.CallbackConnect,
		store.CallbackDNS, store.CallbackTLS, store.CallbackForbidden,
	} {
		m.attempts.WithLabelValues(string(o))
	}
	for _, reason := range []string{busy, broken, rated} {
		m.parks.WithLabelValues(reason)
	}
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.attempts, m.seconds, m.parks}
}

func (m *Metrics) made(r store.CallbackResult) {
	m.attempts.WithLabelValues(string(r.Outcome)).Inc()
	m.seconds.Observe(r.Duration.Seconds())
}

func (m *Metrics) parked(reason string) { m.parks.WithLabelValues(reason).Inc() }
