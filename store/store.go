// Package store is PostgreSQL: the truth about money, commands and what must be told to
// whom. It holds the only SQL of Quittance.
//
// An exported method is one transaction, or none. What it changes, and the outbox rows
// that follow from the change, commit together; a state changes only by compare-and-set.
// So any process may die at any instruction: either nothing of a method happened or all
// of it, and the relay finds the messages that it left.
//
// Locks are taken in one order everywhere, each kind by id: idempotency keys, operations,
// dead letters, payments by card, subscriptions, callback endpoints, phones' tokens, ledger accounts. Whoever
// changes the state of an invoice, of a recharge or of a callback holds its operation, so that
// those need no order of their own; a payment by card may have several. A provider's day comes
// last where recharges are settled, and after the keys where they are created, which takes no
// other lock that a settler waits for.
//
// The known hole: when the connection is lost while a transaction commits, the caller is
// told that the store is unavailable although the command may stand. A command that is
// sent again finds its idempotency key, or its invoice in progress, and is not done twice.
package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
)

// Config says which database, and how to treat it.
type Config struct {
	URL       string        // postgres://…; several hosts are allowed
	Secret    Secret        // encrypts and authenticates what is stored; the same in every process
	MaxConns  int32         // default 8
	PublicURL string        // what the addresses in events begin with; without a slash at its end
	Grace     time.Duration // how long after it was to be delivered a message counts as lost; default 30 s
	Actor     string        // the operator whose store this is; "" for api and worker, which are nobody's

	Traces trace.TracerProvider // nil: nothing is traced
}

// Store is safe for use by many goroutines.
type Store struct {
	pool      *pgxpool.Pool
	seal      seal
	grace     time.Duration
	publicURL string
	actor     string
	traced    bool
	callers   callerCache
	onOutbox  atomic.Pointer[func()]
	work      sync.WaitGroup

	payments         *group[*Payment]
	newRecharges     *group[*NewRecharge]
	rechargeCommands *group[*RechargeCommand]
	cardResults      *group[*finishing]
	callbackStarts   *group[*starting]
	callbackParks    *group[*parking]
	callbackResults  *group[*sent]
	pushStarts       *group[*pushStart]
	pushResults      *group[*pushed]
}

// Open connects lazily: it fails only on a configuration that cannot be right, and not
// because the database is down at the moment.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	sealer, err := newSeal(cfg.Secret)
	if err != nil {
		return nil, err
	}
	actor := clip(cfg.Actor, 255)
	if cfg.Actor != "" && strings.TrimSpace(actor) == "" {
		return nil, fmt.Errorf("the operator's name %q cannot be written down", cfg.Actor)
	}
	pc, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	pc.MaxConns = max(cfg.MaxConns, 0)
	if pc.MaxConns == 0 {
		pc.MaxConns = 8
	}
	pc.ConnConfig.ConnectTimeout = 3 * time.Second
	maps.Copy(pc.ConnConfig.RuntimeParams, sessionParams)
	if cfg.Traces != nil { // statements without their arguments: those are secrets, or people's
		pc.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(cfg.Traces))
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}

	s := &Store{pool: pool, seal: sealer, grace: cfg.Grace, publicURL: cfg.PublicURL, actor: actor, traced: cfg.Traces != nil}
	if s.grace == 0 {
		s.grace = 30 * time.Second
	}
	s.payments = &group[*Payment]{name: "accept payments", commit: s.acceptPayments, work: &s.work}
	s.newRecharges = &group[*NewRecharge]{name: "create recharges", commit: s.createRecharges, work: &s.work}
	s.rechargeCommands = &group[*RechargeCommand]{name: "accept recharge commands", commit: s.acceptRecharges, work: &s.work}
	s.cardResults = &group[*finishing]{name: "settle calls", commit: s.finishCalls, work: &s.work}
	s.callbackStarts = &group[*starting]{name: "start callbacks", commit: s.startCallbacks, work: &s.work}
	s.callbackParks = &group[*parking]{name: "park callbacks", commit: s.parkCallbacks, work: &s.work}
	s.callbackResults = &group[*sent]{name: "settle callbacks", commit: s.finishCallbacks, work: &s.work}
	s.pushStarts = &group[*pushStart]{name: "start pushes", commit: s.startPushes, work: &s.work}
	s.pushResults = &group[*pushed]{name: "settle pushes", commit: s.finishPushes, work: &s.work}
	return s, nil
}

