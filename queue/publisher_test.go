package queue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

func TestPublishConfirmsWhatIsInTheQueue(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))

	const n = 2345 // several loads for each lane
	for i, err := range p.Publish(within(t, queuetest.Patience), publications(queue.Payments, n)) {
		if err != nil {
			t.Fatalf("publication %d: %v, want nil", i, err)
		}
	}
	var got, want []string
	for i, d := range queuetest.GetMany(t, url, queue.Payments, n) {
		got = append(got, string(d.Body))
		want = append(want, `{"id":"`+rowID(i+1)+`","seq":1}`)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
	onlySentinel(t, url, queue.Payments)
}

func TestPublishedMessage(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))
	before := time.Now().Truncate(time.Second)

	errs := p.Publish(within(t, queuetest.Patience), []queue.Publication{{
		Queue: queue.Callbacks, ID: someID, Seq: 3, Type: "callback.send",
		Headers: map[string]any{
			"traceparent": "00-ab-cd-01", "attempt": 1 << 40, "x-death": "what a client must not say",
			"nested": map[string]any{"list": []any{true, nil, "x"}},
		},
	}})
	if errs[0] != nil {
		t.Fatalf("publish: %v", errs[0])
	}

	got := queuetest.Get(t, url, queue.Callbacks)
	if got.Timestamp.Before(before) || got.Timestamp.After(time.Now()) {
		t.Errorf("timestamp %v, want now", got.Timestamp)
	}
	properties := []any{got.MessageId, got.Type, got.ContentType, got.DeliveryMode, string(got.Body), got.Exchange, got.RoutingKey}
	want := []any{someID, "callback.send", "application/json", uint8(2), `{"id":"` + someID + `","seq":3}`, "commands", "callbacks"}
	if diff := cmp.Diff(want, properties); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if len(got.Headers) != 3 || got.Headers["traceparent"] != "00-ab-cd-01" || got.Headers["attempt"] != int64(1<<40) {
		t.Errorf("headers %v, want traceparent, attempt and nested", got.Headers)
	}
}

func TestAnInvalidPublicationHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))
	long := strings.Repeat("x", 256)

	tests := []struct {
		name   string
		change func(*queue.Publication)
	}{
		{"a rung that does not exist", func(p *queue.Publication) { p.Delay = "3s" }},
		{"a queue that does not exist", func(p *queue.Publication) { p.Queue = "refunds" }},
		{"a queue of dead letters", func(p *queue.Publication) { p.Queue = queue.DeadQueue(queue.Cards) }},
		{"an id that is no UUID", func(p *queue.Publication) { p.ID = `","seq":1}` }},
		{"seq 0", func(p *queue.Publication) { p.Seq = 0 }},
		{"a type too long for AMQP", func(p *queue.Publication) { p.Type = long }},
		{"a header's name too long for AMQP", func(p *queue.Publication) { p.Headers = map[string]any{long: 1} }},
		{"headers that fit no frame", func(p *queue.Publication) {
			p.Headers = map[string]any{"error": strings.Repeat("x", 200_000)}
		}},
		{"a header that AMQP has no type for", func(p *queue.Publication) { p.Headers = map[string]any{"f": func() {}} }},
		{"such a one in a list", func(p *queue.Publication) {
			p.Headers = map[string]any{"list": []any{map[string]any{"c": make(chan int)}}}
		}},
		{"an unsigned number beyond 63 bits", func(p *queue.Publication) { p.Headers = map[string]any{"n": uint64(1 << 63)} }},
		{"a header that would route copies", func(p *queue.Publication) { p.Headers = map[string]any{"CC": "cards"} }},
	}
	batch := publications(queue.Cards, len(tests)+1)
	for i, tt := range tests {
		tt.change(&batch[i])
	}
	errs := p.Publish(within(t, queuetest.Patience), batch)
	for i, tt := range tests {
		if !errors.Is(errs[i], queue.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", tt.name, errs[i])
		}
	}
	if err := errs[len(tests)]; err != nil {
		t.Errorf("the one that is valid: %v, want nil", err)
	}
	if got := queuetest.Get(t, url, queue.Cards).MessageId; got != rowID(len(tests)+1) {
		t.Errorf("in the queue: %s, want the one that is valid", got)
	}
}

