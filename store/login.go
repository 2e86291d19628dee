package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LoginType says what a user logs in with. The numbers are the original's.
type LoginType int

// Card and PIN alone name their user; the others name him and prove it.
const (
	LoginCard         LoginType = 1
	LoginPIN          LoginType = 2
	LoginPassword     LoginType = 3
	LoginCardPIN      LoginType = 4
	LoginCardPassword LoginType = 5
)

// Login is what a user types, as far as its type needs it.
type Login struct {
	Type     LoginType
	Card     string
	PIN      string
	Name     string
	Password string
}

// ErrLoginRefused says that no user has these, or that he is disabled; which of them is
// not told.
var ErrLoginRefused = errors.New("no user has this card, PIN, name or password, or he is disabled")

// Locked says that there were too many failures: even the right secret is not looked at.
type Locked struct{ For time.Duration }

func (l *Locked) Error() string { return fmt.Sprintf("locked for %s: too many failures", l.For) }

const selectUserSQL = `
SELECT u.id, coalesce(u.pin_hash, '') AS pin_hash, coalesce(u.password_hash, '') AS password_hash
FROM users u
WHERE NOT u.disabled AND `

const (
	userByCardSQL = selectUserSQL + `u.card_fingerprint = @card`
	userByPINSQL  = selectUserSQL + `u.pin_fingerprint = @pin`
	userByNameSQL = selectUserSQL + `u.name = @name`
)

// knownUser is a user who is not disabled; the zero value is one whom nobody knows.
type knownUser struct {
	ID           int64
	PINHash      string
	PasswordHash string
}

// findUser returns the user whom a login names.
func (s *Store) findUser(ctx context.Context, l Login) (knownUser, error) {
	sql := userByCardSQL
	switch l.Type {
	case LoginPIN:
		sql = userByPINSQL
	case LoginPassword:
		sql = userByNameSQL
	}
	rows, _ := s.pool.Query(ctx, sql, pgx.NamedArgs{"card": s.keyed(cardNumber, l.Card), "pin": s.keyed(pinCode, l.PIN), "name": l.Name})
	user, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[knownUser])
	if errors.Is(err, pgx.ErrNoRows) {
		return knownUser{}, nil
	}
	return user, unavailable(wrap("read user", err))
}

// logIn returns the user who logs in by way of a client. Its errors are ErrLoginRefused
// and *Locked.
func (s *Store) logIn(ctx context.Context, client int64, l Login) (user int64, err error) {
	known, err := s.findUser(ctx, l)
	if err != nil {
		return 0, err
	}
	right, err := s.attempt(ctx, s.whoTries(client, known, l), func() (bool, error) {
		switch l.Type {
		case LoginCard:
			return known.ID != 0, nil
		case LoginPIN, LoginCardPIN:
			return s.verifySecret(known.PINHash, pinCode, l.PIN)
		}
		return s.verifySecret(known.PasswordHash, userPassword, l.Password)
	})
	if err == nil && !right {
		err = ErrLoginRefused
	}
	return known.ID, err
}

// A subject has ten failures, then it is locked; both are forgotten after a quarter of an
// hour.
const (
	maxFailures   = 10
	lockedFor     = 15 * time.Minute
	failuresCount = 15 * time.Minute // since the last of them
)

// subject is who fails. Of a shared one nobody knows who it is: whoever has one good PIN
// may try another, so a success does not make the failures of others good.
type subject struct {
	name   string
	shared bool
}

// whoTries is the user where a login names him, known or not, and the client where a card
// or a PIN alone is tried.
func (s *Store) whoTries(client int64, known knownUser, l Login) subject {
	switch l.Type {
	case LoginCard, LoginPIN:
		return subject{name: sharedSubject(client), shared: true}
	case LoginPassword:
		return subject{name: s.subjectName("user", known.ID, l.Name)}
	}
	return subject{name: s.subjectName("user", known.ID, l.Card)}
}

// sharedSubject is whoever tries cards and PINs by way of a client.
func sharedSubject(client int64) string { return fmt.Sprintf("cards and PINs by client %d", client) }

