// Package migrations holds the schema, as numbered SQL, and brings a database to it.
//
// Migrations expand, never break: each works with the code before it and after it, so
// that api and worker may be restarted in any order. An advisory lock lets any number of
// processes call Up at once; one does the work, the others wait and find it done.
//
// The database is in use meanwhile. Whoever waits for a table has everybody who comes later wait
// behind him, so Up lets go at once and comes back: a backup reads every table for hours. What
// reads a table that grows for good, to index it, does so CONCURRENTLY.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib" // goose speaks database/sql
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Files are the migrations, for who must know whether they changed.
//
//go:embed *.sql
var Files embed.FS

const (
	lockTimeout = "300ms" // less than the second for which everybody else waits, behind this
	comeBack    = 2 * time.Second
	giveUp      = 5 * time.Minute // whoever waits to migrate as well waits no longer
)

// Up applies what is missing and returns the names of the files it applied, also where it then
// fails. Each file is one transaction, or may be begun anew: after a crash Up goes on with the
// first that is not recorded.
func Up(ctx context.Context, url string) (applied []string, err error) {
	db, err := open(url)
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	defer db.Close()

	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, Files, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		names, err := up(ctx, provider)
		applied = append(applied, names...)
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewConstantBackOff(comeBack)), backoff.WithMaxElapsedTime(giveUp))
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", err)
	}
	return applied, nil
}

func open(url string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["lock_timeout"] = lockTimeout
	return stdlib.OpenDB(*config), nil
}

// up applies what it can. Its error is permanent unless a table was in use.
func up(ctx context.Context, provider *goose.Provider) (applied []string, err error) {
	results, err := provider.Up(ctx)
	var partial *goose.PartialError
	if errors.As(err, &partial) {
		results = partial.Applied
	}
	for _, r := range results {
		applied = append(applied, r.Source.Path)
	}
	var pg *pgconn.PgError
	if err != nil && !(errors.As(err, &pg) && pg.Code == "55P03") {
		err = backoff.Permanent(err)
	}
	return applied, err
}
