package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Message is what a consumer is handed. It names a row and carries no state.
type Message struct {
	Queue       string // the queue it was consumed from
	ID          string // property message-id
	Type        string // property type
	Body        []byte
	Headers     map[string]any // in plain Go types: tables are map[string]any, arrays []any
	Redelivered bool           // it may have been handed out before
}

// errRow is what Row says of every body that is not exactly a row's name.
var errRow = errors.New(`the body is not {"id":"<uuid>","seq":<n>}`)

// Row decodes which row, at which seq, the message is about. It is strict, because a
// body that we did not write names nothing: other fields, another order, another
// spelling of the id and a seq below 1 are errors. Space between the tokens is allowed.
func (m Message) Row() (id string, seq int64, err error) {
	var row struct {
		ID  string `json:"id"`
		Seq int64  `json:"seq"`
	}
	if err := json.Unmarshal(m.Body, &row); err != nil {
		return "", 0, fmt.Errorf("%w: %w", errRow, err)
	}
	if !isUUID(row.ID) || row.Seq < 1 {
		return "", 0, errRow
	}
	// Decoding forgives doubled keys, unknown fields and upper case. What does not
	// encode to the same text again was not written by encodeRow.
	var given bytes.Buffer
	if err := json.Compact(&given, m.Body); err != nil {
		return "", 0, fmt.Errorf("%w: %w", errRow, err)
	}
	if !bytes.Equal(given.Bytes(), encodeRow(row.ID, row.Seq)) {
		return "", 0, errRow
	}
	return row.ID, row.Seq, nil
}

// encodeRow is the body of every message. The id must be a UUID: nothing is escaped.
func encodeRow(id string, seq int64) []byte {
	body := make([]byte, 0, 72) // {"id":"…36…","seq":…19…}
	body = append(body, `{"id":"`...)
	body = append(body, id...)
	body = append(body, `","seq":`...)
	body = strconv.AppendInt(body, seq, 10)
	return append(body, '}')
}

// isUUID reports whether s is a UUID as PostgreSQL writes it: lower case, hyphens.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}

func newMessage(queue string, d amqp.Delivery) Message {
	return Message{
		Queue:       queue,
		ID:          d.MessageId,
		Type:        d.Type,
		Body:        d.Body,
		Headers:     plainTable(d.Headers),
		Redelivered: d.Redelivered,
	}
}

func plainTable(t amqp.Table) map[string]any {
	plain := make(map[string]any, len(t))
	for name, value := range t {
		plain[name] = plainValue(value)
	}
	return plain
}

func plainValue(value any) any {
	switch v := value.(type) {
	case amqp.Table:
		return plainTable(v)
	case []any:
		plain := make([]any, len(v))
		for i := range v {
			plain[i] = plainValue(v[i])
		}
		return plain
	case amqp.Decimal:
		return fmt.Sprintf("%de-%d", v.Value, v.Scale)
	default:
		return v
	}
}
