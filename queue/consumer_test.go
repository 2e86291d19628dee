package queue_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
)

// number is n of the message that rowID(n) names.
func number(m queue.Message) int {
	n, _ := strconv.Atoi(m.ID[len(m.ID)-12:])
	return n
}

func numbers(batch []queue.Message) []int {
	list := make([]int, len(batch))
	for i, m := range batch {
		list[i] = number(m)
	}
	return list
}

// deadNumbers takes n dead letters of a queue and returns their numbers in order, and
// the broker's reason for the first.
func deadNumbers(t *testing.T, url, work string, n int) (list []int, reason any) {
	t.Helper()
	for _, d := range queuetest.GetMany(t, url, queue.DeadQueue(work), n) {
		list = append(list, number(queue.Message{ID: d.MessageId}))
		reason = d.Headers["x-first-death-reason"]
	}
	slices.Sort(list)
	return list, reason
}

// all are verdicts for a batch: the same on each.
func all(batch []queue.Message, err error) []error { return slices.Repeat([]error{err}, len(batch)) }

func TestBatchesAreAcknowledgedTogether(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Payments, messages(250)...)

	sizes := make(chan []int, 250)
	end := run(t, func(ctx context.Context) error {
		b := queue.Batch{Queue: queue.Payments, Size: 100, Linger: time.Hour}
		// An hour's linger shows that a full batch does not wait for it.
		return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
			sizes <- numbers(batch)
			return all(batch, nil)
		})
	})
	for i := range 2 {
		got := await(t, sizes, "a batch")
		if len(got) != 100 || got[0] != 100*i+1 || got[99] != 100*i+100 {
			t.Errorf("batch %d holds %v, want the %dth hundred in order", i, got, i+1)
		}
	}
	queuetest.AwaitDepth(t, url, queue.Payments, 0) // the rest is handed out
	end()                                           // and handled at once, the hour or not
	if got := await(t, sizes, "the last batch"); len(got) != 50 {
		t.Errorf("the last batch holds %d, want 50", len(got))
	}
	onlySentinel(t, url, queue.Payments)
}

func TestABatchWithoutLingerIsWhatIsThere(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)

	batches, next := make(chan []int), make(chan struct{})
	run(t, func(ctx context.Context) error {
		b := queue.Batch{Queue: queue.Payments, Size: 10}
		return c.ConsumeBatches(ctx, b, func(ctx context.Context, batch []queue.Message) []error {
			batches <- numbers(batch)
			<-next
			return all(batch, nil)
		})
	})
	defer close(next)
	list := messages(6)
	queuetest.Publish(t, url, "commands", queue.Payments, list[0])
	if diff := cmp.Diff([]int{1}, await(t, batches, "a batch of the only message")); diff != "" {
		t.Errorf("first batch (-want +got):\n%s", diff)
	}
	queuetest.Publish(t, url, "commands", queue.Payments, list[1:]...)
	queuetest.AwaitDepth(t, url, queue.Payments, 0)
	next <- struct{}{}
	// What came while the handler worked is taken together, or nearly: the last of it may
	// still be on its way from the broker.
	if got := await(t, batches, "a second batch"); got[0] != 2 {
		t.Errorf("second batch %v, want it to begin with 2", got)
	}
}

func TestVerdictsOnABatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		reject func(n int) bool
	}{
		{"none is rejected", func(int) bool { return false }},
		{"every second is rejected", func(n int) bool { return n%2 == 0 }},
		{"the last is rejected, whose tag cannot acknowledge the others", func(n int) bool { return n == 20 }},
		{"the first is rejected", func(n int) bool { return n == 1 }},
		{"all are rejected", func(int) bool { return true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := queuetest.New(t)
			c := queuetest.Connect(t, url)
			queuetest.Publish(t, url, "commands", queue.Payments, messages(20)...)

			handled := make(chan int, 100)
			end := run(t, func(ctx context.Context) error {
				b := queue.Batch{Queue: queue.Payments, Size: 20, Linger: time.Second}
				return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
					verdicts := all(batch, nil)
					for i, m := range batch {
						if tt.reject(number(m)) {
							verdicts[i] = queue.Reject(fmt.Errorf("capture %s: %w", m.ID, errDown))
						}
						handled <- number(m)
					}
					return verdicts
				})
			})
			for range 20 {
				await(t, handled, "handling all")
			}
			end()

			onlySentinel(t, url, queue.Payments) // each was settled, one way or the other
			var want []int
			for n := 1; n <= 20; n++ {
				if tt.reject(n) {
					want = append(want, n)
				}
			}
			if len(want) > 0 {
				got, reason := deadNumbers(t, url, queue.Payments, len(want))
				if diff := cmp.Diff(want, got); diff != "" || reason != "rejected" {
					t.Errorf("dead letters, %v (-want +got):\n%s", reason, diff)
				}
			}
			onlySentinel(t, url, queue.DeadQueue(queue.Payments))
			if len(handled) > 0 {
				t.Errorf("%d more than once", len(handled))
			}
		})
	}
}

