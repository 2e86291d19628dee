package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// DeadOutcome is what became, or would become, of a dead letter.
type DeadOutcome struct {
	ID         int64
	Operation  OperationID // zero where it names none
	Type       OperationType
	Resolution Resolution
	Note       string // in plain words
	Refused    error  // nothing was done: why
}

// Rehearsal says whether anything is to be done, or only to be said what would be.
type Rehearsal bool

// A dry run locks and decides as the other does, and writes nothing.
const (
	ForReal Rehearsal = false
	DryRun  Rehearsal = true
)

// Why nothing is done with a dead letter.
var (
	// ErrDeadLetterResolved says that somebody has resolved it before.
	ErrDeadLetterResolved = errors.New("the dead letter is resolved already")
	// ErrOutcomeUnknown says that dropping it would be guessing.
	ErrOutcomeUnknown = errors.New("the acquirer was asked, and nobody knows what it did: money may have moved. Replay it: the acquirer is then inquired about it, under the same id")
	// ErrNoPublicURL says that the shop would be told, for good, of an address that is none.
	ErrNoPublicURL = errors.New("its shop is told of it, with an address of the api, which QUITTANCE_PUBLIC_URL does not say")
)

// ReplayDeadLetters has the operations of dead letters run again, with all their attempts before
// them: their states, the new seq and the outbox rows commit together, with what the audit log
// says of it. What the operation did so far is kept. A letter whose operation is not dead is
// resolved and has no effect.
//
// After a crash before the commit nothing happened, and the letters wait; after it they are
// resolved, and whatever becomes of the messages the schedule worker finds the operations when
// they are due.
func (s *Store) ReplayDeadLetters(ctx context.Context, ids []int64, rehearsal Rehearsal) ([]DeadOutcome, error) {
	outcomes, err := s.resolveDead(ctx, ids, rehearsal, deadCommand{how: Replayed, action: "dead.replay", verdict: deadCase.replay, do: s.runAgain})
	return outcomes, unavailable(wrap("replay dead letters", err))
}

// DropDeadLetters has the operations of dead letters fail for good, as the worker would have had
// a refusal fail them: an invoice can be paid again, a recharge is created as before, a payment
// by card that was never asked for is rejected. An operation of which nobody knows what the
// acquirer did is left alone; its outcome says ErrOutcomeUnknown. reason is kept.
func (s *Store) DropDeadLetters(ctx context.Context, ids []int64, reason string, rehearsal Rehearsal) ([]DeadOutcome, error) {
	outcomes, err := s.resolveDead(ctx, ids, rehearsal, deadCommand{how: Dropped, action: "dead.drop", note: reason, verdict: s.mayDrop, do: s.drop})
	return outcomes, unavailable(wrap("drop dead letters", err))
}

// deadCommand is what an operator wants done with dead letters.
type deadCommand struct {
	how     Resolution
	action  string // in the audit log
	note    string // in the letters, where it says more than the verdict does
	verdict func(deadCase) DeadOutcome
	do      func(context.Context, pgx.Tx, []deadOperation) (enqueued bool, err error)
}

// resolveDead locks, decides and writes, in one transaction.
func (s *Store) resolveDead(ctx context.Context, ids []int64, rehearsal Rehearsal, c deadCommand) (outcomes []DeadOutcome, err error) {
	var enqueued bool
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		cases, err := lockDeadLetters(ctx, tx, ids)
		if err != nil {
			return err
		}
		outcomes, enqueued = decideEach(ids, cases, c), false
		if rehearsal == DryRun {
			return nil
		}
		dead := deadOf(outcomes, cases, c.how)
		if enqueued, err = c.do(ctx, tx, dead); err != nil {
			return err
		}
		return s.resolve(ctx, tx, outcomes, dead, c)
		// The commit point. Before it the letters wait; after it the operations go on, or have
		// failed, whatever becomes of this process and of the broker.
	})
	if err != nil {
		return nil, err
	}
	if enqueued {
		s.outboxFilled()
	}
	return outcomes, nil
}

