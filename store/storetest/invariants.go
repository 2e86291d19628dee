package storetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// invariants are promises; each query returns what breaks one, as text.
var invariants = []struct{ promise, sql string }{
	{"every balance is the sum of its transfers", `
		SELECT format('ledger account %s: balance %s, transfers %s', l.id, l.balance, coalesce(sum(e.amount), 0))
		FROM ledger_accounts l
		LEFT JOIN entries e ON e.ledger_account = l.id
		GROUP BY l.id
		HAVING l.balance <> coalesce(sum(e.amount), 0)`},
	{"the balances of a currency add up to zero", `
		SELECT format('currency %s: %s', l.currency, sum(l.balance))
		FROM ledger_accounts l
		GROUP BY l.currency
		HAVING sum(l.balance) <> 0`},
	{"nothing is below zero that may not be", `
		SELECT format('ledger account %s: %s', l.id, l.balance)
		FROM ledger_accounts l
		WHERE l.balance < 0 AND NOT l.may_go_negative`},
	{"a paid invoice has exactly one transfer, of its amount, from its payer to its recipient", `
		SELECT format('invoice %s: %s matching transfers', i.number, count(d.id))
		FROM invoices i
		LEFT JOIN transfers t ON t.reference = i.number AND t.kind = 'payment' AND t.amount = i.amount AND t.currency = i.currency
		LEFT JOIN ledger_accounts d ON d.id = t.debit AND d.kind = 'wallet' AND d.owner = i.payer_id
		     AND EXISTS (SELECT FROM ledger_accounts c WHERE c.id = t.credit AND c.kind = 'wallet' AND c.owner = i.recipient_id)
		WHERE i.state = 5
		GROUP BY i.number
		HAVING count(d.id) <> 1`},
	{"a payment's transfer belongs to a paid invoice and a succeeded operation", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		LEFT JOIN invoices i   ON i.number = t.reference AND i.state = 5
		LEFT JOIN operations o ON o.id = t.operation_id AND o.status = 'succeeded' AND o.resource = t.reference
		WHERE t.kind = 'payment' AND (i.number IS NULL OR o.id IS NULL)`},
	{"an operation has its transfer exactly if it succeeded", `
		SELECT format('operation %s is %s, its transfer is %s', o.id, o.status, coalesce(t.id::text, 'missing'))
		FROM operations o
		LEFT JOIN transfers t ON t.operation_id = o.id
		WHERE (o.status = 'succeeded' AND o.type IN ('invoice.pay', 'recharge.commit', 'recharge.late')) <> (t.id IS NOT NULL)`},
	{"a committed recharge has exactly one transfer, of its amount, from its provider to its account or to suspense", `
		SELECT format('recharge %s: %s matching transfers', r.id, count(d.id))
		FROM recharges r
		LEFT JOIN transfers t ON t.reference = r.id AND t.kind = 'recharge' AND t.amount = r.amount AND t.currency = r.currency
		LEFT JOIN ledger_accounts d ON d.id = t.debit AND d.kind = 'provider_clearing' AND d.owner = r.provider_id
		     AND EXISTS (SELECT FROM ledger_accounts c WHERE c.id = t.credit AND (c.kind = 'wallet' AND c.owner = r.account_id OR c.kind = 'suspense'))
		WHERE r.state = 'committed'
		GROUP BY r.id
		HAVING count(d.id) <> 1`},
	{"a recharge's transfer belongs to a committed recharge, a late one's to one that ended otherwise", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		LEFT JOIN recharges r ON r.id = t.reference AND (t.kind = 'recharge') = (r.state = 'committed') AND r.state <> 'created'
		LEFT JOIN operations o ON o.id = t.operation_id AND o.status = 'succeeded' AND o.resource = t.reference
		WHERE t.kind IN ('recharge', 'late_recharge') AND (r.id IS NULL OR o.id IS NULL)`},
	{"what lies in suspense has a note", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		JOIN ledger_accounts c ON c.id = t.credit AND c.kind = 'suspense'
		LEFT JOIN suspense_notes n ON n.operation_id = t.operation_id
		WHERE n.operation_id IS NULL`},
	{"a voucher is redeemed exactly if its recharge is committed, and free once that ended otherwise", `
		SELECT format('voucher %s: redeemed at %s, recharge %s', v.id, v.redeemed_at, r.state)
		FROM vouchers v
		JOIN recharges r ON r.id = v.recharge_id
		WHERE (v.redeemed_at IS NOT NULL) <> (r.state = 'committed') OR r.state IN ('rolled_back', 'expired')`},
	{"a provider's day is the sum of what counts against its limit", `
		SELECT format('provider %s on %s: %s, recharges %s', t.provider_id, t.day, t.total, coalesce(sum(r.amount), 0))
		FROM provider_days t
		LEFT JOIN recharges r ON r.provider_id = t.provider_id AND r.currency = t.currency AND r.limited_day = t.day AND r.state IN ('created', 'committed')
		GROUP BY t.provider_id, t.currency, t.day
		HAVING t.total <> coalesce(sum(r.amount), 0)`},
	{"an invoice is being paid exactly while one operation is open", `
		SELECT format('invoice %s: state %s, %s open operations', i.number, i.state, count(o.id))
		FROM invoices i
		LEFT JOIN operations o ON o.resource = i.number AND o.type = 'invoice.pay' AND o.finished_at IS NULL
		GROUP BY i.number
		HAVING count(o.id) <> CASE i.state WHEN 3 THEN 1 ELSE 0 END`},
	{"what is not final is looked at again", `
		SELECT format('operation %s: due %s', o.id, o.due_at)
		FROM operations o
		WHERE o.status IN ('accepted', 'running') AND o.due_at > now() + interval '1 day'`},
	{"no outbox row is older than a minute, unless the broker will not take it", `
		SELECT format('outbox row %s for %s: %s', o.id, o.message_id, now() - o.created_at)
		FROM outbox o
		WHERE o.created_at < now() - interval '1 minute' AND o.postponed = 0`},
	{"every tx_id is the hash of its transfer", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		WHERE t.tx_id <> sha256(convert_to(concat_ws(E'\n', 'quittance transfer 1', t.kind, t.reference, t.debit, t.credit,
		      t.amount, t.currency, (extract(epoch FROM t.created_at) * 1000000)::bigint), 'UTF8'))`},
}

// CheckInvariants fails the test where the database at this address breaks a promise.
func CheckInvariants(t testing.TB, url string) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, i := range invariants {
		rows, err := conn.Query(ctx, i.sql)
		if err != nil {
			t.Fatalf("%s: %v", i.promise, err)
		}
		broken, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", i.promise, err)
		}
		for n, b := range broken {
			if n == 10 {
				t.Errorf("… and %d more", len(broken)-n)
				break
			}
			t.Errorf("%s, but: %s", i.promise, b)
		}
	}
}
