package storetest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store"
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
	{"an operation has its transfer exactly if it succeeded, but for those on cards", `
		SELECT format('operation %s is %s, its transfer is %s', o.id, o.status, coalesce(t.id::text, 'missing'))
		FROM operations o
		LEFT JOIN transfers t ON t.operation_id = o.id
		WHERE o.type NOT LIKE 'payment.%' AND (o.status = 'succeeded' AND o.type IN ('invoice.pay', 'recharge.commit', 'recharge.late')) <> (t.id IS NOT NULL)`},
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
		WHERE o.status IN ('accepted', 'running') AND o.due_at > now() + interval '1 day' * CASE o.type WHEN 'callback.send' THEN 2 ELSE 1 END
		  AND NOT EXISTS (SELECT FROM callbacks c WHERE c.id = o.id AND c.held AND o.due_at = 'infinity')`},
	{"a dead operation has the dead letter of its death, which waits for an operator", `
		SELECT format('operation %s (%s) at seq %s', o.id, o.type, o.seq)
		FROM operations o
		LEFT JOIN dead_letters d ON d.operation_id = o.id AND d.seq = o.seq AND d.resolved_at IS NULL
		WHERE o.status = 'dead' AND d.id IS NULL`},
	{"a dead letter that was replayed has an operation that went on", `
		SELECT format('dead letter %s of operation %s at seq %s', d.id, d.operation_id, d.seq)
		FROM dead_letters d
		JOIN operations o ON o.id = d.operation_id
		WHERE d.resolution = 'replayed' AND o.seq <= d.seq`},
	{"a dead letter that was dropped has an operation that failed, or that it was not about any more", `
		SELECT format('dead letter %s of operation %s, which is %s', d.id, d.operation_id, o.status)
		FROM dead_letters d
		JOIN operations o ON o.id = d.operation_id AND o.seq = d.seq
		WHERE d.resolution = 'dropped' AND o.status NOT IN ('failed', 'succeeded')`},
	{"no outbox row is older than a minute, unless the broker will not take it", `
		SELECT format('outbox row %s for %s: %s', o.id, o.message_id, now() - o.created_at)
		FROM outbox o
		WHERE o.created_at < now() - interval '1 minute' AND o.postponed = 0`},
	{"a payment by card has the transfers of what it came to, each once, between the right accounts", `
		SELECT format('payment %s is %s: %s', p.id, p.status, string_agg(format('%s %s', t.kind, t.amount), ', '))
		FROM payments p
		LEFT JOIN (
			SELECT i.payment_id, t.kind, t.amount, d.kind AS debit, d.owner AS debited, c.kind AS credit, c.owner AS credited
			FROM acquirer_intents i
			JOIN transfers t       ON t.reference = i.id
			JOIN ledger_accounts d ON d.id = t.debit
			JOIN ledger_accounts c ON c.id = t.credit
		) t ON t.payment_id = p.id
		CROSS JOIN LATERAL (SELECT CASE p.system_type WHEN 'P2P' THEN 'acquirer_clearing' ELSE 'merchant' END AS kind) mine
		CROSS JOIN LATERAL (SELECT CASE WHEN p.completed > 0 THEN p.commission ELSE 0 END AS commission) due
		GROUP BY p.id, due.commission
		HAVING (count(*) FILTER (WHERE t.kind = 'card_payment'), coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_payment'
		            AND (t.debit, t.debited, t.credit, t.credited) = ('acquirer_clearing', 0, mine.kind, p.client_id)), 0))
		       <> ((p.completed > 0)::int, p.completed)
		    OR (count(*) FILTER (WHERE t.kind = 'card_commission'), coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_commission'
		            AND (t.debit, t.debited, t.credit, t.credited) = ('acquirer_clearing', 0, 'commission', 0)), 0))
		       <> ((due.commission > 0)::int, due.commission)
		    OR coalesce(sum(t.amount) FILTER (WHERE t.kind = 'card_reversal'
		            AND (t.debit, t.debited, t.credit, t.credited) = (mine.kind, p.client_id, 'acquirer_clearing', 0)), 0) <> p.reversed
		    OR coalesce(sum(t.amount) FILTER (WHERE t.kind = 'commission_reversal'
		            AND (t.debit, t.debited, t.credit, t.credited) = ('commission', 0, 'acquirer_clearing', 0)), 0) <> p.commission_reversed`},
	{"a card's transfer belongs to an approved call, and to its operation, that succeeded", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		LEFT JOIN acquirer_intents i ON i.id = t.reference AND i.operation_id = t.operation_id AND i.state = 'approved'
		     AND (t.kind IN ('card_payment', 'card_commission') AND i.call IN ('authorise', 'confirm', 'capture') OR t.kind LIKE '%reversal' AND i.call = 'refund')
		LEFT JOIN operations o ON o.id = t.operation_id AND o.status = 'succeeded' AND o.resource = i.payment_id
		WHERE t.kind IN ('card_payment', 'card_commission', 'card_reversal', 'commission_reversal') AND o.id IS NULL`},
	{"an approved capture or refund has its transfer", `
		SELECT format('intent %s: %s', i.id, i.call)
		FROM acquirer_intents i
		LEFT JOIN transfers t ON t.reference = i.id AND t.amount = i.amount
		     AND t.kind = CASE i.call WHEN 'capture' THEN 'card_payment' ELSE 'card_reversal' END
		WHERE i.state = 'approved' AND i.call IN ('capture', 'refund') AND t.id IS NULL`},
	{"an operation on a payment by card has its intent, which is known exactly if the operation ended, and so", `
		SELECT format('operation %s is %s, its intent %s is %s', o.id, o.status, i.id, i.state)
		FROM operations o
		LEFT JOIN acquirer_intents i ON i.operation_id = o.id AND i.payment_id = o.resource
		WHERE o.type LIKE 'payment.%' AND (i.id IS NULL OR (i.state = 'approved') <> (o.status = 'succeeded') OR (i.state = 'refused') <> (o.status = 'failed'))`},
	{"an authorisation that may still be made has its card", `
		SELECT format('intent %s', i.id)
		FROM acquirer_intents i
		WHERE i.call = 'authorise' AND i.finished_at IS NULL AND i.secret IS NULL`},
	{"a payment that is open or pending has exactly one open, or dead, step", `
		SELECT format('payment %s is %s, with %s steps', p.id, p.payment_status, count(o.id))
		FROM payments p
		LEFT JOIN operations o ON o.resource = p.id AND o.type IN ('payment.authorise', 'payment.confirm') AND o.finished_at IS NULL
		WHERE p.payment_status IN ('OPEN', 'PENDING')
		GROUP BY p.id
		HAVING count(o.id) <> 1`},
	{"a payment is pending only while the answer to its step is unknown", `
		SELECT format('payment %s', p.id)
		FROM payments p
		WHERE p.payment_status = 'PENDING'
		  AND NOT EXISTS (SELECT FROM acquirer_intents i WHERE i.payment_id = p.id AND i.call IN ('authorise', 'confirm') AND i.finished_at IS NULL AND i.inquiries > 0)`},
	{"what waits for a payer or a shop has its end, and nothing else has", `
		SELECT format('payment %s is %s: expires at %s', p.id, p.payment_status, p.expires_at)
		FROM payments p
		WHERE (p.payment_status IN ('NEEDS_CONFIRMATION', 'HOLDED')) <> (p.expires_at IS NOT NULL)`},
	{"what is being reversed is the sum of the open reversals", `
		SELECT format('payment %s: %s and %s, open %s and %s', p.id, p.reversing, p.commission_reversing, coalesce(sum(i.amount), 0), coalesce(sum(i.commission), 0))
		FROM payments p
		LEFT JOIN acquirer_intents i ON i.payment_id = p.id AND i.call = 'refund' AND i.finished_at IS NULL
		GROUP BY p.id
		HAVING (p.reversing, p.commission_reversing) <> (coalesce(sum(i.amount), 0), coalesce(sum(i.commission), 0))`},
	{"a subscription goes on from a payment that was finished, and ends with its last try", `
		SELECT format('subscription %s: paid at %s, %s tries, active %s', u.invoice_id, u.paid_at, u.tries, u.active)
		FROM subscriptions u
		WHERE (u.paid_at IS NOT NULL) <> EXISTS (SELECT FROM payments p WHERE p.invoice_id = u.invoice_id AND p.completed > 0)
		   OR u.tries NOT BETWEEN 0 AND 4 OR u.tries = 4 AND u.active`},
	{"a receipt is mailed of what was finished", `
		SELECT format('operation %s', o.id)
		FROM operations o
		LEFT JOIN payments p ON p.id = o.resource AND p.completed > 0
		WHERE o.type = 'receipt.send' AND p.id IS NULL`},
	{"a callback is held exactly while its operation waits for nothing else", `
		SELECT format('callback %s: held %s, %s, waits %s, due %s', c.id, c.held, o.status, o.waits, o.due_at)
		FROM callbacks c
		JOIN operations o ON o.id = c.id
		WHERE c.held <> (o.status IN ('accepted', 'running') AND o.waits AND o.due_at = 'infinity')`},
	{"what was delivered has the attempt that did it", `
		SELECT format('callback %s', c.id)
		FROM callbacks c
		JOIN operations o ON o.id = c.id
		WHERE o.status = 'succeeded' AND NOT EXISTS (SELECT FROM callback_attempts a WHERE a.callback_id = c.id AND a.outcome = 'delivered')`},
	{"every attempt of a callback that counts is kept", `
		SELECT format('callback %s: %s attempts', c.id, o.attempts)
		FROM callbacks c
		JOIN operations o ON o.id = c.id
		WHERE o.attempts > (SELECT count(*) FROM callback_attempts a WHERE a.callback_id = c.id AND a.attempt > 0)
		                 + (SELECT count(*) FROM attempts a WHERE a.operation_id = c.id)`},
	{"what a payment by card came to was told once, and every reversal", `
		SELECT format('payment %s is %s: %s events of that, %s of %s reversals', p.id, p.payment_status, told.came_to, told.reversals, given.back)
		FROM payments p
		LEFT JOIN (
			SELECT p.id, count(*) FILTER (WHERE e.type = 'payment.' || lower(p.payment_status) AND (e.body::json #>> '{data,paymentStatus}') = p.payment_status) AS came_to,
			       count(*) FILTER (WHERE e.type IN ('payment.partly_reversed', 'payment.reversed')) AS reversals
			FROM payments p
			JOIN events e ON e.resource = p.id AND e.client_id = p.client_id
			GROUP BY p.id
		) told ON told.id = p.id
		LEFT JOIN (
			SELECT i.payment_id, count(*) FILTER (WHERE i.call = 'refund') AS back, bool_or(i.reference = 'demo') AS demo
			FROM acquirer_intents i
			WHERE i.state = 'approved'
			GROUP BY i.payment_id
		) given ON given.payment_id = p.id
		WHERE given.demo IS NOT TRUE
		  AND (coalesce(told.came_to, 0) <> (p.payment_status NOT IN ('OPEN', 'NEEDS_CONFIRMATION', 'PENDING'))::int
		       OR coalesce(told.reversals, 0) <> coalesce(given.back, 0))`},
	{"a recharge that ended was told once, to who created it", `
		SELECT format('recharge %s is %s: %s events', r.id, r.state, count(e.id))
		FROM recharges r
		LEFT JOIN events e ON e.resource = r.id AND e.type = 'recharge.' || r.state AND e.client_id = r.client_id
		GROUP BY r.id
		HAVING count(e.id) <> (r.state <> 'created')::int`},
	{"an invoice that was paid from a wallet was told once, and is nobody's", `
		SELECT format('invoice %s: state %s, %s events', i.number, i.state, count(e.id))
		FROM invoices i
		LEFT JOIN events e ON e.resource = i.number AND e.type = 'invoice.paid' AND e.client_id IS NULL
		GROUP BY i.number
		HAVING count(e.id) <> (i.state = 5)::int`},
	{"a subscription that ended was told once", `
		SELECT format('subscription %s: active %s, %s events', u.invoice_id, u.active, count(e.id))
		FROM subscriptions u
		LEFT JOIN events e ON e.resource = u.invoice_id AND e.type = 'subscription.ended'
		GROUP BY u.invoice_id
		HAVING count(e.id) <> (NOT u.active)::int`},
	{"an event's body says what it is", `
		SELECT format('event %s: %s', e.id, e.body)
		FROM events e
		WHERE (e.body::json ->> 'id', e.body::json ->> 'type') <> (e.id::text, e.type)`},
	{"what happened is sent to every endpoint that was there for it", `
		SELECT format('event %s (%s) to endpoint %s', e.id, e.type, p.id)
		FROM events e
		JOIN callback_endpoints p ON p.policy = 'standard' AND p.state = 'enabled' AND p.updated_at < e.created_at
		     AND CASE WHEN e.client_id IS NULL THEN e.type = ANY(p.event_types) ELSE p.client_id = e.client_id AND (p.event_types = '{}' OR e.type = ANY(p.event_types)) END
		LEFT JOIN callbacks c ON c.event_id = e.id AND c.endpoint_id = p.id
		WHERE c.id IS NULL AND e.type <> 'callback.test'
		  AND (EXISTS (SELECT FROM payments x WHERE x.id = e.resource) OR EXISTS (SELECT FROM recharges x WHERE x.id = e.resource)
		       OR EXISTS (SELECT FROM invoices x WHERE x.number = e.resource))`},
	{"what happened to an invoice is sent to its callbackUrl, unless that is gone", `
		SELECT format('event %s (%s) of invoice %s', e.id, e.type, i.number)
		FROM events e
		LEFT JOIN payments p ON p.id = e.resource
		JOIN invoices i ON i.number = coalesce(p.invoice_id, e.resource) AND i.callback_url IS NOT NULL
		LEFT JOIN callbacks c ON c.event_id = e.id AND c.invoice_id = i.number AND c.url = i.callback_url
		LEFT JOIN callback_urls_gone g ON g.invoice_id = i.number AND g.gone_at < e.created_at
		WHERE (c.id IS NULL) <> (g.invoice_id IS NOT NULL)`},
	{"a callback has its operation, which is about its event", `
		SELECT format('callback %s', c.id)
		FROM callbacks c
		LEFT JOIN operations o ON o.id = c.id AND o.type = 'callback.send' AND o.resource = c.event_id
		WHERE o.id IS NULL
		UNION ALL
		SELECT format('operation %s', o.id)
		FROM operations o
		LEFT JOIN callbacks c ON c.id = o.id
		WHERE o.type = 'callback.send' AND c.id IS NULL`},
	{"a push is told of its event, as its operation says", `
		SELECT format('operation %s', o.id)
		FROM operations o
		FULL JOIN pushes p ON p.id = o.id
		WHERE (o.type = 'push.send' OR p.id IS NOT NULL) AND (o.type = 'push.send' AND p.event_id = o.resource) IS NOT TRUE`},
	{"a token that is not sent to has two strikes, and only that", `
		SELECT format('account %s: %s strikes', a.id, a.token_strikes)
		FROM accounts a
		WHERE (a.token_deactivated_at IS NOT NULL) <> (a.token_strikes >= 2)`},
	{"every tx_id is the hash of its transfer", `
		SELECT format('transfer %s', t.id)
		FROM transfers t
		WHERE t.tx_id <> sha256(convert_to(concat_ws(E'\n', 'quittance transfer 1', t.kind, t.reference, t.debit, t.credit,
		      t.amount, t.currency, (extract(epoch FROM t.created_at) * 1000000)::bigint), 'UTF8'))`},
}

// CheckInvariants fails the test where the database at this address breaks a promise, or where
// an audit of it would raise an alarm.
func CheckInvariants(t testing.TB, url string) {
	t.Helper()
	ctx := context.Background()
	audit(ctx, t, url)
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

func audit(ctx context.Context, t testing.TB, url string) {
	t.Helper()
	s, err := store.Open(ctx, store.Config{URL: url, Secret: Secret})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	report, err := s.Audit(ctx, func(string, int64, int64, bool) {})
	if err != nil {
		t.Error(err)
	}
	for _, c := range report.Checks {
		if c.Off > 0 {
			t.Errorf("the audit finds %d of the %s off; the first is %s: expected %s; found %s", c.Off, c.Name, c.First.Row, c.First.Expected, c.First.Found)
		}
	}
}
