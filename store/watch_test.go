package store_test

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/store/storetest"
)

// watch keeps the watch until the test ends.
func watch(t *testing.T, s *store.Store) *store.Watch {
	t.Helper()
	w, err := s.KeepWatch(t.Context())
	if err != nil || w == nil {
		t.Fatalf("the watch is %v, %v", w, err)
	}
	t.Cleanup(w.End)
	return w
}

func TestOneProcessKeepsTheWatch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	faults := storetest.NewFaults(t, db.URL)
	far, near := storetest.Open(t, faults.URL), db.Store

	first := watch(t, far)
	if w, err := near.KeepWatch(t.Context()); w != nil || err != nil {
		t.Fatalf("a second process: %v, %v; want neither", w, err)
	}
	faults.Down()
	if _, err := first.Kept(t.Context()); err == nil || !first.Over() {
		t.Errorf("cut off, it reads (%v) and the watch is over: %v", err, first.Over())
	}
	const locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
	db.Eventually("the lock of who was cut off", 0, locks)
	second, err := near.KeepWatch(t.Context())
	if err != nil || second == nil {
		t.Fatalf("after that: %v, %v", second, err)
	}
	if second.Over() {
		t.Error("the watch that has begun is over")
	}
	if _, err := far.KeepWatch(t.Context()); store.FaultOf(err) != store.FaultOutage {
		t.Errorf("without a database: %v", err)
	}
	second.End()
	db.Eventually("the lock of who has ended", 0, locks) // the server takes its time over a farewell
	faults.Up()
	watch(t, far)
}

// A machine that loses its power says no farewell. The server holds the lock of the watch for as
// long as it takes the connection for alive: with what it has by itself, two hours.
func TestTheServerSoonMissesAMachineThatIsGone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	seconds := db.Count(`
		SELECT current_setting('tcp_keepalives_idle')::int
		       + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int`)
	if seconds < 10 || seconds > 60 {
		t.Errorf("it is missed after %d s, want at most a minute", seconds)
	}
}

func TestImbalanceIsWhatTheBalancesOfACurrencyAddUpTo(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := watch(t, db.Store)
	imbalances := func() []money.Amount {
		t.Helper()
		all, err := w.Imbalances(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b money.Amount) int { return int(a.Currency) - int(b.Currency) })
		return all
	}
	if all := imbalances(); len(all) > 0 {
		t.Errorf("of no accounts: %v", all)
	}
	payer, shop := db.Account(1000), db.Shop()
	db.Paid(db.ShopInvoice(shop, nil))
	db.Settle(db.Accepted(payer, db.Account(0), 300))
	if diff := cmp.Diff([]money.Amount{{Currency: 810}, {Currency: 980}}, imbalances()); diff != "" {
		t.Errorf("after payments (-want +got):\n%s", diff)
	}
	db.Exec("UPDATE ledger_accounts SET balance = balance + 7 WHERE kind = 'wallet' AND owner = $1", payer.ID)
	db.Exec("UPDATE ledger_accounts SET balance = 9000000000000000000 WHERE kind IN ('commission', 'acquirer_clearing')")
	if diff := cmp.Diff([]money.Amount{{Minor: 7, Currency: 810}, {Minor: math.MaxInt64, Currency: 980}}, imbalances()); diff != "" {
		t.Errorf("after the damage (-want +got):\n%s", diff)
	}
}

func TestWhatIsKeptIsCounted(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	endpoint := db.Endpoint(db.Shop().Client, "https://partner.example/hook")
	dead := db.Callback(endpoint)
	kill(t, db, dead)
	db.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = 'operator' WHERE id = $1", endpoint)
	for range 3 {
		db.NotSending(db.Callback(endpoint))
	}
	got, err := watch(t, db.Store).Kept(t.Context())
	if diff := cmp.Diff(store.Kept{DeadLetters: 1, HeldCallbacks: 3}, got); err != nil || diff != "" {
		t.Errorf("kept: %v, -want +got\n%s", err, diff)
	}
}

// Only here does the server have standbys.
func TestStandbysAreCounted(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	w := watch(t, db.Store)
	awaitStandbys(t, w, 0)
	disconnect := standby(t, db.URL)
	if r := awaitStandbys(t, w, 1); r.Lag == nil {
		t.Error("the server's owner is not told the lag")
	}
	// A role of PostgreSQL's own that may do almost nothing, and is no member of pg_monitor.
	stranger := watch(t, storetest.Open(t, storetest.Create(t)+"&role=pg_signal_backend"))
	if r := awaitStandbys(t, stranger, 1); r.Lag != nil {
		t.Errorf("who may not know the lag is told that it is %s", *r.Lag)
	}
	disconnect()
	awaitStandbys(t, w, 0)
}

// standby follows the server of the database at this address, as far as that can tell, and never
// says how far it is.
func standby(t *testing.T, address string) (disconnect func()) {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), address+"&replication=true")
	if err != nil {
		t.Fatal(err)
	}
	disconnect = func() { _ = conn.Conn().Close() }
	t.Cleanup(disconnect)
	here, err := conn.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	conn.Frontend().Send(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + string(here[0].Rows[0][2])})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	return disconnect
}

// awaitStandbys asks until there are n.
func awaitStandbys(t *testing.T, w *store.Watch, n int) store.Replication {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		r, err := w.Replication(ctx)
		if err != nil {
			t.Fatalf("%d standbys, want %d: %v", r.Standbys, n, err)
		}
		if r.Standbys == n {
			return r
		}
	}
}
