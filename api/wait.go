package api

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

const (
	operationHeader = "Operation-Id"
	statusHeader    = "Operation-Status"
	maxWait         = 30 * time.Second
	pollInterval    = 10 * time.Millisecond
	pauseAfterError = time.Second
)

// operations is what waiting needs of the store.
type operations interface {
	Operations(context.Context, []store.OperationID) ([]store.Operation, error)
}

// Waiter tells requests when their operations are final. However many wait, one query
// asks for all of them.
type Waiter struct {
	operations operations
	log        *slog.Logger
	stopping   <-chan struct{}

	mu      sync.Mutex
	waiting map[store.OperationID][]chan store.Operation
	work    chan struct{} // somebody waits
}

// NewWaiter returns a waiter that answers nobody until Run runs. Once stopping is closed
// nobody waits any more: a process that ends answers with what is known.
func NewWaiter(o operations, log *slog.Logger, stopping <-chan struct{}) *Waiter {
	return &Waiter{operations: o, log: log, stopping: stopping, waiting: make(map[store.OperationID][]chan store.Operation), work: make(chan struct{}, 1)}
}

// Run polls while somebody waits, until ctx ends.
func (w *Waiter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.work:
		}
		for pause := w.poll(ctx); pause > 0; pause = w.poll(ctx) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
		}
	}
}

// poll asks once for all, and returns when to ask again: 0 for nobody waits.
func (w *Waiter) poll(ctx context.Context) time.Duration {
	w.mu.Lock()
	ids := make([]store.OperationID, 0, len(w.waiting))
	for id := range w.waiting {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	if len(ids) == 0 {
		return 0
	}
	found, err := w.operations.Operations(ctx, ids)
	if err != nil {
		w.log.Error("poll operations", "error", err)
		return pauseAfterError
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range found {
		if !o.Status.Open() {
			for _, told := range w.waiting[o.ID] {
				told <- o
			}
			delete(w.waiting, o.ID)
		}
	}
	if len(w.waiting) == 0 {
		return 0
	}
	return pollInterval
}

// Wait returns the operation once it is final or dead, or false when d or ctx ended before.
func (w *Waiter) Wait(ctx context.Context, id store.OperationID, d time.Duration) (store.Operation, bool) {
	told := make(chan store.Operation, 1)
	w.mu.Lock()
	w.waiting[id] = append(w.waiting[id], told)
	w.mu.Unlock()
	defer w.forget(id, told)
	select {
	case w.work <- struct{}{}:
	default:
	}

	enough := time.NewTimer(d)
	defer enough.Stop()
	select {
	case o := <-told:
		return o, true
	case <-enough.C:
	case <-ctx.Done():
	case <-w.stopping:
	}
	return store.Operation{}, false
}

func (w *Waiter) forget(id store.OperationID, told chan store.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []chan store.Operation
	for _, other := range w.waiting[id] {
		if other != told {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(w.waiting, id)
		return
	}
	w.waiting[id] = left
}

// Accepted answers a command that was accepted: at once, or once its operation is final
// where the client prefers to wait. settled is the status of the answer if it has succeeded
// meanwhile. refused words an operation that failed, or died and waits for an operator; nil
// answers as accepted. A header tells an end from a wait that ran out.
func (w *Waiter) Accepted(c *gin.Context, a store.Answer, settled int, refused func(store.Operation) *Refusal) error {
	nameOperation(c, a.Operation)
	if d := PreferredWait(c); d > 0 {
		o, ended := w.Wait(c.Request.Context(), a.Operation, d)
		if !ended {
			o.Status = store.Accepted
		}
		c.Header(statusHeader, string(o.Status))
		switch o.Status {
		case store.Succeeded:
			a.Status = settled
		case store.Failed, store.Dead:
			if r := refused(o); r != nil {
				return r
			}
		}
	}
	Answer(c, a.Status, a.Body)
	return nil
}

func nameOperation(c *gin.Context, id store.OperationID) {
	c.Header(operationHeader, id.String())
	c.Header("Location", "/operations/"+id.String())
}

// PreferredWait reads "Prefer: wait=N" (RFC 7240): how long the client prefers to wait for
// an operation's end. N is in seconds, at most 30; what is not understood is ignored, as
// the RFC wants it.
func PreferredWait(c *gin.Context) time.Duration {
	for _, header := range c.Request.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(header, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(preference), "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
			if err != nil || n <= 0 {
				return 0
			}
			return min(time.Duration(n)*time.Second, maxWait)
		}
	}
	return 0
}
