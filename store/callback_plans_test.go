package store_test

import (
	"testing"

	"github.com/quittance/quittance/store/storetest"
)

// What each statement about deliveries must find by an index. Those that tell of events are among
// the plans of payments by card.
var callbackDeliveryPlans = []plan{
	{"readCallbacksSQL", []string{"operations_pkey", "callbacks_pkey", "events_pkey", "callback_endpoints_pkey", "callback_urls_gone_pkey"}},
	{"lockCallbacksSQL", []string{"operations_pkey", "callbacks_pkey"}},
	{"lockEndpointsSQL", []string{"callback_endpoints_pkey"}},
	{"keepAttemptsSQL", nil},
	{"endCountedSQL", []string{"operations_pkey"}},
	{"delayCallbacksSQL", []string{"operations_pkey"}},
	{"countCallbacksSQL", []string{"operations_pkey"}},
	{"leaseOperationsSQL", []string{"operations_pkey"}},
	{"markCallbacksSQL", []string{"callbacks_pkey"}},
	{"writeEndpointsSQL", []string{"callback_endpoints_pkey"}},
	{"parkCallbacksSQL", []string{"operations_pkey", "callbacks_pkey"}},
	{"releaseCallbacksSQL", []string{"callbacks_held", "callback_endpoints_pkey", "operations_pkey", "callbacks_pkey"}},
	{"lockForReplaySQL", []string{"operations_pkey", "callbacks_pkey", "callback_endpoints_pkey", "callback_urls_gone_pkey"}},
	{"replayCallbacksSQL", []string{"operations_pkey", "callbacks_pkey"}},
	{"rangeOfCallbacksSQL", []string{"callbacks_pkey"}},
	{"rangeOfClientSQL", []string{"callbacks_by_client"}},
	{"rangeOfEndpointSQL", []string{"callbacks_by_endpoint"}},
	{"insertDeadLettersSQL", []string{"attempts_pkey", "callback_attempts_pkey"}},
	{"countDueSQL", []string{"operations_due"}},
	{"enqueueDueSQL", []string{"operations_due", "operations_pkey"}},
	{"enqueueWaitingSQL", []string{"operations_due", "operations_pkey"}},
	{"forgetCallbacksSQL", []string{"callbacks_to_forget", "operations_pkey", "callbacks_pkey", "attempts_pkey", "callback_attempts_pkey"}},
	{"forgetEventsSQL", []string{"events_pkey", "one_callback_per_event_and_endpoint"}},
}

func TestEveryStatementAboutDeliveriesHasItsIndex(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	checkPlans(t, db.Pool(), "in an empty database", callbackDeliveryPlans)
	fillWithCallbacks(t, db)
	checkPlans(t, storetest.Open(t, db.URL).Pool(), "among many rows", callbackDeliveryPlans)
}

// fillWithCallbacks makes 20,000 callbacks of 2,000 endpoints, of which most are delivered.
func fillWithCallbacks(t *testing.T, db *storetest.DB) {
	t.Helper()
	client := db.Shop().Client
	endpoint := db.Endpoint(client, "https://shop.example/hook")
	db.Exec(`INSERT INTO callback_endpoints (id, client_id, policy, origin, url, secret)
		SELECT new_id(), $1, 'standard', 'https://shop.example:443', 'https://shop.example/' || n, '' FROM generate_series(1, 2000) AS n`, client)
	db.Exec(`INSERT INTO operations (id, type, resource, status, due_at, finished_at)
		SELECT new_id(), 'callback.send', new_id(), 'succeeded', now(), now() FROM generate_series(1, 20000)`)
	db.Exec("INSERT INTO events (id, type, client_id, resource, body) SELECT o.resource, 'payment.finished', $1, gen_random_uuid(), '{}' FROM operations o", client)
	db.Exec(`INSERT INTO callbacks (id, event_id, endpoint_id, client_id)
		SELECT o.id, o.resource, p.id, p.client_id + o.n
		FROM (SELECT id, resource, row_number() OVER () % 2000 AS n FROM operations) o
		JOIN (SELECT id, client_id, row_number() OVER () - 1 AS n FROM callback_endpoints) p USING (n)`)
	db.Exec("INSERT INTO callback_attempts SELECT id, now(), 1, 1, 'delivered', 200, '', '', '1 second' FROM operations")
	db.Exec("INSERT INTO attempts (operation_id, seq, attempt, error) SELECT id, 1, 1, 'e' FROM operations")
	db.Exec("INSERT INTO callback_urls_gone (invoice_id) SELECT gen_random_uuid() FROM generate_series(1, 5000)")
	for range 20 { // and some that are open
		db.Callback(endpoint)
	}
	db.Exec("VACUUM ANALYZE")
}

