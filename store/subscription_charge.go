package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockedSubscription is how a subscription goes on, as it was found and as it will be.
type lockedSubscription struct {
	invoice  InvoiceNumber
	interval time.Duration
	active   bool
	card     CardID
	tries    int // of the next payment that were declined
	paidAt   *time.Time
	dueAt    *time.Time
	chargeAt *time.Time
}

// retryCharge is how long after its due date a declined charge is tried again.
var retryCharge = []time.Duration{1 * day, 3 * day, 5 * day}

// paid begins the subscription, or moves it on to the first date that is still to come: missed
// periods are skipped.
func (u *lockedSubscription) paid(p *lockedPayment, now time.Time) {
	from := now
	if p.chargeDueAt != nil {
		from = *p.chargeDueAt
	}
	periods := max(now.Sub(from), 0)/u.interval + 1
	due := from.Add(periods * u.interval)
	u.card, u.tries, u.paidAt, u.dueAt, u.chargeAt = p.cardFrom, 0, &now, &due, &due
}

// declined has the charge tried again later, or ends the subscription after the last try.
// What is so late that its next try is past as well is tried a day from now.
func (u *lockedSubscription) declined(now time.Time) {
	u.tries++
	if u.tries > len(retryCharge) {
		u.active = false
		return
	}
	next := u.dueAt.Add(retryCharge[u.tries-1])
	if !next.After(now) {
		next = now.Add(day)
	}
	u.chargeAt = &next
}

// chargeFailed tells the subscription that a later charge of it came to nothing, unless the
// shop has moved the date meanwhile.
func (b *callBatch) chargeFailed(d *cardDecisions, p *lockedPayment) {
	u := b.subscriptions[p.invoice]
	if u == nil || p.chargeDueAt == nil || u.dueAt == nil || !u.dueAt.Equal(*p.chargeDueAt) {
		return
	}
	wasActive := u.active
	u.declined(b.deciding)
	d.subscriptions = append(d.subscriptions, u)
	if wasActive && !u.active {
		d.ended = append(d.ended, endedSubscription{
			client: p.client, invoice: p.invoice, externalID: p.told.externalID, callbackURL: p.told.callbackURL,
			reason: "declined", at: b.now, ended: b.deciding, trace: p.trace,
		})
	}
}

// A subscription that is being settled is passed over: there is another time. OFFSET 0 makes
// it one look into the index for each.
const lockChargesSQL = `
SELECT u.invoice_id, u.card_id, i.card_to_id, u.due_at, i.client_id, i.system_type, i.amount, i.currency,
       c.commission_millipercents, c.commission_fixed, t.token
FROM subscriptions u
JOIN invoices i ON i.number = u.invoice_id
JOIN clients c  ON c.id = i.client_id
JOIN cards t    ON t.id = u.card_id
WHERE (u.active AND u.charge_at IS NOT NULL) IS TRUE AND u.charge_at <= (SELECT deciding_time())
  AND u.expires_at > (SELECT deciding_time()) AND NOT c.disabled
  AND NOT EXISTS (SELECT FROM payments p WHERE p.invoice_id = u.invoice_id AND p.type = 'SUBSCRIBE' AND p.status = 'NEW' OFFSET 0)
ORDER BY u.charge_at
LIMIT @limit
FOR NO KEY UPDATE OF u SKIP LOCKED`

// charge is a payment of a subscription that is due.
type charge struct {
	payment    PaymentID
	operation  OperationID
	intent     IntentID
	invoice    InvoiceNumber
	card       CardID
	cardTo     CardID // of P2P
	dueAt      time.Time
	client     int64
	systemType SystemType
	amount     int64
	currency   int
	tariff     Tariff
	sealed     []byte // the card's token: as the card has it, and then as the call does
}

