package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// figures are what one distribution came to. What was not measured is left out.
type figures struct {
	SettledPerS float64 `json:"settled_per_s,omitempty"`
	CeilingPerS float64 `json:"ceiling_per_s,omitempty"`
	Ratio       float64 `json:"ratio,omitempty"`

	// Where the work has a request that prepares the one that is settled: how fast those were
	// answered, and what both together come to.
	PreparedPerS float64 `json:"prepared_per_s,omitempty"`
	WholePerS    float64 `json:"whole_per_s,omitempty"`
	WholeRatio   float64 `json:"whole_ratio,omitempty"`

	// Accept → settled in the paced phase, and accept → answered for comparison.
	P50       float64 `json:"p50_ms,omitempty"`
	P99       float64 `json:"p99_ms,omitempty"`
	AcceptP50 float64 `json:"accept_p50_ms,omitempty"`
	AcceptP99 float64 `json:"accept_p99_ms,omitempty"`

	// Of the saturated phase.
	AcceptedPerS float64 `json:"accepted_per_s,omitempty"`
	SaturatedP50 float64 `json:"saturated_p50_ms,omitempty"`
	SaturatedP99 float64 `json:"saturated_p99_ms,omitempty"`
	Refused      int     `json:"refused_503"` // each was asked again

	// The most that was resident, set-up and paced phase included; 10⁶ bytes.
	APIMB    float64 `json:"api_rss_mb,omitempty"`
	WorkerMB float64 `json:"worker_rss_mb,omitempty"`

	// Processor time of the saturated phases by process, in seconds.
	CPU        map[string]float64 `json:"cpu_s,omitempty"`
	CeilingCPU map[string]float64 `json:"ceiling_cpu_s,omitempty"`

	Work     string `json:"work"`
	Payments int    `json:"payments"` // or what else the work is
	Clients  int    `json:"clients"`
}

// compare fills in what follows from the figures that were measured.
func (f *figures) compare() {
	if f.PreparedPerS > 0 && f.SettledPerS > 0 {
		f.WholePerS = 1 / (1/f.PreparedPerS + 1/f.SettledPerS)
	}
	if f.CeilingPerS > 0 {
		f.Ratio, f.WholeRatio = f.SettledPerS/f.CeilingPerS, f.WholePerS/f.CeilingPerS
	}
}

func (f *figures) saturated(p phase) {
	f.SettledPerS, f.AcceptedPerS, f.Refused = p.settledPerS, p.acceptedPerS, p.refused
	f.SaturatedP50, f.SaturatedP99 = milliseconds(percentile(p.settle, 50)), milliseconds(percentile(p.settle, 99))
	f.CPU = seconds(p.cpu)
}

func (f *figures) paced(p phase) {
	f.P50, f.P99 = milliseconds(percentile(p.settle, 50)), milliseconds(percentile(p.settle, 99))
	f.AcceptP50, f.AcceptP99 = milliseconds(percentile(p.accept, 50)), milliseconds(percentile(p.accept, 99))
	f.Refused += p.refused
}

func (f *figures) ceiling(p phase) {
	f.CeilingPerS, f.CeilingCPU = p.settledPerS, seconds(p.cpu)
}

// rounded keeps the digits that mean something.
func (f figures) rounded() figures {
	f.Ratio, f.WholeRatio = round(f.Ratio, 3), round(f.WholeRatio, 3)
	for _, v := range []*float64{
		&f.SettledPerS, &f.CeilingPerS, &f.PreparedPerS, &f.WholePerS, &f.P50, &f.P99, &f.AcceptP50, &f.AcceptP99,
		&f.AcceptedPerS, &f.SaturatedP50, &f.SaturatedP99, &f.APIMB, &f.WorkerMB,
	} {
		*v = round(*v, 1)
	}
	return f
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}

// percentile returns the smallest of the sorted times that at least p percent do not
// exceed; 0 where there are none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1000 }

func seconds(cpu map[string]time.Duration) map[string]float64 {
	all := map[string]float64{}
	for name, d := range cpu {
		all[name] = round(d.Seconds(), 2)
	}
	return all
}

// medianRounds picks the round whose ratio is the median, the lower one of two, so that
// all figures shown belong together.
func medianRounds(rounds map[string][]figures) map[string]figures {
	median := map[string]figures{}
	for recipients, all := range rounds {
		all = slices.SortedFunc(slices.Values(all), func(a, b figures) int {
			return cmp.Or(cmp.Compare(a.Ratio, b.Ratio), cmp.Compare(a.SettledPerS, b.SettledPerS))
		})
		median[recipients] = all[(len(all)-1)/2].rounded()
	}
	return median
}

// report shows the figures to people, and then to programs.
func report(tables, line io.Writer, path string, all map[string]figures) error {
	fmt.Fprintf(tables, "\n%s\n\n%s\n\n", figuresTable(all), cpuTable(all))
	return reportLine(line, path, all)
}

