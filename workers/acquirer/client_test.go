package acquirer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key      = "bearer-key"
	patience = 10 * time.Second // for what ought to be over long before
)

// calls are all calls, with an id of their own.
var calls = map[string]func(context.Context, *acquirer.Client) (acquirer.Answer, error){
	"tokenise": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		_, err := c.Tokenise(ctx, "id", details)
		return acquirer.Answer{}, err
	},
	"authorise": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Authorise(ctx, "id", acquirer.Authorisation{Payment: "p", Amount: money.Amount{Minor: 1, Currency: 980}, Token: savedToken})
	},
	"confirm": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Confirm(ctx, "id", acquirer.Confirmation{Payment: "p", Of: "a", Code: securityCode})
	},
	"capture": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Capture(ctx, "id", acquirer.Movement{Payment: "p", Of: "a"})
	},
	"void": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Void(ctx, "id", acquirer.Movement{Payment: "p", Of: "a"})
	},
	"refund": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Refund(ctx, "id", acquirer.Movement{Payment: "p", Of: "a"})
	},
	"inquire": func(ctx context.Context, c *acquirer.Client) (acquirer.Answer, error) {
		return c.Inquire(ctx, "id")
	},
}

func client(t *testing.T, url string, timeout time.Duration) *acquirer.Client {
	t.Helper()
	c, err := acquirer.New(url, key, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kind is what the caller may conclude of an error.
func kind(err error) string {
	for _, k := range []struct {
		name string
		err  error
	}{
		{"not sent", acquirer.ErrNotSent},
		{"refused", acquirer.ErrRefused},
		{"not found", acquirer.ErrNotFound},
		{"card refused", acquirer.ErrCardRefused},
	} {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	if err != nil {
		return "unknown"
	}
	return "answered"
}

// line is a peer's end of a connection.
type line struct {
	net.Conn
	giveUp func()          // makes the caller give up
	over   <-chan struct{} // ends with the test
}

// peer accepts connections at a port of its own until the test ends, and lets speak have
// each.
func peer(t *testing.T, giveUp func(), speak func(line)) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				speak(line{c, giveUp, done})
			})
		}
	})
	t.Cleanup(func() {
		close(done)
		_ = l.Close()
		running.Wait()
	})
	return "http://" + l.Addr().String()
}

// request reads one request, and returns its body.
func request(c net.Conn) []byte {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(r.Body) // whatever arrived
	return body
}

// says is a peer that reads a request and answers these bytes; %s is the request's body.
func says(answer string) func(line) {
	return func(l line) {
		body := request(l)
		_, _ = io.WriteString(l, strings.ReplaceAll(answer, "%s", string(body)))
	}
}