func TestAnOutageKeepsOnlyItsOwnMessages(t *testing.T) {
	t.Parallel()
	for _, outage := range []struct {
		name string
		err  error
	}{
		{"marked as an outage", queue.Outage(errDown)},
		{"not marked: what could not be stored is an outage too", errDown},
		{"marked both ways", queue.Outage(queue.Reject(errDown))},
	} {
		t.Run(outage.name, func(t *testing.T) {
			t.Parallel()
			url := queuetest.New(t)
			c := queuetest.Connect(t, url)
			queuetest.Publish(t, url, "commands", queue.Payments, messages(6)...)

			probes := 0 // by one goroutine, the consumer's; the first is before it takes anything
			batches := make(chan []queue.Message, 10)
			end := run(t, func(ctx context.Context) error {
				b := queue.Batch{Queue: queue.Payments, Size: 6, Linger: time.Minute, Probe: func(context.Context) error {
					if probes++; probes == 2 || probes == 3 {
						return errDown
					}
					return nil
				}}
				return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
					batches <- batch
					if len(batch) < 6 {
						return all(batch, nil)
					}
					return []error{nil, outage.err, queue.Reject(errDown), outage.err, nil, nil}
				})
			})
			if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6}, numbers(await(t, batches, "a batch"))); diff != "" {
				t.Fatalf("first batch (-want +got):\n%s", diff)
			}
			again := await(t, batches, "a second batch")
			if diff := cmp.Diff([]int{2, 4}, numbers(again)); diff != "" {
				t.Errorf("second batch (-want +got):\n%s", diff)
			}
			for _, m := range again {
				if _, counted := m.Headers["x-delivery-count"]; counted || m.Redelivered {
					t.Errorf("message %s came from the broker a second time", m.ID)
				}
			}
			end()
			if probes != 4 {
				t.Errorf("probed %d times, want 4", probes)
			}
			onlySentinel(t, url, queue.Payments)
			if got, _ := deadNumbers(t, url, queue.Payments, 1); got[0] != 3 {
				t.Errorf("dead letter %v, want 3", got)
			}
		})
	}
}

func TestOneMessageThatPanicsIsFoundAndTheRestOfItsBatchIsSettled(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name string
		do   func() []error
	}{
		{"a panic", func() []error { panic("index out of range") }},
		{"too few verdicts", func() []error { return nil }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			url := queuetest.New(t)
			c := queuetest.Connect(t, url)
			queuetest.Publish(t, url, "commands", queue.Payments, messages(4)...)

			var calls atomic.Int32
			back := make(chan queue.Message, 1)
			end := run(t, func(ctx context.Context) error {
				b := queue.Batch{Queue: queue.Payments, Size: 4, Linger: time.Second}
				return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
					for _, m := range batch {
						if m.Redelivered {
							back <- m
							return all(batch, nil)
						}
					}
					calls.Add(1)
					if slices.Contains(numbers(batch), 3) {
						return fault.do()
					}
					return all(batch, nil)
				})
			})
			m := await(t, back, "giving back to the broker")
			end()
			if number(m) != 3 || m.Headers["x-delivery-count"] != int64(1) {
				t.Errorf("given back: %d, delivered %v times before; want 3, once", number(m), m.Headers["x-delivery-count"])
			}
			if got := calls.Load(); got != 5+4 { // five together, then each alone
				t.Errorf("%d calls before it was given back, want 9", got)
			}
			onlySentinel(t, url, queue.Payments)
			onlySentinel(t, url, queue.DeadQueue(queue.Payments))
		})
	}
}

