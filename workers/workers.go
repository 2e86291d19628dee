// Package workers is what all workers have in common: they are started and kept running,
// they drain when told to stop, and one function decides what becomes of a message whose
// attempt failed.
//
// Monitor and Serve are what every process has besides: metrics, health, and HTTP that
// drains.
//
// A worker's own package holds only its work. It never acknowledges, sleeps, retries or
// publishes: it returns what happened. What is to follow is a row of its own transaction.
package workers

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Worker runs until its context ends, and returns when what it had begun is done.
type Worker struct {
	Name string
	Run  func(context.Context) error
}

// Run runs the workers until ctx ends and all of them have drained. One that stops or
// panics before that is started again, after 100 ms growing to 10 s; the others go on.
func Run(ctx context.Context, log *slog.Logger, all ...Worker) {
	var running sync.WaitGroup
	for _, w := range all {
		running.Go(func() { keepRunning(ctx, log.With("worker", w.Name), w) })
	}
	running.Wait()
}

func keepRunning(ctx context.Context, log *slog.Logger, w Worker) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 10*time.Second
	for {
		started := time.Now()
		err := runOnce(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > time.Minute {
			pause.Reset() // it ran well: this is a new trouble
		}
		wait := pause.NextBackOff()
		log.Error("worker stopped", "error", err, "again_in", wait.String())
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func runOnce(ctx context.Context, w Worker) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return w.Run(ctx)
}

// Begin runs the workers in the background, as Run does. stop ends them and waits until
// they have drained, so that what was begun later can be stopped earlier, in plain order.
func Begin(log *slog.Logger, all ...Worker) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Run(ctx, log, all...)
	}()
	return func() {
		cancel()
		<-ended
	}
}