func TestPublishOfNothing(t *testing.T) {
	t.Parallel()
	p := publisher(t, queuetest.Connect(t, queuetest.New(t)))
	if errs := p.Publish(t.Context(), nil); len(errs) != 0 {
		t.Errorf("publish of nothing: %v, want nothing", errs)
	}
}

func TestAPublicationWithoutAQueueIsReturned(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))
	queuetest.DeleteQueue(t, url, queue.Cards)
	queuetest.DeleteQueue(t, url, "retry.1s")

	batch := publications(queue.Cards, 300)
	for i := range batch {
		switch i % 3 {
		case 0:
			batch[i].Queue = queue.Pushes
		case 1:
			batch[i].Delay = "1s"
		}
	}
	for i, err := range p.Publish(within(t, queuetest.Patience), batch) {
		var want error
		if i%3 != 0 {
			want = queue.ErrReturned
		}
		if !errors.Is(err, want) {
			t.Fatalf("publication %d to %q after %q: %v, want %v", i, batch[i].Queue, batch[i].Delay, err, want)
		}
	}
	if got := queuetest.Depth(t, url, queue.Pushes); got != 100 {
		t.Errorf("pushes holds %d, want the 100 that had a queue", got)
	}

	// A return makes the publisher declare the topology again, a second later.
	awaitArrival(t, p, queue.Cards)
}

// awaitArrival publishes one message to a queue that is missing until it is there.
func awaitArrival(t *testing.T, p *queue.Publisher, name string) {
	t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	ctx := within(t, queuetest.Patience)
	for {
		err := p.Publish(ctx, publications(name, 1))[0]
		if err == nil {
			return
		}
		if !errors.Is(err, queue.ErrReturned) {
			t.Fatalf("publication to a queue that is missing: %v, want ErrReturned until it is there", err)
		}
		<-again.C
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))
	queuetest.Limit(t, url, queue.Receipts, 1)

	// The queue tells the channels that it is full after it has become so: some more get
	// in.
	var confirmed, nacked int
	for nacked == 0 {
		for i, err := range p.Publish(within(t, queuetest.Patience), publications(queue.Receipts, 2)) {
			switch {
			case err == nil:
				confirmed++
			case errors.Is(err, queue.ErrNacked):
				nacked++
			default:
				t.Fatalf("publication %d: %v, want nil or ErrNacked", i, err)
			}
		}
		if confirmed > 1000 {
			t.Fatal("1,000 confirmed by a queue for one")
		}
	}
	if got := queuetest.Depth(t, url, queue.Receipts); got != confirmed {
		t.Errorf("the queue holds %d, want the %d confirmed", got, confirmed)
	}
	if errs := p.Publish(within(t, queuetest.Patience), publications(queue.Cards, 1)); errs[0] != nil {
		t.Errorf("to another queue meanwhile: %v, want nil", errs[0])
	}
}

func TestAConnectionCutBeforeTheConfirmsLeavesThemUnknown(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	proxy, through := queuetest.NewProxy(t, url)
	c := queuetest.Connect(t, through)
	p := publisher(t, c)

	const n = 800
	proxy.Hold()
	answer := make(chan []error, 1)
	ctx := within(t, queuetest.Patience)
	go func() { answer <- p.Publish(ctx, publications(queue.Payments, n)) }()
	queuetest.AwaitDepth(t, url, queue.Payments, n) // failed, as the caller sees it, but done
	proxy.Cut()
	proxy.Release()

	for i, err := range await(t, answer, "the answer") {
		if !errors.Is(err, queue.ErrUnknown) {
			t.Fatalf("publication %d: %v, want ErrUnknown", i, err)
		}
	}

	queuetest.Purge(t, url, queue.Payments)
	for i, err := range p.Publish(within(t, queuetest.Patience), publications(queue.Payments, n)) {
		if err != nil {
			t.Fatalf("publication %d in the next epoch: %v, want nil", i, err)
		}
	}
	queuetest.AwaitDepth(t, url, queue.Payments, n)
}

