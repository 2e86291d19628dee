package apitest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Callback holds what a partner is sent to the document's webhooks.
func Callback(t testing.TB, header http.Header, body []byte) {
	t.Helper()
	if err := checkCallback(open(t), header, body); err != nil {
		t.Errorf("a callback is not as documented: %v\n%v %s", err, header, body)
	}
}

func checkCallback(d document, header http.Header, body []byte) error {
	var sent struct{ Type, Token string }
	if err := json.Unmarshal(body, &sent); err != nil {
		return err
	}
	if sent.Token != "" {
		return checkToken(d, header, body, sent.Token)
	}
	webhook := d.Webhooks[sent.Type]
	if webhook == nil {
		return fmt.Errorf("there is no webhook %q", sent.Type)
	}
	return checkWebhook(d, webhook.Post, header, body)
}

func checkWebhook(d document, o *openapi3.Operation, header http.Header, body []byte) error {
	for _, p := range o.Parameters {
		if err := d.schemas.validate(p.Value.Schema, header.Get(p.Value.Name)); err != nil {
			return fmt.Errorf("the header %s: %w", p.Value.Name, err)
		}
	}
	return d.schemas.validateJSON(o.RequestBody.Value.Content["application/json"].Schema, body)
}

// dataOf is the schema of an event's data, by a member that only it has. A token does not say
// of which event it is.
var dataOf = map[string]string{"paymentId": "ChangedPayment", "endDate": "EndedSubscription", "message": "TestMessage"}

// checkToken holds a token's claims to the data of the events that shops are told of.
func checkToken(d document, header http.Header, body []byte, token string) error {
	if err := checkWebhook(d, d.Webhooks["payment.finished"].Post, header, body); err != nil {
		return err
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token+".", ".")[1])
	if err != nil {
		return fmt.Errorf("the token's claims: %w", err)
	}
	said, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return fmt.Errorf("the token's claims: %w", err)
	}
	claims, _ := said.(map[string]any)
	if _, is := claims["iat"].(json.Number); !is {
		return fmt.Errorf("the token's iat is %v", claims["iat"])
	}
	delete(claims, "iat")
	for member, schema := range dataOf {
		if _, has := claims[member]; has {
			return d.schemas.validate(d.Components.Schemas[schema], claims)
		}
	}
	return fmt.Errorf("the claims %s are no event's", payload)
}
