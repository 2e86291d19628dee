package queue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errDown stands for whatever a handler may depend on.
var errDown = errors.New("the database is down")

func rowID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// messages are n messages as the publisher would send them, numbered from 1.
func messages(n int) []queuetest.Publishing {
	list := make([]queuetest.Publishing, n)
	for i := range list {
		list[i] = queuetest.Publishing{
			MessageId: rowID(i + 1),
			Type:      "invoice.pay",
			Body:      fmt.Appendf(nil, `{"id":%q,"seq":1}`, rowID(i+1)),
		}
	}
	return list
}

// publications are n publications to one queue, numbered from 1.
func publications(queueName string, n int) []queue.Publication {
	list := make([]queue.Publication, n)
	for i := range list {
		list[i] = queue.Publication{Queue: queueName, ID: rowID(i + 1), Seq: 1, Type: "invoice.pay"}
	}
	return list
}

// publisher runs a publisher on c until the test ends, and returns it ready.
func publisher(t *testing.T, c *queue.Connection) *queue.Publisher {
	t.Helper()
	p := queue.NewPublisher(c)
	queuetest.Run(t, p.Run)
	queuetest.Await(t, p.Changed, p.Ready)
	return p
}

// within is a context for what ought to be over long before.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// await receives from c, and fails the test when nothing comes.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(queuetest.Patience):
		t.Fatalf("%s did not happen", what)
		panic("unreachable")
	}
}

// run starts f and returns how to end its context and wait for it. It is ended with
// the test in any case.
func run(t *testing.T, f func(context.Context) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := f(ctx); err != nil {
			t.Errorf("it ended with %v, want nil", err)
		}
	}()
	end = func() {
		cancel()
		await(t, ended, "the end of what was to end with its context")
	}
	t.Cleanup(end)
	return end
}

// onlySentinel checks that nothing is left in a queue, neither ready nor given back: a
// message published now is the first to come out.
func onlySentinel(t *testing.T, url, name string) {
	t.Helper()
	queuetest.Publish(t, url, "", name, queuetest.Publishing{MessageId: "sentinel"})
	if got := queuetest.Get(t, url, name).MessageId; got != "sentinel" {
		t.Errorf("%s still holds %s, want it empty", name, got)
	}
}
