package storetest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/migrations"
)

// Roles is a database as production has it: nobody works as its owner.
type Roles struct {
	*DB // its store works under the runtime's role; its URL is the reader's

	Owner, Runtime, Reader string // addresses, each with its role
	names                  migrations.Roles
}

// WithRoles makes an empty, migrated database, and roles that hold what migrations.Grant grants.
func WithRoles(t testing.TB) Roles {
	t.Helper()
	names := migrations.Roles{Runtime: role(t), Reader: role(t)} // roles end after the database that they may use
	owner := Create(t)
	r := Roles{Owner: owner, Runtime: as(t, owner, names.Runtime), Reader: as(t, owner, names.Reader), names: names}
	r.Grant(t)
	r.DB = &DB{Store: Open(t, r.Runtime), URL: r.Reader, t: t}
	return r
}

// Grant grants to the roles, again.
func (r Roles) Grant(t testing.TB) {
	t.Helper()
	if err := migrations.Grant(context.Background(), r.Owner, r.names); err != nil {
		t.Fatal(err)
	}
}

// RoleNames are the names of the runtime's role and the reader's.
func (r Roles) RoleNames() (runtime, reader string) { return r.names.Runtime, r.names.Reader }

// role makes a role that may log in, and that ends with the test.
func role(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	run := func(sql string) {
		conn, err := pgx.Connect(context.Background(), os.Getenv("DATABASE_URL"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		mustExec(context.Background(), t, conn, sql)
	}
	run("CREATE ROLE " + name + " LOGIN PASSWORD 'test'")
	t.Cleanup(func() { run("DROP ROLE " + name) })
	return name
}

// as returns an address with another user.
func as(t testing.TB, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "test")
	return u.String()
}
