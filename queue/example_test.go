package queue_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/quittance/quittance/queue"
)

// A consumer settles a batch in one transaction and says what became of each message.
func ExampleConnection_ConsumeBatches() {
	ctx := context.Background()
	c := queue.Connect("amqp://127.0.0.1:5672/", "consume", slog.Default(), queue.NewMetrics())
	go c.Run(ctx)

	settle := func(ctx context.Context, batch []queue.Message) []error {
		verdicts := make([]error, len(batch)) // nil: done
		for i, m := range batch {
			if _, _, err := m.Row(); err != nil {
				verdicts[i] = queue.Reject(err)
			}
		}
		return verdicts
	}
	_ = c.ConsumeBatches(ctx, queue.Batch{
		Queue:  queue.Payments,
		Size:   500,
		Linger: 5 * time.Millisecond,
		Probe:  func(context.Context) error { return nil }, // is the database back?
	}, settle)
}

// The relay publishes while the publisher is ready, and deletes what was confirmed.
func ExamplePublisher_Publish() {
	ctx := context.Background()
	c := queue.Connect("amqp://127.0.0.1:5672/", "publish", slog.Default(), queue.NewMetrics())
	go c.Run(ctx)
	p := queue.NewPublisher(c)
	go p.Run(ctx)

	for changed := p.Changed(); !p.Ready(); changed = p.Changed() {
		<-changed
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i, err := range p.Publish(ctx, []queue.Publication{
		{Queue: queue.Payments, ID: "0192f0c1-2d3e-7f40-8a5b-6c7d8e9fa0b1", Seq: 1, Type: "invoice.pay"},
		{Queue: queue.Callbacks, Delay: "5s", ID: "0192f0c1-2d3e-7f40-8a5b-6c7d8e9fa0b2", Seq: 2, Type: "callback.send"},
	}) {
		fmt.Println(i, err)
	}
}
