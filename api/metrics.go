package api

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the requests, by route.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// NewMetrics returns empty metrics; New shows each route at 0. The caller registers
// Collectors.
func NewMetrics() *Metrics {
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "quittance_http_requests_total",
			Help: "Requests that were answered, by route and status code.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "quittance_http_request_seconds",
			Help:    "Time to answer a request, in seconds, by route; waiting that the client asked for included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
	}
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds}
}

func (m *Metrics) show(route string) {
	for _, code := range []string{"200", "201", "202", "503"} {
		m.requests.WithLabelValues(route, code)
	}
	m.seconds.WithLabelValues(route)
}
