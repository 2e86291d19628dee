package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNotASubscription says that the invoice is of another type, and ErrSubscriptionEnded that
// nothing can be changed any more.
var (
	ErrNotASubscription  = errors.New("the invoice is no subscription")
	ErrSubscriptionEnded = errors.New("the subscription has ended")
)

// SubscriptionChange says what to change; zero leaves it as it is.
type SubscriptionChange struct {
	Client    int64
	Invoice   InvoiceNumber
	Interval  int // days, up to 366
	ExpiresAt time.Time
	Answer    func(ShopInvoice) Answer // to what the invoice then is, without its payments; pure
	Once      Once                     // its Answer is filled in here
}

// UpdateSubscription changes a subscription; the next payment is due an interval after the last
// one, or as soon after now as that is past. One that is being tried again stays due as it was.
// Its errors are ErrInvoiceNotFound, ErrNotASubscription, ErrSubscriptionEnded, ErrInThePast,
// *Replay and ErrKeyReused.
func (s *Store) UpdateSubscription(ctx context.Context, c SubscriptionChange) (Answer, error) {
	err := s.inTxAgain(ctx, func(tx pgx.Tx) error {
		was, err := readSubscription(ctx, tx, c)
		if err != nil {
			return err
		}
		becomes, verdict := c.decide(was)
		if verdict == nil {
			c.Once.Answer = c.Answer(becomes)
		}
		err = s.claimDecided(ctx, tx, 1, func(int) (Once, *error) { return c.Once, &verdict })
		if err != nil {
			return err
		}
		if verdict != nil {
			return verdict
		}
		return updateSubscription(ctx, tx, was, *becomes.Subscription)
		// The commit point: a repeat with the same key is answered from the key's row.
	})
	if err != nil {
		return Answer{}, unavailable(wrap("update subscription "+c.Invoice.String(), err))
	}
	return c.Once.Answer, nil
}

// foundSubscription is what a change meets in the database; what was not found is zero.
type foundSubscription struct {
	ShopInvoice
	tries int // of the next payment that were declined
}

const readTriesSQL = `
SELECT s.tries
FROM subscriptions s
WHERE s.invoice_id = @number`

func readSubscription(ctx context.Context, tx pgx.Tx, c SubscriptionChange) (f foundSubscription, err error) {
	args := pgx.NamedArgs{"number": c.Invoice}
	batch := &pgx.Batch{}
	batch.Queue(readTriesSQL, args).Query(func(rows pgx.Rows) error {
		_, err := pgx.ForEachRow(rows, []any{&f.tries}, func() error { return nil })
		return err
	})
	batch.Queue(readShopInvoiceSQL, args).Query(func(rows pgx.Rows) error {
		found, err := pgx.CollectRows(rows, scanShopInvoice)
		if len(found) == 1 {
			f.ShopInvoice = found[0]
		}
		return err
	})
	err = tx.SendBatch(ctx, batch).Close() // fills in f
	return f, err
}

// decide is pure: it returns the invoice as it is to be, or why it stays as it is.
func (c SubscriptionChange) decide(f foundSubscription) (ShopInvoice, error) {
	switch {
	case f.ID.IsZero() || f.Client != c.Client:
		return ShopInvoice{}, ErrInvoiceNotFound
	case f.Subscription == nil:
		return ShopInvoice{}, ErrNotASubscription
	case !f.Subscription.Active:
		return ShopInvoice{}, ErrSubscriptionEnded
	case !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(f.Now):
		return ShopInvoice{}, ErrInThePast
	}
	becomes := *f.Subscription
	if !c.ExpiresAt.IsZero() {
		becomes.ExpiresAt = c.ExpiresAt.Truncate(time.Microsecond).UTC() // as it is stored
	}
	if c.Interval != 0 && c.Interval != becomes.Interval {
		becomes.Interval = c.Interval
		if becomes.PaidAt != nil && f.tries == 0 {
			due := becomes.PaidAt.Add(time.Duration(c.Interval) * day)
			if due.Before(f.Now) {
				due = f.Now
			}
			becomes.DueAt = &due
		}
	}
	invoice := f.ShopInvoice
	invoice.Subscription = &becomes
	return invoice, nil
}

// A charge that ended meanwhile, or another change, leaves this short.
const updateSubscriptionSQL = `
UPDATE subscriptions
SET interval_days = @interval, expires_at = @expires_at, due_at = @due_at, updated_at = deciding_time(),
    charge_at = CASE WHEN due_at IS DISTINCT FROM @due_at THEN @due_at ELSE charge_at END
WHERE invoice_id = @number AND active AND interval_days = @was_interval AND expires_at = @was_expires_at
  AND due_at IS NOT DISTINCT FROM @was_due_at AND tries = @tries`

func updateSubscription(ctx context.Context, tx pgx.Tx, was foundSubscription, becomes Subscription) error {
	batch := &pgx.Batch{}
	batch.Queue(updateSubscriptionSQL, pgx.NamedArgs{
		"number": was.ID, "interval": becomes.Interval, "expires_at": becomes.ExpiresAt, "due_at": becomes.DueAt,
		"was_interval": was.Subscription.Interval, "was_expires_at": was.Subscription.ExpiresAt, "was_due_at": was.Subscription.DueAt,
		"tries": was.tries,
	}).Exec(affects(1))
	return tx.SendBatch(ctx, batch).Close()
}
