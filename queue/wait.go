package queue

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// signal tells everybody who waits that something has changed. Take the channel first
// and look second: a change in between then closes the channel already taken.
type signal struct {
	mu      sync.Mutex
	changed chan struct{}
}

func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// newBackoff doubles from least to most, with a jitter of a fifth, so that the
// processes that lost the same broker do not come back in step.
func newBackoff(least, most time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     least,
		RandomizationFactor: 0.2,
		Multiplier:          2,
		MaxInterval:         most,
	}
}

// newProbeBackoff is between two looks at something that is down.
func newProbeBackoff() *backoff.ExponentialBackOff {
	return newBackoff(50*time.Millisecond, 5*time.Second)
}

// sleep waits for d, or less when ctx ends. It reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// outlive returns a context with the values of ctx that ends limit after ctx has.
func outlive(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(limit, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}