func TestSinglyOneThatHangsHoldsUpNothing(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Callbacks, messages(50)...)

	handled, hang := make(chan int, 50), make(chan struct{})
	end := run(t, func(ctx context.Context) error {
		s := queue.Single{Queue: queue.Callbacks, Prefetch: 5}
		return c.ConsumeSingly(ctx, s, func(_ context.Context, m queue.Message) error {
			switch n := number(m); {
			case n == 1:
				<-hang
			case n%10 == 0:
				handled <- n
				return queue.Reject(errDown)
			default:
				handled <- n
			}
			return nil
		})
	})
	for range 49 {
		await(t, handled, "handling the other 49")
	}
	close(hang)
	end()
	onlySentinel(t, url, queue.Callbacks)
	if got, _ := deadNumbers(t, url, queue.Callbacks, 5); !slices.Equal(got, []int{10, 20, 30, 40, 50}) {
		t.Errorf("dead letters %v, want every tenth", got)
	}
}

func TestSinglyAnOutageHoldsAllAndIsProbedByOne(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)

	var down, probing atomic.Bool
	var probes atomic.Int32
	reported := make(chan struct{}, 1000)
	handled := make(chan queue.Message, 20)
	end := run(t, func(ctx context.Context) error {
		s := queue.Single{Queue: queue.Cards, Prefetch: 10, Probe: func(context.Context) error {
			if !probing.CompareAndSwap(false, true) {
				t.Error("two probes at once")
			}
			defer probing.Store(false)
			if probes.Add(1) == 1 {
				down.Store(true) // right after it was told that it may take messages
				return nil
			}
			if down.Load() {
				return errDown
			}
			return nil
		}}
		return c.ConsumeSingly(ctx, s, func(_ context.Context, m queue.Message) error {
			if down.Load() {
				reported <- struct{}{}
				return queue.Outage(errDown)
			}
			handled <- m
			return nil
		})
	})
	queuetest.Publish(t, url, "commands", queue.Cards, messages(20)...)
	await(t, reported, "the outage")
	down.Store(false)
	for range 20 {
		if m := await(t, handled, "handling all after the outage"); m.Redelivered {
			t.Errorf("message %d came from the broker a second time", number(m))
		}
	}
	end()
	if n := len(reported); n > 10 {
		t.Errorf("%d more calls reported the outage, want no more than were in flight", n)
	}
	onlySentinel(t, url, queue.Cards)
}

func TestSinglyAMessageThatPanicsIsGivenBackAndHoldsUpNothing(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Pushes, messages(10)...)

	var panics atomic.Int32
	handled := make(chan queue.Message, 10)
	end := run(t, func(ctx context.Context) error {
		return c.ConsumeSingly(ctx, queue.Single{Queue: queue.Pushes, Prefetch: 2}, func(_ context.Context, m queue.Message) error {
			if number(m) == 1 && !m.Redelivered {
				panics.Add(1)
				panic("nil pointer")
			}
			handled <- m
			return nil
		})
	})
	for i := range 10 {
		if m := await(t, handled, "handling all"); number(m) == 1 && i < 9 {
			t.Errorf("the one that panicked was handled as number %d, want it last", i+1)
		}
	}
	end()
	if got := panics.Load(); got != 5 {
		t.Errorf("it panicked %d times before it was given back, want 5", got)
	}
	onlySentinel(t, url, queue.Pushes)
}

