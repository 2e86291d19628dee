package store_test

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// plan is what a statement must find by an index.
type plan struct {
	statement string
	by        []string // indexes
}

// What each statement must find by an index, in a database that was empty when it was planned
// and in one with many rows.
var plans = []plan{
	{"readShopSQL", []string{"client_id_is_unique"}},
	{"readShopOfSessionSQL", []string{"client_sessions_pkey"}},
	{"openShopAccountsSQL", []string{"one_ledger_account_per_kind_owner_and_currency"}},
	{"readCardSQL", []string{"cards_pkey"}},
	{"leaseKeySQL", []string{"idempotency_leases_pkey"}},
	{"readLeaseSQL", []string{"idempotency_leases_pkey"}},
	{"endLeaseSQL", []string{"idempotency_leases_pkey"}},
	{"readForIssueSQL", []string{"cards_pkey"}},
	{"readShopInvoiceSQL", []string{"invoices_pkey", "subscriptions_pkey"}},
	{"listShopInvoicesSQL", []string{"invoices_pkey", "invoices_by_external_id", "subscriptions_pkey"}},
	{"listCardPaymentsSQL", []string{"payments_pkey", "payments_by_invoice", "one_open_step_per_payment", "cards_pkey"}},
	{"readCardPaymentSQL", []string{"payments_pkey", "one_open_step_per_payment", "cards_pkey"}},
	{"readForCardPaymentSQL", []string{"invoices_pkey", "subscriptions_pkey", "cards_pkey", "one_payment_per_one_time_invoice"}},
	{"readForPaymentCommandSQL", []string{"payments_pkey", "one_open_step_per_payment"}},
	{"lockForReversalSQL", []string{"payments_pkey", "one_open_step_per_payment"}},
	{"stillAllowsStepSQL", []string{"payments_pkey"}},
	{"setAsideSQL", []string{"payments_pkey"}},
	{"listInvoicesSQL", []string{"invoices_by_session"}},
	{"readTriesSQL", []string{"subscriptions_pkey"}},
	{"updateSubscriptionSQL", []string{"subscriptions_pkey"}},
	{"lockIntentSQL", []string{"operations_pkey", "one_intent_per_operation", "payments_pkey", "acquirer_intents_by_payment"}},
	{"leaseIntentSQL", []string{"acquirer_intents_pkey"}},
	{"runOperationSQL", []string{"operations_pkey"}},
	{"releaseCallSQL", []string{"acquirer_intents_pkey"}},
	{"lockUnknownSQL", []string{"acquirer_intents_pkey", "operations_pkey"}},
	{"endLeaseOfIntentSQL", []string{"acquirer_intents_pkey"}},
	{"lockOperationsOfCallsSQL", []string{"acquirer_intents_pkey", "operations_pkey"}},
	{"lockPaymentsOfCallsSQL", []string{"payments_pkey", "invoices_pkey"}},
	{"readStepsSQL", []string{"acquirer_intents_pkey", "operations_pkey"}},
	{"lockSubscriptionsOfCallsSQL", []string{"subscriptions_pkey", "payments_pkey"}},
	{"readLedgerOfCallsSQL", []string{"one_ledger_account_per_kind_owner_and_currency", "payments_pkey"}},
	{"lockLedgerAccountsSQL", []string{"ledger_accounts_pkey"}},
	{"endIntentsSQL", []string{"acquirer_intents_pkey"}},
	{"keepUnknownSQL", []string{"acquirer_intents_pkey"}},
	{"delayOperationsSQL", []string{"operations_pkey"}},
	{"writePaymentsSQL", []string{"payments_pkey"}},
	{"writeSubscriptionsSQL", []string{"subscriptions_pkey"}},
	{"expirePaymentsSQL", []string{"payments_to_expire", "one_open_step_per_payment"}},
	{"lockChargesSQL", []string{"subscriptions_to_charge", "one_open_payment_per_subscription", "invoices_pkey", "cards_pkey"}},
	{"endSubscriptionsSQL", []string{"subscriptions_to_end", "subscriptions_pkey", "invoices_pkey"}},
	{"openInvoicerEndpointsSQL", []string{"one_endpoint_per_client_and_origin"}},
	{"tellRegisteredSQL", []string{"callback_endpoints_by_client", "callback_endpoints_of_the_house"}},
	{"tellCallbackURLsSQL", []string{"one_endpoint_per_client_and_origin", "callback_urls_gone_pkey"}},
	{"tellNamedSQL", []string{"callback_endpoints_pkey"}},
	{"readNamedEndpointsSQL", []string{"callback_endpoints_pkey"}},
	{"enqueueWaitingSQL", []string{"operations_due", "operations_pkey"}},
	{"lockAttemptSQL", []string{"operations_pkey"}},
	{"killOperationsSQL", []string{"operations_pkey"}},
	{"endOperationsSQL", []string{"operations_pkey"}},
	{"readReceiptSQL", []string{"payments_pkey", "invoices_pkey"}},
	{"startReceiptSQL", []string{"operations_pkey"}},
	{"endReceiptSQL", []string{"operations_pkey"}},
	{"readKeysSQL", []string{"idempotency_keys_pkey"}},
	{"freeKeysSQL", []string{"idempotency_keys_pkey"}},
	{"readPushesSQL", []string{"operations_pkey", "pushes_pkey", "events_pkey", "accounts_pkey", "invoices_pkey"}},
	{"lockPushesSQL", []string{"operations_pkey"}},
	{"endCountedSQL", []string{"operations_pkey"}},
	{"leaseOperationsSQL", []string{"operations_pkey"}},
	{"countUsedSQL", []string{"operations_pkey", "attempts_pkey"}},
	{"delayPushesSQL", []string{"operations_pkey"}},
	{"strikeTokensSQL", []string{"accounts_pkey"}},
	{"forgetPushesSQL", []string{"pushes_pkey", "operations_pkey", "attempts_pkey"}},
	{"forgetClientSessionsSQL", []string{"client_sessions_by_expiry"}},
}

