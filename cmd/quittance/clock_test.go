package main

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quittance/quittance/store/storetest"
)

func TestTheClockIsMovedInDevelopment(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, step := range []struct{ args, said string }{
		{"clock", ", the database's clock"},
		{"clock --ahead 25h", ", 25h ahead of"},
		{"clock", ", 25h ahead of"},
		{"clock --ahead 0", ", the database's clock"},
	} {
		out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}, strings.Fields(step.args)...)
		if err != nil || !strings.Contains(out, step.said) {
			t.Errorf("%s: %q, %v; want %q", step.args, out, err, step.said)
		}
		moved := db.Count("SELECT round(extract(epoch FROM deciding_time() - now()))::int")
		if want := map[bool]int{true: 25 * 3600}[strings.Contains(step.said, "25h")]; moved != want {
			t.Errorf("%s: decided is %d s ahead, want %d", step.args, moved, want)
		}
	}
}

func TestTheClockStandsElsewhere(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for name, environ := range map[string]map[string]string{
		"in production":                       {"QUITTANCE_ENV": "production"},
		"where nothing says what it is":       {},
		"where it is said to be nothing":      {"QUITTANCE_ENV": ""},
		"where it is written in another case": {"QUITTANCE_ENV": "Development"},
	} {
		environ["DATABASE_URL"] = db.URL
		for _, args := range []string{"clock --ahead 25h", "clock run 25h --within 1ms"} {
			if out, err := operateIn(t, environ, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), "QUITTANCE_ENV") {
				t.Errorf("%s, %s: %q, %v", name, args, out, err)
			}
		}
	}
	for name, args := range map[string]string{
		"behind the database's":    "clock --ahead -1h",
		"backwards":                "clock run --within 1ms -- -1h",
		"by nothing":               "clock run 0s --within 1ms",
		"by what is no duration":   "clock run year --within 1ms",
		"nobody knows how far":     "clock run",
		"within no time":           "clock run 1h --within 0",
		"in less than no time":     "clock run 1h --within -1m",
		"by what it does not know": "clock walk",
	} {
		if out, err := operateIn(t, map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}, strings.Fields(args)...); err == nil {
			t.Errorf("%s: %q", name, out)
		}
	}
	if n := db.Count("SELECT count(*) FROM deciding_clock WHERE ahead = interval '0'"); n != 1 {
		t.Error("what was refused has moved the clock")
	}
}

func TestTheClockRuns(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	environ := map[string]string{"DATABASE_URL": db.URL, "QUITTANCE_ENV": "development"}
	for _, want := range []time.Duration{24 * time.Hour, 48 * time.Hour} { // it goes on from where it is
		out, err := operateIn(t, environ, "clock", "run", "24h", "--within", "1ms")
		if err != nil || !strings.Contains(out, ", "+shortDuration(want)+" ahead of") {
			t.Errorf("%q, %v; want %s ahead", out, err, want)
		}
		if _, ahead, err := db.DecidingTime(t.Context()); err != nil || ahead != want {
			t.Errorf("it is %s ahead, %v; want %s", ahead, err, want)
		}
	}
}

const year = 8760 * time.Hour

// steps is a clock that remembers where it was moved to.
type steps struct {
	ahead []time.Duration
	err   error
}

func (s *steps) DecidingTime(context.Context) (time.Time, time.Duration, error) {
	return time.Unix(0, 0).Add(time.Hour), time.Hour, nil
}

func (s *steps) SetClockAhead(ctx context.Context, ahead time.Duration) error {
	if err := cmp.Or(s.err, ctx.Err()); err != nil {
		return err
	}
	s.ahead = append(s.ahead, ahead)
	return nil
}

// runOf is a run of a year within a minute, at these times after it began.
func runOf(c *steps, after ...time.Duration) clockRun {
	began := time.Unix(0, 0)
	ticks := make(chan time.Time, len(after))
	for _, elapsed := range after {
		ticks <- began.Add(elapsed)
	}
	return clockRun{clock: c, by: year, within: time.Minute, began: began, ticks: ticks, moved: func(time.Time, time.Duration) {}}
}

func TestTheClockRunsInSteps(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name  string
		after []time.Duration
		want  []time.Duration // ahead of where it was
	}{
		{"smoothly", []time.Duration{15 * time.Second, 30 * time.Second, 45 * time.Second, time.Minute}, []time.Duration{year / 4, year / 2, year / 4 * 3, year}},
		{"in a larger step after a missed tick", []time.Duration{15 * time.Second, time.Minute}, []time.Duration{year / 4, year}},
		{"never beyond its end", []time.Duration{time.Hour}, []time.Duration{year}},
		{"not at all before it began", []time.Duration{-time.Second, time.Minute}, []time.Duration{0, year}},
	} {
		c := &steps{}
		r := runOf(c, story.after...)
		var decided []time.Time
		r.moved = func(decides time.Time, _ time.Duration) { decided = append(decided, decides) }
		if err := r.run(t.Context()); err != nil {
			t.Errorf("%s: %v", story.name, err)
		}
		for i := range story.want {
			story.want[i] += time.Hour // it was ahead when it began
		}
		if !slices.Equal(c.ahead, story.want) {
			t.Errorf("%s: it was %v ahead, want %v", story.name, c.ahead, story.want)
		}
		if last := decided[len(decided)-1]; !last.Equal(r.began.Add(time.Hour + time.Minute + year)) {
			t.Errorf("%s: in the end it was said to be %s", story.name, last)
		}
	}
}

func TestTheClockStopsWhereItIs(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	c := &steps{}
	r := runOf(c, 15*time.Second, 30*time.Second, time.Minute)
	r.moved = func(_ time.Time, elapsed time.Duration) {
		if elapsed == 30*time.Second {
			stop()
		}
	}
	if err := r.run(ctx); err != nil {
		t.Error(err)
	}
	if want := []time.Duration{time.Hour + year/4, time.Hour + year/2}; !slices.Equal(c.ahead, want) {
		t.Errorf("it was %v ahead, want %v", c.ahead, want)
	}

	broken := &steps{err: errors.New("down")}
	if err := runOf(broken, time.Second).run(t.Context()); !errors.Is(err, broken.err) {
		t.Errorf("without a database: %v", err)
	}

	far := runOf(&steps{}, time.Second)
	far.by = math.MaxInt64
	if err := far.run(t.Context()); err == nil {
		t.Error("it ran beyond what a duration can say")
	}
}
