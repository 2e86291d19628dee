package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/trace"
)

// closeLimit bounds the farewell to the broker.
const closeLimit = 2 * time.Second

// ErrNotConnected says that there is no connection to the broker at present.
var ErrNotConnected = errors.New("not connected to RabbitMQ")

// Connection is one supervised connection to the broker. It is opened again for as
// long as Run runs; each time is an epoch with channels of its own.
//
// Publish on one Connection and consume on another: a broker that is short of memory
// stops reading from those that publish, and with them their acknowledgements.
type Connection struct {
	nodes     []string // URLs; the first is tried next
	name      string
	log       *slog.Logger
	metrics   *Metrics
	connected prometheus.Gauge
	blocked   prometheus.Gauge
	tracer    trace.Tracer // nil: nothing is traced

	changed signal // epoch, blocked, or a publisher's lanes

	mu    sync.Mutex
	epoch *epoch // nil while not connected
}

// Connect prepares a connection to the broker at urls: that of one node, or those of several
// of a cluster with commas between them, of which any will do. It does not block and opens
// nothing: Run does. The broker's own lists show the connection under name. Without
// metrics it counts for itself.
func Connect(urls, name string, log *slog.Logger, m *Metrics) *Connection {
	if m == nil {
		m = NewMetrics()
	}
	c := &Connection{
		nodes:     shuffled(strings.Split(urls, ",")),
		name:      name,
		log:       log.With("connection", name),
		metrics:   m,
		connected: m.connected.WithLabelValues(name),
		blocked:   m.blocked.WithLabelValues(name),
	}
	c.connected.Set(0)
	c.blocked.Set(0)
	return c
}

// Run keeps the connection open until ctx ends, then closes it. Every epoch declares
// the whole topology before anybody else may use it. Nothing but a malformed URL ends
// it early.
//
// Consumers drain over this connection after their own context has ended, so ctx must
// end after theirs have returned.
func (c *Connection) Run(ctx context.Context) error {
	for _, node := range c.nodes {
		if _, err := amqp.ParseURI(node); err != nil {
			return errors.New("the AMQP URL is malformed") // the cause would quote its password
		}
	}
	retry := newBackoff(100*time.Millisecond, 5*time.Second)
	for ctx.Err() == nil {
		err := c.runEpoch(ctx, retry.Reset)
		if ctx.Err() != nil {
			break
		}
		c.log.Warn("no connection to RabbitMQ", "error", err)
		sleep(ctx, retry.NextBackOff())
	}
	return nil
}

// Ready reports whether the connection is open and the topology declared.
func (c *Connection) Ready() bool { return c.present() != nil }

// Changed returns a channel that is closed at the next change of Ready, of this
// connection or of its publisher. Take it before asking.
func (c *Connection) Changed() <-chan struct{} { return c.changed.wait() }

// Depth counts the messages in a queue that are ready to be delivered.
func (c *Connection) Depth(ctx context.Context, queue string) (int, error) {
	e := c.present()
	if e == nil {
		return 0, fmt.Errorf("depth of %s: %w", queue, ErrNotConnected)
	}
	found, err := e.levels(ctx, []string{queue})
	if err != nil {
		return 0, fmt.Errorf("depth of %s: %w", queue, err)
	}
	return found[0].Messages, nil
}

// runEpoch lives through one epoch: connect, declare, be there for the others, and end
// with the connection or with ctx. It returns once everything that the epoch started
// has ended.
func (c *Connection) runEpoch(ctx context.Context, opened func()) error {
	node := c.nodes[0]
	c.nodes = append(c.nodes[1:], node) // whatever ends this epoch, the next one tries another node
	connection, err := dial(ctx, node, c.name)
	if err != nil {
		return err
	}
	e := newEpoch(connection, c.showBlocked)
	defer c.blocked.Set(0)
	defer e.end()

	if err := e.once(ctx, declare); err != nil {
		return err
	}
	opened()
	c.log.Info("connected to RabbitMQ")
	c.become(e)
	defer c.become(nil)

	select {
	case err := <-e.closed:
		if err == nil { // a nil *amqp.Error must not become an error that is not nil
			return ErrNotConnected
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shuffled spreads the connections of many processes over the nodes.
func shuffled(nodes []string) []string {
	rand.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

func (c *Connection) become(e *epoch) {
	c.mu.Lock()
	c.epoch = e
	c.mu.Unlock()

	c.connected.Set(gauged(e != nil))
	c.changed.notify()
}

func (c *Connection) showBlocked(blocked bool) {
	c.blocked.Set(gauged(blocked))
	c.changed.notify()
}

// gauged is how a gauge says yes or no.
func gauged(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// present returns the epoch that is, or nil.
func (c *Connection) present() *epoch {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// await returns the epoch that is, waiting for one until ctx ends.
func (c *Connection) await(ctx context.Context) (*epoch, error) {
	for {
		changed := c.changed.wait()
		if e := c.present(); e != nil {
			return e, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
