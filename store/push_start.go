package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/store/money"
)

// StartPush returns what to send for a message of the queue pushes. Where nothing is to be
// sent it says so by send, and has done what was to be done: a stale message has no effect, and
// a push that is of no use any more (the invoice is paid by now, the phone has no token) is
// ended.
//
// Messages that arrive together are read together. An attempt may take as long as call says:
// for so long nobody enqueues the push again.
func (s *Store) StartPush(ctx context.Context, ref Ref, call time.Duration) (p Push, send bool, o Outcome, err error) {
	start := &pushStart{ref: ref, call: call}
	if err := s.pushStarts.do(ctx, start); err != nil {
		return Push{}, false, Outcome{}, fmt.Errorf("start push %s: %w", ref.ID, err)
	}
	return start.push, start.send, start.outcome, nil
}

// pushStart is a message on its way to its push.
type pushStart struct {
	ref     Ref
	call    time.Duration
	push    Push
	send    bool
	outcome Outcome

	found bool
	left  time.Duration // until somebody else may enqueue it
	age   time.Duration // of the event
	state InvoiceState  // 0 where it is no invoice
}

// One look into each index for each message: joined, whole indexes would be read while they
// are small. Items beyond what a message may have at all are not worth their memory.
const readPushesSQL = `
SELECT m.n, o.attempts, o.due_at - now(), u.event_id, v.type, v.body, v.created_at, now() - v.created_at,
       a.id, coalesce(` + activeToken + `, ''), NOT a.deleted, a.device_type, a.locale, a.token_refreshed_at,
       coalesce(i.amount, r.amount, 0), coalesce(i.currency, r.currency, 0), coalesce(i.description, r.description, ''),
       coalesce(i.recipient, a.account_number), i.number, coalesce(i.session_id, 0), coalesce(i.name_cheque, ''),
       coalesce(i.date_pay_cheque, ''), coalesce(i.items, '[]'), coalesce(i.state, 0)
FROM unnest(@ids::uuid[], @seqs::bigint[]) WITH ORDINALITY AS m (id, seq, n)
CROSS JOIN LATERAL (
	SELECT o.attempts, o.due_at FROM operations o WHERE o.id = m.id AND o.seq = m.seq AND ` + isOpen + ` OFFSET 0
) o
CROSS JOIN LATERAL (SELECT u.event_id, u.account_id FROM pushes u WHERE u.id = m.id OFFSET 0) u
CROSS JOIN LATERAL (SELECT v.type, v.resource, v.body, v.created_at FROM events v WHERE v.id = u.event_id OFFSET 0) v
CROSS JOIN LATERAL (
	SELECT a.id, a.account_number, a.push_token, a.token_deactivated_at, a.token_refreshed_at, a.deleted, a.device_type, a.locale
	FROM accounts a
	WHERE a.id = u.account_id
	OFFSET 0
) a
LEFT JOIN LATERAL (
	SELECT i.number, i.amount, i.currency, i.description, i.session_id, i.name_cheque, i.date_pay_cheque, i.state,
	       CASE WHEN octet_length(i.items::text) <= 4096 THEN i.items END AS items,
	       (SELECT t.account_number FROM accounts t WHERE t.id = i.recipient_id) AS recipient
	FROM invoices i
	WHERE i.number = v.resource
	OFFSET 0
) i ON true
LEFT JOIN LATERAL (
	SELECT r.amount, r.currency, r.description FROM recharges r WHERE r.id = v.resource AND r.account_id = u.account_id OFFSET 0
) r ON true`

