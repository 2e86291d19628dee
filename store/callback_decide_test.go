package store

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// genAttempts draws attempts of callbacks in all their states, at endpoints in all of theirs, in
// which stale ones are likely.
func genAttempts(t *rapid.T) (*callbackBatch, []*sent) {
	b := newCallbackBatch()
	b.now, b.deciding = leasedNow, decidingNow
	for n := range rapid.IntRange(1, 3).Draw(t, "endpoints") {
		p := &lockedEndpoint{
			id: EndpointID{15: byte(n + 1)}, url: "https://shop.example/hook",
			state: rapid.SampledFrom([]EndpointState{EndpointEnabled, EndpointEnabled, EndpointDisabled, EndpointDeleted}).Draw(t, "state"),
		}
		if p.failures = rapid.SampledFrom([]int{0, 1, 18, 19, 50}).Draw(t, "failures"); p.failures > 0 {
			since := decidingNow.Add(-time.Duration(rapid.IntRange(0, 240).Draw(t, "hours failing")) * time.Hour)
			p.failingSince = &since
		}
		b.endpoints[p.id] = p
	}
	var results []*sent
	for n := range rapid.IntRange(0, 8).Draw(t, "callbacks") {
		c := &lockedCallback{
			id: OperationID{15: byte(n + 1)}, seq: rapid.Int64Range(1, 3).Draw(t, "seq"), attempts: rapid.IntRange(0, 12).Draw(t, "attempts"),
			status:    rapid.SampledFrom([]Status{Accepted, Running, Running, Succeeded, Failed, Dead}).Draw(t, "status"),
			replaying: rapid.Bool().Draw(t, "replaying"), parks: rapid.IntRange(0, 2).Draw(t, "parks"),
			accepted: leasedNow.Add(-time.Minute),
		}
		if rapid.Bool().Draw(t, "of an invoice") {
			c.invoice = InvoiceNumber{15: byte(n + 1)}
		}
		if rapid.IntRange(0, 9).Draw(t, "known") > 0 {
			b.callbacks[c.id] = c
		}
		results = append(results, genAttempt(t, c, EndpointID{15: byte(rapid.IntRange(1, len(b.endpoints)).Draw(t, "endpoint"))}))
	}
	return b, results
}

func genAttempt(t *rapid.T, c *lockedCallback, endpoint EndpointID) *sent {
	r := &sent{CallbackResult: CallbackResult{
		Callback: Callback{
			Ref: Ref{ID: c.id, Seq: c.seq}, Endpoint: endpoint, Attempts: c.attempts, Replaying: c.replaying,
			URL: rapid.SampledFrom([]string{"https://shop.example/hook", "https://shop.example/old"}).Draw(t, "url"),
		},
		Outcome: rapid.SampledFrom([]CallbackOutcome{
			Delivered, Delivered, CallbackRefused, CallbackGone, CallbackTimeout, CallbackForbidden, "nonsense",
		}).Draw(t, "outcome"),
		Next: rapid.SampledFrom([]*Delay{nil, {Name: "5s", Wait: 5 * time.Second}, {Wait: time.Hour}}).Draw(t, "next"),
	}}
	if rapid.IntRange(0, 3).Draw(t, "stale") == 0 {
		r.Seq--
	}
	return r
}

func TestWhateverBecomesOfAttempts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, results := genAttempts(t)
		was := make(map[EndpointID]lockedEndpoint)
		for id, p := range b.endpoints {
			was[id] = *p
		}
		w := b.decide(results)

		written := make(map[OperationID]int)
		for _, id := range w.ends.ids {
			written[id]++
		}
		for _, d := range w.delays {
			written[d.id]++
			if d.held && b.endpoints[endpointOf(results, d.id)].state != EndpointDisabled {
				t.Errorf("%s is held although its endpoint is not disabled", d.id)
			}
		}
		for _, u := range w.used {
			written[u.id]++
		}
		for _, r := range results {
			checkAttempt(t, b.callbacks[r.ID], r, written[r.ID])
		}
		if len(w.attempts) != len(b.callbacks) {
			t.Errorf("%d attempts are kept of %d", len(w.attempts), len(b.callbacks))
		}
		for id, p := range b.endpoints {
			checkHealth(t, was[id], p)
		}
	})
}

func endpointOf(results []*sent, id OperationID) EndpointID {
	for _, r := range results {
		if r.ID == id {
			return r.Endpoint
		}
	}
	return EndpointID{}
}

// checkAttempt checks one attempt on what was found; written is how often something is stored
// about its operation.
func checkAttempt(t *rapid.T, c *lockedCallback, r *sent, written int) {
	stale := c == nil || !c.believes(r.Ref)
	counts := c != nil && r.Outcome == Delivered && (c.status.Open() || c.status == Dead)
	want := btoi(!stale || counts)
	if written != want {
		t.Errorf("%s at %+v: %d things are written, want %d", r.Outcome, c, written, want)
	}
	if r.outcome.Stale() != (want == 0) {
		t.Errorf("%s at %+v: the outcome is %+v", r.Outcome, c, r.outcome)
	}
	if r.Outcome == Delivered && want == 1 && r.outcome.Status != Succeeded {
		t.Errorf("delivered, and %s", r.outcome.Status)
	}
	if c == nil {
		return
	}
	if n := r.counted(c); n < c.attempts || n > c.attempts+1 || r.Replaying && n != c.attempts {
		t.Errorf("%d attempts count after %d, replaying %v", n, c.attempts, r.Replaying)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkHealth checks an endpoint after a set of attempts.
func checkHealth(t *rapid.T, was lockedEndpoint, p *lockedEndpoint) {
	if (p.failures > 0) != (p.failingSince != nil) {
		t.Errorf("%d failures since %v", p.failures, p.failingSince)
	}
	if was.state != EndpointEnabled && p.state != was.state {
		t.Errorf("it was %s and is %s", was.state, p.state)
	}
	if (p.reason != "") != (was.state == EndpointEnabled && p.state == EndpointDisabled) {
		t.Errorf("it was %s and is %s because of %q", was.state, p.state, p.reason)
	}
	if p.reason == DisabledFailing && p.failures < failingTimes && was.failures < failingTimes-8 {
		t.Errorf("it is given up after %d failures", p.failures)
	}
	if !p.changed && (p.failures != was.failures || p.state != was.state) {
		t.Error("it changed, and nobody writes it")
	}
}
