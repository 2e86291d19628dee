package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// StartCallback returns what to send for a message of the queues callbacks and callbacks.retry.
// Where nothing is to be sent it says so by send, and has done what was to be done: a stale
// message has no effect, a callback whose endpoint is disabled is held, and one that nobody
// wants any more (its endpoint is deleted, the invoice's callbackUrl gone) is ended.
//
// Messages that arrive together are read together. An attempt may take as long as call says:
// for so long nobody enqueues the callback again.
func (s *Store) StartCallback(ctx context.Context, ref Ref, call time.Duration) (c Callback, send bool, o Outcome, err error) {
	start := &starting{ref: ref, call: call}
	err = s.callbackStarts.do(ctx, start)
	if err == nil {
		err = start.verdict
	}
	if err != nil {
		return Callback{}, false, Outcome{}, fmt.Errorf("start callback %s: %w", ref.ID, err)
	}
	return start.callback, start.send, start.outcome, nil
}

// starting is a message on its way to its callback.
type starting struct {
	ref      Ref
	call     time.Duration
	callback Callback
	send     bool
	outcome  Outcome
	verdict  error // why it cannot be read, where it is alone to blame

	found   bool
	state   EndpointState // of the endpoint
	gone    bool          // the invoice's callbackUrl is
	left    time.Duration // until somebody else may enqueue it
	secret  []byte        // sealed, of the endpoint
	before  []byte        // sealed, of the endpoint before its rotation, while that is good
	signing []byte        // sealed, what the shop signs with
}

// One look into each index for each message: joined, whole indexes would be read while they
// are small.
const readCallbacksSQL = `
SELECT m.n, o.attempts, o.due_at - now(), c.event_id, v.type, v.body, v.created_at, p.policy, c.endpoint_id, c.client_id, p.origin,
       coalesce(c.url, p.url), coalesce(p.rate_limit, 0), c.parks, c.replaying, p.state,
       c.invoice_id IS NOT NULL AND EXISTS (SELECT FROM callback_urls_gone g WHERE g.invoice_id = c.invoice_id OFFSET 0),
       p.secret, CASE WHEN p.old_secret_until > deciding.now THEN p.old_secret END, CASE p.policy WHEN 'invoicer' THEN l.signing_secret END
FROM (SELECT deciding_time() AS now) AS deciding
CROSS JOIN unnest(@ids::uuid[], @seqs::bigint[]) WITH ORDINALITY AS m (id, seq, n)
CROSS JOIN LATERAL (
	SELECT o.attempts, least(o.due_at, now() + interval '1 day') AS due_at
	FROM operations o
	WHERE o.id = m.id AND o.seq = m.seq AND ` + isOpen + `
	OFFSET 0
) o
CROSS JOIN LATERAL (
	SELECT c.event_id, c.endpoint_id, c.client_id, c.url, c.invoice_id, c.parks, c.replaying FROM callbacks c WHERE c.id = m.id OFFSET 0
) c
CROSS JOIN LATERAL (SELECT v.type, v.body, v.created_at FROM events v WHERE v.id = c.event_id OFFSET 0) v
CROSS JOIN LATERAL (
	SELECT p.policy, p.origin, p.url, p.state, p.rate_limit, p.secret, p.old_secret, p.old_secret_until
	FROM callback_endpoints p
	WHERE p.id = c.endpoint_id
	OFFSET 0
) p
CROSS JOIN LATERAL (SELECT l.signing_secret FROM clients l WHERE l.id = c.client_id OFFSET 0) l`

// startCallbacks reads messages that arrived together. Mostly that is all: a message that comes
// in time finds that nobody will enqueue its callback again while it is being sent. Nothing is
// locked to find that out, since what is read may change as soon as the transaction is over.
func (s *Store) startCallbacks(ctx context.Context, all []*starting) (later []int, err error) {
	now, later := splitTwins(all, func(c *starting) (OperationID, Once) { return c.ref.ID, Once{} })
	if err := s.readCallbacks(ctx, now); err != nil {
		return later, err
	}
	var late []*starting
	for _, c := range now {
		if !c.found {
			continue // stale
		}
		if c.verdict = s.unsealCallback(c); c.verdict != nil {
			continue
		}
		if c.send = c.wanted() && c.left >= c.call; !c.send {
			late = append(late, c)
		}
	}
	if len(late) == 0 {
		return later, nil
	}
	return later, s.inTx(ctx, func(tx pgx.Tx) error { return s.seeTo(ctx, tx, late) })
}