// deadCase is a dead letter with its operation, as they were found.
type deadCase struct {
	id        int64
	resolved  Resolution // "" while it is not
	names     OperationID
	operation deadOperation // zero where there is none
	asked     bool          // the acquirer was, and has not answered
}

// deadOperation is an operation that waits for an operator.
type deadOperation struct {
	id       OperationID
	kind     OperationType
	resource [16]byte
	seq      int64
	status   Status
	attempts int
	intent   IntentID // of a payment by card
}

const lockOperationsOfLettersSQL = `
SELECT
FROM operations o
WHERE o.id = ANY(ARRAY(SELECT d.operation_id FROM dead_letters d WHERE d.id = ANY(@letters)))
ORDER BY o.id
FOR NO KEY UPDATE`

const lockDeadLettersSQL = `
SELECT d.id, coalesce(d.resolution, ''), d.operation_id, o.id, coalesce(o.type, ''), coalesce(o.resource, '00000000-0000-0000-0000-000000000000'), coalesce(o.seq, 0), coalesce(o.status, ''),
       coalesce(o.attempts, 0), i.id, coalesce(i.state IN ('called', 'unknown'), false)
FROM dead_letters d
LEFT JOIN LATERAL (
	SELECT o.id, o.type, o.resource, o.seq, o.status, o.attempts FROM operations o WHERE o.id = d.operation_id OFFSET 0
) o ON true
LEFT JOIN LATERAL (SELECT i.id, i.state FROM acquirer_intents i WHERE i.operation_id = o.id OFFSET 0) i ON true
WHERE d.id = ANY(@letters)
ORDER BY d.id
FOR UPDATE OF d`

// lockDeadLetters locks the letters' operations, and then the letters.
func lockDeadLetters(ctx context.Context, tx pgx.Tx, ids []int64) (map[int64]deadCase, error) {
	args := pgx.NamedArgs{"letters": ids}
	if _, err := tx.Exec(ctx, lockOperationsOfLettersSQL, args); err != nil {
		return nil, wrap("lock operations", err)
	}
	rows, _ := tx.Query(ctx, lockDeadLettersSQL, args)
	found := make(map[int64]deadCase)
	var c deadCase
	o := &c.operation
	_, err := pgx.ForEachRow(rows, []any{
		&c.id, &c.resolved, &c.names, &o.id, &o.kind, &o.resource, &o.seq, &o.status, &o.attempts, &o.intent, &c.asked,
	}, func() error {
		found[c.id] = c
		return nil
	})
	return found, wrap("lock dead letters", err)
}

// decideEach says what becomes of each letter. It reads nothing but its arguments.
func decideEach(ids []int64, cases map[int64]deadCase, command deadCommand) []DeadOutcome {
	outcomes := make([]DeadOutcome, len(ids))
	for i, id := range ids {
		c, found := cases[id]
		if !found {
			outcomes[i] = DeadOutcome{ID: id, Refused: ErrDeadLetterNotFound}
			continue
		}
		o := DeadOutcome{}
		if c.resolved != "" {
			o.Refused = fmt.Errorf("%w: %s", ErrDeadLetterResolved, c.resolved)
		} else {
			o = command.verdict(c)
			o.Note = cmp.Or(command.note, o.Note)
		}
		o.ID, o.Operation, o.Type = id, c.names, c.operation.kind
		outcomes[i] = o
	}
	return outcomes
}

func (c deadCase) replay() DeadOutcome {
	if why := c.moot(); why != "" {
		return DeadOutcome{Resolution: Moot, Note: why}
	}
	return DeadOutcome{Resolution: Replayed}
}

func (c deadCase) drop() DeadOutcome {
	switch {
	case c.moot() != "":
		return DeadOutcome{Resolution: Dropped}
	case c.asked:
		return DeadOutcome{Refused: ErrOutcomeUnknown}
	}
	return DeadOutcome{Resolution: Dropped}
}

// mayDrop is drop, unless that tells a shop what this store does not know.
func (s *Store) mayDrop(c deadCase) DeadOutcome {
	if tells := c.moot() == "" && c.operation.kind == PaymentAuthorise; tells && !c.asked && s.publicURL == "" {
		return DeadOutcome{Refused: ErrNoPublicURL}
	}
	return c.drop()
}

