package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/quittance/quittance/store"
)

// callbackWork tells receivers of events. The events are those of endpoint tests, which cost
// nobody but the callback pipeline anything; the receivers are servers of this program.
var callbackWork = work{name: "callback", run: (*bench).measureCallbacks}

const (
	isolationEndpoints = 40
	benchClients       = 10
	hangingEndpoints   = 2   // the first of them, where they hang
	isolationRate      = 600 // events a second, over all endpoints in turn
	isolationFor       = 30 * time.Second
	isolationBurst     = 20 * time.Millisecond  // events of so long are committed together
	healthyAnswer      = 20 * time.Millisecond  // what a healthy receiver takes
	emittedAtOnce      = 500                    // events of one transaction, where as many as possible are measured
	worstIsolation     = 1.5                    // the healthy receivers' p99, with others hanging, to that without
	callbacksStuck     = 60 * time.Second       // without one that was stored
	callbackPoll       = 100 * time.Millisecond // counting shares the database with what is counted
)

// callbackFigures are what the benchmark of callbacks came to.
type callbackFigures struct {
	DeliveredPerS float64 `json:"delivered_per_s"` // to one receiver, from before the first event to the last stored attempt
	Delivered     int     `json:"delivered"`

	// Event committed → received, by the healthy receivers.
	HealthyP50 float64 `json:"healthy_p50_ms"`
	HealthyP99 float64 `json:"healthy_p99_ms"`
	BesideP50  float64 `json:"healthy_beside_hanging_p50_ms"`
	BesideP99  float64 `json:"healthy_beside_hanging_p99_ms"`
	Isolation  float64 `json:"isolation"` // BesideP99 to HealthyP99

	Repeated int                `json:"repeated"` // events that came twice
	WorkerMB float64            `json:"worker_rss_mb"`
	CPU      map[string]float64 `json:"cpu_s"` // of the phase with one receiver
}

// callbackBench is a run of it: a worker, and an emitter in this process.
type callbackBench struct {
	*bench

	worker  *contender
	store   *store.Store
	clients []int64 // whose endpoints the receivers are

	received int // receivers, up to now
}

// measureCallbacks measures throughput and isolation with the same worker, one after the
// other.
func (b *bench) measureCallbacks(ctx context.Context) (err error) {
	return b.withEmitter(ctx, func(s *store.Store) (err error) {
		c := &callbackBench{bench: b, store: s}
		if err := c.addClients(ctx); err != nil {
			return err
		}
		if c.worker, err = b.startSystem(ctx, "worker"); err != nil {
			return err
		}
		var f callbackFigures
		err = c.measure(ctx, &f)
		f.WorkerMB = peakMemory(c.worker.pids["worker"])
		if err := errors.Join(err, c.worker.stop(ctx)); err != nil {
			return err
		}
		b.show.close() // what follows is on stdout
		return f.report(b.tables(), os.Stdout, filepath.Join(b.root, ".local", "bench.json"))
	})
}

// addClients adds clients that have receivers by turns: none has more than it may have.
func (c *callbackBench) addClients(ctx context.Context) error {
	for i := range benchClients {
		name := fmt.Sprintf("bench-%d", i)
		if _, err := c.store.AddClient(ctx, store.NewClient{ClientID: name}); err != nil {
			return err
		}
		client, err := c.store.ClientNamed(ctx, name)
		if err != nil {
			return err
		}
		c.clients = append(c.clients, client)
	}
	return nil
}

// receive starts a receiver and registers it.
func (c *callbackBench) receive(ctx context.Context, takes time.Duration, hangs bool) (*receiver, error) {
	c.received++
	r, err := newReceiver(takes, hangs)
	if err != nil {
		return nil, err
	}
	e, err := c.store.CreateEndpoint(ctx, c.clients[c.received%benchClients], store.EndpointSettings{URL: &r.url}, store.EndpointCommand{ID: store.NewEndpointID(), AllowHTTP: true})
	r.endpoint = e.ID
	if err != nil {
		r.Close()
	}
	return r, err
}