func TestALateAcknowledgementCannotHitTheNextEpoch(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	proxy, through := queuetest.NewProxy(t, url)
	c := queuetest.Connect(t, through)
	queuetest.Publish(t, url, "commands", queue.Payments, messages(3)...)

	batches, verdict := make(chan []queue.Message), make(chan error)
	end := run(t, func(ctx context.Context) error {
		b := queue.Batch{Queue: queue.Payments, Size: 1, Prefetch: 3}
		return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
			batches <- batch
			return all(batch, <-verdict)
		})
	})
	if m := await(t, batches, "the first message")[0]; number(m) != 1 {
		t.Fatalf("the first message is %d, want 1", number(m))
	}
	proxy.Cut()
	queuetest.Await(t, c.Changed, func() bool { return !c.Ready() })
	queuetest.Await(t, c.Changed, c.Ready)
	verdict <- nil // done, and its acknowledgement lost

	var got []int
	for range 3 {
		m := await(t, batches, "all three again")[0]
		if !m.Redelivered {
			t.Errorf("message %d of the lost epoch was handled after it", number(m))
		}
		got = append(got, number(m))
		verdict <- nil
	}
	end()
	slices.Sort(got)
	if diff := cmp.Diff([]int{1, 2, 3}, got); diff != "" {
		t.Errorf("delivered again (-want +got):\n%s", diff)
	}
	onlySentinel(t, url, queue.Payments)
}

func TestAPausedConsumerThatLosesItsChannelTakesNothingUntilThePauseIsOver(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in batches", "singly"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			url := queuetest.New(t)
			proxy, through := queuetest.NewProxy(t, url)
			c := queuetest.Connect(t, through)
			queuetest.Publish(t, url, "commands", queue.Cards, messages(1)...)

			answers, handled := make(chan error), make(chan queue.Message, 1)
			probe := func(ctx context.Context) error {
				select {
				case err := <-answers:
					return err
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			handle := func(m queue.Message) error {
				if m.Redelivered {
					handled <- m
					return nil
				}
				return queue.Outage(errDown)
			}
			run(t, func(ctx context.Context) error {
				if way == "singly" {
					s := queue.Single{Queue: queue.Cards, Prefetch: 1, Probe: probe}
					return c.ConsumeSingly(ctx, s, func(_ context.Context, m queue.Message) error { return handle(m) })
				}
				b := queue.Batch{Queue: queue.Cards, Size: 1, Probe: probe}
				return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
					return []error{handle(batch[0])}
				})
			})
			answers <- nil // and it takes the message
			answers <- errDown
			proxy.Cut()
			queuetest.AwaitDepth(t, url, queue.Cards, 1) // the broker has it back
			queuetest.Await(t, c.Changed, c.Ready)
			answers <- errDown
			answers <- errDown // probing goes on, in an epoch of which it knows nothing
			if got := queuetest.Depth(t, url, queue.Cards); got != 1 {
				t.Errorf("the queue holds %d, want 1 as long as the consumer is paused", got)
			}
			answers <- nil
			if m := await(t, handled, "the next delivery"); m.Headers["x-delivery-count"] != int64(1) {
				t.Errorf("delivered %v times before, want once", m.Headers["x-delivery-count"])
			}
		})
	}
}

// A process that starts during an outage must not take what it cannot handle: it would
// give it back when it ends, and each time a delivery is used up.
func TestAConsumerTakesNothingBeforeItsDependencyAnswers(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Payments, messages(5)...)
	asked, answers := make(chan struct{}, 100), make(chan struct{})
	probe := func(context.Context) error {
		asked <- struct{}{}
		select {
		case <-answers:
			return nil
		default:
			return errDown
		}
	}
	handled := make(chan int, 5)
	end := run(t, func(ctx context.Context) error {
		return c.ConsumeBatches(ctx, queue.Batch{Queue: queue.Payments, Size: 10, Probe: probe}, func(_ context.Context, batch []queue.Message) []error {
			handled <- len(batch)
			return all(batch, nil)
		})
	})
	for range 3 {
		<-asked
	}
	if n := queuetest.Depth(t, url, queue.Payments); n != 5 {
		t.Errorf("%d messages are left in the queue, want all 5", n)
	}
	close(answers)
	for got := 0; got < 5; {
		got += <-handled
	}
	end()
}

func TestAConsumerComesBackWhenItsQueueWasDeleted(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	handled := make(chan int, 2)
	run(t, func(ctx context.Context) error {
		return c.ConsumeSingly(ctx, queue.Single{Queue: queue.Receipts, Prefetch: 10}, func(_ context.Context, m queue.Message) error {
			handled <- number(m)
			return nil
		})
	})
	list := messages(2)
	queuetest.Publish(t, url, "commands", queue.Receipts, list[0])
	await(t, handled, "handling before")

	queuetest.DeleteQueue(t, url, queue.Receipts)
	awaitArrival(t, publisher(t, c), queue.Receipts)
	if got := await(t, handled, "handling after"); got != 1 {
		t.Errorf("handled %d, want 1", got)
	}
}

