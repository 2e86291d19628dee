package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How long tokens live.
const (
	accessFor  = 30 * time.Minute
	refreshFor = 30 * 24 * time.Hour
)

// Tokens are the credentials that follow from one login. Nobody can read them again.
type Tokens struct {
	Access    string
	ExpiresIn time.Duration // of Access
	Refresh   string        // good once, for 30 days
	Scopes    []string      // of Access
}

// ErrRefreshRefused says that a refresh token is unknown, another client's, expired, revoked
// or used up.
var ErrRefreshRefused = errors.New("the refresh token is invalid")

// grantID names all tokens that follow from one login.
type grantID = ID[struct{ grant struct{} }]

// grant is what a login led to.
type grant struct {
	ID     grantID
	Client provenClient
	User   int64
	Scopes []string
}

// granted are the scopes that were asked for, as far as they may be had; all, where none
// was asked for.
func granted(asked, may []string) []string {
	if len(asked) == 0 {
		return may
	}
	scopes := []string{}
	for _, scope := range asked {
		if slices.Contains(may, scope) && !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// ClientTokens issues tokens to a client for itself. Its errors are ErrClientRefused and
// *Locked.
func (s *Store) ClientTokens(ctx context.Context, by Credentials, scopes []string) (Tokens, error) {
	client, err := s.authenticate(ctx, by)
	if err != nil {
		return Tokens{}, err
	}
	return s.issue(ctx, grant{Client: client, Scopes: granted(scopes, client.Scopes)})
}

// LoginTokens issues tokens to a client for the user who logs in. Its errors are those of
// ClientTokens and ErrLoginRefused.
func (s *Store) LoginTokens(ctx context.Context, by Credentials, l Login, scopes []string) (Tokens, error) {
	client, err := s.authenticate(ctx, by)
	if err != nil {
		return Tokens{}, err
	}
	user, err := s.logIn(ctx, client.ID, l)
	if err != nil {
		return Tokens{}, err
	}
	return s.issue(ctx, grant{Client: client, User: user, Scopes: granted(scopes, client.Scopes)})
}

const insertGrantSQL = `
INSERT INTO grants (id, client_id, user_id, expires_at)
VALUES (@grant, @client, nullif(@user::bigint, 0), now() + @refresh_for::interval)`

// issue begins a grant. Where the commit's end is unknown there may be tokens that nobody
// has: they are worth nothing, and expire.
func (s *Store) issue(ctx context.Context, g grant) (Tokens, error) {
	g.ID = grantID(uuid.New())
	t := newTokens(g.Scopes)
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := holdParties(ctx, tx, g); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, insertGrantSQL, pgx.NamedArgs{"grant": g.ID, "client": g.Client.ID, "user": g.User, "refresh_for": refreshFor})
		if err != nil {
			return err
		}
		return insertTokens(ctx, tx, g, t)
	})
	if err != nil {
		return Tokens{}, unavailable(wrap("issue tokens", err))
	}
	return t, nil
}

func newTokens(scopes []string) Tokens {
	return Tokens{Access: NewSecret(), Refresh: NewSecret(), ExpiresIn: accessFor, Scopes: scopes}
}

const holdClientSQL = `
SELECT
FROM clients c
WHERE c.id = @client AND c.secret_hash = @proven AND NOT c.disabled
FOR SHARE`

const holdUserSQL = `
SELECT
FROM users u
WHERE u.id = @user AND NOT u.disabled
FOR SHARE`

// holdParties keeps the client and the user, until the commit, as they were when they
// proved themselves: changeParty ends the grants that began before it.
func holdParties(ctx context.Context, tx pgx.Tx, g grant) error {
	client, err := tx.Exec(ctx, holdClientSQL, pgx.NamedArgs{"client": g.Client.ID, "proven": g.Client.SecretHash})
	switch {
	case err != nil:
		return err
	case client.RowsAffected() == 0:
		return ErrClientRefused
	case g.User == 0:
		return nil
	}
	user, err := tx.Exec(ctx, holdUserSQL, pgx.NamedArgs{"user": g.User})
	if err == nil && user.RowsAffected() == 0 {
		return ErrLoginRefused
	}
	return err
}

// A refresh token is good for all that the grant is (RFC 6749, 6), an access token for
// what was asked for this time.
const insertTokensSQL = `
INSERT INTO tokens (hash, grant_id, kind, scopes, expires_at)
VALUES (@access, @grant, 'access', @scopes, now() + @access_for::interval),
       (@refresh, @grant, 'refresh', @grant_scopes, now() + @refresh_for::interval)`

func insertTokens(ctx context.Context, tx pgx.Tx, g grant, t Tokens) error {
	_, err := tx.Exec(ctx, insertTokensSQL, pgx.NamedArgs{
		"grant":  g.ID,
		"access": hashOf(t.Access), "scopes": t.Scopes, "access_for": accessFor,
		"refresh": hashOf(t.Refresh), "grant_scopes": g.Scopes, "refresh_for": refreshFor,
	})
	return err
}

const readTokenSQL = `
SELECT g.id AS grant, t.kind, g.client_id AS client, coalesce(g.user_id, 0) AS user, t.scopes
FROM tokens t
JOIN grants g ON g.id = t.grant_id
WHERE t.hash = @hash`

