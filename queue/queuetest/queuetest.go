// Package queuetest gives a test a virtual host of its own on a real RabbitMQ, and the
// means to look into it and to break it by hand.
//
// Two variables say where the broker is: AMQP_URL, and RABBITMQ_MANAGEMENT_URL for its
// management plugin (http://guest:guest@127.0.0.1:15672). `make test` sets both.
package queuetest

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/quittance/quittance/queue"
)

// Patience is how long a helper waits for something that will happen. It is generous:
// it passes only when a test fails.
const Patience = 30 * time.Second

// New creates an empty virtual host, which is deleted with everything in it when the
// test ends, and returns the AMQP URL of it.
func New(t testing.TB) string {
	t.Helper()
	broker, err := url.Parse(env(t, "AMQP_URL"))
	if err != nil {
		t.Fatal("AMQP_URL is not a URL")
	}
	vhost := "test-" + strings.ToLower(rand.Text())
	m := management(t)
	m.must(t, "PUT", "/api/vhosts/"+vhost, nil)
	t.Cleanup(func() { m.must(t, "DELETE", "/api/vhosts/"+vhost, nil) })

	everything := map[string]string{"configure": ".*", "write": ".*", "read": ".*"}
	m.must(t, "PUT", "/api/permissions/"+vhost+"/"+url.PathEscape(broker.User.Username()), everything)

	broker.Path = "/" + vhost
	return broker.String()
}

// Connect runs a connection to amqpURL until the test ends, and returns it once it is
// ready and the topology is declared.
func Connect(t testing.TB, amqpURL string) *queue.Connection {
	t.Helper()
	c := queue.Connect(amqpURL, t.Name(), slog.New(slog.DiscardHandler), nil)
	Run(t, c.Run)
	Await(t, c.Changed, c.Ready)
	return c
}

// Run runs f, which ends with its context, until the test ends. What is run later
// ends earlier.
func Run(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended with %v, want nil", err)
			}
		case <-time.After(Patience):
			t.Error("it did not end with its context")
		}
	})
}

// Await waits until ready, asking whenever changed says so.
func Await(t testing.TB, changed func() <-chan struct{}, ready func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	for {
		next := changed()
		if ready() {
			return
		}
		select {
		case <-next:
		case <-deadline:
			t.Fatal("it did not become ready")
		}
	}
}

// Publishing is a message as the broker's client has it: MessageId, Type, Headers, Body
// and more.
type Publishing = amqp.Publishing

// Publish publishes persistent messages by hand, in order and as they are, and waits
// for the broker to confirm them all.
func Publish(t testing.TB, amqpURL, exchange, key string, messages ...Publishing) {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	if err := ch.Confirm(false); err != nil {
		t.Fatalf("confirm mode: %v", err)
	}
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	for i, m := range messages {
		m.DeliveryMode = amqp.Persistent
		var err error
		confirms[i], err = ch.PublishWithDeferredConfirm(exchange, key, false, false, m)
		if err != nil {
			t.Fatalf("publish to %q with key %q: %v", exchange, key, err)
		}
	}
	for _, confirm := range confirms {
		if !confirm.Wait() {
			t.Fatalf("a message to %q with key %q was refused", exchange, key)
		}
	}
}

// Get takes one message out of a queue, waiting for it.
func Get(t testing.TB, amqpURL, name string) amqp.Delivery {
	t.Helper()
	return GetMany(t, amqpURL, name, 1)[0]
}

// GetMany takes n messages out of a queue, waiting for them.
func GetMany(t testing.TB, amqpURL, name string, n int) []amqp.Delivery {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	prefetch := min(n, 1000)
	if err := ch.Qos(prefetch, 0, false); err != nil {
		t.Fatalf("prefetch: %v", err)
	}
	const tag = "queuetest"
	deliveries, err := ch.Consume(name, tag, false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume %s: %v", name, err)
	}
	deadline := time.After(Patience)
	got := make([]amqp.Delivery, 0, n)
	for len(got) < n {
		select {
		case d, ok := <-deliveries:
			if !ok {
				t.Fatalf("%s gave %d messages and ended, want %d", name, len(got), n)
			}
			got = append(got, d)
			// The queue never hands out more than n: one that is given back would count a
			// delivery.
			if len(got) == n {
				if err := ch.Cancel(tag, false); err != nil {
					t.Fatalf("cancel: %v", err)
				}
			}
			if len(got) <= n-prefetch || len(got) == n {
				if err := d.Ack(true); err != nil {
					t.Fatalf("acknowledge: %v", err)
				}
			}
		case <-deadline:
			t.Fatalf("%s gave %d messages, want %d", name, len(got), n)
		}
	}
	return got
}

// Exhaust gives the first message of a queue back to the broker until that has delivered it
// as often as its limit allows, and once more: then the broker gives it up.
func Exhaust(t testing.TB, amqpURL, name string, limit int64) {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	if err := ch.Qos(1, 0, false); err != nil {
		t.Fatalf("prefetch: %v", err)
	}
	deliveries, err := ch.Consume(name, "exhaust", false, false, false, false, nil)
	if err != nil {
		t.Fatalf("consume %s: %v", name, err)
	}
	deadline := time.After(Patience)
	for count := int64(0); count < limit; {
		select {
		case d, ok := <-deliveries:
			if !ok {
				t.Fatalf("%s gave its message %d times and ended, want %d", name, count, limit)
			}
			count, _ = d.Headers["x-delivery-count"].(int64) // of the first delivery there is none
			if err := d.Reject(true); err != nil {
				t.Fatalf("give back: %v", err)
			}
		case <-deadline:
			t.Fatalf("%s gave its message %d times, want %d", name, count, limit)
		}
	}
}

// Depth counts the messages of a queue that are ready.
func Depth(t testing.TB, amqpURL, name string) int {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	found, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
	if err != nil {
		t.Fatalf("depth of %s: %v", name, err)
	}
	return found.Messages
}

// AwaitDepth waits until a queue has n messages that are ready.
func AwaitDepth(t testing.TB, amqpURL, name string, n int) {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	poll := time.NewTicker(10 * time.Millisecond) // the broker tells nobody
	defer poll.Stop()
	deadline := time.After(Patience)
	for {
		found, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		if err != nil {
			t.Fatalf("depth of %s: %v", name, err)
		}
		if found.Messages == n {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s has %d messages, want %d", name, found.Messages, n)
		}
	}
}

// Purge empties a queue.
func Purge(t testing.TB, amqpURL, name string) {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	if _, err := ch.QueuePurge(name, false); err != nil {
		t.Fatalf("purge %s: %v", name, err)
	}
}

// DeleteQueue deletes a queue with everything in it.
func DeleteQueue(t testing.TB, amqpURL, name string) {
	t.Helper()
	ch, done := channel(t, amqpURL)
	defer done()
	if _, err := ch.QueueDelete(name, false, false, false); err != nil {
		t.Fatalf("delete %s: %v", name, err)
	}
}

// channel opens a channel on a connection of its own, and returns how to close both.
func channel(t testing.TB, amqpURL string) (ch *amqp.Channel, done func()) {
	t.Helper()
	connection, err := amqp.Dial(amqpURL)
	if err != nil {
		t.Fatalf("connect to RabbitMQ: %v", err)
	}
	ch, err = connection.Channel()
	if err != nil {
		_ = connection.Close()
		t.Fatalf("open a channel: %v", err)
	}
	return ch, func() { _ = connection.Close() } // it may have been closed on purpose
}

func env(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: these tests need a RabbitMQ; run make test, which starts one", name)
	}
	return value
}
