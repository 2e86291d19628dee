package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// serve sends one request to an API with one route that answers as handle does.
func serve(t *testing.T, handle api.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	h, err := api.New(api.Config{CORSOrigins: []string{"*"}, Log: quiet, Metrics: api.NewMetrics()}, api.API{
		Prefix: "/x", Mistake: http.StatusAccepted, Shape: api.PlainShape,
		Routes:   []api.Route{{Method: http.MethodPost, Path: "/x/:id", Handle: handle}},
		Refusals: []api.Case{{Err: store.ErrPaidEarlier, Refusal: api.Refusal{Status: 201, Code: "paid_earlier", Message: "paid"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/x/1", strings.NewReader(body))
}

func TestAnErrorBecomesItsAnswer(t *testing.T) {
	t.Parallel()
	operation := store.NewOperationID()
	for _, story := range []struct {
		name   string
		err    error
		status int
		code   string
		header map[string]string
	}{
		{name: "a listed error", err: store.ErrPaidEarlier, status: 201, code: "paid_earlier"},
		{name: "a refusal without a status has the API's", err: &api.Refusal{Code: "c"}, status: 202, code: "c"},
		{name: "a key of another request", err: store.ErrKeyReused, status: 422, code: "idempotency_key_reused"},
		{name: "the database is out of reach", err: store.ErrUnavailable, status: 503, code: "unavailable", header: map[string]string{"Retry-After": "2"}},
		{name: "a bug of ours", err: errors.New("secret detail"), status: 500, code: "internal"},
		{
			name: "a replay", err: &store.Replay{Answer: store.Answer{Status: 201, Body: []byte(`{"error":{"code":"then"}}`), Operation: operation}}, status: 201, code: "then",
			header: map[string]string{"Idempotent-Replayed": "true", "Operation-Id": operation.String(), "Location": "/operations/" + operation.String()},
		},
	} {
		w := serve(t, func(*gin.Context) error { return story.err }, post("{}"))
		var body struct{ Error struct{ Code string } }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s: %v", story.name, err)
		}
		if w.Code != story.status || body.Error.Code != story.code {
			t.Errorf("%s: %d %s, want %d %s", story.name, w.Code, w.Body, story.status, story.code)
		}
		for name, want := range story.header {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", story.name, name, got, want)
			}
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the caller is told %s", story.name, w.Body)
		}
	}
}

func TestAPanicIsAnswered(t *testing.T) {
	t.Parallel()
	w := serve(t, func(*gin.Context) error { panic("ours") }, post("{}"))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "ours") {
		t.Errorf("a panic is answered %d %s", w.Code, w.Body)
	}
}

func TestOtherAddressesAndMethods(t *testing.T) {
	t.Parallel()
	never := func(*gin.Context) error { t.Error("the handler was called"); return nil }
	if w := serve(t, never, httptest.NewRequest(http.MethodGet, "/x/1", nil)); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("another method: %d", w.Code)
	}
	if w := serve(t, never, httptest.NewRequest(http.MethodPost, "/x", nil)); w.Code != http.StatusNotFound {
		t.Errorf("another address: %d", w.Code)
	}
	preflight := httptest.NewRequest(http.MethodOptions, "/x/1", nil)
	preflight.Header.Set("Origin", "https://shop.example")
	preflight.Header.Set("Access-Control-Request-Method", "POST")
	w := serve(t, never, preflight)
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a preflight: %d %v", w.Code, w.Header())
	}
}

func TestARequestIsNamed(t *testing.T) {
	t.Parallel()
	fine := func(c *gin.Context) error { api.Answer(c, 201, []byte("{}")); return nil }
	r := post("{}")
	r.Header.Set("X-Request-Id", "theirs-1")
	if got := serve(t, fine, r).Header().Get("X-Request-Id"); got != "theirs-1" {
		t.Errorf("the caller's id became %q", got)
	}
	r = post("{}")
	r.Header.Set("X-Request-Id", "a b\tc")
	if got := serve(t, fine, r).Header().Get("X-Request-Id"); len(got) != 36 {
		t.Errorf("an id that could forge a log line became %q", got)
	}
}

