package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// box is an outbox in memory.
type box struct {
	mu     sync.Mutex
	rows   []store.OutboxRow
	claims int
	err    error
}

func (b *box) RelayOutbox(ctx context.Context, limit int, publish func(context.Context, []store.OutboxRow) []error) (store.Relayed, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	if b.err != nil {
		return store.Relayed{}, b.err
	}
	n := min(limit, len(b.rows))
	var done store.Relayed
	for _, err := range publish(ctx, b.rows[:n]) {
		if err != nil {
			done.Postponed++
			continue
		}
		done.Published++
	}
	b.rows = b.rows[n:]
	return done, nil
}

func (b *box) Outbox(context.Context) (store.OutboxState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return store.OutboxState{Rows: len(b.rows)}, nil
}

func (b *box) add(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		b.rows = append(b.rows, store.OutboxRow{Queue: queue.Payments, MessageID: store.NewOperationID(), Seq: 1, Delay: "5s"})
	}
}

// broker takes what it is given while it is ready.
type broker struct {
	mu      sync.Mutex
	ready   bool
	changed chan struct{}
	took    []queue.Publication
}

func newBroker(ready bool) *broker { return &broker{ready: ready, changed: make(chan struct{})} }

func (b *broker) Ready() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

func (b *broker) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *broker) become(ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = ready
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *broker) Publish(_ context.Context, batch []queue.Publication) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = append(b.took, batch...)
	return make([]error, len(batch))
}

func (b *broker) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.took)
}

// run runs a relay in the bubble until the test's part is done.
func run(t *testing.T, o *box, b *broker, part func(*Relay)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := New(o, b, quiet, NewMetrics())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = r.Run(ctx)
	}()
	synctest.Wait()
	part(r)
	cancel()
	<-ended
}

func TestAWakeUpIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := &box{}, newBroker(true)
		run(t, o, b, func(r *Relay) {
			o.add(3)
			r.Wake()
			time.Sleep(2 * linger) // far less than the slow tick
			synctest.Wait()
			if got := b.count(); got != 3 {
				t.Errorf("%d messages are published, want 3", got)
			}
			if p := b.took[0]; p.Delay != "5s" || p.Queue != queue.Payments || p.Seq != 1 {
				t.Errorf("published %+v", p)
			}
		})
	})
}

func TestTheSlowTickFindsWhatNobodyWokeFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := &box{}, newBroker(true)
		run(t, o, b, func(*Relay) {
			o.add(1200)
			time.Sleep(slowTick + time.Millisecond)
			synctest.Wait()
			if got := b.count(); got != 1200 {
				t.Errorf("%d messages are published after a tick, want all 1,200", got)
			}
		})
	})
}

func TestNothingIsClaimedWhileTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := &box{}, newBroker(false)
		run(t, o, b, func(r *Relay) {
			o.add(3)
			r.Wake()
			time.Sleep(time.Minute)
			synctest.Wait()
			if o.claims != 0 {
				t.Errorf("the outbox was claimed %d times", o.claims)
			}
			b.become(true)
			synctest.Wait()
			if got := b.count(); got != 3 {
				t.Errorf("%d messages are published once it is back, want 3 at once", got)
			}
		})
	})
}

func TestALostDatabaseIsAskedAgainOnlyByTheTick(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o, b := &box{err: errors.New("down")}, newBroker(true)
		run(t, o, b, func(*Relay) {
			time.Sleep(10 * slowTick)
			synctest.Wait()
			if o.claims > 11*loops {
				t.Errorf("%d claims in ten ticks: the loop spins", o.claims)
			}
			o.mu.Lock()
			o.err = nil
			o.mu.Unlock()
			o.add(1)
			time.Sleep(slowTick)
			synctest.Wait()
			if got := b.count(); got != 1 {
				t.Errorf("%d messages are published once it is back, want 1", got)
			}
		})
	})
}
