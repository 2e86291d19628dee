package storetest

import (
	"encoding/base64"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/quittance/quittance/store"
)

// CallTime is how long the builders' attempts may take.
const CallTime = 15 * time.Second

// Endpoint registers a URL of the client, under the policy standard. Without types it is told
// of all events of the client's own.
func (db *DB) Endpoint(client int64, address string, types ...store.EventType) store.EndpointID {
	db.t.Helper()
	return db.Registered(client, address, types...).ID
}

// Registered is Endpoint with all that is known of it, its secret among that.
func (db *DB) Registered(client int64, address string, types ...store.EventType) store.Endpoint {
	db.t.Helper()
	settings := store.EndpointSettings{URL: &address, EventTypes: &types}
	made, err := db.CreateEndpoint(db.t.Context(), client, settings, store.EndpointCommand{ID: store.NewEndpointID(), AllowHTTP: true})
	if err != nil {
		db.t.Fatal(err)
	}
	return made
}

// SecretOf is a key as receivers are given it (Standard Webhooks): an endpoint's own, or the
// signing secret of a shop.
func SecretOf(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

// originOf is scheme://host:port.
func (db *DB) originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		db.t.Fatal(err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return strings.ToLower(u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port))
}

// Callback has an event sent to a registered endpoint, and returns the message about it.
func (db *DB) Callback(endpoint store.EndpointID) store.Ref {
	db.t.Helper()
	return db.callback(endpoint, nil, nil)
}

// InvoiceCallback has an event of an invoice of the shop sent to the invoice's callbackUrl, under
// the policy invoicer, and returns the message about it. Each is of an invoice of its own.
func (db *DB) InvoiceCallback(shop store.Shop, address string) store.Ref {
	db.t.Helper()
	return db.InvoiceCallbackOf(shop, store.NewShopInvoiceID(), address)
}

// InvoiceCallbackOf is InvoiceCallback of a certain invoice.
func (db *DB) InvoiceCallbackOf(shop store.Shop, invoice store.InvoiceNumber, address string) store.Ref {
	db.t.Helper()
	origin := db.originOf(address)
	db.Exec(`INSERT INTO callback_endpoints (id, client_id, policy, origin) VALUES ($1, $2, 'invoicer', $3) ON CONFLICT DO NOTHING`,
		store.NewEndpointID(), shop.Client, origin)
	var endpoint store.EndpointID
	err := db.Pool().QueryRow(db.t.Context(), `SELECT id FROM callback_endpoints WHERE client_id = $1 AND origin = $2 AND policy = 'invoicer'`,
		shop.Client, origin).Scan(&endpoint)
	if err != nil {
		db.t.Fatal(err)
	}
	return db.callback(endpoint, &address, &invoice)
}

// callback writes a payment.finished with made-up data, and all that is to be sent of it.
func (db *DB) callback(endpoint store.EndpointID, address *string, invoice *store.InvoiceNumber) store.Ref {
	db.t.Helper()
	ref := store.Ref{ID: store.NewOperationID(), Seq: 1}
	event := store.NewEventID()
	payment := store.NewPaymentID()
	body := `{"id":"` + event.String() + `","type":"payment.finished","timestamp":"` + time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") +
		`","data":{"paymentId":"` + payment.String() + `","amount":50000}}`
	db.Exec(`WITH event AS (
			INSERT INTO events (id, type, client_id, resource, body)
			SELECT $1, 'payment.finished', p.client_id, $2, $3 FROM callback_endpoints p WHERE p.id = $4
		), operation AS (
			INSERT INTO operations (id, type, resource, due_at) VALUES ($5, 'callback.send', $1, now() + interval '1 second')
		), callback AS (
			INSERT INTO callbacks (id, event_id, endpoint_id, client_id, url, invoice_id)
			SELECT $5, $1, p.id, p.client_id, $6, $7 FROM callback_endpoints p WHERE p.id = $4
		)
		INSERT INTO outbox (queue, message_id, seq, type) VALUES ('callbacks', $5, 1, 'callback.send')`,
		event, payment, body, endpoint, ref.ID, address, invoice)
	return ref
}

// Sending begins the attempt that the message asks for.
func (db *DB) Sending(ref store.Ref) store.Callback {
	db.t.Helper()
	c, send, o, err := db.StartCallback(db.t.Context(), ref, CallTime)
	if err != nil {
		db.t.Fatal(err)
	}
	if !send {
		db.t.Fatalf("the message %+v asks for nothing to be sent, but %+v", ref, o)
	}
	return c
}

// NotSending fails the test where the message asks for an attempt.
func (db *DB) NotSending(ref store.Ref) store.Outcome {
	db.t.Helper()
	_, send, o, err := db.StartCallback(db.t.Context(), ref, CallTime)
	if err != nil {
		db.t.Fatal(err)
	}
	if send {
		db.t.Fatalf("the message %+v asks for something to be sent", ref)
	}
	return o
}

// Attempt is an attempt as it mostly ends. Where it failed it is tried again after 5 s.
func Attempt(c store.Callback, outcome store.CallbackOutcome) store.CallbackResult {
	r := store.CallbackResult{
		Callback: c, Outcome: outcome, Answer: []byte("an answer"), StartedAt: time.Now(), Duration: 20 * time.Millisecond,
		Next: &store.Delay{Name: "5s", Wait: 5 * time.Second},
	}
	switch outcome {
	case store.Delivered:
		r.Status = 200
	case store.CallbackRefused:
		r.Status, r.Reason = 500, "answered 500"
	case store.CallbackGone:
		r.Status, r.Reason = 410, "answered 410"
	default:
		r.Answer, r.Reason = nil, "no answer: "+string(outcome)
	}
	return r
}

// Attempted stores how an attempt ended.
func (db *DB) Attempted(c store.Callback, outcome store.CallbackOutcome) store.Outcome {
	db.t.Helper()
	return db.AttemptedWith(Attempt(c, outcome))
}

// AttemptedWith stores how an attempt ended.
func (db *DB) AttemptedWith(r store.CallbackResult) store.Outcome {
	db.t.Helper()
	o, err := db.FinishCallback(db.t.Context(), r)
	if err != nil {
		db.t.Fatal(err)
	}
	return o
}