// ChargeSubscriptions begins at most limit payments of subscriptions that are due, with the
// saved card, and returns how many. Nothing is begun while a payment of the subscription is
// open, nor after its end, nor while its shop is disabled. A card whose token cannot be read
// is an error, and holds up no other one's.
func (s *Store) ChargeSubscriptions(ctx context.Context, limit int) (charged int, err error) {
	var unread error
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		charged = 0
		due, err := lockCharges(ctx, tx, limit)
		if err != nil {
			return err
		}
		if due, unread = s.resealed(due); len(due) == 0 {
			return nil
		}
		charged, err = s.openCharges(ctx, tx, due)
		return err
	})
	if err != nil {
		return 0, unavailable(wrap("charge subscriptions", err))
	}
	if charged > 0 {
		s.outboxFilled()
	}
	return charged, wrap("charge subscriptions", unread)
}

// resealed has the tokens of cards sealed for the calls, and leaves out what cannot be read.
func (s *Store) resealed(due []charge) (readable []charge, unread error) {
	for _, d := range due {
		token, err := s.seal.open(d.sealed, cardContext)
		if err != nil {
			unread = errors.Join(unread, wrap("the token of card "+d.card.String(), err))
			continue
		}
		d.sealed = s.seal.close(token, intentContext)
		readable = append(readable, d)
	}
	return readable, unread
}

func lockCharges(ctx context.Context, tx pgx.Tx, limit int) ([]charge, error) {
	rows, _ := tx.Query(ctx, lockChargesSQL, pgx.NamedArgs{"limit": limit})
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (charge, error) {
		c := charge{payment: NewPaymentID(), operation: NewOperationID(), intent: NewIntentID()}
		err := row.Scan(&c.invoice, &c.card, &c.cardTo, &c.dueAt, &c.client, &c.systemType, &c.amount, &c.currency,
			&c.tariff.Millipercents, &c.tariff.Fixed, &c.sealed)
		return c, err
	})
	return due, wrap("lock subscriptions", err)
}

// Whoever begins a payment of the same subscription at this moment is not waited for in vain:
// theirs stands, and nothing of ours is inserted.
const openChargesSQL = `
WITH fresh AS (
	SELECT f.payment, f.operation, f.intent, f.invoice, f.card, f.card_to, f.due_at, f.client, f.system_type, f.amount, f.commission,
	       f.millipercents, f.fixed, f.currency, f.receipt, f.secret
	FROM unnest(@payments::uuid[], @operations::uuid[], @intents::uuid[], @invoices::uuid[], @cards::uuid[], @cards_to::uuid[], @due::timestamptz[],
	            @clients::bigint[], @system_types::text[], @amounts::bigint[], @commissions::bigint[], @millipercents::integer[],
	            @fixed::bigint[], @currencies::smallint[], @receipts::text[], @secrets::bytea[])
	     AS f (payment, operation, intent, invoice, card, card_to, due_at, client, system_type, amount, commission,
	           millipercents, fixed, currency, receipt, secret)
), begun AS (
	INSERT INTO payments (id, invoice_id, client_id, system_type, type, one_time, charge_due_at, amount, commission,
	                      commission_millipercents, commission_fixed, itemised, currency, card_from_id, card_to_id, receipt_id, created_at, updated_at)
	SELECT f.payment, f.invoice, f.client, f.system_type, 'SUBSCRIBE', false, f.due_at, f.amount, f.commission,
	       f.millipercents, f.fixed, false, f.currency, f.card, f.card_to, f.receipt, clock.now, clock.now
	FROM fresh f
	CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
	ORDER BY f.invoice
	ON CONFLICT DO NOTHING
	RETURNING id
), opened AS (
	INSERT INTO operations (id, type, resource, due_at)
	SELECT f.operation, @type, f.payment, now() + @grace
	FROM fresh f
	JOIN begun ON begun.id = f.payment
	RETURNING id
), intended AS (
	INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, secret)
	SELECT f.intent, f.operation, f.payment, 'authorise', f.amount, f.commission, f.secret
	FROM fresh f
	JOIN begun ON begun.id = f.payment
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, id, 1, @type
FROM opened`

