package local

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each row is a machine without the servers' programs, on which the named tools are
// scripts that write down how they are called.
func TestInstall(t *testing.T) {
	for name, tt := range map[string]struct {
		tools   []string
		options Options
		want    []string // the calls
		fails   string   // part of the error
	}{
		"with apt-get": {
			tools: []string{"apt-get"},
			want:  []string{"apt-get update", "apt-get install -y --no-install-recommends postgresql rabbitmq-server"},
		},
		"only what is asked for": {
			tools: []string{"apt-get"}, options: Options{WithoutPostgres: true},
			want: []string{"apt-get update", "apt-get install -y --no-install-recommends rabbitmq-server"},
		},
		"with brew": {
			tools: []string{"brew", "docker"},
			want:  []string{"brew install postgresql@17 rabbitmq"},
		},
		"as images that are there already": {
			tools: []string{"docker"},
			want: []string{
				"docker version --format {{.Server.Version}}",
				"docker image inspect postgres:17", "docker image inspect rabbitmq:4-management",
			},
		},
		"nothing to install with": {fails: "no Docker engine answers: install PostgreSQL and RabbitMQ and try again"},
		"nothing is asked for":    {options: Options{WithoutPostgres: true, WithoutRabbitMQ: true}},
	} {
		t.Run(name, func(t *testing.T) {
			calls := bareMachine(t, tt.tools)
			err := Install(t.Context(), tt.options)
			if tt.fails == "" && err != nil || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Fatalf("Install: %v, want an error with %q", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestInstallTools(t *testing.T) {
	for name, tt := range map[string]struct {
		tools []string
		want  []string
		fails bool
	}{
		"with apt-get": {
			tools: []string{"apt-get", "service", "update-rc.d"},
			want: []string{
				"apt-get update", "apt-get install -y --no-install-recommends chromium python3 php-cli poppler-utils prometheus",
				"service prometheus stop", "update-rc.d prometheus disable",
			},
		},
		"what starts no service": {
			tools: []string{"apt-get", "promtool", "chromium", "python3", "php"},
			want:  []string{"apt-get update", "apt-get install -y --no-install-recommends poppler-utils"},
		},
		"a service that cannot be stopped": {
			tools: []string{"apt-get", "pdftotext", "chromium", "python3", "php"}, fails: true,
			want: []string{"apt-get update", "apt-get install -y --no-install-recommends prometheus"},
		},
		"with brew":                {tools: []string{"brew"}, want: []string{"brew install chromium python php poppler prometheus"}},
		"only what is missing":     {tools: []string{"brew", "pdftotext", "promtool", "python3", "php"}, want: []string{"brew install chromium"}},
		"where nothing is missing": {tools: []string{"apt-get", "chromium-browser", "pdftotext", "promtool", "python3", "php"}},
		"nothing to install with":  {fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			calls := bareMachine(t, tt.tools)
			if err := InstallTools(t.Context(), Options{}); (err != nil) != tt.fails {
				t.Fatalf("InstallTools: %v, want an error: %v", err, tt.fails)
			}
			if diff := cmp.Diff(tt.want, calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// bareMachine hides every program but the tools, and returns what reads their calls.
func bareMachine(t *testing.T, tools []string) (calls func() []string) {
	t.Helper()
	for _, folders := range []*[]string{&postgresFolders, &rabbitFolders, &erlangFolders} {
		before := *folders
		*folders = nil
		t.Cleanup(func() { *folders = before })
	}
	bin := t.TempDir()
	log := filepath.Join(bin, "calls")
	script := "#!/bin/sh\necho \"${0##*/} $*\" >> " + log + "\n"
	for _, tool := range tools {
		if err := os.WriteFile(filepath.Join(bin, tool), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	linkEnvironment(t, bin)
	t.Setenv("PATH", bin)
	return func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			return nil
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// linkEnvironment puts what apt-get is called through into bin: env, and a sudo that
// asks nothing.
func linkEnvironment(t *testing.T, bin string) {
	t.Helper()
	env, err := exec.LookPath("env")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(env, filepath.Join(bin, "env")); err != nil {
		t.Fatal(err)
	}
	sudo := "#!/bin/sh\nshift\n[ \"$1\" = true ] || exec \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o700); err != nil {
		t.Fatal(err)
	}
}
