package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// sources are the checks of what money moves for. That each transfer agrees with its source is
// seen by the transfers: here it is that it is there.
func (a *audit) sources() []*auditStep {
	return []*auditStep{
		newAuditStep("invoices", "invoices", "an invoice is paid exactly if it has its transfer, is being paid exactly while one operation is open, and its tx_id is its hash", a.auditInvoices),
		newAuditStep("recharges", "recharges", "a committed recharge has its transfer", a.auditRecharges),
		newAuditStep("vouchers", "vouchers", "a voucher is redeemed exactly if its recharge, of its amount, is committed", a.auditVouchers),
		newAuditStep("payments", "payments", "a payment by card has booked what it came to, once, and the acquirer approved it", a.auditPayments),
		newAuditStep("calls", "acquirer_intents", "what the acquirer captured or refunded is booked, and the call's end is its operation's", a.auditCalls),
		newAuditStep("operations", "operations", "an operation's end is what became of its invoice, recharge or call", a.auditOperations),
		newAuditStep("idempotency keys", "idempotency_keys", "the operation that an idempotency key answers with is there", a.auditKeys),
	}
}

const auditInvoicesSQL = `
SELECT i.number, i.client_id IS NOT NULL, i.state, t.id IS NOT NULL, o.open, coalesce(i.tx_id, ''),
       coalesce(owner.account_number, ''), coalesce(payer.account_number, ''), coalesce(recipient.account_number, ''),
       coalesce(i.amount, 0), i.currency, i.description, coalesce(i.name_cheque, ''), coalesce(i.date_pay_cheque, ''),
       coalesce(i.items, '[]'), i.created_at
FROM (
	SELECT f.number, f.client_id, f.state, f.tx_id, f.session_id, f.payer_id, f.recipient_id, f.amount, f.currency, f.description,
	       f.name_cheque, f.date_pay_cheque, f.items, f.created_at
	FROM invoices f
	WHERE f.number > @after::uuid
	ORDER BY f.number
	LIMIT @limit
) i
LEFT JOIN LATERAL (SELECT b.id FROM transfers b WHERE b.reference = i.number AND b.kind = 'payment' OFFSET 0) t ON true
CROSS JOIN LATERAL (
	SELECT count(*) AS open FROM operations p WHERE p.resource = i.number AND p.type = 'invoice.pay' AND p.finished_at IS NULL
) o
LEFT JOIN LATERAL (
	SELECT a.account_number FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = i.session_id OFFSET 0
) owner ON true
LEFT JOIN LATERAL (SELECT a.account_number FROM accounts a WHERE a.id = i.payer_id     OFFSET 0) payer ON true
LEFT JOIN LATERAL (SELECT a.account_number FROM accounts a WHERE a.id = i.recipient_id OFFSET 0) recipient ON true
ORDER BY i.number`

// auditedInvoice is an invoice with what a payment of it leaves.
type auditedInvoice struct {
	NewInvoice
	parties
	ofShop bool
	state  InvoiceState
	booked bool
	open   int // operations that pay it
	stored []byte
	items  []byte
}

func (i *auditedInvoice) fields() []any {
	return []any{
		&i.Number, &i.ofShop, &i.state, &i.booked, &i.open, &i.stored, &i.issuer.Number, &i.payer.Number, &i.recipient.Number,
		&i.Amount.Minor, &i.Amount.Currency, &i.Description, &i.NameCheque, &i.DatePayCheque, &i.items, &i.issuer.Now,
	}
}

func (a *audit) auditInvoices(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedInvoice]{
		sql: auditInvoicesSQL, args: pgx.NamedArgs{"after": [16]byte{}},
		fields: (*auditedInvoice).fields,
		next:   func(i *auditedInvoice) pgx.NamedArgs { return pgx.NamedArgs{"after": i.Number} },
		look:   (*auditedInvoice).look,
	}
	return pass.run(ctx, a, step)
}

func (i *auditedInvoice) look() *AuditFinding {
	row := "invoice " + i.Number.String()
	switch {
	case i.state == Paid && !i.booked:
		return &AuditFinding{row, "a transfer, since it is paid (state 5)", "there is none"}
	case i.state != Paid && i.booked:
		return &AuditFinding{row, "state 5 (paid), since it has its transfer", fmt.Sprintf("state %d", i.state)}
	case i.state == PaymentInProgress && i.open != 1:
		return &AuditFinding{row, "one open operation, since it is being paid (state 3)", fmt.Sprintf("%d", i.open)}
	case i.state != PaymentInProgress && i.open > 0:
		return &AuditFinding{row, "state 3 (being paid), since an operation is open", fmt.Sprintf("state %d", i.state)}
	case i.ofShop:
		return nil
	}
	return i.lookAtHash(row)
}

