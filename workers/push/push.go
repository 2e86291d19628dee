package push

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"firebase.google.com/go/v4/messaging"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// ladder is of what may pass by itself: 42 minutes and 40 seconds in all. What still fails after
// an hour is no trouble that passes.
var ladder = workers.Ladder(10*time.Second, 30*time.Second, 2*time.Minute, 10*time.Minute, 30*time.Minute)

// pushes is what this worker needs of the store.
type pushes interface {
	StartPush(ctx context.Context, ref store.Ref, call time.Duration) (store.Push, bool, store.Outcome, error)
	FinishPush(context.Context, store.PushResult) (store.Outcome, error)
	RetryOperation(context.Context, store.Failure) (store.Retry, error)
	Ready(context.Context) error
}

// fcm is what it needs of FCM.
type fcm interface {
	Send(context.Context, *messaging.Message) (Answer, error)
	Ping(context.Context) error
}

type worker struct {
	pushes   pushes
	fcm      fcm // nil: pushes are off
	pace     *pace
	patience time.Duration
	metrics  *Metrics
	log      *slog.Logger

	mu      sync.Mutex
	outage  Answer                     // what FCM, or the token endpoint, said of our credentials; zero: they are taken
	asked   time.Time                  // when it last was
	met     map[store.OperationID]bool // who met this outage
	refuted map[store.OperationID]bool // who met one that was over by FCM's own word, and was told nothing else since
}

// New returns the worker of the queue pushes. Where s is nil, pushes are off: their operations
// fail, and say so.
func New(p pushes, s *Sender, c *queue.Connection, log *slog.Logger, counted *workers.Metrics, m *Metrics) workers.Worker {
	w := &worker{pushes: p, pace: newPace(), metrics: m, log: log, refuted: make(map[store.OperationID]bool)}
	if s != nil {
		w.fcm, w.patience = s, s.patience
	}
	singly := &workers.Singly{
		Attempts: workers.Attempts{
			Queue: queue.Pushes, Ladder: ladder, Retry: p.RetryOperation, Probe: w.ready,
			Log: log, Metrics: counted,
		},
		AtOnce: atOnce, Drain: sendTimeout + 5*time.Second, Do: w.do,
	}
	pushing := singly.Worker("push", c)
	return workers.Worker{Name: pushing.Name, Run: func(ctx context.Context) error {
		if s == nil {
			log.Warn("pushes are off: no QUITTANCE_FCM_CREDENTIALS; phones are told nothing", "worker", pushing.Name)
			return pushing.Run(ctx)
		}
		defer s.Close()
		log.Info("pushes are sent", "worker", pushing.Name, "project", s.Project)
		return pushing.Run(ctx)
	}}
}

// do makes one attempt to tell the phone that a message is about.
func (w *worker) do(ctx context.Context, ref store.Ref) (store.Outcome, error) {
	if w.fcm != nil {
		if err := w.pace.wait(ctx); err != nil {
			return store.Outcome{}, queue.Outage(err) // told to stop: nothing was tried
		}
	}
	p, send, ended, err := w.pushes.StartPush(ctx, ref, sendTimeout)
	if err != nil || !send {
		if ended.Code != "" {
			w.metrics.pushes.WithLabelValues(ended.Code).Inc()
		}
		return ended, err
	}
	if w.fcm == nil {
		w.metrics.pushes.WithLabelValues(outcomeOff).Inc()
		return w.finish(ctx, store.PushResult{Push: p, Code: "pushes_off", Reason: "Phones are not told anything here.", Final: true})
	}
	answer, err := w.call(ctx, p)
	if err != nil {
		return store.Outcome{}, queue.Outage(err) // told to stop: it may have been sent, and is sent again
	}
	if answer.Outcome == CredentialOutage && w.believes(p.ID, answer) {
		return store.Outcome{}, queue.Outage(answer)
	}
	return w.finish(ctx, resultOf(p, answer))
}

func (w *worker) finish(ctx context.Context, r store.PushResult) (store.Outcome, error) {
	return workers.Persist(ctx, func() (store.Outcome, error) { return w.pushes.FinishPush(ctx, r) })
}

// call sends a push, and minds what the answer says about all others.
func (w *worker) call(ctx context.Context, p store.Push) (Answer, error) {
	started := time.Now()
	answer, err := w.fcm.Send(ctx, message(p, started))
	if err != nil {
		return Answer{}, err
	}
	w.metrics.called(answer.Outcome, time.Since(started))
	if answer.Outcome == QuotaExceeded {
		w.pace.slow(time.Now())
	}
	if answer.Outcome != CredentialOutage {
		w.acquit(p.ID)
	}
	w.metrics.pace.Set(w.pace.perSecond())
	return answer, nil
}

// resultOf is what an answer means for the push and its token.
func resultOf(p store.Push, a Answer) store.PushResult {
	r := store.PushResult{Push: p, Code: string(a.Outcome), Reason: a.said()}
	switch a.Outcome {
	case Sent:
		r.Code, r.Reason = "", ""
	case DeadToken:
		r.Final, r.Token = true, store.TokenDead
	case TokenStrike:
		r.Final, r.Token = true, store.TokenStrike
	case ConfigFault:
		r.Final = true
	case PayloadRefused: // a bug of ours: somebody has to look at it
	case QuotaExceeded, Again, CredentialOutage: // the last, of this message only
		if p.Attempts < len(ladder) {
			next := atLeast(ladder[p.Attempts], a.Wait)
			r.Next = &next
		}
	}
	return r
}

// atLeast is a rung, or as long as FCM wants it: that waits in its row, where the broker has no
// such rung.
func atLeast(rung store.Delay, wait time.Duration) store.Delay {
	if rung.Wait >= wait {
		return rung
	}
	name, _ := queue.RungName(wait)
	return store.Delay{Name: name, Wait: wait}
}

// believes has everything wait until our credentials are taken again. The one alert for it is
// the gauge's. A message that says so once more, after FCM has said that they are taken, is alone
// to blame, for as long as it is told nothing else: it must not hold up all others.
func (w *worker) believes(id store.OperationID, a Answer) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refuted[id] {
		return false
	}
	if w.outage.Outcome == "" {
		w.log.Error("FCM does not take our credentials: pushes wait", "worker", "push", "error", a.Reason, "status", a.Status)
		w.met = make(map[store.OperationID]bool)
	}
	w.met[id] = true
	w.outage, w.asked = a, time.Now()
	w.metrics.outage.Set(1)
	return true
}

// acquit believes a message again that FCM takes our credentials for.
func (w *worker) acquit(id store.OperationID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.refuted, id)
}

// mostRefuted bounds what is remembered of messages that may have ended elsewhere by now.
const mostRefuted = 10_000

// ready is the probe. FCM is asked only where it did not take our credentials, and not all the
// time: it has our word that we would be back.
func (w *worker) ready(ctx context.Context) error {
	if err := w.pushes.Ready(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	outage, early := w.outage, time.Since(w.asked) < w.patience
	if outage.Outcome == "" {
		w.mu.Unlock()
		return nil
	}
	if early {
		w.mu.Unlock()
		return outage
	}
	w.asked = time.Now()
	w.mu.Unlock()

	err := w.fcm.Ping(ctx)
	if errors.Is(err, context.Canceled) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if said, refused := errors.AsType[Answer](err); refused {
		w.outage = said
		return said
	}
	if len(w.refuted) > mostRefuted {
		clear(w.refuted)
	}
	maps.Copy(w.refuted, w.met)
	w.outage = Answer{}
	w.metrics.outage.Set(0)
	w.log.Info("FCM takes our credentials", "worker", "push")
	return nil
}
