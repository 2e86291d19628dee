// Package card moves money on cards, once.
//
// The acquirer is called outside of any transaction, so after a crash, and after every
// answer that is not a clear one, nobody knows what became of a call. The id of its intent is
// the acquirer's idempotency key and never changes: the acquirer is asked about that id, and
// where it knows of no such call the same one goes out again under it. So a call has its
// effect once, and what is unknown stays unknown until the acquirer says: this package
// never guesses, and time decides nothing.
//
// It rests on leases: a call and its answer fit into the lease that it began with, and nobody
// else touches the intent before that is over.
package card

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/acquirer"
)

// Config says how to call the acquirer.
type Config struct {
	Timeout   time.Duration // of one call
	NotifyURL string        // where the acquirer says that it has news
}

// atOnce is how many calls are under way at the same time.
const atOnce = 32

// margin is what a lease has besides the time of two calls, an inquiry and the call itself:
// for the commits around them.
const margin = 2 * time.Second

// inquiries is when the acquirer is asked about what is unknown, after the lease.
var inquiries = workers.Ladder(time.Second, 5*time.Second, 30*time.Second, 2*time.Minute, 10*time.Minute, 30*time.Minute, time.Hour)

// calls is what this worker needs of the store.
type calls interface {
	StartCall(ctx context.Context, ref store.Ref, lease time.Duration) (store.CardCall, bool, error)
	FinishCall(context.Context, store.CallResult) (store.Outcome, error)
	ReleaseCall(context.Context, store.CardCall) error
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

type worker struct {
	calls    calls
	acquirer acquirer.Acquirer
	cfg      Config
	metrics  *Metrics
}

// New returns the worker of the queue cards.
func New(s calls, a acquirer.Acquirer, cfg Config, c *queue.Connection, log *slog.Logger, m *workers.Metrics, own *Metrics) workers.Worker {
	w := &worker{calls: s, acquirer: a, cfg: cfg, metrics: own}
	singly := &workers.Singly{
		Attempts: workers.Attempts{
			Queue: queue.Cards, Ladder: workers.MoneyLadder, Retry: s.RetryOperation, Probe: w.ready,
			Log: log, Metrics: m,
		},
		AtOnce: atOnce, Drain: w.lease(), Do: w.do,
	}
	return singly.Worker("card", c)
}

// lease covers all that one attempt does.
func (w *worker) lease() time.Duration { return 2*w.cfg.Timeout + margin }

// ready says whether calls have somebody to go to, and answers somewhere to be stored.
func (w *worker) ready(ctx context.Context) error {
	if err := w.calls.Ready(ctx); err != nil {
		return err
	}
	return w.ping(ctx)
}

func (w *worker) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	return w.acquirer.Ping(ctx)
}

// do makes the call that a message names, and stores what became of it.
//
// From the commit of StartCall on the call counts as made. Only what provably was not takes
// that back: it waits for the acquirer to be reached again, or was not accepted from us, which
// is an attempt that failed and says nothing about the payment. Of a call that went out
// before, neither says anything.
func (w *worker) do(ctx context.Context, ref store.Ref) (store.Outcome, error) {
	call, ours, err := w.start(ctx, ref)
	if err != nil || !ours {
		return store.Outcome{}, err
	}
	answer, err := w.settle(ctx, call)
	switch {
	case errors.Is(err, acquirer.ErrNotSent):
		return store.Outcome{}, w.release(ctx, call, queue.Outage(err))
	case errors.Is(err, acquirer.ErrRefused) && !call.Unknown:
		if w.ping(ctx) != nil { // it takes nobody's: that uses up no attempt
			err = queue.Outage(err)
		}
		return store.Outcome{}, w.release(ctx, call, err)
	}
	return w.finish(ctx, resultOf(call, answer, err))
}

func (w *worker) start(ctx context.Context, ref store.Ref) (call store.CardCall, ours bool, err error) {
	err = workers.Contend(func() (err error) {
		call, ours, err = w.calls.StartCall(ctx, ref, w.lease())
		return err
	})
	return call, ours, err
}

