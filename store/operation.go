package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// OperationType is what a command does.
type OperationType string

// InvoicePay pays an invoice from its payer's wallet. Of a recharge's operations one is open
// at a time: commit credits the wallet, rollback and expire end it without, and late books
// money that came in after that.
const (
	InvoicePay       OperationType = "invoice.pay"
	RechargeCommit   OperationType = "recharge.commit"
	RechargeRollback OperationType = "recharge.rollback"
	RechargeExpire   OperationType = "recharge.expire"
	RechargeLate     OperationType = "recharge.late"
)

// Of these operations on a payment by card but the last, one is open at a time: authorise
// begins it, confirm goes on where the payer had to do something, complete takes what was
// held, cancel and expire let go of it. Reverse gives back; any number may be open that
// together give back no more than was taken.
const (
	PaymentAuthorise OperationType = "payment.authorise"
	PaymentConfirm   OperationType = "payment.confirm"
	PaymentComplete  OperationType = "payment.complete"
	PaymentCancel    OperationType = "payment.cancel"
	PaymentExpire    OperationType = "payment.expire"
	PaymentReverse   OperationType = "payment.reverse"
)

// ReceiptSend mails the receipt of a finished payment by card.
const ReceiptSend OperationType = "receipt.send"

// queueOf says where each type is worked on. The broker's topology has the same names; a
// test of the whole holds the two together.
var queueOf = map[OperationType]string{
	InvoicePay:       "payments",
	RechargeCommit:   "recharges",
	RechargeRollback: "recharges",
	RechargeExpire:   "recharges",
	RechargeLate:     "recharges",
	PaymentAuthorise: "cards",
	PaymentConfirm:   "cards",
	PaymentComplete:  "cards",
	PaymentCancel:    "cards",
	PaymentExpire:    "cards",
	PaymentReverse:   "cards",
	ReceiptSend:      "receipts",
	CallbackSend:     "callbacks",
	PushSend:         "pushes",
}

// retryQueues are beside the queues of some types, for what has been there before: what fails
// must not be in the way of what comes for the first time.
var retryQueues = map[OperationType]string{CallbackSend: "callbacks.retry"}

// retryQueueOf says where an operation goes with every message but its first one.
func retryQueueOf(kind OperationType) string {
	if q, ok := retryQueues[kind]; ok {
		return q
	}
	return queueOf[kind]
}

// OperationTypes names all types, in alphabetical order.
func OperationTypes() []OperationType { return slices.Sorted(maps.Keys(queueOf)) }

// Queues names the work queues that have operations.
func (s *Store) Queues() []string {
	var queues []string
	for kind, first := range queueOf {
		for _, q := range []string{first, retryQueueOf(kind)} {
			if !slices.Contains(queues, q) {
				queues = append(queues, q)
			}
		}
	}
	return queues
}

// Status is how far an operation has come.
type Status string

// Accepted and running operations are being worked on; a dead one used up its attempts
// and waits for an operator; succeeded and failed are final.
const (
	Accepted  Status = "accepted"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Dead      Status = "dead"
)

// ParseStatus reads a status.
func ParseStatus(text string) (Status, bool) {
	s := Status(text)
	return s, slices.Contains([]Status{Accepted, Running, Succeeded, Failed, Dead}, s)
}

// isOpen says the same of operation o that is looked for by its id, in words that the index of
// what is due does not say: the planner would read all of that whenever it remembers few.
const isOpen = "o.status NOT IN ('succeeded', 'failed', 'dead')"

// isOpenStep says that operation o is the open step of payment p, of which there is one at
// most: the index that holds it to that has the same types.
const isOpenStep = `o.resource = p.id AND o.finished_at IS NULL
  AND o.type IN ('payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire')`

// Open says that the operation is being worked on.
func (s Status) Open() bool { return s == Accepted || s == Running }

// Operation is one command, from its acceptance to its end.
type Operation struct {
	ID           OperationID
	Type         OperationType
	Resource     [16]byte // the invoice, the recharge, or the payment by card
	Provider     string   `db:"-"` // of the recharge; only Operation fills it in
	Status       Status
	Attempts     int
	ErrorCode    string // "" unless failed or dead
	ErrorMessage string
	CreatedAt    time.Time
	FinishedAt   *time.Time
}

// ErrOperationNotFound says that no operation has this id.
var ErrOperationNotFound = errors.New("operation not found")

const readOperationsSQL = `
SELECT o.id, o.type, o.resource, o.status, o.attempts,
       coalesce(o.error_code, '') AS error_code, coalesce(o.error_message, '') AS error_message,
       o.created_at, o.finished_at
FROM operations o
WHERE o.id = ANY(@ids)`

// Operation returns one operation, or ErrOperationNotFound.
func (s *Store) Operation(ctx context.Context, id OperationID) (Operation, error) {
	found, err := s.Operations(ctx, []OperationID{id})
	if err != nil {
		return Operation{}, err
	}
	if len(found) == 0 {
		return Operation{}, ErrOperationNotFound
	}
	o := found[0]
	if strings.HasPrefix(string(o.Type), "recharge.") {
		err = s.pool.QueryRow(ctx, readProviderOfSQL, pgx.NamedArgs{"recharge": o.Resource}).Scan(&o.Provider)
	}
	return o, unavailable(wrap("read operation "+id.String(), err))
}

const readProviderOfSQL = `
SELECT p.reference
FROM recharges r
JOIN providers p ON p.id = r.provider_id
WHERE r.id = @recharge`

// Operations returns those that exist, in no order.
func (s *Store) Operations(ctx context.Context, ids []OperationID) ([]Operation, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readOperationsSQL, pgx.NamedArgs{"ids": ids})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Operation])
	if err != nil {
		return nil, unavailable(fmt.Errorf("read operations: %w", err))
	}
	return found, nil
}
