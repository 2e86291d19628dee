package push

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firebase.google.com/go/v4/messaging"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// scene is a store and FCM that do what they are told, and write down what they were asked for.
type scene struct {
	push    store.Push
	ended   *store.Outcome // in place of a push to send
	answers []Answer
	err     error // of FCM's call
	pings   int

	finishErrs []error

	result store.PushResult
	sent   []*messaging.Message
}

func (s *scene) StartPush(context.Context, store.Ref, time.Duration) (store.Push, bool, store.Outcome, error) {
	if s.ended != nil {
		return store.Push{}, false, *s.ended, nil
	}
	return s.push, true, store.Outcome{}, nil
}

func (s *scene) FinishPush(_ context.Context, r store.PushResult) (store.Outcome, error) {
	if len(s.finishErrs) > 0 {
		err := s.finishErrs[0]
		s.finishErrs = s.finishErrs[1:]
		return store.Outcome{}, err
	}
	s.result = r
	return store.Outcome{Type: store.PushSend, Status: store.Succeeded}, nil
}

func (s *scene) RetryOperation(context.Context, store.Failure) (store.Retry, error) {
	return store.Retry{}, errors.New("this is not decided here")
}

func (s *scene) Ready(context.Context) error { return nil }

func (s *scene) Send(_ context.Context, m *messaging.Message) (Answer, error) {
	s.sent = append(s.sent, m)
	return s.next(), s.err
}

func (s *scene) Ping(context.Context) error {
	s.pings++
	if a := s.next(); a.Outcome == CredentialOutage {
		return a
	}
	return nil
}

func (s *scene) next() Answer {
	a := s.answers[0]
	s.answers = s.answers[1:]
	return a
}

func (s *scene) worker() (*worker, *strings.Builder) {
	logged := &strings.Builder{}
	return &worker{
		pushes: s, fcm: s, pace: newPace(), patience: time.Minute, metrics: NewMetrics(), refuted: make(map[store.OperationID]bool),
		log: slog.New(slog.NewTextHandler(logged, nil)),
	}, logged
}

func TestWhatFollowsFromAnAnswer(t *testing.T) {
	t.Parallel()
	rung := func(i int) *store.Delay { return &ladder[i] }
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for _, story := range []struct {
		name     string
		answer   Answer
		attempts int // before this one
		want     store.PushResult
	}{
		{"sent", Answer{Outcome: Sent, Status: 200}, 0, store.PushResult{}},
		{"dead", Answer{Outcome: DeadToken}, 0, store.PushResult{Code: "dead_token", Final: true, Token: store.TokenDead}},
		{"a strike", Answer{Outcome: TokenStrike}, 0, store.PushResult{Code: "token_strike", Final: true, Token: store.TokenStrike}},
		{"the project's fault", Answer{Outcome: ConfigFault}, 0, store.PushResult{Code: "config_fault", Final: true}},
		{"our fault", Answer{Outcome: PayloadRefused}, 0, store.PushResult{Code: "payload_refused"}},
		{"the first failure", Answer{Outcome: Again}, 0, store.PushResult{Code: "again", Next: rung(0)}},
		{"the fifth", Answer{Outcome: Again}, 4, store.PushResult{Code: "again", Next: rung(4)}},
		{"the sixth", Answer{Outcome: Again}, 5, store.PushResult{Code: "again"}},
		{"FCM wants a minute", Answer{Outcome: Again, Wait: minutes(1)}, 0, store.PushResult{Code: "again", Next: &store.Delay{Wait: minutes(1)}}},
		{"FCM wants two", Answer{Outcome: Again, Wait: minutes(2)}, 0, store.PushResult{Code: "again", Next: rung(2)}},
		{"FCM wants less than the ladder", Answer{Outcome: Again, Wait: minutes(1)}, 3, store.PushResult{Code: "again", Next: rung(3)}},
		{"FCM wants more than a rung", Answer{Outcome: Again, Wait: minutes(11)}, 0, store.PushResult{Code: "again", Next: &store.Delay{Wait: minutes(11)}}},
		{"the quota", Answer{Outcome: QuotaExceeded, Wait: minutes(1)}, 1, store.PushResult{Code: "quota", Next: &store.Delay{Wait: minutes(1)}}},
		{"the quota, for good", Answer{Outcome: QuotaExceeded, Wait: minutes(1)}, 5, store.PushResult{Code: "quota"}},
	} {
		p := made()
		p.Attempts = story.attempts
		s := &scene{push: p, answers: []Answer{story.answer}}
		w, _ := s.worker()
		if _, err := w.do(t.Context(), store.Ref{}); err != nil {
			t.Fatal(err)
		}
		story.want.Push = p
		opts := cmp.Options{cmpopts.IgnoreUnexported(store.Push{}), cmpopts.IgnoreFields(store.PushResult{}, "Reason")}
		if diff := cmp.Diff(story.want, s.result, opts); diff != "" {
			t.Errorf("%s: -want +got\n%s", story.name, diff)
		}
		if got := testutil.ToFloat64(w.metrics.pushes.WithLabelValues(string(story.answer.Outcome))); got != 1 || len(s.sent) != 1 {
			t.Errorf("%s: counted %v times, sent %d", story.name, got, len(s.sent))
		}
	}
}

func TestAPushThatIsOverIsNotSent(t *testing.T) {
	t.Parallel()
	for _, code := range []string{outcomeOutdated, outcomeNoPhone} {
		s := &scene{ended: &store.Outcome{Type: store.PushSend, Status: store.Failed, Code: code}}
		w, _ := s.worker()
		o, err := w.do(t.Context(), store.Ref{})
		if err != nil || o != *s.ended || len(s.sent) != 0 || testutil.ToFloat64(w.metrics.pushes.WithLabelValues(code)) != 1 {
			t.Errorf("%s: %+v, %v; sent %d", code, o, err, len(s.sent))
		}
	}
}

func TestACallThatWasGivenUpIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := &scene{push: made(), answers: []Answer{{}}, err: context.Canceled}
	w, _ := s.worker()
	if _, err := w.do(t.Context(), store.Ref{}); !queue.IsOutage(err) || s.result.Token != 0 || s.result.Code != "" {
		t.Errorf("%v; finished with %+v", err, s.result)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := w.do(stopped, store.Ref{}); !queue.IsOutage(err) || len(s.sent) != 1 {
		t.Errorf("told to stop: %v; sent %d", err, len(s.sent))
	}
}

// The phone was told, and the database is away: that is stored as soon as it is back, and the
// phone is not told again.
func TestWhatWasSentIsStoredOnce(t *testing.T) {
	t.Parallel()
	bug := errors.New("a bug")
	synctest.Test(t, func(t *testing.T) {
		s := &scene{push: made(), answers: []Answer{{Outcome: Sent}}, finishErrs: []error{store.ErrUnavailable, store.ErrUnavailable}}
		w, _ := s.worker()
		if o, err := w.do(t.Context(), store.Ref{}); err != nil || o.Status != store.Succeeded || len(s.sent) != 1 {
			t.Errorf("%+v, %v; sent %d", o, err, len(s.sent))
		}

		s = &scene{push: made(), answers: []Answer{{Outcome: Sent}}, finishErrs: []error{bug}}
		w, _ = s.worker()
		if _, err := w.do(t.Context(), store.Ref{}); !errors.Is(err, bug) || queue.IsOutage(err) {
			t.Errorf("a bug: %v", err)
		}

		away := make([]error, 1000)
		for i := range away {
			away[i] = store.ErrUnavailable
		}
		s = &scene{push: made(), answers: []Answer{{Outcome: Sent}}, finishErrs: away}
		w, _ = s.worker()
		drained, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := w.do(drained, store.Ref{}); !queue.IsOutage(err) {
			t.Errorf("away for good: %v", err)
		}
	})
}

func TestTheQuotaSlowsEveryPush(t *testing.T) {
	t.Parallel()
	s := &scene{push: made(), answers: []Answer{{Outcome: QuotaExceeded, Wait: time.Minute}}}
	w, _ := s.worker()
	if _, err := w.do(t.Context(), store.Ref{}); err != nil {
		t.Fatal(err)
	}
	if got := testutil.ToFloat64(w.metrics.pace); got != slowestPace {
		t.Errorf("the pace is %v", got)
	}
}

// FCM takes our credentials, but not for this one message: it is tried again like any other, and
// does not hold them up.
func TestAMessageThatAloneMeetsAnOutage(t *testing.T) {
	t.Parallel()
	denied := Answer{Outcome: CredentialOutage, Status: 403, Reason: "denied"}
	p := made()
	p.ID = store.OperationID{1}
	s := &scene{push: p, answers: []Answer{denied, {Outcome: Sent}, denied, denied, {Outcome: Again}, denied}}
	w, _ := s.worker()
	w.patience = 0
	if _, err := w.do(t.Context(), store.Ref{}); !queue.IsOutage(err) {
		t.Errorf("at first: %v", err)
	}
	if err := w.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"once more", "at its next attempt"} {
		s.result = store.PushResult{}
		if _, err := w.do(t.Context(), store.Ref{}); err != nil || s.result.Code != "credential_outage" || s.result.Next == nil || s.result.Final {
			t.Errorf("%s: %v; finished with %+v", when, err, s.result)
		}
	}
	if _, err := w.do(t.Context(), store.Ref{}); err != nil || s.result.Code != "again" {
		t.Errorf("it fails otherwise: %v; finished with %+v", err, s.result)
	}
	if _, err := w.do(t.Context(), store.Ref{}); !queue.IsOutage(err) {
		t.Errorf("and is denied after that: %v", err)
	}
}

// Nobody's attempts are used up, one line is logged, the gauge says it, and FCM is asked once a
// minute.
func TestAnOutageOfCredentials(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		denied := Answer{Outcome: CredentialOutage, Status: 403, Reason: "denied"}
		s := &scene{push: made(), answers: []Answer{denied, denied, denied, {Outcome: Sent}}}
		w, logged := s.worker()
		if err := w.ready(t.Context()); err != nil {
			t.Errorf("before: %v", err)
		}
		for range 2 {
			if _, err := w.do(t.Context(), store.Ref{}); !queue.IsOutage(err) || s.result.Code != "" {
				t.Errorf("%v; finished with %+v", err, s.result)
			}
		}
		outage := func() float64 { return testutil.ToFloat64(w.metrics.outage) }
		if n := strings.Count(logged.String(), "\n"); n != 1 || outage() != 1 {
			t.Errorf("%d lines are logged, and the gauge is %v:\n%s", n, outage(), logged)
		}
		for range 10 {
			if err := w.ready(t.Context()); !errors.Is(err, denied) {
				t.Errorf("at once: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if err := w.ready(t.Context()); !errors.Is(err, denied) || s.pings != 1 {
			t.Errorf("after a minute: %v, asked %d times", err, s.pings)
		}
		time.Sleep(time.Minute)
		if err := w.ready(t.Context()); err != nil || s.pings != 2 || outage() != 0 {
			t.Errorf("after two: %v, asked %d times, the gauge is %v", err, s.pings, outage())
		}
		if err := w.ready(t.Context()); err != nil || s.pings != 2 {
			t.Errorf("then: %v, asked %d times", err, s.pings)
		}
	})
}
