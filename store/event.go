package store

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// EventType says what happened.
type EventType string

// What endpoints are told of. Those of payments, and the end of a subscription, are their
// shop's; those of recharges the back office's that created it; invoice.paid, which is of an
// invoice paid from a wallet, is nobody's: only an operator can have it sent anywhere.
// callback.test is sent to one endpoint, because somebody asked for it. That an invoice is made,
// or its payment refused, only its payer's phone is told.
const (
	EventPaymentFinished       EventType = "payment.finished"
	EventPaymentHolded         EventType = "payment.holded"
	EventPaymentCanceled       EventType = "payment.canceled"
	EventPaymentRejected       EventType = "payment.rejected"
	EventPaymentReversed       EventType = "payment.reversed"
	EventPaymentPartlyReversed EventType = "payment.partly_reversed"
	EventSubscriptionEnded     EventType = "subscription.ended"
	EventRechargeCommitted     EventType = "recharge.committed"
	EventRechargeRolledBack    EventType = "recharge.rolled_back"
	EventRechargeExpired       EventType = "recharge.expired"
	EventInvoicePaid           EventType = "invoice.paid"
	EventCallbackTest          EventType = "callback.test"

	EventInvoiceMade    EventType = "invoice.made"
	EventInvoiceRefused EventType = "invoice.refused"
)

// ParseEventType reads an event's type.
func ParseEventType(text string) (EventType, bool) {
	t := EventType(text)
	return t, t == EventCallbackTest || slices.Contains(choosable, t)
}

// event is what somebody outside is to be told.
type event struct {
	kind     EventType
	client   int64 // 0: nobody's
	resource [16]byte
	at       time.Time // the database's clock, of the transaction that caused it
	data     any       // what is in the body's member data

	callbackURL string        // "" where the resource has none
	invoice     InvoiceNumber // whose callbackURL it is
	endpoint    EndpointID    // who alone is told; zero: whoever listens
	phone       int64         // the account whose phone is told; 0: none
	trace       string        // the span that caused it
}

// eventBody is what standard endpoints are sent, in this order.
type eventBody struct {
	ID        EventID   `json:"id"`
	Type      EventType `json:"type"`
	Timestamp string    `json:"timestamp"`
	Data      any       `json:"data"`
}

// eventTime has the microseconds that the database has, all six.
const eventTime = "2006-01-02T15:04:05.000000Z"

// body is the exact text of an event. Nothing in it is escaped for HTML, which nobody who
// verifies a signature would expect.
func (e event) body(id EventID) (string, error) {
	text, err := plainJSON(eventBody{ID: id, Type: e.kind, Timestamp: e.at.UTC().Format(eventTime), Data: e.data})
	return text, wrap("the body of "+string(e.kind), err)
}

// plainJSON encodes a value without escapes for HTML.
func plainJSON(value any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(value)
	return strings.TrimSuffix(b.String(), "\n"), err
}

const insertEventsSQL = `
INSERT INTO events (id, type, client_id, resource, body)
SELECT e.id, e.type, nullif(e.client, 0), e.resource, e.body
FROM unnest(@ids::uuid[], @types::text[], @clients::bigint[], @resources::uuid[], @bodies::text[])
     AS e (id, type, client, resource, body)`

// writeEvents has events written, and what is to be sent of them, in the transaction that
// caused them: a handful of statements, whatever the number of events. Once the batch was
// sent, enqueued says whether there are new rows in the outbox.
//
// It comes before ledger accounts are locked by whoever has callbackURLs: an endpoint that
// somebody else is making meanwhile is waited for.
func (s *Store) writeEvents(batch *pgx.Batch, all []event, enqueued *bool) (ids []EventID, err error) {
	*enqueued = false
	if len(all) == 0 {
		return nil, nil
	}
	ids = make([]EventID, len(all))
	types, clients := make([]EventType, len(all)), make([]int64, len(all))
	resources, bodies := make([][16]byte, len(all)), make([]string, len(all))
	for i, e := range all {
		ids[i], types[i], clients[i], resources[i] = NewEventID(), e.kind, e.client, e.resource
		if bodies[i], err = e.body(ids[i]); err != nil {
			return nil, err
		}
	}
	batch.Queue(insertEventsSQL, pgx.NamedArgs{"ids": ids, "types": types, "clients": clients, "resources": resources, "bodies": bodies})
	s.fanOut(batch, ids, all, enqueued)
	s.push(batch, ids, all, enqueued)
	return ids, nil
}
