// Package storetest gives each test an empty, migrated database of its own, with builders
// for what most tests start from and the one check that every test should end with.
//
// The server is the one of DATABASE_URL, which `make test` starts.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// RUR is the currency of the builders.
const RUR money.Currency = 810

// Secret is the key of every test's store.
var Secret = store.Secret(bytes.Repeat([]byte{7}, 32))

// PublicURL is what the addresses in events begin with.
const PublicURL = "https://pay.test"

// DB is a database that ends with its test.
type DB struct {
	*store.Store
	URL string
	t   testing.TB
}

// New clones the migrated template and opens a store on the copy.
func New(t testing.TB) *DB {
	t.Helper()
	address := Create(t)
	return &DB{Store: Open(t, address), URL: address, t: t}
}

// Open opens another store on a database: another process, as far as it can tell.
func Open(t testing.TB, address string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: address, Secret: Secret, Grace: time.Second, PublicURL: PublicURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Operator is the name of whoever operates in tests.
const Operator = "olga"

// Operated opens the store on a database as an operator does.
func Operated(t testing.TB, address string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: address, Secret: Secret, Grace: time.Second, PublicURL: PublicURL, Actor: Operator})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

var created atomic.Int64

// Create makes an empty, migrated database and returns its address.
func Create(t testing.TB) string {
	t.Helper()
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		t.Fatal("DATABASE_URL is not set: run make test, or go run ./cmd/dev exec -data test -- go test ./...")
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)

	template := ensureTemplate(ctx, t, conn, server)
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), created.Add(1))
	mustExec(ctx, t, conn, "CREATE DATABASE "+name+" TEMPLATE "+template)
	t.Cleanup(func() { drop(t, server, name) })
	return withDatabase(t, server, name)
}

// ensureTemplate migrates one database per version of the schema, whichever test process
// comes first.
func ensureTemplate(ctx context.Context, t testing.TB, conn *pgx.Conn, server string) string {
	t.Helper()
	name := "template_" + schemaVersion(t)
	mustExec(ctx, t, conn, "SELECT pg_advisory_lock(7001)")
	defer mustExec(ctx, t, conn, "SELECT pg_advisory_unlock(7001)")

	var ready bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1 AND datistemplate)", name).Scan(&ready); err != nil {
		t.Fatal(err)
	}
	if ready {
		return name
	}
	mustExec(ctx, t, conn, "DROP DATABASE IF EXISTS "+name)
	mustExec(ctx, t, conn, "CREATE DATABASE "+name)
	if _, err := migrations.Up(ctx, withDatabase(t, server, name)); err != nil {
		t.Fatal(err)
	}
	mustExec(ctx, t, conn, "ALTER DATABASE "+name+" IS_TEMPLATE true")
	return name
}