func TestABrokerThatDoesNotAnswerIsGivenUpInTime(t *testing.T) {
	t.Parallel()
	for _, silence := range []struct {
		name  string
		begin func(*queuetest.Proxy)
	}{
		{"it says nothing", (*queuetest.Proxy).Hold},
		{"it hears nothing", (*queuetest.Proxy).Deafen},
	} {
		t.Run(silence.name, func(t *testing.T) {
			t.Parallel()
			url := queuetest.New(t)
			proxy, through := queuetest.NewProxy(t, url)
			p := publisher(t, queuetest.Connect(t, through))

			silence.begin(proxy)
			for i, err := range p.Publish(within(t, 200*time.Millisecond), publications(queue.Cards, 700)) {
				if !errors.Is(err, queue.ErrUnknown) {
					t.Fatalf("publication %d: %v, want ErrUnknown", i, err)
				}
			}
			queuetest.Await(t, p.Changed, func() bool { return !p.Ready() })

			proxy.Release()
			queuetest.Await(t, p.Changed, p.Ready)
			if errs := p.Publish(within(t, queuetest.Patience), publications(queue.Cards, 1)); errs[0] != nil {
				t.Errorf("after the silence: %v, want nil", errs[0])
			}
		})
	}
}

func TestPublishWithoutAConnectionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	m := queue.NewMetrics()
	c := queue.Connect("amqp://127.0.0.1:1", "nobody listens", discard(), m)
	queuetest.Run(t, c.Run)
	p := queue.NewPublisher(c)
	queuetest.Run(t, p.Run)

	if c.Ready() || p.Ready() {
		t.Errorf("ready: connection %v, publisher %v; want neither", c.Ready(), p.Ready())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for i, err := range p.Publish(ctx, publications(queue.Cards, 3)) {
		if !errors.Is(err, queue.ErrUnknown) {
			t.Errorf("publication %d: %v, want ErrUnknown", i, err)
		}
	}
	if _, err := c.Depth(t.Context(), queue.Cards); !errors.Is(err, queue.ErrNotConnected) {
		t.Errorf("depth: %v, want ErrNotConnected", err)
	}
	want := `
# HELP quittance_publish_total Publications by what the broker said to them; unknown ones may or may not have arrived.
# TYPE quittance_publish_total counter
quittance_publish_total{result="acked"} 0
quittance_publish_total{result="nacked"} 0
quittance_publish_total{result="returned"} 0
quittance_publish_total{result="unknown"} 3
`
	if err := testutil.CollectAndCompare(m.Collectors()[0], strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestAMalformedURLIsAnErrorThatDoesNotQuoteIt(t *testing.T) {
	t.Parallel()
	for _, urls := range []string{"amqp://user:secret@host:port/", "amqp://127.0.0.1:1/,amqp://user:secret@host:port/", ""} {
		err := queue.Connect(urls, "x", discard(), nil).Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("run with %q: %v, want an error without the password", urls, err)
		}
	}
}

func TestARungHoldsAMessageForItsDelayAndReturnsIt(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	p := publisher(t, queuetest.Connect(t, url))

	batch := publications(queue.CallbacksRetry, 2)
	batch[0].Delay = "1s"
	batch[1].Delay, batch[1].Queue = "1s", queue.Recharges
	start := time.Now()
	for i, err := range p.Publish(within(t, queuetest.Patience), batch) {
		if err != nil {
			t.Fatalf("publication %d: %v", i, err)
		}
	}
	for _, want := range batch {
		got := queuetest.Get(t, url, want.Queue)
		if got.MessageId != want.ID {
			t.Errorf("%s gave %s, want %s", want.Queue, got.MessageId, want.ID)
		}
		if held := time.Since(start); held < time.Second {
			t.Errorf("%s gave it after %v, want 1 s or more", want.Queue, held)
		}
	}
}
