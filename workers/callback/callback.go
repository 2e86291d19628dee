// Package callback tells partners what happened, whatever their servers do.
//
// Every event arrives at least once, under one webhook-id. It is sent again where the process
// died, or was told to stop, between the answer and the commit that keeps it; a database
// that is away in between is waited for with the answer in hand. Nothing is promised about the
// order.
//
// One slow partner slows nobody else: an endpoint has a few calls under way at most, and
// whatever finds no room is put off without using up an attempt (see gate). Retries have a
// queue and a pool of their own, so that those of yesterday hold up nothing of today.
//
// The known hole: caps, breakers and rates are those of one process. Two processes call an
// endpoint twice as much.
package callback

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// Config says how partners are called.
type Config struct {
	Timeout  time.Duration  // of one attempt, from the lookup of its host to the end of the answer
	Version  string         // of ours, which User-Agent names
	Allow    []netip.Prefix // addresses that are not of the public internet, and may be called all the same
	Resolver *net.Resolver  // nil: the system's
}

// How many attempts are under way at the same time.
const (
	firstAtOnce   = 128
	retriesAtOnce = 64
)

// margin is what an attempt takes besides its call: the wait for room, and the commits around
// it.
const margin = 5 * time.Second

// ladders are when a callback that failed is sent again. The first attempt is not in them.
var ladders = map[store.CallbackPolicy][]store.Delay{
	store.PolicyInvoicer: workers.Ladder(5*time.Second, 5*time.Minute, time.Hour, 2*time.Hour, 24*time.Hour),
	store.PolicyStandard: workers.Ladder(5*time.Second, 30*time.Second, 2*time.Minute, 10*time.Minute, 30*time.Minute,
		2*time.Hour, 5*time.Hour, 10*time.Hour, 14*time.Hour, 20*time.Hour, 24*time.Hour),
}

// callbacks is what this worker needs of the store.
type callbacks interface {
	StartCallback(ctx context.Context, ref store.Ref, call time.Duration) (store.Callback, bool, store.Outcome, error)
	ParkCallback(ctx context.Context, ref store.Ref, wait time.Duration, turn bool) error
	FinishCallback(context.Context, store.CallbackResult) (store.Outcome, error)
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

type worker struct {
	callbacks callbacks
	sender    *sender
	gate      *gate
	metrics   *Metrics
}

// New returns the workers of the queues callbacks and callbacks.retry. What an endpoint can
// take, they share.
func New(s callbacks, cfg Config, c *queue.Connection, log *slog.Logger, counted *workers.Metrics, own *Metrics) []workers.Worker {
	w := &worker{callbacks: s, sender: newSender(cfg), gate: newGate(), metrics: own}
	pool := func(name, of string, atOnce int) workers.Worker {
		singly := &workers.Singly{
			Attempts: workers.Attempts{
				Queue: of, Ladder: ladders[store.PolicyStandard], Retry: s.RetryOperation, Probe: s.Ready,
				Log: log, Metrics: counted,
			},
			AtOnce: atOnce, Drain: w.lease(), Do: w.do,
		}
		sending := singly.Worker(name, c)
		return workers.Worker{Name: name, Run: func(ctx context.Context) error {
			defer w.sender.client.CloseIdleConnections()
			return sending.Run(ctx)
		}}
	}
	return []workers.Worker{
		pool("callback", queue.Callbacks, firstAtOnce),
		pool("callback.retry", queue.CallbacksRetry, retriesAtOnce),
	}
}

// lease covers all that one attempt does.
func (w *worker) lease() time.Duration { return w.sender.timeout + margin }

// do sends the callback that a message names, and stores what became of it. Where its
// endpoint has no room it is put off, and that is no attempt.
func (w *worker) do(ctx context.Context, ref store.Ref) (store.Outcome, error) {
	c, send, ended, err := w.start(ctx, ref)
	if err != nil || !send {
		return ended, err
	}
	leave, closed := w.gate.enter(ctx, c)
	if closed != nil {
		return w.park(ctx, ref, closed)
	}
	result, err := w.send(ctx, c, leave)
	if err != nil {
		return store.Outcome{}, err
	}
	outcome, err := w.finish(ctx, result)
	if outcome.Retry != (store.Retry{}) {
		outcome.Code = fmt.Sprintf("%s: %s: %s", c.Origin, result.Outcome, result.Reason) // for the log: whose server, and what about it
	}
	return outcome, err
}

func (w *worker) start(ctx context.Context, ref store.Ref) (c store.Callback, send bool, ended store.Outcome, err error) {
	err = workers.Contend(func() (err error) {
		c, send, ended, err = w.callbacks.StartCallback(ctx, ref, w.lease())
		return err
	})
	return c, send, ended, err
}

func (w *worker) park(ctx context.Context, ref store.Ref, why *closed) (store.Outcome, error) {
	err := workers.Contend(func() error { return w.callbacks.ParkCallback(ctx, ref, why.wait, why.reason == rated) })
	if err != nil {
		return store.Outcome{}, err
	}
	w.metrics.parked(why.reason)
	return store.Outcome{Type: store.CallbackSend, Status: store.Running, Code: "parked_" + why.reason}, nil
}

// send makes the call. The endpoint's room is given back before the result is stored.
func (w *worker) send(ctx context.Context, c store.Callback, leave func(store.CallbackResult)) (r store.CallbackResult, err error) {
	defer func() { leave(r) }() // after a panic as well
	r, err = w.sender.send(ctx, c)
	if err == nil {
		w.metrics.made(r)
	}
	return r, err
}

func (w *worker) finish(ctx context.Context, r store.CallbackResult) (store.Outcome, error) {
	return workers.Persist(ctx, func() (store.Outcome, error) { return w.callbacks.FinishCallback(ctx, r) })
}

// jitter is by how much of itself a wait in a row is longer, at most: what failed together,
// because one server was down, does not come back together.
const jitter = 0.1

// next is when a callback is sent again should this attempt have failed; nil where that was
// its last. A replay takes the place of the wait that it cut short, and not that of an attempt.
// after is what the partner asked for, who gets at most twice the wait that there is anyway.
func next(c store.Callback, after time.Duration) *store.Delay {
	ladder, step := ladders[c.Policy], c.Attempts
	if c.Replaying {
		step = max(step-1, 0)
	}
	if step >= len(ladder) {
		return nil
	}
	d := ladder[step]
	base := d.Wait
	if d.Name == "" {
		d.Wait += time.Duration(jitter * rand.Float64() * float64(base))
	}
	if after = min(after, 2*base); after > d.Wait {
		name, _ := queue.RungName(after)
		d = store.Delay{Name: name, Wait: after}
	}
	return &d
}
