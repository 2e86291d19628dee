package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "cmd", "quittance")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), []byte("module example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	stored := map[string]string{"AMQP_URL": "amqp://local", "DATABASE_URL": "postgres://local?sslmode=disable"}
	if err := WriteEnv(root, stored); err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		dir     string
		environ []string
		want    map[string]string
	}{
		"a command below the root finds the development's servers": {
			dir: below, want: stored,
		},
		"a variable that is set wins": {
			dir: root, environ: []string{"DATABASE_URL=postgres://mine"},
			want: map[string]string{"AMQP_URL": "amqp://local", "DATABASE_URL": "postgres://mine"},
		},
		"a variable that is set to nothing wins": {
			dir: root, environ: []string{"AMQP_URL="},
			want: map[string]string{"AMQP_URL": "", "DATABASE_URL": "postgres://local?sslmode=disable"},
		},
		"a variable whose value is in a file wins": {
			dir: root, environ: []string{"DATABASE_URL_FILE=/run/secrets/database"},
			want: map[string]string{"AMQP_URL": "amqp://local", "DATABASE_URL_FILE": "/run/secrets/database"},
		},
		"production is never completed": {
			dir: root, environ: []string{"QUITTANCE_ENV=production"},
			want: map[string]string{"QUITTANCE_ENV": "production"},
		},
		"outside of a checkout there is nothing to complete with": {
			dir: t.TempDir(), environ: []string{"PATH=/bin"},
			want: map[string]string{"PATH": "/bin"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(tt.dir)
			if diff := cmp.Diff(tt.want, Environ(tt.environ)); diff != "" {
				t.Errorf("Environ(%q) (-want +got):\n%s", tt.environ, diff)
			}
		})
	}
}

func TestOnlyTheOwnerReadsTheEnv(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := WriteEnv(root, map[string]string{"QUITTANCE_SECRET_KEY": "secret"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, envFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the mode of %s is %o, want 600", envFile, got)
	}
}