func schemaVersion(t testing.TB) string {
	t.Helper()
	h := sha256.New()
	files, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(migrations.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func drop(t testing.TB, server, name string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	mustExec(ctx, t, conn, "DROP DATABASE "+name+" WITH (FORCE)")
}

func mustExec(ctx context.Context, t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func withDatabase(t testing.TB, server, name string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// Account is a phone with an account.
type Account struct {
	ID      int64
	Session store.SessionID
	Number  string
}

// Account opens an account whose wallet holds minor units of RUR; 0 for no wallet.
func (db *DB) Account(minor int64) Account {
	db.t.Helper()
	ctx := db.t.Context()
	a := Account{Session: store.SessionID(uuid.NewString())}
	if err := db.AddAccount(ctx, store.NewAccount{Session: a.Session, DeviceType: 1}, store.Once{}); err != nil {
		db.t.Fatal(err)
	}
	info, err := db.Store.Account(ctx, a.Session)
	if err != nil {
		db.t.Fatal(err)
	}
	a.ID, a.Number = info.ID, info.Number
	if minor > 0 {
		if _, err := db.OpenBalance(ctx, a.Number, money.Amount{Minor: minor, Currency: RUR}, uuid.New()); err != nil {
			db.t.Fatal(err)
		}
	}
	return a
}

// Invoice issues an invoice of minor units of RUR, and returns the payment that fits it.
func (db *DB) Invoice(from, to Account, minor int64) store.Payment {
	db.t.Helper()
	amount := money.Amount{Minor: minor, Currency: RUR}
	number := store.InvoiceNumber(uuid.Must(uuid.NewUUID()))
	err := db.IssueInvoice(db.t.Context(), store.NewInvoice{
		Number: number, Session: to.Session, Payer: from.Number, Recipient: to.Number,
		Amount: amount, Description: "a test's",
	}, store.Once{})
	if err != nil {
		db.t.Fatal(err)
	}
	return store.Payment{Session: from.Session, Number: number, Amount: amount, Recipient: to.Number}
}

// Accepted issues an invoice and accepts its payment.
func (db *DB) Accepted(from, to Account, minor int64) store.Ref {
	db.t.Helper()
	id, err := db.AcceptPayment(db.t.Context(), db.Invoice(from, to, minor))
	if err != nil {
		db.t.Fatal(err)
	}
	return store.Ref{ID: id, Seq: 1}
}

// Settle settles one message as the payment worker would.
func (db *DB) Settle(ref store.Ref) store.Outcome {
	db.t.Helper()
	outcomes, err := db.PayInvoices(db.t.Context(), []store.Ref{ref})
	if err != nil {
		db.t.Fatal(err)
	}
	return outcomes[0]
}

// Dies has the broker give up the message about an operation, and returns its dead letter.
func (db *DB) Dies(ref store.Ref) (letter int64) {
	db.t.Helper()
	d := store.DeadLetter{
		Queue: "payments", MessageID: ref.ID.String(), Seq: ref.Seq, Operation: ref.ID, Reason: "rejected", Error: "it cannot be done",
		Body: []byte(`{"id":"` + ref.ID.String() + `"}`), PropertyID: ref.ID.String(),
	}
	if _, err := db.KeepDeadLetters(db.t.Context(), []store.DeadLetter{d}); err != nil {
		db.t.Fatal(err)
	}
	return int64(db.Count("SELECT id FROM dead_letters WHERE message_id = $1 AND seq = $2", d.MessageID, d.Seq))
}

// Provider is an enabled provider without limits; what change changes is its own.
func (db *DB) Provider(reference string, change func(*store.NewProvider)) {
	db.t.Helper()
	p := store.NewProvider{Provider: store.Provider{Reference: reference, Name: reference, Currency: RUR}, ExpiresAfter: 24 * time.Hour, Enabled: true}
	if change != nil {
		change(&p)
	}
	if err := db.PutProvider(db.t.Context(), p); err != nil {
		db.t.Fatal(err)
	}
}

// BackOffice returns the id of a client that may ask for recharges.
func (db *DB) BackOffice() (id int64) {
	db.t.Helper()
	const sql = `
		INSERT INTO clients (client_id, secret_hash, scopes, rights)
		VALUES ('back office', '', '{credit}', '{manage_payments}')
		ON CONFLICT (client_id) DO UPDATE SET secret_hash = ''
		RETURNING id`
	if err := db.Pool().QueryRow(db.t.Context(), sql).Scan(&id); err != nil {
		db.t.Fatal(err)
	}
	return id
}

// NewRecharge is a recharge of the provider "external", which db.Provider makes.
func (db *DB) NewRecharge(to Account, amount string) store.NewRecharge {
	db.t.Helper()
	d, err := money.ParseDecimal(amount)
	if err != nil {
		db.t.Fatal(err)
	}
	return store.NewRecharge{
		ID: store.NewRechargeID(), Provider: "external", Account: to.ID, Amount: &d, Client: db.BackOffice(),
		Answer: func(store.Recharge) store.Answer { return store.Answer{Status: 201} },
	}
}

// Recharge creates a recharge of the provider "external".
func (db *DB) Recharge(to Account, amount string) store.RechargeID {
	db.t.Helper()
	n := db.NewRecharge(to, amount)
	if _, err := db.CreateRecharge(db.t.Context(), n); err != nil {
		db.t.Fatal(err)
	}
	return n.ID
}

// Command is a command on a recharge of the provider "external".
func Command(kind store.OperationType, id store.RechargeID) store.RechargeCommand {
	return store.RechargeCommand{
		Type: kind, Provider: "external", ID: id, Reason: "a test's",
		Answer: func(store.Recharge) store.Answer { return store.Answer{Status: 202} },
	}
}

// Commanded accepts a command on a recharge.
func (db *DB) Commanded(kind store.OperationType, id store.RechargeID) store.Ref {
	db.t.Helper()
	answer, err := db.AcceptRecharge(db.t.Context(), Command(kind, id))
	if err != nil {
		db.t.Fatal(err)
	}
	return store.Ref{ID: answer.Operation, Seq: 1}
}

// SettleRecharge settles one message as the recharge worker would.
func (db *DB) SettleRecharge(ref store.Ref) store.Outcome {
	db.t.Helper()
	outcomes, err := db.SettleRecharges(db.t.Context(), []store.Ref{ref})
	if err != nil {
		db.t.Fatal(err)
	}
	return outcomes[0]
}

// Elsewhere is the same database as another process has it.
func (db *DB) Elsewhere() *DB {
	db.t.Helper()
	return &DB{Store: Open(db.t, db.URL), URL: db.URL, t: db.t}
}

// Exec runs SQL past the store: how a test makes the damage, or the clock, that it needs.
func (db *DB) Exec(sql string, args ...any) {
	db.t.Helper()
	if _, err := db.Pool().Exec(db.t.Context(), sql, args...); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
}

// Count returns the one number that a query answers.
func (db *DB) Count(sql string, args ...any) int {
	db.t.Helper()
	var n int
	if err := db.Pool().QueryRow(db.t.Context(), sql, args...).Scan(&n); err != nil {
		db.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// Eventually asks the database every few milliseconds until a query answers n, and fails
// the test where that does not happen within 30 s.
func (db *DB) Eventually(what string, n int, sql string, args ...any) {
	db.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; <-tick.C {
		got := db.Count(sql, args...)
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			db.t.Fatalf("%s: %d, want %d", what, got, n)
		}
	}
}

// Balance returns what an account's wallet holds, in minor units of RUR.
func (db *DB) Balance(a Account) int64 {
	db.t.Helper()
	info, err := db.Store.Account(db.t.Context(), a.Session)
	if err != nil {
		db.t.Fatal(err)
	}
	for _, b := range info.Balances {
		if b.Currency == RUR {
			return b.Minor
		}
	}
	return 0
}

// CheckInvariants fails the test where the database breaks a promise.
func (db *DB) CheckInvariants() {
	db.t.Helper()
	CheckInvariants(db.t, db.URL)
}
