package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store"
)

// partner is a server of somebody who wants to be told.
type partner struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	told   []delivery
	answer func(d delivery, before int) int // before: how often this event came already; nil: 200
}

// delivery is one request to a partner.
type delivery struct {
	path, id, body string
	header         http.Header
}

func startPartner(t testing.TB) *partner {
	p := &partner{t: t}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *partner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever calls was killed
	}
	apitest.Callback(p.t, r.Header, body)
	d := delivery{path: r.URL.Path, id: r.Header.Get("webhook-id"), body: string(body), header: r.Header}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := 0
	for _, earlier := range p.told {
		if earlier.id == d.id && earlier.path == d.path {
			before++
		}
	}
	p.told = append(p.told, d)
	if p.answer != nil {
		w.WriteHeader(p.answer(d, before))
	}
}

func (p *partner) answers(how func(d delivery, before int) int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = how
}

// at are the deliveries to a path.
func (p *partner) at(path string) (at []delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.told {
		if d.path == path {
			at = append(at, d)
		}
	}
	return at
}

// await waits for n deliveries to a path.
func (p *partner) await(path string, n int) []delivery {
	p.t.Helper()
	eventually(p.t, patience, fmt.Sprintf("%d deliveries to %s", n, path), func() bool { return len(p.at(path)) >= n })
	return p.at(path)
}

// data verifies a delivery of the standard policy, and returns the event's type and data.
func (d delivery) data(t testing.TB, secret string) (kind string, data object) {
	t.Helper()
	d.verify(t, secret)
	event, _ := decode(d.body).(object)
	if event["id"] != d.id {
		t.Errorf("webhook-id %q, and the body's id is %v", d.id, event["id"])
	}
	kind, _ = event["type"].(string)
	data, _ = event["data"].(object)
	return kind, data
}

func (d delivery) verify(t testing.TB, secret string) {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Verify([]byte(d.body), d.header); err != nil {
		t.Errorf("the signature of %s: %v", d.body, err)
	}
}