// subjectName names a row by its id and a stranger by what he gave, which nobody can read
// back: he is counted and locked like the others, so that a lock does not tell who exists.
func (s *Store) subjectName(kind string, id int64, given string) string {
	if id != 0 {
		return fmt.Sprintf("%s %d", kind, id)
	}
	return fmt.Sprintf("unknown %s %s", kind, hex.EncodeToString(s.keyed(givenName, given)))
}

// attempt looks at a secret, unless its subject is locked. Its error is *Locked.
//
// The attempt is committed as a failure before the secret is looked at: many at once are
// no more than one after the other, and a process that dies, or a caller who hangs up to
// escape the count, has failed. Only what proves right is taken back.
//
// The hasher is held around all of it, so that of many who log in at once by one client
// only two a process are counted at a time, and the rest wait instead of being locked out.
func (s *Store) attempt(ctx context.Context, who subject, look func() (right bool, err error)) (right bool, err error) {
	giveBack, err := takeHasher(ctx)
	if err != nil {
		return false, err
	}
	defer giveBack()
	if err := s.countAttempt(ctx, who); err != nil {
		return false, err
	}
	right, err = look()
	if err != nil {
		return false, fmt.Errorf("%s: %w", who.name, err)
	}
	return right, s.endAttempt(ctx, who, right)
}

// The failure that is one too many locks at once. Nothing is written, and nothing
// returned, while the subject is locked: trying goes on for nothing, and does not make the
// lock last longer.
const countAttemptSQL = `
INSERT INTO login_attempts AS a (subject, failures)
VALUES (@subject, 1)
ON CONFLICT (subject) DO UPDATE
SET failures = CASE WHEN a.locked_until IS NOT NULL OR a.last_failed_at <= now() - @forgotten_after::interval
                    THEN 1 ELSE a.failures + 1 END,
    last_failed_at = CASE WHEN a.locked_until IS NOT NULL OR a.last_failed_at <= now() - @forgotten_after::interval
                          THEN now() ELSE a.last_failed_at END,
    locked_until = CASE WHEN a.locked_until IS NULL AND a.last_failed_at > now() - @forgotten_after::interval
                             AND a.failures + 1 >= @max
                        THEN now() + @locked_for::interval END
WHERE a.locked_until IS NULL OR a.locked_until <= now()
RETURNING failures`

const readLockSQL = `
SELECT greatest(a.locked_until - now(), interval '1 second')
FROM login_attempts a
WHERE a.subject = @subject AND a.locked_until IS NOT NULL`

// countAttempt counts a failure to be, or returns *Locked.
func (s *Store) countAttempt(ctx context.Context, who subject) error {
	var failures int
	err := s.pool.QueryRow(ctx, countAttemptSQL, pgx.NamedArgs{
		"subject": who.name, "max": maxFailures, "locked_for": lockedFor, "forgotten_after": failuresCount,
	}).Scan(&failures)
	if !errors.Is(err, pgx.ErrNoRows) {
		return unavailable(wrap("count attempt", err))
	}
	locked := &Locked{For: time.Second} // the lock that was just taken back: the last one was right after all
	err = s.pool.QueryRow(ctx, readLockSQL, pgx.NamedArgs{"subject": who.name}).Scan(&locked.For)
	if err == nil || errors.Is(err, pgx.ErrNoRows) {
		return locked
	}
	return unavailable(wrap("read lock", err))
}

// The quiet time begins anew. Where this is lost, it began at the failure before, and a
// subject still has its ten in a quarter of an hour.
const keepFailureSQL = `
UPDATE login_attempts
SET last_failed_at = now()
WHERE subject = @subject`

const takeFailureBackSQL = `
UPDATE login_attempts
SET failures = failures - 1, locked_until = NULL
WHERE subject = @subject AND failures > 0`

const forgetFailuresSQL = `
DELETE FROM login_attempts
WHERE subject = @subject`

// endAttempt records how the attempt ended. Each is one statement; where it is not done,
// the attempt stays a failure.
func (s *Store) endAttempt(ctx context.Context, who subject, right bool) error {
	sql := keepFailureSQL
	switch {
	case right && who.shared:
		sql = takeFailureBackSQL
	case right:
		sql = forgetFailuresSQL
	}
	_, err := s.pool.Exec(ctx, sql, pgx.NamedArgs{"subject": who.name})
	return unavailable(wrap("end attempt", err))
}