// moot says why nothing waits for the letter, or nothing where its operation is dead.
func (c deadCase) moot() string {
	switch o := c.operation; {
	case c.names.IsZero():
		return "It names no operation: nothing waits for it."
	case o.id.IsZero():
		return "There is no operation of this id, or none any more: nothing waits for it."
	case o.status.Open():
		return "Its operation is being worked on: the message was a copy of one that is not believed any more."
	case o.status != Dead:
		return "Its operation has ended without it: it " + string(o.status) + "."
	}
	return ""
}

// deadOf are the dead operations of the letters that were resolved like that, each once.
func deadOf(outcomes []DeadOutcome, cases map[int64]deadCase, how Resolution) (dead []deadOperation) {
	taken := make(map[OperationID]bool)
	for _, o := range outcomes {
		found := cases[o.ID].operation
		if o.Refused == nil && o.Resolution == how && found.status == Dead && !taken[found.id] {
			taken[found.id] = true
			dead = append(dead, found)
		}
	}
	return dead
}

const resolveLettersSQL = `
UPDATE dead_letters d
SET resolved_at = now(), resolution = r.resolution, resolved_by = @by, note = r.note
FROM unnest(@letters::bigint[], @resolutions::text[], @notes::text[]) AS r (letter, resolution, note)
WHERE d.id = r.letter AND d.resolution IS NULL` // not resolved_at: with that the planner would read all that waits

// resolve stores what became of letters. Where an operation is dead no more, none of its letters
// waits for anybody: older copies of its message have gone the same way.
func (s *Store) resolve(ctx context.Context, tx pgx.Tx, outcomes []DeadOutcome, dead []deadOperation, c deadCommand) error {
	var letters []int64
	var resolutions []Resolution
	var notes []string
	var acts []act
	for _, o := range outcomes {
		if o.Refused != nil || slices.Contains(letters, o.ID) { // one that is named twice is resolved once
			continue
		}
		letters, resolutions, notes = append(letters, o.ID), append(resolutions, o.Resolution), append(notes, clip(o.Note, 1000))
		acts = append(acts, o.act(c.action))
	}
	if len(letters) == 0 {
		return nil
	}
	tag, err := tx.Exec(ctx, resolveLettersSQL, pgx.NamedArgs{"letters": letters, "resolutions": resolutions, "notes": notes, "by": s.resolver()})
	if err == nil {
		err = affects(len(letters))(tag)
	}
	if err != nil {
		return err
	}
	ids := make([]OperationID, len(dead))
	for i, o := range dead {
		ids[i] = o.id
	}
	if err := s.resolveLettersOf(ctx, tx, ids, c.how, "Another letter of its operation was "+string(c.how)+"."); err != nil {
		return err
	}
	return s.keepActs(ctx, tx, acts...)
}

func (o DeadOutcome) act(action string) act {
	details := map[string]any{"resolution": o.Resolution, "note": o.Note}
	if !o.Operation.IsZero() {
		details["operation"], details["type"] = o.Operation.String(), o.Type
	}
	return act{action, strconv.FormatInt(o.ID, 10), details}
}

const resolveLettersOfSQL = `
UPDATE dead_letters d
SET resolved_at = now(), resolution = @resolution, resolved_by = @by, note = @note
WHERE d.operation_id = ANY(@operations) AND d.resolved_at IS NULL`

// resolveLettersOf resolves whatever letters of these operations, which are locked, wait still.
func (s *Store) resolveLettersOf(ctx context.Context, tx pgx.Tx, operations []OperationID, how Resolution, note string) error {
	_, err := tx.Exec(ctx, resolveLettersOfSQL, pgx.NamedArgs{"operations": operations, "resolution": how, "by": s.resolver(), "note": note})
	return wrap("resolve dead letters", err)
}

// resolver is who resolves by way of this store. Only of callbacks a client may do so.
func (s *Store) resolver() string {
	if s.actor == "" {
		return "the client"
	}
	return s.actor
}