// answers is a peer that answers a status and a body.
func answers(status int, body string) func(line) {
	return says(fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n\r\n%s", status, http.StatusText(status), body))
}

func TestWhatAFailureSays(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		speak func(line)
		want  string
		but   map[string]string // for some calls
	}{
		{name: "cut at the first byte", speak: func(l line) { _, _ = l.Read(make([]byte, 1)) }, want: "unknown"},
		{name: "cut once the call has arrived", speak: says(""), want: "unknown"},
		{name: "silence", speak: func(l line) { request(l); l.giveUp(); <-l.over }, want: "unknown"},
		{name: "hardly read", speak: func(l line) { _, _ = l.Read(make([]byte, 1)); l.giveUp(); <-l.over }, want: "unknown"},
		{name: "an answer that never ends", speak: func(l line) { answers(200, `{"id":"id",`)(l); l.giveUp(); <-l.over }, want: "unknown"},
		{name: "not HTTP, but an echo", speak: says("%s\r\n\r\n"), want: "unknown"},
		{name: "an echo in a header", speak: says("HTTP/1.1 200 OK\r\n%s\r\n\r\n"), want: "unknown"},
		{name: "an echo of the call", speak: answers(200, "%s"), want: "unknown"},
		{name: "a number where a text should be", speak: answers(200, `{"id":`+number+`}`), want: "unknown"},
		{name: "a web page", speak: answers(200, "<html>hello"), want: "unknown"},
		{name: "nothing", speak: answers(200, ""), want: "unknown"},
		{name: "an answer without its end", speak: says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":\"id\",\"status\":\"approved\"}"), want: "unknown"},
		{name: "an answer that is too long", speak: answers(200, `{"id":"id","status":"approved","message":"`+strings.Repeat("x", 64<<10)+`"}`), want: "unknown"},
		{name: "an answer to another call", speak: answers(200, `{"id":"other","status":"approved"}`), want: "unknown"},
		{name: "a status nobody knows", speak: answers(200, `{"id":"id","status":"maybe"}`), want: "unknown"},
		{name: "two answers", speak: answers(200, `{"id":"id","status":"approved"}{}`), want: "unknown"},
		{name: "found or not is for inquiries", speak: answers(200, `{"id":"id","status":"not_found"}`), want: "unknown", but: map[string]string{"inquire": "not found"}},
		{name: "a decline", speak: answers(200, `{"id":"id","status":"declined"}`), want: "answered", but: map[string]string{"tokenise": "card refused"}},
		{name: "a confirmation that nobody can give", speak: answers(200, `{"id":"id","status":"needs_confirmation"}`), want: "unknown"},
		{name: "a confirmation without tries", speak: answers(200, `{"id":"id","status":"needs_confirmation","challenge":{"type":"LOOKUP","left":0}}`), want: "unknown"},
		{name: "a confirmation at no address of the web", speak: answers(200, `{"id":"id","status":"needs_confirmation","challenge":{"type":"3DS","url":"javascript:alert(1)","left":3}}`), want: "unknown"},
		{name: "a confirmation of a kind nobody knows", speak: answers(200, `{"id":"id","status":"needs_confirmation","challenge":{"type":"DANCE","left":3}}`), want: "unknown"},
		{name: "a confirmation where there can be none", speak: answers(200, `{"id":"id","status":"needs_confirmation","challenge":{"type":"LOOKUP","left":3}}`), want: "unknown", but: map[string]string{"authorise": "answered", "confirm": "answered", "inquire": "answered"}},
		{name: "no content", speak: answers(204, ""), want: "unknown"},
		{name: "too many calls", speak: answers(429, ""), want: "unknown"},
		{name: "a fault of its own", speak: answers(500, `{"code":"%s"}`), want: "unknown"},
		{name: "nobody behind the gate", speak: answers(502, "%s"), want: "unknown"},
		{name: "malformed", speak: answers(400, `{"code":"malformed"}`), want: "refused"},
		{name: "malformed, and it says how", speak: answers(400, "%s"), want: "refused"},
		{name: "a wrong key", speak: answers(401, `{"code":"wrong_key"}`), want: "refused"},
		{name: "not allowed", speak: answers(403, ""), want: "refused"},
		{name: "no such route", speak: answers(404, "404 page not found"), want: "refused"},
		{name: "a call that is not taken like this", speak: answers(422, `{"code":"malformed"}`), want: "refused"},
		{name: "another call under the id: that one may have been done", speak: answers(422, `{"code":"id_reused"}`), want: "unknown"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for name, call := range calls {
				ctx, giveUp := context.WithCancel(t.Context())
				_, err := call(ctx, client(t, peer(t, giveUp, r.speak), patience))
				giveUp()
				want := r.want
				if other, ok := r.but[name]; ok {
					want = other
				}
				if got := kind(err); got != want {
					t.Errorf("%s: %s (%v), want %s", name, got, err, want)
				}
				checkError(t, name, err)
			}
		})
	}
}

// address is where something is, in memory or on this machine: its digits may be those of a code by
// chance.
var address = regexp.MustCompile(`\(0x[0-9a-f]+\)|127\.0\.0\.1:\d+`)

// checkError checks that an error names its call and shows nothing of what was sent.
func checkError(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	text := address.ReplaceAllLiteralString(fmt.Sprintf("%v %+v %#v", err, err, err), "")
	if found := secretsIn(text); found != nil || strings.Contains(text, key) {
		t.Errorf("%s: the error shows %q, or the key: %s", name, found, text)
	}
	if !strings.HasPrefix(err.Error(), name+" id: ") {
		t.Errorf("%s: the error does not begin with the call and its id: %v", name, err)
	}
}

// Without anybody giving up, a call ends by itself.
func TestACallEndsInTime(t *testing.T) {
	t.Parallel()
	url := peer(t, nil, func(l line) { request(l); <-l.over })
	_, err := client(t, url, 500*time.Millisecond).Capture(t.Context(), "id", acquirer.Movement{})
	if kind(err) != "unknown" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: %v, want unknown, for the time is over", kind(err), err)
	}
}

