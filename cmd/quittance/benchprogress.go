package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// progressDisplay shows what goes on: bars on a terminal, else a line for each step that
// has ended.
type progressDisplay struct {
	out     *os.File
	bars    progress.Writer // nil where out is no terminal
	stopped sync.WaitGroup
	once    sync.Once
}

func newProgressDisplay(out *os.File) *progressDisplay {
	d := &progressDisplay{out: out}
	info, err := out.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return d
	}
	d.bars = progress.NewWriter()
	d.bars.SetOutputWriter(out)
	d.bars.SetAutoStop(false)
	d.bars.SetMessageLength(36)
	d.bars.SetTrackerLength(30)
	d.bars.SetUpdateFrequency(200 * time.Millisecond) // it shares the processors with what is measured
	d.bars.SetStyle(progress.StyleBlocks)
	d.stopped.Go(d.bars.Render)
	return d
}

// begin shows a step of total parts; 0 for one that is not counted. tick is called for
// each part, by many goroutines; done when the step has ended.
func (d *progressDisplay) begin(name string, total int) (tick func(), done func(error)) {
	if d.bars == nil {
		return func() {}, d.line(name, total)
	}
	t := d.track(name, total)
	return func() { t.Increment(1) }, func(err error) {
		if err != nil {
			t.MarkAsErrored()
			return
		}
		t.MarkAsDone()
	}
}

// track shows a step of total parts on a terminal, and elsewhere nothing.
func (d *progressDisplay) track(name string, total int) *progress.Tracker {
	t := &progress.Tracker{Message: name, Total: int64(total), AutoStopDisabled: true}
	if d.bars != nil {
		d.bars.AppendTracker(t)
	}
	return t
}

func (d *progressDisplay) line(name string, total int) (done func(error)) {
	began := time.Now()
	return func(err error) {
		mark, count := "✓", ""
		if err != nil {
			mark = "✗"
		}
		if total > 0 {
			count = fmt.Sprint(total)
		}
		fmt.Fprintf(d.out, "%s %-36s %7s %6.1fs\n", mark, name, count, time.Since(began).Seconds())
	}
}

// close draws the bars for the last time.
func (d *progressDisplay) close() {
	d.once.Do(func() {
		if d.bars == nil {
			return
		}
		time.Sleep(250 * time.Millisecond) // a Stop before the first drawing would be lost
		d.bars.Stop()
		d.stopped.Wait()
	})
}