func TestABodyIsBounded(t *testing.T) {
	t.Parallel()
	read := func(c *gin.Context) error {
		_, err := api.Body(c)
		return err
	}
	for name, body := range map[string]string{"too large": strings.Repeat("x", 1<<20+1), "not UTF-8": "\xff"} {
		if w := serve(t, read, post(body)); w.Code != http.StatusAccepted {
			t.Errorf("%s: %d, want the API's status of a mistake", name, w.Code)
		}
	}
	if w := serve(t, read, post(strings.Repeat("x", 1<<20))); w.Code != http.StatusOK {
		t.Errorf("1 MiB: %d", w.Code)
	}
}

func TestAKeyIsBoundToItsRequest(t *testing.T) {
	t.Parallel()
	once := func(key, scope, body string) (o store.Once) {
		r := post(body)
		r.Header.Set("Idempotency-Key", key)
		w := serve(t, func(c *gin.Context) (err error) {
			o, err = api.Once(c, scope, []byte(body), store.Answer{})
			return err
		}, r)
		if w.Code != http.StatusOK {
			t.Errorf("key %q: %d %s", key, w.Code, w.Body)
		}
		return o
	}
	first := once("k", "caller", `{"a":1,"b":[1,2]}`)
	if same := once("k", "caller", "{ \"b\" : [1, 2],\n\"a\":1 }"); same.Request != first.Request {
		t.Error("another spelling of the same body is another request")
	}
	if other := once("k", "caller", `{"a":1,"b":[2,1]}`); other.Request == first.Request {
		t.Error("another body is the same request")
	}
	if other := once("k", "caller", `{"a":1.0,"b":[1,2]}`); other.Request == first.Request {
		t.Error("another number is the same request")
	}
	if none := once("k", "", "{}"); none.Scope != "POST /x/1 from 192.0.2.1" {
		t.Errorf("without a caller the scope is %q, want the endpoint and the address", none.Scope)
	}

	for _, key := range []string{"with space", strings.Repeat("k", 256), "ключ"} {
		r := post("{}")
		r.Header.Set("Idempotency-Key", key)
		w := serve(t, func(c *gin.Context) error { _, err := api.Once(c, "", nil, store.Answer{}); return err }, r)
		if w.Code != http.StatusAccepted {
			t.Errorf("key %q: %d, want it refused", key, w.Code)
		}
	}
}

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"":                            0,
		"wait=5":                      5 * time.Second,
		"respond-async, wait=10":      10 * time.Second,
		"WAIT = \"7\"":                7 * time.Second,
		"wait=31":                     30 * time.Second,
		"wait=-1":                     0,
		"wait=1e9":                    0,
		"wait=99999999999999999999":   0,
		"wait":                        0,
		"handling=lenient; wait=10":   0,
		"return=minimal,wait=2,junk=": 2 * time.Second,
	} {
		var got time.Duration
		r := post("{}")
		r.Header.Set("Prefer", header)
		serve(t, func(c *gin.Context) error { got = api.PreferredWait(c); return nil }, r)
		if got != want {
			t.Errorf("Prefer: %s: %s, want %s", header, got, want)
		}
	}
}

func TestOneAddressDoesNotUseUpAnothersRate(t *testing.T) {
	t.Parallel()
	limit := api.NewRateLimit(1) // two at once
	handle := limit.Around(func(*gin.Context) error { return nil })
	codes := map[string][]int{}
	for _, from := range []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"} {
		r := post("{}")
		r.RemoteAddr = from
		host, _, _ := strings.Cut(from, ":")
		codes[host] = append(codes[host], serve(t, handle, r).Code)
	}
	if got := codes["192.0.2.1"]; got[0] != 200 || got[1] != 200 || got[2] != 429 {
		t.Errorf("three calls at once: %v, want the third refused", got)
	}
	if got := codes["192.0.2.2"]; got[0] != 200 {
		t.Errorf("another address: %v", got)
	}
}

