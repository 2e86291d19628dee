package schedule

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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

	unconfirmed, due, over, held int // payments, subscriptions and callbacks
	did                          []string
}

// do takes a step of what is left.
func (l *late) do(what string, left *int, limit int) (int, error) {
	n := min(*left, limit)
	if *left -= n; n > 0 {
		l.did = append(l.did, what)
	}
	return n, nil
}

func (l *late) ExpirePayments(_ context.Context, limit int) (int, error) {
	return l.do("expire payments", &l.unconfirmed, limit)
}

func (l *late) ChargeSubscriptions(_ context.Context, limit int) (int, error) {
	return l.do("charge subscriptions", &l.due, limit)
}

func (l *late) EndSubscriptions(_ context.Context, limit int) (int, error) {
	return l.do("end subscriptions", &l.over, limit)
}

func (l *late) ReleaseCallbacks(_ context.Context, limit int) (int, error) {
	return l.do("release callbacks", &l.held, limit)
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
	return l.do("expire recharges", &l.expiring, limit)
}

func (l *late) Forget(_ context.Context, limit int) (int, error) {
	return l.do("forget what is over", &l.forgotten, limit)
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

// Clients go first: what nobody asked for waits for room in its queue, and for a broker that
// says how full it is. A subscription's end needs no queue.
func TestWhatNobodyAsksForWaitsForRoom(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name  string
		depth map[string]int
		want  []string
	}{
		{
			"there is room",
			map[string]int{queue.Recharges: crowded - 1, queue.Cards: 0},
			[]string{"expire recharges", "expire payments", "end subscriptions", "charge subscriptions"},
		},
		{"many cards are being charged", map[string]int{queue.Recharges: 0, queue.Cards: crowded}, []string{"expire recharges", "end subscriptions"}},
		{
			"there is room for retries of callbacks",
			map[string]int{queue.CallbacksRetry: crowded - 1},
			[]string{"end subscriptions", "release callbacks"},
		},
		{"many recharges are being committed", map[string]int{queue.Recharges: crowded, queue.Cards: 0}, []string{"expire payments", "end subscriptions", "charge subscriptions"}},
		{"the broker is away", nil, []string{"end subscriptions"}},
	} {
		l := &late{left: map[string]int{}, depth: story.depth, expiring: 1, unconfirmed: 1, due: 1, over: 1, held: 1}
		w := &worker{books: l, depths: l, log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: NewMetrics()}
		w.look(t.Context())
		if diff := cmp.Diff(story.want, l.did); diff != "" {
			t.Errorf("%s: what was done, -want +got\n%s", story.name, diff)
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
