package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// Each look into another table is one into its index, however few rows the planner remembers:
// OFFSET 0. Only what the kind of transfer is about is looked at.
const auditTransfersSQL = `
SELECT t.id, t.kind, t.reference, t.operation_id, t.debit, t.credit, t.amount, t.currency, t.created_at, t.tx_id,
       coalesce(d.kind, ''), coalesce(d.owner, 0), coalesce(d.currency, 0), coalesce(c.kind, ''), coalesce(c.owner, 0), coalesce(c.currency, 0),
       coalesce(o.type, ''), coalesce(o.status, ''), o.resource,
       coalesce(s.state, ''), coalesce(s.amount, 0), coalesce(s.currency, 0), coalesce(s.payer, 0), coalesce(s.payee, 0),
       coalesce(s.p2p, false), s.operation_id, s.payment_id, n.noted IS NOT NULL
FROM (
	SELECT f.id, f.kind, f.reference, f.operation_id, f.debit, f.credit, f.amount, f.currency, f.created_at, f.tx_id
	FROM transfers f
	WHERE f.id > @after AND f.id <= @mark
	ORDER BY f.id
	LIMIT @limit
) t
LEFT JOIN LATERAL (SELECT l.kind, l.owner, l.currency FROM ledger_accounts l WHERE l.id = t.debit  OFFSET 0) d ON true
LEFT JOIN LATERAL (SELECT l.kind, l.owner, l.currency FROM ledger_accounts l WHERE l.id = t.credit OFFSET 0) c ON true
LEFT JOIN LATERAL (SELECT p.type, p.status, p.resource FROM operations p WHERE p.id = t.operation_id OFFSET 0) o ON true
LEFT JOIN LATERAL (
	SELECT i.state::text AS state, i.amount, i.currency, i.payer_id AS payer, i.recipient_id AS payee, false AS p2p,
	       NULL::uuid AS operation_id, NULL::uuid AS payment_id
	FROM invoices i
	WHERE t.kind = 'payment' AND i.number = t.reference
	UNION ALL
	SELECT r.state, r.amount, r.currency, r.provider_id, r.account_id, false, NULL, NULL
	FROM recharges r
	WHERE t.kind IN ('recharge', 'late_recharge') AND r.id = t.reference
	UNION ALL
	SELECT a.state || ' ' || a.call, CASE WHEN t.kind IN ('card_commission', 'commission_reversal') THEN a.commission ELSE a.amount END,
	       p.currency, 0, p.client_id, p.system_type = 'P2P', a.operation_id, a.payment_id
	FROM acquirer_intents a
	CROSS JOIN LATERAL (SELECT y.client_id, y.system_type, y.currency FROM payments y WHERE y.id = a.payment_id OFFSET 0) p
	WHERE t.kind IN ('card_payment', 'card_commission', 'card_reversal', 'commission_reversal') AND a.id = t.reference
	OFFSET 0
) s ON true
LEFT JOIN LATERAL (
	SELECT true AS noted FROM suspense_notes q WHERE c.kind = 'suspense' AND q.operation_id = t.operation_id OFFSET 0
) n ON true
ORDER BY t.id`

const newestTransferSQL = `
SELECT coalesce(max(t.id), 0)
FROM transfers t`

// auditedTransfer is a transfer with all that it must agree with. What is not there is zero.
type auditedTransfer struct {
	id int64
	transfer
	stored    []byte // its tx_id
	from, to  ledgerKey
	command   OperationType // of the operation
	status    Status
	about     [16]byte // the operation's resource
	source    auditedSource
	explained bool // by a note, if it lies in suspense
}

// auditedSource is what a transfer was made for.
type auditedSource struct {
	state        string
	amount       money.Amount
	payer, payee int64
	p2p          bool
	operation    OperationID // of a call of the acquirer
	payment      PaymentID
}

func (t *auditedTransfer) fields() []any {
	s := &t.source
	return []any{
		&t.id, &t.kind, &t.reference, &t.operation, &t.debit, &t.credit, &t.amount.Minor, &t.amount.Currency, &t.at, &t.stored,
		&t.from.kind, &t.from.owner, &t.from.currency, &t.to.kind, &t.to.owner, &t.to.currency,
		&t.command, &t.status, (*OperationID)(&t.about),
		&s.state, &s.amount.Minor, &s.amount.Currency, &s.payer, &s.payee, &s.p2p, &s.operation, &s.payment, &t.explained,
	}
}

// auditTransfers looks at every transfer that is there when it begins, and adds up what each
// account should hold by then.
func (a *audit) auditTransfers(ctx context.Context, step *auditStep) error {
	err := a.store.inSnapshot(ctx, readTimeout, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, newestTransferSQL).Scan(&a.mark)
	})
	if err != nil {
		return err
	}
	pass := auditPass[auditedTransfer]{
		sql: auditTransfersSQL, args: pgx.NamedArgs{"after": int64(0), "mark": a.mark},
		fields: (*auditedTransfer).fields,
		next:   func(t *auditedTransfer) pgx.NamedArgs { return pgx.NamedArgs{"after": t.id} },
		look: func(t *auditedTransfer) *AuditFinding {
			a.sums[t.debit] -= t.amount.Minor
			a.sums[t.credit] += t.amount.Minor
			return t.look()
		},
	}
	return pass.run(ctx, a, step)
}

// dueTransfer is what a transfer of some kind must be.
type dueTransfer struct {
	source   string   // what it was made for, in words
	states   []string // of the source
	commands []OperationType
	from, to ledgerKey
}

