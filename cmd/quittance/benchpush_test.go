package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

func TestTheBooksOfPushesShowWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		damage   string
		accepted int
		broken   string // the promise
	}{
		"as it should be":        {"", 1, ""},
		"one was lost":           {"", 2, "has succeeded"},
		"it was given up":        {"UPDATE operations SET status = 'failed', error_code = 'x'", 1, "has succeeded"},
		"somebody else was told": {"UPDATE pushes SET account_id = -1", 1, "told once of each invoice"},
		"told twice": {`WITH o AS (INSERT INTO operations (id, type, resource, due_at, status, attempts, finished_at)
			SELECT gen_random_uuid(), type, resource, due_at, status, attempts, finished_at FROM operations RETURNING id)
			INSERT INTO pushes (id, event_id, account_id) SELECT o.id, p.event_id, -1 FROM o, pushes p`, 2, "told once of each invoice"},
		"told at the second attempt": {"UPDATE operations SET attempts = 2", 1, "one attempt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			payer, shop := db.Account(0), db.Account(0)
			token := "phone"
			if err := db.SetPushToken(t.Context(), payer.Session, &token, store.Once{}); err != nil {
				t.Fatal(err)
			}
			db.Invoice(payer, shop, 1)
			db.Exec("UPDATE operations SET status = 'succeeded', attempts = 1, finished_at = now()")
			if tt.damage != "" {
				db.Exec(tt.damage)
			}
			conn, err := pgx.Connect(t.Context(), db.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			err = (&bench{books: conn}).checkBooks(t.Context(), pushWork.promises, tt.accepted)
			if (tt.broken == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.broken) {
				t.Errorf("the books say %v, want %q broken", err, tt.broken)
			}
		})
	}
}
