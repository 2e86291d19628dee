package store

import (
	"context"
	"errors"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// User is somebody who logs in by way of a client.
type User struct {
	ID        int64
	Name      string
	Card      bool // has one
	PIN       bool
	Password  bool
	Rights    []string
	Disabled  bool
	CreatedAt time.Time
}

// NewUser is a user to be. What is empty he does not have, and cannot log in with.
type NewUser struct {
	Name     string
	Card     string
	PIN      string
	Password string
	Rights   []string
}

// Why a user is not made or changed. Nothing was done.
var (
	ErrNameTaken    = errors.New("a user has this name")
	ErrCardTaken    = errors.New("a user has this card")
	ErrPINTaken     = errors.New("a user has this PIN")
	ErrUserNotFound = errors.New("no user has this name")
)

var sanePIN = regexp.MustCompile(`^[0-9]{4,16}$`)

const (
	maxName     = 255 // characters
	minPassword = 8
	maxPassword = 255
)

func (n NewUser) check() error {
	switch length := utf8.RuneCountInString(n.Password); {
	case n.Name == "" || utf8.RuneCountInString(n.Name) > maxName || clip(n.Name, len(n.Name)) != n.Name:
		return errors.New("a user's name has 1 to 255 characters")
	case n.PIN != "" && !sanePIN.MatchString(n.PIN):
		return errors.New("a PIN has 4 to 16 digits")
	case n.Password != "" && (length < minPassword || length > maxPassword):
		return errors.New("a password has 8 to 255 characters")
	case utf8.RuneCountInString(n.Card) > maxName:
		return errors.New("a card has at most 255 characters")
	}
	return checkRights(n.Rights)
}

const addUserSQL = `
INSERT INTO users (name, card_fingerprint, pin_fingerprint, pin_hash, password_hash, rights)
VALUES (@name, @card, @pin, nullif(@pin_hash, ''), nullif(@password_hash, ''), coalesce(@rights::text[], '{}'))`

// AddUser makes a user. Its errors are ErrNameTaken, ErrCardTaken, ErrPINTaken and
// ErrRightUnknown.
func (s *Store) AddUser(ctx context.Context, n NewUser) error {
	if err := n.check(); err != nil {
		return err
	}
	pinHash, err := s.hashSecret(ctx, pinCode, n.PIN)
	if err != nil {
		return err
	}
	passwordHash, err := s.hashSecret(ctx, userPassword, n.Password)
	if err != nil {
		return err
	}
	_, err = s.execAct(ctx, act{"user.add", n.Name, map[string]any{"rights": n.Rights}}, addUserSQL, pgx.NamedArgs{
		"name": n.Name, "card": s.fingerprintOf(cardNumber, n.Card), "pin": s.fingerprintOf(pinCode, n.PIN),
		"pin_hash": pinHash, "password_hash": passwordHash, "rights": n.Rights,
	})
	for constraint, refusal := range map[string]error{
		"user_name_is_unique": ErrNameTaken, "card_is_unique": ErrCardTaken, "pin_is_unique": ErrPINTaken,
	} {
		if isViolation(err, constraint) {
			return refusal
		}
	}
	return unavailable(wrap("add user", err))
}

// fingerprintOf is what a card or a PIN is found by; NULL for none.
func (s *Store) fingerprintOf(kind secretKind, text string) []byte {
	if text == "" {
		return nil
	}
	return s.keyed(kind, text)
}

const listUsersSQL = `
SELECT u.id, u.name, u.card_fingerprint IS NOT NULL AS card, u.pin_hash IS NOT NULL AS pin,
       u.password_hash IS NOT NULL AS password, u.rights, u.disabled, u.created_at
FROM users u
WHERE u.id < @before
ORDER BY u.id DESC
LIMIT @limit`

// Users lists the users, disabled ones too, newest first.
func (s *Store) Users(ctx context.Context, page Page[int64]) ([]User, error) {
	rows, _ := s.pool.Query(ctx, listUsersSQL, pgx.NamedArgs{"before": beforeID(page), "limit": page.Limit})
	users, err := pgx.CollectRows(rows, pgx.RowToStructByName[User])
	return users, unavailable(wrap("list users", err))
}

const lockUserSQL = `
SELECT u.id
FROM users u
WHERE u.name = @name
FOR NO KEY UPDATE`

const setUserDisabledSQL = `
UPDATE users
SET disabled = @disabled, grants_from = clock_timestamp()
WHERE id = @id`

// SetUserDisabled disables a user and revokes all his tokens, or enables him again: the
// tokens of before stay revoked. Its error is ErrUserNotFound.
func (s *Store) SetUserDisabled(ctx context.Context, name string, disabled bool) error {
	change := pgx.NamedArgs{"disabled": disabled}
	done := act{action: "user." + switched(disabled), subject: name}
	err := s.changeParty(ctx, done, lockUserSQL, name, setUserDisabledSQL, change, func(id int64) []string {
		return []string{s.subjectName("user", id, "")}
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrUserNotFound
	}
	return unavailable(wrap("change user", err))
}
