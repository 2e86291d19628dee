package push

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firebase.google.com/go/v4/messaging"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/workers/push/fcmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender is one that sends to the stand-in, with what the test makes of its Config.
func sender(t *testing.T, c Config) *Sender {
	t.Helper()
	s, err := NewSender(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func to(token string) *messaging.Message { return &messaging.Message{Token: token} }

// Through the real SDK: one call an attempt, whatever comes of it, and the right conclusion.
func TestEveryAnswerOfFCM(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	for _, story := range []struct {
		name   string
		token  string
		want   Outcome
		status int
		wait   time.Duration
		reason string // part of it
	}{
		{name: "taken", token: "fine", want: Sent, status: 200},
		{name: "taken late", token: "slow-300-x", want: Sent, status: 200},
		{name: "the app is gone from the device", token: "unreg-1", want: DeadToken, status: 404},
		{name: "the token is another project's", token: "sender-1", want: DeadToken, status: 403},
		{name: "it is no token", token: "badtok-1", want: DeadToken, status: 400},
		{name: "something about the token", token: "badarg-1", want: TokenStrike, status: 400},
		{name: "the payload", token: "badpay-1", want: PayloadRefused, status: 400},
		{name: "the key for Apple's service", token: "apns-1", want: ConfigFault, status: 401},
		{name: "no such project", token: "nowhere-1", want: ConfigFault, status: 404},
		{name: "our credentials", token: "noauth-1", want: CredentialOutage, status: 401},
		{name: "our rights", token: "denied-1", want: CredentialOutage, status: 403},
		{name: "the quota", token: "quota-120-x", want: QuotaExceeded, status: 429, wait: 2 * time.Minute},
		{name: "the quota, for less than a minute", token: "quota-2-x", want: QuotaExceeded, status: 429, wait: time.Minute},
		{name: "the quota, for how long is not said", token: "quota-0-x", want: QuotaExceeded, status: 429, wait: time.Minute},
		{name: "the quota, for more than an hour", token: "quota-90000-x", want: QuotaExceeded, status: 429, wait: time.Hour},
		{name: "too many, somebody else says", token: "busy-1", want: QuotaExceeded, status: 429, wait: time.Minute},
		{name: "unavailable", token: "unavail-9-x", want: Again, status: 503},
		{name: "unavailable for a while", token: "later-2-x", want: Again, status: 503, wait: 2 * time.Second},
		{name: "unavailable for long", token: "later-300-x", want: Again, status: 503, wait: 5 * time.Minute},
		{name: "an internal error", token: "int-1", want: Again, status: 500},
		{name: "a proxy's page", token: "html502-1", want: Again, status: 502},
		{name: "the connection reset", token: "reset-1", want: Again},
		{name: "the connection cut within the answer", token: "cut-1", want: Again},
		{name: "no JSON", token: "garbage-1", want: Again, reason: "status 200 that is not FCM's"},
		{name: "a redirect", token: "moved-1", want: Again, reason: "status 302 that is not FCM's"},
	} {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			s := sender(t, Config{URL: fcm.URL})
			started := time.Now()
			got, err := s.Send(t.Context(), to(story.token))
			if err != nil {
				t.Fatal(err)
			}
			if got.Outcome != story.want || got.Status != story.status || got.Wait != story.wait || !strings.Contains(got.Reason, story.reason) {
				t.Errorf("%s: %+v, want %s, %d, %s, %q", story.token, got, story.want, story.status, story.wait, story.reason)
			}
			if n := len(fcm.Calls(story.token)); n != 1 {
				t.Errorf("%s: FCM was called %d times", story.token, n)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("%s: it took %s", story.token, took)
			}
		})
	}
}

func TestNobodyThereIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	got, err := sender(t, Config{URL: url}).Send(t.Context(), to("fine"))
	if err != nil || got.Outcome != Again || got.Status != 0 || !strings.Contains(got.Reason, "connection refused") {
		t.Errorf("%+v, %v", got, err)
	}
}

// No header within the transport's time: the message may have been taken, and is not sent a
// second time within the call.
func TestAnAnswerThatDoesNotCome(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	s := sender(t, Config{URL: fcm.URL})
	s.transport.ResponseHeaderTimeout = 100 * time.Millisecond
	got, err := s.Send(t.Context(), to("slow-60000-x"))
	if err != nil || got.Outcome != Again || got.Status != 0 || !strings.Contains(got.Reason, "timeout awaiting response headers") {
		t.Errorf("%+v, %v", got, err)
	}
	for arrived := fcm.Arrived(); len(fcm.Calls("slow-60000-x")) == 0; arrived = fcm.Arrived() { // it is recorded once the caller has hung up
		<-arrived
	}
	if n := len(fcm.Calls("slow-60000-x")); n != 1 {
		t.Errorf("FCM was called %d times", n)
	}
}

func TestACallThatIsGivenUp(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	s := sender(t, Config{URL: fcm.URL})

	late, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	got, err := s.Send(late, to("slow-60000-late"))
	if err != nil || got.Outcome != Again {
		t.Errorf("out of time: %+v, %v", got, err)
	}

	stopped, stop := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, stop)
	if got, err := s.Send(stopped, to("slow-60000-stopped")); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %+v, %v", got, err)
	}
}

