package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// Ref is what a message names: an operation, and the seq that it must still have.
type Ref struct {
	ID    OperationID
	Seq   int64
	Trace string `db:"-"` // the span of the attempt, as a W3C traceparent: what follows goes on from it; "" for none
}

func idsOf(refs []Ref) []OperationID {
	ids := make([]OperationID, len(refs))
	for i, ref := range refs {
		ids[i] = ref.ID
	}
	return ids
}

// Outcome is what became of one message. A stale one named an operation that is final,
// unknown or at another seq: it had no effect.
type Outcome struct {
	Type   OperationType
	Status Status // Succeeded, Failed, or "" for a stale message
	Code   string // why it failed
	Retry  Retry  // of an attempt that failed and was stored as such; else zero
	Waited time.Duration
}

// Stale says that the message had no effect.
func (o Outcome) Stale() bool { return o.Status == "" }

// PayInvoices settles a batch of payments. Each gets an outcome; the transfers, the
// invoices' states and the operations' ends are stored together or not at all.
//
// Operations and wallets are locked in id order, so that two batches never wait for each
// other in a circle. After a crash before the commit nothing was moved, and the messages
// are delivered again; after it they are stale.
//
// Where somebody holds a row for too long, the batch is settled without whatever needs it:
// that is as good as stale, and looked at again when it is due.
func (s *Store) PayInvoices(ctx context.Context, refs []Ref) ([]Outcome, error) {
	outcomes, err := s.settle(ctx, func(tx pgx.Tx, held locking) ([]Outcome, bool, error) {
		batch, err := lockForPayment(ctx, tx, refs, held)
		if err != nil {
			return nil, false, err
		}
		decided := batch.decide(refs) // no SQL, no clock
		enqueued, err := s.writePaid(ctx, tx, decided)
		return decided.outcomes, enqueued, err
	})
	return outcomes, unavailable(wrap("pay invoices", err))
}

// locking is what to do about a row that somebody else holds.
type locking bool

const (
	waitForRows      locking = false // for as long as lock_timeout says
	passOverHeldRows locking = true  // what needs them is left out
)

// settle settles a batch in one transaction and, where somebody holds a row for too long, in
// another one without what needs it. batch says whether it left rows in the outbox.
func (s *Store) settle(ctx context.Context, batch func(pgx.Tx, locking) ([]Outcome, bool, error)) (outcomes []Outcome, err error) {
	var enqueued bool
	for _, held := range []locking{waitForRows, passOverHeldRows} {
		err = s.inTx(ctx, func(tx pgx.Tx) (err error) {
			outcomes, enqueued, err = batch(tx, held)
			return err
		})
		if !isLockTimeout(err) {
			break
		}
	}
	if err == nil && enqueued {
		s.outboxFilled()
	}
	if errors.Is(err, errMovedOn) { // whoever settles holds the operation: a row that moved on is no race, but a bug
		err = fmt.Errorf("settle: %s", err)
	}
	return outcomes, err
}

const lockPaymentsSQL = `
SELECT o.id, o.seq, o.status, o.created_at, i.number, i.payer_id, i.recipient_id, i.amount, i.currency,
       i.description, p.account_number, has_phone(p), r.account_number, has_phone(r), r.deleted, now()
FROM operations o
JOIN invoices i ON i.number = o.resource
JOIN accounts p ON p.id = i.payer_id
JOIN accounts r ON r.id = i.recipient_id
WHERE o.id = ANY(@ids) AND o.type = 'invoice.pay'
ORDER BY o.id
FOR NO KEY UPDATE OF o`

const lockWalletsOfSQL = `
SELECT l.id, l.owner, l.currency, l.balance
FROM ledger_accounts l
WHERE l.kind = 'wallet' AND l.owner = ANY(@owners)
ORDER BY l.id
FOR NO KEY UPDATE`

const (
	lockFreePaymentsSQL  = lockPaymentsSQL + " SKIP LOCKED"
	lockFreeWalletsOfSQL = lockWalletsOfSQL + " SKIP LOCKED"
)

// order is a payment to be settled.
type order struct {
	id        OperationID
	seq       int64
	status    Status
	accepted  time.Time
	number    InvoiceNumber
	payer     int64
	recipient int64
	amount    money.Amount
	deleted   bool   // the recipient's account is
	trace     string // the attempt

	description                  string
	payerNumber, recipientNumber string // of the accounts
	payerPhone, recipientPhone   bool   // that can be told something
}

type walletKey struct {
	owner    int64
	currency money.Currency
}

type wallet struct {
	id      LedgerAccountID
	balance int64
}