func TestWhatNeverLeftWasNotSent(t *testing.T) {
	t.Parallel()
	gone := peer(t, nil, func(line) {})
	refusing := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "http://" + l.Addr().String()
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	rows := []struct {
		name string
		ctx  context.Context
		url  func(*testing.T) string
	}{
		{"nobody listens", context.Background(), refusing},
		{"no such host", context.Background(), func(*testing.T) string { return "http://acquirer.invalid" }},
		{"the caller had given up", over, func(*testing.T) string { return gone }},
		{"it does not speak TLS", context.Background(), func(*testing.T) string { return strings.Replace(gone, "http:", "https:", 1) }},
		{"nobody vouches for it", context.Background(), untrusted},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, r.url(t), patience)
			for name, call := range calls {
				_, err := call(r.ctx, c)
				if kind(err) != "not sent" {
					t.Errorf("%s: %s (%v), want not sent", name, kind(err), err)
				}
				checkError(t, name, err)
			}
		})
	}
}

// untrusted is a server whose certificate nobody has signed.
func untrusted(t *testing.T) string {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell that nobody trusts it
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var mu sync.Mutex
		var paths []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			paths = append(paths, r.URL.Path)
			http.Redirect(w, r, "/elsewhere", status)
		}))
		_, err := client(t, s.URL, patience).Tokenise(t.Context(), "id", details)
		s.Close()
		if diff := cmp.Diff([]string{"/tokenise"}, paths); diff != "" || kind(err) != "unknown" {
			t.Errorf("a %d is %s, and went on (-want +got):\n%s", status, kind(err), diff)
		}
	}
}

func TestCallsCarryTheKey(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":"id","status":"approved"}`)
	}))
	defer s.Close()
	for name, call := range calls {
		if _, err := call(t.Context(), client(t, s.URL+"/", patience)); kind(err) == "refused" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := client(t, s.URL, patience).Ping(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	other, err := acquirer.New(s.URL, "", patience)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Ping(t.Context()); kind(err) != "refused" {
		t.Errorf("ping without the key: %v, want refused", err)
	}
}

func TestATokenIsFitToBeStored(t *testing.T) {
	t.Parallel()
	rows := []struct{ name, answer, want string }{
		{"as it should be", `"token":"t","mask":"4111111111","expiry":"2031-07","brand":"visa"`, "answered"},
		{"of no brand", `"token":"t","mask":"4111111111","expiry":"2031-07"`, "answered"},
		{"a mask that is the number", `"token":"t","mask":"` + number + `","expiry":"2031-07"`, "unknown"},
		{"a token that holds the number", `"token":"t` + number + `","mask":"4111111111","expiry":"2031-07"`, "unknown"},
		{"no token", `"mask":"4111111111","expiry":"2031-07"`, "unknown"},
		{"no expiry", `"token":"t","mask":"4111111111"`, "unknown"},
		{"a brand that is none", `"token":"t","mask":"4111111111","expiry":"2031-07","brand":"<b>"`, "unknown"},
	}
	for _, r := range rows {
		url := peer(t, nil, answers(200, `{"id":"id","status":"approved",`+r.answer+`}`))
		token, err := client(t, url, patience).Tokenise(t.Context(), "id", details)
		if kind(err) != r.want {
			t.Errorf("%s: %s (%v), want %s", r.name, kind(err), err, r.want)
		}
		if err == nil && (token.Token != "t" || token.Mask != "4111111111" || token.Expiry != "2031-07") {
			t.Errorf("%s: %+v", r.name, token)
		}
	}
}

func TestAnAnswerIsFitToBeStoredAndShown(t *testing.T) {
	t.Parallel()
	url := peer(t, nil, answers(200, `{"id":"id","status":"declined","code":"no\u0000pe","message":"No\u0007, \u0456 \u202e`+strings.Repeat("x", 400)+`","reference":"r","more":1}`))
	got, err := client(t, url, patience).Capture(t.Context(), "id", acquirer.Movement{})
	want := acquirer.Answer{Status: acquirer.Declined, Code: "nope", Message: "No, і " + strings.Repeat("x", 294), Reference: "r"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, the answer (-want +got):\n%s", err, diff)
	}
}

func TestWhatCannotBeAnAcquirer(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "127.0.0.1:8090", "ftp://127.0.0.1", "http://", "http://a b"} {
		if _, err := acquirer.New(url, "", patience); err == nil {
			t.Errorf("%q is taken for an address", url)
		}
	}
	if _, err := acquirer.New("http://127.0.0.1", "", 0); err == nil {
		t.Error("a client without a time limit")
	}
}
