package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// TokenVerdict is what an attempt says about the token that it was sent to.
type TokenVerdict int

// Nothing is known against a fine token. One strike is forgiven; a dead token, or one with two
// strikes, is not sent to any more until its phone refreshes it.
const (
	TokenFine TokenVerdict = iota
	TokenStrike
	TokenDead
)

// PushResult is an attempt that was made.
type PushResult struct {
	Push
	Code   string // "" for success; else what it failed with
	Reason string // in plain words; "" where it was sent
	Token  TokenVerdict
	Final  bool   // a failure that another attempt would only repeat, and that nobody has to look at
	Next   *Delay // when it is tried again should it have failed; nil: the attempts are used up
}

// FinishPush stores an attempt and what follows from it, together with others that end at the
// same time: the end of the operation, its retry, what becomes of the token. A token that was
// refreshed since the push was started is left alone, whatever FCM says of the one before. A
// result whose message is stale by now changes nothing but that a success counts, and that a
// token is dead, whoever brings it: a strike it may have counted before.
//
// Where the attempts are used up the Outcome's Retry says so: the caller rejects the message,
// and its dead letter ends the operation. After a crash before the commit the event is sent
// again, under the same collapse key.
func (s *Store) FinishPush(ctx context.Context, r PushResult) (Outcome, error) {
	f := &pushed{PushResult: r}
	if err := s.pushResults.do(ctx, f); err != nil {
		return Outcome{}, fmt.Errorf("finish push %s: %w", r.ID, err)
	}
	return f.outcome, nil
}

// pushed is an attempt on its way into the database.
type pushed struct {
	PushResult
	outcome Outcome
}

// finishPushes stores attempts that ended together, but for a push's second one: what it finds
// is what the first one leaves. It is two round trips, whatever their number: lock, then write.
func (s *Store) finishPushes(ctx context.Context, all []*pushed) (later []int, err error) {
	now, later := splitTwins(all, func(f *pushed) (OperationID, Once) { return f.ID, Once{} })
	ids := make([]OperationID, len(now))
	for i, f := range now {
		ids[i] = f.ID
	}
	w := &pushWrites{}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		locked, err := lockPushes(ctx, tx, ids)
		if err != nil {
			return err
		}
		*w = decidePushes(locked, now) // no SQL, no clock
		return s.writePushes(ctx, tx, w)
		// The commit point. Before it something was sent that nobody wrote down: the message
		// comes again, and the same is sent again, which replaces the first on the phone. After
		// it the same result is stale.
	})
	if err == nil && len(w.delays) > 0 {
		s.outboxFilled()
	}
	return later, err
}

const lockPushesSQL = `
SELECT o.id, o.seq, o.status, o.attempts, now() - o.created_at
FROM operations o
WHERE o.id = ANY(@ids)
ORDER BY o.id
FOR NO KEY UPDATE`

// lockedPush is a push's operation as it was found.
type lockedPush struct {
	id       OperationID
	seq      int64
	status   Status
	attempts int
	waited   time.Duration
}

// believes says that a message is about what was found.
func (p *lockedPush) believes(ref Ref) bool { return p.seq == ref.Seq && p.status.Open() }

func lockPushes(ctx context.Context, tx pgx.Tx, ids []OperationID) (map[OperationID]*lockedPush, error) {
	rows, _ := tx.Query(ctx, lockPushesSQL, pgx.NamedArgs{"ids": ids})
	locked := make(map[OperationID]*lockedPush)
	var p lockedPush
	_, err := pgx.ForEachRow(rows, []any{&p.id, &p.seq, &p.status, &p.attempts, &p.waited}, func() error {
		found := p
		locked[p.id] = &found
		return nil
	})
	return locked, wrap("lock pushes", err)
}

// decidePushes says what follows from each attempt.
func decidePushes(locked map[OperationID]*lockedPush, results []*pushed) (w pushWrites) {
	for _, r := range results {
		r.outcome = Outcome{} // of a set that was rolled back
		found := locked[r.ID]
		if r.Token == TokenDead || (r.Token == TokenStrike && found != nil && found.believes(r.Ref)) {
			w.strikes = append(w.strikes, strike{r.account, r.Push.Token, r.refreshed, int(r.Token)})
		}
		switch {
		case found == nil: // it ended so long ago that it is forgotten
		case r.Code == "" && (found.status.Open() || found.status == Dead):
			w.end(found, r, settled)
		case !found.believes(r.Ref): // stale
		case r.Final:
			w.end(found, r, refusal{code: r.Code, message: clip(r.Reason, 1000)})
		default:
			w.fail(found, r)
		}
	}
	return w
}

// pushWrites is what is to be stored about a set of pushes, whose operations are locked.
type pushWrites struct {
	ends     countedEnds
	leases   operationLeases
	attempts []pushAttempt
	delays   []pushDelay
	used     []pushAttempt // of these, the last ones
	strikes  []strike
}

type pushAttempt struct {
	Ref
	attempt int
	cause   string
}

// pushDelay has a push tried again later, under another seq.
type pushDelay struct {
	Ref
	Delay
}

// strike is against a token, as it was when it was sent to.
type strike struct {
	account   int64
	token     string
	refreshed time.Time
	weight    int
}

func (w *pushWrites) end(found *lockedPush, r *pushed, why refusal) {
	w.ends.add(found.id, found.attempts+1, why)
	r.outcome = why.outcome(PushSend, found.waited)
}

// fail is every failure after which there may be another attempt. Where there is none nothing
// changes but the record: who dies before the message is rejected has it again.
func (w *pushWrites) fail(found *lockedPush, r *pushed) {
	tried := pushAttempt{r.Ref, found.attempts + 1, clip(r.Code+": "+r.Reason, 1000)}
	w.attempts = append(w.attempts, tried)
	r.outcome = Outcome{Type: PushSend, Status: Running, Code: tried.cause, Waited: found.waited}
	if r.Next == nil {
		w.used = append(w.used, tried)
		r.outcome.Retry = Retry{Verdict: RetryUsedUp}
		return
	}
	w.delays = append(w.delays, pushDelay{r.Ref, *r.Next})
	r.outcome.Retry = Retry{Verdict: RetryStored, Delay: r.Next.Name}
}
