package store

import (
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Whoever comes second waits here for who is making the same endpoint, and finds it with the
// next statement, which sees what was committed meanwhile.
const openInvoicerEndpointsSQL = `
INSERT INTO callback_endpoints (id, client_id, policy, origin)
SELECT new_id(), n.client, 'invoicer', n.origin
FROM (SELECT DISTINCT d.client, d.origin FROM unnest(@clients::bigint[], @origins::text[]) AS d (client, origin)) n
WHERE NOT EXISTS (SELECT FROM callback_endpoints e WHERE e.policy = 'invoicer' AND e.client_id = n.client AND e.origin = n.origin OFFSET 0)
ORDER BY n.client, n.origin
ON CONFLICT DO NOTHING`

// sendTold sends each of what a statement has told: an event, an endpoint of a client, and
// the callbackUrl of an invoice where it is that. What is for a disabled endpoint is held: it
// waits until somebody enables that. The operations come before what refers to them.
const sendTold = `, callback AS (
	SELECT new_id() AS id, t.event, t.endpoint, t.client, t.url, t.invoice, t.held, t.trace
	FROM told t
), opened AS (
	INSERT INTO operations (id, type, resource, due_at, waits, trace_parent)
	SELECT c.id, @type, c.event, CASE WHEN c.held THEN 'infinity' ELSE now() + @grace END, c.held, nullif(c.trace, '')
	FROM callback c
), sent AS (
	INSERT INTO callbacks (id, event_id, endpoint_id, client_id, url, invoice_id, held)
	SELECT c.id, c.event, c.endpoint, c.client, c.url, c.invoice, c.held
	FROM callback c
)
INSERT INTO outbox (queue, message_id, seq, type)
SELECT @queue, c.id, 1, @type
FROM callback c
WHERE NOT c.held`

// Registered endpoints are told of all that is their client's own, unless they chose; what is
// nobody's is for whom an operator let choose it. The endpoints are read first, once for each
// client and not for each event: mostly there are none, and then that is all. OFFSET 0 keeps
// it so.
const tellRegisteredSQL = `
WITH fresh AS (
	SELECT f.id, f.type, f.client, f.trace
	FROM unnest(@ids::uuid[], @types::text[], @clients::bigint[], @traces::text[]) AS f (id, type, client, trace)
), told AS (
	SELECT f.id AS event, e.id AS endpoint, e.client_id AS client, e.state = 'disabled' AS held, NULL AS url, NULL::uuid AS invoice, f.trace
	FROM (
		SELECT e.id, e.client_id, e.state, e.event_types
		FROM callback_endpoints e
		WHERE e.client_id = ANY(@listeners::bigint[]) AND e.policy = 'standard' AND e.state <> 'deleted'
		OFFSET 0
	) e
	JOIN fresh f ON f.client = e.client_id
	WHERE e.event_types = '{}' OR f.type = ANY(e.event_types)
	UNION ALL
	SELECT f.id, e.id, e.client_id, e.state = 'disabled', NULL, NULL, f.trace
	FROM (
		SELECT e.id, e.client_id, e.state
		FROM callback_endpoints e
		WHERE e.policy = 'standard' AND e.state <> 'deleted' AND 'invoice.paid' = ANY(e.event_types)
		OFFSET 0
	) e
	JOIN fresh f ON f.type = 'invoice.paid'
)` + sendTold

// An invoice's callbackUrl is told under its origin's endpoint, which stands by now.
const tellCallbackURLsSQL = `
WITH told AS (
	SELECT f.id AS event, e.id AS endpoint, e.client_id AS client, e.state = 'disabled' AS held, f.url, f.invoice, f.trace
	FROM unnest(@ids::uuid[], @clients::bigint[], @origins::text[], @urls::text[], @invoices::uuid[], @traces::text[])
	     AS f (id, client, origin, url, invoice, trace)
	CROSS JOIN LATERAL (
		SELECT e.id, e.client_id, e.state
		FROM callback_endpoints e
		WHERE e.policy = 'invoicer' AND e.client_id = f.client AND e.origin = f.origin
		OFFSET 0
	) e
	WHERE NOT EXISTS (SELECT FROM callback_urls_gone g WHERE g.invoice_id = f.invoice OFFSET 0)
)` + sendTold

const tellNamedSQL = `
WITH told AS (
	SELECT f.id AS event, e.id AS endpoint, e.client_id AS client, e.state = 'disabled' AS held, NULL AS url, NULL::uuid AS invoice, f.trace
	FROM unnest(@ids::uuid[], @endpoints::uuid[], @traces::text[]) AS f (id, endpoint, trace)
	CROSS JOIN LATERAL (SELECT e.id, e.client_id, e.state FROM callback_endpoints e WHERE e.id = f.endpoint OFFSET 0) e
)` + sendTold

// registered are events for whoever has registered for them.
type registered struct {
	ids       []EventID
	types     []EventType
	clients   []int64
	traces    []string
	listeners []int64 // the clients, each once
}

func (r *registered) add(id EventID, e event) {
	r.ids, r.types, r.clients, r.traces = append(r.ids, id), append(r.types, e.kind), append(r.clients, e.client), append(r.traces, e.trace)
	if e.client != 0 && !slices.Contains(r.listeners, e.client) { // few clients, however many events
		r.listeners = append(r.listeners, e.client)
	}
}

// callbackURLs are events for the callbackUrls of their invoices.
type callbackURLs struct {
	ids           []EventID
	clients       []int64
	origins, urls []string
	invoices      []InvoiceNumber
	traces        []string
}

func (c *callbackURLs) add(id EventID, e event) {
	c.ids, c.clients, c.origins = append(c.ids, id), append(c.clients, e.client), append(c.origins, originOf(e.callbackURL))
	c.urls, c.invoices = append(c.urls, e.callbackURL), append(c.invoices, e.invoice)
	c.traces = append(c.traces, e.trace)
}

// named are events for one endpoint each.
type named struct {
	ids       []EventID
	endpoints []EndpointID
	traces    []string
}

func (n *named) add(id EventID, e event) {
	n.ids, n.endpoints, n.traces = append(n.ids, id), append(n.endpoints, e.endpoint), append(n.traces, e.trace)
}

// fanOut has events sent to whom they are for; what there is none of costs nothing.
func (s *Store) fanOut(batch *pgx.Batch, ids []EventID, all []event, enqueued *bool) {
	var r registered
	var c callbackURLs
	var n named
	for i, e := range all {
		switch {
		case e.kind == EventInvoiceMade, e.kind == EventInvoiceRefused:
			continue // only a phone is told
		case !e.endpoint.IsZero():
			n.add(ids[i], e)
			continue
		case e.callbackURL != "":
			c.add(ids[i], e)
		}
		r.add(ids[i], e)
	}
	if len(r.ids) > 0 {
		s.tell(batch, enqueued, tellRegisteredSQL, pgx.NamedArgs{
			"ids": r.ids, "types": r.types, "clients": r.clients, "traces": r.traces, "listeners": r.listeners,
		})
	}
	if len(c.ids) > 0 {
		batch.Queue(openInvoicerEndpointsSQL, pgx.NamedArgs{"clients": c.clients, "origins": c.origins})
		s.tell(batch, enqueued, tellCallbackURLsSQL, pgx.NamedArgs{
			"ids": c.ids, "clients": c.clients, "origins": c.origins, "urls": c.urls, "invoices": c.invoices, "traces": c.traces,
		})
	}
	if len(n.ids) > 0 {
		s.tell(batch, enqueued, tellNamedSQL, pgx.NamedArgs{"ids": n.ids, "endpoints": n.endpoints, "traces": n.traces})
	}
}

// tell queues a statement that ends in sendTold.
func (s *Store) tell(batch *pgx.Batch, enqueued *bool, sql string, args pgx.NamedArgs) {
	args["type"], args["queue"], args["grace"] = CallbackSend, queueOf[CallbackSend], s.grace
	batch.Queue(sql, args).Exec(func(tag pgconn.CommandTag) error {
		*enqueued = *enqueued || tag.RowsAffected() > 0
		return nil
	})
}
