package queue

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// defaultDrain is how long a consumer that is told to end works on what it already
	// has.
	defaultDrain = 20 * time.Second
	// maxPrefetch is the most that a quorum queue hands to one consumer.
	maxPrefetch = 2000
	// maxFaults is how often in a row a handler may panic on the same messages before
	// they are looked at one by one, and the one that it panics on is given back to the
	// broker. The broker's limit of 20 deliveries is then what dead-letters it.
	maxFaults = 5
	// lull is longer than a delivery takes from the broker to us.
	lull = 200 * time.Millisecond
)

// Batch says how to consume in batches.
type Batch struct {
	Queue    string
	Size     int                         // the most messages in one batch
	Linger   time.Duration               // how long to wait for more after the first; 0: take only what is there
	Prefetch int                         // 0: twice Size; at most 2,000
	Probe    func(context.Context) error // returns nil once what the handler depends on is back; nil: always
	Drain    time.Duration               // 0: 20 s
}

// Single says how to consume messages one by one.
type Single struct {
	Queue    string
	Prefetch int // how many are handled at once, 1 to 2,000
	Probe    func(context.Context) error
	Drain    time.Duration
}

// ConsumeBatches hands the messages of a queue to handle, in batches, one batch at a
// time. handle returns one error for each message, in their order: nil acknowledges it,
// Reject dead-letters it, and after Outage or any other error it is kept and handed over
// again, alone with others of its kind, when Probe has succeeded.
//
// It goes on over lost connections and deleted queues. Once ctx has ended it takes no
// more from the broker, works on what it already has for as long as Drain allows, and
// returns nil. The context that handle is given ends only then; handle must honour it.
// The only error is a Batch that makes no sense.
//
// The known hole: a message that the broker sends at the very moment at which the consumer
// is cancelled is taken back by the quorum queue and counts as delivered once.
func (c *Connection) ConsumeBatches(ctx context.Context, b Batch, handle func(context.Context, []Message) []error) error {
	prefetch := b.Prefetch
	if prefetch == 0 {
		prefetch = min(2*b.Size, maxPrefetch)
	}
	if b.Size < 1 || prefetch < b.Size || prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: batches of %d with a prefetch of %d", b.Queue, b.Size, prefetch)
	}
	worker := c.newConsumer(b.Queue, prefetch, b.Drain, b.Probe)
	worker.together = true
	worker.handle = handle
	worker.work = func(l *life) { l.workInBatches(b.Size, b.Linger) }
	return worker.run(ctx)
}

// ConsumeSingly hands the messages of a queue to handle one by one, up to Prefetch at
// once, each acknowledged by itself. Everything else is as with ConsumeBatches; a
// pause holds all of them.
func (c *Connection) ConsumeSingly(ctx context.Context, s Single, handle func(context.Context, Message) error) error {
	if s.Prefetch < 1 || s.Prefetch > maxPrefetch {
		return fmt.Errorf("consume %s: a prefetch of %d", s.Queue, s.Prefetch)
	}
	worker := c.newConsumer(s.Queue, s.Prefetch, s.Drain, s.Probe)
	worker.handle = func(ctx context.Context, m []Message) []error { return []error{handle(ctx, m[0])} }
	worker.work = (*life).workSingly
	return worker.run(ctx)
}

// consumer is what stays the same over all lives of a consumer.
type consumer struct {
	connection *Connection
	queue      string
	prefetch   int
	drain      time.Duration
	pause      *pause
	log        *slog.Logger
	together   bool // batches: one call at a time, so that one acknowledgement may cover many
	handle     func(context.Context, []Message) []error
	work       func(*life)
}

func (c *Connection) newConsumer(queue string, prefetch int, drain time.Duration, probe func(context.Context) error) *consumer {
	if drain == 0 {
		drain = defaultDrain
	}
	log := c.log.With("queue", queue)
	return &consumer{
		connection: c,
		queue:      queue,
		prefetch:   prefetch,
		drain:      drain,
		pause:      &pause{probe: probe, log: log},
		log:        log,
	}
}

// run lives one life after the other until ctx has ended. Every life has a channel of
// its own: consuming again on a channel with deliveries in flight is a channel error in
// RabbitMQ before 3.10.9, and tags of two lives must not mix.
func (w *consumer) run(ctx context.Context) error {
	working, release := outlive(ctx, w.drain)
	defer release()

	retry := newBackoff(100*time.Millisecond, 5*time.Second)
	for {
		w.pause.clear(ctx, newProbeBackoff())
		e, err := w.connection.await(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		err = w.live(ctx, working, e)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.log.Warn("not consuming", "error", err)
		} else {
			retry.Reset()
		}
		sleep(ctx, retry.NextBackOff())
	}
}