// paymentBatch is what a batch of payments is decided on.
type paymentBatch struct {
	held    locking
	now     time.Time
	orders  map[OperationID]order
	wallets map[walletKey]*wallet
	owners  map[int64]bool // who has a wallet, in whatever currency
}

func lockForPayment(ctx context.Context, tx pgx.Tx, refs []Ref, held locking) (*paymentBatch, error) {
	lockPayments, lockWallets := lockPaymentsSQL, lockWalletsOfSQL
	if held == passOverHeldRows {
		lockPayments, lockWallets = lockFreePaymentsSQL, lockFreeWalletsOfSQL
	}
	orders, now, err := lockOrders(ctx, tx, lockPayments, idsOf(refs))
	if err != nil {
		return nil, err
	}
	b := &paymentBatch{held: held, now: now, orders: orders, wallets: make(map[walletKey]*wallet), owners: make(map[int64]bool)}
	var owners []int64
	for _, o := range orders {
		owners = append(owners, o.payer, o.recipient)
	}
	return b, b.lockWallets(ctx, tx, lockWallets, owners)
}

// lockOrders locks payments, and reads them and the database's clock.
func lockOrders(ctx context.Context, tx pgx.Tx, sql string, ids []OperationID) (orders map[OperationID]order, now time.Time, err error) {
	rows, _ := tx.Query(ctx, sql, pgx.NamedArgs{"ids": ids})
	orders = make(map[OperationID]order)
	var o order
	_, err = pgx.ForEachRow(rows, []any{
		&o.id, &o.seq, &o.status, &o.accepted, &o.number, &o.payer, &o.recipient,
		&o.amount.Minor, &o.amount.Currency, &o.description, &o.payerNumber, &o.payerPhone, &o.recipientNumber, &o.recipientPhone, &o.deleted, &now,
	}, func() error {
		orders[o.id] = o
		return nil
	})
	return orders, now, wrap("lock payments", err)
}

func (b *paymentBatch) lockWallets(ctx context.Context, tx pgx.Tx, sql string, owners []int64) error {
	slices.Sort(owners)
	rows, _ := tx.Query(ctx, sql, pgx.NamedArgs{"owners": slices.Compact(owners)})
	var w wallet
	var key walletKey
	_, err := pgx.ForEachRow(rows, []any{&w.id, &key.owner, &key.currency, &w.balance}, func() error {
		b.wallets[key] = &wallet{id: w.id, balance: w.balance}
		b.owners[key.owner] = true
		return nil
	})
	return wrap("lock wallets", err)
}

// refusal is why a payment fails: the operation's code and sentence, the invoice's error.
type refusal struct {
	code    string
	message string
	invoice InvoiceError
}

var (
	settled                = refusal{}
	insufficientFunds      = refusal{"insufficient_funds", "The payer's balance does not cover the amount.", InsufficientFunds}
	recipientCannotReceive = refusal{"recipient_cannot_receive", "The recipient's account cannot receive the payment.", RecipientCannotReceive}
	noWalletInCurrency     = refusal{"currency_mismatch", "The payer has no wallet in the invoice's currency.", CurrencyMismatch}
)

// outcome is that of an operation which ends like this.
func (r refusal) outcome(kind OperationType, waited time.Duration) Outcome {
	o := Outcome{Type: kind, Status: Succeeded, Code: r.code, Waited: waited}
	if r != settled {
		o.Status = Failed
	}
	return o
}

// paymentDecisions is what a batch came to, ready to be written.
type paymentDecisions struct {
	now       time.Time
	outcomes  []Outcome // one a message
	transfers []transfer
	ends      []paymentEnd
}

// paymentEnd ends an operation and its invoice's payment.
type paymentEnd struct {
	order
	refusal refusal
}

// decide settles the payments in the order in which they arrived, each on the balances
// that the ones before it left. It reads and uses up nothing but the batch.
func (b *paymentBatch) decide(refs []Ref) paymentDecisions {
	d := paymentDecisions{now: b.now, outcomes: make([]Outcome, len(refs))}
	for i, ref := range refs {
		o, known := b.orders[ref.ID]
		if !known || o.seq != ref.Seq || !o.status.Open() {
			continue // stale
		}
		delete(b.orders, ref.ID) // the same message again, in the same batch, is stale
		o.trace = ref.Trace
		if b.held == passOverHeldRows && !b.hasWalletsOf(o) {
			continue // held, as far as anybody can tell here
		}

		why := b.pay(o)
		if why == settled {
			d.transfers = append(d.transfers, b.transferFor(o))
		}
		d.outcomes[i] = why.outcome(InvoicePay, b.now.Sub(o.accepted))
		d.ends = append(d.ends, paymentEnd{order: o, refusal: why})
	}
	return d
}