func TestAConsumerThatEndsFinishesWhatItHas(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Payments, messages(12)...)

	batches, goOn := make(chan []int, 10), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		b := queue.Batch{Queue: queue.Payments, Size: 5, Prefetch: 10}
		ended <- c.ConsumeBatches(ctx, b, func(ctx context.Context, batch []queue.Message) []error {
			batches <- numbers(batch)
			<-goOn
			return all(batch, ctx.Err()) // the context of the call outlives ctx
		})
	}()
	got := await(t, batches, "the first batch")
	queuetest.AwaitDepth(t, url, queue.Payments, 2) // ten are handed out
	cancel()
	close(goOn)
	if err := await(t, ended, "the end"); err != nil {
		t.Errorf("it ended with %v, want nil", err)
	}
	close(batches)
	for batch := range batches {
		got = append(got, batch...)
	}
	if diff := cmp.Diff([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, got); diff != "" {
		t.Errorf("handled (-want +got):\n%s", diff)
	}
	for n := 11; n <= 12; n++ {
		if d := queuetest.Get(t, url, queue.Payments); d.MessageId != rowID(n) || d.Redelivered {
			t.Errorf("left: %s, redelivered %v; want %s, never handed out", d.MessageId, d.Redelivered, rowID(n))
		}
	}
	onlySentinel(t, url, queue.Payments)
}

func TestStoppingUnderLoadUsesUpNoDelivery(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	const n, stops = 4000, 10
	queuetest.Publish(t, url, "commands", queue.Cards, messages(n)...)

	seen := 0
	for range stops {
		ctx, cancel := context.WithCancel(t.Context())
		b := queue.Batch{Queue: queue.Cards, Size: 50, Prefetch: 100}
		if err := c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
			for _, m := range batch {
				if m.Redelivered {
					t.Errorf("message %d was delivered before", number(m))
				}
			}
			if seen += len(batch); seen%3 == 0 || seen > n/2 { // at some point or other, while deliveries flow
				cancel()
			}
			return all(batch, nil)
		}); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	for i, d := range queuetest.GetMany(t, url, queue.Cards, min(n-seen, 1000)) {
		if want := rowID(seen + 1 + i); d.MessageId != want || d.Redelivered {
			t.Fatalf("left: %s, redelivered %v; want %s, never handed out", d.MessageId, d.Redelivered, want)
		}
	}
}

func TestADrainIsBounded(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Cards, messages(2)...)

	begun := make(chan struct{}, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		s := queue.Single{Queue: queue.Cards, Prefetch: 2, Drain: 50 * time.Millisecond}
		ended <- c.ConsumeSingly(ctx, s, func(ctx context.Context, m queue.Message) error {
			begun <- struct{}{}
			<-ctx.Done() // it hangs until it is told to stop
			return ctx.Err()
		})
	}()
	await(t, begun, "the first call")
	await(t, begun, "the second call")
	cancel()
	if err := await(t, ended, "the end"); err != nil {
		t.Errorf("it ended with %v, want nil", err)
	}
	for range 2 { // left to the broker
		if d := queuetest.Get(t, url, queue.Cards); !d.Redelivered {
			t.Errorf("%s was not handed out before", d.MessageId)
		}
	}
}

func TestTheActiveConsumerHandsOver(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	handled := make(chan string, 100)
	consume := func(name string) (end func()) {
		c := queuetest.Connect(t, url)
		return run(t, func(ctx context.Context) error {
			b := queue.Batch{Queue: queue.Payments, Size: 10}
			return c.ConsumeBatches(ctx, b, func(_ context.Context, batch []queue.Message) []error {
				for range batch {
					handled <- name
				}
				return all(batch, nil)
			})
		})
	}
	receive := func(want string) {
		t.Helper()
		queuetest.Publish(t, url, "commands", queue.Payments, messages(20)...)
		for range 20 {
			if got := await(t, handled, "handling"); got != want {
				t.Fatalf("%s handled a message, want %s alone", got, want)
			}
		}
	}
	end := consume("the first")
	receive("the first")
	consume("the second")
	receive("the first")
	end()
	receive("the second")
}

