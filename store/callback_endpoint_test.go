package store_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
)

// partner is a back office that registers endpoints.
type partner struct {
	*storetest.DB
	t      *testing.T
	client int64
}

func newPartner(t *testing.T) *partner {
	db := storetest.New(t)
	return &partner{DB: db, t: t, client: db.BackOffice()}
}

// by is a command of the client on an endpoint.
func (p *partner) by(id store.EndpointID) store.EndpointCommand {
	return store.EndpointCommand{ID: id, Client: p.client}
}

func operator(id store.EndpointID) store.EndpointCommand { return store.EndpointCommand{ID: id} }

// registered is an enabled endpoint for all that is the client's own.
func (p *partner) registered() store.Endpoint {
	p.t.Helper()
	made, err := p.CreateEndpoint(p.t.Context(), p.client, at("https://partner.example/callbacks"), p.by(store.NewEndpointID()))
	if err != nil {
		p.t.Fatal(err)
	}
	return made
}

// shown is the endpoint as it is now.
func (p *partner) shown(id store.EndpointID) store.Endpoint {
	p.t.Helper()
	e, err := p.Store.Endpoint(p.t.Context(), p.client, id)
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

func at(address string) store.EndpointSettings { return store.EndpointSettings{URL: &address} }

func types(all ...store.EventType) *[]store.EventType { return &all }

func TestAnEndpointIsRegisteredWithASecretThatIsShownOnce(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	made, err := p.CreateEndpoint(t.Context(), p.client, store.EndpointSettings{
		URL: new("HTTPS://Partner.Example/Callbacks?q=1"), Description: new("our own"), RateLimit: new(50),
		EventTypes: types(store.EventRechargeCommitted, store.EventRechargeExpired, store.EventRechargeCommitted),
	}, p.by(store.NewEndpointID()))
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made.Secret, "whsec_"))
	if err != nil || len(key) != 32 || !strings.HasPrefix(made.Secret, "whsec_") {
		t.Errorf("the secret is %q, want whsec_ and the base64 of 32 bytes", made.Secret)
	}
	if n := p.Count("SELECT count(*) FROM callback_endpoints WHERE position($1::bytea IN secret) > 0", key); n != 0 {
		t.Error("the key is stored as it is")
	}
	want := store.Endpoint{
		ID: made.ID, Client: p.client, ClientID: "back office", Policy: store.PolicyStandard,
		Origin: "https://partner.example:443", URL: "HTTPS://Partner.Example/Callbacks?q=1", Description: "our own", RateLimit: 50,
		EventTypes: []store.EventType{store.EventRechargeCommitted, store.EventRechargeExpired}, State: store.EndpointEnabled,
		CreatedAt: made.CreatedAt, UpdatedAt: made.CreatedAt,
	}
	if diff := cmp.Diff(want, p.shown(made.ID)); diff != "" {
		t.Errorf("shown later (-want +got):\n%s", diff)
	}
}

func TestAnEndpointIsRefused(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	for name, story := range map[string]struct {
		settings store.EndpointSettings
		field    string
	}{
		"without an address":       {store.EndpointSettings{}, "url"},
		"an empty address":         {at(""), "url"},
		"plain http":               {at("http://partner.example/"), "url"},
		"another scheme":           {at("ftp://partner.example/"), "url"},
		"no host":                  {at("https:///x"), "url"},
		"a password":               {at("https://me:secret@partner.example/"), "url"},
		"a fragment":               {at("https://partner.example/#x"), "url"},
		"a colon and no port":      {at("https://partner.example:/"), "url"},
		"a port that is none":      {at("https://partner.example:65536/"), "url"},
		"an address without end":   {at("https://partner.example/" + strings.Repeat("x", 2000)), "url"},
		"an unknown type":          {store.EndpointSettings{URL: new("https://a.example"), EventTypes: types("payment.made")}, "eventTypes"},
		"what is sent when asked":  {store.EndpointSettings{URL: new("https://a.example"), EventTypes: types(store.EventCallbackTest)}, "eventTypes"},
		"the house's own type":     {store.EndpointSettings{URL: new("https://a.example"), EventTypes: types(store.EventInvoicePaid)}, "eventTypes"},
		"a limit below zero":       {store.EndpointSettings{URL: new("https://a.example"), RateLimit: new(-1)}, "rateLimit"},
		"a limit that is none":     {store.EndpointSettings{URL: new("https://a.example"), RateLimit: new(10_001)}, "rateLimit"},
		"a description with a NUL": {store.EndpointSettings{URL: new("https://a.example"), Description: new("a\x00")}, "description"},
	} {
		_, err := p.CreateEndpoint(t.Context(), p.client, story.settings, p.by(store.NewEndpointID()))
		var wrong *store.FieldError
		if !errors.As(err, &wrong) || wrong.Field != story.field {
			t.Errorf("%s: %v, want something wrong with %s", name, err, story.field)
		}
	}
	if n := p.Count("SELECT count(*) FROM callback_endpoints"); n != 0 {
		t.Errorf("%d endpoints were made", n)
	}
}

