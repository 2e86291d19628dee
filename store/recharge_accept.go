package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// RechargeCommand asks to commit or to roll back a recharge.
type RechargeCommand struct {
	Type     OperationType // RechargeCommit or RechargeRollback
	Provider string        // reference
	ID       RechargeID
	Reason   string                // of a rollback
	Answer   func(Recharge) Answer // what to say; pure; of the recharge only ID, Provider and Amount are known
	Once     Once                  // its Answer is filled in here

	trace   string // the span that asks
	verdict error
}

// AcceptRecharge accepts a command and enqueues it, and returns what to answer, with the
// operation that will carry it out. Its errors are ErrProviderNotFound, ErrRechargeNotFound,
// ErrRechargeState, *Replay and ErrKeyReused.
func (s *Store) AcceptRecharge(ctx context.Context, c RechargeCommand) (Answer, error) {
	c.trace = parentIn(ctx)
	if err := s.rechargeCommands.do(ctx, &c); err != nil {
		return Answer{}, fmt.Errorf("accept %s of %s: %w", c.Type, c.ID, err)
	}
	return c.Once.Answer, c.verdict
}

// acceptRecharges accepts what arrived together, but for twins.
func (s *Store) acceptRecharges(ctx context.Context, all []*RechargeCommand) (later []int, err error) {
	now, later := splitTwins(all, func(c *RechargeCommand) (RechargeID, Once) { return c.ID, c.Once })
	return later, s.acceptDistinctRecharges(ctx, now)
}

func (s *Store) acceptDistinctRecharges(ctx context.Context, all []*RechargeCommand) error {
	var open []*RechargeCommand
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		found, err := readForCommand(ctx, tx, all)
		if err != nil {
			return err
		}
		for i, c := range all {
			if c.verdict = found[i].allows(); c.verdict == nil {
				c.Once.Answer = c.Answer(found[i].Recharge)
				c.Once.Answer.Operation = NewOperationID()
			}
		}
		err = s.claimDecided(ctx, tx, len(all), func(i int) (Once, *error) { return all[i].Once, &all[i].verdict })
		if err != nil {
			return err
		}
		open = nil
		for _, c := range all {
			if c.verdict == nil {
				open = append(open, c)
			}
		}
		return s.openRechargeOperations(ctx, tx, open)
		// The commit point: as in acceptDistinct, the command is kept from here on.
	})
	if err == nil && len(open) > 0 {
		s.outboxFilled()
	}
	return err
}

// foundRecharge is what a command meets in the database; what was not found is zero.
type foundRecharge struct {
	Recharge
	provider int64
	busy     bool // an operation is open
	past     bool // its time to be committed is over
}

// allows is pure: nil where the recharge may be committed or rolled back.
func (f foundRecharge) allows() error {
	switch {
	case f.provider == 0:
		return ErrProviderNotFound
	case f.ID.IsZero():
		return ErrRechargeNotFound
	case f.State != RechargeCreated || f.busy || f.past:
		return ErrRechargeState
	}
	return nil
}

const readForCommandSQL = `
SELECT asked.n, coalesce(p.id, 0), p.reference, r.id, coalesce(r.state, ''), coalesce(r.amount, 0), coalesce(r.currency, 0),
       o.id IS NOT NULL, coalesce(r.expires_at <= clock.now, false)
FROM unnest(@providers::text[], @ids::uuid[]) WITH ORDINALITY AS asked (provider, id, n)
CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
LEFT JOIN providers p ON p.reference = asked.provider
LEFT JOIN recharges r ON r.id = asked.id AND ` + ofProvider + openRechargeOperation

func readForCommand(ctx context.Context, tx pgx.Tx, all []*RechargeCommand) ([]foundRecharge, error) {
	providers := make([]string, len(all))
	ids := make([]RechargeID, len(all))
	for i, c := range all {
		providers[i], ids[i] = c.Provider, c.ID
	}
	rows, _ := tx.Query(ctx, readForCommandSQL, pgx.NamedArgs{"providers": providers, "ids": ids})
	found := make([]foundRecharge, len(all))
	var place int
	var reference *string
	var f foundRecharge
	_, err := pgx.ForEachRow(rows, []any{
		&place, &f.provider, &reference, &f.ID, &f.State, &f.Amount.Minor, &f.Amount.Currency, &f.busy, &f.past,
	}, func() error {
		if reference != nil {
			f.Provider = *reference
		}
		found[place-1] = f
		return nil
	})
	return found, wrap("read recharges", err)
}

const openRechargeOperationsSQL = `
INSERT INTO operations (id, type, resource, due_at, trace_parent)
SELECT o.id, o.type, o.recharge, now() + @grace, nullif(o.trace, '')
FROM unnest(@ids::uuid[], @types::text[], @recharges::uuid[], @traces::text[]) AS o (id, type, recharge, trace)
ORDER BY o.recharge
ON CONFLICT DO NOTHING`

// Whoever changes a recharge's state holds its open operation. Once ours is inserted nobody
// else has one, so what this statement sees, with a snapshot of its own, stands.
const stillCreatedSQL = `
SELECT
FROM recharges r
WHERE r.id = ANY(@recharges) AND r.state = 'created'`

const giveReasonsSQL = `
UPDATE recharges r
SET reason = d.reason
FROM unnest(@recharges::uuid[], @reasons::text[]) AS d (recharge, reason)
WHERE r.id = d.recharge`

