package card

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scene is a store and an acquirer that do what they are told, and write down what they
// were asked for.
type scene struct {
	call     store.CardCall
	notOurs  bool
	startErr error

	answers []reply // of the acquirer, one for each question
	pingErr error

	finishErrs []error
	releaseErr error

	heard  []string // what was asked of whom, in order
	result store.CallResult
	lease  time.Duration
}

type reply struct {
	answer acquirer.Answer
	err    error
}

func (s *scene) hear(format string, args ...any) {
	s.heard = append(s.heard, fmt.Sprintf(format, args...))
}

func (s *scene) StartCall(_ context.Context, _ store.Ref, lease time.Duration) (store.CardCall, bool, error) {
	s.lease = lease
	s.hear("start")
	return s.call, !s.notOurs && s.startErr == nil, s.startErr
}

func (s *scene) FinishCall(_ context.Context, r store.CallResult) (store.Outcome, error) {
	s.hear("finish %s", r.Outcome)
	s.result = r
	if len(s.finishErrs) > 0 {
		err := s.finishErrs[0]
		s.finishErrs = s.finishErrs[1:]
		return store.Outcome{}, err
	}
	status := map[store.CallOutcome]store.Status{store.Approved: store.Succeeded, store.Declined: store.Failed, store.NeedsConfirmation: store.Succeeded, store.Unknown: store.Running}
	return store.Outcome{Status: status[r.Outcome]}, nil
}

func (s *scene) ReleaseCall(context.Context, store.CardCall) error {
	s.hear("release")
	return s.releaseErr
}

func (s *scene) RetryOperation(context.Context, store.Failure) (store.Retry, error) {
	return store.Retry{}, errors.New("this is not decided here")
}

func (s *scene) Ready(context.Context) error { return nil }

func (s *scene) answer(ctx context.Context, format string, args ...any) (acquirer.Answer, error) {
	s.hear(format, args...)
	r := s.answers[0]
	s.answers = s.answers[1:]
	if r.err == errHangs {
		<-ctx.Done()
		return acquirer.Answer{}, ctx.Err()
	}
	return r.answer, r.err
}

func (s *scene) Tokenise(context.Context, string, acquirer.Details) (acquirer.Token, error) {
	return acquirer.Token{}, errors.New("no worker has a card's number")
}

func (s *scene) Authorise(ctx context.Context, id string, a acquirer.Authorisation) (acquirer.Answer, error) {
	return s.answer(ctx, "authorise %s: %s with %s to %q, %d ours, capture %t, unattended %t, news to %s", id, a.Amount, a.Token, a.TokenTo, a.Commission, a.Capture, a.Unattended, a.NotifyURL)
}

func (s *scene) Confirm(ctx context.Context, id string, c acquirer.Confirmation) (acquirer.Answer, error) {
	return s.answer(ctx, "confirm %s: %s with %s", id, c.Of, c.Code)
}

func (s *scene) Capture(ctx context.Context, id string, m acquirer.Movement) (acquirer.Answer, error) {
	return s.answer(ctx, "capture %s: %s of %s", id, m.Amount, m.Of)
}

func (s *scene) Void(ctx context.Context, id string, m acquirer.Movement) (acquirer.Answer, error) {
	return s.answer(ctx, "void %s: %s of %s", id, m.Amount, m.Of)
}

func (s *scene) Refund(ctx context.Context, id string, m acquirer.Movement) (acquirer.Answer, error) {
	return s.answer(ctx, "refund %s: %s of %s", id, m.Amount, m.Of)
}

func (s *scene) Inquire(ctx context.Context, id string) (acquirer.Answer, error) {
	return s.answer(ctx, "inquire %s", id)
}

func (s *scene) Ping(context.Context) error { return s.pingErr }

const timeout = 10 * time.Second

func (s *scene) worker() *worker {
	return &worker{calls: s, acquirer: s, cfg: Config{Timeout: timeout, NotifyURL: "here"}, metrics: NewMetrics()}
}

