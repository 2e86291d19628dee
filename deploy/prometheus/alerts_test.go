// Package prometheus is only tests: that what wakes somebody says what to do, and what is
// drawn exists.
//
// Alerts are tried by promtool, with alerts_test.yaml. Whether a label has the values that an
// expression asks for is known only to whoever reads both.
package prometheus

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const runbooks = "https://github.com/quittance/quittance/blob/main/deploy/docs/runbooks.md#"

// alert is one rule of alerts.yaml.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string
			Rules []alert
		}
	}
	read(t, "alerts.yaml", &file)
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("alerts.yaml has only %d alerts", len(all))
	}
	return all
}

// read reads YAML that has no fields but those of into.
func read(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func text(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestEveryAlertSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	severity := regexp.MustCompile(`^(critical|warning|\{\{ if .* \}\}critical\{\{ else \}\}warning\{\{ end \}\})$`)
	for _, a := range alerts(t) {
		if !severity.MatchString(a.Labels["severity"]) {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if summary := a.Annotations["summary"]; summary == "" || len(summary) > 80 {
			t.Errorf("%s has the summary %q, which is to be a headline", a.Alert, summary)
		}
		if description := a.Annotations["description"]; !strings.HasSuffix(description, ".") {
			t.Errorf("%s has the description %q, which is to be sentences", a.Alert, description)
		}
	}
}

var section = regexp.MustCompile(`(?m)^## (.*)$`)

// A section has the name of its alert, and the anchor of a heading is its text in small letters.
func TestEveryAlertHasARunbookAndEveryRunbookAnAlert(t *testing.T) {
	t.Parallel()
	sections := make(map[string]bool)
	for _, heading := range section.FindAllStringSubmatch(text(t, "../docs/runbooks.md"), -1) {
		sections[heading[1]] = true
	}
	for _, a := range alerts(t) {
		if got, want := a.Annotations["runbook_url"], runbooks+strings.ToLower(a.Alert); got != want {
			t.Errorf("the runbook of %s is %s, want %s", a.Alert, got, want)
		}
		if !sections[a.Alert] {
			t.Errorf("%s has no section in runbooks.md", a.Alert)
		}
		delete(sections, a.Alert)
	}
	for name := range sections {
		t.Errorf("runbooks.md has a section %q, which is no alert", name)
	}
}

// What a section says in the same order everywhere is found at three in the morning.
func TestEveryRunbookSaysAllThereIsToKnow(t *testing.T) {
	t.Parallel()
	_, all, _ := strings.Cut(text(t, "../docs/runbooks.md"), "\n## ")
	for _, book := range strings.Split(all, "\n## ") {
		var words []string
		for _, word := range regexp.MustCompile(`(?m)^\*\*(\w+)\.?\*\*`).FindAllStringSubmatch(book, -1) {
			words = append(words, word[1])
		}
		if !slices.Equal(words, []string{"Money", "Look", "Do", "Never"}) {
			t.Errorf("the runbook has the paragraphs %v, want Money, Look, Do, Never: %.60q", words, book)
		}
	}
}

func TestRunbooksLinkToEachOther(t *testing.T) {
	t.Parallel()
	book := text(t, "../docs/runbooks.md")
	for _, link := range regexp.MustCompile(`\[(Quittance\w+)\]\(#(\w+)\)`).FindAllStringSubmatch(book, -1) {
		if strings.ToLower(link[1]) != link[2] || !strings.Contains(book, "\n## "+link[1]+"\n") {
			t.Errorf("%s leads nowhere", link[0])
		}
	}
}

// For each alert something makes promtool expect that it fires, and something that it does not.
func TestEveryAlertIsTriedBothWays(t *testing.T) {
	t.Parallel()
	var file struct {
		RuleFiles          []string `json:"rule_files"`
		EvaluationInterval string   `json:"evaluation_interval"`
		Tests              []struct {
			Name, Interval string
			InputSeries    []struct{ Series, Values string } `json:"input_series"`
			Tries          []struct {
				EvalTime  string `json:"eval_time"`
				Alertname string
				Fires     []any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	read(t, "alerts_test.yaml", &file)
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, try := range test.Tries {
			if len(try.Fires) > 0 {
				fires[try.Alertname] = true
			} else {
				silent[try.Alertname] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !silent[a.Alert] {
			t.Errorf("%s is tried where it fires: %v, where it does not: %v", a.Alert, fires[a.Alert], silent[a.Alert])
		}
	}
}
