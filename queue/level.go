package queue

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Level is how much a queue holds, and who takes from it.
type Level struct {
	Queue     string
	Messages  int // ready to be delivered; what a consumer holds is not counted
	Consumers int
}

// Levels asks the broker for the levels of queues, in their order. A queue that does not exist
// has none, and is left out.
func (c *Connection) Levels(ctx context.Context, queues ...string) ([]Level, error) {
	e := c.present()
	if e == nil {
		return nil, fmt.Errorf("levels: %w", ErrNotConnected)
	}
	var all []Level
	for len(queues) > 0 {
		levels, err := e.levels(ctx, queues)
		if err != nil && !isMissing(err) {
			return nil, fmt.Errorf("levels: %w", err)
		}
		all = append(all, levels...)
		if err == nil {
			break
		}
		queues = queues[len(levels)+1:] // past the one that is missing, which closed the channel
	}
	return all, nil
}

// levels asks for one level after the other until a queue is missing.
func (e *epoch) levels(ctx context.Context, queues []string) ([]Level, error) {
	var found []Level
	// On a channel to be thrown away: asking for a queue that is missing closes it.
	err := e.once(ctx, func(ch *amqp.Channel) error {
		for _, name := range queues {
			q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
			if err != nil {
				return err
			}
			found = append(found, Level{Queue: name, Messages: q.Messages, Consumers: q.Consumers})
		}
		return nil
	})
	if err != nil && !isMissing(err) {
		return nil, err // and whoever asks may be asking still
	}
	return found, err
}

// isMissing says that err is the broker's answer about a queue that does not exist.
func isMissing(err error) bool {
	var said *amqp.Error
	return errors.As(err, &said) && said.Code == amqp.NotFound
}