var (
	intent        = store.IntentID{15: 1}
	authorisation = store.IntentID{15: 2}
	hryvnias      = money.Amount{Minor: 51100, Currency: store.Hryvnia}

	errHangs      = errors.New("no answer within any time")
	errCut        = errors.New("connection reset")
	errContention = fmt.Errorf("%w: %w", store.ErrUnavailable, &pgconn.PgError{Code: "40P01"})
)

// callOf is a call of which all is known that it may need.
func callOf(call store.Call, change ...func(*store.CardCall)) store.CardCall {
	c := store.CardCall{Intent: intent, Call: call, Amount: hryvnias, Token: "t", Code: "1234", Of: authorisation}
	for _, f := range change {
		f(&c)
	}
	return c
}

func wentOutBefore(c *store.CardCall) { c.Unknown = true }

func says(status acquirer.Status) reply {
	a := acquirer.Answer{Status: status}
	if status == acquirer.NeedsConfirmation {
		a.Challenge = &acquirer.Challenge{Type: "LOOKUP", Left: 3}
	}
	return reply{answer: a}
}

// fate says in a word what an attempt came to.
func fate(o store.Outcome, err error) string {
	switch {
	case queue.IsOutage(err):
		return "outage"
	case errors.Is(err, store.ErrUnavailable):
		return "database away"
	case err != nil:
		return "failed"
	case o.Stale():
		return "stale"
	}
	return string(o.Status)
}

const (
	authorise = "authorise 00000000-0000-0000-0000-000000000001: 511.00 UAH with t to \"\", 0 ours, capture false, unattended false, news to here"
	inquiry   = "inquire 00000000-0000-0000-0000-000000000001"
)

