package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// writePushes stores it all with a handful of statements, whatever the number of pushes.
func (s *Store) writePushes(ctx context.Context, tx pgx.Tx, w *pushWrites) error {
	batch := &pgx.Batch{}
	w.ends.write(batch)
	w.leases.write(batch)
	recordAttempts(batch, w.attempts)
	countUsed(batch, w.used)
	s.delayPushes(batch, w.delays)
	strikeTokens(batch, w.strikes)
	return tx.SendBatch(ctx, batch).Close()
}

// An attempt is counted once, however often its message is delivered.
const recordAttemptsSQL = `
INSERT INTO attempts (operation_id, seq, attempt, error)
SELECT d.id, d.seq, d.attempt, d.error
FROM unnest(@ids::uuid[], @seqs::bigint[], @attempts::integer[], @errors::text[]) AS d (id, seq, attempt, error)
ON CONFLICT DO NOTHING`

func recordAttempts(batch *pgx.Batch, all []pushAttempt) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var seqs []int64
	var attempts []int
	var causes []string
	for _, a := range all {
		ids, seqs = append(ids, a.ID), append(seqs, a.Seq)
		attempts, causes = append(attempts, a.attempt), append(causes, a.cause)
	}
	batch.Queue(recordAttemptsSQL, pgx.NamedArgs{"ids": ids, "seqs": seqs, "attempts": attempts, "errors": causes})
}

// What is used up counts as tried, however often its message comes back meanwhile.
const countUsedSQL = `
UPDATE operations o
SET status = 'running', attempts = (SELECT a.attempt FROM attempts a WHERE a.operation_id = d.id ORDER BY a.seq DESC LIMIT 1)
FROM unnest(@ids::uuid[]) AS d (id)
WHERE o.id = d.id AND ` + isOpen

func countUsed(batch *pgx.Batch, all []pushAttempt) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	for _, a := range all {
		ids = append(ids, a.ID)
	}
	batch.Queue(countUsedSQL, pgx.NamedArgs{"ids": ids}).Exec(affects(len(all)))
}

const delayPushesSQL = `
UPDATE operations o
SET status = 'running', attempts = o.attempts + 1, seq = o.seq + 1, due_at = now() + d.wait, waits = d.in_row
FROM unnest(@ids::uuid[], @seqs::bigint[], @waits::interval[], @in_row::boolean[]) AS d (id, seq, wait, in_row)
WHERE o.id = d.id AND o.seq = d.seq AND ` + isOpen

func (s *Store) delayPushes(batch *pgx.Batch, all []pushDelay) {
	if len(all) == 0 {
		return
	}
	var ids []OperationID
	var seqs []int64
	var types []OperationType
	var waits []time.Duration
	var names []string
	var inRow []bool
	for _, d := range all {
		ids, seqs, types = append(ids, d.ID), append(seqs, d.Seq), append(types, PushSend)
		waits, names, inRow = append(waits, d.until(s.grace)), append(names, d.Name), append(inRow, d.inRow())
	}
	args := pgx.NamedArgs{
		"ids": ids, "seqs": seqs, "types": types, "waits": waits, "delays": names, "in_row": inRow, "queue": queueOf[PushSend],
	}
	batch.Queue(delayPushesSQL, args).Exec(affects(len(all)))
	batch.Queue(enqueueDelayedSQL, args)
}

// Accounts in order, so that two sets never wait for each other in a circle. A token that was
// refreshed since, be it the same, is not the one that was sent to.
const strikeTokensSQL = `
WITH struck AS (
	SELECT a.id, d.weight
	FROM accounts a
	JOIN unnest(@accounts::bigint[], @tokens::text[], @refreshed::timestamptz[], @weights::integer[])
	     AS d (account, token, refreshed, weight) ON d.account = a.id
	WHERE a.id = ANY(@accounts) AND a.push_token = d.token AND a.token_refreshed_at = d.refreshed AND a.token_deactivated_at IS NULL
	ORDER BY a.id
	FOR NO KEY UPDATE OF a
)
UPDATE accounts a
SET token_strikes = least(a.token_strikes + s.weight, 2),
    token_deactivated_at = CASE WHEN a.token_strikes + s.weight >= 2 THEN now() END
FROM struck s
WHERE a.id = s.id`

// strikeTokens adds up what was found against each token.
func strikeTokens(batch *pgx.Batch, all []strike) {
	weights := make(map[strike]int)
	for _, s := range all {
		weight := s.weight
		s.weight = 0
		weights[s] += weight
	}
	if len(weights) == 0 {
		return
	}
	var accounts []int64
	var tokens []string
	var refreshed []time.Time
	var sums []int
	for s, weight := range weights {
		accounts, tokens = append(accounts, s.account), append(tokens, s.token)
		refreshed, sums = append(refreshed, s.refreshed), append(sums, weight)
	}
	batch.Queue(strikeTokensSQL, pgx.NamedArgs{"accounts": accounts, "tokens": tokens, "refreshed": refreshed, "weights": sums})
}
