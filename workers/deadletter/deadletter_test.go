package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

const id = "01a1fce5-6652-72e0-b462-1b467fc2739c"

func death(queue, reason string) map[string]any {
	return map[string]any{"queue": queue, "reason": reason, "count": int64(1)}
}

func TestALetterSaysWhy(t *testing.T) {
	t.Parallel()
	row := []byte(`{"id":"` + id + `","seq":3}`)
	for _, story := range []struct {
		name   string
		m      queue.Message
		queue  string
		reason string
		named  bool
	}{
		{"rejected by its worker", queue.Message{Queue: "payments.dead", Body: row, Headers: map[string]any{"x-death": []any{death("payments", "rejected")}}}, "payments", "rejected", true},
		{"rejected after it had waited on a rung", queue.Message{Queue: "payments.dead", Body: row, Headers: map[string]any{
			"x-death":              []any{death("payments", "rejected"), death("retry.1s", "expired")},
			"x-first-death-reason": "expired",
		}}, "payments", "rejected", true},
		{"delivered too often", queue.Message{Queue: "callbacks.retry.dead", Body: row, Headers: map[string]any{"x-death": []any{death("callbacks.retry", "delivery_limit")}}}, "callbacks.retry", "delivery_limit", true},
		{"published to the dead letters by hand", queue.Message{Queue: "cards.dead", Body: row}, "cards", "other", true},
		{"it names nothing, but it came with an id", queue.Message{Queue: "payments.dead", ID: id, Body: []byte("?")}, "payments", "other", false},
		{"it names nothing", queue.Message{Queue: "payments.dead", Body: []byte{0, 255}, Headers: map[string]any{"x-death": "?"}}, "payments", "other", false},
	} {
		d := letterOf(story.m)
		if d.Queue != story.queue || d.Reason != story.reason || d.Error == "" || d.PropertyID != story.m.ID {
			t.Errorf("%s: %+v", story.name, d)
		}
		if story.named != (d.MessageID == id && d.Seq == 3 && !d.Operation.IsZero()) {
			t.Errorf("%s: it is named %s at %d", story.name, d.MessageID, d.Seq)
		}
		if again := letterOf(story.m); again.MessageID != d.MessageID {
			t.Errorf("%s: delivered again it is %s, then %s", story.name, d.MessageID, again.MessageID)
		}
	}
}

// Whatever arrives becomes a letter that can be stored.
func FuzzLetter(f *testing.F) {
	f.Add("payments.dead", "", []byte(`{"id":"`+id+`","seq":3}`), `{"x-death":[{"queue":"payments","reason":"rejected"}]}`)
	f.Add("", "m", []byte(nil), `{"traceparent":"00-a-b-01","x-death":[1,{"queue":1}]}`)
	f.Fuzz(func(t *testing.T, name, messageID string, body []byte, headers string) {
		m := queue.Message{Queue: name, ID: messageID, Body: body}
		_ = json.Unmarshal([]byte(headers), &m.Headers)
		d := letterOf(m)
		if d.MessageID == "" || d.Reason == "" || d.Seq < 0 {
			t.Errorf("%+v", d)
		}
	})
}

// shelf keeps letters unless told to fail.
type shelf struct {
	errs []error
	kept []store.DeadLetter
}

func (s *shelf) KeepDeadLetters(_ context.Context, letters []store.DeadLetter) ([]bool, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		if err != nil {
			return nil, err
		}
	}
	s.kept = letters
	return make([]bool, len(letters)), nil
}

func (s *shelf) Ready(context.Context) error { return nil }

func TestALetterIsNeverLost(t *testing.T) {
	t.Parallel()
	batch := []queue.Message{{Queue: "payments.dead", Body: []byte("x"), Headers: map[string]any{"odd": "header"}}}
	for _, story := range []struct {
		name string
		errs []error
		keep bool // the message stays with the broker
		bare bool
	}{
		{name: "it is kept"},
		{name: "the database is down", errs: []error{store.ErrUnavailable}, keep: true},
		{name: "something unforeseen", errs: []error{errors.New("bug"), errors.New("bug"), errors.New("bug")}, keep: true},
		{name: "its set cannot be stored", errs: []error{&pgconn.PgError{Code: "22P05"}}},
		{name: "its operation is held by somebody", errs: []error{&pgconn.PgError{Code: "55P03"}}, keep: true},
		{name: "its operation is held by somebody, when it is kept by itself", errs: []error{&pgconn.PgError{Code: "22P05"}, &pgconn.PgError{Code: "55P03"}}, keep: true},
		{name: "its headers cannot be stored", errs: []error{&pgconn.PgError{Code: "22P05"}, &pgconn.PgError{Code: "22P05"}}, bare: true},
		{name: "nor can the rest", errs: []error{&pgconn.PgError{Code: "22P05"}, &pgconn.PgError{Code: "22P05"}, &pgconn.PgError{Code: "22P05"}}, keep: true},
	} {
		s := &shelf{errs: story.errs}
		w := &worker{letters: s, log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: NewMetrics()}
		verdicts := w.handle(t.Context(), batch)
		if queue.IsOutage(verdicts[0]) != story.keep {
			t.Errorf("%s: %v", story.name, verdicts[0])
		}
		if !story.keep {
			_, odd := s.kept[0].Headers["odd"]
			if odd == story.bare || string(s.kept[0].Body) != "x" {
				t.Errorf("%s: kept %+v", story.name, s.kept[0])
			}
		}
	}
}
