package prometheus

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dashboard is what is looked at of Grafana's format.
type dashboard struct {
	UID           string
	Title         string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Query string }
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ RefID, Expr string }
}

const dashboardFile = "../grafana/quittance.json"

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(text(t, dashboardFile)), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 20 {
		t.Fatalf("the dashboard has only %d panels", len(d.Panels))
	}
	return d
}

func TestDashboardHasItsFourRows(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	var rows []string
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		}
	}
	if diff := cmp.Diff([]string{"Money", "Flow", "Workers", "Partners"}, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if v := d.Templating.List; len(v) != 1 || v[0].Name != "datasource" || v[0].Type != "datasource" || v[0].Query != "prometheus" {
		t.Errorf("the variables are %+v, want one that chooses the Prometheus", v)
	}
}

func TestEveryPanelExplainsItself(t *testing.T) {
	t.Parallel()
	builtIn := []string{"row", "stat", "timeseries"}
	for _, p := range readDashboard(t).Panels {
		if !slices.Contains(builtIn, p.Type) {
			t.Errorf("%s is a %q, which Grafana may not have", p.Title, p.Type)
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || !strings.HasSuffix(p.Description, ".") || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("a panel lacks title, description, unit or query: %+v", p)
		}
		if p.Datasource.UID != "${datasource}" {
			t.Errorf("%s asks %q, not the Prometheus that was chosen", p.Title, p.Datasource.UID)
		}
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	t.Parallel()
	ids := make(map[int]string)
	cells := make(map[[2]int]string)
	for _, p := range readDashboard(t).Panels {
		if other, taken := ids[p.ID]; taken || p.ID == 0 {
			t.Errorf("%s and %s both have the id %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		at := p.GridPos
		if at.W < 1 || at.H < 1 || at.X+at.W > 24 {
			t.Errorf("%s is not within the 24 columns: %+v", p.Title, at)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
}

// The directory that the provider reads is the dashboard's, wherever it is mounted.
func TestGrafanaFindsWhatIsProvisioned(t *testing.T) {
	t.Parallel()
	var sources struct {
		Version     int `json:"apiVersion"`
		Datasources []struct {
			Name, Type, UID, Access, URL string
			IsDefault                    bool              `json:"isDefault"`
			JSON                         map[string]string `json:"jsonData"`
		}
	}
	read(t, "../grafana/provisioning/datasources/prometheus.yaml", &sources)
	if len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL != "$PROMETHEUS_URL" {
		t.Errorf("the data sources are %+v", sources.Datasources)
	}
	var providers struct {
		Version   int `json:"apiVersion"`
		Providers []struct {
			Name, Folder, Type string
			AllowUIUpdates     bool `json:"allowUiUpdates"`
			Options            struct{ Path string }
		}
	}
	read(t, "../grafana/provisioning/dashboards/quittance.yaml", &providers)
	if len(providers.Providers) != 1 || providers.Providers[0].Options.Path != "/var/lib/grafana/dashboards" {
		t.Errorf("the providers are %+v", providers.Providers)
	}
	if _, err := os.Stat(dashboardFile); err != nil {
		t.Error(err)
	}
}
