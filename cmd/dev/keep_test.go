package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mortal lives as long each time as the test says, and after that for good; meanwhile
// it fails to start as often as the test says.
type mortal struct {
	lives    []time.Duration
	failures int
	began    time.Time

	done   chan struct{}
	starts []time.Duration // when each attempt was, since began
}

func (m *mortal) String() string        { return "mortal" }
func (m *mortal) Done() <-chan struct{} { return m.done }

func (m *mortal) Start(context.Context) error {
	m.starts = append(m.starts, time.Since(m.began))
	if m.failures > 0 {
		m.failures--
		return errors.New("not yet")
	}
	m.live()
	return nil
}

func (m *mortal) live() {
	done := make(chan struct{})
	m.done = done
	if len(m.lives) > 0 {
		time.AfterFunc(m.lives[0], func() { close(done) })
		m.lives = m.lives[1:]
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		lives    []time.Duration
		failures int
		want     []time.Duration
	}{
		"what ends is started again soon": {
			lives: []time.Duration{time.Minute},
			want:  []time.Duration{60200 * ms},
		},
		"attempts that fail come at growing distances, five seconds at most": {
			lives: []time.Duration{0}, failures: 6,
			want: []time.Duration{200 * ms, 600 * ms, 1400 * ms, 3000 * ms, 6200 * ms, 11200 * ms, 16200 * ms},
		},
		"what ends at once is not started at full speed": {
			lives: []time.Duration{0, 0, 0},
			want:  []time.Duration{200 * ms, 600 * ms, 1400 * ms},
		},
		"what has run for long is started soon again": {
			lives: []time.Duration{0, 0, 20 * time.Second},
			want:  []time.Duration{200 * ms, 600 * ms, 20800 * ms},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				m := &mortal{lives: tt.lives, failures: tt.failures, began: time.Now()}
				m.live()
				keep(ctx, m, func(string) {})
				if diff := cmp.Diff(tt.want, m.starts); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}