// What each statement of the log and of endpoints must find by an index.
var callbackLogPlans = []plan{
	{"readEndpointSQL", []string{"callback_endpoints_pkey"}},
	{"listEndpointsSQL", nil},
	{"listEndpointsOfClientSQL", []string{"callback_endpoints_by_client", "one_endpoint_per_client_and_origin", "callback_endpoints_pkey"}},
	{"readForEndpointSQL", []string{"callback_endpoints_by_client"}},
	{"readForChangeSQL", []string{"callback_endpoints_pkey"}},
	{"updateEndpointSQL", []string{"callback_endpoints_pkey"}},
	{"listCallbacksSQL", []string{"callbacks_pkey", "events_pkey", "operations_pkey", "callback_endpoints_pkey"}},
	{"listCallbacksOfClientSQL", []string{"callbacks_by_client", "events_pkey", "operations_pkey", "callback_endpoints_pkey"}},
	{"listCallbacksOfEndpointSQL", []string{"callbacks_by_endpoint", "events_pkey", "operations_pkey", "callback_endpoints_pkey"}},
	{"listCallbacksOfEventSQL", []string{"one_callback_per_event_and_endpoint"}},
	{"listCallbacksOfResourceSQL", []string{"events_by_resource", "one_callback_per_event_and_endpoint"}},
	{"listCallbacksNotDeliveredSQL", []string{"callbacks_not_delivered", "callbacks_pkey"}},
	{"readCallbackOfEventSQL", []string{"one_callback_per_event_and_endpoint"}},
	{"readCallbackSQL", []string{"callbacks_pkey", "events_pkey", "operations_pkey"}},
	{"readCallbackBodySQL", []string{"callbacks_pkey", "events_pkey"}},
	{"readCallbackAttemptsSQL", []string{"callback_attempts_pkey"}},
}

func TestEveryStatementOfTheLogHasItsIndex(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	checkPlans(t, db.Pool(), "in an empty database", callbackLogPlans)
	fillLog(db)
	checkPlans(t, storetest.Open(t, db.URL).Pool(), "among many rows", callbackLogPlans)
}

// fillLog makes 2,000 endpoints of a client, and 20,000 callbacks of one of them: of whom nearly
// everything is, the planner would read everything.
func fillLog(db *storetest.DB) {
	client := db.BackOffice()
	endpoint := db.Endpoint(client, "https://a.example/")
	const rows = "FROM generate_series(1, $1) AS g (n)"
	db.Exec(`INSERT INTO callback_endpoints (id, client_id, policy, origin) SELECT new_id(), $2, 'invoicer', 'http://' || g.n || ':80' `+rows, 2_000, client)
	db.Exec(`INSERT INTO events (id, type, client_id, resource, body) SELECT new_id(), 'recharge.committed', $2, gen_random_uuid(), '{}' `+rows, 20_000, client)
	db.Exec(`WITH o AS (
			INSERT INTO operations (id, type, resource, status, due_at, finished_at)
			SELECT new_id(), 'callback.send', e.id, 'succeeded', now(), now() FROM events e RETURNING id, resource
		)
		INSERT INTO callbacks (id, event_id, endpoint_id, client_id) SELECT o.id, o.resource, $1, $2 FROM o`, endpoint, client)
	db.Exec(`INSERT INTO callback_attempts (callback_id, started_at, seq, attempt, outcome, status, reason, answer, duration)
		SELECT c.id, now(), 1, 1, 'delivered', 200, '', '', interval '1 ms' FROM callbacks c`)
	db.Exec("VACUUM ANALYZE")
}
