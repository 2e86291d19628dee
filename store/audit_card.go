package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What belongs to a payment by card, by its calls of the acquirer. A sum that none can be is cut
// off.
const auditPaymentsSQL = `
SELECT p.id, p.type, p.payment_status, p.completed, p.commission, p.reversed, p.commission_reversed, p.reversing, p.commission_reversing,
       b.payments, b.paid, b.commissions, b.commission, b.reversed, b.commission_reversed,
       c.begun, c.captured, c.voided, c.reversing, c.commission_reversing
FROM (
	SELECT f.id, f.type, f.payment_status, f.completed, f.commission, f.reversed, f.commission_reversed, f.reversing, f.commission_reversing
	FROM payments f
	WHERE f.id > @after::uuid
	ORDER BY f.id
	LIMIT @limit
) p
CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE i.state = 'approved' AND i.call IN ('authorise', 'confirm')) AS begun,
	       count(*) FILTER (WHERE i.state = 'approved' AND i.call = 'capture') AS captured,
	       count(*) FILTER (WHERE i.state = 'approved' AND i.call = 'void') AS voided,
	       least(coalesce(sum(i.amount) FILTER (WHERE i.call = 'refund' AND i.finished_at IS NULL), 0), 9223372036854775807)::bigint AS reversing,
	       least(coalesce(sum(i.commission) FILTER (WHERE i.call = 'refund' AND i.finished_at IS NULL), 0), 9223372036854775807)::bigint AS commission_reversing
	FROM acquirer_intents i
	WHERE i.payment_id = p.id
	OFFSET 0
) c
CROSS JOIN LATERAL (
	SELECT count(*) FILTER (WHERE t.kind = 'card_payment') AS payments,
	       count(*) FILTER (WHERE t.kind = 'card_commission') AS commissions,
	       least(coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_payment'), 0), 9223372036854775807)::bigint AS paid,
	       least(coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_commission'), 0), 9223372036854775807)::bigint AS commission,
	       least(coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_reversal'), 0), 9223372036854775807)::bigint AS reversed,
	       least(coalesce(sum(t.amount) FILTER (WHERE t.kind = 'commission_reversal'), 0), 9223372036854775807)::bigint AS commission_reversed
	FROM acquirer_intents i
	CROSS JOIN LATERAL (SELECT x.kind, x.amount FROM transfers x WHERE x.reference = i.id OFFSET 0) t
	WHERE i.payment_id = p.id
	OFFSET 0
) b
ORDER BY p.id`

// cardSums are what a payment by card came to, in minor units.
type cardSums struct{ paid, commission, reversed, commissionReversed, reversing, commissionReversing int64 }

// auditedPayment is a payment by card with what was booked and called for it.
type auditedPayment struct {
	id                      PaymentID
	kind                    InvoiceType
	paymentStatus           string
	says, found             cardSums
	payments, commissions   int // transfers
	begun, captured, voided int // calls that were approved
}

func (p *auditedPayment) fields() []any {
	s, f := &p.says, &p.found
	return []any{
		&p.id, &p.kind, &p.paymentStatus, &s.paid, &s.commission, &s.reversed, &s.commissionReversed, &s.reversing, &s.commissionReversing,
		&p.payments, &f.paid, &p.commissions, &f.commission, &f.reversed, &f.commissionReversed,
		&p.begun, &p.captured, &p.voided, &f.reversing, &f.commissionReversing,
	}
}

func (a *audit) auditPayments(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedPayment]{
		sql: auditPaymentsSQL, args: pgx.NamedArgs{"after": [16]byte{}},
		fields: (*auditedPayment).fields,
		next:   func(p *auditedPayment) pgx.NamedArgs { return pgx.NamedArgs{"after": p.id} },
		look:   (*auditedPayment).look,
	}
	return pass.run(ctx, a, step)
}

func (p *auditedPayment) look() *AuditFinding {
	moved := p.paymentStatus == PaymentFinished || p.paymentStatus == PaymentReversed
	switch {
	case (moved || p.paymentStatus == PaymentHolded) && p.begun == 0:
		return p.finding("an authorisation that the acquirer approved", "there is none")
	case moved && p.kind == Hold && p.captured != 1:
		return p.finding("one capture that the acquirer approved", fmt.Sprintf("%d", p.captured))
	case p.paymentStatus == PaymentCanceled && p.voided == 0:
		return p.finding("a void that the acquirer approved", "there is none")
	case moved != (p.says.paid > 0):
		return p.finding("completed exactly if it is FINISHED or REVERSED", fmt.Sprintf("%d", p.says.paid))
	case p.payments > 1:
		return p.finding("one transfer of its amount", fmt.Sprintf("%d", p.payments))
	case p.commissions > 1:
		return p.finding("one transfer of its commission", fmt.Sprintf("%d", p.commissions))
	}
	return p.lookAtSums(moved)
}

