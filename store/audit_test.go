package store_test

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func quietly(string, int64, int64, bool) {}

// findings audits the database and returns the first finding of each check that has any.
func findings(t *testing.T, s *store.Store) map[string]store.AuditFinding {
	t.Helper()
	report, err := s.Audit(t.Context(), quietly)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]store.AuditFinding)
	for _, c := range report.Checks {
		if c.Off > 0 {
			found[c.Name] = *c.First
		}
	}
	return found
}

// damaged is a database with something of everything.
type damaged struct {
	*storetest.DB
	invoice, unpaid store.Payment
	recharge        store.RechargeID
	paid, held      store.NewCardPayment // FINISHED with a reversal, and a HOLD that was completed
	holding         store.NewCardPayment // HOLDED
}

func newDamaged(t *testing.T) damaged {
	t.Helper()
	d := damaged{DB: storetest.New(t)}
	payer, recipient, shop := d.Account(1000), d.Account(5), d.Shop()
	d.invoice, d.unpaid = d.Invoice(payer, recipient, 100), d.Invoice(payer, recipient, 7)
	id, err := d.AcceptPayment(t.Context(), d.invoice)
	if err != nil {
		t.Fatal(err)
	}
	d.Settle(store.Ref{ID: id, Seq: 1})
	d.Provider("external", nil)
	d.recharge = d.Recharge(payer, "1")
	d.SettleRecharge(d.Commanded(store.RechargeCommit, d.recharge))
	d.paid = d.Paid(d.ShopInvoice(shop, nil))
	d.Finish(d.Call(d.PaymentCommand(store.PaymentReverse, d.paid, 100)), store.Approved)
	d.held, d.holding = d.Paid(d.ShopInvoice(shop, ofType(store.Hold))), d.Paid(d.ShopInvoice(shop, ofType(store.Hold)))
	d.Finish(d.Call(d.PaymentCommand(store.PaymentComplete, d.held, 40000)), store.Approved)
	return d
}

