package api

import (
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"
)

// RateLimit bounds how often one address may call an endpoint.
type RateLimit struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	callers map[string]*caller
	swept   time.Time
}

type caller struct {
	bucket *rate.Limiter
	seen   time.Time
}

// forgetAfter is when a bucket is full again, whatever was taken from it.
const forgetAfter = 10 * time.Minute

// NewRateLimit allows perSecond calls a second on average, and twice as many at once.
func NewRateLimit(perSecond float64) *RateLimit {
	return &RateLimit{perSecond: rate.Limit(perSecond), burst: max(1, int(2*perSecond)), callers: make(map[string]*caller)}
}

var errTooOften = &Refusal{Status: http.StatusTooManyRequests, Code: "too_many_requests", Message: "Too many requests, try again later!", RetryAfter: time.Second}

// Around limits a handler.
func (l *RateLimit) Around(handle Handler) Handler {
	return func(c *gin.Context) error {
		if !l.allow(c.ClientIP(), time.Now()) {
			return errTooOften
		}
		return handle(c)
	}
}

func (l *RateLimit) allow(address string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) > forgetAfter {
		for a, c := range l.callers {
			if now.Sub(c.seen) > forgetAfter {
				delete(l.callers, a)
			}
		}
		l.swept = now
	}
	c, known := l.callers[address]
	if !known {
		c = &caller{bucket: rate.NewLimiter(l.perSecond, l.burst)}
		l.callers[address] = c
	}
	c.seen = now
	return c.bucket.AllowN(now, 1)
}
