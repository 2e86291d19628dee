package workers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet      = slog.New(slog.NewTextHandler(io.Discard, nil))
	errOutage  = fmt.Errorf("pay: %w", store.ErrUnavailable)
	contention = &pgconn.PgError{Code: "40P01"}
	badRow     = &pgconn.PgError{Code: "23514"}
	errBug     = errors.New("a bug")
)

// books settles all but the operations that it has an error for.
type books struct {
	faults   map[store.OperationID]error
	panics   map[store.OperationID]bool
	always   []error // of the first calls, whatever they hold
	retry    store.Retry
	retryErr error

	settled  []store.OperationID
	failures []store.Failure
	calls    int
}

func (b *books) settle(_ context.Context, refs []store.Ref) ([]store.Outcome, error) {
	b.calls++
	if len(b.always) > 0 {
		err := b.always[0]
		b.always = b.always[1:]
		return nil, err
	}
	for _, r := range refs {
		if b.panics[r.ID] {
			panic("poison")
		}
		if err := b.faults[r.ID]; err != nil {
			return nil, err
		}
	}
	outcomes := make([]store.Outcome, len(refs))
	for i, r := range refs {
		b.settled = append(b.settled, r.ID)
		outcomes[i] = store.Outcome{Status: store.Succeeded}
	}
	return outcomes, nil
}

func (b *books) retryOperation(_ context.Context, f store.Failure) (store.Retry, error) {
	b.failures = append(b.failures, f)
	return b.retry, b.retryErr
}

func message(id store.OperationID) queue.Message {
	return queue.Message{Queue: queue.Payments, Body: fmt.Appendf(nil, `{"id":"%s","seq":1}`, id)}
}

// verdict says in a word what becomes of a message.
func verdict(err error) string {
	switch {
	case err == nil:
		return "ack"
	case queue.IsReject(err):
		return "reject"
	case queue.IsOutage(err):
		return "keep"
	}
	return "?"
}

func TestWhatBecomesOfABatch(t *testing.T) {
	t.Parallel()
	ids := make([]store.OperationID, 5)
	for i := range ids {
		ids[i] = store.OperationID{15: byte(i + 1)}
	}
	third := func(err error) map[store.OperationID]error { return map[store.OperationID]error{ids[2]: err} }
	for _, story := range []struct {
		name     string
		books    books
		want     []string
		settled  int
		retries  int // failures that were written down
		noLadder bool
	}{
		{name: "all is well", want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 5},
		{name: "the database is down", books: books{faults: third(errOutage)}, want: []string{"keep", "keep", "keep", "keep", "keep"}},
		{name: "a deadlock is tried again", books: books{always: []error{contention, contention}}, want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 5},
		{name: "somebody holds the rows of one", books: books{faults: third(contention)}, want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 4},
		{name: "a failure's operation is held", books: books{faults: third(errBug), retryErr: contention}, want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 4, retries: 1},
		{
			name: "one cannot be stored", books: books{faults: third(badRow), retry: store.Retry{Verdict: store.RetryUsedUp}},
			want: []string{"ack", "ack", "reject", "ack", "ack"}, settled: 4, retries: 1, noLadder: true,
		},
		{
			name: "one fails by itself", books: books{faults: third(errBug), retry: store.Retry{Verdict: store.RetryStored, Delay: "1s"}},
			want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 4, retries: 1,
		},
		{
			name: "one panics", books: books{panics: map[store.OperationID]bool{ids[2]: true}, retry: store.Retry{Verdict: store.RetryStored, Delay: "1s"}},
			want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 4, retries: 1,
		},
		{
			name: "one has used up its attempts", books: books{faults: third(errBug), retry: store.Retry{Verdict: store.RetryUsedUp}},
			want: []string{"ack", "ack", "reject", "ack", "ack"}, settled: 4, retries: 1,
		},
		{
			name: "one has moved on", books: books{faults: third(errBug), retry: store.Retry{Verdict: store.RetryStale}},
			want: []string{"ack", "ack", "ack", "ack", "ack"}, settled: 4, retries: 1,
		},
		{
			name: "a failure cannot be written down", books: books{faults: third(errBug), retryErr: errOutage},
			want: []string{"ack", "ack", "keep", "ack", "ack"}, settled: 4, retries: 1,
		},
	} {
		b := story.books
		sets := &workers.Sets{
			Attempts: workers.Attempts{
				Queue: queue.Payments, Ladder: workers.Ladder(time.Second),
				Retry: b.retryOperation, Log: quiet, Metrics: workers.NewMetrics(),
			},
			Settle: b.settle,
		}
		var batch []queue.Message
		for _, id := range ids {
			batch = append(batch, message(id))
		}
		var got []string
		for _, err := range sets.Handle(t.Context(), batch) {
			got = append(got, verdict(err))
		}
		if diff := cmp.Diff(story.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		if len(b.settled) != story.settled || len(b.failures) != story.retries {
			t.Errorf("%s: %d settled, %d failures written down; want %d and %d", story.name, len(b.settled), len(b.failures), story.settled, story.retries)
		}
		if story.retries == 1 && (b.failures[0].ID != ids[2] || (len(b.failures[0].Ladder) == 0) != story.noLadder) {
			t.Errorf("%s: the failure written down is %+v", story.name, b.failures[0])
		}
	}
}

func TestAMessageThatNamesNothingIsRejected(t *testing.T) {
	t.Parallel()
	b := &books{}
	sets := &workers.Sets{Attempts: workers.Attempts{Retry: b.retryOperation, Log: quiet, Metrics: workers.NewMetrics()}, Settle: b.settle}
	good := message(store.OperationID{1})
	verdicts := sets.Handle(t.Context(), []queue.Message{{Body: []byte("garbage")}, good, {}})
	if got := []string{verdict(verdicts[0]), verdict(verdicts[1]), verdict(verdicts[2])}; !slices.Equal(got, []string{"reject", "ack", "reject"}) {
		t.Errorf("verdicts %v", got)
	}
}

func TestAWorkerThatStopsIsStartedAgain(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	starts := make(chan int, 10)
	n := 0
	flaky := workers.Worker{Name: "flaky", Run: func(ctx context.Context) error {
		n++
		starts <- n
		switch n {
		case 1:
			return errors.New("stopped")
		case 2:
			panic("broke")
		}
		<-ctx.Done()
		return nil
	}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		workers.Run(ctx, quiet, flaky)
	}()
	for want := 1; want <= 3; want++ {
		if got := <-starts; got != want {
			t.Errorf("start %d, want %d", got, want)
		}
	}
	cancel()
	<-ended
}
