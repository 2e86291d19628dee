package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// AuditFinding is a row that is not what it must be, in plain words.
type AuditFinding struct {
	Row      string // which: "transfer 12"
	Expected string
	Found    string
}

// AuditedCheck is what one check of an audit came to.
type AuditedCheck struct {
	Name    string
	Promise string // what holds for every row
	Rows    int64  // that were looked at
	Off     int64  // of them, that break the promise
	First   *AuditFinding
	Took    time.Duration
}

func (c *AuditedCheck) add(f *AuditFinding) {
	if c.Off++; c.Off == 1 {
		c.First = f
	}
}

// AuditReport is what an audit came to.
type AuditReport struct {
	Checks []*AuditedCheck
	Took   time.Duration
}

// Off is how many rows break a promise.
func (r AuditReport) Off() (off int64) {
	for _, c := range r.Checks {
		off += c.Off
	}
	return off
}

// AuditProgress is told, by two goroutines, how far a check has come: after each chunk, and once
// with done when it has ended. total is the database's estimate.
type AuditProgress func(check string, rows, total int64, done bool)

// Audit compares the books with what they are about: every balance with its transfers, every
// transfer with its hash and its source, every source with its transfers, every call of the
// acquirer with what was booked, every operation's end with the state that it left.
//
// It only reads, and needs no more than the right to; a standby will do. Money may move
// meanwhile: each chunk is read in one snapshot, in which whatever commits together is seen
// together, and no snapshot lives longer than its chunk, so that nothing keeps the database from
// cleaning up. A row that is written behind the place that a check has reached is left to the
// next audit.
func (s *Store) Audit(ctx context.Context, progress AuditProgress) (AuditReport, error) {
	return s.auditInChunks(ctx, auditChunk, progress)
}

func (s *Store) auditInChunks(ctx context.Context, chunk int, progress AuditProgress) (AuditReport, error) {
	a := &audit{store: s, chunk: chunk, progress: progress, sums: make(map[LedgerAccountID]int64)}
	began := time.Now()
	books, sources := a.books(), a.sources()
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return a.run(ctx, books) })
	both.Go(func() error { return a.run(ctx, sources) })
	err := both.Wait()

	var report AuditReport
	for _, step := range append(books, sources...) {
		report.Checks = append(report.Checks, step.check)
	}
	report.Took = time.Since(began)
	return report, unavailable(err)
}

// audit is one on its way.
type audit struct {
	store    *Store
	chunk    int // rows of a snapshot
	progress AuditProgress
	mark     int64                     // the newest transfer when it began
	sums     map[LedgerAccountID]int64 // of each account's transfers up to mark, modulo 2^64 as balances are
	suspects []LedgerAccountID
}

// auditStep is a check with how it is made; progress is measured by the rows of its table.
type auditStep struct {
	check *AuditedCheck
	table string // "" where it is no table that is read
	make  func(context.Context, *auditStep) error
	total int64
}

func newAuditStep(name, table, promise string, run func(context.Context, *auditStep) error) *auditStep {
	return &auditStep{check: &AuditedCheck{Name: name, Promise: promise}, table: table, make: run}
}

const estimateRowsSQL = `
SELECT greatest(c.reltuples, 0)::bigint
FROM pg_class c
WHERE c.oid = to_regclass(@table)`

func (a *audit) run(ctx context.Context, steps []*auditStep) error {
	for _, step := range steps {
		began := time.Now()
		err := a.estimate(ctx, step)
		if err == nil {
			err = step.make(ctx, step)
		}
		if err != nil {
			return fmt.Errorf("audit %s: %w", step.check.Name, err)
		}
		step.check.Took = time.Since(began)
		a.progress(step.check.Name, step.check.Rows, step.total, true)
	}
	return nil
}

func (a *audit) estimate(ctx context.Context, step *auditStep) error {
	if step.table == "" {
		return nil
	}
	err := a.store.inSnapshot(ctx, readTimeout, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, estimateRowsSQL, pgx.NamedArgs{"table": step.table}).Scan(&step.total)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("there is no table %s: is this Quittance's database, with the newest schema?", step.table)
	}
	return err
}

// inSnapshot runs f in a transaction that sees one state of the database and changes none.
func (s *Store) inSnapshot(ctx context.Context, timeout time.Duration, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, f)
}

const (
	auditChunk      = 5000 // rows of a snapshot: tens of milliseconds
	auditTries      = 4    // of a chunk, each on a quarter of the rows
	auditSumTimeout = 5 * time.Minute
)

// auditPass reads one table from its beginning to its end.
type auditPass[Row any] struct {
	sql    string        // takes @limit rows after those that args name
	args   pgx.NamedArgs // where it stands
	fields func(*Row) []any
	next   func(*Row) pgx.NamedArgs // where it stands after this row
	look   func(*Row) *AuditFinding // nil where the row is as it must be
	slow   bool                     // one row may be the sum of a whole table
	rows   []Row
}

func (p *auditPass[Row]) run(ctx context.Context, a *audit, step *auditStep) error {
	for {
		limit, err := p.read(ctx, a)
		if err != nil {
			return err
		}
		for i := range p.rows {
			if f := p.look(&p.rows[i]); f != nil {
				step.check.add(f)
			}
		}
		step.check.Rows += int64(len(p.rows))
		a.progress(step.check.Name, step.check.Rows, step.total, false)
		if len(p.rows) < limit {
			return nil
		}
		maps.Copy(p.args, p.next(&p.rows[limit-1]))
	}
}

// read reads the next chunk, and a part of it where that takes too long: a disk may be cold, and
// a standby cancels what is in the way of what it has to replay.
func (p *auditPass[Row]) read(ctx context.Context, a *audit) (limit int, err error) {
	limit = a.chunk
	for try := 1; ; try++ {
		err = p.readRows(ctx, a.store, limit)
		if err == nil || ctx.Err() != nil || try == auditTries || !mayPass(err) {
			return limit, err
		}
		limit = max(1, limit/4)
	}
}

// mayPass says that the same, or less of it, may be read on another try.
func mayPass(err error) bool {
	var pg *pgconn.PgError
	canceled := errors.As(err, &pg) && pg.Code == "57014"
	return canceled || errors.Is(err, context.DeadlineExceeded) || FaultOf(err) == FaultContention
}

const allowTimeSQL = `
SELECT set_config('statement_timeout', @timeout::text, true)`

func (p *auditPass[Row]) readRows(ctx context.Context, s *Store, limit int) error {
	p.rows, p.args["limit"] = p.rows[:0], limit
	timeout := readTimeout
	if p.slow {
		timeout = auditSumTimeout
	}
	return s.inSnapshot(ctx, timeout, func(tx pgx.Tx) error {
		if p.slow {
			if _, err := tx.Exec(ctx, allowTimeSQL, pgx.NamedArgs{"timeout": strconv.FormatInt(timeout.Milliseconds(), 10)}); err != nil {
				return err
			}
		}
		rows, _ := tx.Query(ctx, p.sql, p.args)
		var r Row
		_, err := pgx.ForEachRow(rows, p.fields(&r), func() error {
			p.rows = append(p.rows, r)
			return nil
		})
		return err
	})
}
