package queue

import (
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// The work queues. A queue's name is also its routing key on the exchanges commands
// and return.
const (
	Payments       = "payments"
	Cards          = "cards"
	Recharges      = "recharges"
	Callbacks      = "callbacks"
	CallbacksRetry = "callbacks.retry"
	Pushes         = "pushes"
	Receipts       = "receipts"
)

// WorkQueues are all work queues. It is not to be changed.
var WorkQueues = []string{Payments, Cards, Recharges, Callbacks, CallbacksRetry, Pushes, Receipts}

// The exchanges. A rung of the retry ladder has one of its own: see rungQueue.
const (
	exchangeCommands = "commands" // what is to be done now
	exchangeReturn   = "return"   // what a rung has held long enough
	exchangeDead     = "dead"     // what was rejected or delivered too often
)

// The broker's own net under the attempts that the rows count: twenty deliveries that
// ended with a lost channel or a fault of the handler. A dead letter is only ever
// looked at, so its limit is one that nobody reaches (and -1 would be taken literally
// by RabbitMQ 3.10).
const (
	workDeliveryLimit = 20
	deadDeliveryLimit = 1_000_000
)

// rungs is the retry ladder. A rung holds one delay only, because a queue expires
// nothing but its head.
var rungs = []struct {
	name  string
	delay time.Duration
}{
	{"1s", time.Second},
	{"5s", 5 * time.Second},
	{"10s", 10 * time.Second},
	{"30s", 30 * time.Second},
	{"2m", 2 * time.Minute},
	{"5m", 5 * time.Minute},
	{"10m", 10 * time.Minute},
}

// DeadQueue names the queue that keeps the dead letters of a work queue.
func DeadQueue(work string) string { return work + ".dead" }

// RungQueues lists the queues of the retry ladder, shortest delay first.
func RungQueues() []string {
	names := make([]string, len(rungs))
	for i, r := range rungs {
		names[i] = rungQueue(r.name)
	}
	return names
}

// Rungs lists the delays that the broker can hold a message for, shortest first.
func Rungs() []time.Duration {
	delays := make([]time.Duration, len(rungs))
	for i, r := range rungs {
		delays[i] = r.delay
	}
	return delays
}

// RungName names the rung with exactly the delay d, if there is one.
func RungName(d time.Duration) (string, bool) {
	for _, r := range rungs {
		if r.delay == d {
			return r.name, true
		}
	}
	return "", false
}

func isRung(name string) bool {
	for _, r := range rungs {
		if r.name == name {
			return true
		}
	}
	return false
}

func isWorkQueue(name string) bool { return slices.Contains(WorkQueues, name) }

// rungQueue names both the fanout exchange and the queue of a rung. What is published
// to the exchange keeps its own routing key, the work queue it returns to.
func rungQueue(rung string) string { return "retry." + rung }

// declare declares the whole topology. Declaring what exists with the same arguments
// changes nothing; with others it is an error, and the channel is closed.
//
// RabbitMQ accepts a misspelt argument without a word, so a test reads every argument
// back.
func declare(ch *amqp.Channel) error {
	for _, exchange := range []string{exchangeCommands, exchangeReturn, exchangeDead} {
		if err := declareExchange(ch, exchange, amqp.ExchangeDirect); err != nil {
			return err
		}
	}
	// The dead queues come first: a work queue that dead-letters at least once must
	// find its target.
	for _, work := range WorkQueues {
		if err := declareDead(ch, work); err != nil {
			return err
		}
		if err := declareWork(ch, work); err != nil {
			return err
		}
	}
	for _, r := range rungs {
		if err := declareRung(ch, r.name, r.delay); err != nil {
			return err
		}
	}
	return nil
}

func declareWork(ch *amqp.Channel, work string) error {
	args := amqp.Table{
		"x-queue-type":              "quorum",
		"x-delivery-limit":          int64(workDeliveryLimit),
		"x-overflow":                "reject-publish",
		"x-dead-letter-exchange":    exchangeDead,
		"x-dead-letter-routing-key": work,
		"x-dead-letter-strategy":    "at-least-once",
	}
	if work == Payments || work == Recharges {
		args["x-single-active-consumer"] = true
	}
	return declareQueue(ch, work, args, binding{exchangeCommands, work}, binding{exchangeReturn, work})
}

func declareDead(ch *amqp.Channel, work string) error {
	args := amqp.Table{
		"x-queue-type":     "quorum",
		"x-delivery-limit": int64(deadDeliveryLimit),
	}
	return declareQueue(ch, DeadQueue(work), args, binding{exchangeDead, work})
}

func declareRung(ch *amqp.Channel, name string, delay time.Duration) error {
	if err := declareExchange(ch, rungQueue(name), amqp.ExchangeFanout); err != nil {
		return err
	}
	// No dead-letter routing key: the message leaves with the key it came with.
	args := amqp.Table{
		"x-queue-type":           "quorum",
		"x-message-ttl":          delay.Milliseconds(),
		amqp.QueueOverflowArg:    amqp.QueueOverflowRejectPublish,
		"x-dead-letter-exchange": exchangeReturn,
		"x-dead-letter-strategy": "at-least-once",
	}
	return declareQueue(ch, rungQueue(name), args, binding{exchange: rungQueue(name)})
}

func declareExchange(ch *amqp.Channel, name, kind string) error {
	if err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare exchange %s: %w", name, err)
	}
	return nil
}

type binding struct{ exchange, key string }

func declareQueue(ch *amqp.Channel, name string, args amqp.Table, bindings ...binding) error {
	if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		return fmt.Errorf("declare queue %s: %w", name, err)
	}
	for _, b := range bindings {
		if err := ch.QueueBind(name, b.key, b.exchange, false, nil); err != nil {
			return fmt.Errorf("bind queue %s to %s: %w", name, b.exchange, err)
		}
	}
	return nil
}