// reportLine shows figures to programs: as one line, and in a file.
func reportLine(out io.Writer, path string, figures any) error {
	line, err := json.Marshal(figures)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if err := os.WriteFile(path, line, 0o644); err != nil {
		return err
	}
	_, err = out.Write(line)
	return err
}

// distributions is the order of columns.
var distributions = []string{"uniform", "hot"}

func figuresTable(all map[string]figures) string {
	t := newTable()
	head := table.Row{""}
	for _, d := range distributions {
		head = append(head, d)
	}
	t.AppendHeader(head)
	for _, row := range []struct {
		name, format string
		value        func(figures) float64
	}{
		{"settled/s", "%.0f", func(f figures) float64 { return f.SettledPerS }},
		{"accepted/s", "%.0f", func(f figures) float64 { return f.AcceptedPerS }},
		{"ceiling: settled/s", "%.0f", func(f figures) float64 { return f.CeilingPerS }},
		{"ratio", "%.3f", func(f figures) float64 { return f.Ratio }},
		{"created/s", "%.0f", func(f figures) float64 { return f.PreparedPerS }},
		{"created and settled/s", "%.0f", func(f figures) float64 { return f.WholePerS }},
		{"ratio of both together", "%.3f", func(f figures) float64 { return f.WholeRatio }},
		{"paced: accept → settled p50, ms", "%.1f", func(f figures) float64 { return f.P50 }},
		{"paced: accept → settled p99, ms", "%.1f", func(f figures) float64 { return f.P99 }},
		{"paced: due → answered p99, ms", "%.1f", func(f figures) float64 { return f.AcceptP99 }},
		{"saturated: accept → settled p50, ms", "%.1f", func(f figures) float64 { return f.SaturatedP50 }},
		{"saturated: accept → settled p99, ms", "%.1f", func(f figures) float64 { return f.SaturatedP99 }},
		{refusedRow, "%.0f", func(f figures) float64 { return float64(f.Refused) }},
		{"api: resident, MB", "%.1f", func(f figures) float64 { return f.APIMB }},
		{"worker: resident, MB", "%.1f", func(f figures) float64 { return f.WorkerMB }},
	} {
		if row.name != refusedRow && never(all, row.value) {
			continue // not a part of this work
		}
		cells := table.Row{row.name}
		for _, d := range distributions {
			cells = append(cells, cell(all, d, func(f figures) string { return fmt.Sprintf(row.format, row.value(f)) }))
		}
		t.AppendRow(cells)
	}
	return t.Render()
}

// refusedRow is shown without a figure as well: that nobody was refused is one.
const refusedRow = "asked to come back (503)"

// never says that a figure was not measured, for any distribution.
func never(all map[string]figures, value func(figures) float64) bool {
	for _, f := range all {
		if value(f) != 0 {
			return false
		}
	}
	return true
}

func newTable() table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault // µs stays µs
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, Align: text.AlignRight},
		{Number: 3, Align: text.AlignRight},
		{Number: 4, Align: text.AlignRight},
		{Number: 5, Align: text.AlignRight},
	})
	return t
}

// cpuTable shows what a command costs each process of the saturated phases.
func cpuTable(all map[string]figures) string {
	t := newTable()
	t.AppendHeader(table.Row{"CPU, µs per " + workOf(all), "uniform", "its ceiling", "hot", "its ceiling"})
	for _, name := range []string{"api", "worker", "ceiling", "postgresql", "rabbitmq", "load"} {
		cells := table.Row{name}
		for _, d := range distributions {
			f := all[d]
			cells = append(cells, perCommand(f.CPU, name, f.Payments), perCommand(f.CeilingCPU, name, f.Payments))
		}
		t.AppendRow(cells)
	}
	sum := table.Row{"together"}
	for _, d := range distributions {
		f := all[d]
		sum = append(sum, togetherPerCommand(f.CPU, f.Payments), togetherPerCommand(f.CeilingCPU, f.Payments))
	}
	t.AppendSeparator()
	t.AppendRow(sum)
	rest := table.Row{"everything else on the machine"}
	for _, d := range distributions {
		f := all[d]
		rest = append(rest, perCommand(f.CPU, others, f.Payments), perCommand(f.CeilingCPU, others, f.Payments))
	}
	t.AppendRow(rest)
	return t.Render()
}

// workOf is what was measured: one work a run.
func workOf(all map[string]figures) string {
	for _, f := range all {
		return f.Work
	}
	return ""
}

func cell(all map[string]figures, distribution string, text func(figures) string) string {
	f, measured := all[distribution]
	if !measured {
		return ""
	}
	return text(f)
}

// perCommand is empty for a process that had no part, or could not be seen.
func perCommand(cpu map[string]float64, name string, commands int) string {
	s, ok := cpu[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.0f", s/float64(commands)*1e6)
}

func togetherPerCommand(cpu map[string]float64, commands int) string {
	if len(cpu) == 0 {
		return ""
	}
	var sum float64
	for name, s := range cpu {
		if name != others {
			sum += s
		}
	}
	return fmt.Sprintf("%.0f", sum/float64(commands)*1e6)
}
