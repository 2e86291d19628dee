package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/workers"
)

// The ceiling is the fastest way that we know from an HTTP request through the broker into
// the database, with the same durability and nothing else: no invoices, no operations, no
// outbox, no validation. What it settles is what these servers can settle on this machine
// at this hour, which the system is compared with.
//
// It is not a part of the system, and the only place outside of the package queue that
// speaks to the broker.
const (
	ceilingQueue = "bench-ceiling"

	ceilingLanes    = 4    // channels that publish
	ceilingPrefetch = 1000 // twice the batch: one is settled while the next arrives
	ceilingBatch    = 500
	ceilingLinger   = 10 * time.Millisecond // few large transactions cost less than many small ones
)

func (o *operator) benchCeiling() *cobra.Command {
	var address string
	var accounts int
	cmd := &cobra.Command{
		Use:    "bench-ceiling",
		Short:  "What quittance bench compares the system with",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCeiling(cmd.Context(), address, accounts, o.environ)
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "where to listen")
	cmd.Flags().IntVar(&accounts, "accounts", 0, "how many accounts to make, numbered from 0")
	return cmd
}

const makeCeilingSQL = `
DROP SCHEMA IF EXISTS ceiling CASCADE;
CREATE SCHEMA ceiling;
CREATE TABLE ceiling.balances (
    id      bigint PRIMARY KEY,
    balance bigint NOT NULL
) WITH (fillfactor = 70);
CREATE TABLE ceiling.transfers (
    id     uuid   PRIMARY KEY,
    debit  bigint NOT NULL,
    credit bigint NOT NULL,
    amount bigint NOT NULL
)`

// ceiling is the program.
type ceiling struct {
	database *pgxpool.Pool
	lanes    []*amqp.Channel
	next     atomic.Uint64
}

func runCeiling(ctx context.Context, address string, accounts int, environ map[string]string) error {
	database, err := pgxpool.New(ctx, environ["DATABASE_URL"])
	if err != nil {
		return err
	}
	defer database.Close()
	if _, err := database.Exec(ctx, makeCeilingSQL); err != nil {
		return err
	}
	if _, err := database.Exec(ctx, "INSERT INTO ceiling.balances SELECT n, 0 FROM generate_series(0, $1::bigint - 1) n", accounts); err != nil {
		return err
	}
	publishing, err := amqp.Dial(environ["AMQP_URL"])
	if err != nil {
		return err
	}
	defer publishing.Close()
	consuming, err := amqp.Dial(environ["AMQP_URL"])
	if err != nil {
		return err
	}
	defer consuming.Close()

	c := &ceiling{database: database}
	deliveries, end, err := openCeilingQueue(consuming)
	if err != nil {
		return err
	}
	defer end()
	if err := c.openLanes(publishing); err != nil {
		return err
	}
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return c.settle(ctx, deliveries) })
	running.Go(func() error { return workers.Serve(ctx, address, c.handler()) })
	return running.Wait()
}

// openCeilingQueue declares an empty queue and consumes it; end deletes it.
func openCeilingQueue(conn *amqp.Connection) (deliveries <-chan amqp.Delivery, end func(), err error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, nil, err
	}
	if _, err := ch.QueueDelete(ceilingQueue, false, false, false); err != nil {
		return nil, nil, err
	}
	if _, err := ch.QueueDeclare(ceilingQueue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		return nil, nil, err
	}
	if err := ch.Qos(ceilingPrefetch, 0, false); err != nil {
		return nil, nil, err
	}
	deliveries, err = ch.Consume(ceilingQueue, "", false, false, false, false, nil)
	return deliveries, func() { _, _ = ch.QueueDelete(ceilingQueue, false, false, false) }, err
}

func (c *ceiling) openLanes(conn *amqp.Connection) error {
	for range ceilingLanes {
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		c.lanes = append(c.lanes, ch)
	}
	return nil
}

func (c *ceiling) handler() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.POST("/transfers", c.accept)
	engine.GET("/readyz", func(g *gin.Context) { g.Status(http.StatusOK) })
	return engine
}

