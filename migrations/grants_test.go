package migrations_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/store/storetest"
)

func TestEveryTableHasItsRights(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), storetest.Create(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		t.Fatal(err)
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	granted := migrations.GrantedTables()
	for _, table := range there {
		if !slices.Contains(granted, table) {
			t.Errorf("%s is in no row of rights: say what api and worker may do to it", table)
		}
	}
}

func TestNothingIsGrantedToARoleThatMayDoAnything(t *testing.T) {
	t.Parallel()
	address := storetest.Create(t)
	owner, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		roles migrations.Roles
		want  error
	}{
		"the owner":             {migrations.Roles{Runtime: owner.User}, migrations.ErrMightyRole},
		"the owner, as reader":  {migrations.Roles{Reader: owner.User}, migrations.ErrMightyRole},
		"one role for both":     {migrations.Roles{Runtime: "one", Reader: "one"}, migrations.ErrTwoRoles},
		"none, which is no use": {migrations.Roles{}, nil},
	} {
		if err := migrations.Grant(t.Context(), address, tt.roles); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := migrations.Grant(t.Context(), address, migrations.Roles{Runtime: `nobody"; DROP TABLE transfers; --`}); err == nil {
		t.Error("nobody was granted to")
	}
	if _, err := migrations.Up(t.Context(), address); err != nil {
		t.Errorf("the owner has lost its rights: %v", err)
	}
}
