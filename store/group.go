package store

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// group commits what arrives together in one transaction: one fsync for all of them.
//
// Whoever arrives while fewer than leaders transactions are under way starts another one,
// which lives until nothing waits any more. A caller that gives up before its transaction
// begins is not committed; one that gives up during it is told that it does not know.
type group[T any] struct {
	name string // of what it does, in traces

	// commit commits all of them in one transaction, and puts their results into T. Those
	// that it names as later must not be in one set with the others: nothing was done for
	// them, and they wait on.
	commit func(context.Context, []T) (later []int, err error)
	work   *sync.WaitGroup

	mu      sync.Mutex
	waiting []member[T]
	leading int
}

type member[T any] struct {
	item T
	ctx  context.Context // of its caller
	done chan error
}

const (
	groupLeaders = 2                      // one prepares while the other waits for the disk
	groupSize    = 256                    // members of one transaction, at most
	groupQueue   = 10_000                 // members that wait, at most: seconds of work
	groupLinger  = 500 * time.Microsecond // for others to arrive
	groupTimeout = 8 * time.Second
	groupTries   = 2 // of a set that loses races; then its members go one by one
)

// do commits item with whatever else waits, and returns when it is committed or refused.
func (g *group[T]) do(ctx context.Context, item T) error {
	ctx, waiting := span(ctx, g.name)
	defer waiting.End()
	m := member[T]{item: item, ctx: ctx, done: make(chan error, 1)}
	if !g.join(m) {
		return fmt.Errorf("%w: too many wait to be committed", ErrUnavailable)
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

func gaveUp(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err()) }

func (g *group[T]) join(m member[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) >= groupQueue {
		return false
	}
	g.waiting = append(g.waiting, m)
	if g.leading < groupLeaders {
		g.leading++
		g.work.Go(g.lead)
	}
	return true
}

func (g *group[T]) lead() {
	for {
		time.Sleep(groupLinger)
		members := g.take()
		if members == nil {
			return
		}
		g.settle(members)
	}
}

// take hands over the oldest members whose callers still wait. Where there are none it
// takes the leader's place away under the same lock, so that nobody waits without a leader.
func (g *group[T]) take() []member[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(m member[T]) bool { return m.ctx.Err() != nil })
	n := min(len(g.waiting), groupSize)
	if n == 0 {
		g.leading--
		return nil
	}
	members := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return members
}

// settle commits the members together or, where that fails through one of them, one by
// one: nobody pays for somebody else's violation.
func (g *group[T]) settle(members []member[T]) {
	items := make([]T, len(members))
	for i, m := range members {
		items[i] = m.item
	}
	places, err := g.try(members[0].ctx, items, groupTries)
	var now, later []member[T]
	for i, m := range members {
		if slices.Contains(places, i) {
			later = append(later, m)
		} else {
			now = append(now, m)
		}
	}
	g.wait(later)
	if err != nil && len(now) > 1 && FaultOf(err) != FaultOutage {
		g.settleEach(now)
		return
	}
	for _, m := range now {
		m.done <- err
	}
}

// settleEach commits members one by one, but for those whose callers have given up by now,
// and until the database is gone.
func (g *group[T]) settleEach(members []member[T]) {
	var outage error
	for _, m := range members {
		switch {
		case outage != nil:
			m.done <- outage
		case m.ctx.Err() != nil:
			m.done <- gaveUp(m.ctx) // never nil: its caller may yet look here first
		default:
			_, err := g.try(m.ctx, []T{m.item}, 1)
			if FaultOf(err) == FaultOutage {
				outage = err
			}
			m.done <- err
		}
	}
}

// wait puts members back, behind those who came after them: they have had their turn.
func (g *group[T]) wait(members []member[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, members...)
}

// try runs one transaction of its own time, not of one caller's, and again, tries times in
// all, where it lost a race. first is whose trace shows it.
func (g *group[T]) try(first context.Context, items []T, tries int) (later []int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(trace.ContextWithSpan(context.Background(), trace.SpanFromContext(first)), groupTimeout)
	defer cancel()
	for range tries {
		later, err = g.commit(ctx, items)
		if FaultOf(err) != FaultContention {
			break
		}
	}
	return later, unavailable(err)
}
