package main

import (
	"cmp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/storetest"
)

// booked is a recharge of 500 with one transfer; the zero value is as it should be.
type booked struct {
	state     string // of the recharge; "" for committed
	operation string // its type; "" for recharge.commit
	debited   string // kind of the account; "" for provider_clearing
	elsewhere bool   // credited to another wallet than that of its account
	less      int64  // what is missing of its amount
	twice     bool   // there is a late one beside it
	nothing   bool   // there is no transfer
}

func TestTheBooksOfRechargesShowWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		booked   booked
		accepted int
		broken   string // the promise
	}{
		"as it should be":                     {booked{}, 1, ""},
		"nobody sent it":                      {booked{}, 0, "has succeeded"},
		"one was lost":                        {booked{}, 2, "has succeeded"},
		"never committed":                     {booked{state: "created"}, 1, "is committed"},
		"rolled back, and credited":           {booked{state: "rolled_back"}, 1, "is committed"},
		"committed, and not credited":         {booked{nothing: true}, 1, "has one transfer"},
		"credited to somebody else":           {booked{elsewhere: true}, 1, "has one transfer"},
		"credited with less":                  {booked{less: 1}, 1, "has one transfer"},
		"credited from suspense":              {booked{debited: "suspense"}, 1, "has one transfer"},
		"credited twice":                      {booked{twice: true}, 1, "has one transfer"},
		"credited by another kind of command": {booked{operation: "recharge.rollback"}, 1, "has one transfer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			db.Account(0)
			db.Account(0)
			tt.booked.store(db)
			conn, err := pgx.Connect(t.Context(), db.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			err = (&bench{books: conn}).checkBooks(t.Context(), rechargeWork.promises, tt.accepted)
			if (tt.broken == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.broken) {
				t.Errorf("the books say %v, want %q broken", err, tt.broken)
			}
		})
	}
}

func (b booked) store(db *storetest.DB) {
	recharge, operation := uuid.New(), uuid.New()
	db.Exec(`INSERT INTO clients (client_id, secret_hash, scopes, rights) VALUES ('c', '', '{}', '{}')`)
	db.Exec(`INSERT INTO providers (reference, name, currency) VALUES ('p', 'p', 810)`)
	db.Exec(`INSERT INTO recharges (id, provider_id, account_id, amount, currency, description, params, client_id, state, created_at, updated_at, expires_at)
		SELECT $1, p.id, (SELECT min(id) FROM accounts), 500, 810, '', '{}', c.id, $2, now(), now(), now()
		FROM providers p, clients c WHERE p.reference = 'p' AND c.client_id = 'c'`, recharge, cmp.Or(b.state, "committed"))
	db.Exec(`INSERT INTO operations (id, type, resource, due_at, status, finished_at) VALUES ($1, $2, $3, now(), 'succeeded', now())`,
		operation, cmp.Or(b.operation, "recharge.commit"), recharge)
	db.Exec(`INSERT INTO ledger_accounts (kind, owner, currency, may_go_negative)
		SELECT 'wallet', id, 810, false FROM accounts
		UNION ALL SELECT 'provider_clearing', id, 810, true FROM providers UNION ALL SELECT 'suspense', 0, 810, true`)
	transfer := func(kind string) {
		owner := "min"
		if b.elsewhere {
			owner = "max"
		}
		db.Exec(`INSERT INTO transfers (kind, reference, debit, credit, amount, currency, operation_id, tx_id, created_at)
			SELECT $1, $2, d.id, c.id, $3, 810, $4, sha256(''), now()
			FROM ledger_accounts d, ledger_accounts c
			WHERE d.kind = $5 AND c.kind = 'wallet' AND c.owner = (SELECT `+owner+`(id) FROM accounts)`,
			kind, recharge, 500-b.less, operation, cmp.Or(b.debited, "provider_clearing"))
	}
	if !b.nothing {
		transfer("recharge")
	}
	if b.twice {
		transfer("late_recharge")
	}
	db.Exec(`UPDATE ledger_accounts l SET balance = coalesce((SELECT sum(amount) FROM entries e WHERE e.ledger_account = l.id), 0)`)
}
