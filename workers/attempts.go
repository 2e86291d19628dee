package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Attempts is what both ways to consume have in common: what becomes of a message when an
// attempt has ended. This is the one place that logs attempts and counts them.
type Attempts struct {
	Queue  string
	Ladder []store.Delay // the retries of a message that fails by itself
	Retry  func(context.Context, store.Failure) (store.Retry, error)
	Probe  func(context.Context) error // nil when an outage is over

	Log     *slog.Logger
	Metrics *Metrics

	tracer trace.Tracer // the connection's; nil: nothing is traced
}

// RefOf reads which operation a message names.
func RefOf(m queue.Message) (store.Ref, error) {
	text, seq, err := m.Row()
	if err != nil {
		return store.Ref{}, err
	}
	id, ok := store.ParseOperationID(text)
	if !ok {
		return store.Ref{}, fmt.Errorf("message names %q, which is no operation", text)
	}
	return store.Ref{ID: id, Seq: seq}, nil
}

// contentionTries is how often a transaction that loses races is tried before its messages
// are halved, or left.
const contentionTries = 3

// Contend calls f until it does not merely meet others who are writing the same rows, a few
// times at most.
func Contend(f func() error) (err error) {
	for range contentionTries {
		if err = f(); store.FaultOf(err) != store.FaultContention {
			break
		}
	}
	return err
}

// Persist calls finish, which stores the result of a call that was made, for as long as it takes:
// what was sent must not be sent again only because the database is away, or somebody holds a
// row. Told to stop, it goes on until its drain is over, and then the same is sent again.
func Persist(ctx context.Context, finish func() (store.Outcome, error)) (store.Outcome, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, 2*time.Second
	outcome, err := backoff.Retry(ctx, func() (store.Outcome, error) {
		outcome, err := finish()
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			err = backoff.Permanent(err)
		}
		return outcome, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	if err != nil && ctx.Err() != nil {
		return store.Outcome{}, queue.Outage(err)
	}
	return outcome, err
}

// recovering calls f and returns its panic as an error. The queue would recover it as well,
// but there nobody knows which message is to pay for it.
func recovering(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// leave acknowledges a message whose rows somebody else holds on to. Nobody is to blame, so
// no attempt is used up, and the queue goes on; the operation is open, and the schedule
// worker enqueues it again when it is due.
func (a *Attempts) leave(at attempt, cause error) {
	at.came("left", cause)
	a.Log.Warn("attempt", at.traced("operation", at.ID, "seq", at.Seq, "outcome", "left", "error", cause)...)
}

// finish logs and counts the end of an attempt that came to something: the operation's end,
// or that it is running still.
func (a *Attempts) finish(at attempt, o store.Outcome, took time.Duration, more ...any) {
	outcome := "stale"
	if !o.Stale() {
		outcome = string(o.Status)
	}
	if !o.Stale() && !o.Status.Open() {
		a.Metrics.finished(o)
	}
	at.came(outcome, nil)
	a.Log.Info("attempt", at.traced(append([]any{
		"operation", at.ID, "seq", at.Seq, "outcome", outcome, "code", o.Code,
		"waited_ms", o.Waited.Milliseconds(), "took_ms", took.Milliseconds(),
	}, more...)...)...)
}

// fail decides on a message that failed by itself: it is tried again later, or rejected
// where its data can never be stored or its attempts are used up. What cannot even be
// written down is an outage.
func (a *Attempts) fail(ctx context.Context, at attempt, cause error, took time.Duration) error {
	ladder := a.Ladder
	if store.FaultOf(cause) == store.FaultData {
		ladder = nil // the same data fails the same way
	}
	became, err := a.Retry(ctx, store.Failure{Ref: at.Ref, Cause: cause.Error(), Ladder: ladder})
	if store.FaultOf(err) == store.FaultContention {
		a.leave(at, errors.Join(cause, err))
		return nil
	}
	if err != nil {
		err = fmt.Errorf("%w; and the attempt could not be stored: %w", cause, err)
		at.came("outage", err)
		return queue.Outage(err)
	}
	return a.failed(at, became, cause, took, slog.LevelError)
}

// failed logs an attempt whose failure is stored, counts its retry, and returns what becomes of
// its message.
func (a *Attempts) failed(at attempt, became store.Retry, cause error, took time.Duration, level slog.Level) error {
	at.came(string(became.Verdict), cause)
	a.Log.Log(context.Background(), level, "attempt", at.traced("operation", at.ID, "seq", at.Seq, "outcome", became.Verdict, "delay", became.Delay,
		"error", cause, "took_ms", took.Milliseconds())...)
	switch became.Verdict {
	case store.RetryUsedUp:
		return queue.Reject(cause)
	case store.RetryStored:
		a.Metrics.retried(a.Queue, became.Delay)
	}
	return nil
}