func TestAdmission(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		age    time.Duration
		broker bool
		admits bool
	}{
		{"nothing waits", 0, true, true},
		{"the oldest waits within the limit", 9 * time.Second, true, true},
		{"the oldest waits too long", 11 * time.Second, true, false},
		{"the broker is down: accepting is the point", time.Hour, false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			a := api.NewAdmission(func(context.Context) (time.Duration, error) { return story.age, nil }, func() bool { return story.broker }, 10*time.Second)
			go func() { _ = a.Run(ctx) }()
			synctest.Wait()
			err := a.Admit()
			if (err == nil) != story.admits {
				t.Errorf("%s: %v", story.name, err)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// finished is a store whose operations become final when told.
type finished struct {
	mu    sync.Mutex
	final map[store.OperationID]store.Operation
	asked int
}

func (f *finished) Operations(_ context.Context, ids []store.OperationID) (found []store.Operation, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	for _, id := range ids {
		if o, ok := f.final[id]; ok {
			found = append(found, o)
		}
	}
	return found, nil
}

func TestAllWhoWaitAreToldByOneQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		id := store.NewOperationID()
		books := &finished{final: map[store.OperationID]store.Operation{}}
		w := api.NewWaiter(books, quiet, nil)
		go func() { _ = w.Run(ctx) }()

		told := make(chan bool, 20)
		for range 20 {
			go func() {
				_, ok := w.Wait(ctx, id, 10*time.Second)
				told <- ok
			}()
		}
		late := make(chan bool, 1)
		go func() {
			_, ok := w.Wait(ctx, store.NewOperationID(), time.Second)
			late <- ok
		}()
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
		synctest.Wait()
		books.mu.Lock()
		before := books.asked
		books.final[id] = store.Operation{ID: id, Status: store.Succeeded}
		books.mu.Unlock()
		for range 20 {
			if !<-told {
				t.Error("somebody was not told")
			}
		}
		books.mu.Lock()
		if asked := books.asked - before; asked > 2 {
			t.Errorf("%d queries told 20 who waited", asked)
		}
		books.mu.Unlock()
		if <-late {
			t.Error("an operation that never ends was final")
		}
		cancel()
		synctest.Wait()
	})
}

func TestWhoWaitedIsAnsweredByTheEnd(t *testing.T) {
	t.Parallel()
	refused := func(o store.Operation) *api.Refusal {
		if o.Status == store.Dead {
			return nil
		}
		return &api.Refusal{Status: http.StatusConflict, Code: "refused"}
	}
	for _, story := range []struct {
		name, prefer string
		ended        store.Status
		status       int
		header       string
	}{
		{"who does not wait", "", store.Succeeded, 202, ""},
		{"it succeeded", "wait=1", store.Succeeded, 200, "succeeded"},
		{"it failed", "wait=1", store.Failed, 409, "failed"},
		{"it died, and is still accepted", "wait=1", store.Dead, 202, "dead"},
		{"it did not end", "wait=1", store.Running, 202, "accepted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			id := store.NewOperationID()
			w := api.NewWaiter(&finished{final: map[store.OperationID]store.Operation{id: {ID: id, Status: story.ended}}}, quiet, nil)
			go func() { _ = w.Run(ctx) }()
			r := post("")
			r.Header.Set("Prefer", story.prefer)
			answer := serve(t, func(c *gin.Context) error {
				return w.Accepted(c, store.Answer{Status: 202, Body: []byte("{}"), Operation: id}, 200, refused)
			}, r)
			if got := answer.Header().Get("Operation-Status"); answer.Code != story.status || got != story.header {
				t.Errorf("%s: %d %s, want %d %s", story.name, answer.Code, got, story.status, story.header)
			}
			cancel()
			synctest.Wait()
		})
	}
}
