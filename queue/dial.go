package queue

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// heartbeat is what we ask for; a broker that is silent for three is gone.
	heartbeat = 10 * time.Second
	// dialLimit bounds everything up to an open connection.
	dialLimit = 10 * time.Second
	// writeLimit bounds one write. A broker with a memory or disk alarm stops reading
	// while its heartbeats go on, so nothing else would ever end the write.
	writeLimit = 10 * time.Second
)

// dial opens one connection, without the client's own recovery: a channel that it
// reopens begins its delivery tags at 1 again, and a late acknowledgement would then
// delete a message that nobody has handled.
func dial(ctx context.Context, url, name string) (*amqp.Connection, error) {
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()

	properties := amqp.NewConnectionProperties()
	properties.SetClientConnectionName(name)

	var socket net.Conn
	var interrupt func() bool
	connection, err := amqp.DialConfig(url, amqp.Config{ // fresh each time: the client writes into it
		Properties: properties,
		Heartbeat:  heartbeat,
		Dial: func(network, addr string) (net.Conn, error) {
			opened, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			socket = &boundedConn{Conn: opened}
			interrupt = context.AfterFunc(ctx, func() { _ = opened.Close() })
			return socket, nil
		},
	})
	if err == nil && !interrupt() {
		err = context.Cause(ctx)
	}
	if err != nil && socket != nil {
		_ = socket.Close() // a handshake that failed leaves it open, with a reader on it
	}
	if err != nil {
		return nil, err
	}
	return connection, nil
}

// boundedConn gives every write a deadline of its own, unless the client has set one
// for the whole connection, as it does to close it.
type boundedConn struct {
	net.Conn

	given atomic.Bool
}

func (c *boundedConn) SetDeadline(t time.Time) error {
	c.given.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *boundedConn) Write(p []byte) (int, error) {
	if !c.given.Load() {
		if err := c.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