func (c *callbackBench) measure(ctx context.Context, f *callbackFigures) error {
	if err := c.throughput(ctx, f); err != nil {
		return fmt.Errorf("throughput: %w", err)
	}
	healthy, err := c.isolation(ctx, 0, f)
	if err != nil {
		return fmt.Errorf("isolation, nobody hangs: %w", err)
	}
	beside, err := c.isolation(ctx, hangingEndpoints, f)
	if err != nil {
		return fmt.Errorf("isolation, %d hang: %w", hangingEndpoints, err)
	}
	f.HealthyP50, f.HealthyP99 = milliseconds(percentile(healthy, 50)), milliseconds(percentile(healthy, 99))
	f.BesideP50, f.BesideP99 = milliseconds(percentile(beside, 50)), milliseconds(percentile(beside, 99))
	f.Isolation = f.BesideP99 / f.HealthyP99
	return nil
}

// receiver is a partner's server: it notes when each event came.
type receiver struct {
	server   http.Server
	url      string
	endpoint store.EndpointID
	takes    time.Duration
	hangs    bool

	mu       sync.Mutex
	came     map[string]time.Time // by webhook-id
	repeated int
	count    atomic.Int64
}

// newReceiver listens on a port of its own, and so is an endpoint of its own.
func newReceiver(takes time.Duration, hangs bool) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &receiver{url: "http://" + l.Addr().String() + "/", takes: takes, hangs: hangs, came: make(map[string]time.Time)}
	r.server.Handler = r
	go r.server.Serve(l) // until Close
	return r, nil
}

func (r *receiver) Close() { _ = r.server.Close() }

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	_, _ = io.Copy(io.Discard, req.Body)
	if r.hangs {
		<-req.Context().Done() // until whoever calls has had enough
		return
	}
	pause(req.Context(), r.takes)
	id := req.Header.Get("webhook-id")
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.came[id]; twice {
		r.repeated++
		return
	}
	r.came[id] = now
	r.count.Add(1)
}

// throughput has one receiver told of as many events as can be.
func (c *callbackBench) throughput(ctx context.Context, f *callbackFigures) error {
	one, err := c.receive(ctx, 0, false)
	if err != nil {
		return err
	}
	defer one.Close()
	if _, err := c.deliver(ctx, "one receiver: warming up", one, warmUp); err != nil {
		return err
	}
	before := c.servers.usage(c.worker.pids)
	began := time.Now()
	last, err := c.deliver(ctx, "one receiver", one, c.payments)
	if err != nil {
		return err
	}
	f.CPU = seconds(used(before, c.servers.usage(c.worker.pids)))
	f.Delivered, f.DeliveredPerS = c.payments, float64(c.payments)/last.Sub(began).Seconds()
	f.Repeated += one.repeated
	return nil
}

// deliver has n events sent to one receiver, and returns when the last attempt was stored.
func (c *callbackBench) deliver(ctx context.Context, name string, to *receiver, n int) (last time.Time, err error) {
	tick, done := c.show.begin(name, n)
	defer func() { done(err) }()
	for sent := 0; sent < n; sent += emittedAtOnce {
		some := slices.Repeat([]store.EndpointID{to.endpoint}, min(emittedAtOnce, n-sent))
		if _, err := c.store.TestCallbacks(ctx, some); err != nil {
			return last, err
		}
	}
	return c.awaitDelivered(ctx, []*receiver{to}, tick)
}

const undeliveredSQL = `
SELECT count(*) FILTER (WHERE o.finished_at IS NULL),
       count(*) FILTER (WHERE NOT EXISTS (SELECT FROM callback_attempts a WHERE a.callback_id = c.id)),
       coalesce(max(o.finished_at), 'epoch')
FROM callbacks c
JOIN operations o ON o.id = c.id
WHERE c.endpoint_id = ANY($1::uuid[])`