func TestWhatIsAskedAndStored(t *testing.T) {
	t.Parallel()
	const movement = " 00000000-0000-0000-0000-000000000001: 511.00 UAH of 00000000-0000-0000-0000-000000000002"
	for _, story := range []struct {
		name  string
		scene scene
		heard []string
		fate  string
	}{
		{
			"a payment is authorised",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", authorise, "finish approved"},
			"succeeded",
		},
		{
			"a subscription is charged from card to card",
			scene{
				call: callOf(store.CallAuthorise, func(c *store.CardCall) {
					c.TokenTo, c.Commission, c.Capture, c.Unattended = "u", 1100, true, true
				}),
				answers: []reply{says(acquirer.Approved)},
			},
			[]string{"start", "authorise 00000000-0000-0000-0000-000000000001: 511.00 UAH with t to \"u\", 1100 ours, capture true, unattended true, news to here", "finish approved"},
			"succeeded",
		},
		{
			"a decline is an outcome",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says(acquirer.Declined)}},
			[]string{"start", authorise, "finish declined"},
			"failed",
		},
		{
			"the payer must do something",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says(acquirer.NeedsConfirmation)}},
			[]string{"start", authorise, "finish needs_confirmation"},
			"succeeded",
		},
		{
			"the payer has done it",
			scene{call: callOf(store.CallConfirm), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", "confirm 00000000-0000-0000-0000-000000000001: 00000000-0000-0000-0000-000000000002 with 1234", "finish approved"},
			"succeeded",
		},
		{
			"a hold is completed",
			scene{call: callOf(store.CallCapture), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", "capture" + movement, "finish approved"},
			"succeeded",
		},
		{
			"a hold is let go",
			scene{call: callOf(store.CallVoid), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", "void" + movement, "finish approved"},
			"succeeded",
		},
		{
			"a payment is reversed",
			scene{call: callOf(store.CallRefund), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", "refund" + movement, "finish approved"},
			"succeeded",
		},
		{"the message is stale, or another worker is at it", scene{notOurs: true}, []string{"start"}, "stale"},
		{
			"the database is away before the call",
			scene{startErr: store.ErrUnavailable},
			[]string{"start"},
			"database away",
		},
		{
			"somebody holds the operation",
			scene{startErr: errContention},
			[]string{"start", "start", "start"},
			"database away",
		},
		{
			"the connection is cut",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{err: errCut}}},
			[]string{"start", authorise, "finish unknown"},
			"running",
		},
		{
			"the answer is a word that nobody knows",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says("settling")}},
			[]string{"start", authorise, "finish unknown"},
			"running",
		},
		{
			"the payer is to confirm, and nobody says how",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{answer: acquirer.Answer{Status: acquirer.NeedsConfirmation}}}},
			[]string{"start", authorise, "finish unknown"},
			"running",
		},
		{
			"the payer is to confirm what no payer takes part in",
			scene{call: callOf(store.CallRefund), answers: []reply{says(acquirer.NeedsConfirmation)}},
			[]string{"start", "refund" + movement, "finish unknown"},
			"running",
		},
		{
			"what went out before is asked about, and not called again",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{says(acquirer.Approved)}},
			[]string{"start", inquiry, "finish approved"},
			"succeeded",
		},
		{
			"it was declined then",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{says(acquirer.Declined)}},
			[]string{"start", inquiry, "finish declined"},
			"failed",
		},
		{
			"nothing of it has arrived: it goes out again, the same",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: acquirer.ErrNotFound}, says(acquirer.Approved)}},
			[]string{"start", inquiry, authorise, "finish approved"},
			"succeeded",
		},
		{
			"nothing has arrived, and the second try is lost too",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: acquirer.ErrNotFound}, {err: errCut}}},
			[]string{"start", inquiry, authorise, "finish unknown"},
			"running",
		},
		{
			"the inquiry is not answered",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: errCut}}},
			[]string{"start", inquiry, "finish unknown"},
			"running",
		},
		{
			"the acquirer cannot be reached",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{err: fmt.Errorf("authorise: %w", acquirer.ErrNotSent)}}},
			[]string{"start", authorise, "release"},
			"outage",
		},
		{
			"nor can it be asked",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: acquirer.ErrNotSent}}},
			[]string{"start", inquiry, "release"},
			"outage",
		},
		{
			"neither it nor the database",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{err: acquirer.ErrNotSent}}, releaseErr: store.ErrUnavailable},
			[]string{"start", authorise, "release"},
			"outage",
		},
		{
			"our key is wrong: an attempt, no decline",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{err: fmt.Errorf("authorise: %w", acquirer.ErrRefused)}}},
			[]string{"start", authorise, "release"},
			"failed",
		},
		{
			"our key is wrong for everything: nobody's attempt",
			scene{call: callOf(store.CallAuthorise), answers: []reply{{err: fmt.Errorf("authorise: %w", acquirer.ErrRefused)}}, pingErr: acquirer.ErrRefused},
			[]string{"start", authorise, "release"},
			"outage",
		},
		{
			"our key is wrong by now: what went out stays unknown",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: acquirer.ErrRefused}}},
			[]string{"start", inquiry, "finish unknown"},
			"running",
		},
		{
			"the call is refused whose first copy may still arrive",
			scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{{err: acquirer.ErrNotFound}, {err: acquirer.ErrRefused}}},
			[]string{"start", inquiry, authorise, "finish unknown"},
			"running",
		},
		{
			"a call that this version does not know",
			scene{call: callOf("exchange")},
			[]string{"start", "release"},
			"failed",
		},
		{
			"the database is away after the call",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says(acquirer.Approved)}, finishErrs: []error{store.ErrUnavailable}},
			[]string{"start", authorise, "finish approved"},
			"database away",
		},
		{
			"another result locks the same balance",
			scene{call: callOf(store.CallAuthorise), answers: []reply{says(acquirer.Approved)}, finishErrs: []error{errContention, errContention}},
			[]string{"start", authorise, "finish approved", "finish approved", "finish approved"},
			"succeeded",
		},
	} {
		s := story.scene
		if got := fate(s.worker().do(t.Context(), store.Ref{Seq: 1})); got != story.fate {
			t.Errorf("%s: it came to %s, want %s", story.name, got, story.fate)
		}
		if diff := cmp.Diff(story.heard, s.heard); diff != "" {
			t.Errorf("%s: what was done, -want +got\n%s", story.name, diff)
		}
		if s.lease != 22*time.Second {
			t.Errorf("%s: a lease of %s, want two timeouts and a margin", story.name, s.lease)
		}
	}
}