const enqueueRechargesSQL = `
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, o.id, 1, o.type
FROM unnest(@ids::uuid[], @types::text[]) AS o (id, type)`

// openRechargeOperations writes what was decided. A recharge that moved on since it was
// read leaves its statement short, and the whole is read and decided again.
func (s *Store) openRechargeOperations(ctx context.Context, tx pgx.Tx, all []*RechargeCommand) error {
	if len(all) == 0 {
		return nil
	}
	var ids []OperationID
	var types []OperationType
	var recharges, given []RechargeID
	var reasons, traces []string
	for _, c := range all {
		ids = append(ids, c.Once.Answer.Operation)
		types, traces = append(types, c.Type), append(traces, c.trace)
		recharges = append(recharges, c.ID)
		if c.Reason != "" {
			given, reasons = append(given, c.ID), append(reasons, c.Reason)
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(openRechargeOperationsSQL, pgx.NamedArgs{
		"ids": ids, "types": types, "recharges": recharges, "traces": traces, "grace": s.grace,
	}).Exec(affects(len(ids)))
	batch.Queue(stillCreatedSQL, pgx.NamedArgs{"recharges": recharges}).Exec(affects(len(ids)))
	if len(given) > 0 {
		batch.Queue(giveReasonsSQL, pgx.NamedArgs{"recharges": given, "reasons": reasons})
	}
	batch.Queue(enqueueRechargesSQL, pgx.NamedArgs{"ids": ids, "types": types, "queue": queueOf[RechargeCommit]})
	return tx.SendBatch(ctx, batch).Close()
}

// The operations are inserted first, as when a client asks.
const expireRechargesSQL = `
WITH past AS (
	SELECT r.id, row_number() OVER (ORDER BY r.expires_at, r.id) AS n
	FROM recharges r` + openRechargeOperation + `
	WHERE (r.state = 'created') IS TRUE AND r.expires_at <= (SELECT deciding_time()) AND o.id IS NULL
	ORDER BY r.expires_at, r.id
	LIMIT cardinality(@ids::uuid[])
), opened AS (
	INSERT INTO operations (id, type, resource, due_at)
	SELECT fresh.id, @type, past.id, now() + @grace
	FROM past
	JOIN unnest(@ids) WITH ORDINALITY AS fresh (id, n) ON fresh.n = past.n
	ORDER BY past.id
	ON CONFLICT DO NOTHING
	RETURNING id
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, 1, @type
FROM opened`

// ExpireRecharges opens the expiry of at most limit recharges that were not committed in
// time, and returns how many. One that is being committed or rolled back waits: what was
// accepted in time is honoured, however late it is settled.
func (s *Store) ExpireRecharges(ctx context.Context, limit int) (int, error) {
	ids := make([]OperationID, limit)
	for i := range ids {
		ids[i] = NewOperationID()
	}
	tag, err := s.pool.Exec(ctx, expireRechargesSQL, pgx.NamedArgs{
		"ids": ids, "type": RechargeExpire, "grace": s.grace, "queue": queueOf[RechargeExpire],
	})
	if err != nil {
		return 0, unavailable(wrap("expire recharges", err))
	}
	if tag.RowsAffected() > 0 {
		s.outboxFilled()
	}
	return int(tag.RowsAffected()), nil
}

const openLateRechargeSQL = `
WITH late AS (
	SELECT r.id
	FROM providers p
	JOIN recharges r ON ` + ofProvider + openRechargeOperation + `
	WHERE p.reference = @provider AND r.id = @recharge AND r.state IN ('rolled_back', 'expired') AND r.voucher_id IS NULL AND o.id IS NULL
	  AND NOT EXISTS (SELECT FROM transfers t WHERE t.reference = r.id AND t.kind = 'late_recharge')
), opened AS (
	INSERT INTO operations (id, type, resource, due_at, trace_parent)
	SELECT @id, @type, late.id, now() + @grace, nullif(@trace::text, '')
	FROM late
	ON CONFLICT DO NOTHING
	RETURNING id
), noted AS (
	INSERT INTO suspense_notes (operation_id, note, author)
	SELECT id, @note, @author
	FROM opened
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, 1, @type
FROM opened`

// AcceptLateRecharge accepts that the money of a recharge came in after it had been rolled
// back or had expired: the worker books it into suspense, where the note says why it lies
// there. Its errors are ErrProviderNotFound, ErrRechargeNotFound and ErrRechargeState, also
// where it was booked before, and where a voucher was to bring it: that is free again.
func (s *Store) AcceptLateRecharge(ctx context.Context, provider string, id RechargeID, note, author string) (OperationID, error) {
	operation := NewOperationID()
	late := act{"recharge.late", id.String(), map[string]any{"provider": provider, "operation": operation.String(), "note": note, "author": author}}
	tag, err := s.execAct(ctx, late, openLateRechargeSQL, pgx.NamedArgs{
		"provider": provider, "recharge": id, "id": operation, "type": RechargeLate, "grace": s.grace,
		"note": note, "author": author, "queue": queueOf[RechargeLate], "trace": parentIn(ctx),
	})
	if err != nil {
		return OperationID{}, unavailable(wrap("accept late recharge "+id.String(), err))
	}
	if tag.RowsAffected() == 0 {
		if _, err := s.Recharge(ctx, provider, id); err != nil {
			return OperationID{}, err
		}
		return OperationID{}, ErrRechargeState
	}
	s.outboxFilled()
	return operation, nil
}
