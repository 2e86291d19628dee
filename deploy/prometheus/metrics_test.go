package prometheus

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	named  = regexp.MustCompile(`\b(?:quittance|process|pgxpool|go)_[a-z0-9_]+`)
	part   = regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
	chosen = regexp.MustCompile(`\b([a-z]+)(?:=|!=|=~|!~)"([^"]*)"`)
)

// described is what docs/metrics.md names: metrics, and the values of their labels. Tests of its
// own keep it complete.
func described(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range quoted.FindAllSubmatch(page, -1) {
		all = append(all, string(name[1]))
	}
	return all
}

// onlyKnown fails where an expression names a metric or a label's value that is nowhere: it would
// be silent for good. Addresses, jobs and codes of HTTP are nobody's to list.
func onlyKnown(t *testing.T, known []string, where, expr string) {
	t.Helper()
	names := named.FindAllString(expr, -1)
	if len(names) == 0 && !strings.Contains(expr, "up{") {
		t.Errorf("%s names no metric: %s", where, expr)
	}
	for _, name := range names {
		if !isKnown(known, regexp.QuoteMeta(name)) && !isKnown(known, regexp.QuoteMeta(part.ReplaceAllString(name, ""))) {
			t.Errorf("%s names %s, which nothing exports", where, name)
		}
	}
	for _, label := range chosen.FindAllStringSubmatch(expr, -1) {
		if label[1] == "code" || label[1] == "job" {
			continue
		}
		for _, value := range alternatives(label[2]) {
			if !isKnown(known, value) {
				t.Errorf("%s asks for %s, which no %s has", where, value, label[1])
			}
		}
	}
}

// alternatives splits what is not nested.
func alternatives(pattern string) []string {
	if strings.Contains(pattern, "(") {
		return []string{strings.ReplaceAll(pattern, `\\`, `\`)}
	}
	return strings.Split(strings.ReplaceAll(pattern, `\\`, `\`), "|")
}

func isKnown(known []string, pattern string) bool {
	is := regexp.MustCompile("^(?:" + pattern + ")$")
	for _, name := range known {
		prefix, whole := strings.CutSuffix(name, "*")
		if is.MatchString(name) || whole && strings.HasPrefix(pattern, prefix) {
			return true
		}
	}
	return false
}

func TestAlertsNameWhatExists(t *testing.T) {
	t.Parallel()
	known := described(t)
	for _, a := range alerts(t) {
		onlyKnown(t, known, a.Alert, a.Expr)
	}
}

func TestPanelsNameWhatExists(t *testing.T) {
	t.Parallel()
	known := described(t)
	for _, p := range readDashboard(t).Panels {
		for _, q := range p.Targets {
			onlyKnown(t, known, p.Title, q.Expr)
		}
	}
}