// damage runs SQL that no trigger and no foreign key stops. :name stands for a row of newDamaged.
func (d damaged) damage(t *testing.T, sql string) {
	t.Helper()
	sql = strings.NewReplacer(
		":invoice", quoted(d.invoice.Number), ":unpaid", quoted(d.unpaid.Number), ":recharge", quoted(d.recharge),
		":paid", quoted(d.paid.ID), ":holding", quoted(d.holding.ID), ":held", quoted(d.held.ID),
		":hash", "sha256(convert_to(concat_ws(E'\\n', 'quittance transfer 1', t.kind, t.reference, t.debit, t.credit, t.amount, t.currency, "+
			"(extract(epoch FROM t.created_at) * 1000000)::bigint), 'UTF8'))",
	).Replace(sql)
	conn, err := d.Pool().Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	tag, err := conn.Exec(t.Context(), "SET session_replication_role = replica; "+sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if tag.RowsAffected() == 0 {
		t.Fatalf("%s damages nothing", sql)
	}
	if _, err := conn.Exec(t.Context(), "RESET session_replication_role"); err != nil {
		t.Fatal(err)
	}
}

func quoted(id interface{ String() string }) string { return "'" + id.String() + "'" }

func TestAnAuditFindsDamage(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		damage string
		sql    string
		check  string // that finds it, among others
		says   string // what is expected, and what was found
	}{
		{
			"a balance was changed", "UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'wallet' AND balance = 105",
			"balances", "a balance of 105, the sum of its transfers in minor units; 106",
		},
		{
			"a balance was changed, and the house's with it", "UPDATE ledger_accounts SET balance = balance + CASE kind WHEN 'wallet' THEN 1 ELSE -1 END " +
				"WHERE kind = 'wallet' AND balance = 105 OR kind = 'provider_clearing' AND owner = 0", "balances", "; ",
		},
		{"money is gone", "UPDATE ledger_accounts SET balance = 0 WHERE kind = 'wallet'", "currencies", "balances that add up to 0; -"},
		{"a transfer was deleted", "DELETE FROM transfers WHERE reference = :invoice", "invoices", "a transfer, since it is paid (state 5); there is none"},
		{
			"the transfer of an opening was deleted", "DELETE FROM transfers WHERE kind = 'opening' AND amount = 5",
			"balances", "a balance of -1000, the sum of its transfers in minor units; -1005",
		},
		{"a transfer's amount was changed", "UPDATE transfers SET amount = 101 WHERE reference = :invoice", "transfers", "the hash of what the row says; tx_id"},
		{
			"a transfer's amount was changed, and its hash", "UPDATE transfers t SET amount = 101 WHERE t.reference = :invoice; UPDATE transfers t SET tx_id = :hash WHERE t.reference = :invoice",
			"transfers", "1.00 RUR, as the invoice",
		},
		{"a tx_id was changed", "UPDATE transfers SET tx_id = sha256('x') WHERE reference = :invoice", "transfers", "the hash of what the row says; tx_id 2d711642"},
		{"a transfer was dated back", "UPDATE transfers SET created_at = created_at - interval '1 microsecond' WHERE reference = :invoice", "transfers", "the hash of what the row says"},
		{
			"a transfer has no source", "INSERT INTO transfers (kind, reference, debit, credit, amount, currency, operation_id, tx_id, created_at) " +
				"SELECT t.kind, gen_random_uuid(), t.debit, t.credit, t.amount, t.currency, t.operation_id, t.tx_id, t.created_at FROM transfers t WHERE t.reference = :invoice; " +
				"UPDATE transfers t SET tx_id = :hash WHERE kind = 'payment'", "transfers", "that it was made for; there is none",
		},
		{
			"a transfer went to somebody else", "UPDATE transfers t SET credit = (SELECT l.id FROM ledger_accounts l WHERE l.currency = 810 AND l.kind = 'provider_clearing' AND l.owner = 0) " +
				"WHERE t.reference = :invoice; UPDATE transfers t SET tx_id = :hash WHERE t.reference = :invoice",
			"transfers", "; the house's provider_clearing in RUR",
		},
		{
			"a transfer went into another currency", "UPDATE transfers t SET credit = (SELECT l.id FROM ledger_accounts l WHERE l.currency = 980 AND l.kind = 'commission') " +
				"WHERE t.reference = :invoice; UPDATE transfers t SET tx_id = :hash WHERE t.reference = :invoice",
			"transfers", ", in RUR; the house's commission in UAH",
		},
		{
			"a transfer went to an account that is not there", "UPDATE transfers t SET credit = 999 WHERE t.reference = :invoice; UPDATE transfers t SET tx_id = :hash WHERE t.reference = :invoice",
			"transfers", "the credited ledger account 999, in RUR; no ledger account",
		},
		{"an invoice is paid without a transfer", "UPDATE invoices SET state = 5 WHERE number = :unpaid", "invoices", "a transfer, since it is paid (state 5); there is none"},
		{"an invoice that was paid is to be paid again", "UPDATE invoices SET state = 2 WHERE number = :invoice", "transfers", "in state 5; it is in state 2"},
		{"nobody pays an invoice that is being paid", "UPDATE invoices SET state = 3 WHERE number = :unpaid", "invoices", "one open operation, since it is being paid (state 3); 0"},
		{"an invoice's amount was changed", "UPDATE invoices SET amount = 8 WHERE number = :unpaid", "invoices", "the hash of what the row says; tx_id"},
		{"a payment's operation has failed", "UPDATE operations SET status = 'failed', error_code = 'x' WHERE resource = :invoice", "transfers", ", succeeded; invoice.pay of"},
		{
			"an invoice was paid twice", "INSERT INTO operations (id, type, resource, status, due_at, finished_at) SELECT gen_random_uuid(), type, resource, status, due_at, finished_at FROM operations WHERE resource = :invoice",
			"operations", "its transfer; there is none",
		},
		{"an operation is gone", "DELETE FROM operations WHERE resource = :invoice", "transfers", "; there is none"},
		{"a recharge is committed without a transfer", "DELETE FROM transfers WHERE reference = :recharge", "recharges", "a transfer, since it is committed; there is none"},
		{"a recharge that was committed is rolled back", "UPDATE recharges SET state = 'rolled_back' WHERE id = :recharge", "recharges", "state committed, since it has its transfer; state rolled_back"},
		{"a recharge's amount was changed", "UPDATE recharges SET amount = 99 WHERE id = :recharge", "transfers", "0.99 RUR, as the recharge"},
		{
			"a payment by card was finished without a call of the acquirer", "DELETE FROM acquirer_intents WHERE payment_id = :paid AND call = 'authorise'",
			"payments", "an authorisation that the acquirer approved; there is none",
		},
		{
			"a held payment is finished without a capture", "UPDATE payments SET status = 'FINISHED', payment_status = 'FINISHED', completed = held WHERE id = :holding",
			"payments", "one capture that the acquirer approved; 0",
		},
		{
			"a capture has no transfer", "DELETE FROM transfers t USING acquirer_intents i WHERE t.reference = i.id AND i.payment_id = :held AND t.kind = 'card_payment'",
			"calls", "a transfer of what the acquirer moved; there is none",
		},
		{
			"a refund has no transfer", "DELETE FROM transfers WHERE kind = 'card_reversal'",
			"calls", "a transfer of what the acquirer moved; there is none",
		},
		{"a reversal has no refund", "DELETE FROM acquirer_intents WHERE call = 'refund'", "payments", "transfers of what was reversed: 100 minor units in all; 0"},
		{"more was reversed than was given back", "UPDATE payments SET reversed = reversed + 1 WHERE id = :paid", "payments", "transfers of what was reversed: 101 minor units in all; 100"},
		{"the acquirer declined what was booked", "UPDATE acquirer_intents SET state = 'refused' WHERE payment_id = :paid AND call = 'authorise'", "transfers", "; it is in state refused authorise"},
		{
			"a payment was finished twice", "UPDATE transfers t SET kind = 'card_payment', reference = i.id, operation_id = i.operation_id FROM acquirer_intents i WHERE i.payment_id = :held AND i.call = 'authorise' AND t.kind = 'opening' AND t.amount = 5",
			"payments", "one transfer of its amount; 2",
		},
		{"a commission was not booked", "DELETE FROM transfers WHERE kind = 'card_commission'", "calls", "a transfer of the commission; there is none"},
		{
			"the commission went to the shop", "UPDATE transfers t SET credit = (SELECT l.id FROM ledger_accounts l WHERE l.kind = 'merchant') WHERE t.kind = 'card_commission'; " +
				"UPDATE transfers t SET tx_id = :hash", "transfers", "credited: the house's commission in UAH; the merchant of",
		},
		{
			"the operation of an idempotency key is gone", "INSERT INTO idempotency_keys (scope, key, fingerprint, status, answer, operation_id) VALUES ('s', 'k', '', 202, '', gen_random_uuid())",
			"idempotency keys", "; there is none",
		},
		{
			"a voucher was redeemed by a recharge that is not committed", "INSERT INTO vouchers (fingerprint, amount, currency, recharge_id, redeemed_at) VALUES ('f', 100, 810, :recharge, NULL)",
			"vouchers", "(it is committed); redeemed: false",
		},
	} {
		t.Run(story.damage, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			if before := findings(t, d.Store); len(before) > 0 {
				t.Fatalf("before anything is damaged: %+v", before)
			}
			d.damage(t, story.sql)
			found := findings(t, d.Store)
			first := found[story.check]
			if says := first.Expected + "; " + first.Found; !strings.Contains(says, story.says) || first.Row == "" {
				t.Errorf("the %s say of %q:\n%s\nwant\n%s\nof all: %+v", story.check, first.Row, says, story.says, found)
			}
		})
	}
}