// due says what the transfer must be, given its source.
func (t *auditedTransfer) due() (due dueTransfer, known bool) {
	s, currency := t.source, t.amount.Currency
	wallet := ledgerKey{walletKind, s.payee, currency}
	suspense := ledgerKey{suspenseKind, 0, currency}
	provider := ledgerKey{clearingKind, s.payer, currency}
	switch t.kind {
	case PaymentTransfer:
		return dueTransfer{"invoice", []string{"5"}, []OperationType{InvoicePay}, ledgerKey{walletKind, s.payer, currency}, wallet}, true
	case RechargeTransfer:
		if t.to == suspense { // the account was closed when the money came
			wallet = suspense
		}
		return dueTransfer{"recharge", []string{"committed"}, []OperationType{RechargeCommit}, provider, wallet}, true
	case LateRechargeTransfer:
		return dueTransfer{"recharge", []string{"rolled_back", "expired"}, []OperationType{RechargeLate}, provider, suspense}, true
	}
	return t.dueOfCard()
}

// dueOfCard says it of what was booked for a call of the acquirer.
func (t *auditedTransfer) dueOfCard() (due dueTransfer, known bool) {
	acquirer := ledgerKey{acquirerClearingKind, 0, t.amount.Currency}
	other := ledgerKey{merchantKind, t.source.payee, t.amount.Currency}
	if t.source.p2p {
		other.kind = acquirerClearingKind
	}
	if t.kind == CardCommissionTransfer || t.kind == CommissionReversalTransfer {
		other = ledgerKey{commissionKind, 0, t.amount.Currency}
	}
	switch t.kind {
	case CardPaymentTransfer, CardCommissionTransfer:
		return dueTransfer{
			"call of the acquirer",
			[]string{"approved authorise", "approved confirm", "approved capture"},
			[]OperationType{PaymentAuthorise, PaymentConfirm, PaymentComplete},
			acquirer, other,
		}, true
	case CardReversalTransfer, CommissionReversalTransfer:
		return dueTransfer{"call of the acquirer", []string{"approved refund"}, []OperationType{PaymentReverse}, other, acquirer}, true
	}
	return dueTransfer{}, false
}

// look finds what is wrong with the transfer, if anything is.
func (t *auditedTransfer) look() *AuditFinding {
	if want := t.txID(); !bytes.Equal(want, t.stored) {
		return t.finding(fmt.Sprintf("tx_id %x, the hash of what the row says", want), fmt.Sprintf("tx_id %x", t.stored))
	}
	for _, side := range []struct {
		name    string
		id      LedgerAccountID
		account ledgerKey
	}{{"debited", t.debit, t.from}, {"credited", t.credit, t.to}} {
		if side.account.kind == "" || side.account.currency != t.amount.Currency {
			return t.finding(fmt.Sprintf("the %s ledger account %d, in %s", side.name, side.id, t.amount.Currency.Alpha()), side.account.text())
		}
	}
	if t.kind == OpeningTransfer {
		return t.lookAtOpening()
	}
	due, known := t.due()
	if !known {
		return t.finding("a kind of transfer that is known", string(t.kind))
	}
	return t.lookAtSource(due)
}

func (t *auditedTransfer) lookAtOpening() *AuditFinding {
	if house := (ledgerKey{clearingKind, 0, t.amount.Currency}); t.from != house || t.to.kind != walletKind {
		return t.finding("from "+house.text()+" to a wallet", "from "+t.from.text()+" to "+t.to.text())
	}
	return nil
}

func (t *auditedTransfer) lookAtSource(due dueTransfer) *AuditFinding {
	s := t.source
	source := due.source + " " + InvoiceNumber(t.reference).String()
	states := strings.Join(due.states, " or ")
	switch {
	case s.state == "":
		return t.finding("the "+source+" that it was made for", "there is none")
	case !slices.Contains(due.states, s.state):
		return t.finding(source+" in state "+states, "it is in state "+s.state)
	case s.amount != t.amount:
		return t.finding(s.amount.String()+", as the "+source+" says", t.amount.String())
	case t.from != due.from:
		return t.finding("debited: "+due.from.text(), t.from.text())
	case t.to != due.to:
		return t.finding("credited: "+due.to.text(), t.to.text())
	case t.to.kind == suspenseKind && !t.explained:
		return t.finding("a note about what lies in suspense", "there is none")
	}
	return t.lookAtOperation(due)
}

func (t *auditedTransfer) lookAtOperation(due dueTransfer) *AuditFinding {
	about := t.reference
	if due.source == "call of the acquirer" {
		about = t.source.payment
		if t.source.operation != t.operation {
			return t.finding("operation "+t.source.operation.String()+", which the call was made for", "operation "+t.operation.String())
		}
	}
	if t.command == "" {
		return t.finding("operation "+t.operation.String(), "there is none")
	}
	if t.status != Succeeded || !slices.Contains(due.commands, t.command) || t.about != about {
		return t.finding(
			fmt.Sprintf("operation %s: %s of %s, succeeded", t.operation, joined(due.commands), InvoiceNumber(about)),
			fmt.Sprintf("%s of %s, %s", t.command, InvoiceNumber(t.about), t.status))
	}
	return nil
}

func joined(commands []OperationType) string {
	words := make([]string, len(commands))
	for i, c := range commands {
		words[i] = string(c)
	}
	return strings.Join(words, " or ")
}

func (t *auditedTransfer) finding(expected, found string) *AuditFinding {
	return &AuditFinding{Row: fmt.Sprintf("transfer %d (%s)", t.id, t.kind), Expected: expected, Found: found}
}

// text names a ledger account by what it is for.
func (k ledgerKey) text() string {
	switch {
	case k.kind == "":
		return "no ledger account"
	case k.owner == 0:
		return fmt.Sprintf("the house's %s in %s", k.kind, k.currency.Alpha())
	}
	return fmt.Sprintf("the %s of %d in %s", k.kind, k.owner, k.currency.Alpha())
}
