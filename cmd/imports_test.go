// Package cmd is only this test: which folder may import which of ours.
package cmd

import (
	"go/build"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/quittance/quittance/"

// may says what a folder may import of ours. A folder is found by its
// longest prefix here; "x/" stands for everything below x.
var may = map[string][]string{
	"store":            {"store/money"},
	"store/money":      {},
	"store/storetest":  {"store", "store/money", "migrations"},
	"queue":            {},
	"queue/queuetest":  {"queue"},
	"migrations":       {},
	"workers":          {"store", "store/money", "queue"},
	"workers/":         {"store", "store/money", "queue", "workers", "workers/acquirer"},
	"workers/acquirer": {"store/money"},
	"workers/receipt":  {"store", "store/money", "queue", "workers", "workers/receipt/document"},

	"workers/acquirer/acquirertest": {"store/money", "workers/acquirer"},
	"workers/callback/callbacktest": {},
	"workers/receipt/document":      {"store", "store/money"},
	"workers/receipt/mailtest":      {},
	"workers/push/fcmtest":          {},
	"api":                           {"store", "store/money"},
	"api/apitest":                   {"api"},
	"api/":                          {"store", "store/money", "api"},
	"deploy":                        {"queue", "cmd/settings"}, // its tests hold manifests against the code
	"deploy/local":                  {},
	"deploy/prometheus":             {},
	"deploy/docs/docstest":          {},
}

// Tests may also use what is made for them.
var testsMay = []string{"api/apitest", "store/storetest", "queue/queuetest", "workers/acquirer/acquirertest", "workers/callback/callbacktest", "workers/push/fcmtest", "workers/receipt/mailtest"}

func TestImportsRunOneWay(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(strings.TrimPrefix(path, "../"))
		if !d.IsDir() || path == ".." {
			return nil
		}
		if strings.HasPrefix(d.Name(), ".") || folder == "cmd" {
			return filepath.SkipDir
		}
		pkg, err := build.ImportDir(path, 0)
		if err != nil {
			return nil // a folder without Go
		}
		seen++
		allowed, known := allowedFor(folder)
		if !known {
			t.Errorf("%s is in no row of the table", folder)
		}
		check(t, folder, pkg.Imports, allowed)
		check(t, folder+" (tests)", append(pkg.TestImports, pkg.XTestImports...), slices.Concat(allowed, testsMay, []string{folder}))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 12 {
		t.Errorf("only %d packages were looked at", seen)
	}
}

func allowedFor(folder string) ([]string, bool) {
	if allowed, ok := may[folder]; ok {
		return allowed, true
	}
	allowed, ok := may[folder[:strings.LastIndex(folder, "/")+1]]
	return allowed, ok
}

func check(t *testing.T, folder string, imports, allowed []string) {
	t.Helper()
	for _, i := range imports {
		ours, is := strings.CutPrefix(i, module)
		if is && !slices.Contains(allowed, ours) {
			t.Errorf("%s imports %s, and may import of ours only %v", folder, ours, allowed)
		}
	}
}

func TestEachLibraryHasItsPlace(t *testing.T) {
	t.Parallel()
	onlyIn(t, "github.com/gin-gonic/gin", "api", "cmd/quittance")                   // there it is the bench's ceiling
	onlyIn(t, "github.com/rabbitmq/amqp091-go", "queue", "cmd/quittance", "deploy") // deploy pings the servers that it starts
	onlyIn(t, "code.dny.dev/ssrf", "workers/callback")
	onlyIn(t, "github.com/jackc/pgx/v5", "store", "migrations", "cmd", "deploy")
	onlyIn(t, "firebase.google.com/go/v4", "workers/push")
	onlyIn(t, "github.com/getkin/kin-openapi", "api/apitest")
	onlyIn(t, "github.com/santhosh-tekuri/jsonschema", "api/apitest")
	onlyIn(t, module+"api/apitest") // tests have it, and no program
}

// Firebase brings more than 600 packages, and the attack surface of each: nobody links it but
// the program that pushes.
func TestOnlyTheWorkerLinksFirebase(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"api", "quittance", "sandbox", "dev"} {
		list, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags=nomsgpack", "./"+program).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, list)
		}
		for dependency := range strings.Lines(string(list)) {
			if strings.HasPrefix(dependency, "firebase.google.com/") || strings.HasPrefix(dependency, "google.golang.org/api") {
				t.Errorf("%s links %s", program, dependency)
			}
		}
	}
}

// A bigger one takes longer to start on a new machine, just when there is need of it.
func TestTheAPIStaysSmall(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it is built")
	}
	path := filepath.Join(t.TempDir(), "api")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags=nomsgpack", "-ldflags=-s -w", "-o", path, "./api").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	built, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mib := built.Size() >> 20; mib >= 30 {
		t.Errorf("the api has %d MiB, want less than 30", mib)
	}
}

// onlyIn fails where code, tests aside, imports a module's packages outside these folders.
func onlyIn(t *testing.T, dependency string, folders ...string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == ".." {
			return err
		}
		folder := filepath.ToSlash(strings.TrimPrefix(path, "../"))
		if strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		if slices.ContainsFunc(folders, func(f string) bool { return folder == f || strings.HasPrefix(folder, f+"/") }) {
			return nil
		}
		pkg, err := build.ImportDir(path, 0)
		if err != nil {
			return nil // a folder without Go
		}
		for _, i := range pkg.Imports {
			if strings.HasPrefix(i, dependency) {
				t.Errorf("%s imports %s", folder, i)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
