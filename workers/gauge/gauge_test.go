package gauge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is a worker that reads all the time.
func process(b books, q levels) *worker {
	return &worker{books: b, levels: q, log: slog.New(slog.DiscardHandler), metrics: NewMetrics(), often: 20 * time.Millisecond, seldom: 50 * time.Millisecond}
}

// gathered is what the metrics show, as Prometheus would write it.
func gathered(t *testing.T, m *Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]float64)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			var labels []string
			for _, l := range series.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "quittance_")
			if len(labels) > 0 {
				name += " " + strings.Join(labels, " ")
			}
			shown[name] = series.GetGauge().GetValue()
		}
	}
	return shown
}

// eventually waits until what is shown is as ok wants it.
func eventually(t *testing.T, what string, m *Metrics, ok func(map[string]float64) bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(queuetest.Patience); ; <-tick.C {
		shown := gathered(t, m)
		if ok(shown) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: it does not come to that, but to %v", what, shown)
		}
	}
}

// shows returns what is shown of these names. A name that is missing is not in it.
func shows(want map[string]float64) func(map[string]float64) bool {
	return func(shown map[string]float64) bool {
		for name, value := range want {
			if got, ok := shown[name]; !ok || got != value {
				return false
			}
		}
		return true
	}
}

func nothing(shown map[string]float64) bool { return len(shown) == 0 }

func TestWhatWaitsIsShown(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := process(db.Store, nil)
	queuetest.Run(t, w.watchBooks)
	eventually(t, "an empty ledger", w.metrics, shows(map[string]float64{
		"dead_letters": 0, "callbacks_held": 0, "money_waiting_oldest_seconds payment pending": 0, "money_waiting_oldest_seconds suspense suspense": 0,
	}))

	shop := db.Shop()
	_, unknown := db.CardPayment(db.ShopInvoice(shop, nil))
	db.Finish(db.Call(unknown), store.Unknown)
	db.Exec("UPDATE operations SET created_at = now() - interval '1 hour' WHERE id = $1", unknown.ID)
	db.Paid(db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Type = store.Hold }))
	db.Provider("external", nil)
	owner := db.Account(1)
	commit := db.Commanded(store.RechargeCommit, db.Recharge(owner, "7"))
	db.Exec("UPDATE accounts SET deleted = true WHERE id = $1", owner.ID)
	db.SettleRecharge(commit)
	letter := store.DeadLetter{Queue: queue.Payments, MessageID: "garbage", Reason: "rejected"}
	if _, err := db.KeepDeadLetters(t.Context(), []store.DeadLetter{letter}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "with all of that", w.metrics, shows(map[string]float64{
		"money_waiting UAH payment pending": 51100, "money_waiting RUR payment pending": 0, "money_waiting UAH payment holded": 51100,
		"money_waiting RUR suspense suspense": 700, "money_waiting UAH suspense suspense": 0, "money_waiting RUR invoice in_progress": 0,
		"ledger_imbalance RUR": 0, "ledger_imbalance UAH": 0, "dead_letters": 1, "money_waiting_oldest_seconds invoice dead": 0,
	}))
	eventually(t, "the age of the unknown payment", w.metrics, func(shown map[string]float64) bool {
		age := shown["money_waiting_oldest_seconds payment pending"]
		return age >= 3600 && age < 3700
	})
	shown := gathered(t, w.metrics)
	states := 0
	for kind, all := range store.WaitingStates {
		for _, state := range all {
			states++
			for _, name := range []string{"money_waiting RUR ", "money_waiting UAH ", "money_waiting_oldest_seconds "} {
				if _, ok := shown[fmt.Sprintf("%s%s %s", name, kind, state)]; !ok {
					t.Errorf("%s%s %s is not shown", name, kind, state)
				}
			}
		}
	}
	if want := states*3 + 2 + 2 + 2; len(shown) != want {
		t.Errorf("%d series are shown, want %d: %v", len(shown), want, slices.Sorted(maps.Keys(shown)))
	}

	db.Exec("UPDATE ledger_accounts SET balance = balance + 5 WHERE kind = 'merchant'")
	eventually(t, "after damage by hand", w.metrics, shows(map[string]float64{"ledger_imbalance RUR": 0, "ledger_imbalance UAH": 5}))
}

func TestTheDatabaseIsShownByOneProcess(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	faults := storetest.NewFaults(t, db.URL)
	first, second := process(storetest.Open(t, faults.URL), nil), process(db.Store, nil)
	queuetest.Run(t, first.watchBooks)
	eventually(t, "the first", first.metrics, shows(map[string]float64{"dead_letters": 0}))
	queuetest.Run(t, second.watchBooks)
	for range 5 { // readings
		read := lastRead(first)
		eventually(t, "the first goes on", first.metrics, func(map[string]float64) bool { return lastRead(first).After(read) })
		if shown := gathered(t, second.metrics); !nothing(shown) {
			t.Fatalf("the second shows %v", shown)
		}
	}
	faults.Down()
	eventually(t, "the first, cut off", first.metrics, nothing)
	eventually(t, "the second, after that", second.metrics, shows(map[string]float64{"dead_letters": 0}))
	if shown := gathered(t, first.metrics); !nothing(shown) {
		t.Errorf("the first shows %v", shown)
	}
	faults.Up()
	for range 5 {
		read := lastRead(second)
		eventually(t, "the second goes on", second.metrics, func(map[string]float64) bool { return lastRead(second).After(read) })
		if shown := gathered(t, first.metrics); !nothing(shown) {
			t.Fatalf("the first, back, shows %v", shown)
		}
	}
}