// live lives one life, from a fresh channel until that is closed, the broker cancels
// the consumer (its queue was deleted), or ctx has ended and everything is drained. An
// error says that it did not come to consume.
func (w *consumer) live(ctx, working context.Context, e *epoch) error {
	const tag = "quittance" // unique on a channel that has one consumer
	var deliveries <-chan amqp.Delivery
	ch, err := e.channel(ctx, func(ch *amqp.Channel) error {
		err := ch.Qos(w.prefetch, 0, false)
		if err == nil {
			deliveries, err = ch.Consume(w.queue, tag, false, false, false, false, nil)
		}
		return err
	})
	if err != nil {
		_ = e.once(ctx, declare) // the queue may have been deleted; if this fails, so will the next life
		return err
	}

	l := newLife(w, ch, ctx, working)
	defer l.end()

	// Cancelling waits for the broker's answer, so that all it has sent arrives before
	// the deliveries end. The channel is closed after that: both wait for an answer.
	stop := context.AfterFunc(ctx, func() {
		defer close(l.cancelled)
		l.awaitLull()
		_ = ch.Cancel(tag, false) // the only error is a closed channel, which ends the deliveries too
	})
	defer func() {
		if stop() {
			close(l.cancelled)
		}
		e.discard(ch, l.cancelled)
	}()

	if !e.task(func() { l.receive(deliveries) }) {
		return ErrNotConnected
	}
	w.work(l)
	return nil
}

// life is one consumer on one channel.
type life struct {
	*consumer

	channel *amqp.Channel
	// stopping ends when the consumer is to end, working when it is to have ended, which
	// is what the handler is given. alive ends with the channel as well: what was
	// delivered is then the broker's again, and there is no use in waiting with it.
	stopping, working, alive context.Context

	end       context.CancelFunc // of alive
	cancelled chan struct{}      // closed once the broker knows that it is to send no more

	inbox chan delivery // as long as the prefetch, so that receive never waits
	open  atomic.Int64  // received and not yet settled
	full  chan struct{} // open has reached the prefetch
}

type delivery struct {
	tag     uint64
	message Message
}

func newLife(w *consumer, ch *amqp.Channel, stopping, working context.Context) *life {
	alive, end := context.WithCancel(working)
	return &life{
		consumer:  w,
		channel:   ch,
		stopping:  stopping,
		working:   working,
		alive:     alive,
		end:       end,
		cancelled: make(chan struct{}),
		inbox:     make(chan delivery, w.prefetch),
		full:      make(chan struct{}, 1),
	}
}

// receive moves deliveries into the inbox, so that a batch can see what is there.
// They end when the consumer is cancelled, by either side, or when the channel closes.
func (l *life) receive(deliveries <-chan amqp.Delivery) {
	defer close(l.inbox)
	for d := range deliveries {
		l.inbox <- delivery{d.DeliveryTag, newMessage(l.queue, d)}
		if l.open.Add(1) == int64(l.prefetch) {
			select {
			case l.full <- struct{}{}:
			default:
			}
		}
	}
	if l.channel.IsClosed() {
		l.end()
	}
}

// awaitLull waits, before the consumer is cancelled, until nothing is on its way from
// the broker: until all of the prefetch has arrived, or for a moment, in which what is
// on its way arrives. A quorum queue takes back what crosses the cancellation and counts
// it as delivered.
func (l *life) awaitLull() {
	moment := time.NewTimer(lull)
	defer moment.Stop()
	for l.open.Load() < int64(l.prefetch) {
		select {
		case <-l.full:
		case <-moment.C:
			return
		case <-l.alive.Done():
			return
		}
	}
}

// askForNoMore waits, where the consumer is to end, until the broker knows that: an
// acknowledgement makes room, and would set more messages on their way.
func (l *life) askForNoMore() {
	if l.stopping.Err() == nil {
		return
	}
	select {
	case <-l.cancelled:
	case <-l.alive.Done():
	}
}

// workInBatches gathers and processes one batch after the other until the inbox is
// closed and empty or the life has ended.
func (l *life) workInBatches(size int, linger time.Duration) {
	for more := true; more && l.alive.Err() == nil; {
		var batch []delivery
		batch, more = l.gather(size, linger)
		l.process(batch, 0)
	}
}

// gather waits for a first message and takes what follows. It reports false when
// there will be no more.
func (l *life) gather(size int, linger time.Duration) (batch []delivery, more bool) {
	first, ok := l.next(nil)
	if !ok {
		return nil, false
	}
	batch = append(make([]delivery, 0, size), first)

	var enough <-chan time.Time
	if linger > 0 {
		timer := time.NewTimer(linger)
		defer timer.Stop()
		enough = timer.C
	}
	for len(batch) < size {
		if linger == 0 && len(l.inbox) == 0 {
			break
		}
		d, ok := l.next(enough)
		if !ok {
			break
		}
		batch = append(batch, d)
	}
	return batch, true
}

