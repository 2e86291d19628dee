// Package deploy is only these tests: they hold the images, the compose files and the manifests
// for Kubernetes against the code, since nothing else would notice that a variable, a port or a
// kind of worker is called otherwise there. No container is started.
package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/quittance/quittance/cmd/settings"
)

// variable is something that a program reads from its environment.
type variable struct {
	required bool
	fallback string // its value where it is not set
}

// variablesOf are the variables that a program reads.
func variablesOf(t *testing.T, program string) map[string]variable {
	t.Helper()
	read := map[string]variable{}
	for _, v := range settings.Variables() {
		if !slices.Contains(v.ReadBy, program) {
			continue
		}
		read[v.Name] = variable{required: slices.Contains(v.NeededBy, program), fallback: v.Default}
		if v.File {
			read[v.Name+"_FILE"] = variable{}
		}
	}
	if len(read) < 2 {
		t.Fatalf("%s reads only %v", program, read)
	}
	return read
}

// workerKinds are the kinds that `worker` knows by name, as cmd/worker lists them.
func workerKinds(t *testing.T) (kinds []string) {
	t.Helper()
	inspect(t, filepath.Join("..", "cmd", "worker", "*.go"), func(n ast.Node) {
		list, is := n.(*ast.CompositeLit)
		if !is || !isMapOfWorkers(list.Type) {
			return
		}
		for _, element := range list.Elts {
			if pair, is := element.(*ast.KeyValueExpr); is {
				kinds = append(kinds, strings.Trim(pair.Key.(*ast.BasicLit).Value, `"`))
			}
		}
	})
	if len(kinds) < 8 {
		t.Fatalf("cmd/worker has only %v: has its list of kinds moved?", kinds)
	}
	slices.Sort(kinds)
	return kinds
}

// isMapOfWorkers is about map[string][]workers.Worker.
func isMapOfWorkers(e ast.Expr) bool {
	m, isMap := e.(*ast.MapType)
	if !isMap {
		return false
	}
	array, isArray := m.Value.(*ast.ArrayType)
	if !isArray {
		return false
	}
	selector, isSelector := array.Elt.(*ast.SelectorExpr)
	return isSelector && selector.Sel.Name == "Worker"
}

// inspect visits all nodes of the sources that a pattern names, tests aside.
func inspect(t *testing.T, pattern string, visit func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v: %v", pattern, files, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			visit(n)
			return true
		})
	}
}

// checkVariables holds what a program is given against what it reads.
func checkVariables(t *testing.T, where, program string, given map[string]string) {
	t.Helper()
	read := variablesOf(t, program)
	for name := range given {
		if _, known := read[name]; !known {
			t.Errorf("%s is given %s, which %s does not read", where, name, program)
		}
	}
	for name, v := range read {
		value, is := given[name]
		if v.required && !is {
			t.Errorf("%s is not given %s, which %s needs", where, name, program)
		}
		commandLine := program == "quittance" // which refuses, in production, what it needs the address for
		if strings.Contains(v.fallback, "127.0.0.1") && !is && !commandLine {
			t.Errorf("%s is not given %s: its default, %s, is of one machine", where, name, v.fallback)
		}
		if strings.HasSuffix(name, "_ADDR") && is {
			checkListens(t, where, name, value, v.fallback)
		}
	}
}

// checkListens wants an address on all interfaces, at the port that README and alerts name.
func checkListens(t *testing.T, where, name, value, fallback string) {
	t.Helper()
	host, port, err := net.SplitHostPort(value)
	if err != nil || (host != "" && host != "0.0.0.0") {
		t.Errorf("%s: %s is %q, and nobody outside of the container reaches that", where, name, value)
	}
	if fallback != "" && !strings.HasSuffix(fallback, ":"+port) {
		t.Errorf("%s: %s is %q, and not the port of %q", where, name, value, fallback)
	}
}