func TestAMessageThatCannotBeRightIsNotSent(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	s := sender(t, Config{URL: fcm.URL})
	negative := -time.Second
	for name, m := range map[string]*messaging.Message{
		"none":         nil,
		"to nobody":    {},
		"to two":       {Token: "a", Topic: "b"},
		"an odd image": {Token: "a", Notification: &messaging.Notification{ImageURL: "odd"}},
		"ttl below 0":  {Token: "a", Android: &messaging.AndroidConfig{TTL: &negative}},
	} {
		if got, err := s.Send(t.Context(), m); err != nil || got.Outcome != PayloadRefused {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if calls := fcm.Messages(); len(calls) > 0 {
		t.Errorf("FCM was called: %v", calls)
	}
}

// account writes the file of a service account that gets its tokens from the stand-in.
func account(t *testing.T, tokenURL string) string {
	t.Helper()
	content, err := fcmtest.ServiceAccount("demo-project", tokenURL)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAServiceAccountSendsWithOneToken(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	fcm.Guard()
	s := sender(t, Config{URL: fcm.URL, Credentials: account(t, fcm.URL+"/token")})
	for n := range 3 {
		if got, err := s.Send(t.Context(), to(fmt.Sprint("fine-", n))); err != nil || got.Outcome != Sent {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := fcm.TokenCalls(); n != 1 || s.Project != "demo-project" {
		t.Errorf("%d tokens for three messages of %s", n, s.Project)
	}
	if got, err := sender(t, Config{URL: fcm.URL}).Send(t.Context(), to("fine")); err != nil || got.Outcome != CredentialOutage {
		t.Errorf("without credentials: %+v, %v", got, err)
	}
}

// A token that is not to be had ends no message: FCM is not even called.
func TestATokenThatIsNotToBeHad(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	fcm.Guard()
	fcm.SetTrouble(fcmtest.NoTokens)
	s := sender(t, Config{URL: fcm.URL, Credentials: account(t, fcm.URL+"/token")})
	got, err := s.Send(t.Context(), to("fine"))
	if err != nil || got.Outcome != CredentialOutage || !strings.Contains(got.Reason, "invalid_grant") {
		t.Errorf("%+v, %v", got, err)
	}
	if n := fcm.TokenCalls(); n != 1 || len(fcm.Messages()) > 0 {
		t.Errorf("%d calls for a token, and messages %v", n, fcm.Messages())
	}

	nobody := sender(t, Config{URL: fcm.URL, Credentials: account(t, "http://127.0.0.1:1/token")})
	if got, err := nobody.Send(t.Context(), to("fine")); err != nil || got.Outcome != CredentialOutage {
		t.Errorf("with nobody at the token's address: %+v, %v", got, err)
	}
}

// A token's endpoint that hangs is asked once, whoever waits for it meanwhile, and is an outage
// to all of them, to those as well whose own time was over first.
func TestATokenThatTakesTooLong(t *testing.T) {
	t.Parallel()
	const each = 10
	late, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var asked atomic.Int32
	hanging := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		<-late.Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(hanging.Close)
	s := sender(t, Config{URL: "http://127.0.0.1:1", Credentials: account(t, hanging.URL)})
	answers := make(chan Answer, each)
	for range each {
		go func() {
			a, err := s.Send(late, to("fine"))
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	for range each {
		if a := <-answers; a.Outcome != CredentialOutage {
			t.Errorf("%+v", a)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the endpoint was asked %d times", n)
	}
}

func TestAPingSaysWhetherMessagesAreTaken(t *testing.T) {
	t.Parallel()
	fcm := fcmtest.Start(t)
	s := sender(t, Config{URL: fcm.URL})
	for _, trouble := range []fcmtest.Trouble{fcmtest.Unauthenticated, fcmtest.Denied} {
		fcm.SetTrouble(trouble)
		if err := s.Ping(t.Context()); err == nil {
			t.Errorf("%s: nil", trouble)
		}
	}
	fcm.SetTrouble(fcmtest.NoTrouble)
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	nobody := sender(t, Config{URL: "http://127.0.0.1:1"})
	if err := nobody.Ping(t.Context()); err == nil {
		t.Error("nobody there: nil")
	}
}

func TestCredentialsThatAreNone(t *testing.T) {
	t.Parallel()
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "account.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, story := range []struct {
		name string
		Config
		want string
	}{
		{"no file", Config{Credentials: filepath.Join(t.TempDir(), "none")}, "no such file"},
		{"no JSON", Config{Credentials: write("secret")}, "is not JSON"},
		{"a person's", Config{Credentials: write(`{"type":"authorized_user"}`)}, `the type "authorized_user"`},
		{"no key", Config{Credentials: write(`{"type":"service_account"}`)}, "QUITTANCE_FCM_PROJECT"},
		{"of which project?", Config{Credentials: DefaultCredentials}, "QUITTANCE_FCM_PROJECT"},
		{"no URL", Config{URL: "127.0.0.1:8090"}, "QUITTANCE_FCM_URL"},
	} {
		s, err := NewSender(t.Context(), story.Config)
		if err == nil || !strings.Contains(err.Error(), story.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v; want %q", story.name, s, err, story.want)
		}
	}
}

// A proxy may answer with a page of any length, which is stored and logged.
func TestAReasonIsShort(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, strings.Repeat("<br>", 5000))
	}))
	t.Cleanup(page.Close)
	got, err := sender(t, Config{URL: page.URL}).Send(t.Context(), to("fine"))
	if err != nil || got.Outcome != CredentialOutage || len(got.Reason) > 2*maxReason {
		t.Errorf("%s, %d bytes of reason, %v", got.Outcome, len(got.Reason), err)
	}
}

func TestRetryAfterIsSecondsOrADate(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "999999999999": time.Hour, "Mon, 02 Jan 2006 15:04:05 GMT": 0,
	} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	in := time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat)
	if got := retryAfter(in); got < 9*time.Minute || got > 10*time.Minute {
		t.Errorf("%s: %s", in, got)
	}
}
