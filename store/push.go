package store

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/store/money"
)

// PushSend tells a phone of an event. The operation has the id of its push.
const PushSend OperationType = "push.send"

// Locale is the language in which an account is spoken to.
type Locale string

// Locales that there are words for. An account that chose none is spoken to in English.
const (
	English   Locale = "en"
	Russian   Locale = "ru"
	Ukrainian Locale = "uk"
)

// Known says that there are words in it.
func (l Locale) Known() bool { return l == English || l == Russian || l == Ukrainian }

// Devices that accounts live on.
const (
	Android DeviceType = 1
	IOS     DeviceType = 2
)

// Push is an event to be told to a phone.
type Push struct {
	Ref
	Event    EventID
	Type     EventType
	At       time.Time // of the event
	Token    string
	Device   DeviceType
	Locale   Locale
	Attempts int // before this one

	Amount      money.Amount
	Description string
	Recipient   string // account number of who gets the money

	// Of an invoice; zero where it is none.
	Invoice       InvoiceNumber
	Session       int64 // the row, not the credential, of the session that issued it
	NameCheque    string
	DatePayCheque string
	Items         []Item       // none where they would not fit into a message
	Error         InvoiceError // why its payment was refused

	account   int64
	refreshed time.Time // when the phone last said that this is its token
}

// PushUse is how long after its event a push still tells something: a phone that comes back
// later finds it in the app.
const PushUse = 24 * time.Hour

const pushSQL = `
WITH push AS (
	SELECT p.id, p.event, p.account, p.trace
	FROM unnest(@ids::uuid[], @events::uuid[], @accounts::bigint[], @traces::text[]) AS p (id, event, account, trace)
), opened AS (
	INSERT INTO operations (id, type, resource, due_at, trace_parent)
	SELECT p.id, @type, p.event, now() + @grace, nullif(p.trace, '')
	FROM push p
), kept AS (
	INSERT INTO pushes (id, event_id, account_id)
	SELECT p.id, p.event, p.account
	FROM push p
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, p.id, 1, @type
FROM push p`

// push has phones told of events. Where there is no phone it does nothing.
func (s *Store) push(batch *pgx.Batch, events []EventID, all []event, enqueued *bool) {
	var ids []OperationID
	var told []EventID
	var accounts []int64
	var traces []string
	for i, e := range all {
		if e.phone != 0 {
			ids, told, accounts = append(ids, NewOperationID()), append(told, events[i]), append(accounts, e.phone)
			traces = append(traces, e.trace)
		}
	}
	if len(ids) == 0 {
		return
	}
	batch.Queue(pushSQL, pgx.NamedArgs{
		"ids": ids, "events": told, "accounts": accounts, "traces": traces, "type": PushSend, "queue": queueOf[PushSend], "grace": s.grace,
	}).Exec(func(pgconn.CommandTag) error {
		*enqueued = true
		return nil
	})
}
