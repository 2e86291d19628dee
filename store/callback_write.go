package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// callbackWrites is what is to be stored about a set of callbacks, of which each is in one place
// at most, its attempt and its mark aside.
type callbackWrites struct {
	attempts  []CallbackResult
	ends      countedEnds
	delays    []callbackDelay
	used      []callbackStep // tried, and nothing more
	leases    operationLeases
	marks     []callbackMark
	endpoints []*lockedEndpoint
	gone      []InvoiceNumber // whose callbackUrl answered 410
}

// callbackStep is a callback, and how many attempts count by now.
type callbackStep struct {
	id       OperationID
	seq      int64
	attempts int
}

// callbackDelay has a callback looked at later, under another seq.
type callbackDelay struct {
	callbackStep
	Delay
	status Status
	held   bool // for as long as its endpoint is disabled
}

// callbackMark is what only callbacks have. None is parked any more.
type callbackMark struct {
	id              OperationID
	held, replaying bool
}

func (c *lockedCallback) step(attempts int) callbackStep { return callbackStep{c.id, c.seq, attempts} }

func (w *callbackWrites) end(c *lockedCallback, attempts int, why refusal) {
	w.ends.add(c.id, attempts, why)
}

func (w *callbackWrites) retry(c *lockedCallback, attempts int, next Delay) {
	w.delays = append(w.delays, callbackDelay{callbackStep: c.step(attempts), Delay: next, status: Running})
	if c.replaying || c.parks > 0 {
		w.mark(c, false, false)
	}
}

func (w *callbackWrites) hold(c *lockedCallback, status Status, attempts int, replaying bool) {
	w.delays = append(w.delays, callbackDelay{callbackStep: c.step(attempts), status: status, held: true})
	w.mark(c, true, replaying)
}

// count leaves everything else as it is: who dies before the message is rejected has it again.
func (w *callbackWrites) count(c *lockedCallback, attempts int) {
	w.used = append(w.used, c.step(attempts))
}

func (w *callbackWrites) mark(c *lockedCallback, held, replaying bool) {
	w.marks = append(w.marks, callbackMark{c.id, held, replaying})
}

// enqueues says that something of it is to be published now.
func (w *callbackWrites) enqueues() bool {
	return slices.ContainsFunc(w.delays, func(d callbackDelay) bool { return !d.held && !d.inRow() })
}

// writeCallbacks stores it all with a handful of statements, whatever the number of callbacks,
// whose operations are locked.
func (s *Store) writeCallbacks(ctx context.Context, tx pgx.Tx, w *callbackWrites) error {
	batch := &pgx.Batch{}
	keepAttempts(batch, w.attempts)
	w.ends.write(batch)
	s.delayCallbacks(batch, w.delays)
	countAttempts(batch, w.used)
	w.leases.write(batch)
	markCallbacks(batch, w.marks)
	writeEndpoints(batch, w.endpoints)
	keepGone(batch, w.gone)
	return tx.SendBatch(ctx, batch).Close()
}

// An attempt that is stored again is the same row.
const keepAttemptsSQL = `
INSERT INTO callback_attempts (callback_id, started_at, seq, attempt, outcome, status, reason, answer, duration)
SELECT d.callback_id, d.started_at, d.seq, d.attempt, d.outcome, nullif(d.status, 0), d.reason, d.answer, d.duration
FROM unnest(@ids::uuid[], @started::timestamptz[], @seqs::bigint[], @attempts::integer[], @outcomes::text[], @statuses::smallint[],
            @reasons::text[], @answers::bytea[], @durations::interval[])
     AS d (callback_id, started_at, seq, attempt, outcome, status, reason, answer, duration)
ON CONFLICT DO NOTHING`

const maxAnswer = 16 << 10 // bytes

func keepAttempts(batch *pgx.Batch, all []CallbackResult) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var started []time.Time
	var seqs []int64
	var attempts, statuses []int
	var outcomes []CallbackOutcome
	var reasons []string
	var answers [][]byte
	var durations []time.Duration
	for _, r := range all {
		n := r.Attempts + 1
		if r.Replaying {
			n = 0
		}
		ids, started, seqs = append(ids, r.ID), append(started, r.StartedAt), append(seqs, r.Seq)
		attempts, statuses, outcomes = append(attempts, n), append(statuses, r.Status), append(outcomes, r.Outcome)
		reasons, durations = append(reasons, clip(r.Reason, 1000)), append(durations, r.Duration)
		answers = append(answers, append([]byte{}, r.Answer[:min(len(r.Answer), maxAnswer)]...)) // an empty answer is not NULL
	}
	batch.Queue(keepAttemptsSQL, pgx.NamedArgs{
		"ids": ids, "started": started, "seqs": seqs, "attempts": attempts, "outcomes": outcomes, "statuses": statuses,
		"reasons": reasons, "answers": answers, "durations": durations,
	})
}

