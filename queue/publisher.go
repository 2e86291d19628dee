package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What became of a publication that was not confirmed.
var (
	// ErrReturned says that the broker had no queue for it. It was not kept.
	ErrReturned = errors.New("returned by RabbitMQ: no queue takes it")
	// ErrNacked says that the broker refused it, as a full queue does. It was not kept.
	ErrNacked = errors.New("refused by RabbitMQ")
	// ErrUnknown says that the broker did not answer in time: it may have arrived or not.
	// Publishing it again is safe, forgetting it is not.
	ErrUnknown = errors.New("not confirmed by RabbitMQ: it may or may not have arrived")
)

const (
	// lanes is the number of channels. One is held to 32 commands that a quorum queue
	// has not yet written, so one alone cannot keep the broker busy; and while one waits
	// for its last confirms the other writes.
	lanes = 2
	// inFlight bounds what one channel has unconfirmed. Beyond it only latency grows, and
	// the client looks through all of it for every confirm that names several.
	inFlight = 500
	// laneGrace is how long after its deadline a call waits for a lane that is not held
	// in a write, and so needs next to nothing.
	laneGrace = 100 * time.Millisecond
)

// Publisher publishes with confirms. It is meant for the relay alone.
type Publisher struct {
	connection *Connection
	loads      chan *load
	open       atomic.Int32 // lanes that would take a load
}

// load is a part of one call of Publish: what one lane has in flight at a time.
type load struct {
	ctx       context.Context
	envelopes []envelope
	results   chan []error // buffered; one answer of the same length
}

// NewPublisher makes a publisher on c, which should carry no consumers.
func NewPublisher(c *Connection) *Publisher {
	return &Publisher{connection: c, loads: make(chan *load)}
}

// Run keeps the publisher's channels open until ctx ends. End it before the
// Connection's Run.
func (p *Publisher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	for range lanes {
		running.Go(func() { p.runLane(ctx) })
	}
	running.Wait()
	return nil
}

// Ready reports whether a batch published now would go out: the connection and all
// channels are open, and the broker has not blocked us.
func (p *Publisher) Ready() bool {
	e := p.connection.present()
	return e != nil && !e.blocked.Load() && p.open.Load() == lanes
}

// Changed returns a channel that is closed at the next change of Ready (and at some
// other changes). Take it before asking.
func (p *Publisher) Changed() <-chan struct{} { return p.connection.Changed() }

// Publish publishes a batch and waits for the broker's answers, until ctx ends at the
// latest. It returns one error for each publication, nil where the broker has it safe
// in a queue; else ErrReturned, ErrNacked, ErrUnknown or ErrInvalid. The order of
// arrival is not that of the batch.
//
// ctx must have a deadline: while there is no connection, or the broker is blocked,
// nothing else ends the wait.
func (p *Publisher) Publish(ctx context.Context, batch []Publication) []error {
	batch, spans := p.connection.beginSpans(ctx, batch)
	results := make([]error, len(batch))
	defer endSpans(spans, results)
	envelopes := make([]envelope, 0, len(batch))
	places := make([]int, 0, len(batch)) // where in the batch each envelope came from
	now := time.Now()
	for i := range batch {
		e, err := batch[i].envelope(now)
		if err != nil {
			results[i] = err
			continue
		}
		envelopes = append(envelopes, e)
		places = append(places, i)
	}

	for i, err := range p.publish(ctx, envelopes) {
		results[places[i]] = err
	}
	return results
}

// publish spreads envelopes over the lanes.
func (p *Publisher) publish(ctx context.Context, envelopes []envelope) []error {
	results := make([]error, 0, len(envelopes))
	size := min(inFlight, (len(envelopes)+lanes-1)/lanes)

	var loads []*load
	for start := 0; start < len(envelopes); start += size {
		part := envelopes[start:min(start+size, len(envelopes))]
		l := &load{ctx: ctx, envelopes: part, results: make(chan []error, 1)}
		loads = append(loads, l)
	}
	offered := 0
	for offered < len(loads) && p.offer(loads[offered]) {
		offered++
	}
	for i, l := range loads {
		results = append(results, l.await(i < offered)...)
	}
	p.count(results)
	return results
}

