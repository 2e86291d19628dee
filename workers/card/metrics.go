package card

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer"
)

// Metrics count what the acquirer answers.
type Metrics struct{ calls *prometheus.CounterVec }

// inquire is counted beside the calls that move money.
const inquire = "inquire"

// What is counted of a call that has no clear answer.
const (
	notFound = "not_found" // an inquiry's answer
	notSent  = "not_sent"
	refused  = "refused"
	unknown  = "unknown"
)

// NewMetrics returns counters at 0. The caller registers Collectors.
func NewMetrics() *Metrics {
	m := &Metrics{calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "quittance_acquirer_calls_total",
		Help: "Calls of the acquirer, by what was asked and what came of it; unknown is everything but a clear answer.",
	}, []string{"call", "outcome"})}
	outcomes := []string{string(acquirer.Approved), string(acquirer.Declined), string(acquirer.NeedsConfirmation), notSent, refused, unknown}
	for _, call := range []store.Call{store.CallAuthorise, store.CallConfirm, store.CallCapture, store.CallVoid, store.CallRefund, inquire} {
		for _, outcome := range outcomes {
			m.calls.WithLabelValues(string(call), outcome)
		}
	}
	m.calls.WithLabelValues(inquire, notFound)
	return m
}

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m.calls} }

func (m *Metrics) asked(call string, a acquirer.Answer, err error) {
	outcome := unknown
	switch {
	case err == nil:
		outcome = string(a.Status)
	case errors.Is(err, acquirer.ErrNotSent):
		outcome = notSent
	case errors.Is(err, acquirer.ErrRefused):
		outcome = refused
	case errors.Is(err, acquirer.ErrNotFound) && call == inquire:
		outcome = notFound
	}
	m.calls.WithLabelValues(call, outcome).Inc()
}
