package store

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
)

// ScopeCredit is what a token must be good for to reach the recharge API, and
// RightManagePayments what its user or client must have to do more there than look at the
// providers. ScopeCallbacks is for callbacks: where they go, and what became of them.
const (
	ScopeCredit         = "credit"
	ScopeCallbacks      = "callbacks"
	RightManagePayments = "manage_payments"
)

// Client is a program that calls for a business.
type Client struct {
	ID        int64
	ClientID  string // its name, as it sends it
	Scopes    []string
	Rights    []string
	Disabled  bool
	Shop      *ShopTerms // nil for a client that is none
	CreatedAt time.Time
}

// Credentials are what a client proves itself with.
type Credentials struct {
	ClientID string
	Secret   string
	Address  string // it calls from
}

var (
	// ErrClientRefused says that no client has this id and secret, or that it is disabled.
	ErrClientRefused = errors.New("no client has this id and secret, or it is disabled")
	// ErrClientNotFound is for operators, who may know.
	ErrClientNotFound = errors.New("no client has this id")
	// ErrClientTaken says that the id belongs to another client. Nothing was done.
	ErrClientTaken = errors.New("a client has this id")
	// ErrRightUnknown says that there is no such right. Nothing was done.
	ErrRightUnknown = errors.New("there is no such right: " + RightManagePayments + " is the only one")
)

var (
	saneClientID = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)
	saneScope    = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]{1,255}$`) // RFC 6749, 3.3
)

// NewClient is a client to be. Without a Secret it is given one.
type NewClient struct {
	ClientID string
	Secret   string
	Scopes   []string
	Rights   []string
	Shop     *ShopTerms // nil for a client that is no shop
}

// checkRights is asked before the database is, which would log the row that it refuses.
func checkRights(rights []string) error {
	for _, right := range rights {
		if right != RightManagePayments {
			return ErrRightUnknown
		}
	}
	return nil
}

func (n NewClient) check() error {
	if !saneClientID.MatchString(n.ClientID) {
		return errors.New("a client's id is 1 to 255 printable ASCII characters without spaces")
	}
	for _, scope := range n.Scopes {
		if !saneScope.MatchString(scope) {
			return fmt.Errorf("%q is no scope: it is 1 to 255 printable ASCII characters without spaces, quotes and backslashes", scope)
		}
	}
	if n.Shop != nil {
		if err := n.Shop.check(n.ClientID); err != nil {
			return err
		}
	}
	return checkRights(n.Rights)
}

func (n NewClient) added() act {
	details := map[string]any{"scopes": n.Scopes, "rights": n.Rights}
	if n.Shop != nil {
		details["shop"], details["allowUnsigned"], details["holdFor"] = n.Shop.Name, n.Shop.AllowUnsigned, n.Shop.HoldFor.String()
		details["percents"], details["fixed"] = n.Shop.Tariff.Percents(), n.Shop.Tariff.Fixed
	}
	return act{"client.add", n.ClientID, details}
}

const addClientSQL = `
INSERT INTO clients (client_id, secret_hash, scopes, rights)
VALUES (@client, @hash, coalesce(@scopes::text[], '{}'), coalesce(@rights::text[], '{}'))
RETURNING id`

// AddClient makes a client and returns its secret, which nobody can read again; a shop signs
// with it, so that of a shop's an encrypted copy is kept. Its errors are ErrClientTaken and
// ErrRightUnknown.
func (s *Store) AddClient(ctx context.Context, n NewClient) (secret string, err error) {
	if err := n.check(); err != nil {
		return "", err
	}
	if n.Secret == "" {
		n.Secret = NewSecret()
	}
	hash, err := s.hashSecret(ctx, clientSecret, n.Secret)
	if err != nil {
		return "", err
	}
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var id int64
		args := pgx.NamedArgs{"client": n.ClientID, "hash": hash, "scopes": n.Scopes, "rights": n.Rights}
		if err := tx.QueryRow(ctx, addClientSQL, args).Scan(&id); err != nil {
			return err
		}
		if n.Shop != nil {
			if err := s.makeShop(ctx, tx, id, *n.Shop, n.Secret); err != nil {
				return err
			}
		}
		return s.keepActs(ctx, tx, n.added())
	})
	if isViolation(err, "client_id_is_unique") {
		return "", ErrClientTaken
	}
	return n.Secret, unavailable(wrap("add client", err))
}

const listClientsSQL = `
SELECT c.id, c.client_id, c.scopes, c.rights, c.disabled, c.signing_secret IS NOT NULL, c.name, NOT c.signature_required,
       c.commission_millipercents, c.commission_fixed, c.hold_for, c.created_at
