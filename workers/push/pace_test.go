package push

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestThePaceHalvesAndRecovers(t *testing.T) {
	t.Parallel()
	p, now := newPace(), noon
	second := func(calls int) {
		for n := range calls {
			p.take(now.Add(time.Duration(n) * time.Second / time.Duration(calls)))
		}
		now = now.Add(time.Second)
	}
	within := func(what string, want float64) {
		t.Helper()
		if got := p.perSecond(); math.Abs(got-want) > want/20 {
			t.Errorf("%s: %.1f a second, want about %.1f", what, got, want)
		}
	}
	second(1000)
	p.slow(now)
	within("the quota is exceeded at 1,000 a second", 500)
	p.slow(now.Add(900 * time.Millisecond))
	within("and again, within a second", 500)
	now = now.Add(time.Second)
	p.slow(now)
	within("and once more", 250)
	for range 10 {
		second(1)
	}
	within("ten seconds without", 250*math.Pow(1.1, 9))
	for range 20 {
		p.slow(now)
		now = now.Add(time.Second)
	}
	within("again and again", slowestPace)
	for range 73 {
		second(1)
	}
	within("a good minute without", fullPace)
}

func TestWhoHasNoTurnWaitsForIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.limit.SetLimit(10)
		p.limit.SetBurst(1)
		p.changed = time.Now().Add(time.Hour) // it does not recover meanwhile
		began := time.Now()
		for range 11 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("11 turns at 10 a second took %s", took)
		}
		stopped, stop := context.WithCancel(t.Context())
		stop()
		if err := p.wait(stopped); !errors.Is(err, context.Canceled) {
			t.Errorf("told to stop: %v", err)
		}
	})
}
