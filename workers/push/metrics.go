package push

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what this worker counts.
type Metrics struct {
	pushes  *prometheus.CounterVec
	seconds prometheus.Histogram
	outage  prometheus.Gauge
	pace    prometheus.Gauge
}

// Of a push that was not sent: it would have come too late, there was no token to send it to,
// or this worker does not send any.
const (
	outcomeOutdated = "outdated"
	outcomeNoPhone  = "no_phone"
	outcomeOff      = "off"
)

// NewMetrics returns metrics that show 0 from the start. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_push_total",
			Help: "Calls of FCM by what came of them, and pushes that were ended without one.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "quittance_push_seconds",
			Help:    "Time of one call of FCM, in seconds.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 25},
		}),
		outage: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quittance_push_outage",
			Help: "1 while FCM does not take our credentials, or none are to be had, and pushes wait for that to end.",
		}),
		pace: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "quittance_push_pace",
			Help: "Calls of FCM a second that this process allows itself; less than the most after the quota was exceeded.",
		}),
	}
	for _, o := range outcomes {
		m.pushes.WithLabelValues(string(o))
	}
	for _, o := range []string{outcomeOutdated, outcomeNoPhone, outcomeOff} {
		m.pushes.WithLabelValues(o)
	}
	m.pace.Set(fullPace)
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.pushes, m.seconds, m.outage, m.pace}
}

func (m *Metrics) called(o Outcome, took time.Duration) {
	m.pushes.WithLabelValues(string(o)).Inc()
	m.seconds.Observe(took.Seconds())
}
