package callback

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/quittance/quittance/store"
)

const shopSecret = "the shop's secret"

var (
	newKey = []byte("the key of 32 bytes that is new!")
	oldKey = []byte("the key of 32 bytes that is old!")
)

// told is an event to be sent under a policy.
func told(policy store.CallbackPolicy) store.Callback {
	c := store.Callback{
		Ref: store.Ref{ID: store.NewOperationID(), Seq: 1}, Event: store.NewEventID(), Type: store.EventPaymentFinished,
		Policy: policy, Endpoint: store.NewEndpointID(), Client: 1, Origin: "http://shop.example:80", Keys: [][]byte{newKey},
	}
	if policy == store.PolicyInvoicer {
		c.SigningSecret, c.Keys = shopSecret, [][]byte{[]byte(shopSecret)}
	}
	c.Body = []byte(`{"id":"` + c.Event.String() + `","type":"payment.finished","timestamp":"2026-11-21T20:00:00.123456Z",` +
		`"data":{"paymentId":"5a1f","amount":9007199254740993,"extraInfo":"{\"a\":\"<&>\"}","payDate":null}}`)
	return c
}

// verify is what a receiver does that knows the secret.
func verify(t *testing.T, secret string, c store.Callback, signed string, body []byte) error {
	t.Helper()
	receiver, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", c.Event.String())
	h.Set("webhook-timestamp", strconv.FormatInt(time.Now().Unix(), 10))
	h.Set("webhook-signature", signed)
	return receiver.Verify(body, h)
}

func whsec(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }

func TestReceiversKnowWhoSentIt(t *testing.T) {
	t.Parallel()
	registered, shop := told(store.PolicyStandard), told(store.PolicyInvoicer)
	rotating := registered
	rotating.Keys = [][]byte{newKey, oldKey}
	for _, story := range []struct {
		name   string
		c      store.Callback
		secret string
		known  bool
	}{
		{"the endpoint's secret", registered, whsec(newKey), true},
		{"another secret", registered, whsec(oldKey), false},
		{"the new secret while it is being rotated", rotating, whsec(newKey), true},
		{"the old secret while it is being rotated", rotating, whsec(oldKey), true},
		{"the shop's secret", shop, whsec([]byte(shopSecret)), true},
	} {
		body, err := bodyOf(story.c)
		if err != nil {
			t.Fatal(err)
		}
		signed := signature(story.c.Keys, story.c.Event.String(), time.Now(), body)
		if err := verify(t, story.secret, story.c, signed, body); (err == nil) != story.known {
			t.Errorf("%s: the receiver says %v", story.name, err)
		}
		body[len(body)-3] ^= 1
		if err := verify(t, story.secret, story.c, signed, body); err == nil {
			t.Errorf("%s: a changed body is taken for ours", story.name)
		}
	}
}

func TestAShopGetsAToken(t *testing.T) {
	t.Parallel()
	c := told(store.PolicyInvoicer)
	body, err := bodyOf(c)
	if err != nil {
		t.Fatal(err)
	}
	var sent map[string]string
	if err := json.Unmarshal(body, &sent); err != nil || len(sent) != 1 {
		t.Fatalf("the body %s is no object of one text: %v", body, err)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber())
	token, err := parser.Parse(sent["token"], func(*jwt.Token) (any, error) { return []byte(shopSecret), nil })
	if err != nil {
		t.Fatal(err)
	}
	want := jwt.MapClaims{
		"paymentId": "5a1f", "amount": json.Number("9007199254740993"), "extraInfo": `{"a":"<&>"}`, "payDate": nil,
		"iat": json.Number("1795291200"), // when it happened, whenever it is sent
	}
	if diff := cmp.Diff(want, token.Claims); diff != "" {
		t.Errorf("claims, -want +got\n%s", diff)
	}
	again, err := bodyOf(c)
	if err != nil || string(again) != string(body) {
		t.Errorf("the next attempt sends %s, not the same %s (%v)", again, body, err)
	}
}

func TestARegisteredEndpointGetsTheEventAsItIs(t *testing.T) {
	t.Parallel()
	c := told(store.PolicyStandard)
	if body, err := bodyOf(c); err != nil || string(body) != string(c.Body) {
		t.Errorf("%s is sent, want %s (%v)", body, c.Body, err)
	}
}

func TestNothingIsSentUnsigned(t *testing.T) {
	t.Parallel()
	registered, shop := told(store.PolicyStandard), told(store.PolicyInvoicer)
	registered.Keys, shop.SigningSecret = nil, ""
	for _, c := range []store.Callback{registered, shop} {
		if body, err := bodyOf(c); !errors.Is(err, errUnsigned) {
			t.Errorf("%s: %s is sent, %v", c.Policy, body, err)
		}
	}
}

func TestSignaturesAreThoseOfTheStandard(t *testing.T) {
	t.Parallel()
	// The example of the standard, which other senders reproduce as well.
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := signature([][]byte{key, newKey}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	first, second, two := strings.Cut(got, " ")
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; first != want || !two || !strings.HasPrefix(second, "v1,") {
		t.Errorf("%s, want %s and that of the second key", got, want)
	}
}
