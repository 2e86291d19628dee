package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// clockStep is how often a running clock is moved: ten times for each look of the schedule
// worker, so that of a year within a minute it sees six days at a time.
const clockStep = 100 * time.Millisecond

// runClock is how somebody who develops watches a year go by.
func (o *operator) runClock() *cobra.Command {
	var within time.Duration
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "run DURATION",
		Short: "Move the time that decides forward in small steps; in development only",
		Long: `Move the time that decides what has expired forward by DURATION from where it is, in small
steps, so that what happens in that time can be watched: the charges of a subscription, say.

Ctrl-C stops the clock where it is by then. Refused unless QUITTANCE_ENV is development.`,
		Example: `  QUITTANCE_ENV=development quittance clock run 8760h --within 1m
  QUITTANCE_ENV=development quittance clock run 168h --within 10s`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.inDevelopment(); err != nil {
				return err
			}
			by, err := time.ParseDuration(args[0])
			switch {
			case err != nil:
				return misused(fmt.Errorf("how far is the clock to run: %w", err))
			case by <= 0:
				return misused(errors.New("the clock runs forward: say how far, as 8760h"))
			case within <= 0:
				return misused(errors.New("--within: the clock needs some time to run, as 1m"))
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := watchClock(cmd.Context(), s, by, within); err != nil {
					return err
				}
				return showClock(context.WithoutCancel(cmd.Context()), cmd, s, format) // it may have been stopped
			})
		},
	}
	cmd.Flags().DurationVar(&within, "within", time.Minute, "how long it takes")
	format.flag(cmd)
	return cmd
}

// watchClock lets the clock run, and shows the date meanwhile.
func watchClock(ctx context.Context, c decidingClock, by, within time.Duration) error {
	ticker := time.NewTicker(min(clockStep, within))
	defer ticker.Stop()
	display := newProgressDisplay(os.Stderr)
	defer display.close()
	tracker := display.track("", int(within.Milliseconds()))
	r := clockRun{clock: c, by: by, within: within, began: time.Now(), ticks: ticker.C}
	r.moved = func(decides time.Time, elapsed time.Duration) {
		tracker.UpdateMessage(decides.UTC().Format(shownTime))
		tracker.SetValue(elapsed.Milliseconds())
	}
	return r.run(ctx)
}

// decidingClock is what a run needs of the store.
type decidingClock interface {
	DecidingTime(context.Context) (now time.Time, ahead time.Duration, err error)
	SetClockAhead(ctx context.Context, ahead time.Duration) error
}

// clockRun moves the clock by by, within the time after began, whenever it ticks.
type clockRun struct {
	clock      decidingClock
	by, within time.Duration
	began      time.Time
	ticks      <-chan time.Time
	moved      func(decides time.Time, elapsed time.Duration) // is told of each step
}

// run ends once the time is over or ctx is done; the clock then stays where it is. Where it
// should be follows from the time that has gone by, not from the number of ticks: a slow
// database makes its steps larger, not the whole longer.
func (r clockRun) run(ctx context.Context) error {
	decides, from, err := r.clock.DecidingTime(ctx)
	switch {
	case err != nil:
		return err
	case r.by > math.MaxInt64-from:
		return errors.New("the clock cannot run that far: 292 years are the most that it may be ahead")
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-r.ticks:
			elapsed := max(0, min(now.Sub(r.began), r.within))
			step := share(r.by, elapsed, r.within)
			if err := r.clock.SetClockAhead(ctx, from+step); err != nil {
				return unlessDone(ctx, err)
			}
			r.moved(decides.Add(elapsed+step), elapsed)
			if elapsed == r.within {
				return nil
			}
		}
	}
}

// share is of * part / whole, in 128 bits; part is no more than whole.
func share(of, part, whole time.Duration) time.Duration {
	hi, lo := bits.Mul64(uint64(of), uint64(part))
	quotient, _ := bits.Div64(hi, lo, uint64(whole))
	return time.Duration(quotient)
}

// unlessDone drops the error of what was told to stop in the middle of it.
func unlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
