package queue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("down")

func newPause(probe func(context.Context) error) *pause {
	return &pause{probe: probe, log: slog.New(slog.DiscardHandler)}
}

func TestAPauseProbesLessAndLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked []time.Duration
		p := newPause(func(context.Context) error {
			if asked = append(asked, time.Since(start)); len(asked) == 10 {
				return nil
			}
			return errDown
		})
		p.hold(t.Context(), errDown, newProbeBackoff())

		// 50 ms doubling to 5 s, each a fifth more or less.
		wait, before := 50*time.Millisecond, time.Duration(0)
		for i, at := range asked {
			if got := at - before; got < wait*4/5 || got > wait*6/5+1 {
				t.Errorf("probe %d came %v after the one before, want about %v", i, got, wait)
			}
			wait, before = min(2*wait, 5*time.Second), at
		}
	})
}

func TestManyCallsThatMeetAnOutageShareOneProbe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		probes := 0 // unguarded: the race detector finds a second prober
		p := newPause(func(context.Context) error {
			if probes++; probes < 3 {
				return errDown
			}
			return nil
		})
		var calls sync.WaitGroup
		for range 20 {
			calls.Go(func() { p.hold(t.Context(), errDown, newProbeBackoff()) })
		}
		calls.Go(func() {
			if !p.pass(t.Context()) {
				t.Error("a call that only passes was told to give up")
			}
		})
		calls.Wait()
		if probes != 3 {
			t.Errorf("%d probes, want 3", probes)
		}
	})
}

func TestAPauseCutShortIsClearedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		probes, down := 0, true
		p := newPause(func(context.Context) error {
			probes++
			if down {
				return errDown
			}
			return nil
		})
		life, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		p.hold(life, errDown, newProbeBackoff())
		if p.pass(life) {
			t.Error("a call passed after its life had ended")
		}

		down, probes = false, 0
		p.clear(t.Context(), newProbeBackoff())
		if probes != 1 || !p.pass(t.Context()) {
			t.Errorf("%d probes to clear the pause, want 1", probes)
		}
		p.clear(t.Context(), newProbeBackoff())
		if probes != 2 {
			t.Errorf("%d probes before the next life, want 1 more", probes)
		}
	})
}

func TestDrainingOutlivesTheOrderToStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "trace"))
		longer, release := outlive(ctx, 20*time.Second)
		defer release()
		if longer.Value(ctxKey{}) != "trace" {
			t.Error("the values are lost")
		}
		stop()
		start := time.Now()
		<-longer.Done()
		if got := time.Since(start); got != 20*time.Second {
			t.Errorf("it ended after %v, want 20 s", got)
		}
	})
}

type ctxKey struct{}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		err            error
		reject, outage bool
	}{
		{"done", nil, false, false},
		{"an ordinary error", errDown, false, false},
		{"rejected", Reject(errDown), true, false},
		{"rejected for no reason is still rejected", Reject(nil), true, false},
		{"an outage", Outage(errDown), false, true},
		{"an outage for no reason is still one", Outage(nil), false, true},
		{"an outage that somebody then rejected", Reject(Outage(errDown)), false, true},
		{"a rejection that turned out to be an outage", Outage(Reject(errDown)), false, true},
		{"rejected further down", errors.Join(errDown, Reject(errDown)), true, false},
	}
	for _, tt := range tests {
		if got := IsReject(tt.err); got != tt.reject {
			t.Errorf("%s: IsReject %v, want %v", tt.name, got, tt.reject)
		}
		if got := IsOutage(tt.err); got != tt.outage {
			t.Errorf("%s: IsOutage %v, want %v", tt.name, got, tt.outage)
		}
	}
	if !errors.Is(Reject(errDown), errDown) || !errors.Is(Outage(errDown), errDown) {
		t.Error("the cause is lost")
	}
}
