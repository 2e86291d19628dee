package callback

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/callback/callbacktest"
)

// scene is a store that does what it is told, and writes down what it was asked for.
type scene struct {
	callback  store.Callback
	nothing   bool // is to be sent
	startErr  error
	parkErr   error
	finishErr []error // one for each time that it is asked
	outcome   store.Outcome

	heard  []string
	result store.CallbackResult
}

func (s *scene) hear(format string, args ...any) {
	s.heard = append(s.heard, fmt.Sprintf(format, args...))
}

func (s *scene) StartCallback(_ context.Context, ref store.Ref, call time.Duration) (store.Callback, bool, store.Outcome, error) {
	s.hear("start for %s", call)
	return s.callback, !s.nothing && s.startErr == nil, store.Outcome{}, s.startErr
}

func (s *scene) ParkCallback(_ context.Context, _ store.Ref, wait time.Duration, _ bool) error {
	s.hear("park for %s", wait)
	return s.parkErr
}

func (s *scene) FinishCallback(_ context.Context, r store.CallbackResult) (store.Outcome, error) {
	s.hear("finish %s", r.Outcome)
	if len(s.finishErr) > 0 {
		err := s.finishErr[0]
		s.finishErr = s.finishErr[1:]
		return store.Outcome{}, err
	}
	s.result = r
	return s.outcome, nil
}

func (s *scene) RetryOperation(context.Context, store.Failure) (store.Retry, error) {
	return store.Retry{}, errors.New("this is not decided here")
}

func (s *scene) Ready(context.Context) error { return nil }

var errBug = errors.New("a bug")

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
	case o.Retry.Verdict != "":
		return fmt.Sprintf("%s after %s", o.Retry.Verdict, o.Code)
	}
	return fmt.Sprintf("%s %s", o.Status, o.Code)
}

func TestWhatBecomesOfACallback(t *testing.T) {
	t.Parallel()
	ended := store.Outcome{Type: store.CallbackSend, Status: store.Succeeded}
	retried := store.Outcome{Type: store.CallbackSend, Status: store.Running, Code: "refused", Retry: store.Retry{Verdict: store.RetryStored, Delay: "5s"}}
	last := store.Outcome{Type: store.CallbackSend, Status: store.Running, Code: "refused", Retry: store.Retry{Verdict: store.RetryUsedUp}}
	const begun, parked = "start for 7s", "park for 1s"
	for _, story := range []struct {
		name   string
		scene  scene
		status int  // that the partner answers
		full   bool // the endpoint has no room
		heard  []string
		fate   string
		sent   int32
	}{
		{name: "it is delivered", status: 200, scene: scene{outcome: ended}, heard: []string{begun, "finish delivered"}, fate: "succeeded ", sent: 1},
		{name: "it is refused", status: 500, scene: scene{outcome: retried}, heard: []string{begun, "finish refused"}, fate: "retry after http://shop.example:80: refused: answered 500 Internal Server Error", sent: 1},
		{name: "it is refused for the last time", status: 500, scene: scene{outcome: last}, heard: []string{begun, "finish refused"}, fate: "used_up after http://shop.example:80: refused: answered 500 Internal Server Error", sent: 1},
		{name: "the message is stale", scene: scene{nothing: true}, heard: []string{begun}, fate: "stale"},
		{name: "the database is away", scene: scene{startErr: store.ErrUnavailable}, heard: []string{begun}, fate: "database away"},
		{name: "the endpoint has no room", full: true, heard: []string{begun, parked}, fate: "running parked_busy"},
		{name: "the endpoint has no room, and the database is away", full: true, scene: scene{parkErr: store.ErrUnavailable}, heard: []string{begun, parked}, fate: "database away"},
		{
			name: "the database is away once it is sent", status: 200, scene: scene{outcome: ended, finishErr: []error{store.ErrUnavailable, store.ErrUnavailable}},
			heard: []string{begun, "finish delivered", "finish delivered", "finish delivered"}, fate: "succeeded ", sent: 1,
		},
		{
			name: "it cannot be stored", status: 200, scene: scene{finishErr: []error{errBug}},
			heard: []string{begun, "finish delivered"}, fate: "failed", sent: 1,
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			var sent atomic.Int32
			s := story.scene
			s.callback = told(store.PolicyStandard)
			s.callback.URL = callbacktest.Handling(t, func(w http.ResponseWriter, _ *http.Request) {
				sent.Add(1)
				w.WriteHeader(story.status)
			})
			w := &worker{callbacks: &s, sender: sending(t, Config{Allow: loopback}), gate: newGate(), metrics: NewMetrics()}
			if story.full {
				for _, leave := range enterN(t, w.gate, s.callback, callsAtOnce) {
					defer leave(delivered)
				}
			}
			if got := fate(w.do(t.Context(), s.callback.Ref)); got != story.fate {
				t.Errorf("it came to %s, want %s", got, story.fate)
			}
			if diff := cmp.Diff(story.heard, s.heard); diff != "" {
				t.Errorf("what was done, -want +got\n%s", diff)
			}
			if sent.Load() != story.sent {
				t.Errorf("sent %d times, want %d", sent.Load(), story.sent)
			}
			if counted := testutil.ToFloat64(w.metrics.parks.WithLabelValues(busy)); (counted == 1) != (story.fate == "running parked_busy") {
				t.Errorf("%v parks are counted", counted)
			}
		})
	}
}

