package workers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// An attempt at one message: what its verdict is, what is logged, and what is counted.
func TestWhatBecomesOfAMessage(t *testing.T) {
	t.Parallel()
	id := store.OperationID{15: 1}
	succeeded := store.Outcome{Type: store.PaymentAuthorise, Status: store.Succeeded, Waited: time.Second}
	stored := store.Retry{Verdict: store.RetryStored, Delay: "1s"}
	held := fmt.Errorf("%w: %w", store.ErrUnavailable, contention) // as the store says it
	timeout := &net.OpError{Op: "read", Err: context.DeadlineExceeded}
	for _, story := range []struct {
		name     string
		outcome  store.Outcome
		err      error
		panics   bool
		retry    store.Retry
		retryErr error

		want     string
		logged   string
		ended    float64 // operations counted
		retried  float64
		failures int // written down
		noLadder bool
	}{
		{name: "all is well", outcome: succeeded, want: "ack", logged: "outcome=succeeded", ended: 1},
		{name: "its outcome is not known yet", outcome: store.Outcome{Type: store.PaymentAuthorise, Status: store.Running}, want: "ack", logged: "outcome=running"},
		{
			name: "it failed, and that is stored", outcome: store.Outcome{Type: store.CallbackSend, Status: store.Running, Code: "timeout", Retry: stored},
			want: "ack", logged: "outcome=retry delay=1s error=timeout", retried: 1,
		},
		{
			name: "it failed for the last time, and that is stored", outcome: store.Outcome{Type: store.CallbackSend, Status: store.Running, Code: "refused", Retry: store.Retry{Verdict: store.RetryUsedUp}},
			want: "reject", logged: `outcome=used_up delay="" error=refused`,
		},
		{name: "it is stale", want: "ack", logged: "outcome=stale"},
		{name: "the outside world is down", err: queue.Outage(errBug), want: "keep"},
		{name: "the database is down", err: errOutage, want: "keep"},
		{name: "somebody holds its rows", err: held, want: "ack", logged: "outcome=left"},
		{name: "it fails by itself", err: errBug, retry: stored, want: "ack", logged: "outcome=retry", retried: 1, failures: 1},
		{name: "the outside world does not answer it", err: timeout, retry: stored, want: "ack", logged: "outcome=retry", retried: 1, failures: 1},
		{name: "it panics", panics: true, retry: stored, want: "ack", logged: "panic: poison", retried: 1, failures: 1},
		{name: "its data cannot be stored", err: badRow, retry: store.Retry{Verdict: store.RetryUsedUp}, want: "reject", logged: "outcome=used_up", failures: 1, noLadder: true},
		{name: "its attempts are used up", err: errBug, retry: store.Retry{Verdict: store.RetryUsedUp}, want: "reject", logged: "outcome=used_up", failures: 1},
		{name: "it has moved on meanwhile", err: errBug, retry: store.Retry{Verdict: store.RetryStale}, want: "ack", logged: "outcome=stale", failures: 1},
		{name: "its operation is held when it has failed", err: errBug, retryErr: held, want: "ack", logged: "outcome=left", failures: 1},
		{name: "its failure cannot be written down", err: errBug, retryErr: errOutage, want: "keep", failures: 1},
	} {
		b := &books{retry: story.retry, retryErr: story.retryErr}
		var logged strings.Builder
		metrics := workers.NewMetrics()
		singly := &workers.Singly{
			Attempts: workers.Attempts{
				Queue: queue.Cards, Ladder: workers.Ladder(time.Second),
				Retry: b.retryOperation, Log: slog.New(slog.NewTextHandler(&logged, nil)), Metrics: metrics,
			},
			Do: func(_ context.Context, ref store.Ref) (store.Outcome, error) {
				if ref.ID != id || ref.Seq != 1 {
					t.Errorf("%s: attempted %+v", story.name, ref)
				}
				if story.panics {
					panic("poison")
				}
				return story.outcome, story.err
			},
		}
		if got := verdict(singly.Handle(t.Context(), message(id))); got != story.want {
			t.Errorf("%s: the verdict is %s, want %s", story.name, got, story.want)
		}
		if n := strings.Count(logged.String(), "\n"); n > 1 || (n == 1) != (story.logged != "") || !strings.Contains(logged.String(), story.logged) {
			t.Errorf("%s: logged %q, want one line with %q", story.name, logged.String(), story.logged)
		}
		if len(b.failures) != story.failures || (len(b.failures) == 1 && (len(b.failures[0].Ladder) == 0) != story.noLadder) {
			t.Errorf("%s: the failures written down are %+v", story.name, b.failures)
		}
		got := map[string]float64{
			"ended":   sum(t, metrics, "quittance_operations_total"),
			"retried": sum(t, metrics, "quittance_retries_total"),
		}
		if diff := cmp.Diff(map[string]float64{"ended": story.ended, "retried": story.retried}, got); diff != "" {
			t.Errorf("%s: counted, -want +got\n%s", story.name, diff)
		}
	}
}

// sum adds up all series of a counter.
func sum(t *testing.T, m *workers.Metrics, name string) (total float64) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, series := range f.GetMetric() {
			total += series.GetCounter().GetValue()
		}
	}
	return total
}

func TestASingleMessageThatNamesNothingIsRejected(t *testing.T) {
	t.Parallel()
	singly := &workers.Singly{Do: func(context.Context, store.Ref) (store.Outcome, error) {
		return store.Outcome{}, errors.New("nobody can have named it")
	}}
	if got := verdict(singly.Handle(t.Context(), queue.Message{Body: []byte("garbage")})); got != "reject" {
		t.Errorf("verdict %s", got)
	}
}
