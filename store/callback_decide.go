package store

import "time"

// lockedCallback is a callback as it was found.
type lockedCallback struct {
	id              OperationID
	seq             int64
	status          Status
	attempts        int
	accepted        time.Time
	held, replaying bool
	parks           int
	invoice         InvoiceNumber // whose callbackUrl it is for; zero for an endpoint's
}

// believes says that a message is about what was found.
func (c *lockedCallback) believes(ref Ref) bool { return c.seq == ref.Seq && c.status.Open() }

// An endpoint is taken for dead when it has failed for so long, and so often: where one event a
// week is sent, one bad hour must not be enough.
const (
	failingFor   = 5 * day
	failingTimes = 20
)

// lockedEndpoint is an endpoint's health as it was found, and as it will be.
type lockedEndpoint struct {
	id           EndpointID
	url          string // "" under the policy invoicer
	state        EndpointState
	reason       DisabledReason // where it is disabled now
	failingSince *time.Time
	failures     int
	changed      bool
}

func (p *lockedEndpoint) succeeded() {
	if p.failures > 0 {
		p.failingSince, p.failures, p.changed = nil, 0, true
	}
}

func (p *lockedEndpoint) failed(at time.Time) {
	if p.failures == 0 {
		p.failingSince = &at
	}
	p.failures++
	p.changed = true
	if p.failures >= failingTimes && at.Sub(*p.failingSince) >= failingFor {
		p.disable(DisabledFailing)
	}
}

// disable leaves alone what is disabled, or deleted, already.
func (p *lockedEndpoint) disable(why DisabledReason) {
	if p.state == EndpointEnabled {
		p.state, p.reason, p.changed = EndpointDisabled, why, true
	}
}

// decide says what follows from each attempt, in the order in which they ended. It reads and
// uses up nothing but the batch.
func (b *callbackBatch) decide(results []*sent) *callbackWrites {
	w := &callbackWrites{}
	for _, r := range results {
		c := b.callbacks[r.ID]
		if c == nil {
			continue // it ended so long ago that it is forgotten
		}
		w.attempts = append(w.attempts, r.CallbackResult)
		switch {
		case r.Outcome == Delivered:
			b.delivered(w, c, r)
		case !c.believes(r.Ref): // stale
		case r.Outcome == CallbackForbidden:
			why := callbackForbidden
			why.message = r.Reason
			b.end(w, c, r, why)
		case r.Outcome == CallbackGone && !c.invoice.IsZero():
			w.gone = append(w.gone, c.invoice)
			b.end(w, c, r, callbackURLGone)
		default:
			b.failed(w, c, r)
		}
	}
	for _, p := range b.endpoints {
		if p.changed {
			w.endpoints = append(w.endpoints, p)
		}
	}
	return w
}

// delivered counts however late it comes, even for a callback that was given up; what has ended
// otherwise stays as it is.
func (b *callbackBatch) delivered(w *callbackWrites, c *lockedCallback, r *sent) {
	if p := b.endpoints[r.Endpoint]; p != nil {
		p.succeeded()
	}
	if c.status.Open() || c.status == Dead {
		b.end(w, c, r, settled)
	}
}

func (b *callbackBatch) end(w *callbackWrites, c *lockedCallback, r *sent, why refusal) {
	w.end(c, r.counted(c), why)
	if c.held || c.replaying || c.parks > 0 || c.seq != r.Seq { // of another seq, all that may have changed
		w.mark(c, false, false)
	}
	r.outcome = why.outcome(CallbackSend, b.now.Sub(c.accepted))
}

// failed is every failure after which there may be another attempt.
func (b *callbackBatch) failed(w *callbackWrites, c *lockedCallback, r *sent) {
	p := b.endpoints[r.Endpoint]
	p.failed(b.deciding)
	if r.Outcome == CallbackGone && r.URL == p.url { // and not what it was before somebody changed it
		p.disable(DisabledGone)
	}
	r.outcome = Outcome{Type: CallbackSend, Status: Running, Code: string(r.Outcome), Waited: b.now.Sub(c.accepted)}
	switch {
	case p.state == EndpointDisabled && (r.Next != nil || r.Outcome == CallbackGone):
		w.hold(c, Running, r.counted(c), false)
	case r.Next == nil:
		w.count(c, r.counted(c))
		r.outcome.Retry = Retry{Verdict: RetryUsedUp}
	default:
		w.retry(c, r.counted(c), *r.Next)
		r.outcome.Retry = Retry{Verdict: RetryStored, Delay: r.Next.Name}
	}
}

// counted is how many attempts of c count after this one. The same attempt, stored again, is
// the same number: it is one more than there were when it began.
func (r *sent) counted(c *lockedCallback) int {
	if r.Replaying {
		return c.attempts
	}
	return max(c.attempts, r.Attempts+1)
}