// settling pays invoices from several wallets, recharges and takes payments by card, again and
// again until ctx is done, as workers would.
func settling(ctx context.Context, t *testing.T, db *storetest.DB) (ended func()) {
	t.Helper()
	db.Provider("external", nil)
	a, b, shop := db.Account(1_000_000), db.Account(1_000_000), db.Shop()
	db.Recharge(a, "1") // makes the back office
	var all sync.WaitGroup
	work := func(once func()) {
		all.Go(func() {
			for ctx.Err() == nil {
				once()
			}
		})
	}
	work(func() {
		refs := []store.Ref{db.Accepted(a, b, 3), db.Accepted(b, a, 2), db.Accepted(a, b, 5_000_000)}
		if _, err := db.PayInvoices(t.Context(), refs); err != nil {
			t.Error(err)
		}
	})
	work(func() { db.SettleRecharge(db.Commanded(store.RechargeCommit, db.Recharge(a, "0.5"))) })
	work(func() {
		p := db.Paid(db.ShopInvoice(shop, ofType(store.Hold)))
		db.Finish(db.Call(db.PaymentCommand(store.PaymentComplete, p, 40000)), store.Approved)
		db.Finish(db.Call(db.PaymentCommand(store.PaymentReverse, p, 100)), store.Approved)
	})
	return all.Wait
}

func TestAnAuditRaisesNoAlarmWhileMoneyMovesAndOneOnceItIsDamaged(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := settling(ctx, t, db)
	for range 30 {
		if found := findings(t, db.Store); len(found) > 0 {
			t.Errorf("nothing is wrong, and the audit finds %+v", found)
			break
		}
	}
	damaged{DB: db}.damage(t, "UPDATE ledger_accounts SET balance = balance + 1 WHERE kind = 'suspense' OR id = (SELECT min(id) FROM ledger_accounts WHERE kind = 'wallet')")
	if found := findings(t, db.Store); found["balances"].Row == "" || len(found) != 2 {
		t.Errorf("a balance is wrong while money moves, and the audit finds %+v", found)
	}
	stop()
	ended()
	if n := db.Count("SELECT count(*) FROM transfers"); n < 20 {
		t.Errorf("only %d transfers were made meanwhile", n)
	}
}

