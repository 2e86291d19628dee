package api

import (
	"bytes"
	"encoding/json"
	"regexp"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/store"
)

var errKeyMalformed = &Refusal{Code: "idempotency_key_malformed", Message: "The Idempotency-Key must be one of 1 to 255 printable ASCII characters!"}

var saneKey = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)

// Once reads the Idempotency-Key of a request. scope is the caller, or "" where there is
// none: then it is the endpoint together with the address that calls it, since an answer
// may hold a credential, and two strangers may choose the same key. answer is what the
// request is answered if it is accepted, now and at every repeat.
func Once(c *gin.Context, scope string, body []byte, answer store.Answer) (store.Once, error) {
	keys := c.Request.Header.Values("Idempotency-Key")
	if len(keys) == 0 {
		return store.Once{Answer: answer}, nil
	}
	key := keys[0]
	if len(keys) > 1 || !saneKey.MatchString(key) { // of two, nobody knows which is meant
		return store.Once{}, errKeyMalformed
	}
	endpoint := c.Request.Method + " " + c.Request.URL.Path
	if scope == "" {
		scope = endpoint + " from " + c.ClientIP()
	}
	return store.Once{Scope: scope, Key: key, Request: endpoint + "\n" + string(canonical(body)), Answer: answer}, nil
}

// canonical makes two spellings of the same JSON equal: order of members and white space
// do not count, numbers stay as they are written.
func canonical(body []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return body
	}
	sorted, err := json.Marshal(v) // maps are written in the order of their keys
	if err != nil {
		return body
	}
	return sorted
}

// answerReplay repeats what the first request with this key was answered.
func answerReplay(c *gin.Context, a store.Answer) {
	c.Header("Idempotent-Replayed", "true")
	if !a.Operation.IsZero() {
		nameOperation(c, a.Operation)
	}
	Answer(c, a.Status, a.Body)
}