// offer hands a load to the first lane that is free, and reports whether one took it.
func (p *Publisher) offer(l *load) bool {
	select {
	case p.loads <- l:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// await returns the lane's answer, or its own when ctx ends first: the lane may then
// be held in a write.
func (l *load) await(taken bool) []error {
	if taken {
		select {
		case results := <-l.results:
			return results
		case <-l.ctx.Done():
		}
		select { // the lane sees the same end, and knows which were confirmed before it
		case results := <-l.results:
			return results
		case <-time.After(laneGrace):
		}
	}
	return unknown(len(l.envelopes))
}

func unknown(n int) []error {
	results := make([]error, n)
	for i := range results {
		results[i] = ErrUnknown
	}
	return results
}

func (p *Publisher) count(results []error) {
	counts := make(map[string]int, 1)
	for _, err := range results {
		switch {
		case err == nil:
			counts[resultAcked]++
		case errors.Is(err, ErrReturned):
			counts[resultReturned]++
		case errors.Is(err, ErrNacked):
			counts[resultNacked]++
		default:
			counts[resultUnknown]++
		}
	}
	for result, n := range counts {
		p.connection.metrics.publish.WithLabelValues(result).Add(float64(n))
	}
}

// runLane owns one channel after the other, until ctx ends.
func (p *Publisher) runLane(ctx context.Context) {
	retry := newBackoff(50*time.Millisecond, 5*time.Second)
	for {
		e, err := p.connection.await(ctx)
		if err != nil {
			return
		}
		l, err := openLane(ctx, e)
		if err == nil && p.serve(ctx, l) {
			retry.Reset()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.connection.log.Warn("no channel to publish on", "error", err)
		}
		sleep(ctx, retry.NextBackOff())
	}
}

// serve gives loads to the lane for as long as it settles them, and reports whether
// there were any. A channel that still owes an answer when its load is given up is
// abandoned with it: else one queue that confirms nothing would hold up all others.
func (p *Publisher) serve(ctx context.Context, l *lane) (served bool) {
	defer l.epoch.discard(l.channel, nil)
	p.open.Add(1)
	p.connection.changed.notify()
	defer p.connection.changed.notify()
	defer p.open.Add(-1)

	for {
		changed := p.connection.changed.wait()
		loads := p.loads
		if l.epoch.blocked.Load() {
			loads = nil // what is written now would wait in the socket, and arrive long after it was given up
		}
		select {
		case <-ctx.Done():
			return served
		case <-l.closed:
			return served
		case <-changed:
		case load := <-loads:
			results, settled := l.publish(load)
			load.results <- results
			served = true
			if !settled {
				return served
			}
			if slices.Contains(results, ErrReturned) {
				l.epoch.repair()
			}
		}
	}
}

// lane is one channel in confirm mode, owned by one goroutine.
type lane struct {
	epoch   *epoch
	channel *amqp.Channel
	closed  chan *amqp.Error
	returns chan amqp.Return
}

func openLane(ctx context.Context, e *epoch) (*lane, error) {
	ch, err := e.channel(ctx, func(ch *amqp.Channel) error { return ch.Confirm(false) })
	if err != nil {
		return nil, err
	}
	return &lane{
		epoch:   e,
		channel: ch,
		closed:  ch.NotifyClose(make(chan *amqp.Error, 1)),
		// Room for everything in flight: the client waits 5 s for room and then drops it.
		returns: ch.NotifyReturn(make(chan amqp.Return, inFlight)),
	}, nil
}

// publish sends a load and waits for what the broker says to it, until the load's
// context ends. settled means that nothing is owed to the lane and its channel is good.
func (l *lane) publish(load *load) (results []error, settled bool) {
	confirms := l.send(load)
	settled = len(confirms) == len(load.envelopes)
	for _, confirm := range confirms {
		if _, err := confirm.WaitContext(load.ctx); err != nil {
			settled = false
			break
		}
	}
	return l.judge(load.envelopes, confirms), settled && !l.channel.IsClosed()
}

// send publishes until ctx ends, the broker blocks us, or the channel fails, and
// returns a confirmation for each that was sent.
func (l *lane) send(load *load) []*amqp.DeferredConfirmation {
	confirms := make([]*amqp.DeferredConfirmation, 0, len(load.envelopes))
	for _, e := range load.envelopes {
		if l.epoch.blocked.Load() {
			break
		}
		confirm, err := l.channel.PublishWithDeferredConfirmWithContext(load.ctx, e.exchange, e.key, true, false, e.message)
		if err != nil {
			break
		}
		confirms = append(confirms, confirm)
	}
	return confirms
}

// judge says what became of each envelope. A returned message is confirmed as well,
// after it has been returned, so whoever has seen its confirm finds its return in the
// buffer. A channel that closes confirms everything as refused: that means unknown.
func (l *lane) judge(envelopes []envelope, confirms []*amqp.DeferredConfirmation) []error {
	results := unknown(len(envelopes))
	for i, confirm := range confirms {
		select {
		case <-confirm.Done():
		default:
			continue
		}
		switch {
		case confirm.Acked():
			results[i] = nil
		case !l.channel.IsClosed():
			results[i] = ErrNacked
		}
	}

	returned := l.returned()
	for i, e := range envelopes {
		if len(returned) > 0 && results[i] == nil && returned[e.returnKey()] {
			results[i] = ErrReturned
		}
	}
	return results
}

// returned takes what has been returned up to now out of the buffer.
func (l *lane) returned() map[returnKey]bool {
	var keys map[returnKey]bool
	for {
		select {
		case r, ok := <-l.returns:
			if !ok {
				return keys
			}
			if keys == nil {
				keys = make(map[returnKey]bool)
			}
			keys[returnKey{r.Exchange, r.RoutingKey, string(r.Body)}] = true
		default:
			return keys
		}
	}
}
