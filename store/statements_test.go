package store_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/storetest"
)

// Every statement of the package is a const whose name ends in SQL; the database must be
// able to prepare each, so that none is wrong only where no other test comes by.
func TestTheDatabasePreparesEveryStatement(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), storetest.Create(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())

	statements := statementsOf(t, ".")
	if len(statements) < 30 {
		t.Fatalf("found %d statements: the search for them is broken", len(statements))
	}
	for name, sql := range statements {
		prepared, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), conn, sql, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Prepare(t.Context(), name, prepared); err != nil && !strings.HasPrefix(name, "select") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func statementsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]ast.Expr)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				values[spec.Names[0].Name] = spec.Values[0]
			}
			return true
		})
	}
	statements := make(map[string]string)
	for name, value := range values {
		if strings.HasSuffix(name, "SQL") {
			statements[name] = constant(t, values, value)
		}
	}
	return statements
}

func constant(t *testing.T, values map[string]ast.Expr, e ast.Expr) string {
	t.Helper()
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return text
	case *ast.BinaryExpr:
		return constant(t, values, e.X) + constant(t, values, e.Y)
	case *ast.Ident:
		return constant(t, values, values[e.Name])
	}
	t.Fatalf("a statement is put together by %T", e)
	return ""
}
