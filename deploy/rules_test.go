package deploy_test

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write deploy/k8s/monitoring/rules.yaml")

// The alerts are written once, for Prometheus; the operator's resource is made from them.
func TestTheRulesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	const path = "k8s/monitoring/rules.yaml"
	want := alerts(t)
	if *update {
		text, err := yaml.Marshal(map[string]any{
			"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": map[string]string{"name": "quittance"}, "spec": want,
		})
		if err != nil {
			t.Fatal(err)
		}
		const made = "# Made from deploy/prometheus/alerts.yaml: go test ./deploy -run Rules -update\n"
		if err := os.WriteFile(path, append([]byte(made), text...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rule monitoring.PrometheusRule
	if err := yaml.UnmarshalStrict(text, &rule); err != nil {
		t.Fatal(err)
	}
	wanted := monitoring.PrometheusRule{
		TypeMeta: meta.TypeMeta{APIVersion: "monitoring.coreos.com/v1", Kind: "PrometheusRule"}, ObjectMeta: meta.ObjectMeta{Name: "quittance"}, Spec: want,
	}
	if d := cmp.Diff(wanted, rule); d != "" {
		t.Errorf("rules.yaml is not what alerts.yaml makes, see -update (-want +got):\n%s", d)
	}
}

// alerts are the rules that Prometheus reads, in the operator's types: a field that these do not
// have fails.
func alerts(t *testing.T) (spec monitoring.PrometheusRuleSpec) {
	t.Helper()
	text, err := os.ReadFile("prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}