// A transfer has its number before it commits: the one after it may be seen first.
func TestAnAuditAllowsForATransferThatCommitsBehindIt(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	first := db.Account(1)
	tx, err := db.Pool().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string) {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO transfers (kind, reference, debit, credit, amount, currency, tx_id, created_at)
		SELECT 'opening', gen_random_uuid(), t.debit, t.credit, 5, 810, sha256(''), now() FROM transfers t`)
	second := db.Account(1)
	exec("UPDATE ledger_accounts SET balance = balance + CASE kind WHEN 'wallet' THEN 5 ELSE -5 END WHERE id IN (SELECT unnest(ARRAY[debit, credit]) FROM transfers WHERE amount = 5)")
	report, err := db.Audit(t.Context(), func(check string, _, _ int64, done bool) {
		if check == "transfers" && done {
			if err := tx.Commit(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if off := report.Off(); off > 0 {
		t.Errorf("%d rows are off: %+v", off, report.Checks)
	}
	if got := db.Balance(first) + db.Balance(second); got != 7 {
		t.Errorf("the wallets hold %d, want 7: nothing was booked behind the audit", got)
	}
}

func TestAnAuditReadsEveryRowInChunksOfAnySize(t *testing.T) {
	t.Parallel()
	d := newDamaged(t)
	d.Exec("INSERT INTO idempotency_keys (scope, key, fingerprint, status, answer, operation_id) " +
		"SELECT k.scope, k.key, '', 202, '', (SELECT min(id::text)::uuid FROM operations) FROM (VALUES ('a'::bytea, 'x'), ('a', 'y'), ('b', ''), ('b', 'x')) k (scope, key)")
	d.damage(t, "UPDATE ledger_accounts SET balance = balance + 1")
	rows := func(report store.AuditReport, err error) map[string][2]int64 {
		if err != nil {
			t.Fatal(err)
		}
		found := make(map[string][2]int64)
		for _, c := range report.Checks {
			found[c.Name] = [2]int64{c.Rows, c.Off}
		}
		return found
	}
	whole := rows(d.Audit(t.Context(), quietly))
	for check, table := range map[string]string{
		"transfers": "transfers", "balances": "ledger_accounts", "invoices": "invoices", "recharges": "recharges", "payments": "payments",
		"calls": "acquirer_intents", "idempotency keys": "idempotency_keys WHERE operation_id IS NOT NULL",
	} {
		if n := int64(d.Count("SELECT count(*) FROM " + table)); whole[check][0] != n || n < 1 {
			t.Errorf("of the %s %d are read, want %d", check, whole[check][0], n)
		}
	}
	for _, chunk := range []int{1, 2, 3} {
		if diff := cmp.Diff(whole, rows(store.AuditInChunks(d.Store, t.Context(), chunk, quietly))); diff != "" {
			t.Errorf("in chunks of %d (-whole +chunks):\n%s", chunk, diff)
		}
	}
}

func TestAChunkIsReadAgainWhereThatMayHelp(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		what string
		err  error
		want bool
	}{
		{"the server took too long", &pgconn.PgError{Code: "57014"}, true},
		{"we waited too long", context.DeadlineExceeded, true},
		{"a standby had to replay what was being read", &pgconn.PgError{Code: "40001"}, true},
		{"a lock was not to be had", &pgconn.PgError{Code: "55P03"}, true},
		{"the table is not there", &pgconn.PgError{Code: "42P01"}, false},
		{"the server is gone", io.ErrUnexpectedEOF, false},
		{"the right to read is missing", &pgconn.PgError{Code: "42501"}, false},
	} {
		if got := store.MayPass(fmt.Errorf("read: %w", story.err)); got != story.want {
			t.Errorf("%s: read again is %t, want %t", story.what, got, story.want)
		}
	}
}

func TestAnAuditNeedsOnlyTheRightToRead(t *testing.T) {
	t.Parallel()
	db := newDamaged(t).DB
	reader := "reader_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	db.Exec("CREATE ROLE " + reader + " LOGIN PASSWORD 'reads'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + reader +
		"; ALTER ROLE " + reader + " SET default_transaction_read_only = on") // as on a standby
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), db.URL)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+reader+"; DROP ROLE "+reader); err != nil {
			t.Error(err)
		}
	})
	address, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword(reader, "reads")
	if found := findings(t, storetest.Open(t, address.String())); len(found) > 0 {
		t.Errorf("who only reads finds %+v", found)
	}
}