// All that the acquirer says reaches the store.
func TestAnAnswerIsStoredAsItIs(t *testing.T) {
	t.Parallel()
	s := &scene{call: callOf(store.CallAuthorise), answers: []reply{{answer: acquirer.Answer{
		Status: acquirer.NeedsConfirmation, Code: "c", Message: "m", Reference: "r", SendOperationID: "s", ReceiveOperationID: "v",
		Challenge: &acquirer.Challenge{Type: "3DS", URL: "u", Form: map[string]string{"PaReq": "p"}, Left: 2},
	}}}}
	if _, err := s.worker().do(t.Context(), store.Ref{}); err != nil {
		t.Fatal(err)
	}
	want := store.CallResult{
		CardCall: s.call, Outcome: store.NeedsConfirmation, Code: "c", Message: "m", Reference: "r", SendOperationID: "s", ReceiveOperationID: "v",
		Confirmation: &store.Confirmation{Type: "3DS", URL: "u", Form: map[string]string{"PaReq": "p"}, Left: 2},
	}
	if diff := cmp.Diff(want, s.result); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWhatIsUnknownIsAskedAboutForGood(t *testing.T) {
	t.Parallel()
	s := &scene{call: callOf(store.CallCapture), answers: []reply{{err: errCut}}}
	if _, err := s.worker().do(t.Context(), store.Ref{}); err != nil {
		t.Fatal(err)
	}
	last := s.result.Ladder[len(s.result.Ladder)-1]
	if s.result.Cause != errCut.Error() || last != (store.Delay{Wait: time.Hour}) {
		t.Errorf("unknown because of %q, in the end asked about after %+v; want %q, and every hour", s.result.Cause, last, errCut)
	}
}

// Who is told to stop lets the call that is under way end, in the call's own time.
func TestACallOutlivesTheWordToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		stop()
		s := &scene{call: callOf(store.CallAuthorise), answers: []reply{{err: errHangs}}}
		began := time.Now()
		if got := fate(s.worker().do(ctx, store.Ref{})); got != "running" || s.result.Outcome != store.Unknown {
			t.Errorf("it came to %s, %s; want unknown", got, s.result.Outcome)
		}
		if took := time.Since(began); took != timeout {
			t.Errorf("the call was given %s, want %s", took, timeout)
		}
	})
}

func TestItIsReadyWhileTheAcquirerIs(t *testing.T) {
	t.Parallel()
	s := &scene{}
	if err := s.worker().ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	s.pingErr = acquirer.ErrNotSent
	if err := s.worker().ready(t.Context()); !errors.Is(err, acquirer.ErrNotSent) {
		t.Errorf("without its acquirer: %v", err)
	}
}

func TestCallsAreCounted(t *testing.T) {
	t.Parallel()
	s := &scene{call: callOf(store.CallAuthorise, wentOutBefore), answers: []reply{
		{err: acquirer.ErrNotFound},
		says(acquirer.Approved),
		{err: errCut},
		{err: acquirer.ErrNotFound},
		says(acquirer.Declined),
	}}
	w := s.worker()
	before := testutil.CollectAndCount(w.metrics.calls)
	for range 3 {
		_, _ = w.do(t.Context(), store.Ref{})
	}
	for outcome, n := range map[string]float64{"authorise approved": 1, "authorise declined": 1, "inquire not_found": 2, "inquire unknown": 1, "refund approved": 0} {
		call, what, _ := strings.Cut(outcome, " ")
		if got := testutil.ToFloat64(w.metrics.calls.WithLabelValues(call, what)); got != n {
			t.Errorf("%s: counted %v, want %v", outcome, got, n)
		}
	}
	if after := testutil.CollectAndCount(w.metrics.calls); before != after || before != 37 {
		t.Errorf("%d series at first and %d in the end: all are to be there from the start", before, after)
	}
}