// claims verifies a delivery of the invoicer policy, by its signature and by its token's.
func (d delivery) claims(t testing.TB, secret string) object {
	t.Helper()
	d.verify(t, "whsec_"+base64.StdEncoding.EncodeToString([]byte(secret)))
	var body struct{ Token string }
	if err := json.Unmarshal([]byte(d.body), &body); err != nil {
		t.Fatalf("%s: %v", d.body, err)
	}
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(body.Token, claims, func(*jwt.Token) (any, error) { return []byte(secret), nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber(), jwt.WithIssuedAt())
	if err != nil {
		t.Errorf("the token of %s: %v", d.body, err)
	}
	return object(claims)
}

// A shop is told at its invoice's callbackUrl of each change that it acts on, as the original
// tells it.
func TestSystemAShopIsToldWhatBecomesOfItsPayments(t *testing.T) {
	t.Parallel()
	o := startShared(t).shop()
	p := startPartner(t)
	hold := object{"type": "HOLD"}
	for _, story := range []struct {
		name, card string
		invoice    object
		then       func(invoice, payment string)
		told       []string // status, paymentStatus, amount and reversedAmount; the order is not promised
	}{
		{"paid", approvedCard, nil, nil, []string{"FINISHED/FINISHED 10000-0"}},
		{"refused", declinedCard, nil, nil, []string{"CANCELED/REJECTED 10000-0"}},
		{"held, and let go", approvedCard, hold, func(i, p string) {
			o.command("cancel", i, p, nil, nil)
		}, []string{"CANCELED/CANCELED 10000-0", "PAID/HOLDED 10000-0"}},
		{"held, completed in part, given back in two parts", approvedCard, hold, func(i, p string) {
			o.command("complete", i, p, object{"amount": 4000}, nil)
			o.command("reverse", i, p, nil, object{"amount": 1000})
			o.command("reverse", i, p, nil, nil)
		}, []string{"FINISHED/FINISHED 4000-0", "FINISHED/FINISHED 4000-1000", "PAID/HOLDED 10000-0", "REVERSED/REVERSED 4000-4000"}},
	} {
		t.Run(name(story.name), func(t *testing.T) {
			path := "/" + name(story.name)
			invoice := o.invoice(merged(object{"callbackUrl": p.URL + path, "extraInfo": `{"docId":7}`}, story.invoice))
			payment, _ := o.pay(invoice, o.card(story.card), nil)
			if story.then != nil {
				story.then(invoice, payment)
			}
			var told []string
			ids := make(map[string]bool)
			for _, d := range p.await(path, len(story.told)) {
				c := d.claims(t, o.secret)
				told = append(told, fmt.Sprintf("%v/%v %v-%v", c["status"], c["paymentStatus"], c["amount"], c["reversedAmount"]))
				ids[d.id] = true
				if c["invoiceId"] != invoice || c["externalId"] != "order" || c["extraInfo"] != `{"docId":7,"origin":"invoicer"}` || c["cardFromMasked"] != story.card[:6]+story.card[12:] {
					t.Errorf("claims %v of invoice %s", c, invoice)
				}
			}
			slices.Sort(told)
			if diff := cmp.Diff(story.told, told); diff != "" || len(ids) != len(told) {
				t.Errorf("told (-want +got):\n%s\nwith %d ids", diff, len(ids))
			}
		})
	}
}

func merged(all ...object) object {
	m := object{}
	for _, o := range all {
		for name, value := range o {
			m[name] = value
		}
	}
	return m
}

// endpoint registers a partner's path by the API, and returns its id and secret.
func (o *office) endpoint(url string, types ...string) (id, secret string) {
	o.t.Helper()
	a := o.ask(http.MethodPost, "/v1/callback-endpoints", encoded(object{"url": url, "eventTypes": append([]string{}, types...)}))
	id, _ = a.object()["id"].(string)
	secret, _ = a.object()["secret"].(string)
	if a.status != http.StatusCreated || id == "" || !strings.HasPrefix(secret, "whsec_") {
		o.t.Fatalf("register %s: %s", url, a)
	}
	return id, secret
}

// listener is a back office whose token is good for callbacks as well.
func (s *system) listener() *office {
	s.t.Helper()
	o := s.backOffice()
	o.token = s.log(`{"grant_type":"client_credentials","scope":"credit callbacks","client_id":"demo","client_secret":"demo-secret"}`)
	return o
}

func TestSystemABackOfficeIsToldOfItsRecharges(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o, p, to := s.listener(), startPartner(t), s.phone(0)
	id, secret := o.endpoint(p.URL+"/recharges", "recharge.committed", "recharge.rolled_back")
	everything, all := o.endpoint(p.URL + "/all")
	if everything == id {
		t.Fatalf("two endpoints have the id %s", id)
	}
	for _, command := range []struct{ name, body, kind, state string }{
		{"commit", "", "recharge.committed", "committed"},
		{"rollback", `{"reason":"a test"}`, "recharge.rolled_back", "rolled_back"},
	} {
		path := o.create(to, "12.5")
		o.ask(http.MethodPost, path+"/"+command.name, command.body, "Prefer", waitTen)
		for at, secret := range map[string]string{"/recharges": secret, "/all": all} {
			var told []delivery
			eventually(t, patience, command.kind+" at "+at, func() bool {
				told = p.at(at)
				return len(told) > 0 && strings.Contains(told[len(told)-1].body, command.kind)
			})
			kind, data := told[len(told)-1].data(t, secret)
			if kind != command.kind || !strings.HasSuffix(path, fmt.Sprint(data["id"])) || fmt.Sprint(data["amount"]) != "12.5" || data["state"] != command.state {
				t.Errorf("%s was told %s %v", at, kind, data)
			}
		}
	}

	t.Run("held while disabled, and released", func(t *testing.T) {
		before := len(p.at("/recharges"))
		o.ask(http.MethodPatch, "/v1/callback-endpoints/"+id, `{"enabled":false}`)
		o.ask(http.MethodPost, o.create(to, "1")+"/commit", "", "Prefer", waitTen)
		p.await("/all", before+1)
		if n := s.count("SELECT count(*) FROM callbacks WHERE held"); n != 1 {
			t.Errorf("%d callbacks are held, want 1", n)
		}
		if n := len(p.at("/recharges")); n != before {
			t.Errorf("a disabled endpoint was told: %d deliveries instead of %d", n, before)
		}
		o.ask(http.MethodPatch, "/v1/callback-endpoints/"+id, `{"enabled":true}`)
		p.await("/recharges", before+1)
	})

	t.Run("tried again, and replayed under the same id", func(t *testing.T) {
		p.answers(func(d delivery, before int) int {
			if d.path == "/recharges" && before == 0 {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		before := len(p.at("/recharges"))
		o.ask(http.MethodPost, o.create(to, "2")+"/commit", "", "Prefer", waitTen)
		told := p.await("/recharges", before+2)[before:]
		if told[0].id != told[1].id || told[0].body != told[1].body {
			t.Errorf("the second attempt sent %v, the first %v", told[1], told[0])
		}
		list := o.ask(http.MethodGet, "/v1/callbacks?endpoint="+id+"&limit=1", "")
		shown, _ := list.object()["callbacks"].([]any)
		if len(shown) != 1 {
			t.Fatalf("the list is %s", list)
		}
		callback := fmt.Sprint(shown[0].(object)["id"])
		eventually(t, patience, "the callback has succeeded", func() bool {
			return o.ask(http.MethodGet, "/v1/callbacks/"+callback, "").object()["status"] == "succeeded"
		})
		if a := o.ask(http.MethodPost, "/v1/callbacks/"+callback+"/replay", ""); a.status != http.StatusAccepted {
			t.Fatalf("replay: %s", a)
		}
		again := p.await("/recharges", before+3)[before+2]
		if again.id != told[0].id || again.body != told[0].body {
			t.Errorf("the replay sent %v, the first attempt %v", again, told[0])
		}
		again.data(t, secret)
	})
}

// An invoice that is paid from a wallet is nobody's but the house's: an operator has it sent.
func TestSystemTheHouseIsToldOfPaidInvoices(t *testing.T) {
	t.Parallel()
	s := startShared(t)
	o, p := s.listener(), startPartner(t)
	client := int64(s.count("SELECT id FROM clients WHERE client_id = 'demo'"))
	url, types := p.URL+"/paid", []store.EventType{store.EventInvoicePaid}
	e, err := s.books.CreateEndpoint(t.Context(), client, store.EndpointSettings{URL: &url, EventTypes: &types},
		store.EndpointCommand{ID: store.NewEndpointID(), AllowHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	o.endpoint(p.URL + "/own") // of all types of its own
	from, to := s.phone(1000), s.phone(1)
	b := s.bill(from, to, 700)
	s.accepted(http.MethodPost, payPath, b.payment, "Prefer", waitTen)
	kind, data := p.await("/paid", 1)[0].data(t, e.Secret)
	if kind != "invoice.paid" || data["number"] != b.number || fmt.Sprint(data["amount"]) != "700" || data["payer"] != from.number || data["recipient"] != to.number {
		t.Errorf("told %s %v", kind, data)
	}
	if told := p.at("/own"); len(told) != 0 {
		t.Errorf("a client was told of somebody's invoice: %v", told)
	}
}

// A worker that is killed, and a broker that is wiped, midway: every event comes, under the id
// that it has.
func TestSystemCallbacksSurviveTheWorkerAndTheBroker(t *testing.T) {
	t.Parallel()
	s, servers := startOwn(t)
	o, p, to := s.listener(), startPartner(t), s.phone(0)
	o.endpoint(p.URL + "/told")
	// Around each kill the first attempts of two events fail, so that retries are under way. They are four
	// in all: after five in a row the breaker would rightly keep everything away.
	failing, seen := map[int]bool{18: true, 19: true, 96: true, 97: true}, 0
	p.answers(func(_ delivery, before int) int {
		if before > 0 {
			return http.StatusNoContent
		}
		if seen++; failing[seen] {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	})
	commit := func(n int) {
		t.Helper()
		for range n {
			if _, err := s.insistOn(http.StatusAccepted, o.create(to, "0.01")+"/commit", "", "Authorization", "Bearer "+o.token); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit(60)
	p.await("/told", 20)
	s.worker.process().Kill() // somewhere among them
	<-s.worker.process().Done()
	s.run(s.worker)
	commit(60)
	p.await("/told", 100)
	s.worker.process().Kill()
	<-s.worker.process().Done()
	eventually(t, patience, "the outbox is empty", func() bool { return s.count("SELECT count(*) FROM outbox") == 0 })
	left := queuetest.Depth(t, s.broker, queue.Callbacks) + queuetest.Depth(t, s.broker, queue.CallbacksRetry)
	if err := servers.RabbitMQ.Wipe(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("the broker is wiped, with %d callbacks in its work queues", left)
	s.run(s.worker)
	s.awaitEnds(2 * patience)

	ids := make(map[string]int)
	for _, d := range p.at("/told") {
		ids[d.id]++
	}
	const committed = "SELECT count(*) FROM events WHERE type = 'recharge.committed'"
	if n := s.count(committed); n != 120 || len(ids) != n {
		t.Errorf("%d events, and %d were told; want 120", n, len(ids))
	}
	if n := s.count(committed+" AND id::text <> ALL ($1)", slices.Collect(maps.Keys(ids))); n != 0 {
		t.Errorf("%d events were told under another id", n)
	}
	const undelivered = `SELECT count(*) FROM callbacks c WHERE NOT EXISTS (
		SELECT FROM callback_attempts a WHERE a.callback_id = c.id AND a.outcome = 'delivered')`
	if n := s.count(undelivered); n != 0 {
		t.Errorf("the log knows of no delivery of %d callbacks", n)
	}
}
