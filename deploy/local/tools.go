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
}

var tools = []tool{
	{program{name: "Chromium", apt: "chromium", brew: "chromium"}, []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"}},
	{program{name: "pdftotext", apt: "poppler-utils", brew: "poppler"}, []string{"pdftotext"}},
}

// InstallTools installs what only tests use and what is missing of it: a browser and a
// reader of PDFs, with apt-get or brew. Whoever goes on without them must say which tests
// that leaves out.
func InstallTools(ctx context.Context, o Options) error {
	var missing []program
	for _, t := range tools {
		if !t.here() {
			missing = append(missing, t.program)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err := withApt(ctx, o, missing)
	if errors.Is(err, errors.ErrUnsupported) {
		err = withBrew(ctx, o, missing)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		what := strings.Join(names(missing, func(p program) string { return p.name }), " and ")
		err = fmt.Errorf("neither apt-get nor brew is here to install %s", what)
	}
	return err
}

func (t tool) here() bool {
	for _, command := range t.commands {
		if _, err := exec.LookPath(command); err == nil {
			return true
		}
	}
	return false
}
