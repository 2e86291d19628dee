package push

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// FCM gives a project 600,000 messages a minute; half of that leaves room for others who send
// for it.
const (
	fullPace    = 5000 // calls a second
	slowestPace = 5    // at which whatever is being handled is sent before the broker asks for it back
	paceBurst   = 2 * atOnce
	recovery    = 1.1 // a second: from the slowest to the full in 73 s, and FCM wants a minute
)

// pace is how fast the project may be called. It halves when FCM says that the quota is
// exceeded, from what was sent and not from what might have been, and recovers by and by.
type pace struct {
	mu      sync.Mutex
	limit   *rate.Limiter
	second  time.Time // that is being counted
	calls   int       // in it
	before  int       // in the last one that had any
	slowed  time.Time // when it last was
	changed time.Time // when it last was slowed or sped up
}

func newPace() *pace { return &pace{limit: rate.NewLimiter(fullPace, paceBurst)} }

// wait waits for its turn. Its error is the context's.
func (p *pace) wait(ctx context.Context) error {
	due := p.take(time.Now())
	if due <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err() // its turn is lost: nobody is in a hurry then
	}
}

// take takes a turn and says how long it is until then.
func (p *pace) take(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(now)
	p.calls++
	p.speedUp(now)
	return p.limit.ReserveN(now, 1).DelayFrom(now)
}

// count begins another second when that is due.
func (p *pace) count(now time.Time) {
	if now.Sub(p.second) < time.Second {
		return
	}
	if p.calls > 0 {
		p.before = p.calls
	}
	p.second, p.calls = now, 0
}

func (p *pace) speedUp(now time.Time) {
	for p.limit.Limit() < fullPace && now.Sub(p.changed) >= time.Second {
		p.changed = p.changed.Add(time.Second)
		p.limit.SetLimitAt(now, min(p.limit.Limit()*recovery, fullPace))
	}
}

// slow halves the pace, once a second at most: many calls that are under way together are told
// the same.
func (p *pace) slow(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.slowed) < time.Second {
		return
	}
	p.count(now)
	sent := rate.Limit(max(p.calls, p.before))
	p.slowed, p.changed = now, now
	p.limit.SetLimitAt(now, max(min(p.limit.Limit(), sent)/2, slowestPace))
}

// perSecond is the pace.
func (p *pace) perSecond() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.limit.Limit())
}
