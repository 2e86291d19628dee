package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// Call names a call of the acquirer.
type Call string

// Authorise takes the money at once where Capture says so, and holds it otherwise.
const (
	CallAuthorise Call = "authorise"
	CallConfirm   Call = "confirm"
	CallCapture   Call = "capture"
	CallVoid      Call = "void"
	CallRefund    Call = "refund"
)

// CardCall is what to ask the acquirer, and under which id.
type CardCall struct {
	Intent      IntentID // the acquirer's idempotency key
	Operation   OperationID
	Payment     PaymentID
	Type        OperationType
	Call        Call
	Unknown     bool         // it went out before, and nobody knows what became of it: inquire first
	Amount      money.Amount // that moves, commission included; of a void, what is let go
	Commission  int64        // minor units of Amount that are ours
	Unattended  bool         // of an authorisation: a saved card is charged while no payer is there to confirm
	Capture     bool         // of an authorisation: take the money at once
	Token       string       // of an authorisation: the payer's card
	TokenTo     string       // of an authorisation, P2P: the recipient's card
	Code        string       // of a confirmation
	Of          IntentID     // the authorisation that the other calls act upon
	Accepted    time.Time    // the operation was
	LeasedUntil time.Time    // by the database's clock: what tells this lease from a later one
}

// StartCall takes the lease of the operation's intent and says what to ask. false says that
// there is nothing to do: the message is stale; or somebody else has the lease, and it comes
// again once that is over; or the payment's state no longer allows the operation, which has
// failed.
//
// The intent is called from this commit on, as far as anybody knows: after a crash the
// acquirer is asked what became of it, never charged under another id.
func (s *Store) StartCall(ctx context.Context, ref Ref, lease time.Duration) (call CardCall, begun bool, err error) {
	var enqueued bool
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		begun, enqueued = false, false
		i, err := lockIntent(ctx, tx, ref)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // stale
		}
		if err != nil {
			return err
		}
		switch {
		case i.left > 0:
			enqueued = true
			return s.park(ctx, tx, i.step(), rungCovering(i.left))
		case !i.Unknown && !i.stillWanted():
			enqueued, err = s.refuseCall(ctx, tx, i.CardCall)
			return err
		}
		if call, err = s.unsealed(i); err != nil {
			return err
		}
		begun = true
		return s.lease(ctx, tx, &call, lease)
		// The commit point. Before it nothing was called, and the message is delivered again.
		// After it a call may be under way, whatever becomes of this process: the message finds
		// the lease, waits until it is over, and inquires.
	})
	if err != nil {
		return CardCall{}, false, unavailable(wrap("start call of "+ref.ID.String(), err))
	}
	if enqueued {
		s.outboxFilled()
	}
	return call, begun, nil
}

const lockIntentSQL = `
SELECT o.id, o.type, o.seq, o.created_at, i.id, i.call, i.state IN ('called', 'unknown'), i.amount + i.commission, i.commission,
       i.secret, coalesce(i.leased_until - clock_timestamp(), '0'), p.id, p.payment_status, p.currency, p.type <> 'HOLD',
       p.charge_due_at IS NOT NULL, coalesce(p.expires_at <= deciding_time(), false), t.token,
       (SELECT a.id FROM acquirer_intents a WHERE a.payment_id = p.id AND a.call = 'authorise')
FROM operations o
JOIN acquirer_intents i ON i.operation_id = o.id
JOIN payments p         ON p.id = i.payment_id
LEFT JOIN cards t       ON t.id = p.card_to_id
WHERE o.id = @id AND o.seq = @seq AND ` + isOpen + `
FOR NO KEY UPDATE OF o, p, i`

// lockedIntent is a call that may be begun, as it was found.
type lockedIntent struct {
	CardCall
	seq             int64
	secret, tokenTo []byte // sealed
	left            time.Duration
	payment         lockedPayment // its state only
	past            bool          // its time to be confirmed, or completed, is over
}

func lockIntent(ctx context.Context, tx pgx.Tx, ref Ref) (i lockedIntent, err error) {
	err = tx.QueryRow(ctx, lockIntentSQL, pgx.NamedArgs{"id": ref.ID, "seq": ref.Seq}).Scan(
		&i.Operation, &i.Type, &i.seq, &i.Accepted, &i.Intent, &i.Call, &i.Unknown, &i.Amount.Minor, &i.Commission,
		&i.secret, &i.left, &i.Payment, &i.payment.paymentStatus, &i.Amount.Currency, &i.Capture,
		&i.Unattended, &i.past, &i.tokenTo, &i.Of)
	return i, err
}

// stillWanted says that the payment's state allows the call. An expiry may have been opened
// upon a state that was over by then, and that the payment has left for one with another end.
func (i lockedIntent) stillWanted() bool {
	return i.payment.allows(i.Type) && (i.Type != PaymentExpire || i.past)
}

