package deploy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

var images = []string{"api", "worker", "quittance", "sandbox"}

// stages reads the Dockerfile, strictly.
func stages(t *testing.T) map[string]instructions.Stage {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Error(parsed.Warnings)
	}
	list, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]instructions.Stage{}
	for _, s := range list {
		all[s.Name] = s
	}
	return all
}

// of are the commands of one kind in a stage.
func of[C any](s instructions.Stage) (all []C) {
	for _, command := range s.Commands {
		if c, is := command.(C); is {
			all = append(all, c)
		}
	}
	return all
}

func TestEachProgramHasItsImage(t *testing.T) {
	t.Parallel()
	all := stages(t)
	if base := all["base"]; base.BaseName != "scratch" || len(of[*instructions.UserCommand](base)) != 1 || of[*instructions.UserCommand](base)[0].User != "65532:65532" {
		t.Errorf("the images begin with %+v, want nothing, and somebody who is not root", base)
	}
	for _, program := range images {
		s, is := all[program]
		if !is || s.BaseName != "base" || len(of[*instructions.UserCommand](s)) > 0 {
			t.Errorf("there is no target %s on top of base: %+v", program, s)
			continue
		}
		if entry := of[*instructions.EntrypointCommand](s); len(entry) != 1 || entry[0].PrependShell || !slices.Equal(entry[0].CmdLine, []string{"/" + program}) {
			t.Errorf("%s runs %+v", program, entry)
		}
		var copied []string
		for _, c := range of[*instructions.CopyCommand](s) {
			copied = append(copied, c.SourcePaths...)
		}
		if !slices.Contains(copied, "/out/"+program) {
			t.Errorf("%s is made of %v", program, copied)
		}
		checkServed(t, program, s)
	}
}

// checkServed wants the ports that a program listens on by default, and a health check.
func checkServed(t *testing.T, program string, s instructions.Stage) {
	t.Helper()
	var listens, ports []string
	for name, v := range variablesOf(t, program) {
		if strings.HasSuffix(name, "_ADDR") && v.fallback != "" {
			listens = append(listens, v.fallback[strings.LastIndex(v.fallback, ":")+1:])
		}
	}
	for _, e := range of[*instructions.ExposeCommand](s) {
		ports = append(ports, e.Ports...)
	}
	slices.Sort(listens)
	slices.Sort(ports)
	if !slices.Equal(listens, ports) {
		t.Errorf("%s listens on %v, and its image says %v", program, listens, ports)
	}
	check := of[*instructions.HealthCheckCommand](s)
	if len(listens) == 0 {
		return
	}
	if len(check) != 1 || !slices.Equal(check[0].Health.Test, []string{"CMD", "/" + program, "ready"}) {
		t.Errorf("the health check of %s is %+v", program, check)
	}
}

func TestImagesAreBuiltAsEverythingElse(t *testing.T) {
	t.Parallel()
	build := stages(t)["build"]
	var lines []string
	for _, run := range of[*instructions.RunCommand](build) {
		lines = append(lines, strings.Join(run.CmdLine, " "))
	}
	line := strings.Join(lines, "\n")
	for _, want := range []string{"CGO_ENABLED=0 ", `-trimpath -tags=nomsgpack -ldflags="-s -w"`, "./cmd/api ", "./cmd/worker ", "./cmd/quittance ", "./cmd/sandbox"} {
		if !strings.Contains(line, want) {
			t.Errorf("the images are built without %q: %s", want, line)
		}
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(build.BaseName, "golang:"), "-")
	if !strings.Contains(string(module), "\ngo "+version+".") {
		t.Errorf("the images are built with %s, which is not what go.mod says", build.BaseName)
	}
}

// What a build does not find is noticed when somebody builds an image, and not before.
func TestTheContextHoldsAllThatIsBuilt(t *testing.T) {
	t.Parallel()
	ignored := dockerignore(t)
	for _, file := range built(t) {
		if ignored(file) {
			t.Errorf("the context is without %s", file)
		}
	}
	for _, file := range []string{".git/config", ".local/env", "deploy/.env", "deploy/development.env", "store/store_test.go", "README.md"} {
		if !ignored(file) {
			t.Errorf("the context holds %s", file)
		}
	}
}

// built are the files of ours that the images are made of.
func built(t *testing.T) (files []string) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"list", "-deps", "-tags=nomsgpack", "-json=Dir,GoFiles,EmbedFiles,CgoFiles"}
	for _, program := range images {
		args = append(args, "./cmd/"+program)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files = []string{"go.mod", "go.sum"}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir                           string
			GoFiles, EmbedFiles, CgoFiles []string
		}
		if err := decoder.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(pkg.CgoFiles) > 0 {
			t.Errorf("%s needs C, and an image has no libraries", pkg.Dir)
		}
		folder, ours := strings.CutPrefix(pkg.Dir, root+string(filepath.Separator))
		for _, name := range slices.Concat(pkg.GoFiles, pkg.EmbedFiles) {
			if ours {
				files = append(files, path.Join(filepath.ToSlash(folder), name))
			}
		}
	}
	if len(files) < 100 {
		t.Fatalf("only %d files are built", len(files))
	}
	return files
}

// dockerignore answers for the few forms that ours has: the last pattern that matches decides.
func dockerignore(t *testing.T) func(file string) bool {
	t.Helper()
	text, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	return func(file string) (ignored bool) {
		for line := range strings.Lines(string(text)) {
			pattern, kept := strings.CutPrefix(strings.TrimSpace(line), "!")
			if pattern == "" || strings.HasPrefix(pattern, "#") {
				continue
			}
			anywhere, is := strings.CutPrefix(pattern, "**/")
			matches := pattern == "*" || file == pattern || strings.HasPrefix(file, pattern+"/")
			if is {
				matches = slices.ContainsFunc(strings.Split(file, "/"), func(part string) bool {
					m, _ := path.Match(anywhere, part)
					return m
				})
			}
			if matches {
				ignored = !kept
			}
		}
		return ignored
	}
}
