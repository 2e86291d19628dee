package schedule

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/queue"
)

// late holds how many operations of a queue are late.
type late struct {
	left  map[string]int
	depth map[string]int
	err   error
	calls int

	expiring, forgotten int // recharges and tokens past their time
}

func (l *late) EnqueueDue(_ context.Context, name string, depth, limit int) (int, error) {
	l.calls++
	if l.depth[name] != depth {
		return 0, errors.New("another depth than the broker's")
	}
	n := min(l.left[name], limit)
	l.left[name] -= n
	return n, l.err
}

func (l *late) ExpireRecharges(_ context.Context, limit int) (int, error) {
	n := min(l.expiring, limit)
	l.expiring -= n
	return n, nil
}

func (l *late) ForgetTokens(_ context.Context, limit int) (int, error) {
	n := min(l.forgotten, limit)
	l.forgotten -= n
	return n, nil
}

func (l *late) Queues() []string { return []string{queue.Payments} }

func (l *late) Depth(_ context.Context, name string) (int, error) {
	if d, ok := l.depth[name]; ok {
		return d, nil
	}
	return 0, errors.New("not connected")
}

func TestOneRound(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name  string
		late  late
		calls int
		left  int
		again float64
	}{
		{"nothing is late", late{left: map[string]int{}, depth: map[string]int{queue.Payments: 7}}, 1, 0, 0},
		{"more is late than goes at once", late{left: map[string]int{queue.Payments: 1200}, depth: map[string]int{queue.Payments: 0}}, 3, 0, 1200},
		{"the broker does not say what waits", late{left: map[string]int{queue.Payments: 5}}, 0, 5, 0},
		{"the database is away", late{left: map[string]int{}, depth: map[string]int{queue.Payments: 0}, err: errors.New("down")}, 1, 0, 0},
	} {
		w := &worker{books: &story.late, depths: &story.late, log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: NewMetrics()}
		w.look(t.Context())
		if story.late.calls != story.calls || story.late.left[queue.Payments] != story.left {
			t.Errorf("%s: %d calls, %d left; want %d and %d", story.name, story.late.calls, story.late.left[queue.Payments], story.calls, story.left)
		}
		if got := testutil.ToFloat64(w.metrics.again.WithLabelValues(queue.Payments)); got != story.again {
			t.Errorf("%s: %v counted, want %v", story.name, got, story.again)
		}
	}
}

func TestItBeginsWhatNobodyAsksFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &late{left: map[string]int{}, depth: map[string]int{queue.Payments: 0, queue.Recharges: 0}, expiring: 1200, forgotten: 700}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- New(l, l, slog.New(slog.NewTextHandler(io.Discard, nil)), NewMetrics()).Run(ctx) }()
		time.Sleep(2 * forgetInterval) // of the bubble's clock
		stop()
		if err := <-ended; err != nil || l.expiring != 0 || l.forgotten != 0 {
			t.Errorf("it ends with %v, and leaves %d recharges and %d tokens", err, l.expiring, l.forgotten)
		}
	})
}