func (i lockedIntent) step() cardStep {
	return cardStep{operation: i.Operation, kind: i.Type, seq: i.seq}
}

// unsealed is the call with what it needs, and nothing that only others do.
func (s *Store) unsealed(i lockedIntent) (CardCall, error) {
	call := i.CardCall
	switch call.Call {
	case CallAuthorise:
		call.Of = IntentID{}
		token, err := s.seal.open(i.secret, intentContext)
		if err != nil {
			return CardCall{}, wrap("the card's token", err)
		}
		call.Token = string(token)
		call.TokenTo, err = s.openToken(i.tokenTo)
		return call, wrap("the recipient's token", err)
	case CallConfirm:
		if i.secret == nil {
			break // the payer gave no code
		}
		code, err := s.seal.open(i.secret, intentContext)
		if err != nil {
			return CardCall{}, wrap("the payer's code", err)
		}
		call.Code = string(code)
	}
	call.Capture, call.Unattended = false, false // of an authorisation
	return call, nil
}

const leaseIntentSQL = `
UPDATE acquirer_intents
SET state = 'called', leased_until = clock_timestamp() + @lease
WHERE id = @intent AND finished_at IS NULL
RETURNING leased_until`

// Whoever died with the lease is found when that is over, even where the message is lost.
const runOperationSQL = `
UPDATE operations
SET status = 'running', due_at = @leased_until::timestamptz + @grace, waits = false
WHERE id = @id`

func (s *Store) lease(ctx context.Context, tx pgx.Tx, call *CardCall, lease time.Duration) error {
	err := tx.QueryRow(ctx, leaseIntentSQL, pgx.NamedArgs{"intent": call.Intent, "lease": lease}).Scan(&call.LeasedUntil)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, runOperationSQL, pgx.NamedArgs{"id": call.Operation, "leased_until": call.LeasedUntil, "grace": s.grace})
	return err
}

// park delays one operation without counting an attempt.
func (s *Store) park(ctx context.Context, tx pgx.Tx, step cardStep, delay Delay) error {
	batch := &pgx.Batch{}
	s.delayCalls(batch, []callDelay{{step, delay}})
	return tx.SendBatch(ctx, batch).Close()
}

// refuseCall ends an operation whose call must not be made any more: something else has
// settled the payment.
func (s *Store) refuseCall(ctx context.Context, tx pgx.Tx, call CardCall) (enqueued bool, err error) {
	refused := []*finishing{{CallResult: CallResult{
		CardCall: call, Outcome: Declined, Code: paymentMovedOn.code, Message: paymentMovedOn.message,
	}}}
	return s.settleCalls(ctx, tx, refused)
}

const releaseCallSQL = `
UPDATE acquirer_intents
SET state = CASE WHEN @unknown THEN 'unknown' ELSE 'intended' END, leased_until = CASE WHEN @unknown THEN now() END
WHERE id = @intent AND state = 'called' AND leased_until = @leased_until`

// ReleaseCall gives the lease back: the call was provably never sent. The message that began
// it is handed over again. A lease that was over, and that somebody else has by now, is left
// alone.
func (s *Store) ReleaseCall(ctx context.Context, call CardCall) error {
	_, err := s.pool.Exec(ctx, releaseCallSQL, pgx.NamedArgs{
		"intent": call.Intent, "unknown": call.Unknown, "leased_until": call.LeasedUntil,
	})
	return unavailable(wrap("release call "+call.Intent.String(), err))
}

// What is enqueued for now already is not enqueued again, however often somebody asks.
const lockUnknownSQL = `
SELECT o.id, o.type, o.seq
FROM acquirer_intents i
JOIN operations o ON o.id = i.operation_id
WHERE i.id = @intent AND i.state = 'unknown' AND ` + isOpen + ` AND o.due_at > now() + @grace
FOR NO KEY UPDATE OF o, i`

const endLeaseOfIntentSQL = `
UPDATE acquirer_intents
SET leased_until = now()
WHERE id = @intent AND state = 'unknown'`

// InquireNow makes an intent whose outcome is unknown be looked at at once: the acquirer has
// said that it has news. It does nothing about any other, so anybody may say so.
func (s *Store) InquireNow(ctx context.Context, intent IntentID) error {
	var enqueued bool
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		enqueued = false
		var step cardStep
		args := pgx.NamedArgs{"intent": intent, "grace": s.grace}
		err := tx.QueryRow(ctx, lockUnknownSQL, args).Scan(&step.operation, &step.kind, &step.seq)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		enqueued = true
		batch := &pgx.Batch{}
		batch.Queue(endLeaseOfIntentSQL, args)
		s.delayCalls(batch, []callDelay{{step, Delay{}}})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err == nil && enqueued {
		s.outboxFilled()
	}
	return unavailable(wrap("inquire about "+intent.String(), err))
}
