package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Card is what may be known of a card.
type Card struct {
	ID     CardID
	Mask   string // first six and last four digits
	Expiry string // YYYY-MM
	Brand  string // visa, mastercard, …
}

// NewCard is a card that the acquirer has tokenised.
type NewCard struct {
	Card
	Client int64
	Token  string // the acquirer's; kept encrypted
}

// ErrCardNotFound says that the client has no card with this id.
var ErrCardNotFound = errors.New("card not found")

// cardContext seals the acquirer's token for a card.
const cardContext = "card"

const insertCardSQL = `
INSERT INTO cards (id, client_id, token, mask, expiry, brand)
VALUES (@card, @client, @token, @mask, @expiry, @brand)`

// AddCard stores a card of the client. Its errors are *Replay and ErrKeyReused.
func (s *Store) AddCard(ctx context.Context, n NewCard, once Once) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, once); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		s.insertCard(batch, n)
		endLease(batch, once)
		return tx.SendBatch(ctx, batch).Close()
	})
	return unavailable(wrap("add card "+n.ID.String(), err))
}

func (s *Store) insertCard(batch *pgx.Batch, n NewCard) {
	batch.Queue(insertCardSQL, pgx.NamedArgs{
		"card": n.ID, "client": n.Client, "token": s.seal.close([]byte(n.Token), cardContext),
		"mask": n.Mask, "expiry": n.Expiry, "brand": n.Brand,
	})
}

const readCardSQL = `
SELECT c.id, c.mask, c.expiry, c.brand, c.token
FROM cards c
WHERE c.id = @card AND c.client_id = @client`

// CardToken returns a card of the client and the acquirer's token for it, or ErrCardNotFound.
func (s *Store) CardToken(ctx context.Context, client int64, id CardID) (Card, string, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	var c Card
	var sealed []byte
	err := s.pool.QueryRow(ctx, readCardSQL, pgx.NamedArgs{"card": id, "client": client}).Scan(&c.ID, &c.Mask, &c.Expiry, &c.Brand, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return Card{}, "", ErrCardNotFound
	}
	if err != nil {
		return Card{}, "", unavailable(wrap("read card "+id.String(), err))
	}
	token, err := s.seal.open(sealed, cardContext)
	return c, string(token), wrap("token of card "+id.String(), err)
}