// finish stores a result. After a crash before its commit, or where the database is away, the
// lease runs out and the acquirer is asked what it said.
func (w *worker) finish(ctx context.Context, r store.CallResult) (outcome store.Outcome, err error) {
	err = workers.Contend(func() (err error) {
		outcome, err = w.calls.FinishCall(ctx, r)
		return err
	})
	return outcome, err
}

// release gives the lease back, and returns why. Where it cannot, the lease runs out.
func (w *worker) release(ctx context.Context, call store.CardCall, why error) error {
	if err := w.calls.ReleaseCall(ctx, call); err != nil {
		return errors.Join(why, err)
	}
	return why
}

// settle returns the acquirer's clear answer, or why there is none. What went out before is
// asked about; where the acquirer knows nothing of it, it goes out again under the same id,
// at once: should the first one arrive after all, it is the repeat.
func (w *worker) settle(ctx context.Context, call store.CardCall) (acquirer.Answer, error) {
	if call.Unknown {
		answer, err := w.ask(ctx, inquire, call, w.inquire)
		if !errors.Is(err, acquirer.ErrNotFound) {
			return answer, err
		}
	}
	return w.ask(ctx, string(call.Call), call, w.send)
}

// ask asks the acquirer and counts what it says. Who is told to stop hears the answer out:
// a call that is cut short must be asked about later.
func (w *worker) ask(ctx context.Context, name string, call store.CardCall, how func(context.Context, store.CardCall) (acquirer.Answer, error)) (acquirer.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.Timeout)
	defer cancel()
	answer, err := how(ctx, call)
	if err == nil {
		err = checkClear(call.Call, answer)
	}
	w.metrics.asked(name, answer, err)
	return answer, err
}

func (w *worker) inquire(ctx context.Context, c store.CardCall) (acquirer.Answer, error) {
	return w.acquirer.Inquire(ctx, c.Intent.String())
}

func (w *worker) send(ctx context.Context, c store.CardCall) (acquirer.Answer, error) {
	id, payment := c.Intent.String(), c.Payment.String()
	movement := acquirer.Movement{Payment: payment, Of: c.Of.String(), Amount: c.Amount, Commission: c.Commission}
	switch c.Call {
	case store.CallAuthorise:
		return w.acquirer.Authorise(ctx, id, acquirer.Authorisation{
			Payment: payment, Amount: c.Amount, Token: c.Token, TokenTo: c.TokenTo, Commission: c.Commission,
			Capture: c.Capture, Unattended: c.Unattended, NotifyURL: w.cfg.NotifyURL,
		})
	case store.CallConfirm:
		return w.acquirer.Confirm(ctx, id, acquirer.Confirmation{Payment: payment, Of: c.Of.String(), Code: c.Code})
	case store.CallCapture:
		return w.acquirer.Capture(ctx, id, movement)
	case store.CallVoid:
		return w.acquirer.Void(ctx, id, movement)
	case store.CallRefund:
		return w.acquirer.Refund(ctx, id, movement)
	}
	return acquirer.Answer{}, fmt.Errorf("%w: there is no call %q", acquirer.ErrRefused, c.Call)
}

// checkClear returns nil where the answer says what became of such a call. Anything else is as
// good as none.
func checkClear(call store.Call, a acquirer.Answer) error {
	payerCanAct := call == store.CallAuthorise || call == store.CallConfirm
	switch {
	case a.Status == acquirer.Approved, a.Status == acquirer.Declined:
		return nil
	case a.Status == acquirer.NeedsConfirmation && a.Challenge != nil && payerCanAct:
		return nil
	}
	return fmt.Errorf("%s is answered with %q", call, a.Status)
}

// resultOf is what to store of an answer, or of there being no clear one.
func resultOf(call store.CardCall, a acquirer.Answer, err error) store.CallResult {
	if err != nil {
		return store.CallResult{CardCall: call, Outcome: store.Unknown, Cause: err.Error(), Ladder: inquiries}
	}
	r := store.CallResult{
		CardCall: call, Outcome: store.CallOutcome(a.Status), Code: a.Code, Message: a.Message, Reference: a.Reference,
		SendOperationID: a.SendOperationID, ReceiveOperationID: a.ReceiveOperationID,
	}
	if c := a.Challenge; c != nil {
		r.Confirmation = &store.Confirmation{Type: c.Type, URL: c.URL, Form: c.Form, Left: c.Left}
	}
	return r
}
