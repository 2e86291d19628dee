package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store/money"
)

// maxText is how many characters a text may have.
const maxText = 1000

// Text is a JSON string that remembers whether it was sent, and whether it was one.
type Text struct {
	Value string
	field
}

// Integer is a JSON number without fraction or exponent that fits in 64 bits: strict,
// because it is money. A string of digits is not one.
type Integer struct {
	Value int64
	field
}

// Decimal is a JSON number of any size and scale, read exactly. A string of digits is not
// one: it is money, too.
type Decimal struct {
	Value money.Decimal
	field
}

// ID is a positive integer that names a row. Clients whose ids are texts may send it as one.
type ID struct {
	Value int64
	field
}

// List is a JSON array that remembers whether it was sent, and whether it was one.
type List[T any] struct {
	Value []T
	field
}

// UnmarshalJSON never fails: what is wrong is reported with the field's name by Problems.
func (l *List[T]) UnmarshalJSON(b []byte) error {
	l.note(b)
	if l.sent && json.Unmarshal(b, &l.Value) != nil {
		l.wrong = "must be a list of objects of the documented form"
	}
	return nil
}

func (f *field) note(b []byte) {
	f.null = string(b) == "null"
	f.sent = !f.null
}

// Null says that the field was sent as null.
func (f field) Null() bool { return f.null }

// Sent says that the field was sent, and not as null.
func (f field) Sent() bool { return f.sent }

// field is what all of them remember; the zero value is a field that was not sent.
type field struct {
	sent  bool
	null  bool // sent, as null: which is as good as not sent, unless it is asked for
	wrong string
}

// UnmarshalJSON never fails: what is wrong is reported with the field's name by Problems.
func (t *Text) UnmarshalJSON(b []byte) error {
	t.note(b)
	switch {
	case !t.sent:
	case b[0] != '"':
		t.wrong = "must be a string"
	case json.Unmarshal(b, &t.Value) != nil:
		t.wrong = "is not a valid string"
	case utf8.RuneCountInString(t.Value) > maxText:
		t.wrong = "must have at most 1000 characters"
	case strings.ContainsFunc(t.Value, unicode.IsControl):
		t.wrong = "must not have control characters"
	}
	return nil
}

// UnmarshalJSON never fails: what is wrong is reported with the field's name by Problems.
func (i *Integer) UnmarshalJSON(b []byte) error {
	i.note(b)
	v, err := strconv.ParseInt(string(b), 10, 64)
	switch {
	case !i.sent:
	case errors.Is(err, strconv.ErrRange):
		i.wrong = "is too large"
	case err != nil:
		i.wrong = "must be an integer"
	}
	i.Value = v
	return nil
}

// UnmarshalJSON never fails: what is wrong is reported with the field's name by Problems.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	d.note(b)
	v, err := money.ParseDecimal(string(b))
	if d.sent && err != nil {
		d.wrong = "must be a number"
	}
	d.Value = v
	return nil
}

// UnmarshalJSON never fails: what is wrong is reported with the field's name by Problems.
func (i *ID) UnmarshalJSON(b []byte) error {
	i.note(b)
	text := string(b)
	if b[0] == '"' {
		_ = json.Unmarshal(b, &text) // what is no text is no id either
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if i.sent && (err != nil || v <= 0 || strconv.FormatInt(v, 10) != text) {
		i.wrong = "must be a positive integer"
	}
	i.Value = v
	return nil
}

func (f field) problem() (sent bool, wrong string) { return f.sent, f.wrong }

// Field is a Text, an Integer, a Decimal, an ID or a List.
type Field interface {
	problem() (sent bool, wrong string)
}

// Problems are what is wrong with a request, by field.
type Problems map[string]string

// Required reports a field that was not sent, or is not what it must be.
func (p Problems) Required(name string, f Field) {
	sent, wrong := f.problem()
	p.Check(name, sent, "is required")
	p.Check(name, wrong == "", wrong)
}

// Optional reports a field only if it was sent and is not what it must be.
func (p Problems) Optional(name string, f Field) {
	_, wrong := f.problem()
	p.Check(name, wrong == "", wrong)
}

// Check reports a field that has no other problem yet.
func (p Problems) Check(name string, ok bool, wrong string) {
	if _, has := p[name]; !has && !ok {
		p[name] = wrong
	}
}

// Why a body is not read at all.
var (
	// ErrTooLarge has the status of the API's mistakes, unless its table says TooLarge.
	ErrTooLarge = errors.New("the request body is larger than 1 MiB")
	errNotJSON  = &Refusal{Code: "not_json", Message: "The request body is not a JSON object!"}
)

// Body reads the whole body, which must be valid UTF-8.
func Body(c *gin.Context) ([]byte, error) {
	body, err := io.ReadAll(c.Request.Body)
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, ErrTooLarge
	}
	if err != nil || !utf8.Valid(body) {
		return nil, errNotJSON
	}
	return body, nil
}

// Decode decodes one JSON object and nothing after it.
func Decode(body []byte, into any) error {
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return errNotJSON
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errNotJSON
	}
	return nil
}
