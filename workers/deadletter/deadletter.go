// Package deadletter takes what the broker or a worker gave up on into the database,
// where it is kept with its history until an operator replays or drops it.
//
// The row, and the end of the operation that the message named, commit before the message
// is acknowledged; a letter that is delivered twice finds its row. Nothing is too broken
// to be kept: the body is bytes, and headers that cannot be stored are left out and said
// so.
package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

const (
	batchSize = 100
	linger    = 10 * time.Millisecond
)

// letters is what this worker needs of the store.
type letters interface {
	KeepDeadLetters(context.Context, []store.DeadLetter) (isNew []bool, err error)
	Ready(context.Context) error
}

// worker keeps dead letters.
type worker struct {
	letters letters
	log     *slog.Logger
	metrics *Metrics
}

// New returns one worker for each dead letter queue.
func New(l letters, c *queue.Connection, log *slog.Logger, m *Metrics) []workers.Worker {
	w := &worker{letters: l, log: log.With("worker", "deadletter"), metrics: m}
	var all []workers.Worker
	for _, work := range queue.WorkQueues {
		name := queue.DeadQueue(work)
		all = append(all, workers.Worker{Name: "deadletter " + work, Run: func(ctx context.Context) error {
			return c.ConsumeBatches(ctx, queue.Batch{Queue: name, Size: batchSize, Linger: linger, Probe: l.Ready}, w.handle)
		}})
	}
	return all
}

// handle keeps a batch of dead letters.
func (w *worker) handle(ctx context.Context, batch []queue.Message) []error {
	kept := make([]store.DeadLetter, len(batch))
	for i, m := range batch {
		kept[i] = letterOf(m)
	}
	err := w.keep(ctx, kept)
	if unstorable(err) {
		err = w.keepEach(ctx, kept)
	}
	verdicts := make([]error, len(batch))
	if err != nil {
		for i := range verdicts {
			verdicts[i] = queue.Outage(err)
		}
	}
	return verdicts
}

// keep keeps letters, and logs and counts those that are new.
func (w *worker) keep(ctx context.Context, letters []store.DeadLetter) error {
	isNew, err := w.letters.KeepDeadLetters(ctx, letters)
	if err != nil {
		return err
	}
	for i, d := range letters {
		if isNew[i] {
			w.metrics.letters.WithLabelValues(d.Queue, d.Reason).Inc()
			w.log.Error("dead letter", "queue", d.Queue, "message", d.MessageID, "seq", d.Seq, "reason", d.Reason)
		}
	}
	return nil
}

// keepEach keeps letters one by one, and those that cannot be stored without their headers.
func (w *worker) keepEach(ctx context.Context, letters []store.DeadLetter) error {
	for _, d := range letters {
		err := w.keep(ctx, []store.DeadLetter{d})
		if unstorable(err) {
			d.Headers = map[string]any{"quittance": "the headers could not be stored"}
			err = w.keep(ctx, []store.DeadLetter{d})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unstorable says that the letters themselves are at fault, not the hour.
func unstorable(err error) bool {
	fault := store.FaultOf(err)
	return err != nil && (fault == store.FaultData || fault == store.FaultOther)
}

// letterOf reads what the broker says of a dead message. One that names no row is named
// by the hash of all that is known of it, which is the same at every delivery.
func letterOf(m queue.Message) store.DeadLetter {
	d := store.DeadLetter{
		Queue:     strings.TrimSuffix(m.Queue, queue.DeadQueue("")),
		MessageID: m.ID,
		Type:      m.Type,
		Reason:    reasonOf(m),
		Headers:   m.Headers,
		Body:      m.Body,
		TraceID:   traceOf(m),

		PropertyID: m.ID,
	}
	ref, err := workers.RefOf(m)
	if err != nil {
		d.Error = err.Error()
		d.MessageID = nameOf(m)
		return d
	}
	d.MessageID, d.Seq, d.Operation = ref.ID.String(), ref.Seq, ref.ID
	d.Error = sentences[d.Reason]
	return d
}

// The reasons of the broker, and what they say where no attempt recorded an error.
const (
	rejected      = "rejected"
	deliveryLimit = "delivery_limit"
	other         = "other"
)

// Reasons are all that there are.
var Reasons = []string{rejected, deliveryLimit, other}

var sentences = map[string]string{
	rejected:      "The worker rejected the message.",
	deliveryLimit: "The message was delivered too often without an end: its workers died or lost the broker while they had it.",
	other:         "The broker gave the message up.",
}

// reasonOf reads why the message left its work queue. Its death history may begin on the
// retry ladder, where every message expires: that is not a death.
func reasonOf(m queue.Message) string {
	deaths, _ := m.Headers["x-death"].([]any)
	for _, d := range deaths {
		death, _ := d.(map[string]any)
		name, _ := death["queue"].(string)
		reason, _ := death["reason"].(string)
		if queue.DeadQueue(name) == m.Queue && (reason == rejected || reason == deliveryLimit) {
			return reason
		}
	}
	return other
}

func nameOf(m queue.Message) string {
	headers, err := json.Marshal(m.Headers)
	if err != nil {
		headers = nil
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(m.Queue), []byte(m.ID), headers, m.Body} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// traceOf is the trace that the message was published in, as its header names it.
func traceOf(m queue.Message) string {
	published := trace.SpanContextFromContext(m.Traced(context.Background()))
	if !published.HasTraceID() {
		return ""
	}
	return published.TraceID().String()
}