// What could not be signed is our fault: it is not sent, and takes up no room afterwards.
func TestACallbackThatCannotBeSignedGivesItsRoomBack(t *testing.T) {
	t.Parallel()
	s := &scene{callback: told(store.PolicyStandard)}
	s.callback.Keys = nil
	w := &worker{callbacks: s, sender: sending(t, Config{}), gate: newGate(), metrics: NewMetrics()}
	for range 2 * callsAtOnce {
		if o, err := w.do(t.Context(), s.callback.Ref); !errors.Is(err, errUnsigned) {
			t.Fatalf("%+v, %v", o, err)
		}
	}
}

// A worker that is told to stop keeps trying to store what it sent until its drain is over.
func TestTheDrainEndsTheWaitForTheDatabase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := make([]error, 1000)
		for i := range away {
			away[i] = fmt.Errorf("finish: %w", store.ErrUnavailable)
		}
		s := &scene{finishErr: away}
		w := &worker{callbacks: s}
		ctx, end := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, end)
		began := time.Now()
		if got := fate(w.finish(ctx, delivered)); got != "outage" || time.Since(began) != 20*time.Second {
			t.Errorf("after %s it came to %s", time.Since(began), got)
		}
		if n := len(s.heard); n < 10 || n > 100 {
			t.Errorf("the store was asked %d times", n)
		}
	})
}

func TestTheLadders(t *testing.T) {
	t.Parallel()
	for policy, want := range map[store.CallbackPolicy][]string{
		store.PolicyInvoicer: {"5s on its rung", "5m0s on its rung", "1h0m0s", "2h0m0s", "24h0m0s"},
		store.PolicyStandard: {
			"5s on its rung", "30s on its rung", "2m0s on its rung", "10m0s on its rung", "30m0s", "2h0m0s",
			"5h0m0s", "10h0m0s", "14h0m0s", "20h0m0s", "24h0m0s",
		},
	} {
		var got []string
		for _, d := range ladders[policy] {
			rung := d.Wait.String()
			if d.Name != "" {
				rung += " on its rung"
			}
			got = append(got, rung)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, -want +got\n%s", policy, diff)
		}
	}
}

// A replay that fails leaves the automatic attempts what they had: the one that was pending
// waits as long as it did, and is not lost where it was the last.
func TestAReplayTakesNothingFromTheLadder(t *testing.T) {
	t.Parallel()
	for policy, ladder := range ladders {
		for attempts := range len(ladder) + 3 {
			c := store.Callback{Policy: policy, Attempts: attempts, Replaying: true}
			pending := store.Callback{Policy: policy, Attempts: max(attempts-1, 0)}
			got, want := next(c, 0), next(pending, 0)
			if (got == nil) != (want == nil) || (got == nil) != (attempts > len(ladder)) {
				t.Errorf("%s, replayed after %d attempts: next is %+v, want %+v", policy, attempts, got, want)
			} else if got != nil && (got.Name != want.Name || got.Wait > want.Wait*5/4 || want.Wait > got.Wait*5/4) {
				t.Errorf("%s, replayed after %d attempts: it waits %s, want %s", policy, attempts, got.Wait, want.Wait)
			}
		}
	}
}

func TestARetryIsNeitherTooEarlyNorTooLate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := store.Callback{
			Policy:   rapid.SampledFrom([]store.CallbackPolicy{store.PolicyInvoicer, store.PolicyStandard}).Draw(t, "policy"),
			Attempts: rapid.IntRange(0, 15).Draw(t, "attempts"),
		}
		asked := time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "asked"))
		ladder := ladders[c.Policy]
		d := next(c, asked)
		if (d == nil) != (c.Attempts >= len(ladder)) {
			t.Fatalf("after %d attempts: %+v", c.Attempts+1, d)
		}
		if d == nil {
			return
		}
		base := ladder[c.Attempts].Wait
		if d.Wait < base || d.Wait > 2*base || d.Wait < min(asked, 2*base) {
			t.Fatalf("%s is waited, where the ladder has %s and %s is asked for", d.Wait, base, asked)
		}
		if asked <= base && d.Wait > base+base/10 {
			t.Fatalf("%s is waited, where the ladder has %s", d.Wait, base)
		}
		if name, _ := queue.RungName(d.Wait); name != d.Name {
			t.Fatalf("%s waits on %q, want %q", d.Wait, d.Name, name)
		}
	})
}