func TestWhatIsWrongWithAnEndpointIsSaid(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	for _, story := range []struct {
		settings store.EndpointSettings
		problem  string
	}{
		{at("javascript:alert(1)"), "must be an https address"},
		{at("https://partner .example/"), "is no address: it must be one as https://partner.example/callbacks"},
		{at("https:///x"), "is no address: it must be one as https://partner.example/callbacks"},
		{store.EndpointSettings{URL: new("https://a.example"), EventTypes: types("")}, `has a type that is none: ""`},
		{store.EndpointSettings{URL: new("https://a.example"), EventTypes: types(store.EventCallbackTest)}, "has callback.test, which comes to whoever asks for it and is not chosen"},
	} {
		_, err := p.CreateEndpoint(t.Context(), p.client, story.settings, p.by(store.NewEndpointID()))
		var wrong *store.FieldError
		if !errors.As(err, &wrong) || wrong.Problem != story.problem {
			t.Errorf("%v, want %q", err, story.problem)
		}
	}
}

func TestPlainHTTPIsForDevelopmentAndTheHousesEventsForOperators(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	plain := p.by(store.NewEndpointID())
	plain.AllowHTTP = true
	if made, err := p.CreateEndpoint(t.Context(), p.client, at("http://127.0.0.1:8090/inbox/x"), plain); err != nil || made.Origin != "http://127.0.0.1:8090" {
		t.Errorf("plain http where it is allowed: %+v, %v", made, err)
	}
	settings := at("https://[2001:db8::1]/")
	settings.EventTypes = types(store.EventInvoicePaid)
	made, err := p.CreateEndpoint(t.Context(), p.client, settings, operator(store.NewEndpointID()))
	if err != nil || made.Origin != "https://[2001:db8::1]:443" {
		t.Fatalf("an operator's: %+v, %v", made, err)
	}
	// The client may send back what it was shown.
	if _, err := p.ChangeEndpoint(t.Context(), store.EndpointSettings{EventTypes: types(store.EventInvoicePaid, store.EventPaymentFinished)}, p.by(made.ID)); err != nil {
		t.Errorf("a type that is chosen already: %v", err)
	}
}

func TestAClientHas20EndpointsAtMost(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	for range 19 {
		p.DB.Endpoint(p.client, "https://partner.example/")
	}
	last := p.registered()
	_, err := p.CreateEndpoint(t.Context(), p.client, at("https://partner.example/"), p.by(store.NewEndpointID()))
	if !errors.Is(err, store.ErrEndpointsFull) {
		t.Errorf("the 21st: %v", err)
	}
	if err := p.DeleteEndpoint(t.Context(), p.by(last.ID)); err != nil {
		t.Fatal(err)
	}
	p.registered()
}

