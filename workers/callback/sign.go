package callback

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quittance/quittance/store"
)

// errUnsigned is a callback that there is nothing to sign with: whoever could send it could
// send another.
var errUnsigned = errors.New("there is no key to sign it with")

// signature is what the header webhook-signature says, as Standard Webhooks has it: one
// signature for each key, of which the receiver needs to know one.
func signature(keys [][]byte, id string, at time.Time, body []byte) string {
	all := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}

// bodyOf is what is sent of an event: the same bytes at every attempt.
func bodyOf(c store.Callback) ([]byte, error) {
	if len(c.Keys) == 0 {
		return nil, errUnsigned
	}
	if c.Policy != store.PolicyInvoicer {
		return c.Body, nil
	}
	token, err := tokenOf(c)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"token": token})
}

// tokenOf is an event as shops get it: its data are the claims, issued when it happened.
// Numbers keep every digit, since nothing here reads them.
func tokenOf(c store.Callback) (string, error) {
	if c.SigningSecret == "" {
		return "", errUnsigned
	}
	var event struct {
		Timestamp time.Time                  `json:"timestamp"`
		Data      map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(c.Body, &event); err != nil {
		return "", fmt.Errorf("read event %s: %w", c.Event, err)
	}
	claims := jwt.MapClaims{"iat": event.Timestamp.Unix()}
	for name, value := range event.Data {
		claims[name] = value
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(c.SigningSecret))
}