// sessionParams hold for every connection. Every query has its index, and must use it: the
// outbox is empty when it is analysed and full when it matters, and a plan that was made
// for an empty table lives as long as its connection. Plans are made once, for any values:
// a custom one that met a table at a bad moment took 400 ms instead of 3.
var sessionParams = map[string]string{
	"timezone":                            "UTC",
	"statement_timeout":                   "10s",
	"idle_in_transaction_session_timeout": "15s",
	"lock_timeout":                        "1s", // a row that somebody sits on is contention, and found by halving
	"tcp_keepalives_idle":                 "15", // a machine that is gone holds the watch no longer than half a minute
	"tcp_keepalives_interval":             "5",
	"tcp_keepalives_count":                "3",
	"enable_seqscan":                      "off",
	"plan_cache_mode":                     "force_generic_plan",
	"jit":                                 "off",
}

// Close waits for the commits under way and closes the connections.
func (s *Store) Close() {
	s.work.Wait()
	s.pool.Close()
}

// schema is the newest migration, which this version's statements need.
const schema = 11

const readySQL = `
SELECT coalesce(max(v.version_id), 0)
FROM goose_db_version v`

// Ready answers whether the database can be reached and has the schema that this version needs. A
// worker takes no message before, since it would use up attempts at what cannot be done yet; a
// later schema will do, since it only expands.
func (s *Store) Ready(ctx context.Context) error {
	ctx, cancel := reading(ctx)
	defer cancel()
	var at int64
	err := s.pool.QueryRow(ctx, readySQL).Scan(&at)
	if err == nil && at < schema {
		err = fmt.Errorf("%w: its schema is at %d, and this version needs %d: quittance migrate", ErrUnavailable, at, schema)
	}
	return unavailable(wrap("read the schema's version", err))
}

// Pool is for the collector of connection metrics, and for tests; nothing else queries
// past this package.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// OnOutbox names what to call after a commit that left rows in the outbox. It must not
// block: it wakes this process's relay.
func (s *Store) OnOutbox(wake func()) { s.onOutbox.Store(&wake) }

func (s *Store) outboxFilled() {
	if wake := s.onOutbox.Load(); wake != nil {
		(*wake)()
	}
}

// inTx runs f in a transaction that commits if f returns nil. A query's own error is never
// looked at in this package: pgx gives it again to whoever reads the rows.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, s.pool, f)
}

// The server's own timeouts do not help where the server is gone without a word, as in a
// failover: then only the client can tell that nobody answers.
const (
	txTimeout   = 20 * time.Second
	readTimeout = 10 * time.Second
)

// reading bounds a read outside of a transaction.
func reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, readTimeout)
}

// ErrUnavailable says that the database could not be reached, or did not answer in time.
// Whether the method took effect is unknown.
var ErrUnavailable = errors.New("the database is unavailable")

// Fault is what kind of trouble an error is: it decides what becomes of the messages
// that were being settled.
type Fault int

const (
	FaultOther      Fault = iota // a bug, or something unforeseen
	FaultOutage                  // the database is down: wait, nobody is to blame
	FaultContention              // deadlock, serialisation: the same again
	FaultData                    // one row cannot be stored: find it
)

// FaultOf classifies an error of this package.
func FaultOf(err error) Fault {
	if err == nil {
		return FaultOther
	}
	if errors.As(err, new(*pgconn.ConnectError)) {
		return FaultOutage // whatever the server said: a password that is being changed, a database being restored
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return faultOfState(pg.Code)
	}
	var network net.Error
	switch {
	case errors.Is(err, errMovedOn):
		return FaultContention
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.As(err, &network), pgconn.SafeToRetry(err),
		strings.Contains(err.Error(), "conn closed"), strings.Contains(err.Error(), "closed pool"): // pgx has no types for these two
		return FaultOutage
	}
	return FaultOther
}

// faultOfState reads an SQLSTATE (PostgreSQL manual, appendix A).
func faultOfState(code string) Fault {
	switch {
	case code == "40001", code == "40P01", code == "55P03":
		return FaultContention
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57"),
		strings.HasPrefix(code, "58"), code == "25006", code == "25P03":
		return FaultOutage // 25006: a standby that was the primary a moment ago
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"):
		return FaultData
	}
	return FaultOther
}

// hashOf is how a credential is looked up.
func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// wrap says which method an error comes from; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unavailable marks an error that only says that the database is out of reach, or that a
// row was not to be had in time.
func unavailable(err error) error {
	fault := FaultOf(err)
	if (fault == FaultOutage || fault == FaultContention) && !errors.Is(err, ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}

// errMovedOn says that a row changed between being read and being written: read it again.
var errMovedOn = errors.New("the row has moved on")

// affects checks that a statement of a batch changed as many rows as were decided on. Any
// other number means that a row moved on meanwhile: the transaction must not commit.
func affects(rows int) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(rows) {
			return fmt.Errorf("%w: %d rows instead of %d", errMovedOn, tag.RowsAffected(), rows)
		}
		return nil
	}
}

// isLockTimeout says whether err is that of a row that somebody else held for too long.
func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03"
}

// isViolation says whether err is the violation of the named constraint.
func isViolation(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}