func TestAnEndpointIsMadeOncePerKey(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		client := db.BackOffice()
		create := func(s *store.Store) (store.Endpoint, error) {
			return s.CreateEndpoint(t.Context(), client, at("https://partner.example/"), store.EndpointCommand{
				ID: store.NewEndpointID(), Client: client, Once: store.Once{Scope: "client", Key: "k", Request: "r"},
				Answer: func(e store.Endpoint) store.Answer {
					return store.Answer{Status: 201, Body: []byte(e.ID.String() + e.Secret)}
				},
			})
		}
		db.faults.CutNextCommit(cut)
		if _, err := create(db.cutting); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("create: %v, want unavailable", err)
		}
		again, err := create(db.Store)
		var replay *store.Replay
		if done != errors.As(err, &replay) || !done && err != nil {
			t.Fatalf("again: %+v, %v; want a replay: %v", again, err, done)
		}
		all, err := db.Endpoints(t.Context(), client, store.Page[store.EndpointID]{Limit: 10})
		if err != nil || len(all) != 1 {
			t.Fatalf("%d endpoints, %v; want 1", len(all), err)
		}
		if done && !strings.HasPrefix(string(replay.Answer.Body), all[0].ID.String()+"whsec_") {
			t.Errorf("the first answer comes back as %s", replay.Answer.Body)
		}
		db.CheckInvariants()
	})
}

func TestASecretIsRotatedOncePerKey(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		client := db.BackOffice()
		endpoint := db.DB.Endpoint(client, "https://partner.example/")
		rotate := func(s *store.Store) (store.Endpoint, error) {
			return s.RotateSecret(t.Context(), store.EndpointCommand{
				ID: endpoint, Client: client, Once: store.Once{Scope: "client", Key: "k", Request: "r"},
				Answer: func(e store.Endpoint) store.Answer { return store.Answer{Status: 200, Body: []byte(e.Secret)} },
			})
		}
		db.faults.CutNextCommit(cut)
		if _, err := rotate(db.cutting); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("rotate: %v, want unavailable", err)
		}
		rotated, err := rotate(db.Store)
		var replay *store.Replay
		if done != errors.As(err, &replay) || !done && (err != nil || rotated.Secret == "") {
			t.Fatalf("again: %+v, %v; want a replay: %v", rotated, err, done)
		}
		if n := db.Count("SELECT count(*) FROM callback_endpoints WHERE old_secret IS NOT NULL AND old_secret <> secret"); n != 1 {
			t.Error("the secret of before is not kept")
		}
		db.CheckInvariants()
	})
}

func TestTheOldSecretIsGoodFor24Hours(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	first := p.registered()
	second, err := p.RotateSecret(t.Context(), p.by(first.ID))
	if err != nil || second.Secret == first.Secret || second.OldSecretUntil == nil {
		t.Fatalf("rotated: %+v, %v", second, err)
	}
	now, _, err := p.DecidingTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := second.OldSecretUntil.Sub(now); left > 24*time.Hour || left < 24*time.Hour-time.Minute {
		t.Errorf("the old secret is good for %s more", left)
	}
	if shown := p.shown(first.ID); shown.OldSecretUntil == nil || !shown.OldSecretUntil.Equal(*second.OldSecretUntil) {
		t.Errorf("shown: %+v", shown)
	}
	third, err := p.RotateSecret(t.Context(), p.by(first.ID))
	if err != nil || third.Secret == second.Secret {
		t.Fatalf("rotated again: %+v, %v", third, err)
	}

	if err := p.SetClockAhead(t.Context(), 25*time.Hour); err != nil {
		t.Fatal(err)
	}
	if shown := p.shown(first.ID); shown.OldSecretUntil != nil {
		t.Errorf("after 25 hours the old secret is shown as good: %+v", shown)
	}
	// Whoever changes the endpoint then leaves no old secret behind.
	if _, err := p.ChangeEndpoint(t.Context(), store.EndpointSettings{RateLimit: new(5)}, p.by(first.ID)); err != nil {
		t.Fatal(err)
	}
	if n := p.Count("SELECT count(*) FROM callback_endpoints WHERE old_secret IS NULL AND rate_limit = 5"); n != 1 {
		t.Error("the old secret is still there")
	}
}

