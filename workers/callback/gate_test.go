package callback

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
)

// The times in these tests are those of a bubble, which pass when everybody waits.

var (
	delivered = store.CallbackResult{Outcome: store.Delivered, Status: 200}
	timedOut  = store.CallbackResult{Outcome: store.CallbackTimeout}
)

func to(client int64, origin string) store.Callback {
	return store.Callback{Client: client, Origin: origin}
}

// enterN takes up room n times.
func enterN(t *testing.T, g *gate, c store.Callback, n int) (leave []func(store.CallbackResult)) {
	t.Helper()
	for range n {
		l, no := g.enter(t.Context(), c)
		if no != nil {
			t.Fatalf("after %d calls the gate is closed: %+v", len(leave), *no)
		}
		leave = append(leave, l)
	}
	return leave
}

// answer says what the gate said, and after how long.
func answer(t *testing.T, g *gate, c store.Callback) string {
	t.Helper()
	asked := time.Now()
	leave, no := g.enter(t.Context(), c)
	waited := time.Since(asked).Round(time.Millisecond)
	if no != nil {
		return fmt.Sprintf("%s for %s, after %s", no.reason, no.wait.Round(time.Millisecond), waited)
	}
	leave(delivered)
	return fmt.Sprintf("open after %s", waited)
}

func expect(t *testing.T, when, want, got string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", when, got, want)
	}
}

func TestAnEndpointHasSoManyCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		leave := enterN(t, g, c, callsAtOnce)
		expect(t, "another origin of the client", "open after 0s", answer(t, g, to(1, "b")))
		expect(t, "another client of the origin", "open after 0s", answer(t, g, to(2, "a")))

		time.AfterFunc(100*time.Millisecond, func() { leave[0](delivered) })
		expect(t, "while a call ends in time", "open after 100ms", answer(t, g, c))

		leave[0] = enterN(t, g, c, 1)[0]
		expect(t, "while none ends", "busy for 1s, after 250ms", answer(t, g, c))
		time.Sleep(time.Millisecond)
		expect(t, "where all have hung for so long", "busy for 1s, after 0s", answer(t, g, c))
		for _, l := range leave {
			l(delivered)
		}
		expect(t, "when they have ended", "open after 0s", answer(t, g, c))
	})
}

// A hundred and more that come at once to an endpoint that answers at once all get in, although
// it was idle for long.
func TestAQuickEndpointTakesABurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		expect(t, "the first", "open after 0s", answer(t, g, c))
		time.Sleep(time.Minute)
		var calls sync.WaitGroup
		for range firstAtOnce {
			calls.Go(func() {
				leave, no := g.enter(t.Context(), c)
				if no != nil {
					t.Errorf("one of them is put off: %+v", *no)
					return
				}
				time.Sleep(20 * time.Millisecond)
				leave(delivered)
			})
		}
		calls.Wait()
	})
}

// Who waits takes up a place in the pool. Behind a slow endpoint few do.
func TestFewWaitForASlowEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		for range 40 { // until the mean is what a call takes
			leave := enterN(t, g, c, 1)
			time.Sleep(200 * time.Millisecond)
			leave[0](delivered)
		}
		leave := enterN(t, g, c, callsAtOnce)
		var putOff atomic.Int32
		var calls sync.WaitGroup
		for range firstAtOnce {
			calls.Go(func() {
				l, no := g.enter(t.Context(), c)
				if no != nil {
					putOff.Add(1)
					return
				}
				l(delivered)
			})
		}
		synctest.Wait()
		if n := firstAtOnce - putOff.Load(); n < callsAtOnce || n > 2*callsAtOnce {
			t.Errorf("%d of %d wait", n, firstAtOnce)
		}
		for _, l := range leave {
			l(delivered)
		}
		calls.Wait()
	})
}

func TestWhoIsToldToStopDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		leave := enterN(t, g, c, callsAtOnce)
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, stop)
		asked := time.Now()
		if _, no := g.enter(ctx, c); no == nil || time.Since(asked) != 10*time.Millisecond {
			t.Errorf("after %s the gate says %+v", time.Since(asked), no)
		}
		for _, l := range leave {
			l(delivered)
		}
	})
}