func TestEveryStatementAboutPaymentsByCardHasItsIndex(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	checkPlans(t, db.Pool(), "in an empty database", plans)
	fillForPlans(t, db)
	checkPlans(t, storetest.Open(t, db.URL).Pool(), "among many rows", plans)
}

// fillForPlans makes 20,000 finished payments, with all that belongs to them, 5,000
// subscriptions and 5,000 accounts of phones.
func fillForPlans(t *testing.T, db *storetest.DB) {
	t.Helper()
	shop := db.Shop()
	card := db.Card(shop, "4111111111")
	invoice := db.ShopInvoice(shop, func(n *store.NewShopInvoice) { n.Reusable = true })
	subscribed := subscribe(t, db, 30)
	const rows = "FROM generate_series(1, $1) AS g (n)"
	db.Exec(`INSERT INTO payments (id, invoice_id, client_id, system_type, type, one_time, amount, commission, commission_millipercents, commission_fixed,
		itemised, held, completed, currency, status, payment_status, card_from_id, receipt_id, created_at, updated_at)
		SELECT gen_random_uuid(), $2, $3, 'ECOM', 'PAY', false, 5, 0, 0, 0, false, 5, 5, 980, 'FINISHED', 'FINISHED', $4, 'r', now(), now() `+rows,
		20_000, invoice.ID, shop.Client, card.ID)
	db.Exec(`INSERT INTO operations (id, type, resource, status, due_at, finished_at)
		SELECT gen_random_uuid(), 'payment.authorise', id, 'succeeded', now(), now() FROM payments WHERE receipt_id = 'r'`)
	db.Exec(`INSERT INTO acquirer_intents (id, operation_id, payment_id, call, amount, commission, state, leased_until, finished_at)
		SELECT gen_random_uuid(), o.id, o.resource, 'authorise', 5, 0, 'approved', now(), now()
		FROM operations o JOIN payments p ON p.id = o.resource WHERE p.receipt_id = 'r'`)
	db.Exec(`WITH i AS (
			INSERT INTO invoices (number, client_id, invoice_number, external_id, system_type, type, reusable, services, extra_info, amount, currency, description, created_at)
			SELECT gen_random_uuid(), i.client_id, i.invoice_number + 1000000 + g.n, 'x', 'ECOM', 'SUBSCRIBE', false, '[]', '{}', 5, 980, 'x', now()
			`+rows+` JOIN invoices i ON i.number = $2 RETURNING number)
		INSERT INTO subscriptions (invoice_id, interval_days, expires_at, card_id, paid_at, due_at, charge_at, created_at, updated_at)
		SELECT i.number, 30, now() + interval '1 year', $3, now(), now() + interval '30 days', now() + interval '30 days', now(), now() FROM i`,
		5_000, subscribed.invoice.ID, card.ID)
	db.Exec("INSERT INTO ledger_accounts (kind, owner, currency) SELECT 'wallet', 1000000 + g.n, 810 "+rows, 20_000)
	db.Exec("INSERT INTO cards (id, client_id, token, mask, expiry, brand) SELECT gen_random_uuid(), $2, '', '4111111111', '2099-12', 'visa' "+rows, 5_000, shop.Client)
	db.Exec("INSERT INTO client_sessions (hash, client_id, expires_at) SELECT sha256(g.n::text::bytea), $2, now() + interval '1 day' "+rows, 5_000, shop.Client)
	db.Exec(`INSERT INTO accounts (device_id, device_type, account_number)
		SELECT g.n, 1, substr(encode(sha256(g.n::text::bytea), 'hex'), 1, 40) `+rows, 5_000)
	db.Exec("INSERT INTO sessions (account_id, hash, sealed) SELECT id, sha256(account_number::bytea), '' FROM accounts")
	db.Exec("INSERT INTO idempotency_keys (scope, key, fingerprint, status, answer) SELECT '', g.n, '', 200, '' "+rows, 5_000)
	db.Exec("INSERT INTO idempotency_leases (scope, key, fingerprint, intent_id, leased_until) SELECT '', g.n, '', gen_random_uuid(), now() "+rows, 5_000)
	db.Exec(`INSERT INTO callback_endpoints (id, client_id, policy, origin) SELECT new_id(), $2, 'invoicer', 'https://h' || g.n || ':443' `+rows, 5_000, shop.Client)
	db.Exec(`INSERT INTO callback_endpoints (id, client_id, policy, origin, url, secret, state) SELECT new_id(), $2, 'standard', 'https://h', 'https://h', '', 'deleted' `+rows, 5_000, shop.Client)
	db.Exec("INSERT INTO callback_urls_gone (invoice_id) SELECT gen_random_uuid() "+rows, 5_000)
	db.Exec(`WITH o AS (
			INSERT INTO operations (id, type, resource, status, due_at, finished_at)
			SELECT gen_random_uuid(), 'push.send', gen_random_uuid(), 'succeeded', now(), now() `+rows+` RETURNING id, resource)
		INSERT INTO pushes (id, event_id, account_id) SELECT id, resource, 1 FROM o`, 5_000)
	db.Exec("INSERT INTO events (id, type, resource, body) SELECT event_id, 'invoice.made', gen_random_uuid(), '{}' FROM pushes")
	db.Exec("VACUUM ANALYZE")
}

