package store_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// listed are the ids of the callbacks that a filter chooses.
func listed(t *testing.T, db *storetest.DB, f store.CallbackFilter) []store.OperationID {
	t.Helper()
	if f.Limit == 0 {
		f.Limit = 100
	}
	found, err := db.Callbacks(t.Context(), f)
	if err != nil {
		t.Fatalf("%+v: %v", f, err)
	}
	ids := []store.OperationID{}
	for _, c := range found {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestCallbacksAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	shop := p.Shop()
	mine, other := p.DB.Endpoint(p.client, "https://a.example/"), p.DB.Endpoint(p.client, "https://b.example/")
	first, second, third := p.Callback(mine).ID, p.Callback(other).ID, p.Callback(mine).ID
	between := nextMillisecond() // ids tell milliseconds apart
	shops, last := p.InvoiceCallback(shop, "http://shop.example/told").ID, p.Callback(mine).ID
	p.Dies(p.Ref(third))
	p.Exec("UPDATE callbacks SET held = true WHERE id = $1", second)
	resource, event := p.about(first)

	page := func(limit int, before store.OperationID) store.Page[store.OperationID] {
		return store.Page[store.OperationID]{Limit: limit, Before: before}
	}
	for name, story := range map[string]struct {
		filter store.CallbackFilter
		want   []store.OperationID
	}{
		"all":                                {store.CallbackFilter{}, []store.OperationID{last, shops, third, second, first}},
		"of a client":                        {store.CallbackFilter{Client: p.client}, []store.OperationID{last, third, second, first}},
		"of another client":                  {store.CallbackFilter{Client: shop.Client}, []store.OperationID{shops}},
		"of an endpoint":                     {store.CallbackFilter{Client: p.client, Endpoint: mine}, []store.OperationID{last, third, first}},
		"of an endpoint of somebody else":    {store.CallbackFilter{Client: shop.Client, Endpoint: mine}, []store.OperationID{}},
		"given up":                           {store.CallbackFilter{Client: p.client, Status: store.Dead}, []store.OperationID{third}},
		"given up, of somebody else":         {store.CallbackFilter{Client: shop.Client, Status: store.Dead}, []store.OperationID{}},
		"given up, of another endpoint":      {store.CallbackFilter{Endpoint: other, Status: store.Dead}, []store.OperationID{}},
		"not tried":                          {store.CallbackFilter{Client: p.client, Status: store.Accepted}, []store.OperationID{last, second, first}},
		"held":                               {store.CallbackFilter{Held: true}, []store.OperationID{second}},
		"of a type":                          {store.CallbackFilter{Client: p.client, Type: store.EventPaymentFinished}, []store.OperationID{last, third, second, first}},
		"of another type":                    {store.CallbackFilter{Client: p.client, Type: store.EventPaymentHolded}, []store.OperationID{}},
		"about a payment":                    {store.CallbackFilter{Client: p.client, Resource: resource}, []store.OperationID{first}},
		"about a payment, of somebody else":  {store.CallbackFilter{Client: shop.Client, Resource: resource}, []store.OperationID{}},
		"of an event":                        {store.CallbackFilter{Event: event}, []store.OperationID{first}},
		"since then":                         {store.CallbackFilter{Since: time.Now().Add(-time.Hour)}, []store.OperationID{last, shops, third, second, first}},
		"since a moment":                     {store.CallbackFilter{Since: between}, []store.OperationID{last, shops}},
		"until a moment":                     {store.CallbackFilter{Until: between, Client: p.client}, []store.OperationID{third, second, first}},
		"the first page":                     {store.CallbackFilter{Page: page(2, store.OperationID{})}, []store.OperationID{last, shops}},
		"the second page":                    {store.CallbackFilter{Page: page(2, shops)}, []store.OperationID{third, second}},
		"a page of what was until a moment":  {store.CallbackFilter{Page: page(1, third), Until: between}, []store.OperationID{second}},
		"a page behind the end of that time": {store.CallbackFilter{Page: page(1, last), Until: between}, []store.OperationID{third}},
	} {
		if diff := cmp.Diff(story.want, listed(t, p.DB, story.filter)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// about returns what a callback tells, and in which event.
func (p *partner) about(id store.OperationID) (resource [16]byte, event store.EventID) {
	p.t.Helper()
	c, err := p.Store.Callback(p.t.Context(), 0, id)
	if err != nil {
		p.t.Fatal(err)
	}
	return c.Resource, c.Event
}

func TestACallbackIsShownWithItsAttempts(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	endpoint := p.DB.Endpoint(p.client, "https://a.example/told")
	id := p.Callback(endpoint).ID
	p.Exec(`INSERT INTO callback_attempts (callback_id, started_at, seq, attempt, outcome, status, reason, answer, duration)
		VALUES ($1, now(), 2, 0, 'timeout', NULL, 'no answer within 15s', '', interval '15 seconds'),
		       ($1, now() - interval '1 minute', 1, 1, 'refused', 500, 'answered 500', '\x00ff', interval '20 milliseconds')`, id)
	p.Exec("UPDATE operations SET status = 'running', attempts = 1, waits = true, due_at = '2099-01-01Z' WHERE id = $1", id)

	c, err := p.Store.Callback(t.Context(), p.client, id)
	if err != nil {
		t.Fatal(err)
	}
	if c.Endpoint != endpoint || c.URL != "https://a.example/told" || c.Policy != store.PolicyStandard || c.Status != store.Running || c.Attempts != 1 ||
		c.NextAt == nil || c.NextAt.Year() != 2099 || c.FinishedAt != nil || !slices.Contains([]byte(c.Body), '{') {
		t.Errorf("shown: %+v", c)
	}
	want := []store.CallbackAttempt{
		{Attempt: 1, Outcome: store.CallbackRefused, Status: 500, Reason: "answered 500", Answer: []byte{0, 255}, Duration: 20 * time.Millisecond},
		{Attempt: 0, Outcome: store.CallbackTimeout, Reason: "no answer within 15s", Answer: []byte{}, Duration: 15 * time.Second},
	}
	for i := range c.History {
		c.History[i].StartedAt = time.Time{}
	}
	if diff := cmp.Diff(want, c.History); diff != "" {
		t.Errorf("its attempts (-want +got):\n%s", diff)
	}
	for name, ask := range map[string]struct {
		client int64
		id     store.OperationID
	}{"somebody else's": {p.Shop().Client, id}, "one that is none": {p.client, store.NewOperationID()}} {
		if _, err := p.Store.Callback(t.Context(), ask.client, ask.id); !errors.Is(err, store.ErrCallbackNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
