package queue_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

// documentedNames is the regular expression that the production checklist has the broker's
// user limited to.
func documentedNames(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../deploy/docs/production.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^NAMES='(.+)'$`).FindSubmatch(page)
	if found == nil {
		t.Fatal("the checklist gives no NAMES='…'")
	}
	return string(found[1])
}

func TestAUserWhoIsLimitedToTheDocumentedNamesCanDoEverything(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	limited := queuetest.Limited(t, url, documentedNames(t))
	c := queuetest.Connect(t, limited) // which declares the topology
	p := publisher(t, c)

	publish := func(delay string) {
		t.Helper()
		for _, work := range queue.WorkQueues {
			m := queue.Publication{Queue: work, Delay: delay, ID: rowID(1), Seq: 1, Type: "invoice.pay"}
			if err := errors.Join(p.Publish(within(t, queuetest.Patience), []queue.Publication{m})...); err != nil {
				t.Fatalf("publish to %s with the delay %q: %v", work, delay, err)
			}
		}
	}
	publish("")
	publish("1s")
	for _, work := range queue.WorkQueues {
		got := make(chan int, 2)
		run(t, func(ctx context.Context) error {
			return c.ConsumeBatches(ctx, queue.Batch{Queue: work, Size: 1}, func(_ context.Context, batch []queue.Message) []error {
				got <- len(batch)
				return all(batch, queue.Reject(errDown))
			})
		})
		await(t, got, "what was published to "+work)
		await(t, got, "what came back to "+work)
		queuetest.GetMany(t, limited, queue.DeadQueue(work), 2)
		if n, err := c.Depth(t.Context(), queue.DeadQueue(work)); err != nil || n != 0 {
			t.Errorf("dead letters of %s: %d, %v; want none", work, n, err)
		}
	}
	for _, d := range queue.Rungs() {
		rung, _ := queue.RungName(d)
		publish(rung)
	}

	queuetest.DeleteQueue(t, url, queue.Cards)
	awaitArrival(t, p, queue.Cards) // declared again
}

func TestAUserWhoIsLimitedToTheDocumentedNamesCanDoNothingElse(t *testing.T) {
	t.Parallel()
	limited := queuetest.Limited(t, queuetest.New(t), documentedNames(t))
	connection, err := amqp.Dial(limited)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	for name, act := range map[string]func(*amqp.Channel) error{
		"declare a queue": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("others", true, false, false, false, nil)
			return err
		},
		"declare one whose name begins like ours": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("payments2", true, false, false, false, nil)
			return err
		},
		"declare an exchange": func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("others", "direct", true, false, false, false, nil)
		},
		"publish past the exchanges": func(ch *amqp.Channel) error {
			if err := ch.Confirm(false); err != nil {
				return err
			}
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.PublishWithContext(t.Context(), "", queue.Payments, false, false, amqp.Publishing{}); err != nil {
				return err
			}
			return <-closed
		},
	} {
		ch, err := connection.Channel()
		if err != nil {
			t.Fatal(err)
		}
		var refusal *amqp.Error
		if err := act(ch); !errors.As(err, &refusal) || refusal.Code != amqp.AccessRefused {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}