// small are tables of which a plan may read all: one row, or as many as there are shops.
var small = []string{"deciding_clock", "clients"}

// wanted are indexes that hold nothing but what is looked for.
var wanted = []string{"callback_endpoints_of_the_house"}

var (
	seqScan   = regexp.MustCompile(`Seq Scan on (\w+)`)
	indexScan = regexp.MustCompile(`Index (Only )?Scan using (\w+) on (\w+)`)
)

func checkPlans(t *testing.T, pool *pgxpool.Pool, when string, plans []plan) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	statements := statementsOf(t, ".")
	for _, p := range plans {
		plan := explain(t, conn.Conn(), p.statement, statements[p.statement])
		for _, table := range seqScan.FindAllStringSubmatch(plan, -1) {
			if !slices.Contains(small, table[1]) {
				t.Errorf("%s, %s reads all of %s:\n%s", when, p.statement, table[1], plan)
			}
		}
		for _, scan := range scansOfWholeIndexes(plan) {
			t.Errorf("%s, %s reads all of an index: %s\n%s", when, p.statement, scan, plan)
		}
		for _, index := range p.by {
			if !strings.Contains(plan, index) {
				t.Errorf("%s, %s does not use %s:\n%s", when, p.statement, index, plan)
			}
		}
	}
}

// scansOfWholeIndexes are the scans of a plan that name an index and nothing to find in it.
func scansOfWholeIndexes(plan string) (scans []string) {
	lines := append(strings.Split(plan, "\n"), "")
	for i, line := range lines {
		scan := indexScan.FindStringSubmatch(line)
		if scan != nil && !slices.Contains(small, scan[3]) && !slices.Contains(wanted, scan[2]) && !strings.Contains(lines[i+1], "Index Cond:") {
			scans = append(scans, strings.TrimSpace(line))
		}
	}
	return scans
}

// explain returns the generic plan of a statement, as every session of the store has it.
func explain(t *testing.T, conn *pgx.Conn, name, sql string) string {
	t.Helper()
	if sql == "" {
		t.Fatalf("there is no statement %s", name)
	}
	prepared, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), conn, sql, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "PREPARE "+name+" AS "+prepared); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	execute := "EXPLAIN EXECUTE " + name
	if n := parameters(prepared); n > 0 {
		execute += "(NULL" + strings.Repeat(", NULL", n-1) + ")"
	}
	rows, _ := conn.Query(context.WithoutCancel(t.Context()), execute, pgx.QueryExecModeSimpleProtocol)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.Join(lines, "\n")
}

// parameters is how many a statement has.
func parameters(sql string) (n int) {
	for strings.Contains(sql, "$"+strconv.Itoa(n+1)) {
		n++
	}
	return n
}
