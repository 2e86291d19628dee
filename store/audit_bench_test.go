package store_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/storetest"
)

// million makes, in sets, what a business leaves behind: of a million transfers 600,000 are
// payments from wallets, 250,000 recharges, and 150,000 of 75,000 payments by card.
const million = `
SET session_replication_role = replica;
INSERT INTO accounts (id, device_id, device_type, account_number)
SELECT n, 'device ' || n, 1, lpad(to_hex(n), 40, '0') FROM generate_series(1001, 101000) n;
INSERT INTO sessions (account_id, hash, sealed)
SELECT a.id, sha256(a.device_id::bytea), '' FROM accounts a;
INSERT INTO ledger_accounts (kind, owner, currency)
SELECT 'wallet', a.id, 810 FROM accounts a;
INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative)
SELECT 'provider_clearing', v.id, 810, true FROM (SELECT 0 AS id UNION ALL SELECT id FROM providers) v
ON CONFLICT DO NOTHING;

-- Everybody has something to begin with, which is no transfer that is counted.
CREATE TEMP TABLE made (kind text, reference uuid, debit bigint, credit bigint, amount bigint, currency smallint, operation_id uuid, at timestamptz, n bigint);
INSERT INTO made
SELECT 'opening', gen_random_uuid(), (SELECT id FROM ledger_accounts WHERE kind = 'provider_clearing' AND owner = 0 AND currency = 810), l.id, 1000000, 810, NULL, now(), 0
FROM ledger_accounts l WHERE l.kind = 'wallet' AND l.currency = 810;

CREATE TEMP TABLE wallets AS SELECT l.id, l.owner, row_number() OVER (ORDER BY l.id) - 1 AS n FROM ledger_accounts l WHERE l.kind = 'wallet' AND l.currency = 810;
CREATE UNIQUE INDEX ON wallets (n);

-- Invoices, whose recipient issued them.
CREATE TEMP TABLE paid AS
SELECT gen_random_uuid() AS number, new_id() AS operation, p.id AS debit, r.id AS credit, p.owner AS payer, r.owner AS recipient, 1 + g.n % 50 AS amount,
       now() - interval '1 microsecond' * (g.n * 997) AS at, g.n
FROM generate_series(1::bigint, 600000) g (n)
JOIN wallets p ON p.n = g.n * 7919 % 100000
JOIN wallets r ON r.n = (g.n * 7919 + 1 + g.n % 97) % 100000;
INSERT INTO invoices (number, session_id, payer_id, recipient_id, amount, currency, description, name_cheque, date_pay_cheque, items, state, tx_id, created_at)
SELECT i.number, s.id, i.payer, i.recipient, i.amount, 810, 'an invoice', 'a shop', '', '[{"price":100,"name":"tea","selected":true}]', 5,
       sha256(''), i.at
FROM paid i JOIN sessions s ON s.account_id = i.recipient;
INSERT INTO operations (id, type, resource, status, attempts, due_at, created_at, finished_at)
SELECT i.operation, 'invoice.pay', i.number, 'succeeded', 1, i.at, i.at, i.at FROM paid i;
INSERT INTO made SELECT 'payment', i.number, i.debit, i.credit, i.amount, 810, i.operation, i.at, i.n FROM paid i;

CREATE TEMP TABLE topped AS
SELECT new_id() AS id, new_id() AS operation, w.id AS credit, w.owner, 100 + g.n % 50 AS amount, now() - interval '1 microsecond' * g.n AS at, g.n
FROM generate_series(1, 250000) g (n) JOIN wallets w ON w.n = g.n * 31 % 100000;
INSERT INTO recharges (id, provider_id, account_id, amount, currency, description, params, client_id, state, created_at, updated_at, expires_at)
SELECT t.id, (SELECT min(id) FROM providers), t.owner, t.amount, 810, '', '{}', 1, 'committed', t.at, t.at, t.at FROM topped t;
INSERT INTO operations (id, type, resource, status, attempts, due_at, created_at, finished_at)
SELECT t.operation, 'recharge.commit', t.id, 'succeeded', 1, t.at, t.at, t.at FROM topped t;
INSERT INTO made
SELECT 'recharge', t.id, l.id, t.credit, t.amount, 810, t.operation, t.at, t.n FROM topped t
JOIN ledger_accounts l ON l.kind = 'provider_clearing' AND l.owner = (SELECT min(id) FROM providers) AND l.currency = 810;

-- Payments by card, made like the one that is there.
CREATE TEMP TABLE carded AS
SELECT gen_random_uuid() AS id, gen_random_uuid() AS intent, new_id() AS operation, gen_random_uuid() AS invoice, now() - interval '1 microsecond' * n AS at, n
FROM generate_series(1, 75000) n;
INSERT INTO payments (id, invoice_id, client_id, system_type, type, one_time, amount, commission, commission_millipercents, commission_fixed,
                      itemised, held, completed, currency, status, payment_status, card_from_id, receipt_id, created_at, updated_at)
SELECT c.id, c.invoice, p.client_id, p.system_type, p.type, p.one_time, p.amount, p.commission, p.commission_millipercents, p.commission_fixed,
       p.itemised, p.held, p.completed, p.currency, p.status, p.payment_status, p.card_from_id, '', c.at, c.at
FROM carded c CROSS JOIN (SELECT * FROM payments LIMIT 1) p;
INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, state, leased_until, created_at, finished_at)
SELECT c.intent, c.operation, c.id, i.call, i.amount, i.commission, i.state, c.at, c.at, c.at
FROM carded c CROSS JOIN (SELECT * FROM acquirer_intents LIMIT 1) i;
INSERT INTO operations (id, type, resource, status, attempts, due_at, created_at, finished_at)
SELECT c.operation, 'payment.authorise', c.id, 'succeeded', 1, c.at, c.at, c.at FROM carded c;
INSERT INTO made
SELECT t.kind, c.intent, t.debit, t.credit, t.amount, t.currency, c.operation, c.at, c.n
FROM carded c CROSS JOIN (SELECT * FROM transfers WHERE kind IN ('card_payment', 'card_commission')) t;

INSERT INTO transfers (kind, reference, debit, credit, amount, currency, operation_id, tx_id, created_at)
SELECT m.kind, m.reference, m.debit, m.credit, m.amount, m.currency, m.operation_id,
       sha256(convert_to(concat_ws(E'\n', 'quittance transfer 1', m.kind, m.reference, m.debit, m.credit, m.amount, m.currency,
              (extract(epoch FROM m.at) * 1000000)::bigint), 'UTF8')), m.at
FROM made m ORDER BY m.n;
UPDATE ledger_accounts l SET balance = e.sum
FROM (SELECT ledger_account, sum(amount) AS sum FROM entries GROUP BY ledger_account) e
WHERE e.ledger_account = l.id;

-- The hash of an invoice as it was issued, its items as the program writes them.
UPDATE invoices i SET tx_id = sha256(convert_to(concat_ws(E'\n', 'quittance invoice 1', i.number, r.account_number, p.account_number, r.account_number,
       i.amount, i.currency, i.description, i.name_cheque, i.date_pay_cheque, '[{"price":100,"name":"tea","selected":true}]', (extract(epoch FROM i.created_at) * 1000000)::bigint), 'UTF8'))
FROM accounts p, accounts r
WHERE p.id = i.payer_id AND r.id = i.recipient_id;
RESET session_replication_role;`

func fill(b *testing.B, db *storetest.DB) {
	b.Helper()
	db.Provider("external", nil)
	db.Paid(db.ShopInvoice(db.Shop(), nil))
	conn, err := pgx.Connect(b.Context(), db.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	for _, sql := range []string{million, "VACUUM (ANALYZE)"} {
		if _, err := conn.Exec(b.Context(), sql); err != nil {
			b.Fatal(err)
		}
	}
}

// An audit of a million transfers is promised in half a minute, on two processors.
func BenchmarkAuditOfAMillionTransfers(b *testing.B) {
	db := storetest.New(b)
	fill(b, db)
	b.ResetTimer()
	for b.Loop() {
		report, err := db.Audit(b.Context(), quietly)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range report.Checks {
			b.ReportMetric(c.Took.Seconds(), "s/"+strings.ReplaceAll(c.Name, " ", "-"))
			if c.Off > 0 {
				b.Errorf("%d of the %s are off, the first: %+v", c.Off, c.Name, *c.First)
			}
		}
		b.ReportMetric(report.Took.Seconds(), "s/audit")
	}
}
