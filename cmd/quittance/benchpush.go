package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/workers/push/fcmtest"
)

// pushWork tells payers of their invoices. An invoice is one request; it is settled when its
// payer's phone is told.
var pushWork = work{
	name: "push", doing: "telling",
	outside: (*bench).standInForFCM,
	setUp:   (*bench).openPhones,
	prepare: (*bench).invoicesToMake, saturate: (*bench).sendWhatIsHeld,
	books: operationsSQL,
	promises: slices.Concat(commonBooks, []promise{
		{"every payer is told once of each invoice", `
			SELECT abs(@accepted::bigint - count(DISTINCT v.resource)) + count(*) - count(DISTINCT v.resource)
			FROM pushes p
			JOIN operations o ON o.id = p.id AND o.status = 'succeeded'
			JOIN events v     ON v.id = p.event_id AND v.type = 'invoice.made'
			JOIN invoices i   ON i.number = v.resource AND i.payer_id = p.account_id`},
		{"every push was one attempt", `
			SELECT count(*) FROM operations WHERE type = 'push.send' AND attempts <> 1`},
	}),
}

func (b *bench) standInForFCM() (end func(), err error) {
	if b.fcm, err = fcmtest.Listen(); err != nil {
		return nil, err
	}
	b.environ["QUITTANCE_FCM_URL"] = b.fcm.URL
	b.environ["QUITTANCE_FCM_PATIENCE"] = "20ms"
	return b.fcm.Close, nil
}

func (b *bench) openPhones(ctx context.Context, c *contender) error {
	return b.openAccountsAs(ctx, c, func(i int) string { return fmt.Sprintf(`{"type":%d,"push_token":"phone-%d"}`, 1+i%2, i) })
}

// invoicesToMake are requests, each of which tells somebody.
func (b *bench) invoicesToMake(ctx context.Context, _ *contender, _, recipients string, n int) (commands, error) {
	requests := make([][]byte, n)
	for i, p := range draw(recipients, len(b.accounts), n) {
		requests[i] = b.invoiceRequest(p)
	}
	return commands{requests: requests, want: created}, b.analyse(ctx)
}

const heldSQL = `
SELECT count(*) FROM outbox`

// The clock runs from the first that is sent: when the worker finds out that it may send again,
// is its own affair.
const toldSQL = `
SELECT count(*), extract(epoch FROM max(pg_xact_commit_timestamp(o.xmin)) - min(pg_xact_commit_timestamp(o.xmin)))::float8
FROM operations o
WHERE o.created_at >= @since AND o.status = 'succeeded'`

// sendWhatIsHeld makes the invoices while FCM takes nothing, and then measures how fast their
// payers are told: by the broker, the worker, FCM and the database alone.
func (b *bench) sendWhatIsHeld(ctx context.Context, c *contender, name string, all commands) (phase, error) {
	if _, err := b.phase(ctx, c, name+": warming up", all.upTo(warmUp), 0); err != nil {
		return phase{}, err
	}
	since, err := b.now(ctx)
	if err != nil {
		return phase{}, err
	}
	b.fcm.SetTrouble(fcmtest.Denied)
	rest := all.from(warmUp)
	tick, done := b.show.begin(name+": making invoices", len(rest.requests))
	l := load{address: c.address, clients: b.clients, tick: tick}
	t, err := l.run(ctx, rest)
	if err == nil {
		err = b.awaitPublished(ctx)
	}
	done(err)
	if err != nil {
		return phase{}, err
	}

	_, done = b.show.begin(name+": "+b.work.doing, 0)
	before := b.servers.usage(c.pids)
	b.fcm.SetTrouble(fcmtest.NoTrouble)
	err = b.awaitSettled(ctx, c)
	done(err)
	if err != nil {
		return phase{}, err
	}
	cpu := used(before, b.servers.usage(c.pids))
	var told int
	var seconds float64
	if err := b.books.QueryRow(ctx, toldSQL, pgx.NamedArgs{"since": since}).Scan(&told, &seconds); err != nil {
		return phase{}, err
	}
	if told != len(rest.requests) {
		return phase{}, fmt.Errorf("%d invoices were made, and of %d a payer was told", len(rest.requests), told)
	}
	return phase{
		settledPerS:  float64(told) / seconds,
		acceptedPerS: float64(told) / t.last.Sub(t.first).Seconds(),
		refused:      t.refused,
		cpu:          cpu,
	}, nil
}

// awaitPublished waits until the broker has everything.
func (b *bench) awaitPublished(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < stuckAfter; pause(ctx, pollEvery) {
		var held int
		if err := b.books.QueryRow(ctx, heldSQL).Scan(&held); err != nil || held == 0 {
			return err
		}
	}
	return fmt.Errorf("the outbox is not empty after %v", stuckAfter)
}
