package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Admission refuses new commands while the old ones wait too long: accepting more would
// only make everybody wait longer.
type Admission struct {
	oldest func(context.Context) (time.Duration, error)
	broker func() bool // while the broker is down, accepting is the point
	limit  time.Duration

	mu  sync.Mutex
	age time.Duration // of the oldest, when last looked at
}

// NewAdmission returns an admission that lets everybody in until Run finds a reason not to.
func NewAdmission(oldest func(context.Context) (time.Duration, error), brokerReady func() bool, limit time.Duration) *Admission {
	return &Admission{oldest: oldest, broker: brokerReady, limit: limit}
}

// Run looks every quarter of a second, until ctx ends.
func (a *Admission) Run(ctx context.Context) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if age, err := a.oldest(ctx); err == nil { // an outage of the database is not overload: the last age stands
			a.mu.Lock()
			a.age = age
			a.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

var errOverloaded = &Refusal{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "Service temporarily unavailable!", RetryAfter: 5 * time.Second}

// Admit returns nil, or the refusal to answer with.
func (a *Admission) Admit() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.age > a.limit && a.broker() {
		return errOverloaded
	}
	return nil
}
