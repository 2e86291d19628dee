package workers

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Sets handles messages in batches: each batch is settled as one set. Where a set fails
// through one of its messages, the set is halved until that one is alone.
type Sets struct {
	Attempts
	Settle func(context.Context, []store.Ref) ([]store.Outcome, error)
}

const (
	setSize   = 300
	setLinger = 3 * time.Millisecond // for a set to fill
)

// Worker returns the worker that settles its queue in sets.
func (s *Sets) Worker(name string, c *queue.Connection) Worker {
	s.Log, s.tracer = s.Log.With("worker", name), c.Tracer()
	return Worker{Name: name, Run: func(ctx context.Context) error {
		return c.ConsumeBatches(ctx, queue.Batch{Queue: s.Queue, Size: setSize, Linger: setLinger, Probe: s.Probe}, s.Handle)
	}}
}

// member is a message of a set, at its place in the batch.
type member struct {
	attempt
	place int
}

// Handle settles a batch and returns what becomes of each message. A message that names
// nothing is rejected; a stale one has no effect.
func (s *Sets) Handle(ctx context.Context, batch []queue.Message) []error {
	verdicts := make([]error, len(batch))
	set := make([]member, 0, len(batch))
	for i, m := range batch {
		ref, err := RefOf(m)
		if err != nil {
			verdicts[i] = queue.Reject(err)
			continue
		}
		_, at := s.begin(ctx, m, ref)
		set = append(set, member{at, i})
	}
	s.settle(ctx, set, verdicts, time.Now().Add(patience))
	for _, m := range set {
		m.span.End()
	}
	return verdicts
}

// patience is how long a batch is fought for with whoever holds its rows. Each try waits
// for a lock for a second at most.
const patience = 10 * time.Second

func (s *Sets) settle(ctx context.Context, set []member, verdicts []error, until time.Time) {
	if len(set) == 0 {
		return
	}
	started := time.Now()
	outcomes, err := s.try(ctx, set, until)
	fault := store.FaultOf(err)
	switch {
	case err == nil:
		for i, m := range set {
			s.finish(m.attempt, outcomes[i], time.Since(started), "batch", len(set))
		}
	case fault == store.FaultOutage:
		for _, m := range set {
			m.came("outage", err)
			verdicts[m.place] = queue.Outage(err)
		}
	case fault == store.FaultContention && (len(set) == 1 || time.Now().After(until)):
		for _, m := range set {
			s.leave(m.attempt, err)
		}
	case len(set) == 1:
		verdicts[set[0].place] = s.fail(trace.ContextWithSpan(ctx, set[0].span), set[0].attempt, err, time.Since(started))
	default:
		half := len(set) / 2
		s.settle(ctx, set[:half], verdicts, until)
		s.settle(ctx, set[half:], verdicts, until)
	}
}

// try settles a set, again where it only met others who were writing the same rows.
func (s *Sets) try(ctx context.Context, set []member, until time.Time) (outcomes []store.Outcome, err error) {
	refs := make([]store.Ref, len(set))
	for i, m := range set {
		refs[i] = m.Ref
	}
	ctx, span := s.beginSettling(ctx, set)
	defer func() {
		fail(span, err)
		span.End()
	}()
	settle := func() (err error) {
		outcomes, err = s.Settle(ctx, refs)
		return err
	}
	err = recovering(func() error {
		if time.Now().After(until) {
			return settle()
		}
		return Contend(settle)
	})
	return outcomes, err
}
