package workers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Singly handles messages one by one, many at once: the way of the workers that call
// somebody outside, where one that hangs must hold up nobody.
type Singly struct {
	Attempts
	AtOnce int           // how many are handled at the same time
	Drain  time.Duration // how long a call that was begun may take to end; 0: 20 s

	// Do makes one attempt. Its outcome is logged and counted; where that says that the
	// attempt failed and is stored as such, the message is rejected if it was the last one.
	// queue.Outage says that something it depends on is down, and any other error, but the
	// store's of an outage or of rows that somebody holds, is an attempt that failed.
	Do func(context.Context, store.Ref) (store.Outcome, error)
}

// Worker returns the worker that handles the messages of its queue.
func (s *Singly) Worker(name string, c *queue.Connection) Worker {
	s.Log, s.tracer = s.Log.With("worker", name), c.Tracer()
	return Worker{Name: name, Run: func(ctx context.Context) error {
		return c.ConsumeSingly(ctx, queue.Single{Queue: s.Queue, Prefetch: s.AtOnce, Probe: s.Probe, Drain: s.Drain}, s.Handle)
	}}
}

// Handle makes an attempt and returns what becomes of the message. One that names nothing
// is rejected; a stale one has no effect.
func (s *Singly) Handle(ctx context.Context, m queue.Message) error {
	ref, err := RefOf(m)
	if err != nil {
		return queue.Reject(err)
	}
	ctx, at := s.begin(ctx, m, ref)
	defer at.span.End()
	started := time.Now()
	var outcome store.Outcome
	err = recovering(func() (err error) {
		outcome, err = s.Do(ctx, at.Ref)
		return err
	})
	switch {
	case err == nil && outcome.Retry.Verdict != "": // somebody else's failure, which is not worth an error
		return s.failed(at, outcome.Retry, errors.New(outcome.Code), time.Since(started), slog.LevelWarn)
	case err == nil:
		s.finish(at, outcome, time.Since(started))
		return nil
	case queue.IsOutage(err):
		at.came("outage", err)
		return err
	case store.FaultOf(err) == store.FaultContention:
		s.leave(at, err)
		return nil
	case errors.Is(err, store.ErrUnavailable):
		// Not FaultOf, which takes any error of the network for the database's: what becomes
		// of an error from outside, only Do can say.
		at.came("outage", err)
		return queue.Outage(err)
	}
	return s.fail(ctx, at, err, time.Since(started))
}
