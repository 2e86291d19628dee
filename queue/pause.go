package queue

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// pause holds a consumer still while something that its handler depends on is down.
// However many calls of the handler report it, one of them probes and all wait.
type pause struct {
	probe func(context.Context) error // nil: waiting is enough
	log   *slog.Logger

	mu   sync.Mutex
	over chan struct{} // closed at the end of the present pause; nil when there is none
	down error         // why the last pause began, if it ended without a probe that succeeded
}

// pass waits for the end of a pause, if there is one. It reports false when ctx ends
// first.
func (p *pause) pass(ctx context.Context) bool {
	p.mu.Lock()
	over := p.over
	p.mu.Unlock()
	if over == nil {
		return ctx.Err() == nil
	}
	select {
	case <-over:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// hold pauses because of cause, or joins the pause that there is, and returns when it
// is over. The first probe waits as well, for as long as retry says: a dependency that
// answers the probe and fails the handler must not be asked in a tight loop. It also
// returns when ctx ends, and then leaves the rest of the pause to clear.
func (p *pause) hold(ctx context.Context, cause error, retry *backoff.ExponentialBackOff) {
	if !p.begin(cause) {
		p.pass(ctx)
		return
	}
	since := time.Now()
	p.log.Warn("consumer paused", "error", cause)
	for sleep(ctx, retry.NextBackOff()) {
		if p.probe == nil || p.probe(ctx) == nil {
			p.log.Info("consumer resumed", "after", time.Since(since).Round(time.Millisecond).String())
			p.end(nil)
			return
		}
	}
	p.end(cause)
}

// clear waits, before the consumer takes messages from the broker, until its dependency
// answers: whoever cannot handle them does not hold them. Otherwise an outage would use up
// a delivery at every restart of the process and, with the broker's limit of 30 minutes on
// an acknowledgement, with time.
func (p *pause) clear(ctx context.Context, retry *backoff.ExponentialBackOff) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down == nil && p.probe != nil {
		down = p.probe(ctx)
	}
	if down != nil {
		p.hold(ctx, down, retry)
	}
}

func (p *pause) begin(cause error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		return false
	}
	p.over, p.down = make(chan struct{}), cause
	return true
}

func (p *pause) end(down error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.over, p.down = nil, down
}
