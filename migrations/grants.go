package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Roles are those that Grant grants to; "" for one that there is none of.
type Roles struct {
	Runtime string // of api, worker and the operator's command line: reads and writes
	Reader  string // of audits and reports: only reads
}

// right is what the runtime role may do to a table besides reading it. What was agreed upon and
// what has happened is written once: only the columns that a state has are updated. To lock a row
// takes the right to update one column, which is why there are some that nothing updates.
//
// A right may go only one release after the last code that needs it: the old code runs on while
// the new one's Grant is in force.
type right struct{ table, may, update string }

var rights = []right{
	{"accounts", "INSERT", "push_token, last_active_at, token_refreshed_at, token_deactivated_at, token_strikes"},
	{"acquirer_intents", "INSERT", "secret, state, leased_until, inquiries, error, reference, finished_at"},
	{"attempts", "INSERT, DELETE", ""},
	{"audit_log", "INSERT", ""},
	{"callback_attempts", "INSERT, DELETE", ""},
	{"callback_endpoints", "INSERT", "origin, url, event_types, description, secret, old_secret, old_secret_until, rate_limit, state, state_reason, failing_since, failures, updated_at"},
	{"callback_urls_gone", "INSERT", ""},
	{"callbacks", "INSERT, DELETE", "parks, held, replaying"},
	{"cards", "INSERT", ""},
	{"client_sessions", "INSERT, DELETE", "expires_at"},
	{"clients", "INSERT", "secret_hash, disabled, grants_from, name, signing_secret, signature_required, commission_millipercents, commission_fixed, hold_for"},
	{"dead_letters", "INSERT", "resolved_at, resolution, resolved_by, note"},
	{"deciding_clock", "", ""},                 // moved in development only
	{"events", "INSERT, DELETE", "created_at"}, // to lock it: a trigger refuses every change
	{"goose_db_version", "", ""},
	{"grants", "INSERT, DELETE", "revoked, expires_at"},
	{"idempotency_keys", "INSERT, DELETE", ""},
	{"idempotency_leases", "INSERT, DELETE", "fingerprint, intent_id, leased_until"},
	{"invoices", "INSERT", "state, error_code, updated_at"},
	{"ledger_accounts", "INSERT", "balance"},
	{"login_attempts", "INSERT, DELETE", "failures, last_failed_at, locked_until"},
	{"operations", "INSERT, DELETE", "status, seq, attempts, due_at, error_code, error_message, finished_at, waits"},
	{"outbox", "INSERT, DELETE", "publish_at, postponed, error"},
	{"payments", "INSERT", "amount, commission, held, completed, reversed, reversing, commission_reversed, commission_reversing, status, payment_status, " +
		"send_operation_id, receive_operation_id, confirmation, refusal_code, refusal_message, expires_at, updated_at, paid_at, finished_at, reversed_at, canceled_at"},
	{"provider_days", "INSERT", "total"},
	{"providers", "INSERT", "name, description, params, currency, limit_per_payment, limit_per_day, expires_after, enabled"},
	{"pushes", "INSERT, DELETE", "account_id"}, // to lock it
	{"recharges", "INSERT", "description, params, state, reason, updated_at"},
	{"sessions", "INSERT", ""},
	{"subscriptions", "INSERT", "interval_days, expires_at, active, card_id, tries, paid_at, due_at, charge_at, updated_at"},
	{"suspense_notes", "INSERT", ""},
	{"tokens", "INSERT, DELETE", "used_at"},
	{"transfers", "INSERT", ""},
	{"users", "INSERT", "disabled, grants_from"},
	{"vouchers", "INSERT", "recharge_id, redeemed_at"},
}

var (
	// ErrTwoRoles says that one role was named for both. Nothing was done.
	ErrTwoRoles = errors.New("one role cannot be both the runtime's and the reader's")
	// ErrMightyRole says that a role may do more than it is granted. Nothing was done.
	ErrMightyRole = errors.New("it may change or delete transfers whatever it is granted: as a superuser, as their owner, or as a member of such a role")
)

// Grant has each role hold the privileges that it needs on the newest schema, and no other. The
// roles exist already: who may create some is not ours to say, and they belong to the whole server.
//
// It is to be called after each Up, since a new table is nobody's but its owner's. It is one
// transaction: what runs meanwhile loses no privilege, not even for a moment.
func Grant(ctx context.Context, url string, to Roles) error {
	if to.Runtime == to.Reader && to.Runtime != "" {
		return ErrTwoRoles
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("grant: %w", err)
	}
	defer conn.Close(ctx)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, oneGrantAtATimeSQL); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
		if err := grant(ctx, tx, to.Runtime, runtimeRights()); err != nil {
			return err
		}
		return grant(ctx, tx, to.Reader, "")
	})
}

// Two that change a table's privileges at once fail.
const oneGrantAtATimeSQL = `
SELECT pg_advisory_xact_lock(hashtext('quittance grants'))`

const readOnlySQL = `
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, :role;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, :role;
GRANT USAGE ON SCHEMA public TO :role;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :role;`

const mightySQL = `
SELECT has_table_privilege(@role, 'transfers', 'UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(@role, 'transfers', 'UPDATE')`

func grant(ctx context.Context, tx pgx.Tx, role, more string) error {
	if role == "" {
		return nil
	}
	statements := strings.ReplaceAll(readOnlySQL+more, ":role", pgx.Identifier{role}.Sanitize())
	if _, err := tx.Exec(ctx, statements); err != nil {
		return fmt.Errorf("grant to %s: %w", role, err)
	}
	var mighty bool
	err := tx.QueryRow(ctx, mightySQL, pgx.NamedArgs{"role": role}).Scan(&mighty)
	if err == nil && mighty {
		err = ErrMightyRole
	}
	if err != nil {
		return fmt.Errorf("grant to %s: %w", role, err)
	}
	return nil
}

// runtimeRights are the statements that let api and worker write.
func runtimeRights() string {
	statements := "\nGRANT USAGE ON SEQUENCE invoice_numbers TO :role;"
	for _, r := range rights {
		if r.may != "" {
			statements += fmt.Sprintf("\nGRANT %s ON %s TO :role;", r.may, r.table)
		}
		if r.update != "" {
			statements += fmt.Sprintf("\nGRANT UPDATE (%s) ON %s TO :role;", r.update, r.table)
		}
	}
	return statements
}
