package callback

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/quittance/quittance/store"
)

// gate lets callbacks through to their endpoints, or says for how long they are to stay away.
//
// An endpoint, that is a client and the scheme, host and port that it is called at, has a
// number of calls at most; a rate, where it asked for one; and a breaker, which opens where
// one call after the other comes to nothing.
type gate struct {
	mu        sync.Mutex
	endpoints map[address]*endpoint
	swept     time.Time
}

type address struct {
	client int64
	origin string
}

const (
	callsAtOnce = 16                     // of one endpoint
	roomWait    = 250 * time.Millisecond // for room, at most: whoever waits takes up a place in the pool
	breakAfter  = 5                      // calls in a row that came to nothing
	breakFor    = 30 * time.Second       // until one call finds out
	shortestOff = time.Second
	longestOff  = 10 * time.Minute
	forgetAfter = 10 * time.Minute // an endpoint that is not called
)

// Why a callback is put off.
const (
	busy   = "busy"
	broken = "breaker"
	rated  = "rate"
)

// closed says why a callback cannot go to its endpoint now, and for how long to put it off.
type closed struct {
	reason string
	wait   time.Duration
}

func newGate() *gate { return &gate{endpoints: make(map[address]*endpoint)} }

// enter takes up room at a callback's endpoint, waiting a little for it. What it returns gives
// the room back, and tells how the call ended; or nothing was taken up, and closed says why.
func (g *gate) enter(ctx context.Context, c store.Callback) (leave func(store.CallbackResult), no *closed) {
	e := g.endpoint(c)
	if wait := e.brokenFor(); wait > 0 {
		return nil, &closed{broken, max(wait, offFor(c.Parks))}
	}
	if !e.takeSlot(ctx) {
		return nil, &closed{busy, offFor(c.Parks)}
	}
	// From here on the slot is given back, one way or the other. The breaker comes last: the
	// one call that it lets through to find out must not be one that has to wait.
	if wait := e.takeToken(ctx, c); wait > 0 {
		<-e.slots
		return nil, &closed{rated, max(wait, shortestOff)}
	}
	done, err := e.breaker.Allow()
	if err != nil {
		<-e.slots
		return nil, &closed{broken, max(e.brokenFor(), offFor(c.Parks))}
	}
	began := time.Now()
	return func(r store.CallbackResult) {
		done(healthOf(r))
		e.end(began)
	}, nil
}

// offFor is for how long a callback is put off that was put off so many times before.
func offFor(parks int) time.Duration {
	return min(shortestOff<<min(max(parks, 0), 20), longestOff)
}

func (g *gate) endpoint(c store.Callback) *endpoint {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.sweep(now)
	at := address{c.Client, c.Origin}
	e, ok := g.endpoints[at]
	if !ok {
		e = newEndpoint()
		g.endpoints[at] = e
	}
	e.used = now
	return e
}

// sweep forgets endpoints that nothing was to be sent to for longer than any of their calls
// lasts, and than their breakers stay open.
func (g *gate) sweep(now time.Time) {
	if now.Sub(g.swept) < forgetAfter {
		return
	}
	g.swept = now
	for at, e := range g.endpoints {
		if now.Sub(e.used) >= forgetAfter {
			delete(g.endpoints, at)
		}
	}
}

// endpoint is what the gate knows about one.
type endpoint struct {
	used    time.Time     // is the gate's
	slots   chan struct{} // holds one for each call
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	opened  atomic.Pointer[time.Time] // when the breaker opened last

	mu      sync.Mutex
	limits  map[store.EndpointID]*limit // several may be registered at one address
	waiting int
	moved   time.Time     // when a call last took its slot, or gave it back
	mean    time.Duration // that calls last
}

// limit is a rate that somebody asked for.
type limit struct {
	each   int           // second
	bucket *rate.Limiter // of calls
	line   *rate.Limiter // of those that were put off: when it is whose turn
}

func newEndpoint() *endpoint {
	e := &endpoint{slots: make(chan struct{}, callsAtOnce), limits: make(map[store.EndpointID]*limit)}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNotCalled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if now := time.Now(); to == gobreaker.StateOpen {
				e.opened.Store(&now)
			}
		},
	})
	return e
}

// brokenFor is how long the breaker stays open; 0 where it is not.
func (e *endpoint) brokenFor() time.Duration {
	if e.breaker.State() != gobreaker.StateOpen {
		return 0
	}
	return max(time.Until(e.opened.Load().Add(breakFor)), time.Millisecond)
}

// takeSlot takes one of the endpoint's calls, and waits for it where it will not be long.
func (e *endpoint) takeSlot(ctx context.Context) bool {
	taken, wait := e.tryOrJoin()
	if !wait {
		return taken
	}
	defer e.giveUp()
	enough := time.NewTimer(roomWait)
	defer enough.Stop()
	select {
	case e.slots <- struct{}{}:
		return true
	case <-enough.C:
	case <-ctx.Done():
	}
	return false
}

// tryOrJoin takes a slot, or says whether it is any use to wait for one: not where all calls
// have hung for as long as one would wait, and not behind so many that the rest of them will
// not do.
func (e *endpoint) tryOrJoin() (taken, wait bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.slots <- struct{}{}:
		e.moved = time.Now()
		return true, false
	default:
	}
	turn := time.Duration(e.waiting+1) * e.mean / callsAtOnce
	if time.Since(e.moved) > roomWait || turn > roomWait {
		return false, false
	}
	e.waiting++
	return false, true
}

func (e *endpoint) giveUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting--
}

// end gives a slot back, and keeps the mean of the last few calls.
func (e *endpoint) end(began time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moved = time.Now()
	e.mean += (e.moved.Sub(began) - e.mean) / 8
	<-e.slots
}

// takeToken waits until the endpoint's rate allows one more call, should that be soon. If not,
// it returns when it is the callback's turn: those that are put off come back one by one, as
// the rate allows, and not all together.
func (e *endpoint) takeToken(ctx context.Context, c store.Callback) (wait time.Duration) {
	if c.RateLimit <= 0 {
		return 0
	}
	l := e.limited(c)
	token := l.bucket.Reserve()
	soon := token.Delay()
	if soon > roomWait {
		token.Cancel()
		return soon + l.line.Reserve().Delay()
	}
	turn := time.NewTimer(soon)
	defer turn.Stop()
	select {
	case <-turn.C:
	case <-ctx.Done():
		token.Cancel()
		return soon
	}
	return 0
}

// limited returns the limit as it is by now. A bucket holds what a second allows.
func (e *endpoint) limited(c store.Callback) *limit {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := e.limits[c.Endpoint]
	if l == nil || l.each != c.RateLimit {
		each := c.RateLimit
		l = &limit{each, rate.NewLimiter(rate.Limit(each), each), rate.NewLimiter(rate.Limit(each), 1)}
		e.limits[c.Endpoint] = l
	}
	return l
}

// What the breaker is told of a call that did not come to an answer.
var (
	errDown      = errors.New("the endpoint is down, or has too much to do")
	errNotCalled = errors.New("the endpoint was not called")
)

// healthOf says whether an endpoint works, whatever it thinks of this one callback.
func healthOf(r store.CallbackResult) error {
	switch r.Outcome {
	case store.CallbackTimeout, store.CallbackConnect, store.CallbackDNS, store.CallbackTLS:
		return errDown
	case store.CallbackForbidden, "":
		return errNotCalled
	}
	if r.Status == 429 || r.Status >= 500 {
		return errDown
	}
	return nil
}
