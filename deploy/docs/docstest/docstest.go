// Package docstest holds the pages of deploy/docs to what the programs do.
package docstest

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metric is a row of the page.
type metric struct {
	name, kind string
	labels     map[string][]string // their values; nil: any
	processes  []string
}

// page is what metrics.md describes.
type page struct {
	metrics []metric
	values  map[string][]string // by name; nil: any
}

var (
	row    = regexp.MustCompile("^\\| `([a-z_*]+)` \\|(.*)\\|(.*)\\|(.*)\\| .+ \\|$")
	named  = regexp.MustCompile(`^\| \*([a-z ]+)\* \| (.+) \|$`)
	quoted = regexp.MustCompile("`([^`]+)`")
	set    = regexp.MustCompile(`\*([a-z ]+)\*`)
)

// CheckMetrics fails the test where the page at path and the metrics of a process differ: in a
// name, a type, a label or, of those labels that have closed values, a value. What has no series
// yet is held to its name and labels only.
func CheckMetrics(t *testing.T, path, process string, r *prometheus.Registry) {
	t.Helper()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{Registry: r}) // which registers its own, as for Monitor
	described := read(t, path)
	registered := registeredIn(t, r)
	for _, name := range slices.Sorted(maps.Keys(registered)) {
		m, found := described.find(name, process)
		switch {
		case !found:
			t.Errorf("%s describes no %s of %s", path, name, process)
		case !strings.HasSuffix(m.name, "*") && !slices.Equal(slices.Sorted(maps.Keys(m.labels)), registered[name]):
			t.Errorf("%s has the labels %q, and is described with %q", name, registered[name], slices.Sorted(maps.Keys(m.labels)))
		}
	}
	for _, m := range described.metrics {
		if slices.Contains(m.processes, process) && !m.isAmong(registered) {
			t.Errorf("%s describes %s, which %s does not have", path, m.name, process)
		}
	}
	checkSeries(t, described, process, r)
}

// checkSeries compares the types and values of what there is.
func checkSeries(t *testing.T, described page, process string, r *prometheus.Registry) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m, found := described.find(f.GetName(), process)
		if !found || strings.HasSuffix(m.name, "*") {
			continue
		}
		if kind := strings.ToLower(f.GetType().String()); kind != m.kind {
			t.Errorf("%s is a %s, and is described as a %s", m.name, kind, m.kind)
		}
		seen := make(map[string][]string)
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				seen[l.GetName()] = append(seen[l.GetName()], l.GetValue())
			}
		}
		for label, values := range m.labels {
			got, want := sorted(seen[label]), sorted(values)
			if values != nil && !slices.Equal(got, want) {
				t.Errorf("%s has for %s the values %q, and is described with %q", m.name, label, got, want)
			}
		}
	}
}

func sorted(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }

func (p page) find(name, process string) (metric, bool) {
	i := slices.IndexFunc(p.metrics, func(m metric) bool { return m.is(name) && slices.Contains(m.processes, process) })
	if i < 0 {
		return metric{}, false
	}
	return p.metrics[i], true
}

// is says that the row describes the metric of this name; one that ends with * describes all that
// begin so.
func (m metric) is(name string) bool {
	prefix, all := strings.CutSuffix(m.name, "*")
	return name == m.name || all && strings.HasPrefix(name, prefix)
}

func (m metric) isAmong(registered map[string][]string) bool {
	for name := range registered {
		if m.is(name) {
			return true
		}
	}
	return false
}

// A description tells what it is in words only.
var (
	described = regexp.MustCompile(`fqName: "([^"]+)".*, constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	label     = regexp.MustCompile(`(\w+)(="[^"]*")?`)
)

// registeredIn returns the names in the registry, with their labels.
func registeredIn(t *testing.T, r *prometheus.Registry) map[string][]string {
	t.Helper()
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		r.Describe(all)
	}()
	names := make(map[string][]string)
	for d := range all {
		said := described.FindStringSubmatch(d.String())
		if said == nil {
			t.Fatalf("a description in other words: %s", d)
		}
		names[said[1]] = nil
		for _, l := range label.FindAllStringSubmatch(said[2]+","+said[3], -1) {
			names[said[1]] = append(names[said[1]], l[1])
		}
		slices.Sort(names[said[1]])
	}
	return names
}

func read(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := page{values: make(map[string][]string)}
	lines := strings.Split(string(text), "\n")
	for _, line := range lines {
		if found := named.FindStringSubmatch(line); found != nil {
			p.values[found[1]] = valuesIn(found[2])
		}
	}
	for _, line := range lines {
		found := row.FindStringSubmatch(line)
		switch {
		case found != nil:
			p.metrics = append(p.metrics, metric{
				found[1], strings.TrimSpace(found[2]), p.labelsIn(t, found[3]), strings.Split(strings.TrimSpace(found[4]), ", "),
			})
		case strings.HasPrefix(line, "| `"):
			t.Errorf("%s: a row that cannot be read: %s", path, line)
		}
	}
	return p
}

// labelsIn reads `label`: `value` `value`, *values of that name*; `another`: …
func (p page) labelsIn(t *testing.T, cell string) map[string][]string {
	t.Helper()
	labels := make(map[string][]string)
	for part := range strings.SplitSeq(cell, ";") {
		name, said, found := strings.Cut(part, ":")
		if !found {
			continue
		}
		values := valuesIn(said)
		for _, s := range set.FindAllStringSubmatch(said, -1) {
			known, ok := p.values[s[1]]
			if !ok {
				t.Errorf("nobody says what the %s are", s[1])
			}
			values = append(values, known...)
		}
		labels[strings.Trim(name, " `")] = values
	}
	return labels
}

func valuesIn(text string) (all []string) {
	for _, q := range quoted.FindAllStringSubmatch(text, -1) {
		all = append(all, q[1])
	}
	return all
}
