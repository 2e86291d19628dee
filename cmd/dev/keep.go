package main

import (
	"context"
	"fmt"
	"time"
)

// kept is something that is started again whenever it ends.
type kept interface {
	fmt.Stringer
	Start(context.Context) error
	Done() <-chan struct{}
}

const (
	shortestPause = 200 * time.Millisecond // before the first attempt
	longestPause  = 5 * time.Second        // the pause doubles up to this
	steadyAfter   = 10 * time.Second       // whoever has run for so long starts from the shortest pause
)

// keep starts k again whenever it ends, until ctx is done, and says so.
func keep(ctx context.Context, k kept, say func(string)) {
	pause := shortestPause
	for {
		began := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-k.Done():
		}
		if time.Since(began) > steadyAfter {
			pause = shortestPause
		}
		ended := time.Now()
		for attempt := 1; ; attempt++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, longestPause)
			err := k.Start(ctx)
			if err == nil {
				say(fmt.Sprintf("↻ %-48s %6.1fs\n", k.String()+": started again", time.Since(ended).Seconds()))
				break
			}
			if ctx.Err() == nil {
				say(fmt.Sprintf("✗ %v: attempt %d to start it again\n", err, attempt))
			}
		}
	}
}