func TestWhoEnablesAnEndpointHasItJudgedAnew(t *testing.T) {
	t.Parallel()
	for _, reason := range []store.DisabledReason{store.DisabledGone, store.DisabledFailing, store.DisabledByClient, store.DisabledByOperator} {
		p := newPartner(t)
		id := p.registered().ID
		p.Exec("UPDATE callback_endpoints SET state = 'disabled', state_reason = $1, failing_since = now(), failures = 20", string(reason))
		_, err := p.EnableEndpoint(t.Context(), p.by(id))
		if forbidden := reason == store.DisabledByOperator; errors.Is(err, store.ErrEndpointForbidden) != forbidden || !forbidden && err != nil {
			t.Errorf("disabled (%s), the client enables it: %v", reason, err)
		}
		if _, err := p.EnableEndpoint(t.Context(), operator(id)); err != nil {
			t.Errorf("disabled (%s), an operator enables it: %v", reason, err)
		}
		if e := p.shown(id); e.State != store.EndpointEnabled || e.StateReason != "" || e.Failures != 0 || e.FailingSince != nil {
			t.Errorf("disabled (%s), then enabled: %+v", reason, e)
		}
	}
}

func TestChangesLeaveTheRestAndTheHealthAsTheyAre(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	was := p.registered()
	p.Exec("UPDATE callback_endpoints SET failing_since = now(), failures = 3")
	changed, err := p.ChangeEndpoint(t.Context(), store.EndpointSettings{Description: new("new"), EventTypes: types(store.EventPaymentHolded), Enabled: new(false)}, p.by(was.ID))
	if err != nil {
		t.Fatal(err)
	}
	now := p.shown(was.ID)
	if diff := cmp.Diff(now, changed); diff != "" {
		t.Errorf("answered as it is not (-now +answered):\n%s", diff)
	}
	was.Secret, was.Description, was.EventTypes = "", "new", []store.EventType{store.EventPaymentHolded}
	was.State, was.StateReason, was.Failures, was.FailingSince, was.UpdatedAt = store.EndpointDisabled, store.DisabledByClient, 3, now.FailingSince, now.UpdatedAt
	if diff := cmp.Diff(was, now); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if moved, err := p.ChangeEndpoint(t.Context(), at("https://other.example/"), p.by(was.ID)); err != nil || moved.Failures != 0 || moved.Origin != "https://other.example:443" {
		t.Errorf("moved elsewhere: %+v, %v", moved, err)
	}
}