func (s *Store) openCharges(ctx context.Context, tx pgx.Tx, due []charge) (int, error) {
	var c chargeColumns
	for _, d := range due {
		c.add(d)
	}
	tag, err := tx.Exec(ctx, openChargesSQL, pgx.NamedArgs{
		"payments": c.payments, "operations": c.operations, "intents": c.intents, "invoices": c.invoices, "cards": c.cards,
		"cards_to": c.cardsTo, "due": c.due,
		"clients": c.clients, "system_types": c.systemTypes, "amounts": c.amounts, "commissions": c.commissions,
		"millipercents": c.millipercents, "fixed": c.fixed, "currencies": c.currencies, "receipts": c.receipts, "secrets": c.secrets,
		"type": PaymentAuthorise, "queue": queueOf[PaymentAuthorise], "grace": s.grace,
	})
	return int(tag.RowsAffected()), err
}

type chargeColumns struct {
	payments             []PaymentID
	operations           []OperationID
	intents              []IntentID
	invoices             []InvoiceNumber
	cards, cardsTo       []CardID
	due                  []time.Time
	clients              []int64
	systemTypes          []SystemType
	amounts, commissions []int64
	millipercents, fixed []int64
	currencies           []int
	receipts             []string
	secrets              [][]byte
}

func (c *chargeColumns) add(d charge) {
	c.payments, c.operations, c.intents = append(c.payments, d.payment), append(c.operations, d.operation), append(c.intents, d.intent)
	c.invoices, c.due = append(c.invoices, d.invoice), append(c.due, d.dueAt)
	c.cards, c.cardsTo = append(c.cards, d.card), append(c.cardsTo, d.cardTo)
	c.clients, c.systemTypes = append(c.clients, d.client), append(c.systemTypes, d.systemType)
	c.amounts, c.commissions = append(c.amounts, d.amount), append(c.commissions, d.tariff.Commission(d.amount))
	c.millipercents, c.fixed = append(c.millipercents, d.tariff.Millipercents), append(c.fixed, d.tariff.Fixed)
	c.currencies, c.receipts, c.secrets = append(c.currencies, d.currency), append(c.receipts, newReceiptID()), append(c.secrets, d.sealed)
}

const endSubscriptionsSQL = `
WITH past AS (
	SELECT u.invoice_id
	FROM subscriptions u
	WHERE u.active IS TRUE AND u.expires_at <= (SELECT deciding_time())
	ORDER BY u.expires_at
	LIMIT @limit
	FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE subscriptions u
SET active = false, updated_at = (SELECT deciding_time())
FROM past
CROSS JOIN LATERAL (
	SELECT i.client_id, i.external_id, coalesce(i.callback_url, '') AS callback_url FROM invoices i WHERE i.number = past.invoice_id OFFSET 0
) i
WHERE u.invoice_id = past.invoice_id
RETURNING i.client_id, u.invoice_id, i.external_id, i.callback_url, now(), u.expires_at`

// EndSubscriptions ends at most limit subscriptions whose time is over, tells their shops, and
// returns how many. A payment that was begun before is honoured.
func (s *Store) EndSubscriptions(ctx context.Context, limit int) (n int, err error) {
	var enqueued bool
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		enqueued = false
		rows, _ := tx.Query(ctx, endSubscriptionsSQL, pgx.NamedArgs{"limit": limit})
		ended, err := pgx.CollectRows(rows, scanExpiredSubscription)
		if n = len(ended); err != nil || n == 0 {
			return err
		}
		events := make([]event, n)
		for i, u := range ended {
			events[i] = u.event()
		}
		batch := &pgx.Batch{}
		if _, err := s.writeEvents(batch, events, &enqueued); err != nil {
			return err
		}
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return 0, unavailable(wrap("end subscriptions", err))
	}
	if enqueued {
		s.outboxFilled()
	}
	return n, nil
}

func scanExpiredSubscription(row pgx.CollectableRow) (endedSubscription, error) {
	u := endedSubscription{reason: "expired"}
	err := row.Scan(&u.client, &u.invoice, &u.externalID, &u.callbackURL, &u.at, &u.ended)
	return u, err
}
