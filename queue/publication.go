package queue

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publication is one message to be published. It names the row ID at Seq, for the
// worker that consumes Queue.
type Publication struct {
	Queue   string // a work queue
	Delay   string // "" for now, or the name of a rung
	ID      string // a UUID in lower case; also the property message-id
	Seq     int64  // 1 or more
	Type    string
	Headers map[string]any // numbers, strings, bools, bytes, times, and maps and slices of them
	Trace   string         // what it follows from, where that is traced: a W3C traceparent
}

// ErrInvalid says that a publication was not sent and never can be as it is: it names
// no work queue or no rung, or it cannot be encoded.
var ErrInvalid = errors.New("invalid publication")

// The content header of a message must fit one frame (128 KiB by default, 4 KiB at the
// very least), and the broker answers a larger one by closing the connection, for
// everybody on it. What is larger than this is refused before it is sent.
const maxHeaders = 64 << 10

// maxShort is the most that AMQP holds in a short string: a property, a header's name.
const maxShort = 255

// envelope is a publication made ready, so that nothing is left that can fail for a
// reason of its own once it is on the wire. (The client closes the connection when it
// meets something that it cannot encode.)
type envelope struct {
	exchange, key string
	message       amqp.Publishing
}

// returnKey tells which publication the broker has given back. Two publications with
// the same key are the same in everything that routing looks at.
type returnKey struct{ exchange, key, body string }

func (e envelope) returnKey() returnKey {
	return returnKey{e.exchange, e.key, string(e.message.Body)}
}

func (p Publication) envelope(now time.Time) (envelope, error) {
	if err := p.check(); err != nil {
		return envelope{}, err
	}
	headers, size, err := encodeTable(p.Headers)
	if err != nil {
		return envelope{}, fmt.Errorf("%w %s: headers: %w", ErrInvalid, p.ID, err)
	}
	if size > maxHeaders {
		return envelope{}, fmt.Errorf("%w %s: headers of %d bytes, at most %d", ErrInvalid, p.ID, size, maxHeaders)
	}

	return envelope{
		exchange: p.exchange(),
		key:      p.Queue,
		message: amqp.Publishing{
			ContentType:  "application/json",
			DeliveryMode: amqp.Persistent,
			MessageId:    p.ID,
			Type:         p.Type,
			Timestamp:    now,
			Headers:      headers,
			Body:         encodeRow(p.ID, p.Seq),
		},
	}, nil
}

func (p Publication) exchange() string {
	if p.Delay != "" {
		return rungQueue(p.Delay)
	}
	return exchangeCommands
}

// check refuses what the broker would take and never hand out again: a rung keeps a
// message with an unknown routing key for good.
func (p Publication) check() error {
	switch {
	case !isUUID(p.ID):
		return fmt.Errorf("%w: id %q is not a UUID", ErrInvalid, p.ID)
	case p.Seq < 1:
		return fmt.Errorf("%w %s: seq %d", ErrInvalid, p.ID, p.Seq)
	case !isWorkQueue(p.Queue):
		return fmt.Errorf("%w %s: no work queue %q", ErrInvalid, p.ID, p.Queue)
	case p.Delay != "" && !isRung(p.Delay):
		return fmt.Errorf("%w %s: no rung %q", ErrInvalid, p.ID, p.Delay)
	case len(p.Type) > maxShort:
		return fmt.Errorf("%w %s: type of %d bytes", ErrInvalid, p.ID, len(p.Type))
	}
	return nil
}

// encodeTable turns plain values into AMQP's, and says how many bytes they take at
// most.
func encodeTable(plain map[string]any) (amqp.Table, int, error) {
	table, size := make(amqp.Table, len(plain)), 4
	for name, value := range plain {
		if ownedByBroker(name) {
			continue
		}
		if err := checkName(name); err != nil {
			return nil, 0, err
		}
		v, n, err := encodeValue(value)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", name, err)
		}
		table[name] = v
		size += 1 + len(name) + n
	}
	return table, size, nil
}

// ownedByBroker reports whether the broker writes this header. A dead letter that is
// published again may still carry it, and before RabbitMQ 4 the broker believes what a
// client says there.
func ownedByBroker(name string) bool {
	switch name {
	case "x-death", "x-delivery-count", "x-acquired-count":
		return true
	}
	return strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// checkName refuses the two headers that route copies to further queues: a wrong one
// closes the channel.
func checkName(name string) error {
	if len(name) > maxShort {
		return fmt.Errorf("a name of %d bytes", len(name))
	}
	if name == "CC" || name == "BCC" {
		return fmt.Errorf("%s is not ours to set", name)
	}
	return nil
}

// encodeValue is particular about integers: the client writes an int in 32 bits,
// whatever it holds.
func encodeValue(plain any) (value any, size int, err error) {
	const scalar, long = 9, 5 // a type and 8 bytes; a type and a length of 4 bytes
	switch v := plain.(type) {
	case nil, bool, byte, int8, int16, int32, int64, uint16, uint32, float32, float64, time.Time:
		return v, scalar, nil
	case int:
		return int64(v), scalar, nil
	case uint:
		return encodeValue(uint64(v))
	case uint64:
		if v > math.MaxInt64 {
			return nil, 0, fmt.Errorf("%d is beyond 63 bits", v)
		}
		return int64(v), scalar, nil
	case string:
		return v, long + len(v), nil
	case []byte:
		return v, long + len(v), nil
	case map[string]any:
		table, n, err := encodeTable(v)
		return table, 1 + n, err
	case []any:
		return encodeArray(v)
	default:
		return nil, 0, fmt.Errorf("a %T cannot be a header", plain)
	}
}

func encodeArray(plain []any) (any, int, error) {
	array, size := make([]any, len(plain)), 5
	for i := range plain {
		v, n, err := encodeValue(plain[i])
		if err != nil {
			return nil, 0, fmt.Errorf("[%d]: %w", i, err)
		}
		array[i] = v
		size += n
	}
	return array, size, nil
}