func TestTheBreaker(t *testing.T) {
	t.Parallel()
	status := func(n int) store.CallbackResult {
		return store.CallbackResult{Outcome: store.CallbackRefused, Status: n}
	}
	for _, story := range []struct {
		name   string
		comes  store.CallbackResult
		closes bool
	}{
		{"there is no answer in time", timedOut, true},
		{"nobody listens", store.CallbackResult{Outcome: store.CallbackConnect}, true},
		{"the name is unknown", store.CallbackResult{Outcome: store.CallbackDNS}, true},
		{"the certificate is bad", store.CallbackResult{Outcome: store.CallbackTLS}, true},
		{"it is broken", status(500), true},
		{"it has too much to do", status(429), true},
		{"it does not like what it gets", status(400), false},
		{"it redirects", status(302), false},
		{"it is gone", store.CallbackResult{Outcome: store.CallbackGone, Status: 410}, false},
		{"its address is forbidden", store.CallbackResult{Outcome: store.CallbackForbidden}, false},
		{"the sender panicked", store.CallbackResult{}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, c := newGate(), to(1, "a")
			for range breakAfter - 1 {
				enterN(t, g, c, 1)[0](story.comes)
			}
			expect(t, story.name+", and works in between", "open after 0s", answer(t, g, c))
			for range breakAfter {
				enterN(t, g, c, 1)[0](story.comes)
			}
			want := "open after 0s"
			if story.closes {
				want = "breaker for 30s, after 0s"
			}
			expect(t, story.name, want, answer(t, g, c))
		})
	}
}

func TestOneCallFindsOutWhetherAnEndpointIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		for _, l := range enterN(t, g, c, callsAtOnce) {
			l(timedOut)
		}
		time.Sleep(20 * time.Second)
		expect(t, "after 20 s", "breaker for 10s, after 0s", answer(t, g, c))
		c.Parks = 5
		expect(t, "to who was put off often", "breaker for 32s, after 0s", answer(t, g, c))
		c.Parks = 0
		expect(t, "to another client", "open after 0s", answer(t, g, to(2, "a")))

		time.Sleep(11 * time.Second)
		probe := enterN(t, g, c, 1)[0]
		expect(t, "while one finds out", "breaker for 1s, after 0s", answer(t, g, c))
		probe(timedOut)
		expect(t, "after it found nothing", "breaker for 30s, after 0s", answer(t, g, c))

		time.Sleep(31 * time.Second)
		enterN(t, g, c, 1)[0](store.CallbackResult{Outcome: store.CallbackForbidden}) // found out nothing
		enterN(t, g, c, 1)[0](delivered)
		for _, l := range enterN(t, g, c, callsAtOnce) {
			l(delivered)
		}
	})
}

func TestWhoIsPutOffOftenIsPutOffForLonger(t *testing.T) {
	t.Parallel()
	var got []time.Duration
	for parks := range 12 {
		got = append(got, offFor(parks)/time.Second)
	}
	if diff := cmp.Diff([]time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600}, got); diff != "" {
		t.Errorf("seconds, -want +got\n%s", diff)
	}
	if got := offFor(32767); got != longestOff {
		t.Errorf("after many: %s", got)
	}
}

// Those that an endpoint's rate leaves no room for come back one by one, as it allows.
func TestARateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		c.RateLimit = 2
		for range 2 {
			expect(t, "what a second allows", "open after 0s", answer(t, g, c))
		}
		var got []string
		for range 4 {
			got = append(got, answer(t, g, c))
		}
		want := []string{"rate for 1s, after 0s", "rate for 1s, after 0s", "rate for 1.5s, after 0s", "rate for 2s, after 0s"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("what comes too early, -want +got\n%s", diff)
		}
		time.Sleep(400 * time.Millisecond)
		expect(t, "what comes a little early", "open after 100ms", answer(t, g, c))
		c.RateLimit = 0
		expect(t, "when the limit is gone", "open after 0s", answer(t, g, c))
	})
}

// Two that are registered at one address have a rate each, whoever is called in between.
func TestEachKeepsItsRateAtOneAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, slow, quick := newGate(), to(1, "a"), to(1, "a")
		slow.Endpoint, slow.RateLimit = store.NewEndpointID(), 1
		quick.Endpoint, quick.RateLimit = store.NewEndpointID(), 3
		var open [2]int
		for range 10 {
			for i, c := range []store.Callback{slow, quick} {
				if leave, no := g.enter(t.Context(), c); no == nil {
					leave(delivered)
					open[i]++
				}
			}
		}
		if open != [2]int{1, 3} {
			t.Errorf("%v calls are let through at once, want 1 and 3", open)
		}
	})
}

func TestARateHoldsUpNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, c := newGate(), to(1, "a")
		c.RateLimit = 1
		for range 3 * callsAtOnce {
			answer(t, g, c) // each must give its slot back
		}
		c.RateLimit = 0
		for _, l := range enterN(t, g, c, callsAtOnce) {
			l(delivered)
		}
	})
}

func TestEndpointsAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		for i := range 100 {
			answer(t, g, to(int64(i), "a"))
		}
		time.Sleep(forgetAfter)
		answer(t, g, to(1, "b"))
		if n := len(g.endpoints); n != 1 {
			t.Errorf("%d endpoints are remembered, want the one that is called", n)
		}
	})
}
