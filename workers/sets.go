package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Sets handles messages in batches: each batch is settled as one set. Where a set fails
// through one of its messages, the set is halved until that one is alone.
type Sets struct {
	Queue  string
	Ladder []store.Delay // the retries of a message that fails by itself
	Settle func(context.Context, []store.Ref) ([]store.Outcome, error)
	Retry  func(context.Context, store.Failure) (store.Retry, error)
	Probe  func(context.Context) error // nil when an outage is over

	Log     *slog.Logger
	Metrics *Metrics
}

const (
	setSize   = 300
	setLinger = 3 * time.Millisecond // for a set to fill
)

// Worker returns the worker that settles its queue in sets.
func (s *Sets) Worker(name string, c *queue.Connection) Worker {
	s.Log = s.Log.With("worker", name)
	return Worker{Name: name, Run: func(ctx context.Context) error {
		return c.ConsumeBatches(ctx, queue.Batch{Queue: s.Queue, Size: setSize, Linger: setLinger, Probe: s.Probe}, s.Handle)
	}}
}

// member is a message of a set, at its place in the batch.
type member struct {
	place int
	ref   store.Ref
}

// Handle settles a batch and returns what becomes of each message. A message that names
// nothing is rejected; a stale one has no effect.
func (s *Sets) Handle(ctx context.Context, batch []queue.Message) []error {
	verdicts := make([]error, len(batch))
	var set []member
	for i, m := range batch {
		ref, err := RefOf(m)
		if err != nil {
			verdicts[i] = queue.Reject(err)
			continue
		}
		set = append(set, member{place: i, ref: ref})
	}
	s.settle(ctx, set, verdicts, time.Now().Add(patience))
	return verdicts
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

// contentionTries is how often a set that loses races is settled before it is halved.
const contentionTries = 3

// patience is how long a batch is fought for with whoever holds its rows. Each try waits
// for a lock for a second at most.
const patience = 10 * time.Second

func (s *Sets) settle(ctx context.Context, set []member, verdicts []error, until time.Time) {
	if len(set) == 0 {
		return
	}
	started := time.Now()
	tries := contentionTries
	if started.After(until) {
		tries = 1
	}
	outcomes, err := s.try(ctx, set, tries)
	fault := store.FaultOf(err)
	switch {
	case err == nil:
		for i, m := range set {
			s.finish(m, outcomes[i], time.Since(started), len(set))
		}
	case fault == store.FaultOutage:
		for _, m := range set {
			verdicts[m.place] = queue.Outage(err)
		}
	case fault == store.FaultContention && (len(set) == 1 || time.Now().After(until)):
		for _, m := range set {
			s.leave(m, err)
		}
	case len(set) == 1:
		verdicts[set[0].place] = s.fail(ctx, set[0], err, time.Since(started))
	default:
		half := len(set) / 2
		s.settle(ctx, set[:half], verdicts, until)
		s.settle(ctx, set[half:], verdicts, until)
	}
}

// leave acknowledges a message whose rows somebody else holds on to. Nobody is to blame, so
// no attempt is used up, and the queue goes on; the operation is open, and the schedule
// worker enqueues it again when it is due.
func (s *Sets) leave(m member, cause error) {
	s.Log.Warn("attempt", "operation", m.ref.ID, "seq", m.ref.Seq, "outcome", "left", "error", cause)
}

// try settles a set, again where it only met others who were writing the same rows.
//
// It recovers a panic itself, although the queue would: out there the whole batch would
// pay for the one message that cannot be handled.
func (s *Sets) try(ctx context.Context, set []member, tries int) (outcomes []store.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	refs := make([]store.Ref, len(set))
	for i, m := range set {
		refs[i] = m.ref
	}
	for range tries {
		outcomes, err = s.Settle(ctx, refs)
		if store.FaultOf(err) != store.FaultContention {
			break
		}
	}
	return outcomes, err
}

// finish logs and counts the end of an attempt that was settled.
func (s *Sets) finish(m member, o store.Outcome, took time.Duration, size int) {
	outcome := "stale"
	if !o.Stale() {
		outcome = string(o.Status)
		s.Metrics.finished(o)
	}
	s.Log.Info("attempt", "operation", m.ref.ID, "seq", m.ref.Seq, "outcome", outcome, "code", o.Code,
		"waited_ms", o.Waited.Milliseconds(), "took_ms", took.Milliseconds(), "batch", size)
}

// fail decides on a message that failed by itself: it is tried again later, or rejected
// where its data can never be stored or its attempts are used up. What cannot even be
// written down is an outage.
func (s *Sets) fail(ctx context.Context, m member, cause error, took time.Duration) error {
	ladder := s.Ladder
	if store.FaultOf(cause) == store.FaultData {
		ladder = nil // the same data fails the same way
	}
	became, err := s.Retry(ctx, store.Failure{Ref: m.ref, Cause: cause.Error(), Ladder: ladder})
	if store.FaultOf(err) == store.FaultContention {
		s.leave(m, errors.Join(cause, err))
		return nil
	}
	if err != nil {
		return queue.Outage(fmt.Errorf("%w; and the attempt could not be stored: %w", cause, err))
	}
	s.Log.Error("attempt", "operation", m.ref.ID, "seq", m.ref.Seq, "outcome", became.Verdict, "delay", became.Delay, "error", cause,
		"took_ms", took.Milliseconds())
	switch became.Verdict {
	case store.RetryUsedUp:
		return queue.Reject(cause)
	case store.RetryStored:
		s.Metrics.retries.WithLabelValues(s.Queue, became.Delay).Inc()
	}
	return nil
}
