package workers_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/workers"
)

func TestTheDatabaseIsUpWhileItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		answer := func(context.Context) error { return nil }
		away := func(context.Context) error { return errors.New("connection refused") }
		var ready atomic.Pointer[func(context.Context) error]
		ready.Store(&hang)
		d := workers.WatchDatabase(func(ctx context.Context) error { return (*ready.Load())(ctx) })
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		for _, story := range []struct {
			name  string
			ready func(context.Context) error
			want  float64
		}{
			{"it answers", answer, 1}, {"it is away", away, 0}, {"it answers again", answer, 1}, {"it hangs", hang, 0}, {"it goes on", answer, 1},
		} {
			ready.Store(&story.ready)
			time.Sleep(6 * time.Second) // of the bubble's clock
			if got := testutil.ToFloat64(d.Collectors()[0]); got != story.want {
				t.Errorf("%s: %v, want %v", story.name, got, story.want)
			}
		}
		ready.Store(&hang)
		time.Sleep(2500 * time.Millisecond)
		stop()
		if err := <-ended; err != nil || testutil.ToFloat64(d.Collectors()[0]) != 1 {
			t.Errorf("told to end in the middle of a look it says %v, or that the database is away", err)
		}
	})
}