// lookAtHash needs the items as they were written: the database keeps their fields in an order
// of its own.
func (i *auditedInvoice) lookAtHash(row string) *AuditFinding {
	var items []Item
	err := json.Unmarshal(i.items, &items)
	if err != nil {
		return &AuditFinding{row, "items that can be read", err.Error()}
	}
	written, err := json.Marshal(items)
	if err != nil {
		return &AuditFinding{row, "items that can be written", err.Error()}
	}
	if want := invoiceTxID(i.NewInvoice, i.parties, written); !bytes.Equal(want[:], i.stored) {
		return &AuditFinding{row, fmt.Sprintf("tx_id %x, the hash of what the row says", want), fmt.Sprintf("tx_id %x", i.stored)}
	}
	return nil
}

const auditRechargesSQL = `
SELECT r.id, r.state, t.id IS NOT NULL
FROM (SELECT f.id, f.state FROM recharges f WHERE f.id > @after::uuid ORDER BY f.id LIMIT @limit) r
LEFT JOIN LATERAL (SELECT b.id FROM transfers b WHERE b.reference = r.id AND b.kind = 'recharge' OFFSET 0) t ON true
ORDER BY r.id`

type auditedRecharge struct {
	id     RechargeID
	state  RechargeState
	booked bool
}

func (a *audit) auditRecharges(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedRecharge]{
		sql: auditRechargesSQL, args: pgx.NamedArgs{"after": [16]byte{}},
		fields: func(r *auditedRecharge) []any { return []any{&r.id, &r.state, &r.booked} },
		next:   func(r *auditedRecharge) pgx.NamedArgs { return pgx.NamedArgs{"after": r.id} },
		look:   (*auditedRecharge).look,
	}
	return pass.run(ctx, a, step)
}

func (r *auditedRecharge) look() *AuditFinding {
	row := "recharge " + r.id.String()
	switch {
	case r.state == RechargeCommitted && !r.booked:
		return &AuditFinding{row, "a transfer, since it is committed", "there is none"}
	case r.state != RechargeCommitted && r.booked:
		return &AuditFinding{row, "state committed, since it has its transfer", "state " + string(r.state)}
	}
	return nil
}

const auditVouchersSQL = `
SELECT v.id, v.redeemed_at IS NOT NULL, (v.amount, v.currency) = (r.amount, r.currency), r.state
FROM (
	SELECT f.id, f.redeemed_at, f.amount, f.currency, f.recharge_id
	FROM vouchers f
	WHERE f.id > @after AND f.recharge_id IS NOT NULL
	ORDER BY f.id
	LIMIT @limit
) v
LEFT JOIN LATERAL (SELECT s.amount, s.currency, s.state FROM recharges s WHERE s.id = v.recharge_id OFFSET 0) r ON true
ORDER BY v.id`

type auditedVoucher struct {
	id       int64
	redeemed bool
	same     *bool // amount as its recharge; nil: there is no recharge
	state    *string
}

func (a *audit) auditVouchers(ctx context.Context, step *auditStep) error {
	pass := auditPass[auditedVoucher]{
		sql: auditVouchersSQL, args: pgx.NamedArgs{"after": int64(0)},
		fields: func(v *auditedVoucher) []any { return []any{&v.id, &v.redeemed, &v.same, &v.state} },
		next:   func(v *auditedVoucher) pgx.NamedArgs { return pgx.NamedArgs{"after": v.id} },
		look:   (*auditedVoucher).look,
	}
	return pass.run(ctx, a, step)
}

func (v *auditedVoucher) look() *AuditFinding {
	row := fmt.Sprintf("voucher %d", v.id)
	switch {
	case v.state == nil:
		return &AuditFinding{row, "the recharge that holds it", "there is none"}
	case v.redeemed != (RechargeState(*v.state) == RechargeCommitted):
		return &AuditFinding{row, fmt.Sprintf("redeemed exactly if its recharge is committed (it is %s)", *v.state), fmt.Sprintf("redeemed: %t", v.redeemed)}
	case v.same == nil || !*v.same:
		return &AuditFinding{row, "a recharge of its amount", "another amount"}
	}
	return nil
}
