package callback

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/callback/callbacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// attemptTime is what an attempt has in these tests.
const attemptTime = 2 * time.Second

func sending(t *testing.T, cfg Config) *sender {
	t.Helper()
	cfg.Timeout, cfg.Version = attemptTime, "1.2.3"
	s := newSender(cfg)
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// One attempt at each kind of receiver: what it comes to, and what of it is kept.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name     string
		receiver callbacktest.Receiver
		want     string // for who is told under the policy standard
		shop     string // for a shop; "": the same
		answer   string
	}{
		{"answers 200", callbacktest.Answering(200), "delivered 200", "", "this is 200"},
		{"answers 204", callbacktest.Answering(204), "delivered 204", "refused 204: answered 204 No Content: only 200 counts", ""},
		{"answers 302", callbacktest.Answering(302, "Location", "/elsewhere"), "refused 302: answered 302 Found: redirects are not followed", "", "this is 302"},
		{"answers 400", callbacktest.Answering(400), "refused 400: answered 400 Bad Request", "", "this is 400"},
		{"answers 410", callbacktest.Answering(410), "gone 410: answered 410 Gone", "", "this is 410"},
		{"answers 429", callbacktest.Answering(429), "refused 429: answered 429 Too Many Requests", "", "this is 429"},
		{"answers 500", callbacktest.Answering(500), "refused 500: answered 500 Internal Server Error", "", "this is 500"},
		{"answers 799", callbacktest.Answering(799), "refused 799: answered 799", "", "this is 799"},
		{"answers 101", callbacktest.Upgrading, "refused 101: answered 101 Switching Protocols", "", ""},
		{"hangs on connect", callbacktest.HangingOnConnect, "timeout: no answer within 2s", "", ""},
		{"hangs on headers", callbacktest.Hanging, "timeout: no answer within 2s", "", ""},
		{"trickles its body", callbacktest.Trickling, "delivered 200", "", "slow"},
		{"has an endless body", callbacktest.Endless, "delivered 200", "", strings.Repeat("and so on ", maxAnswer/10+1)[:maxAnswer]},
		{"cuts its body", callbacktest.Saying("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), "delivered 200", "", "short"},
		{"has endless headers", callbacktest.Saying("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100_000)), "connection: server response headers exceeded 65536 bytes; aborted", "", ""},
		{"resets", callbacktest.Resetting, "connection: connection reset by peer", "", ""},
		{"closes early", callbacktest.HangingUp, "connection: closed without an answer", "", ""},
		{"closes in the middle", callbacktest.Saying("HTTP/1.1 20"), "connection: malformed HTTP status code \"20\"", "", ""},
		{"does not speak HTTP", callbacktest.Saying("SSH-2.0-OpenSSH\r\n"), `connection: malformed HTTP response "SSH-2.0-OpenSSH"`, "", ""},
		{"does not listen", callbacktest.NotListening, "connection: connection refused", "", ""},
		{"has a bad certificate", callbacktest.BadlyCertified, "tls: tls: failed to verify certificate: x509: certificate signed by unknown authority", "", ""},
		{"does not speak TLS", callbacktest.NotTLS, "tls: http: server gave HTTP response to HTTPS client", "", ""},
		{"has an unknown name", callbacktest.At("http://unknown.example/"), "dns: unknown.example: no such host", "", ""},
		{"is in a private network", callbacktest.At("http://10.1.2.3/"), "forbidden: its address is not one of the public internet", "", ""},
		{"is the cloud's metadata", callbacktest.At("http://169.254.169.254/latest"), "forbidden: its address is not one of the public internet", "", ""},
		{"is the metadata by IPv6", callbacktest.At("http://[fd00:ec2::254]/latest"), "forbidden: its address is not one of the public internet", "", ""},
		{"is a private network through NAT64", callbacktest.At("http://[64:ff9b::a00:1]/"), "forbidden: its address is not one of the public internet", "", ""},
		{"is a private network mapped to IPv6", callbacktest.At("http://[::ffff:10.1.2.3]/"), "forbidden: its address is not one of the public internet", "", ""},
		{"has a URL of another kind", callbacktest.At("ftp://shop.example/"), "forbidden: the URL is not one of http or https", "", ""},
		{"has a URL without a host", callbacktest.At("http:///path"), "forbidden: the URL is not one of http or https", "", ""},
		{"has a URL that is none", callbacktest.At("http://shop .example"), "forbidden: the URL is not one of http or https", "", ""},
		{"has a port that is none", callbacktest.At("http://shop.example:99999/"), "forbidden: the URL's port is none", "", ""},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			s := sending(t, Config{Allow: loopback, Resolver: callbacktest.ChangingNames()})
			for policy, want := range map[store.CallbackPolicy]string{store.PolicyStandard: story.want, store.PolicyInvoicer: story.shop} {
				c := told(policy)
				c.URL = story.receiver(t)
				r, err := s.send(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if want == "" {
					want = story.want
				}
				if got := comesTo(r); got != want {
					t.Errorf("%s: it comes to %s, want %s", policy, got, want)
				}
				if string(r.Answer) != story.answer {
					t.Errorf("%s: of the answer is kept %.40q (%d bytes), want %.40q", policy, r.Answer, len(r.Answer), story.answer)
				}
				if r.StartedAt.IsZero() || r.Duration > attemptTime+answerTimeout {
					t.Errorf("%s: it began %s and took %s", policy, r.StartedAt, r.Duration)
				}
			}
		})
	}
}

func comesTo(r store.CallbackResult) string {
	text := string(r.Outcome)
	if r.Status != 0 {
		text += fmt.Sprint(" ", r.Status)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

// A name that stood for a public address when it was checked stands for 127.0.0.1 when it is
// dialled: nobody there hears of it.
func TestANameThatChangesLeadsNowhere(t *testing.T) {
	t.Parallel()
	var heard atomic.Int32
	inside := callbacktest.Handling(t, func(http.ResponseWriter, *http.Request) { heard.Add(1) })
	_, port, _ := strings.Cut(strings.TrimPrefix(inside, "http://"), ":")
	names := callbacktest.ChangingNames()
	if checked, err := names.LookupHost(t.Context(), "changing.example"); err != nil || len(checked) != 1 || checked[0] != "93.184.216.34" {
		t.Fatalf("the check finds %v, %v", checked, err)
	}
	c := told(store.PolicyStandard)
	c.URL = "http://changing.example:" + port
	r, err := sending(t, Config{Resolver: names}).send(t.Context(), c)
	if err != nil || r.Outcome != store.CallbackForbidden {
		t.Errorf("it comes to %s, %v", comesTo(r), err)
	}
	// Were it allowed, it would be heard: the test knows the way.
	if r, err := sending(t, Config{Resolver: names, Allow: loopback}).send(t.Context(), c); err != nil || r.Outcome != store.Delivered {
		t.Errorf("allowed, it comes to %s, %v", comesTo(r), err)
	}
	if n := heard.Load(); n != 1 {
		t.Errorf("it was heard %d times, want once", n)
	}
}

func TestRedirectsAndProxiesLeadNowhere(t *testing.T) {
	var heard atomic.Int32
	elsewhere := callbacktest.Handling(t, func(http.ResponseWriter, *http.Request) { heard.Add(1) })
	t.Setenv("HTTP_PROXY", elsewhere)
	c := told(store.PolicyStandard)
	c.URL = callbacktest.Answering(307, "Location", elsewhere)(t)
	r, err := sending(t, Config{Allow: loopback}).send(t.Context(), c)
	if err != nil || r.Status != 307 || heard.Load() != 0 {
		t.Errorf("it comes to %s, %v; heard elsewhere: %d", comesTo(r), err, heard.Load())
	}
}

// What a receiver gets.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	for _, policy := range []store.CallbackPolicy{store.PolicyStandard, store.PolicyInvoicer} {
		got := make(chan *http.Request, 1)
		c := told(policy)
		want, err := bodyOf(c)
		if err != nil {
			t.Fatal(err)
		}
		c.Attempts = 2
		c.URL = callbacktest.Handling(t, func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if string(body) != string(want) {
				t.Errorf("%s: the body is %s, want %s", policy, body, want)
			}
			secret := whsec(c.Keys[0])
			if err := verify(t, secret, c, r.Header.Get("webhook-signature"), body); err != nil {
				t.Errorf("%s: the receiver says %v", policy, err)
			}
			got <- r
		}) + "/told?of=this"
		if _, err := sending(t, Config{Allow: loopback}).send(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		r := <-got
		said := fmt.Sprintln(r.Proto, r.Method, r.URL, r.Header.Get("Content-Type"), r.UserAgent(), r.Header.Get("Webhook-Attempt"), r.Header["Accept-Encoding"])
		if want := "HTTP/1.1 POST /told?of=this application/json Quittance/1.2.3 3 []\n"; said != want {
			t.Errorf("%s: sent is %s, want %s", policy, said, want)
		}
		if id := r.Header.Get("webhook-id"); id != c.Event.String() || len(r.Header) != 7 {
			t.Errorf("%s: webhook-id is %s of event %s; the headers are %v", policy, id, c.Event, r.Header)
		}
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var opened atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	s, c := sending(t, Config{Allow: loopback}), told(store.PolicyStandard)
	c.URL = server.URL
	for range 10 {
		if r, err := s.send(t.Context(), c); err != nil || r.Outcome != store.Delivered {
			t.Fatalf("it comes to %s, %v", comesTo(r), err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for ten callbacks", n)
	}
}

// A client reads why its callback failed: nothing there says which addresses we have.
func TestALookupThatFailsTellsNothingAboutOurNetwork(t *testing.T) {
	t.Parallel()
	resolver, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := resolver.Close(); err != nil { // it is not there
		t.Fatal(err)
	}
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, resolver.LocalAddr().String())
	}}
	c := told(store.PolicyStandard)
	c.URL = "http://shop.example/"
	r, err := sending(t, Config{Resolver: names}).send(t.Context(), c)
	if want := "dns: shop.example: it cannot be looked up now"; err != nil || comesTo(r) != want {
		t.Errorf("it comes to %s, %v; want %s", comesTo(r), err, want)
	}
}

func TestAConnectionThatFailsTellsNothingAboutOurNetwork(t *testing.T) {
	t.Parallel()
	ours, theirs := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.1.2.3:40000")), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("93.184.216.34:443"))
	s := sending(t, Config{})
	for broken, want := range map[error]string{
		net.ErrClosed:          "use of closed network connection",
		os.ErrDeadlineExceeded: "i/o timeout",
		syscall.EPIPE:          "broken pipe",
	} {
		op := &net.OpError{Op: "read", Net: "tcp", Source: ours, Addr: theirs, Err: broken}
		err := &url.Error{Op: "Post", URL: "https://shop.example", Err: fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", op)}
		if outcome, reason := s.failureOf(err); outcome != store.CallbackConnect || reason != want {
			t.Errorf("%v comes to %s: %s, want %s", broken, outcome, reason, want)
		}
	}
}

// What this process runs out of is no partner's fault. An address that cannot be called from
// here is nobody else's.
func TestRunningOutOfFilesIsNoAttempt(t *testing.T) {
	t.Parallel()
	for number, want := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENFILE: true, syscall.EADDRNOTAVAIL: false, syscall.ECONNREFUSED: false, syscall.EHOSTUNREACH: false,
	} {
		err := &url.Error{Op: "Post", URL: "http://shop.example", Err: fmt.Errorf("dial: %w", number)}
		if isOurs(err) != want {
			t.Errorf("%v is ours: %t", number, !want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for _, story := range []struct {
		status int
		said   string
		want   time.Duration
	}{
		{429, "7", 7 * time.Second},
		{503, " 7 ", 7 * time.Second},
		{503, "Sat, 21 Nov 2026 20:01:00 GMT", time.Minute},
		{503, "Sat, 21 Nov 2026 19:01:00 GMT", 0},
		{500, "7", 0},
		{429, "", 0},
		{429, "-7", 0},
		{429, "7.5", 0},
		{429, "soon", 0},
		{429, "4294967295", 4294967295 * time.Second},
		{429, "99999999999999999999", 0},
	} {
		answer := &http.Response{StatusCode: story.status, Header: http.Header{"Retry-After": {story.said}}}
		if got := retryAfter(answer, now); got != story.want {
			t.Errorf("%d with %q: %s, want %s", story.status, story.said, got, story.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, said := range []string{"7", "-7", "Sat, 21 Nov 2026 20:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "4294967295"} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		answer := &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {said}}}
		if wait := retryAfter(answer, time.Now()); wait < 0 {
			t.Errorf("%q is %s", said, wait)
		}
	})
}