func TestAStormOfRejectionsLosesNothing(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	const n = 2000
	queuetest.Publish(t, url, "commands", queue.Recharges, messages(n)...)
	end := run(t, func(ctx context.Context) error {
		return c.ConsumeBatches(ctx, queue.Batch{Queue: queue.Recharges, Size: 200}, func(_ context.Context, batch []queue.Message) []error {
			return all(batch, queue.Reject(errDown))
		})
	})
	got, _ := deadNumbers(t, url, queue.Recharges, n)
	end()
	if len(slices.Compact(got)) != n || got[0] != 1 || got[n-1] != n {
		t.Errorf("%d different dead letters from %d to %d, want all %d", len(got), got[0], got[n-1], n)
	}
	onlySentinel(t, url, queue.Recharges)
	onlySentinel(t, url, queue.DeadQueue(queue.Recharges))
}

func TestADeadLetterTellsItsStory(t *testing.T) {
	t.Parallel()
	url := queuetest.New(t)
	c := queuetest.Connect(t, url)
	queuetest.Publish(t, url, "commands", queue.Cards, queuetest.Publishing{
		MessageId: someID, Type: "card.authorise", Body: []byte("no row"), Headers: map[string]any{"traceparent": "00-ab-cd-01"},
	})
	var once sync.Once
	dead := make(chan queue.Message, 1)
	run(t, func(ctx context.Context) error {
		return c.ConsumeSingly(ctx, queue.Single{Queue: queue.Cards, Prefetch: 1}, func(_ context.Context, m queue.Message) error {
			_, _, err := m.Row()
			return queue.Reject(err)
		})
	})
	run(t, func(ctx context.Context) error {
		return c.ConsumeSingly(ctx, queue.Single{Queue: queue.DeadQueue(queue.Cards), Prefetch: 1}, func(_ context.Context, m queue.Message) error {
			once.Do(func() { dead <- m })
			return nil
		})
	})
	m := await(t, dead, "the dead letter")
	if m.Queue != "cards.dead" || m.ID != someID || m.Type != "card.authorise" || string(m.Body) != "no row" {
		t.Errorf("dead letter %+v, want it as it was published, through the exchange dead", m)
	}
	deaths, ok := m.Headers["x-death"].([]any)
	if !ok || len(deaths) != 1 {
		t.Fatalf("x-death is %v, want one death", m.Headers["x-death"])
	}
	death, ok := deaths[0].(map[string]any)
	if !ok || death["queue"] != "cards" || death["reason"] != "rejected" || m.Headers["traceparent"] != "00-ab-cd-01" {
		t.Errorf("headers %v, want a rejection from cards in plain types, and the trace", m.Headers)
	}
}

func TestConsumersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	c := queue.Connect("amqp://127.0.0.1:1", "x", discard(), nil)
	for _, b := range []queue.Batch{
		{Queue: queue.Payments},
		{Queue: queue.Payments, Size: 10, Prefetch: 5},
		{Queue: queue.Payments, Size: 10, Prefetch: 2001},
		{Queue: queue.Payments, Size: 2001},
	} {
		if err := c.ConsumeBatches(t.Context(), b, nil); err == nil {
			t.Errorf("batches of %d with a prefetch of %d: nil, want an error", b.Size, b.Prefetch)
		}
	}
	for _, prefetch := range []int{-1, 0, 2001} {
		if err := c.ConsumeSingly(t.Context(), queue.Single{Queue: queue.Cards, Prefetch: prefetch}, nil); err == nil {
			t.Errorf("singly with a prefetch of %d: nil, want an error", prefetch)
		}
	}
}

func TestAConsumerThatNeverFindsABrokerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := queue.Connect("amqp://127.0.0.1:1", "x", discard(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.ConsumeSingly(ctx, queue.Single{Queue: queue.Cards, Prefetch: 1}, nil); err != nil {
		t.Errorf("it ended with %v, want nil", err)
	}
}
