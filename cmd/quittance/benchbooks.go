package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// openNewBooks connects to a database that Quittance has not been in.
func openNewBooks(ctx context.Context, url string) (*pgx.Conn, error) {
	if url == "" {
		return nil, errors.New("DATABASE_URL is not set: use make bench")
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	var used bool
	var stamps string
	err = conn.QueryRow(ctx, "SELECT to_regclass('operations') IS NOT NULL, current_setting('track_commit_timestamp')").Scan(&used, &stamps)
	switch {
	case err != nil:
	case used:
		err = errors.New("the database is in use: the benchmark fills it, and needs a new one (make bench)")
	case stamps != "on":
		err = errors.New("PostgreSQL runs with track_commit_timestamp=off: when a command was settled cannot be known")
	default:
		return conn, nil
	}
	return nil, errors.Join(err, conn.Close(ctx))
}

// contenderSQL are the questions about what a contender was sent.
type contenderSQL struct {
	open    string // how many are accepted and not settled
	settled string // of each that was accepted since @since: its commit, and the seconds from acceptance to that
}

// When a command was settled is the commit of the transaction that settled it. When it was
// accepted is the start of the transaction that accepted it, before its client could know:
// the difference is rather too long than too short.
var operationsSQL = contenderSQL{
	open: `
SELECT count(*) FROM operations WHERE finished_at IS NULL`,
	settled: `
SELECT pg_xact_commit_timestamp(o.xmin), extract(epoch FROM pg_xact_commit_timestamp(o.xmin) - o.created_at)::float8
FROM operations o
WHERE o.created_at >= @since AND o.status = 'succeeded'`,
}

// The ceiling does not store when it accepted.
var ceilingSQL = contenderSQL{
	open: `
SELECT @posted::bigint - count(*) FROM ceiling.transfers`,
	settled: `
SELECT pg_xact_commit_timestamp(t.xmin), 0::float8
FROM ceiling.transfers t
WHERE pg_xact_commit_timestamp(t.xmin) >= @since`,
}

// now is the database's clock, which all times of a phase are taken from.
func (b *bench) now(ctx context.Context) (now time.Time, err error) {
	err = b.books.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, err
}

const (
	pollEvery  = 20 * time.Millisecond
	stuckAfter = 30 * time.Second
)

// awaitSettled waits until nothing is open any more. It is called when all were accepted:
// until then the servers have better things to do than to count.
func (b *bench) awaitSettled(ctx context.Context, c *contender) error {
	moved, before := time.Now(), -1
	for {
		var open int
		if err := b.books.QueryRow(ctx, c.books.open, pgx.NamedArgs{"posted": c.posted}).Scan(&open); err != nil {
			return err
		}
		switch {
		case open == 0:
			return nil
		case open != before:
			moved, before = time.Now(), open
		case time.Since(moved) > stuckAfter:
			return fmt.Errorf("%d were accepted and are not settled after %v", open, stuckAfter)
		}
		pause(ctx, pollEvery)
	}
}

// settled is what became of the commands of a phase.
type settled struct {
	last   time.Time       // commit
	waited []time.Duration // of each, from acceptance to settlement; sorted
}

func (b *bench) settledSince(ctx context.Context, c *contender, since time.Time) (s settled, err error) {
	rows, err := b.books.Query(ctx, c.books.settled, pgx.NamedArgs{"since": since})
	if err != nil {
		return s, err
	}
	var at time.Time
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&at, &seconds}, func() error {
		if at.After(s.last) {
			s.last = at
		}
		s.waited = append(s.waited, time.Duration(seconds*float64(time.Second)))
		return nil
	})
	slices.Sort(s.waited)
	return s, err
}

// analyse does what autovacuum has done in every database that is older than a minute: it
// tells the planner how large the tables are that the set-up has just filled.
func (b *bench) analyse(ctx context.Context) error {
	_, err := b.books.Exec(ctx, "ANALYZE accounts, sessions, invoices, recharges, ledger_accounts")
	return err
}

// tidy does what autovacuum still has to do for the system, which would else happen while
// the ceiling's clock runs, and flatter the ratio.
func (b *bench) tidy(ctx context.Context) error {
	_, err := b.books.Exec(ctx, "VACUUM (ANALYZE)")
	return err
}

// promise is what the books must show; its query counts what breaks it. @accepted is how
// many commands were accepted.
type promise struct{ text, sql string }

// commonBooks are promised whatever the work is.
var commonBooks = []promise{
	{"every balance is the sum of its transfers", `
		SELECT count(*) FROM (
			SELECT FROM ledger_accounts l
			LEFT JOIN entries e ON e.ledger_account = l.id
			GROUP BY l.id
			HAVING l.balance <> coalesce(sum(e.amount), 0)) wrong`},
	{"the balances of a currency add up to zero", `
		SELECT count(*) FROM (SELECT FROM ledger_accounts GROUP BY currency HAVING sum(balance) <> 0) wrong`},
	{"every command that was accepted has succeeded", `
		SELECT abs(@accepted::bigint - count(*)) FROM operations WHERE status = 'succeeded'`},
	{"no operation ended otherwise", `
		SELECT count(*) FROM operations WHERE status <> 'succeeded'`},
}

var ceilingBooks = []promise{
	{"every balance is the sum of its transfers", `
		SELECT count(*) FROM (
			SELECT FROM ceiling.balances b
			LEFT JOIN (
				SELECT debit AS id, -amount AS amount FROM ceiling.transfers
				UNION ALL
				SELECT credit, amount FROM ceiling.transfers
			) e USING (id)
			GROUP BY b.id
			HAVING b.balance <> coalesce(sum(e.amount), 0)) wrong`},
	{"everything that was accepted has one transfer", `
		SELECT abs(@accepted::bigint - count(*)) FROM ceiling.transfers`},
}

func (b *bench) checkBooks(ctx context.Context, promises []promise, accepted int) error {
	for _, p := range promises {
		var broken int
		if err := b.books.QueryRow(ctx, p.sql, pgx.NamedArgs{"accepted": accepted}).Scan(&broken); err != nil {
			return fmt.Errorf("check that %s: %w", p.text, err)
		}
		if broken > 0 {
			return fmt.Errorf("the books are wrong: %s, but for %d", p.text, broken)
		}
	}
	return nil
}