FROM clients c
WHERE c.id < @before
ORDER BY c.id DESC
LIMIT @limit`

// Clients lists the clients, disabled ones too, newest first.
func (s *Store) Clients(ctx context.Context, page Page[int64]) ([]Client, error) {
	rows, _ := s.pool.Query(ctx, listClientsSQL, pgx.NamedArgs{"before": beforeID(page), "limit": page.Limit})
	clients, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c Client, err error) {
		var isShop bool
		var terms ShopTerms
		err = row.Scan(&c.ID, &c.ClientID, &c.Scopes, &c.Rights, &c.Disabled, &isShop, &terms.Name, &terms.AllowUnsigned,
			&terms.Tariff.Millipercents, &terms.Tariff.Fixed, &terms.HoldFor, &c.CreatedAt)
		if isShop {
			c.Shop = &terms
		}
		return c, err
	})
	return clients, unavailable(wrap("list clients", err))
}

const lockClientSQL = `
SELECT c.id
FROM clients c
WHERE c.client_id = @name
FOR NO KEY UPDATE`

const setClientDisabledSQL = `
UPDATE clients
SET disabled = @disabled, grants_from = clock_timestamp()
WHERE id = @id`

// SetClientDisabled disables a client and revokes all its tokens and sessions, or enables it
// again: those of before stay revoked. Its error is ErrClientNotFound.
func (s *Store) SetClientDisabled(ctx context.Context, clientID string, disabled bool) error {
	return s.changeClient(ctx, switched(disabled), clientID, setClientDisabledSQL, pgx.NamedArgs{"disabled": disabled})
}

const setClientSecretSQL = `
UPDATE clients
SET secret_hash = @hash, grants_from = clock_timestamp(),
    signing_secret = CASE WHEN signing_secret IS NOT NULL THEN @sealed::bytea END
WHERE id = @id`

// RenewClientSecret gives a client a new secret and revokes all its tokens, and the sessions
// of a shop. The old secret is worth nothing from that commit on. Its error is ErrClientNotFound.
func (s *Store) RenewClientSecret(ctx context.Context, clientID string) (secret string, err error) {
	secret = NewSecret()
	hash, err := s.hashSecret(ctx, clientSecret, secret)
	if err != nil {
		return "", err
	}
	return secret, s.changeClient(ctx, "secret", clientID, setClientSecretSQL, pgx.NamedArgs{
		"hash": hash, "sealed": s.seal.close([]byte(secret), signingContext),
	})
}

func (s *Store) changeClient(ctx context.Context, how, clientID, sql string, change pgx.NamedArgs) error {
	done := act{action: "client." + how, subject: clientID}
	err := s.changeParty(ctx, done, lockClientSQL, clientID, sql, change, func(id int64) []string {
		return []string{s.subjectName("client", id, "") + " at %", sharedSubject(id)}
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrClientNotFound
	}
	return unavailable(wrap("change client "+clientID, err))
}

// switched is the action of an act that disables, or enables.
func switched(off bool) string {
	if off {
		return "disable"
	}
	return "enable"
}

const liftLocksSQL = `
DELETE FROM login_attempts
WHERE subject LIKE ANY(@subjects::text[])`

// changeParty changes the row of a client or a user, ends all its grants and lifts its
// locks: subjects are patterns of those. Whoever issues tokens holds the row, shared, as it
// was when the party proved itself. The row is locked here before the change reads the
// clock: so a grant either began before that, and is worth nothing any more, or finds the
// party changed.
func (s *Store) changeParty(ctx context.Context, done act, lock, name, sql string, change pgx.NamedArgs, subjects func(id int64) []string) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(ctx, lock, pgx.NamedArgs{"name": name}).Scan(&id); err != nil {
			return err
		}
		change["id"] = id
		if _, err := tx.Exec(ctx, sql, change); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, liftLocksSQL, pgx.NamedArgs{"subjects": subjects(id)}); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, done)
	})
	s.callers.forget() // whatever became of the commit
	return err
}

const readClientSQL = `
SELECT c.id, c.scopes, c.secret_hash
FROM clients c
WHERE c.client_id = @client AND NOT c.disabled`

// provenClient is a client that has shown its secret; secretHash is what it was compared
// with. The zero value is a client that nobody knows.
type provenClient struct {
	ID         int64
	Scopes     []string
	SecretHash string
}

// authenticate lets a client prove itself. Failures are counted by client and address, so
// that nobody can lock a client out from elsewhere. Its errors are ErrClientRefused and
// *Locked.
func (s *Store) authenticate(ctx context.Context, by Credentials) (provenClient, error) {
	rows, _ := s.pool.Query(ctx, readClientSQL, pgx.NamedArgs{"client": by.ClientID})
	client, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[provenClient])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return provenClient{}, unavailable(wrap("read client", err))
	}
	who := subject{name: s.subjectName("client", client.ID, by.ClientID) + " at " + by.Address}
	right, err := s.attempt(ctx, who, func() (bool, error) {
		return s.verifySecret(client.SecretHash, clientSecret, by.Secret)
	})
	if err == nil && !right {
		err = ErrClientRefused
	}
	return client, err
}

const findClientSQL = `
SELECT c.id
FROM clients c
WHERE c.client_id = @name`

// ClientNamed returns the row of the client with this id, for operators, or ErrClientNotFound.
func (s *Store) ClientNamed(ctx context.Context, clientID string) (row int64, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, findClientSQL, pgx.NamedArgs{"name": clientID}).Scan(&row)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrClientNotFound
	}
	return row, unavailable(wrap("find client "+clientID, err))
}