const delayCallbacksSQL = `
UPDATE operations o
SET status = d.status, attempts = d.attempts, seq = o.seq + 1, waits = d.in_row,
    due_at = CASE WHEN d.held THEN 'infinity' ELSE now() + d.wait END
FROM unnest(@ids::uuid[], @seqs::bigint[], @statuses::text[], @attempts::integer[], @waits::interval[], @in_row::boolean[], @held::boolean[])
     AS d (id, seq, status, attempts, wait, in_row, held)
WHERE o.id = d.id AND o.seq = d.seq AND ` + isOpen

func (s *Store) delayCallbacks(batch *pgx.Batch, all []callbackDelay) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var seqs []int64
	var types []OperationType
	var statuses []Status
	var attempts []int
	var waits []time.Duration
	var names []string
	var inRow, held []bool
	for _, d := range all {
		ids, seqs, types = append(ids, d.id), append(seqs, d.seq), append(types, CallbackSend)
		statuses, attempts, held = append(statuses, d.status), append(attempts, d.attempts), append(held, d.held)
		waits, names, inRow = append(waits, d.until(s.grace)), append(names, d.Name), append(inRow, d.inRow() || d.held)
	}
	args := pgx.NamedArgs{
		"ids": ids, "seqs": seqs, "types": types, "statuses": statuses, "attempts": attempts, "waits": waits, "delays": names,
		"in_row": inRow, "held": held, "queue": retryQueueOf(CallbackSend),
	}
	batch.Queue(delayCallbacksSQL, args).Exec(affects(len(all)))
	batch.Queue(enqueueDelayedSQL, args)
}

const countCallbacksSQL = `
UPDATE operations o
SET status = 'running', attempts = d.attempts
FROM unnest(@ids::uuid[], @attempts::integer[]) AS d (id, attempts)
WHERE o.id = d.id AND ` + isOpen

func countAttempts(batch *pgx.Batch, all []callbackStep) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var attempts []int
	for _, c := range all {
		ids, attempts = append(ids, c.id), append(attempts, c.attempts)
	}
	batch.Queue(countCallbacksSQL, pgx.NamedArgs{"ids": ids, "attempts": attempts}).Exec(affects(len(all)))
}

const markCallbacksSQL = `
UPDATE callbacks c
SET parks = 0, held = d.held, replaying = d.replaying
FROM unnest(@ids::uuid[], @held::boolean[], @replaying::boolean[]) AS d (id, held, replaying)
WHERE c.id = d.id`

func markCallbacks(batch *pgx.Batch, all []callbackMark) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var held, replaying []bool
	for _, m := range all {
		ids, held, replaying = append(ids, m.id), append(held, m.held), append(replaying, m.replaying)
	}
	batch.Queue(markCallbacksSQL, pgx.NamedArgs{"ids": ids, "held": held, "replaying": replaying}).Exec(affects(len(all)))
}

const writeEndpointsSQL = `
UPDATE callback_endpoints p
SET failing_since = d.failing_since, failures = d.failures, state = d.state,
    state_reason = CASE d.reason WHEN '' THEN p.state_reason ELSE d.reason END,
    updated_at = CASE d.reason WHEN '' THEN p.updated_at ELSE now() END
FROM unnest(@ids::uuid[], @since::timestamptz[], @failures::integer[], @states::text[], @reasons::text[])
     AS d (id, failing_since, failures, state, reason)
WHERE p.id = d.id`

func writeEndpoints(batch *pgx.Batch, all []*lockedEndpoint) {
	if len(all) == 0 {
		return
	}
	var ids []EndpointID
	var since []*time.Time
	var failures []int
	var states []EndpointState
	var reasons []DisabledReason
	for _, p := range all {
		ids, since, failures = append(ids, p.id), append(since, p.failingSince), append(failures, p.failures)
		states, reasons = append(states, p.state), append(reasons, p.reason)
	}
	batch.Queue(writeEndpointsSQL, pgx.NamedArgs{"ids": ids, "since": since, "failures": failures, "states": states, "reasons": reasons}).Exec(affects(len(all)))
}

// In order, so that two sets never wait for each other in a circle.
const keepGoneSQL = `
INSERT INTO callback_urls_gone (invoice_id)
SELECT DISTINCT d.invoice_id
FROM unnest(@invoices::uuid[]) AS d (invoice_id)
ORDER BY d.invoice_id
ON CONFLICT DO NOTHING`

func keepGone(batch *pgx.Batch, invoices []InvoiceNumber) {
	if len(invoices) == 0 {
		return
	}
	batch.Queue(keepGoneSQL, pgx.NamedArgs{"invoices": invoices})
}
