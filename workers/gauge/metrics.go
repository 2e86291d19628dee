package gauge

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

var (
	messages = describe("quittance_queue_messages", "Messages in a queue that are ready to be delivered.", "queue")
	takers   = describe("quittance_queue_consumers", "Consumers of a work queue, or of its dead letters.", "queue")

	waiting = describe("quittance_money_waiting", "Money in a state that is not final, in minor units of its currency.", "kind", "state", "currency")
	oldest  = describe("quittance_money_waiting_oldest_seconds", "How long the oldest money in a state that is not final has been waiting, in seconds; 0 where none waits.", "kind", "state")

	imbalance = describe("quittance_ledger_imbalance", "What all balances of a currency add up to, in its minor units: anything but 0 is a broken ledger.", "currency")

	letters = describe("quittance_dead_letters", "Dead letters that are kept and that nobody has replayed or dropped.")
	held    = describe("quittance_callbacks_held", "Callbacks that wait because their endpoint is disabled.")

	standbys = describe("quittance_replication_standbys", "Standbys that follow the database.")
	lag      = describe("quittance_replication_lag_seconds", "How far behind the slowest standby is in applying what was committed, in seconds; 0 where there is none.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func value(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// Metrics are the gauges. Each is shown only while somebody reads what it says: one that could
// not be read, or is another process's to read, is not there, and no old value stands for it.
type Metrics struct {
	queues, ledger, money, kept, replication shown
}

// NewMetrics returns metrics that show nothing yet. The caller registers Collectors.
func NewMetrics() *Metrics { return &Metrics{} }

// Collectors is what to register.
func (m *Metrics) Collectors() []prometheus.Collector { return []prometheus.Collector{m} }

// Describe names all gauges.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{messages, takers, waiting, oldest, imbalance, letters, held, standbys, lag} {
		to <- d
	}
}

// Collect shows what was read.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, s := range []*shown{&m.queues, &m.ledger, &m.money, &m.kept, &m.replication} {
		for _, metric := range s.now() {
			to <- metric
		}
	}
}

// shown is what was read last.
type shown struct {
	mu      sync.Mutex
	metrics []prometheus.Metric
	until   time.Time
}

func (s *shown) show(metrics []prometheus.Metric, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics, s.until = metrics, until
}

func (s *shown) hide() { s.show(nil, time.Time{}) }

func (s *shown) now() []prometheus.Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().After(s.until) {
		return nil
	}
	return s.metrics
}

// ofQueues shows the consumers of those queues only that are there to be consumed.
func ofQueues(levels []queue.Level, rungs map[string]bool) (all []prometheus.Metric) {
	for _, l := range levels {
		all = append(all, value(messages, float64(l.Messages), l.Queue))
		if !rungs[l.Queue] {
			all = append(all, value(takers, float64(l.Consumers), l.Queue))
		}
	}
	return all
}

func ofLedger(sums []money.Amount) (all []prometheus.Metric) {
	for _, s := range sums {
		all = append(all, value(imbalance, float64(s.Minor), s.Currency.Alpha()))
	}
	return all
}

// ofMoney shows each state, at 0 where nothing waits in it, in each of the currencies and in
// those that wait.
func ofMoney(found []store.Waiting, currencies []money.Currency) (all []prometheus.Metric) {
	type place struct {
		kind     store.WaitingKind
		state    string
		currency string
	}
	sums, ages := make(map[place]float64), make(map[place]float64)
	for kind, states := range store.WaitingStates {
		for _, state := range states {
			ages[place{kind, state, ""}] = 0
			for _, c := range currencies {
				sums[place{kind, state, c.Alpha()}] = 0
			}
		}
	}
	for _, w := range found {
		sums[place{w.Kind, w.State, w.Amount.Currency.Alpha()}] = float64(w.Amount.Minor)
		whole := place{w.Kind, w.State, ""}
		ages[whole] = max(ages[whole], w.Longest.Seconds())
	}
	for p, sum := range sums {
		all = append(all, value(waiting, sum, string(p.kind), p.state, p.currency))
	}
	for p, age := range ages {
		all = append(all, value(oldest, age, string(p.kind), p.state))
	}
	return all
}

func ofKept(k store.Kept) []prometheus.Metric {
	return []prometheus.Metric{value(letters, float64(k.DeadLetters)), value(held, float64(k.HeldCallbacks))}
}

func ofReplication(r store.Replication) []prometheus.Metric {
	all := []prometheus.Metric{value(standbys, float64(r.Standbys))}
	if r.Lag != nil {
		all = append(all, value(lag, r.Lag.Seconds()))
	}
	return all
}