func (s *Store) readCallbacks(ctx context.Context, all []*starting) error {
	ids, seqs := make([]OperationID, len(all)), make([]int64, len(all))
	for i, c := range all {
		*c = starting{ref: c.ref, call: c.call} // of a set that was rolled back
		ids[i], seqs[i] = c.ref.ID, c.ref.Seq
	}
	rows, _ := s.pool.Query(ctx, readCallbacksSQL, pgx.NamedArgs{"ids": ids, "seqs": seqs})
	for rows.Next() {
		var n int
		r := starting{found: true}
		c := &r.callback
		err := rows.Scan(&n, &c.Attempts, &r.left, &c.Event, &c.Type, &c.Body, &c.CreatedAt, &c.Policy, &c.Endpoint, &c.Client, &c.Origin,
			&c.URL, &c.RateLimit, &c.Parks, &c.Replaying, &r.state, &r.gone, &r.secret, &r.before, &r.signing)
		if err != nil {
			return wrap("read callbacks", err)
		}
		asked := all[n-1]
		r.ref, r.call = asked.ref, asked.call
		c.Ref = r.ref
		*asked = r
	}
	return wrap("read callbacks", rows.Err())
}

// unsealCallback opens what the callback is signed with.
func (s *Store) unsealCallback(c *starting) error {
	if c.callback.Policy == PolicyInvoicer {
		secret, err := s.seal.open(c.signing, signingContext)
		c.callback.SigningSecret, c.callback.Keys = string(secret), [][]byte{secret}
		return wrap("the shop's signing secret", err)
	}
	for _, sealed := range [][]byte{c.secret, c.before} {
		if sealed == nil {
			continue
		}
		key, err := s.openKey(c.callback.Endpoint, sealed)
		if err != nil {
			return wrap("the endpoint's secret", err)
		}
		c.callback.Keys = append(c.callback.Keys, key)
	}
	return nil
}

// wanted says that there is somebody to send it to.
func (c *starting) wanted() bool { return c.state == EndpointEnabled && !c.gone }

// Why a callback fails for good.
var (
	endpointDeleted   = refusal{code: "endpoint_deleted", message: "The endpoint was deleted."}
	callbackURLGone   = refusal{code: "gone", message: "The invoice's callbackUrl answered 410 Gone."}
	callbackForbidden = refusal{code: "forbidden"}
)

// seeTo writes what reading was not enough for, where the message is not stale by now.
func (s *Store) seeTo(ctx context.Context, tx pgx.Tx, late []*starting) error {
	ids := make([]OperationID, len(late))
	for i, c := range late {
		ids[i] = c.ref.ID
	}
	b := newCallbackBatch()
	batch := &pgx.Batch{}
	batch.Queue(lockCallbacksSQL, pgx.NamedArgs{"ids": ids}).Query(b.readCallbacks)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return wrap("lock callbacks", err)
	}
	w := &callbackWrites{}
	for _, c := range late {
		if found := b.callbacks[c.ref.ID]; found != nil && found.believes(c.ref) {
			c.see(b, found, w, s.grace)
		}
	}
	return s.writeCallbacks(ctx, tx, w)
}

// see takes the time for an attempt where one is to be made. Where the endpoint was enabled
// since it was read, what is held here is released as all is that was held.
func (c *starting) see(b *callbackBatch, found *lockedCallback, w *callbackWrites, grace time.Duration) {
	switch {
	case c.wanted():
		c.send = true
		w.leases.add(found.id, c.call+grace)
	case c.state == EndpointDisabled && !c.gone:
		w.hold(found, found.status, found.attempts, found.replaying)
		c.outcome = Outcome{Type: CallbackSend, Status: found.status, Code: "held", Waited: b.now.Sub(found.accepted)}
	default:
		why := endpointDeleted
		if c.gone {
			why = callbackURLGone
		}
		w.end(found, found.attempts, why)
		c.outcome = why.outcome(CallbackSend, b.now.Sub(found.accepted))
	}
}