func TestSomebodyElsesEndpointIsNotFound(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	id := p.registered().ID
	stranger := store.EndpointCommand{ID: id, Client: p.Shop().Client}
	for name, do := range map[string]func() error{
		"shown":   func() error { _, err := p.Store.Endpoint(t.Context(), stranger.Client, id); return err },
		"changed": func() error { _, err := p.ChangeEndpoint(t.Context(), at("https://a.example"), stranger); return err },
		"rotated": func() error { _, err := p.RotateSecret(t.Context(), stranger); return err },
		"deleted": func() error { return p.DeleteEndpoint(t.Context(), stranger) },
	} {
		if err := do(); !errors.Is(err, store.ErrEndpointNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := p.Endpoints(t.Context(), stranger.Client, store.Page[store.EndpointID]{Limit: 10}); err != nil || len(all) != 0 {
		t.Errorf("the stranger's list: %+v, %v", all, err)
	}
	p.shown(id)
}

func TestADeletedEndpointIsNotFound(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	id := p.registered().ID
	if err := p.DeleteEndpoint(t.Context(), p.by(id)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Store.Endpoint(t.Context(), p.client, id); !errors.Is(err, store.ErrEndpointNotFound) {
		t.Errorf("shown: %v", err)
	}
	if err := p.DeleteEndpoint(t.Context(), p.by(id)); !errors.Is(err, store.ErrEndpointNotFound) {
		t.Errorf("deleted again: %v", err)
	}
	if all, err := p.Endpoints(t.Context(), 0, store.Page[store.EndpointID]{Limit: 10}); err != nil || len(all) != 0 {
		t.Errorf("listed: %+v, %v", all, err)
	}
}

func TestWhatAnInvoiceMadeIsListedSwitchedAndLimitedAndNothingElse(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	shop := p.Shop()
	p.InvoiceCallback(shop, "http://shop.example/told")
	registered := p.DB.Endpoint(shop.Client, "https://shop.example/")
	all, err := p.Endpoints(t.Context(), shop.Client, store.Page[store.EndpointID]{Limit: 10})
	if err != nil || len(all) != 2 || all[0].ID != registered || all[1].Policy != store.PolicyInvoicer {
		t.Fatalf("listed: %+v, %v", all, err)
	}
	older, err := p.Endpoints(t.Context(), shop.Client, store.Page[store.EndpointID]{Limit: 10, Before: registered})
	if err != nil || len(older) != 1 || older[0].ID != all[1].ID {
		t.Errorf("before the newest: %+v, %v", older, err)
	}
	by := store.EndpointCommand{ID: all[1].ID, Client: shop.Client}
	for name, do := range map[string]func() error{
		"an address": func() error { _, err := p.ChangeEndpoint(t.Context(), at("https://a.example"), by); return err },
		"types": func() error {
			_, err := p.ChangeEndpoint(t.Context(), store.EndpointSettings{EventTypes: types()}, by)
			return err
		},
		"a secret":       func() error { _, err := p.RotateSecret(t.Context(), by); return err },
		"a quick ending": func() error { return p.DeleteEndpoint(t.Context(), by) },
	} {
		if err := do(); !errors.Is(err, store.ErrNotRegistered) {
			t.Errorf("given %s: %v", name, err)
		}
	}
	switched, err := p.ChangeEndpoint(t.Context(), store.EndpointSettings{Enabled: new(false), RateLimit: new(7)}, by)
	if err != nil || switched.State != store.EndpointDisabled || switched.RateLimit != 7 || switched.URL != "" {
		t.Errorf("disabled: %+v, %v", switched, err)
	}
}

func TestAnEndpointIsTestedOncePerKey(t *testing.T) {
	eachCut(t, func(t *testing.T, db *faulty, cut storetest.Cut, done bool) {
		client := db.BackOffice()
		endpoint := db.DB.Endpoint(client, "https://partner.example/", store.EventRechargeExpired)
		test := func(s *store.Store) (store.Answer, error) {
			return s.TestEndpoint(t.Context(), store.EndpointTest{
				ID: endpoint, Client: client, Once: store.Once{Scope: "client", Key: "k", Request: "r"},
				Answer: func(id store.EventID) store.Answer { return store.Answer{Status: 202, Body: []byte(id.String())} },
			})
		}
		db.faults.CutNextCommit(cut)
		if _, err := test(db.cutting); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("test: %v, want unavailable", err)
		}
		answer, err := test(db.Store)
		var replay *store.Replay
		if done != errors.As(err, &replay) || !done && err != nil {
			t.Fatalf("again: %+v, %v; want a replay: %v", answer, err, done)
		}
		if done {
			answer = replay.Answer
		}
		c, err := db.Store.Callback(t.Context(), client, answer.Operation)
		if err != nil || c.Type != store.EventCallbackTest || c.Event.String() != string(answer.Body) || c.Endpoint != endpoint {
			t.Errorf("what was answered names %+v, %v", c, err)
		}
		if n := db.Count("SELECT count(*) FROM outbox WHERE queue = 'callbacks'"); n != 1 {
			t.Errorf("%d callbacks are enqueued, want 1", n)
		}
		db.CheckInvariants()
	})
}

func TestWhatCannotBeTested(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	shop := p.Shop()
	p.InvoiceCallback(shop, "http://shop.example/told")
	all, err := p.Endpoints(t.Context(), shop.Client, store.Page[store.EndpointID]{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.TestEndpoint(t.Context(), store.EndpointTest{ID: all[0].ID}); !errors.Is(err, store.ErrNotRegistered) {
		t.Errorf("an invoice's: %v", err)
	}
	if _, err := p.TestEndpoint(t.Context(), store.EndpointTest{ID: p.registered().ID, Client: shop.Client}); !errors.Is(err, store.ErrEndpointNotFound) {
		t.Errorf("somebody else's: %v", err)
	}
}
