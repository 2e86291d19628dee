package fcmtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/quittance/quittance/workers/push/fcmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

func send(t *testing.T, s *fcmtest.Server, body string) (*http.Response, string, error) {
	t.Helper()
	resp, err := client.Post(s.URL+"/v1/projects/p/messages:send", "application/json", strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp, string(text), err
}

func TestATokenSaysHowItsCallIsAnswered(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		token      string
		status     int
		body       string // part of it
		retryAfter string
	}{
		{token: "fine", status: 200, body: `{"name":"projects/`},
		{token: "unreg-1", status: 404, body: `"errorCode":"UNREGISTERED"`},
		{token: "badtok-1", status: 400, body: `registration token`},
		{token: "badpay-1", status: 400, body: `google.rpc.BadRequest`},
		{token: "quota-7-x", status: 429, body: `"QUOTA_EXCEEDED"`, retryAfter: "7"},
		{token: "quota-0-x", status: 429, body: `"QUOTA_EXCEEDED"`},
		{token: "later-3-x", status: 503, body: `"UNAVAILABLE"`, retryAfter: "3"},
		{token: "int-", status: 500, body: `"INTERNAL"`},
		{token: "html502-", status: 502, body: `<!DOCTYPE html>`},
		{token: "slow-1-x", status: 200, body: `{"name":"projects/`},
		{token: "apns-", status: 401, body: `"THIRD_PARTY_AUTH_ERROR"`},
		{token: "sender-", status: 403, body: `"SENDER_ID_MISMATCH"`},
		{token: "noauth-", status: 401, body: `"UNAUTHENTICATED"`},
		{token: "denied-", status: 403, body: `"PERMISSION_DENIED"`},
		{token: "", status: 400, body: `google.rpc.BadRequest`},
	} {
		s := fcmtest.Start(t)
		resp, body, err := send(t, s, fmt.Sprintf(`{"message":{"token":%q}}`, story.token))
		if err != nil {
			t.Errorf("%q: %v", story.token, err)
			continue
		}
		if resp.StatusCode != story.status || !strings.Contains(body, story.body) || resp.Header.Get("Retry-After") != story.retryAfter {
			t.Errorf("%q is answered %d, Retry-After %q: %s", story.token, resp.StatusCode, resp.Header.Get("Retry-After"), body)
		}
		want := []fcmtest.Message{{Token: story.token, Status: story.status, Message: json.RawMessage(fmt.Sprintf(`{"token":%q}`, story.token))}}
		if diff := cmp.Diff(want, s.Messages()); diff != "" {
			t.Errorf("%q is kept, -want +got\n%s", story.token, diff)
		}
	}
}

func TestABrokenCallIsKeptAsWell(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	for _, token := range []string{"reset-1", "cut-1"} {
		if resp, body, err := send(t, s, `{"message":{"token":"`+token+`"}}`); err == nil {
			t.Errorf("%s is answered %d: %s", token, resp.StatusCode, body)
		}
		if n := len(s.Calls(token)); n != 1 {
			t.Errorf("%d calls of %s are kept", n, token)
		}
	}
}

func TestADeviceThatIsUnavailableComesBack(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	var got []int
	for range 4 {
		resp, _, err := send(t, s, `{"message":{"token":"unavail-2-x"}}`)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, resp.StatusCode)
	}
	if diff := cmp.Diff([]int{503, 503, 200, 200}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestWhatWasSentIsShownAndForgotten(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	arrived := s.Arrived()
	for _, body := range []string{`{"message":{"token":"a"}}`, `{"message":{"topic":"t"},"validate_only":true}`, `{"message":`} {
		if _, _, err := send(t, s, body); err != nil {
			t.Fatal(err)
		}
	}
	<-arrived
	show := func() (status []int) {
		resp, err := client.Get(s.URL + "/fcm/messages")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var shown []fcmtest.Message
		if err := json.NewDecoder(resp.Body).Decode(&shown); err != nil || shown == nil {
			t.Fatalf("shown as %v: %v", shown, err)
		}
		for _, m := range shown {
			status = append(status, m.Status)
		}
		return status
	}
	if diff := cmp.Diff([]int{200, 200, 400}, show()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	request, err := http.NewRequest(http.MethodDelete, s.URL+"/fcm/messages", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := show(); got != nil {
		t.Errorf("after they were forgotten: %v", got)
	}
}

func TestAGuardedOneWantsItsToken(t *testing.T) {
	t.Parallel()
	s := fcmtest.Start(t)
	s.Guard()
	ask := func() int {
		resp, err := client.PostForm(s.URL+"/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"x"}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if resp, _, err := send(t, s, `{"message":{"token":"a"}}`); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %v, %v", resp, err)
	}
	if got := ask(); got != http.StatusOK {
		t.Errorf("the token endpoint answers %d", got)
	}
	s.SetTrouble(fcmtest.NoTokens)
	if got := ask(); got != http.StatusBadRequest || s.TokenCalls() != 2 {
		t.Errorf("the token endpoint answers %d in trouble, asked %d times", got, s.TokenCalls())
	}
}
