package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// IntentRecord is what is known of one call of the acquirer.
type IntentRecord struct {
	ID          IntentID
	Operation   OperationID
	Call        Call
	State       string // intended, called, unknown, approved, refused
	Amount      int64  // minor units, commission included
	Inquiries   int
	Error       string // why the outcome is unknown
	LeasedUntil *time.Time
	FinishedAt  *time.Time
}

const readIntentsSQL = `
SELECT i.id, i.operation_id AS operation, i.call, i.state, i.amount + i.commission AS amount, i.inquiries, i.error, i.leased_until, i.finished_at
FROM acquirer_intents i
WHERE i.payment_id = @payment
ORDER BY i.created_at, i.id`

// Intents returns all calls of the acquirer for a payment, oldest first.
func (s *Store) Intents(ctx context.Context, payment PaymentID) ([]IntentRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readIntentsSQL, pgx.NamedArgs{"payment": payment})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[IntentRecord])
	return found, unavailable(wrap("read the intents of "+payment.String(), err))
}

// PushRecord is what is known of a push.
type PushRecord struct {
	Type    EventType // of the event that is to be told
	Account string    // whose phone is told
	Phone   bool      // it has one that can be
	At      time.Time // of the event
}

const readPushSQL = `
SELECT v.type, a.account_number AS account, has_phone(a) AS phone, v.created_at AS at
FROM pushes p
JOIN events v   ON v.id = p.event_id
JOIN accounts a ON a.id = p.account_id
WHERE p.id = @id`

// Push returns what is known of a push; or ErrOperationNotFound, also once it is forgotten.
func (s *Store) Push(ctx context.Context, id OperationID) (PushRecord, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readPushSQL, pgx.NamedArgs{"id": id})
	p, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[PushRecord])
	if errors.Is(err, pgx.ErrNoRows) {
		return PushRecord{}, ErrOperationNotFound
	}
	return p, unavailable(wrap("read push "+id.String(), err))
}
