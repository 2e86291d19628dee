package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// WaitingKind is what money waits in.
type WaitingKind string

// An invoice is paid from a wallet, a payment is one by card, and the payer's side of it, with
// the commission. A capture, a void and a reversal are what is to be done to a payment by card
// at the acquirer: what is captured or voided waits in its payment too.
const (
	WaitingInvoice  WaitingKind = "invoice"
	WaitingPayment  WaitingKind = "payment"
	WaitingCapture  WaitingKind = "capture"
	WaitingVoid     WaitingKind = "void"
	WaitingReversal WaitingKind = "reversal"
	WaitingRecharge WaitingKind = "recharge"
	WaitingSuspense WaitingKind = "suspense"
)

var waitingCalls = []string{string(Accepted), string(Running), string(Unknown), string(Dead)}

// WaitingStates are the states in which money of each kind may wait. In the state dead it waits
// for an operator. An invoice that nobody pays is no money that waits.
var WaitingStates = map[WaitingKind][]string{
	WaitingInvoice:  {"in_progress", string(Dead)},
	WaitingPayment:  {"open", "needs_confirmation", "pending", "holded", string(Dead)},
	WaitingCapture:  waitingCalls,
	WaitingVoid:     waitingCalls,
	WaitingReversal: waitingCalls,
	WaitingRecharge: {"created", "committing", "rolling_back", "late", string(Dead)},
	WaitingSuspense: {"suspense"},
}

// Waiting is the money of one currency that waits in one state.
type Waiting struct {
	Kind    WaitingKind
	State   string
	Amount  money.Amount
	Longest time.Duration // how long the oldest of it has been waiting
}

// Each look goes by an index of what is open, and from there to the one row that it is about,
// which OFFSET 0 leaves as the only way: however much has ended costs nothing. What expires is
// looked for by its expiry, which only a payment that waits has.
const (
	waitingInvoices = `
	SELECT 'invoice' AS kind, CASE o.status WHEN 'dead' THEN 'dead' ELSE 'in_progress' END AS state, i.currency, i.amount, now() - o.created_at AS age
	FROM operations o
	CROSS JOIN LATERAL (SELECT i.currency, i.amount FROM invoices i WHERE i.number = o.resource OFFSET 0) i
	WHERE o.type = 'invoice.pay' AND o.finished_at IS NULL`

	waitingCardSteps = `
	SELECT CASE o.type WHEN 'payment.complete' THEN 'capture' WHEN 'payment.cancel' THEN 'void' WHEN 'payment.expire' THEN 'void' ELSE 'payment' END,
	       CASE WHEN o.status = 'dead' THEN 'dead'
	            WHEN o.type IN ('payment.authorise', 'payment.confirm') THEN lower(p.payment_status)
	            WHEN i.state = 'unknown' THEN 'unknown'
	            ELSE o.status END,
	       p.currency, i.amount + i.commission, now() - o.created_at
	FROM operations o
	CROSS JOIN LATERAL (SELECT p.currency, p.payment_status FROM payments p WHERE p.id = o.resource OFFSET 0) p
	CROSS JOIN LATERAL (SELECT i.state, i.amount, i.commission FROM acquirer_intents i WHERE i.operation_id = o.id OFFSET 0) i
	WHERE o.type IN ('payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire') AND o.finished_at IS NULL`

	waitingReversals = `
	SELECT 'reversal', CASE WHEN o.status <> 'dead' AND i.state = 'unknown' THEN 'unknown' ELSE o.status END,
	       p.currency, i.amount + i.commission, now() - o.created_at
	FROM operations o
	CROSS JOIN LATERAL (SELECT p.currency FROM payments p WHERE p.id = o.resource OFFSET 0) p
	CROSS JOIN LATERAL (SELECT i.state, i.amount, i.commission FROM acquirer_intents i WHERE i.operation_id = o.id OFFSET 0) i
	WHERE o.type = 'payment.reverse' AND o.finished_at IS NULL`

	// A payment that is being confirmed is among the steps.
	waitingPayments = `
	SELECT 'payment', lower(p.payment_status), p.currency, p.amount + p.commission, clock.now - coalesce(p.paid_at, p.updated_at)
	FROM payments p
	CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock
	WHERE (p.expires_at IS NOT NULL) IS TRUE AND (p.payment_status <> 'NEEDS_CONFIRMATION' OR NOT EXISTS (
		SELECT
		FROM operations o
		WHERE ` + isOpenStep + ` AND o.type = 'payment.confirm'
		OFFSET 0
	))`

	waitingRecharges = `
	SELECT 'recharge', CASE o.status WHEN 'dead' THEN 'dead' ELSE ` + shownRechargeState + ` END,
	       r.currency, r.amount, coalesce(now() - o.created_at, clock.now - r.created_at)
	FROM recharges r
	CROSS JOIN (SELECT deciding_time() AS now OFFSET 0) clock` + openRechargeOperation + `
	WHERE (r.state = 'created') IS TRUE
	UNION ALL
	SELECT 'recharge', CASE o.status WHEN 'dead' THEN 'dead' ELSE 'late' END, r.currency, r.amount, now() - o.created_at
	FROM operations o
	CROSS JOIN LATERAL (SELECT r.currency, r.amount FROM recharges r WHERE r.id = o.resource OFFSET 0) r
	WHERE o.type = 'recharge.late' AND o.finished_at IS NULL`

	// Nothing leaves suspense yet, so the first that came in is the oldest.
	waitingSuspense = `
	SELECT 'suspense', 'suspense', l.currency, l.balance, now() - first.created_at
	FROM ledger_accounts l
	CROSS JOIN LATERAL (SELECT t.created_at FROM transfers t WHERE t.credit = l.id ORDER BY t.id LIMIT 1) first
	WHERE l.kind = 'suspense' AND l.owner = 0 AND l.balance > 0`

	moneyWaitingSQL = `
SELECT w.kind, w.state, w.currency, least(9223372036854775807, sum(w.amount))::bigint, greatest(max(w.age), '0')
FROM (` + waitingInvoices + `
	UNION ALL` + waitingCardSteps + `
	UNION ALL` + waitingReversals + `
	UNION ALL` + waitingPayments + `
	UNION ALL` + waitingRecharges + `
	UNION ALL` + waitingSuspense + `
) w
GROUP BY w.kind, w.state, w.currency
ORDER BY w.kind, w.state, w.currency`
)

// MoneyWaiting returns how much money waits in each state that is not final, where there is any.
func (w *Watch) MoneyWaiting(ctx context.Context) ([]Waiting, error) {
	ctx, cancel := context.WithTimeout(ctx, txTimeout)
	defer cancel()
	rows, _ := w.conn.Query(ctx, moneyWaitingSQL)
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Waiting, err error) {
		err = row.Scan(&m.Kind, &m.State, &m.Amount.Currency, &m.Amount.Minor, &m.Longest)
		return m, err
	})
	return found, unavailable(wrap("read what waits", err))
}