// startPushes reads messages that arrived together. Mostly that is all: a message that comes in
// time finds that nobody will enqueue its push again while it is being sent. Nothing is locked
// to find that out, since what is read may change as soon as the transaction is over.
func (s *Store) startPushes(ctx context.Context, all []*pushStart) (later []int, err error) {
	now, later := splitTwins(all, func(p *pushStart) (OperationID, Once) { return p.ref.ID, Once{} })
	if err := s.readPushes(ctx, now); err != nil {
		return later, err
	}
	var late []*pushStart
	for _, p := range now {
		if !p.found {
			continue // stale
		}
		if p.send = p.useless() == settled && p.left >= p.call; !p.send {
			late = append(late, p)
		}
	}
	if len(late) == 0 {
		return later, nil
	}
	return later, s.inTx(ctx, func(tx pgx.Tx) error { return s.seeToPushes(ctx, tx, late) })
}

func (s *Store) readPushes(ctx context.Context, all []*pushStart) error {
	ids, seqs := make([]OperationID, len(all)), make([]int64, len(all))
	for i, p := range all {
		*p = pushStart{ref: p.ref, call: p.call} // of a set that was rolled back
		ids[i], seqs[i] = p.ref.ID, p.ref.Seq
	}
	rows, _ := s.pool.Query(ctx, readPushesSQL, pgx.NamedArgs{"ids": ids, "seqs": seqs})
	for rows.Next() {
		n, r, err := scanPush(rows)
		if err != nil {
			rows.Close()
			return wrap("read pushes", err)
		}
		asked := all[n-1]
		r.ref, r.call, r.found = asked.ref, asked.call, true
		r.push.Ref = r.ref
		*asked = r
	}
	return wrap("read pushes", rows.Err())
}

func scanPush(rows pgx.Rows) (n int, r pushStart, err error) {
	p := &r.push
	var body []byte
	var open bool // the account is
	err = rows.Scan(&n, &p.Attempts, &r.left, &p.Event, &p.Type, &body, &p.At, &r.age,
		&p.account, &p.Token, &open, &p.Device, &p.Locale, &p.refreshed,
		&p.Amount.Minor, &p.Amount.Currency, &p.Description,
		&p.Recipient, &p.Invoice, &p.Session, &p.NameCheque,
		&p.DatePayCheque, &p.Items, &r.state)
	if !open {
		p.Token = ""
	}
	if err == nil && p.Type == EventInvoiceRefused {
		var told struct {
			Data struct{ ErrorCode InvoiceError }
		}
		err = json.Unmarshal(body, &told)
		p.Error = told.Data.ErrorCode
	}
	return n, r, err
}

// Why a push is not sent, or failed for good.
var (
	pushOutdated = refusal{code: "outdated", message: "It would have come too late to be of use."}
	noPhone      = refusal{code: "no_phone", message: "The account has no phone that can be told."}
)

// useless is why it is of no use to send the push, or settled where it is. What an invoice asks
// of its payer is over once it is being paid; how it ended is told for as long as any push.
func (p *pushStart) useless() refusal {
	asks := p.push.Type == EventInvoiceMade || p.push.Type == EventInvoiceRefused
	switch {
	case p.age >= PushUse, asks && p.state != AwaitingPayment, p.push.Amount == money.Amount{}:
		return pushOutdated
	case p.push.Token == "":
		return noPhone
	}
	return settled
}

// seeToPushes writes what reading was not enough for, where the message is not stale by now.
func (s *Store) seeToPushes(ctx context.Context, tx pgx.Tx, late []*pushStart) error {
	ids := make([]OperationID, len(late))
	for i, p := range late {
		ids[i] = p.ref.ID
	}
	locked, err := lockPushes(ctx, tx, ids)
	if err != nil {
		return err
	}
	w := &pushWrites{}
	for _, p := range late {
		found := locked[p.ref.ID]
		if found == nil || !found.believes(p.ref) {
			continue
		}
		if why := p.useless(); why != settled {
			w.ends.add(found.id, found.attempts, why) // none was made now
			p.outcome = why.outcome(PushSend, found.waited)
			continue
		}
		p.send = true
		w.leases.add(found.id, p.call+s.grace)
	}
	return s.writePushes(ctx, tx, w)
}
