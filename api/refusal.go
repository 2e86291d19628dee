package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

// Refusal is an answer that says no.
type Refusal struct {
	Status     int // 0 for the API's status of a client's mistake
	Code       string
	Message    string            // a sentence for the caller
	Fields     map[string]string // what is wrong with which field
	RetryAfter time.Duration     // 0 where trying again does not help
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// PlainShape is the shape of what belongs to no older API. It names fields where some are wrong.
func PlainShape(r Refusal) any {
	said := map[string]any{"code": r.Code, "message": r.Message}
	if len(r.Fields) > 0 {
		said["fields"] = r.Fields
	}
	return map[string]any{"error": said}
}

// TooLarge is ErrTooLarge in APIs that have a status for it.
var TooLarge = Case{ErrTooLarge, Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: tooLarge}}

const tooLarge = "The request body is larger than 1 MiB!"

// common are the refusals that every API has.
var common = []Case{
	{ErrTooLarge, Refusal{Code: "too_large", Message: tooLarge}},
	{store.ErrKeyReused, Refusal{Status: http.StatusUnprocessableEntity, Code: "idempotency_key_reused", Message: "This Idempotency-Key was used before, by another request!"}},
	{store.ErrKeyInProgress, Refusal{Status: http.StatusConflict, Code: "idempotency_key_in_progress", Message: "The request with this Idempotency-Key is being worked on!", RetryAfter: time.Second}},
	{store.ErrUnavailable, Refusal{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "Service temporarily unavailable!", RetryAfter: 2 * time.Second}},
}

var internal = Refusal{Status: http.StatusInternalServerError, Code: "internal", Message: "Internal error!"}

// answerError is the one place that turns an error into an answer. What is not listed is
// ours: the log has it, by way of the request's line, and the caller learns nothing.
func answerError(c *gin.Context, a API, err error) {
	var replay *store.Replay
	if errors.As(err, &replay) {
		answerReplay(c, replay.Answer)
		return
	}
	r := refusalOf(a, err)
	if r.Status == 0 {
		r.Status = a.Mistake
	}
	c.Set(refusedKey, r.Code)
	if r.Status >= 500 {
		_ = c.Error(err) // for the log line
	}
	if r.RetryAfter > 0 {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
	}
	if a.Render != nil {
		a.Render(c, r)
		return
	}
	Answer(c, r.Status, Encode(a.Shape(r)))
}

func refusalOf(a API, err error) Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return *r
	}
	for _, cases := range [][]Case{a.Refusals, common} {
		for _, known := range cases {
			if errors.Is(err, known.Err) {
				return known.Refusal
			}
		}
	}
	return internal
}

// Answer sends a body of JSON.
func Answer(c *gin.Context, status int, body []byte) {
	c.Data(status, "application/json; charset=utf-8", body)
}

// Encode makes JSON of one of our own types; text stays as it was sent, without escapes
// for HTML.
func Encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err)) // a type of ours that is not JSON: a bug
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// Time shows a time as ISO 8601 with milliseconds, in UTC.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