func (b *paymentBatch) hasWalletsOf(o order) bool {
	return b.wallets[walletKey{o.payer, o.amount.Currency}] != nil && b.wallets[walletKey{o.recipient, o.amount.Currency}] != nil
}

// pay moves the amount between the balances of the batch, or says why it cannot.
func (b *paymentBatch) pay(o order) refusal {
	from := b.wallets[walletKey{o.payer, o.amount.Currency}]
	to := b.wallets[walletKey{o.recipient, o.amount.Currency}]
	switch {
	case o.deleted || to == nil || to.balance > math.MaxInt64-o.amount.Minor:
		return recipientCannotReceive
	case from == nil && b.owners[o.payer]:
		return noWalletInCurrency
	case from == nil || from.balance < o.amount.Minor:
		return insufficientFunds
	}
	from.balance -= o.amount.Minor
	to.balance += o.amount.Minor
	return settled
}

func (b *paymentBatch) transferFor(o order) transfer {
	return transfer{
		kind:      PaymentTransfer,
		reference: o.number,
		operation: o.id,
		debit:     b.wallets[walletKey{o.payer, o.amount.Currency}].id,
		credit:    b.wallets[walletKey{o.recipient, o.amount.Currency}].id,
		amount:    o.amount,
		at:        b.now,
	}
}

const endPaymentsSQL = `
UPDATE invoices i
SET state = d.state, error_code = d.error_code, updated_at = now()
FROM unnest(@numbers::uuid[], @states::smallint[], @errors::smallint[]) AS d (number, state, error_code)
WHERE i.number = d.number AND i.state = 3`

// writePaid stores the decisions with a handful of statements, whatever their number. It says
// whether it left rows in the outbox.
func (s *Store) writePaid(ctx context.Context, tx pgx.Tx, d paymentDecisions) (enqueued bool, err error) {
	if len(d.ends) == 0 {
		return false, nil
	}
	var ends operationEnds
	var numbers []InvoiceNumber
	var states []InvoiceState
	var errs []InvoiceError
	var events []event
	for _, e := range d.ends {
		ends.add(e.id, e.seq, e.refusal)
		numbers = append(numbers, e.number)
		errs = append(errs, e.refusal.invoice)
		states = append(states, e.refusal.nextState())
		if e.refusal == settled {
			events = append(events, e.paid(d.now))
		} else if e.payerPhone {
			events = append(events, e.refused(d.now))
		}
	}
	batch := &pgx.Batch{}
	batch.Queue(endPaymentsSQL, pgx.NamedArgs{"numbers": numbers, "states": states, "errors": errs}).Exec(affects(len(d.ends)))
	ends.write(batch)
	post(batch, d.transfers)
	if _, err := s.writeEvents(batch, events, &enqueued); err != nil {
		return false, err
	}
	err = tx.SendBatch(ctx, batch).Close()
	return enqueued, err
}

// nextState is where the payment leaves its invoice: paid, or to be paid again.
func (r refusal) nextState() InvoiceState {
	if r == settled {
		return Paid
	}
	return AwaitingPayment
}

// finished_at is the clock at the end of the work, not the start of the transaction: the
// commit follows at once.
const endOperationsSQL = `
UPDATE operations o
SET status = CASE d.code WHEN '' THEN 'succeeded' ELSE 'failed' END,
    error_code = nullif(d.code, ''), error_message = nullif(d.message, ''),
    attempts = o.attempts + 1, finished_at = clock_timestamp()
FROM unnest(@ids::uuid[], @seqs::bigint[], @codes::text[], @messages::text[]) AS d (id, seq, code, message)
WHERE o.id = d.id AND o.seq = d.seq AND o.finished_at IS NULL`

// operationEnds are the columns that end operations.
type operationEnds struct {
	ids             []OperationID
	seqs            []int64
	codes, messages []string
}

func (e *operationEnds) add(id OperationID, seq int64, r refusal) {
	e.ids = append(e.ids, id)
	e.seqs = append(e.seqs, seq)
	e.codes = append(e.codes, r.code)
	e.messages = append(e.messages, r.message)
}

func (e *operationEnds) write(batch *pgx.Batch) {
	batch.Queue(endOperationsSQL, pgx.NamedArgs{"ids": e.ids, "seqs": e.seqs, "codes": e.codes, "messages": e.messages}).Exec(affects(len(e.ids)))
}
