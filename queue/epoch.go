package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// epoch is the life of one connection. What is asked of the broker may hang for as
// long as the broker does, so every such call runs in a task of the epoch: the asker
// leaves with its context, the task ends with the connection.
type epoch struct {
	connection *amqp.Connection
	closed     chan *amqp.Error
	blocked    atomic.Bool
	repairing  atomic.Bool
	over       context.Context
	finish     context.CancelFunc

	mu    sync.Mutex // over ends under it: no task begins after that
	tasks sync.WaitGroup
}

// newEpoch takes over connection; changed is called when the broker blocks or
// unblocks it.
func newEpoch(connection *amqp.Connection, changed func(blocked bool)) *epoch {
	e := &epoch{
		connection: connection,
		closed:     connection.NotifyClose(make(chan *amqp.Error, 1)),
	}
	e.over, e.finish = context.WithCancel(context.Background())
	blockings := connection.NotifyBlocked(make(chan amqp.Blocking, 8))
	e.tasks.Go(func() {
		for b := range blockings {
			e.blocked.Store(b.Active)
			changed(b.Active)
		}
	})
	return e
}

// end closes the connection and waits for all tasks.
func (e *epoch) end() {
	e.mu.Lock()
	e.finish()
	e.mu.Unlock()

	_ = e.connection.CloseDeadline(time.Now().Add(closeLimit)) // closed afterwards in any case
	e.tasks.Wait()
}

// task runs f, which ends at the latest when the connection has. It reports false,
// and does not run f, when the epoch is over.
func (e *epoch) task(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over.Err() != nil {
		return false
	}
	e.tasks.Go(f)
	return true
}

// channel opens a channel and prepares it. Nobody else uses the channel until then:
// calls that wait for an answer must not meet on one.
func (e *epoch) channel(ctx context.Context, prepare func(*amqp.Channel) error) (*amqp.Channel, error) {
	type result struct {
		channel *amqp.Channel
		err     error
	}
	opened := make(chan result) // unbuffered: a channel that nobody takes is closed
	running := e.task(func() {
		ch, err := e.connection.Channel()
		if err == nil {
			err = prepare(ch)
		}
		select {
		case opened <- result{ch, err}:
			if err == nil {
				return
			}
		case <-ctx.Done():
		}
		if ch != nil {
			_ = ch.Close()
		}
	})
	if !running {
		return nil, ErrNotConnected
	}
	select {
	case r := <-opened:
		return r.channel, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// discard closes a channel once ready is closed (nil: at once), without waiting for
// it. What the channel still holds goes back to the broker.
func (e *epoch) discard(ch *amqp.Channel, ready <-chan struct{}) {
	e.task(func() {
		if ready != nil {
			<-ready
		}
		_ = ch.Close() // the only error is that it is closed
	})
}

// once asks something of the broker on a channel of its own.
func (e *epoch) once(ctx context.Context, ask func(*amqp.Channel) error) error {
	ch, err := e.channel(ctx, ask)
	if err != nil {
		return err
	}
	e.discard(ch, nil)
	return nil
}

// repairDelay gives consumers time to hear that their queue was deleted. On RabbitMQ
// 3.10 one that has not heard when the queue is declared again stays on as a consumer
// that is never given anything.
const repairDelay = time.Second

// repair declares the topology again, soon, because a queue has gone missing. It does
// not wait for it; if it fails, so will the publication that asks for the next repair.
func (e *epoch) repair() {
	if !e.repairing.CompareAndSwap(false, true) {
		return
	}
	e.task(func() {
		defer e.repairing.Store(false)
		if sleep(e.over, repairDelay) {
			_ = e.once(e.over, declare)
		}
	})
}
