package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// What is to be told or mailed moves no money.
const auditOperationsSQL = `
SELECT o.id, o.type, o.status, coalesce(s.state, ''), coalesce(s.booked, false)
FROM (
	SELECT f.id, f.type, f.status, f.resource
	FROM operations f
	WHERE f.id > @after::uuid AND f.type NOT IN ('callback.send', 'push.send', 'receipt.send')
	ORDER BY f.id
	LIMIT @limit
) o
LEFT JOIN LATERAL (
	SELECT i.state::text AS state, EXISTS (
		SELECT FROM transfers t WHERE t.reference = o.resource AND t.kind = 'payment' AND t.operation_id = o.id OFFSET 0) AS booked
	FROM invoices i
	WHERE o.type = 'invoice.pay' AND i.number = o.resource
	UNION ALL
	SELECT r.state, EXISTS (
		SELECT FROM transfers t
		WHERE t.reference = o.resource AND t.kind = CASE o.type WHEN 'recharge.late' THEN 'late_recharge' ELSE 'recharge' END AND t.operation_id = o.id
		OFFSET 0)
	FROM recharges r
	WHERE o.type IN ('recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late') AND r.id = o.resource
	UNION ALL
	SELECT a.state, false
	FROM acquirer_intents a
	WHERE o.type IN ('payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire', 'payment.reverse')
	  AND a.operation_id = o.id
	OFFSET 0
) s ON true
ORDER BY o.id`

// auditedOperation is an operation with what it was about.
type auditedOperation struct {
	id     OperationID
	kind   OperationType
	status Status
	state  string // of the invoice, the recharge or the call; "": there is none
	booked bool   // there is a transfer of this operation
}

func (a *audit) auditOperations(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedOperation]{
		sql: auditOperationsSQL, args: pgx.NamedArgs{"after": [16]byte{}},
		fields: func(o *auditedOperation) []any { return []any{&o.id, &o.kind, &o.status, &o.state, &o.booked} },
		next:   func(o *auditedOperation) pgx.NamedArgs { return pgx.NamedArgs{"after": o.id} },
		look:   (*auditedOperation).look,
	}
	return pass.run(ctx, a, step)
}

// leavesIn are the states in which an operation that succeeded has left what it was about.
var leavesIn = map[OperationType][]string{
	InvoicePay: {"5"}, RechargeCommit: {"committed"}, RechargeRollback: {"rolled_back"}, RechargeExpire: {"expired"},
	RechargeLate:     {"rolled_back", "expired"},
	PaymentAuthorise: {"approved"}, PaymentConfirm: {"approved"}, PaymentComplete: {"approved"},
	PaymentCancel: {"approved"}, PaymentExpire: {"approved"}, PaymentReverse: {"approved"},
}

func (o *auditedOperation) look() *AuditFinding {
	moves := o.kind == InvoicePay || o.kind == RechargeCommit || o.kind == RechargeLate
	about, _, _ := strings.Cut(string(o.kind), ".")
	if about == "payment" {
		about = "call of the acquirer"
	}
	switch {
	case o.state == "":
		return o.finding("the "+about+" that it is about", "there is none")
	case o.status == Succeeded && !slices.Contains(leavesIn[o.kind], o.state):
		return o.finding("its "+about+" in state "+strings.Join(leavesIn[o.kind], " or "), "state "+o.state)
	case o.status == Succeeded && moves && !o.booked:
		return o.finding("its transfer", "there is none")
	case o.status != Succeeded && o.booked:
		return o.finding("no transfer, since it has not succeeded", "there is one")
	}
	return nil
}

func (o *auditedOperation) finding(expected, found string) *AuditFinding {
	return &AuditFinding{fmt.Sprintf("operation %s (%s, %s)", o.id, o.kind, o.status), expected, found}
}

// Operations of callbacks are forgotten after ninety days.
const auditKeysSQL = `
SELECT k.scope, k.key, k.operation_id, o.id IS NOT NULL OR k.created_at < now() - interval '89 days'
FROM (
	SELECT f.scope, f.key, f.operation_id, f.created_at
	FROM idempotency_keys f
	WHERE (f.scope, f.key) > (@scope::bytea, @key::text) AND f.operation_id IS NOT NULL
	ORDER BY f.scope, f.key
	LIMIT @limit
) k
LEFT JOIN LATERAL (SELECT p.id FROM operations p WHERE p.id = k.operation_id OFFSET 0) o ON true
ORDER BY k.scope, k.key`

func (a *audit) auditKeys(ctx context.Context, step *auditStep) error {
	type key struct {
		scope     []byte
		key       string
		operation OperationID
		kept      bool
	}
	pass := auditPass[key]{
		sql: auditKeysSQL, args: pgx.NamedArgs{"scope": []byte{}, "key": ""},
		fields: func(k *key) []any { return []any{&k.scope, &k.key, &k.operation, &k.kept} },
		next:   func(k *key) pgx.NamedArgs { return pgx.NamedArgs{"scope": k.scope, "key": k.key} },
		look: func(k *key) *AuditFinding {
			if k.kept {
				return nil
			}
			return &AuditFinding{fmt.Sprintf("idempotency key %q", k.key), "operation " + k.operation.String(), "there is none"}
		},
	}
	return pass.run(ctx, a, step)
}