// ceilingTransfer moves amount between two accounts, once per id.
type ceilingTransfer struct {
	ID     uuid.UUID `json:"id" binding:"required"`
	From   int64     `json:"from"`
	To     int64     `json:"to"`
	Amount int64     `json:"amount" binding:"required"`
}

// accept answers when the broker has confirmed.
func (c *ceiling) accept(g *gin.Context) {
	var t ceilingTransfer
	if err := g.ShouldBindJSON(&t); err != nil {
		g.String(http.StatusBadRequest, err.Error())
		return
	}
	lane := c.lanes[c.next.Add(1)%ceilingLanes]
	confirm, err := lane.PublishWithDeferredConfirm("", ceilingQueue, false, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Body: t.encode(),
	})
	if err != nil || !confirm.Wait() {
		g.String(http.StatusInternalServerError, "not confirmed")
		return
	}
	g.Status(http.StatusAccepted)
}

func (t ceilingTransfer) encode() []byte {
	body := append(make([]byte, 0, 40), t.ID[:]...)
	for _, n := range []int64{t.From, t.To, t.Amount} {
		body = binary.BigEndian.AppendUint64(body, uint64(n))
	}
	return body
}

func decodeCeilingTransfer(body []byte) (t ceilingTransfer, ok bool) {
	if len(body) != 40 {
		return t, false
	}
	copy(t.ID[:], body)
	t.From, t.To, t.Amount = int64(binary.BigEndian.Uint64(body[16:])), int64(binary.BigEndian.Uint64(body[24:])), int64(binary.BigEndian.Uint64(body[32:]))
	return t, true
}

// settle settles one batch after the other until ctx ends. What it did not come to is in
// the queue, which nobody needs any more then.
func (c *ceiling) settle(ctx context.Context, deliveries <-chan amqp.Delivery) error {
	for {
		batch := gatherCeiling(ctx, deliveries)
		if ctx.Err() != nil {
			return nil
		}
		if len(batch) == 0 {
			return errors.New("the deliveries have ended")
		}
		if err := c.transfer(ctx, batch); err != nil {
			return err
		}
		if err := batch[len(batch)-1].Ack(true); err != nil {
			return err
		}
	}
}

// gatherCeiling waits for a first delivery, and for more until the batch is full or the
// linger over.
func gatherCeiling(ctx context.Context, deliveries <-chan amqp.Delivery) (batch []amqp.Delivery) {
	var enough <-chan time.Time
	for len(batch) < ceilingBatch {
		select {
		case d, ok := <-deliveries:
			if !ok {
				return batch
			}
			if batch = append(batch, d); len(batch) == 1 {
				timer := time.NewTimer(ceilingLinger)
				defer timer.Stop()
				enough = timer.C
			}
		case <-enough:
			return batch
		case <-ctx.Done():
			return nil
		}
	}
	return batch
}

// One statement is one round trip and one transaction. Only what was not there before
// moves money.
const ceilingTransferSQL = `
WITH moved AS (
	INSERT INTO ceiling.transfers (id, debit, credit, amount)
	SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
	ON CONFLICT DO NOTHING
	RETURNING debit, credit, amount
), deltas AS (
	SELECT account, sum(amount) AS delta
	FROM (SELECT debit AS account, -amount AS amount FROM moved UNION ALL SELECT credit, amount FROM moved) entries
	GROUP BY account
)
UPDATE ceiling.balances b
SET balance = b.balance + d.delta
FROM deltas d
WHERE b.id = d.account`

func (c *ceiling) transfer(ctx context.Context, batch []amqp.Delivery) error {
	ids := make([][16]byte, len(batch))
	from, to, amounts := make([]int64, len(batch)), make([]int64, len(batch)), make([]int64, len(batch))
	for i, d := range batch {
		t, ok := decodeCeilingTransfer(d.Body)
		if !ok {
			return errors.New("a message that the ceiling did not write")
		}
		ids[i], from[i], to[i], amounts[i] = t.ID, t.From, t.To, t.Amount
	}
	_, err := c.database.Exec(ctx, ceilingTransferSQL, ids, from, to, amounts)
	return err
}