// token is what never changes of a token's row.
type token struct {
	Grant  grantID
	Kind   string
	Client int64
	User   int64
	Scopes []string
}

// readToken returns a token of a client, whatever has become of it; false where the client
// has none like this.
func readToken(ctx context.Context, tx pgx.Tx, text string, client int64) (t token, found bool, err error) {
	rows, _ := tx.Query(ctx, readTokenSQL, pgx.NamedArgs{"hash": hashOf(text)})
	t, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[token])
	if errors.Is(err, pgx.ErrNoRows) {
		return t, false, nil
	}
	return t, t.Client == client, err
}

const useUpSQL = `
UPDATE tokens
SET used_at = now()
WHERE hash = @hash AND used_at IS NULL AND expires_at > now()`

// RefreshTokens exchanges a refresh token for new tokens of its grant, once. Scopes can
// only become fewer. Its errors are ErrClientRefused, *Locked and ErrRefreshRefused.
//
// A refresh token that comes a second time was stolen, from the client or by it: nobody
// can tell, so the whole grant is revoked, and whoever is honest logs in again (RFC 9700,
// 4.14.2). This also meets a client that never got the answer to the first time: if the
// commit below was lost before it was done, the token is as good as before; if only its
// answer was lost, the second try ends the grant.
func (s *Store) RefreshTokens(ctx context.Context, by Credentials, refresh string, scopes []string) (Tokens, error) {
	client, err := s.authenticate(ctx, by)
	if err != nil {
		return Tokens{}, err
	}
	var t Tokens
	stolen := false
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		old, found, err := readToken(ctx, tx, refresh, client.ID)
		if err != nil {
			return err
		}
		if !found || old.Kind != "refresh" {
			return ErrRefreshRefused
		}
		t = newTokens(granted(scopes, old.Scopes))
		stolen, err = rotate(ctx, tx, grant{ID: old.Grant, Client: client, User: old.User, Scopes: old.Scopes}, hashOf(refresh), t)
		return err
	})
	// The commit point: the old token is used up and the new ones are there, or neither;
	// or the grant is revoked.
	if stolen {
		s.callers.forget() // whatever became of the commit
	}
	switch {
	case errors.Is(err, ErrLoginRefused): // the user was disabled
		return Tokens{}, ErrRefreshRefused
	case err != nil:
		return Tokens{}, unavailable(wrap("refresh tokens", err))
	case stolen:
		return Tokens{}, ErrRefreshRefused
	}
	return t, nil
}

// rotate uses a refresh token up and stores what follows it; or revokes the grant, where
// the token was used up before. One that is expired or revoked ends there too: its grant
// has nothing left to lose.
func rotate(ctx context.Context, tx pgx.Tx, g grant, old []byte, t Tokens) (stolen bool, err error) {
	if err := holdParties(ctx, tx, g); err != nil {
		return false, err
	}
	stands, err := lockGrant(ctx, tx, g.ID)
	if err != nil || !stands {
		return !stands, err
	}
	used, err := tx.Exec(ctx, useUpSQL, pgx.NamedArgs{"hash": old})
	if err != nil {
		return false, err
	}
	if used.RowsAffected() == 0 {
		return true, revokeGrant(ctx, tx, g.ID)
	}
	if _, err := tx.Exec(ctx, prolongGrantSQL, pgx.NamedArgs{"grant": g.ID, "refresh_for": refreshFor}); err != nil {
		return false, err
	}
	return false, insertTokens(ctx, tx, g, t)
}

const lockGrantSQL = `
SELECT
FROM grants g
JOIN clients c    ON c.id = g.client_id
LEFT JOIN users u ON u.id = g.user_id
WHERE g.id = @grant AND NOT g.revoked AND g.created_at >= c.grants_from AND g.created_at >= coalesce(u.grants_from, '-infinity')
FOR NO KEY UPDATE OF g`

// lockGrant lets one transaction at a time change what follows from a login; false where
// nothing does any more, since the grant is revoked.
func lockGrant(ctx context.Context, tx pgx.Tx, id grantID) (stands bool, err error) {
	tag, err := tx.Exec(ctx, lockGrantSQL, pgx.NamedArgs{"grant": id})
	return tag.RowsAffected() == 1, err
}

const prolongGrantSQL = `
UPDATE grants
SET expires_at = now() + @refresh_for::interval
WHERE id = @grant`

const revokeGrantSQL = `
UPDATE grants
SET revoked = true
WHERE id = @grant`

func revokeGrant(ctx context.Context, tx pgx.Tx, id grantID) error {
	_, err := tx.Exec(ctx, revokeGrantSQL, pgx.NamedArgs{"grant": id})
	return err
}

// RevokeToken revokes the whole grant of an access or refresh token. One that is unknown,
// or another client's, is nothing to revoke. Its errors are ErrClientRefused and *Locked.
func (s *Store) RevokeToken(ctx context.Context, by Credentials, text string) error {
	client, err := s.authenticate(ctx, by)
	if err != nil {
		return err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		t, found, err := readToken(ctx, tx, text, client.ID)
		if err != nil || !found {
			return err
		}
		return revokeGrant(ctx, tx, t.Grant)
	})
	s.callers.forget() // whatever became of the commit
	return unavailable(wrap("revoke token", err))
}