// lastRead grows with each reading.
func lastRead(w *worker) time.Time {
	w.metrics.kept.mu.Lock()
	defer w.metrics.kept.mu.Unlock()
	return w.metrics.kept.until
}

func TestAProcessThatEndsLeavesTheWatchToAnother(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	first, second := process(db.Store, nil), process(db.Elsewhere().Store, nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- first.watchBooks(ctx) }()
	eventually(t, "the first", first.metrics, shows(map[string]float64{"dead_letters": 0}))
	queuetest.Run(t, second.watchBooks)
	stop()
	if err := <-ended; err != nil || !nothing(gathered(t, first.metrics)) {
		t.Errorf("it ends with %v, and shows %v", err, gathered(t, first.metrics))
	}
	eventually(t, "the second", second.metrics, shows(map[string]float64{"dead_letters": 0}))
}

// What cannot be read must not cost the rest, nor the watch.
func TestAReadingThatFailsHidesItsGaugesOnly(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := process(db.Store, nil)
	queuetest.Run(t, w.watchBooks)
	eventually(t, "all", w.metrics, shows(map[string]float64{"dead_letters": 0, "money_waiting_oldest_seconds payment pending": 0}))
	db.Exec("ALTER TABLE dead_letters RENAME TO somewhere_else")
	eventually(t, "without dead letters", w.metrics, func(shown map[string]float64) bool {
		_, kept := shown["dead_letters"]
		_, money := shown["money_waiting_oldest_seconds payment pending"]
		return !kept && money
	})
	db.Exec("ALTER TABLE somewhere_else RENAME TO dead_letters")
	eventually(t, "all again", w.metrics, shows(map[string]float64{"dead_letters": 0, "money_waiting_oldest_seconds payment pending": 0}))
}

func TestTheLevelsOfQueuesAreShown(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queue.Connect(url, t.Name(), slog.New(slog.DiscardHandler), nil)
	ctx, disconnect := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	w := process(nil, c)
	queuetest.Run(t, w.watchQueues)

	want := make(map[string]float64)
	for _, work := range queue.WorkQueues {
		for _, name := range []string{work, queue.DeadQueue(work)} {
			want["queue_messages "+name], want["queue_consumers "+name] = 0, 0
		}
	}
	for _, rung := range queue.RungQueues() {
		want["queue_messages "+rung] = 0
	}
	eventually(t, "empty queues", w.metrics, func(shown map[string]float64) bool { return cmp.Equal(want, shown) })

	queuetest.Publish(t, url, "commands", queue.Cards, queuetest.Publishing{}, queuetest.Publishing{})
	queuetest.DeleteQueue(t, url, queue.DeadQueue(queue.Pushes))
	delete(want, "queue_messages pushes.dead")
	delete(want, "queue_consumers pushes.dead")
	want["queue_messages cards"] = 2
	eventually(t, "a queue is gone", w.metrics, func(shown map[string]float64) bool { return cmp.Equal(want, shown) })

	disconnect()
	eventually(t, "the broker is gone", w.metrics, nothing)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// slow is a broker that takes its time, and then fails.
type slow struct {
	took  time.Duration
	err   error
	asked []time.Time
}

func (s *slow) Levels(ctx context.Context, _ ...string) ([]queue.Level, error) {
	s.asked = append(s.asked, time.Now())
	select {
	case <-time.After(s.took):
		return []queue.Level{{Queue: queue.Cards}}, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *slow) Changed() <-chan struct{} { return nil }

func TestAReadingThatIsSlowIsTakenSeldom(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name  string
		slow  slow
		wait  time.Duration // from one to the next
		shown int
	}{
		{"it is fast", slow{}, 20 * time.Millisecond, 2},
		{"it takes a second", slow{took: time.Second}, 21 * time.Second, 2},
		{"it fails", slow{err: errors.New("no")}, 20 * time.Millisecond, 0},
		{"it hangs", slow{took: time.Hour}, 21 * patience, 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := process(nil, &story.slow)
				ctx, stop := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- w.watchQueues(ctx) }()
				time.Sleep(2*story.wait - story.wait/2) // of the bubble's clock
				if n := len(gathered(t, w.metrics)); n != story.shown {
					t.Errorf("%d series are shown, want %d", n, story.shown)
				}
				stop()
				if err := <-ended; err != nil || !nothing(gathered(t, w.metrics)) {
					t.Errorf("it ends with %v, and shows %v", err, gathered(t, w.metrics))
				}
				if asked := story.slow.asked; len(asked) != 2 || asked[1].Sub(asked[0]) != story.wait {
					t.Errorf("it was asked at %v, want twice, %s apart", asked, story.wait)
				}
			})
		})
	}
}

func TestAnOldValueIsNotShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s shown
		s.show(ofKept(store.Kept{}), time.Now().Add(time.Minute))
		time.Sleep(time.Minute) // of the bubble's clock
		if len(s.now()) != 2 {
			t.Error("it is not shown until its time")
		}
		time.Sleep(time.Nanosecond)
		if len(s.now()) != 0 {
			t.Error("it is shown past its time")
		}
	})
}