// awaitDelivered waits until everything that was for these receivers is delivered, and checks
// that every attempt was stored. It returns when the last was.
func (c *callbackBench) awaitDelivered(ctx context.Context, to []*receiver, tick func()) (last time.Time, err error) {
	var endpoints []store.EndpointID
	for _, r := range to {
		endpoints = append(endpoints, r.endpoint)
	}
	moved, before := time.Now(), -1
	var shown int64
	for {
		var open, unstored int
		if err := c.books.QueryRow(ctx, undeliveredSQL, endpoints).Scan(&open, &unstored, &last); err != nil {
			return last, err
		}
		var came int64
		for _, r := range to {
			came += r.count.Load()
		}
		for ; shown < came; shown++ {
			tick()
		}
		switch {
		case open == 0 && unstored == 0:
			return last, nil
		case open == 0:
			return last, fmt.Errorf("%d were delivered, and their attempts are not stored", unstored)
		case open != before:
			moved, before = time.Now(), open
		case time.Since(moved) > callbacksStuck:
			return last, fmt.Errorf("%d are not delivered after %v", open, callbacksStuck)
		}
		pause(ctx, callbackPoll)
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
	}
}

// isolation has many receivers told of events at a steady rate, and returns how long each
// event took to a healthy one. The same receivers count, whether the others hang or not.
func (c *callbackBench) isolation(ctx context.Context, hanging int, f *callbackFigures) ([]time.Duration, error) {
	receivers := make([]*receiver, isolationEndpoints)
	for i := range receivers {
		r, err := c.receive(ctx, healthyAnswer, i < hanging)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		receivers[i] = r
	}
	healthy := receivers[hangingEndpoints:]
	name := fmt.Sprintf("%d receivers, %d hang", isolationEndpoints, hanging)
	committed, err := c.emit(ctx, name, receivers)
	if err != nil {
		return nil, err
	}
	if _, err := c.awaitDelivered(ctx, healthy, func() {}); err != nil {
		return nil, err
	}
	var took []time.Duration
	for _, r := range healthy {
		f.Repeated += r.repeated
		for id, at := range r.came {
			took = append(took, at.Sub(committed[id]))
		}
	}
	slices.Sort(took)
	return took, nil
}

// emit commits events at the rate, for the receivers in turn, and returns when each was about
// to be committed. The schedule does not wait for anybody.
func (c *callbackBench) emit(ctx context.Context, name string, to []*receiver) (committed map[string]time.Time, err error) {
	bursts := int(isolationFor / isolationBurst)
	tick, done := c.show.begin(name, bursts)
	defer func() { done(err) }()
	committed = make(map[string]time.Time)
	began, next := time.Now(), 0
	for burst := range bursts {
		due := began.Add(time.Duration(burst) * isolationBurst)
		pause(ctx, time.Until(due))
		var some []store.EndpointID
		for range isolationRate * int(isolationBurst/time.Millisecond) / 1000 {
			some = append(some, to[next%len(to)].endpoint)
			next++
		}
		at := time.Now()
		ids, err := c.store.TestCallbacks(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			committed[id.String()] = at
		}
		tick()
	}
	return committed, nil
}

// report shows the figures to people, and then to programs.
func (f callbackFigures) report(tables, line io.Writer, path string) error {
	f = f.rounded()
	t := newTable()
	t.AppendRows([]table.Row{
		{"delivered/s to one receiver, every attempt stored", fmt.Sprintf("%.0f", f.DeliveredPerS)},
		{fmt.Sprintf("%d receivers at %d/s: committed → received p50, ms", isolationEndpoints, isolationRate), fmt.Sprintf("%.1f", f.HealthyP50)},
		{"the same, p99", fmt.Sprintf("%.1f", f.HealthyP99)},
		{fmt.Sprintf("the healthy ones while %d others hang: p50, ms", hangingEndpoints), fmt.Sprintf("%.1f", f.BesideP50)},
		{"the same, p99", fmt.Sprintf("%.1f", f.BesideP99)},
		{"p99 with those that hang to p99 without", fmt.Sprintf("%.2f", f.Isolation)},
		{"events that came twice", fmt.Sprint(f.Repeated)},
		{"worker: resident, MB", fmt.Sprintf("%.1f", f.WorkerMB)},
	})
	fmt.Fprintf(tables, "\n%s\n\n", t.Render())
	return reportLine(line, path, map[string]callbackFigures{"callback": f})
}

func (f callbackFigures) rounded() callbackFigures {
	f.Isolation = round(f.Isolation, 2)
	for _, v := range []*float64{&f.DeliveredPerS, &f.HealthyP50, &f.HealthyP99, &f.BesideP50, &f.BesideP99, &f.WorkerMB} {
		*v = round(*v, 1)
	}
	return f
}
