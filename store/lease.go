package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// leaseLife is how long whoever calls the acquirer before its command can commit has its key to
// itself.
const leaseLife = 60 * time.Second

// ErrKeyInProgress says that the same request is being worked on at this moment.
var ErrKeyInProgress = errors.New("the request with this idempotency key is being worked on")

// Whoever takes over what the same request gave up goes on under its intent. Another request
// may have the key as well, since nothing was done under it; but not that intent.
const leaseKeySQL = `
INSERT INTO idempotency_leases AS l (scope, key, fingerprint, intent_id, leased_until)
VALUES (@scope, @key, @fingerprint, @intent, now() + @life::interval)
ON CONFLICT (scope, key) DO UPDATE
SET leased_until = excluded.leased_until, fingerprint = excluded.fingerprint,
    intent_id = CASE l.fingerprint WHEN excluded.fingerprint THEN l.intent_id ELSE excluded.intent_id END
WHERE l.leased_until <= now()
RETURNING l.intent_id`

const readLeaseSQL = `
SELECT l.fingerprint
FROM idempotency_leases l
WHERE l.scope = @scope AND l.key = @key`

// LeaseKey takes the key of a command that must call the acquirer before it can commit, and
// returns the intent under which to call: fresh, or that of the request which gave the key
// up. A command without a key gets fresh. The command's commit claims the key and ends the
// lease; where it is refused, or never comes to that, ReleaseKey does. Its errors are *Replay,
// ErrKeyReused and ErrKeyInProgress.
//
// The lease comes before the look at the key: a command that commits meanwhile deletes its
// lease in the same transaction, so that what it left is seen here.
func (s *Store) LeaseKey(ctx context.Context, once Once, fresh IntentID) (IntentID, error) {
	if once.Key == "" {
		return fresh, nil
	}
	var intent IntentID
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var free bool
		var err error
		intent, free, err = s.takeLease(ctx, tx, once, fresh)
		if err != nil {
			return err
		}
		if used := s.lookUpKey(ctx, tx, once); used != nil {
			return used // and the lease is rolled back
		}
		if !free {
			return s.whyLeased(ctx, tx, once)
		}
		return nil
	})
	return intent, unavailable(wrap("lease key", err))
}

// takeLease returns false where somebody has the lease.
func (s *Store) takeLease(ctx context.Context, tx pgx.Tx, once Once, fresh IntentID) (intent IntentID, free bool, err error) {
	err = tx.QueryRow(ctx, leaseKeySQL, pgx.NamedArgs{
		"scope": hashOf(once.Scope), "key": once.Key, "fingerprint": s.seal.fingerprint([]byte(once.Request)),
		"intent": fresh, "life": leaseLife,
	}).Scan(&intent)
	if errors.Is(err, pgx.ErrNoRows) {
		return IntentID{}, false, nil
	}
	return intent, true, err
}

// lookUpKey returns *Replay or ErrKeyReused where the key was used before.
func (s *Store) lookUpKey(ctx context.Context, tx pgx.Tx, once Once) error {
	verdicts := make([]error, 1)
	if err := s.recall(ctx, tx, []Once{once}, map[keyID]int{once.id(): 0}, verdicts); err != nil {
		return err
	}
	return verdicts[0]
}

// whyLeased says whether it is the same request that has the lease.
func (s *Store) whyLeased(ctx context.Context, tx pgx.Tx, once Once) error {
	var fingerprint []byte
	err := tx.QueryRow(ctx, readLeaseSQL, pgx.NamedArgs{"scope": hashOf(once.Scope), "key": once.Key}).Scan(&fingerprint)
	switch {
	case errors.Is(err, pgx.ErrNoRows): // it has just ended
		return ErrKeyInProgress
	case err != nil:
		return err
	case !bytes.Equal(fingerprint, s.seal.fingerprint([]byte(once.Request))):
		return ErrKeyReused
	}
	return ErrKeyInProgress
}

const endLeaseSQL = `
DELETE FROM idempotency_leases
WHERE scope = @scope AND key = @key`

// endLease ends the lease of a command that is about to commit. Only commands that may have
// taken one ask for it: for all others it would be a statement for nothing.
func endLease(batch *pgx.Batch, once Once) {
	if once.Key != "" {
		batch.Queue(endLeaseSQL, pgx.NamedArgs{"scope": hashOf(once.Scope), "key": once.Key})
	}
}

// ReleaseKey gives a leased key up: the call was refused, or could not be made, or the command
// was refused after it. Whoever sends the request again need not wait, and calls under an
// intent of its own: it may be about another card.
func (s *Store) ReleaseKey(ctx context.Context, once Once) error {
	if once.Key == "" {
		return nil
	}
	_, err := s.pool.Exec(ctx, endLeaseSQL, pgx.NamedArgs{"scope": hashOf(once.Scope), "key": once.Key})
	return unavailable(wrap("release key", err))
}
