package main

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The checklist's statements and command, under other names: roles belong to the whole server.
func TestTheChecklistsRolesMigrateAndRun(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../deploy/docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	statements := regexp.MustCompile("(?s)```sql\n(.+?)```").FindSubmatch(page)
	command := regexp.MustCompile(`(?m)^DATABASE_URL=\$OWNER_URL quittance (migrate .+)$`).FindSubmatch(page)
	if statements == nil || command == nil {
		t.Fatal("the checklist has no statements, or no command")
	}
	name := "test_" + strings.ToLower(rand.Text())
	named := func(text []byte) string { return strings.ReplaceAll(string(text), "quittance", name) }

	server := os.Getenv("DATABASE_URL")
	superuser, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, sql := range []string{"DROP DATABASE NAME WITH (FORCE)", "DROP ROLE NAME_owner, NAME_runtime, NAME_reader"} {
			if _, err := superuser.Exec(context.Background(), strings.ReplaceAll(sql, "NAME", name)); err != nil {
				t.Error(err)
			}
		}
		_ = superuser.Close(context.Background())
	})
	for statement := range strings.SplitSeq(strings.TrimSpace(named(statements[1])), ";\n") {
		if _, err := superuser.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}

	login := func(role, password string) string {
		u, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		u.User, u.Path = url.UserPassword(name+role, password), "/"+name
		return u.String()
	}
	if out, err := operate(t, login("_owner", "change-me-1"), strings.Fields(named(command[1]))...); err != nil {
		t.Fatalf("%s: %q, %v", command[1], out, err)
	}
	if out, err := operate(t, login("_runtime", "change-me-2"), "client", "add", "--id", "office"); err != nil {
		t.Errorf("client add as the runtime: %q, %v", out, err)
	}
	if out, err := operate(t, login("_reader", "change-me-3"), "client", "list"); err != nil || !strings.Contains(out, "office") {
		t.Errorf("client list as the reader: %q, %v", out, err)
	}
}
