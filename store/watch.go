package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quittance/quittance/store/money"
)

// Watch is kept by one process at a time: it looks at the whole database, for the gauges. It has
// a connection of the pool to itself, and everything is read over that: however the connection
// ends, the watch ends with it, and whoever was cut off reads nothing more.
type Watch struct{ conn *pgxpool.Conn }

const keepWatchSQL = `
SELECT pg_try_advisory_lock(hashtext('watch'), 0)`

// KeepWatch begins the watch. It returns nil where another process keeps it.
func (s *Store) KeepWatch(ctx context.Context) (*Watch, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, unavailable(wrap("keep watch", err))
	}
	var ours bool
	if err := conn.QueryRow(ctx, keepWatchSQL).Scan(&ours); err != nil || !ours {
		conn.Release()
		return nil, unavailable(wrap("keep watch", err))
	}
	return &Watch{conn}, nil
}

// Over says that the connection was lost, and the watch with it.
func (w *Watch) Over() bool { return w.conn.Conn().IsClosed() }

// End leaves the watch to others. It closes the connection, since that lets go of the lock in
// any case.
func (w *Watch) End() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.conn.Conn().Close(ctx) // closed afterwards in any case
	w.conn.Release()
}

// All rows are what this is about: in the order of an index, as every other statement has them,
// they take three times as long.
const readWholeTablesSQL = `
SET LOCAL enable_seqscan = on`

// The sum of all is a number that fits, but for damage beyond measure.
const imbalancesSQL = `
SELECT l.currency, greatest(-9223372036854775807, least(9223372036854775807, sum(l.balance)))::bigint
FROM ledger_accounts l
GROUP BY l.currency`

// Imbalances returns what the balances of each currency that has a ledger account add up to: 0,
// or the books are broken. It reads the whole table.
func (w *Watch) Imbalances(ctx context.Context) (found []money.Amount, err error) {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, readWholeTablesSQL); err != nil {
			return err
		}
		rows, _ := tx.Query(ctx, imbalancesSQL)
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a money.Amount, err error) {
			err = row.Scan(&a.Currency, &a.Minor)
			return a, err
		})
		return err
	})
	return found, unavailable(wrap("read imbalances", err))
}

// Kept is what stays as it is until somebody does something about it.
type Kept struct {
	DeadLetters   int // that nobody replayed or dropped
	HeldCallbacks int // whose endpoint is disabled
}

const keptSQL = `
SELECT (SELECT count(*) FROM dead_letters d WHERE d.resolved_at IS NULL),
       (SELECT count(*) FROM callbacks c WHERE c.held)`

// Kept counts what is kept.
func (w *Watch) Kept(ctx context.Context) (k Kept, err error) {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	err = w.conn.QueryRow(ctx, keptSQL).Scan(&k.DeadLetters, &k.HeldCallbacks)
	return k, unavailable(wrap("count what is kept", err))
}

// Replication is what follows this database.
type Replication struct {
	Standbys int
	Lag      *time.Duration // of the one that is most behind in applying; nil where we may not know
}

// To whoever is not a member of pg_monitor all but the number of rows is NULL. A standby that
// has applied everything has no lag; a base backup and a logical subscriber are no standbys.
const replicationSQL = `
SELECT count(*), CASE WHEN count(*) = count(r.state) THEN coalesce(max(r.replay_lag), '0') END
FROM pg_stat_replication r
WHERE coalesce(r.state, 'streaming') IN ('streaming', 'catchup') AND NOT EXISTS (
	SELECT
	FROM pg_replication_slots s
	WHERE s.active_pid = r.pid AND s.slot_type = 'logical'
)`

// Replication returns how many standbys there are and how far they are behind.
func (w *Watch) Replication(ctx context.Context) (r Replication, err error) {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	err = w.conn.QueryRow(ctx, replicationSQL).Scan(&r.Standbys, &r.Lag)
	return r, unavailable(wrap("read replication", err))
}
