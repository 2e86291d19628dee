package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// act is something that an operator did. Its details hold no secret.
type act struct {
	action  string // what was changed, and how: client.add
	subject string // which one
	details map[string]any
}

const insertActsSQL = `
INSERT INTO audit_log (actor, action, subject, details)
SELECT @actor, d.action, d.subject, d.details
FROM unnest(@actions::text[], @subjects::text[], @details::jsonb[]) WITH ORDINALITY AS d (action, subject, details, n)
ORDER BY d.n`

// keepActs writes down what the operator did of whom this store is, in the transaction in which
// he did it. What a client or a worker does is not an operator's, and says so elsewhere.
func (s *Store) keepActs(ctx context.Context, tx pgx.Tx, acts ...act) error {
	if s.actor == "" || len(acts) == 0 {
		return nil
	}
	var actions, subjects []string
	var details [][]byte
	for _, a := range acts {
		text, err := json.Marshal(storable(a.details))
		if err != nil {
			return wrap("the details of "+a.action, err)
		}
		actions, subjects, details = append(actions, a.action), append(subjects, clip(a.subject, 255)), append(details, text)
	}
	_, err := tx.Exec(ctx, insertActsSQL, pgx.NamedArgs{"actor": s.actor, "actions": actions, "subjects": subjects, "details": details})
	return wrap("keep the audit log", err)
}

// execAct executes what is one statement, and writes down that an operator did it where it
// changed anything.
func (s *Store) execAct(ctx context.Context, a act, sql string, args pgx.NamedArgs) (tag pgconn.CommandTag, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if tag, err = tx.Exec(ctx, sql, args); err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.keepActs(ctx, tx, a)
	})
	return tag, err
}

// KeepMigration writes down which migrations an operator applied. Each was a transaction of its
// own, so that this comes after them.
func (s *Store) KeepMigration(ctx context.Context, names []string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		return s.keepActs(ctx, tx, act{"schema.migrate", names[len(names)-1], map[string]any{"applied": names}})
	})
	return unavailable(wrap("keep the migration", err))
}

// ActRecord is what an operator did, as the audit log has it.
type ActRecord struct {
	ID      int64
	At      time.Time
	Actor   string
	Action  string
	Subject string
	Details json.RawMessage
}

// ActFilter chooses from the audit log; what is zero chooses all.
type ActFilter struct {
	Page[int64]
	Actor   string
	Action  string // client, for all that begin with client., or client.add
	Subject string
	Since   time.Time
	Until   time.Time
}

const listActsSQL = `
SELECT a.id, a.at, a.actor, a.action, a.subject, a.details
FROM audit_log a
WHERE a.id < @before AND (@actor = '' OR a.actor = @actor) AND (@action = '' OR a.action = @action OR starts_with(a.action, @action || '.'))
  AND (@subject = '' OR a.subject = @subject) AND a.at >= @since AND a.at < @until
ORDER BY a.id DESC
LIMIT @limit`

// AuditLog lists what operators did, newest first.
func (s *Store) AuditLog(ctx context.Context, f ActFilter) ([]ActRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, listActsSQL, pgx.NamedArgs{
		"before": beforeID(f.Page), "limit": f.Limit, "actor": f.Actor, "action": f.Action, "subject": f.Subject,
		"since": f.Since, "until": orForever(f.Until),
	})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[ActRecord])
	return found, unavailable(wrap("list the audit log", err))
}

// orForever is the end of a range that may have none.
func orForever(t time.Time) time.Time {
	if t.IsZero() {
		return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return t
}
