package local

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// tool is a program that only tests use, under the names of its command.
type tool struct {
	program
	commands []string
	service  string // that Debian's package starts, now and whenever the machine does
}

var tools = []tool{
	{program{name: "Chromium", apt: "chromium", brew: "chromium"}, []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"}, ""},
	{program{name: "Python", apt: "python3", brew: "python"}, []string{"python3"}, ""},
	{program{name: "PHP", apt: "php-cli", brew: "php"}, []string{"php"}, ""},
	{program{name: "pdftotext", apt: "poppler-utils", brew: "poppler"}, []string{"pdftotext"}, ""},
	{program{name: "promtool", apt: "prometheus", brew: "prometheus"}, []string{"promtool"}, "prometheus"},
}

// InstallTools installs what only tests use and what is missing of it: a browser, a reader
// of PDFs, a judge of alerts, and languages that the documentation has recipes in, with apt-get
// or brew. Whoever goes on without them must say which tests that leaves out.
func InstallTools(ctx context.Context, o Options) error {
	var missing []program
	var services []string
	for _, t := range tools {
		if t.here() {
			continue
		}
		missing = append(missing, t.program)
		if t.service != "" {
			services = append(services, t.service)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err := withApt(ctx, o, missing)
	if err == nil {
		return switchOff(ctx, o, services)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = withBrew(ctx, o, missing)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		what := strings.Join(names(missing, func(p program) string { return p.name }), " and ")
		err = fmt.Errorf("neither apt-get nor brew is here to install %s", what)
	}
	return err
}

// switchOff stops services that nobody asked for: only a program of their packages is used.
func switchOff(ctx context.Context, o Options, services []string) error {
	for _, name := range services {
		err := step(ctx, o, "service "+name+" stop", asRoot("service", name, "stop"))
		if err == nil {
			err = run(ctx, asRoot("update-rc.d", name, "disable"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t tool) here() bool {
	for _, command := range t.commands {
		if _, err := exec.LookPath(command); err == nil {
			return true
		}
	}
	return false
}