func (p *auditedPayment) lookAtSums(moved bool) *AuditFinding {
	due, found := p.says, p.found
	if !moved {
		due.commission = 0 // until then it is what there would be
	}
	for _, sum := range []struct {
		of         string
		due, found int64
	}{
		{"transfers of what was completed", due.paid, found.paid},
		{"transfers of its commission", due.commission, found.commission},
		{"transfers of what was reversed", due.reversed, found.reversed},
		{"transfers of the commission that was reversed", due.commissionReversed, found.commissionReversed},
		{"open refunds", due.reversing, found.reversing},
		{"open refunds of commission", due.commissionReversing, found.commissionReversing},
	} {
		if sum.due != sum.found {
			return p.finding(fmt.Sprintf("%s: %d minor units in all", sum.of, sum.due), fmt.Sprintf("%d", sum.found))
		}
	}
	return nil
}

func (p *auditedPayment) finding(expected, found string) *AuditFinding {
	return &AuditFinding{fmt.Sprintf("payment %s (%s)", p.id, p.paymentStatus), expected, found}
}

const auditCallsSQL = `
SELECT i.id, i.call, i.state, i.commission > 0, coalesce(o.status, ''), coalesce(o.resource = i.payment_id, false), a.id IS NOT NULL, c.id IS NOT NULL
FROM (
	SELECT f.id, f.call, f.state, f.commission, f.operation_id, f.payment_id
	FROM acquirer_intents f
	WHERE f.id > @after::uuid
	ORDER BY f.id
	LIMIT @limit
) i
LEFT JOIN LATERAL (SELECT p.status, p.resource FROM operations p WHERE p.id = i.operation_id OFFSET 0) o ON true
LEFT JOIN LATERAL (
	SELECT t.id FROM transfers t
	WHERE t.reference = i.id AND t.kind = CASE i.call WHEN 'refund' THEN 'card_reversal' ELSE 'card_payment' END
	OFFSET 0
) a ON true
LEFT JOIN LATERAL (
	SELECT t.id FROM transfers t
	WHERE t.reference = i.id AND t.kind = CASE i.call WHEN 'refund' THEN 'commission_reversal' ELSE 'card_commission' END
	OFFSET 0
) c ON true
ORDER BY i.id`

// auditedCall is a call of the acquirer with its operation and what was booked for it.
type auditedCall struct {
	id             IntentID
	call           Call
	state          string
	hasCommission  bool
	status         Status // of its operation; "": there is none
	samePayment    bool
	booked, andFee bool
}

func (a *audit) auditCalls(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedCall]{
		sql: auditCallsSQL, args: pgx.NamedArgs{"after": [16]byte{}},
		fields: func(c *auditedCall) []any {
			return []any{&c.id, &c.call, &c.state, &c.hasCommission, &c.status, &c.samePayment, &c.booked, &c.andFee}
		},
		next: func(c *auditedCall) pgx.NamedArgs { return pgx.NamedArgs{"after": c.id} },
		look: (*auditedCall).look,
	}
	return pass.run(ctx, a, step)
}

func (c *auditedCall) look() *AuditFinding {
	row := fmt.Sprintf("call of the acquirer %s (%s, %s)", c.id, c.call, c.state)
	moves := c.state == "approved" && (c.call == CallCapture || c.call == CallRefund)
	switch {
	case moves && !c.booked:
		return &AuditFinding{row, "a transfer of what the acquirer moved", "there is none"}
	case c.booked && c.hasCommission && !c.andFee:
		return &AuditFinding{row, "a transfer of the commission", "there is none"}
	case c.andFee && !(c.booked && c.hasCommission):
		return &AuditFinding{row, "no transfer of a commission", "there is one"}
	case !c.samePayment:
		return &AuditFinding{row, "an operation of its payment", "there is none"}
	case (c.state == "approved") != (c.status == Succeeded) || (c.state == "refused") != (c.status == Failed):
		return &AuditFinding{row, "an operation that ended as the call did", "it is " + string(c.status)}
	}
	return nil
}
