package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/invoicer"
	"github.com/quittance/quittance/api/mobile"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/storetest"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
	"github.com/quittance/quittance/workers/callback/callbacktest"
	"github.com/quittance/quittance/workers/tracing"
)

// memory keeps what is exported, also past the exporter's end.
type memory struct{ *tracetest.InMemoryExporter }

func (memory) Shutdown(context.Context) error { return nil }

// watched is a worker process, an API, an acquirer and a partner, and all that their traces say.
type watched struct {
	*process
	t       *testing.T
	traced  bool
	spans   memory
	log     *lockedLog
	api     string
	end     func() // of the API's traces: what is left is exported
	partner string

	mu      sync.Mutex
	headers map[string][]string // traceparent as somebody outside got it: by who
	answers int                 // of the partner
}

// lockedLog is what the processes log.
type lockedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

const callbackSecret = "hook-secret-7d1f"

func watch(t *testing.T, traced bool) *watched {
	t.Helper()
	w := &watched{
		process: telling(t), t: t, traced: traced, spans: memory{tracetest.NewInMemoryExporter()}, log: &lockedLog{}, headers: make(map[string][]string),
	}
	bank, err := url.Parse(w.bank.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(bank)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.got("acquirer", r)
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.environ["QUITTANCE_ACQUIRER_URL"] = front.URL
	w.partner = callbacktest.Handling(t, w.answer) + "/" + callbackSecret
	w.serve(front.URL)
	return w
}

func (w *watched) got(who string, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.headers[who] = append(w.headers[who], r.Header.Get("traceparent"))
}

// answer is the partner's server, which is not well at first.
func (w *watched) answer(rw http.ResponseWriter, r *http.Request) {
	w.got("partner", r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answers++; w.answers == 1 {
		rw.WriteHeader(http.StatusInternalServerError)
	}
}

// start is how its processes start tracing.
func (w *watched) start(ctx context.Context, service string, environ map[string]string, log *slog.Logger) (trace.TracerProvider, func(), error) {
	if !w.traced {
		return tracing.Start(ctx, service, environ, log)
	}
	return tracing.To(ctx, w.spans, service, log)
}

// serve serves the APIs, as another process.
func (w *watched) serve(bank string) {
	w.t.Helper()
	log := slog.New(slog.NewJSONHandler(w.log, nil))
	traces, end, err := w.start(w.t.Context(), "quittance-api", nil, log)
	if err != nil {
		w.t.Fatal(err)
	}
	w.end = sync.OnceFunc(end)
	w.t.Cleanup(w.end)
	books, err := store.Open(w.t.Context(), store.Config{URL: w.URL, Secret: storetest.Secret, Grace: 2 * time.Second, Traces: traces})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(books.Close)
	client, err := acquirer.New(bank, "", 2*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	always := func() bool { return true }
	handler, err := api.New(api.Config{Log: log, Metrics: api.NewMetrics(), Traces: traces},
		mobile.New(mobile.Config{Books: books, Admission: api.NewAdmission(books.OldestUntried, always, time.Hour), AddLimit: api.NewRateLimit(1e9)}),
		invoicer.New(invoicer.Config{Books: books, Tokeniser: tokens{client}, SessionLimit: api.NewRateLimit(1e9), PublicURL: "https://pay.test"}))
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	w.api = server.URL
}

// tokens is what the api has to make tokens with.
type tokens struct{ *acquirer.Client }

func (a tokens) Tokenise(ctx context.Context, id store.IntentID, d api.CardDetails) (store.Card, string, error) {
	token, err := a.Client.Tokenise(ctx, id.String(), acquirer.Details(d))
	return store.Card{Mask: token.Mask, Expiry: token.Expiry, Brand: token.Brand}, token.Token, err
}

// work runs the worker process until the returned function ends it, and what it had to export is
// exported.
func (w *watched) work() (stop func()) {
	return w.beginWith(w.t, func(ctx context.Context, environ map[string]string) error {
		return runTraced(ctx, nil, environ, w.start)
	}).stop
}

// post posts JSON to the API.
func (w *watched) post(path string, body any) (answer map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.Post(w.api+path, "application/json", bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, json.Unmarshal(said, &answer)); err != nil || resp.StatusCode > 201 {
		w.t.Fatalf("POST %s: %s %s: %v", path, resp.Status, said, err)
	}
	return answer
}

// payInvoice pays an invoice of a phone by way of the API.
func (w *watched) payInvoice(p store.Payment) {
	w.t.Helper()
	w.post("/mobile-api/invoice/pay", map[string]any{
		"amount": p.Amount.Minor, "currencyCode": p.Amount.Currency, "description": "", "number": p.Number.String(),
		"recipient": p.Recipient, "sessionId": string(p.Session),
	})
}

// paths are the spans of the trace that begins with the span of this name, each with those above
// it. Those of the database are left out.
func (w *watched) paths(root string) (id string, paths []string) {
	w.t.Helper()
	all := w.spans.GetSpans()
	spans := make(map[trace.SpanID]tracetest.SpanStub)
	for _, s := range all {
		spans[s.SpanContext.SpanID()] = s
		if s.Name == root && !s.Parent.IsValid() {
			if id != "" {
				w.t.Errorf("there are two traces of %s", root)
			}
			id = s.SpanContext.TraceID().String()
		}
	}
	for _, s := range all {
		if s.SpanContext.TraceID().String() != id || hasAttribute(s, "db.system.name") {
			continue
		}
		path, at := s.Name, s
		for at.Parent.IsValid() {
			at = spans[at.Parent.SpanID()]
			path = at.Name + " > " + path
		}
		paths = append(paths, path)
	}
	return id, paths
}

func hasAttribute(s tracetest.SpanStub, key attribute.Key) bool {
	return slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool { return a.Key == key })
}

func (w *watched) checkHas(paths []string, want ...string) {
	w.t.Helper()
	for _, path := range want {
		if !slices.Contains(paths, path) {
			w.t.Errorf("the trace has no\n\t%s\nit has\n\t%s", path, strings.Join(paths, "\n\t"))
		}
	}
}

// shopSession is a session of a shop, which has a card.
func (w *watched) shopSession(number, code string) (session, card string) {
	w.t.Helper()
	session = string(w.Session(w.Shop()))
	params := map[string]any{"sessionId": session}
	created := w.post("/api/cards/create", map[string]any{"params": params, "data": map[string]any{"pan": number, "expiresAt": "2099-12", "securityCode": code}})
	return session, fmt.Sprint(created["data"].(map[string]any)["id"])
}

// payByCard has an invoice paid by card, which its shop's server is told of.
func (w *watched) payByCard(session, card, code string) {
	w.t.Helper()
	issued := w.post("/api/invoicer/invoices/create", map[string]any{
		"params": map[string]any{"sessionId": session, "systemType": "ECOM"},
		"data":   map[string]any{"externalId": "order", "type": "PAY", "description": "tea", "amount": 10_000, "callbackUrl": w.partner},
	})
	w.post("/api/invoicer/payments/create", map[string]any{
		"params": map[string]any{"sessionId": session},
		"data":   map[string]any{"invoiceId": issued["data"].(map[string]any)["id"], "cardFrom": map[string]any{"id": card, "securityCode": code}},
	})
}

const (
	callbackTold = "SELECT count(*) FROM operations WHERE type = 'callback.send' AND status = 'succeeded'"
	secretCode   = "913"
)

// From the request by way of the broker to the acquirer, and by way of the broker to the partner,
// whose server fails once: all that is one trace, and it shows no secret.
func TestACardPaymentIsOneTrace(t *testing.T) {
	t.Parallel()
	w := watch(t, true)
	session, card := w.shopSession(approved, secretCode)
	stop := w.work()
	w.payByCard(session, card, secretCode)
	w.Eventually("the shop is told", 1, callbackTold)
	stop()
	w.end()

	id, paths := w.paths("POST /api/invoicer/payments/create")
	const paid = "POST /api/invoicer/payments/create > publish cards > process cards"
	w.checkHas(paths,
		"POST /api/invoicer/payments/create > POST /tokenise",
		paid, paid+" > POST /authorise", paid+" > settle calls",
		paid+" > publish callbacks > process callbacks > POST",
		paid+" > publish callbacks > process callbacks > settle callbacks",
		paid+" > publish callbacks.retry > process callbacks.retry > POST",
	)
	w.checkEvery("acquirer", 3, func(header string) bool { return strings.HasPrefix(header, "00-") })
	w.checkEvery("partner", 2, func(header string) bool { return header == "" })
	w.checkLogged(id)
	w.checkShowsNone(approved, approved[6:], secretCode, session, callbackSecret, acquirertest.TokenOf(approved, "2099-12"), "shop-secret")
	w.CheckInvariants()
}

// A message that is lost and enqueued again, and an attempt that fails and is made again, change
// nothing: who is told at last is told in the trace of the request. Nor does the session of a
// phone show, which stands in paths and bodies.
func TestAPaymentStaysInItsTraceWhateverHappens(t *testing.T) {
	t.Parallel()
	w := watch(t, true)
	w.answers = 1 // the partner is well
	w.Endpoint(w.Shop().Client, w.partner, store.EventInvoicePaid)
	payer, recipient := w.Account(1000), w.Account(0)
	w.Exec(`CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'tripped'; END $$`)
	w.Exec(`CREATE TRIGGER trip BEFORE INSERT ON transfers FOR EACH ROW WHEN (NEW.amount = 13) EXECUTE FUNCTION trip()`)
	w.payInvoice(w.Invoice(payer, recipient, 13))
	w.Exec("DELETE FROM outbox") // as if it had been in a queue that is gone
	if resp, err := http.Get(w.api + "/mobile-api/account/info/" + string(payer.Session)); err != nil || resp.Body.Close() != nil || resp.StatusCode >= 300 {
		t.Fatal(resp, err)
	}
	stop := w.work()
	w.Eventually("the first attempt", 1, "SELECT count(*) FROM attempts WHERE error LIKE '%tripped%'")
	w.Exec("DROP TRIGGER trip ON transfers")
	w.Eventually("the operator's endpoint is told", 1, callbackTold)
	stop()
	w.end()

	id, paths := w.paths("POST /mobile-api/invoice/pay")
	const paid = "POST /mobile-api/invoice/pay > publish payments > process payments"
	w.checkHas(paths, "POST /mobile-api/invoice/pay > accept payments", paid, paid+" > settle payments", paid+" > publish callbacks > process callbacks > POST")
	if n := count(paths, paid); n != 2 {
		t.Errorf("%d attempts are in the trace, want both", n)
	}
	w.checkLogged(id)
	w.checkShowsNone(string(payer.Session), string(recipient.Session), callbackSecret)
	w.CheckInvariants()
}

// What nobody can settle is found again by its trace.
func TestADeadLetterNamesItsTrace(t *testing.T) {
	t.Parallel()
	w := watch(t, true)
	payer, recipient := w.Account(1000), w.Account(0)
	w.Exec("ALTER TABLE invoices ADD CONSTRAINT no_thirteen CHECK (amount <> 13 OR state <> 5)")
	w.payInvoice(w.Invoice(payer, recipient, 13))
	stop := w.work()
	w.Eventually("the dead letter", 1, "SELECT count(*) FROM dead_letters")
	stop()
	w.end()
	id, _ := w.paths("POST /mobile-api/invoice/pay")
	if n := w.Count("SELECT count(*) FROM dead_letters WHERE trace_id = $1", id); n != 1 {
		t.Errorf("the dead letter does not name the trace %s", id)
	}
}

// Where nobody takes traces there are none, in no row, message or call.
func TestWithoutTracingThereIsNoTraceOfIt(t *testing.T) {
	t.Parallel()
	w := watch(t, false)
	w.answers = 1
	w.Exec("ALTER TABLE invoices ADD CONSTRAINT no_thirteen CHECK (amount <> 13 OR state <> 5)")
	session, card := w.shopSession(approved, secretCode)
	stop := w.work()
	w.payInvoice(w.Invoice(w.Account(1000), w.Account(0), 13))
	w.payByCard(session, card, secretCode)
	w.Eventually("the shop is told", 1, callbackTold)
	w.Eventually("the dead letter", 1, "SELECT count(*) FROM dead_letters WHERE trace_id = '' AND NOT headers ? 'traceparent'")
	stop()
	w.checkEvery("acquirer", 3, func(header string) bool { return header == "" })
	w.checkEvery("partner", 1, func(header string) bool { return header == "" })
	if n := w.Count("SELECT count(*) FROM operations WHERE trace_parent IS NOT NULL"); n != 0 {
		t.Errorf("%d operations have a trace", n)
	}
	if strings.Contains(w.log.text.String(), `"trace"`) || len(w.spans.GetSpans()) != 0 {
		t.Errorf("there is a trace: %s", w.log.text.String())
	}
}

func count(all []string, one string) (n int) {
	for _, a := range all {
		if a == one {
			n++
		}
	}
	return n
}

func (w *watched) checkEvery(who string, n int, as func(string) bool) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.headers[who]; len(got) != n || slices.ContainsFunc(got, func(h string) bool { return !as(h) }) {
		w.t.Errorf("the %s got the headers %q", who, got)
	}
}

// checkLogged checks that the log's line of the request names the trace.
func (w *watched) checkLogged(id string) {
	w.t.Helper()
	if !strings.Contains(w.log.text.String(), `"trace":"`+id+`"`) {
		w.t.Errorf("the log has no line with the trace %s: %s", id, w.log.text.String())
	}
}

// checkShowsNone looks for secrets in all that was exported.
func (w *watched) checkShowsNone(secrets ...string) {
	w.t.Helper()
	database := false
	for _, s := range w.spans.GetSpans() {
		database = database || hasAttribute(s, "db.query.text")
		text := fmt.Sprintf("%s %v %v %v %v %v", s.Name, s.Attributes, s.Events, s.Links, s.Status, s.Resource)
		for _, secret := range secrets {
			word := regexp.MustCompile(`(\b|_)` + secret + `(\b|_)`) // three digits are in many an id
			if len(secret) > 4 && strings.Contains(text, secret) || word.MatchString(text) {
				w.t.Errorf("a span shows %q: %s", secret, text)
			}
		}
	}
	if !database {
		w.t.Error("no span is of the database")
	}
}