// next waits for a message, until enough or until there will be none.
func (l *life) next(enough <-chan time.Time) (d delivery, ok bool) {
	select {
	case d, ok = <-l.inbox:
	case <-enough:
	case <-l.alive.Done():
	}
	return d, ok
}

// workSingly processes every message in a goroutine of its own. The prefetch bounds
// them. It returns when all have ended, so that a message that is delivered again to
// the next life does not meet itself.
func (l *life) workSingly() {
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		d, ok := l.next(nil)
		if !ok {
			return
		}
		calls.Go(func() { l.process([]delivery{d}, 0) })
	}
}

// process works on deliveries until each is settled or the life has ended. faults is
// how often the handler has already panicked on them.
func (l *life) process(ds []delivery, faults int) {
	retry := newProbeBackoff()
	for len(ds) > 0 && l.pause.pass(l.alive) {
		kept, cause := l.attempt(ds, len(ds) == 1 && faults+1 >= maxFaults)
		ds = kept
		switch {
		case len(kept) == 0:
		case !isFault(cause):
			faults = 0
			l.pause.hold(l.alive, cause, retry)
		case faults+1 < maxFaults:
			faults++
			sleep(l.alive, retry.NextBackOff()) // holds up no other call: the fault may lie in these messages
		default: // and perhaps in one of them only
			for i := range ds {
				l.process(ds[i:i+1], maxFaults-1)
			}
			return
		}
	}
}

// attempt hands deliveries to the handler and does to each what the handler decided.
// It returns those to be handed over again, and why. With giveBack, a fault of the
// handler returns them to the broker instead, which counts.
//
// Nothing else in this package acknowledges or rejects, and nothing but its call
// recovers a panic. The commit point is the handler's return: after a crash between it
// and the acknowledgement's arrival at the broker the messages are delivered again.
func (l *life) attempt(ds []delivery, giveBack bool) (kept []delivery, cause error) {
	verdicts := l.call(ds)
	l.askForNoMore()
	l.open.Add(int64(-len(ds))) // before the broker hears of it; what is kept is added again
	var acked []delivery
	for i, verdict := range verdicts {
		d := ds[i]
		switch {
		case verdict == nil:
			acked = append(acked, d)
		case IsReject(verdict):
			l.settled(outcomeRejected, 1, l.channel.Reject(d.tag, false))
		case giveBack && isFault(verdict):
			// Not by nack, which RabbitMQ 4.3 does not count as a delivery.
			l.settled(outcomeRequeued, 1, l.channel.Reject(d.tag, true))
		default:
			kept, cause = append(kept, d), verdict
			l.open.Add(1)
			l.count(outcomePaused, 1)
		}
	}
	if l.together && len(kept) == 0 && len(acked) > 0 {
		// This acknowledges whatever is open up to the last tag: the rejected are settled
		// by now, nothing is kept, and no other batch is in flight on this channel.
		last := acked[len(acked)-1]
		l.settled(outcomeAcked, len(acked), l.channel.Ack(last.tag, true))
		return nil, nil
	}
	for _, d := range acked {
		l.settled(outcomeAcked, 1, l.channel.Ack(d.tag, false))
	}
	return kept, cause
}

// settled counts n messages of which the broker has been told. Where it could not be
// told the channel is closed: it will deliver them again, to another life.
func (l *life) settled(outcome string, n int, err error) {
	if err != nil {
		l.end()
		return
	}
	l.count(outcome, n)
}

func (l *life) count(outcome string, n int) {
	l.connection.metrics.consume.WithLabelValues(l.queue, outcome).Add(float64(n))
}

// call calls the handler and returns its verdicts, one for each delivery. A handler
// that panics, or returns another number of them, is at fault on all.
func (l *life) call(ds []delivery) (verdicts []error) {
	messages := make([]Message, len(ds))
	for i := range ds {
		messages[i] = ds[i].message
	}
	if l.together {
		l.connection.metrics.batch.WithLabelValues(l.queue).Observe(float64(len(ds)))
	}
	start := time.Now()
	defer func() {
		l.connection.metrics.handle.WithLabelValues(l.queue).Observe(time.Since(start).Seconds())
		if value := recover(); value != nil {
			l.log.Error("handler panicked", "panic", value, "messages", len(ds), "stack", string(debug.Stack()))
			verdicts = slices.Repeat([]error{panicked(value)}, len(ds))
		}
	}()
	verdicts = l.handle(l.working, messages)
	if len(verdicts) != len(ds) {
		l.log.Error("handler broke its contract", "verdicts", len(verdicts), "messages", len(ds))
		verdicts = slices.Repeat([]error{miscounted(len(verdicts), len(ds))}, len(ds))
	}
	return verdicts
}
