package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

// load reads compose files as Docker Compose does.
func load(ctx context.Context, environ map[string]string, files ...string) (*types.Project, error) {
	var pairs []string
	for name, value := range environ {
		pairs = append(pairs, name+"="+value)
	}
	options, err := cli.NewProjectOptions(files, cli.WithWorkingDirectory("."), cli.WithEnv(pairs), cli.WithResolvedPaths(true))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// filledIn is what an operator makes of .env.example.
func filledIn(t *testing.T) map[string]string {
	t.Helper()
	environ, err := dotenv.Read(".env.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range environ {
		if value != "" {
			t.Errorf(".env.example gives %s a value", name)
		}
		environ[name] = "of-" + strings.ToLower(name)
	}
	return environ
}

// projects are a production, and the playground.
func projects(t *testing.T) map[string]*types.Project {
	t.Helper()
	known, err := dotenv.Read("development.env")
	if err != nil {
		t.Fatal(err)
	}
	production, err := load(t.Context(), filledIn(t), "compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	development, err := load(t.Context(), known, "compose.yaml", "compose.development.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*types.Project{"production": production, "development": development}
}

// ours says which of our programs a service runs, if it does.
func ours(s types.ServiceConfig) (program string, is bool) {
	image, ours := strings.CutPrefix(s.Image, "quittance/")
	program, _, _ = strings.Cut(image, ":")
	return program, ours
}

func TestServicesAreGivenWhatTheirProgramsRead(t *testing.T) {
	t.Parallel()
	for kind, project := range projects(t) {
		for name, s := range project.Services {
			program, is := ours(s)
			if !is {
				continue
			}
			given := map[string]string{}
			for variable, value := range s.Environment {
				if value != nil {
					given[variable] = *value
				}
			}
			checkVariables(t, kind+": "+name, program, given)
			if s.Build == nil || s.Build.Target != program || s.Build.Dockerfile != "deploy/Dockerfile" {
				t.Errorf("%s: %s is built as %+v", kind, name, s.Build)
			}
			if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
				t.Errorf("%s: %s may do more than it needs", kind, name)
			}
		}
	}
}

func TestWhatServesHasAHealthCheck(t *testing.T) {
	t.Parallel()
	for kind, project := range projects(t) {
		for name, s := range project.Services {
			program, is := ours(s)
			if program == "quittance" {
				continue // it does one thing, and ends
			}
			if s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 || s.HealthCheck.Test[0] != "CMD" {
				t.Errorf("%s: %s has no health check", kind, name)
			} else if is && !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/" + program, "ready"}) {
				t.Errorf("%s: the health check of %s is %v", kind, name, s.HealthCheck.Test)
			}
		}
	}
}

// Whoever is on the same network must not reach a server with a password, or a proxy's back.
func TestNothingIsPublishedToTheNetwork(t *testing.T) {
	t.Parallel()
	for kind, project := range projects(t) {
		for name, s := range project.Services {
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s: %s is published as %s:%s", kind, name, port.HostIP, port.Published)
				}
			}
		}
	}
}

func TestProductionNeedsEachOfItsSettings(t *testing.T) {
	t.Parallel()
	all := filledIn(t)
	if len(all) < 7 {
		t.Fatalf(".env.example has only %v", all)
	}
	for missing := range all {
		without := maps.Clone(all)
		delete(without, missing)
		if _, err := load(t.Context(), without, "compose.yaml"); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
}

func TestWhatIsMountedIsThere(t *testing.T) {
	t.Parallel()
	for kind, project := range projects(t) {
		for name, s := range project.Services {
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind {
					if _, err := os.Stat(v.Source); err != nil {
						t.Errorf("%s: %s: %v", kind, name, err)
					}
				}
			}
		}
	}
}

// Prometheus asks each of our services that has a monitor, by the name that the alerts know.
func TestPrometheusScrapesTheServices(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("prometheus/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		ScrapeConfigs []struct {
			JobName       string `json:"job_name"`
			StaticConfigs []struct {
				Targets []string `json:"targets"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range config.ScrapeConfigs {
		for _, s := range c.StaticConfigs {
			got = append(got, fmt.Sprint(c.JobName, s.Targets))
		}
	}
	var want []string
	for name, s := range projects(t)["production"].Services {
		for variable, value := range s.Environment {
			if strings.HasSuffix(variable, "_MONITOR_ADDR") {
				_, port, _ := strings.Cut(*value, ":")
				want = append(want, fmt.Sprintf("%s[%s:%s]", name, name, port))
			}
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Prometheus scrapes %v, want %v", got, want)
	}
	if command := projects(t)["production"].Services["prometheus"].Command; !slices.Contains(command, "--config.file=/etc/prometheus/compose.yaml") {
		t.Errorf("Prometheus is started as %s", command)
	}
}
