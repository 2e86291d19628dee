package store

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// ShopTerms are what makes a client a shop.
type ShopTerms struct {
	Name          string // as payers see it
	Tariff        Tariff
	AllowUnsigned bool          // requests need not be signed
	HoldFor       time.Duration // how long money is held; 0 for the usual seven days
}

// Shop is a client that may call the invoicer API.
type Shop struct {
	Client            int64  // its row
	Number            int64  // its clientId
	Name              string // as payers see it
	SigningSecret     string
	SignatureRequired bool
	Tariff            Tariff
	HoldFor           time.Duration
}

// usualHold is how long money is held for a shop that was given no other time.
const usualHold = 7 * day

// saneShopNumber is a clientId in its one spelling: an integer of at most 18 digits.
var saneShopNumber = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

func (t ShopTerms) check(clientID string) error {
	switch {
	case !saneShopNumber.MatchString(clientID):
		return errors.New("a shop's id is an integer from 1, of at most 18 digits, without zeros before it")
	case t.Name == "" || len(t.Name) > 255:
		return errors.New("a shop has a name of at most 255 bytes, which payers see")
	case !t.Tariff.sane():
		return errors.New("a tariff is 0 to 100 percent, and 0 to 10 billion fixed")
	case t.HoldFor < 0:
		return errors.New("money is held for a time that is positive")
	}
	return nil
}

// signingContext seals what a shop signs with.
const signingContext = "signing"

const makeShopSQL = `
UPDATE clients
SET name = @name, signing_secret = @sealed, signature_required = @signed,
    commission_millipercents = @millipercents, commission_fixed = @fixed, hold_for = @hold_for
WHERE id = @client`

// All that a payment may be posted to stands before the first one. Only what is cleared with
// an acquirer, or with another bank, may be owed.
const openShopAccountsSQL = `
INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative)
SELECT n.kind, n.owner, @currency, n.kind = 'acquirer_clearing'
FROM (VALUES ('acquirer_clearing', 0), ('acquirer_clearing', @client::bigint), ('commission', 0), ('merchant', @client)) AS n (kind, owner)
WHERE NOT EXISTS (SELECT FROM ledger_accounts l WHERE l.kind = n.kind AND l.owner = n.owner AND l.currency = @currency OFFSET 0)
ORDER BY n.kind, n.owner
ON CONFLICT DO NOTHING`

// makeShop makes the client a shop that signs with secret.
func (s *Store) makeShop(ctx context.Context, tx pgx.Tx, client int64, terms ShopTerms, secret string) error {
	if terms.HoldFor == 0 {
		terms.HoldFor = usualHold
	}
	batch := &pgx.Batch{}
	batch.Queue(makeShopSQL, pgx.NamedArgs{
		"client": client, "name": terms.Name, "sealed": s.seal.close([]byte(secret), signingContext), "signed": !terms.AllowUnsigned,
		"millipercents": terms.Tariff.Millipercents, "fixed": terms.Tariff.Fixed, "hold_for": terms.HoldFor,
	})
	batch.Queue(openShopAccountsSQL, pgx.NamedArgs{"client": client, "currency": Hryvnia})
	return tx.SendBatch(ctx, batch).Close()
}

const shopColumns = `
c.id, c.client_id, c.name, c.signing_secret, c.signature_required, c.commission_millipercents, c.commission_fixed, c.hold_for`

const readShopSQL = `
SELECT ` + shopColumns + `
FROM clients c
WHERE c.client_id = @number AND c.signing_secret IS NOT NULL AND NOT c.disabled`

// Shop returns the enabled shop with this clientId, or ErrClientNotFound.
func (s *Store) Shop(ctx context.Context, number int64) (Shop, error) {
	shop, err := s.readShop(ctx, readShopSQL, pgx.NamedArgs{"number": strconv.FormatInt(number, 10)})
	if errors.Is(err, pgx.ErrNoRows) {
		return Shop{}, ErrClientNotFound
	}
	return shop, unavailable(wrap("read shop "+strconv.FormatInt(number, 10), err))
}

func (s *Store) readShop(ctx context.Context, sql string, args pgx.NamedArgs) (Shop, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	var shop Shop
	var number string
	var sealed []byte
	err := s.pool.QueryRow(ctx, sql, args).Scan(&shop.Client, &number, &shop.Name, &sealed, &shop.SignatureRequired,
		&shop.Tariff.Millipercents, &shop.Tariff.Fixed, &shop.HoldFor)
	if err != nil {
		return Shop{}, err
	}
	secret, err := s.seal.open(sealed, signingContext)
	if err != nil {
		return Shop{}, err
	}
	shop.SigningSecret = string(secret)
	shop.Number, err = strconv.ParseInt(number, 10, 64)
	return shop, err
}

// ClientSession is the credential that a shop's requests carry: a UUID, in lower case.
type ClientSession string

// sessionLife is how long a shop's session is good for.
const sessionLife = 48 * time.Hour

// ErrClientSessionNotFound says that no shop has this session any more: it never had, or it is
// over, or the shop was disabled since.
var ErrClientSessionNotFound = errors.New("client session not found")

const openClientSessionSQL = `
INSERT INTO client_sessions (hash, client_id, expires_at)
SELECT @hash, c.id, now() + @life::interval
FROM clients c
WHERE c.id = @client AND NOT c.disabled`

// OpenClientSession stores a session of the shop. Its errors are ErrClientNotFound (it was
// disabled meanwhile), *Replay and ErrKeyReused.
func (s *Store) OpenClientSession(ctx context.Context, client int64, session ClientSession, once Once) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, openClientSessionSQL, pgx.NamedArgs{"hash": hashOf(string(session)), "client": client, "life": sessionLife})
		if err == nil && tag.RowsAffected() == 0 {
			return ErrClientNotFound
		}
		return err
	})
	return unavailable(wrap("open client session", err))
}

const readShopOfSessionSQL = `
SELECT ` + shopColumns + `
FROM client_sessions s
JOIN clients c ON c.id = s.client_id
WHERE s.hash = @hash AND s.expires_at > now() AND s.created_at >= c.grants_from
  AND c.signing_secret IS NOT NULL AND NOT c.disabled`

// ShopOfSession returns the shop whose session this is, or ErrClientSessionNotFound.
func (s *Store) ShopOfSession(ctx context.Context, session ClientSession) (Shop, error) {
	shop, err := s.readShop(ctx, readShopOfSessionSQL, pgx.NamedArgs{"hash": hashOf(string(session))})
	if errors.Is(err, pgx.ErrNoRows) {
		return Shop{}, ErrClientSessionNotFound
	}
	return shop, unavailable(wrap("read client session", err))
}
