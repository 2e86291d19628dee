package invoicer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// maxSkew is how many seconds a signed request's iat may be from our time, either way.
const maxSkew = 20

// request is one whose envelope was read: who asks, and for what.
type request struct {
	shop   store.Shop
	signed bool // and so must the answer be
	params form
	data   form
	wrong  api.Problems
}

// identify finds the shop that a request's params name. Its errors are what is wrong with
// them, or that there is no such shop.
type identify func(ctx context.Context, params form) (store.Shop, error)

// read reads an envelope. Of a signed one only what the caller's key has signed is read.
func (h *handlers) read(c *gin.Context, who identify) (*request, error) {
	body, err := api.Body(c)
	if errors.Is(err, api.ErrTooLarge) {
		return nil, err
	}
	plain, wrong := api.ParseObject(body)
	if err != nil || wrong != "" {
		return nil, &api.Refusal{Code: "format_error", Message: "The request body " + cmp.Or(wrong, "must be a JSON object") + "."}
	}
	if token, signed := plain["token"]; signed && string(token) != "null" {
		return h.readSigned(c.Request.Context(), plain, token, who)
	}
	r, err := open(plain)
	if err != nil {
		return nil, err
	}
	if r.shop, err = who(c.Request.Context(), r.params); err != nil {
		return nil, err
	}
	if r.shop.SignatureRequired {
		refusal := notAllowed("token", required)
		return nil, &refusal
	}
	return r, nil
}

// open reads params and data, of which either may be missing.
func open(envelope api.Object) (*request, error) {
	wrong := api.Problems{}
	whole := form{members: envelope, wrong: wrong}
	r := &request{params: whole.object("params"), data: whole.object("data"), wrong: wrong}
	return r, invalid(wrong)
}

var hs256 = jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())

// readSigned reads a token. Who has signed it is what it says itself, which is worth
// nothing before the signature is verified with that caller's key.
func (h *handlers) readSigned(ctx context.Context, plain api.Object, raw json.RawMessage, who identify) (r *request, err error) {
	var token string
	if json.Unmarshal(raw, &token) != nil {
		return nil, invalid(api.Problems{"token": format})
	}
	var said claims
	_, unproven := hs256.ParseWithClaims(token, &said, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical { // RFC 7515, 4.1.11: what is not understood is refused
			return nil, jwt.ErrTokenUnverifiable
		}
		if r, err = said.open(); err == nil {
			r.shop, err = who(ctx, r.params)
		}
		return []byte(r.key()), err
	})
	switch {
	case err != nil:
		return nil, err
	case errors.Is(unproven, jwt.ErrTokenMalformed):
		return nil, invalid(api.Problems{"token": format})
	case unproven != nil:
		refusal := notAllowed("token", signature)
		return nil, &refusal
	}
	r.signed = true
	if err := sameCaller(plain, said.object); err != nil {
		return nil, err
	}
	return r, h.checkTime(said.object["iat"])
}

// key is what the caller signs with.
func (r *request) key() string {
	if r == nil {
		return ""
	}
	return r.shop.SigningSecret
}

// claims are a token's payload, as they were sent: numbers are money, and stay exact. They
// refuse what can be read in two ways.
type claims struct {
	jwt.RegisteredClaims // none of which we read
	object               api.Object
	wrong                string
}

// UnmarshalJSON never fails: open says what is wrong.
func (c *claims) UnmarshalJSON(text []byte) error {
	c.object, c.wrong = api.ParseObject(text)
	return nil
}

func (c *claims) open() (*request, error) {
	if c.object == nil {
		return nil, &api.Refusal{
			Code: "format_error", Message: "The token's payload " + cmp.Or(c.wrong, "must be a JSON object") + ".", Fields: map[string]string{"token": format},
		}
	}
	return open(c.object)
}

// sameCaller refuses a request that says beside its token that somebody else asks. All
// else that is said there is ignored.
func sameCaller(plain, proven api.Object) error {
	beside, claimed := identities(plain), identities(proven)
	for name, sent := range beside {
		if sent != claimed[name] {
			refusal := notAllowed("params."+name, mismatch)
			return &refusal
		}
	}
	return nil
}

// identities are the members of params that say who asks, however they are spelt.
func identities(envelope api.Object) map[string]string {
	var params api.Object
	_ = json.Unmarshal(envelope["params"], &params) // what is no object names nobody
	found := map[string]string{}
	for _, name := range []string{"sessionId", "clientId"} {
		if raw, there := params[name]; there && string(raw) != "null" {
			found[name] = strings.ToLower(strings.Trim(string(raw), `"`))
		}
	}
	return found
}

// checkTime accepts an iat, in seconds since 1970 as a number or a text of digits, that is
// not far from now: a request that was overheard is soon worth nothing.
func (h *handlers) checkTime(iat json.RawMessage) error {
	text := strings.Trim(string(iat), `"`)
	if text == "" || text == "null" {
		return invalid(api.Problems{"iat": required})
	}
	whole, _, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return invalid(api.Problems{"iat": format})
	}
	if now := h.Now().Unix(); seconds < now-maxSkew || seconds > now+maxSkew {
		return errTimeLimit
	}
	return nil
}

// once reads the Idempotency-Key. What it is bound to leaves out what changes from one try
// to the next, and what may not be stored in any form: a card's number and code.
func (r *request) once(c *gin.Context, answer any) (store.Once, error) {
	asked := api.Encode(map[string]any{"params": bare(r.params.members), "data": bare(r.data.members)})
	return api.Once(c, fmt.Sprintf("shop %d", r.shop.Client), asked, store.Answer{Status: ok, Body: api.Encode(answer)})
}

// bare returns an object without a card's secrets, wherever they are in it.
func bare(o api.Object) any {
	d := json.NewDecoder(bytes.NewReader(api.Encode(o)))
	d.UseNumber()
	var v any
	_ = d.Decode(&v) // we have just encoded it
	return withoutSecrets(v)
}

func withoutSecrets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "pan")
		delete(v, "securityCode")
		for _, inner := range v {
			withoutSecrets(inner)
		}
	case []any:
		for _, inner := range v {
			withoutSecrets(inner)
		}
	}
	return v
}

// sealed is an answer as the request wants it: as it is, or signed.
func (h *handlers) sealed(r *request, answer store.Answer) (store.Answer, error) {
	if !r.signed {
		return answer, nil
	}
	var plain struct {
		Data jwt.MapClaims `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader(answer.Body))
	d.UseNumber()
	if err := d.Decode(&plain); err != nil {
		return answer, fmt.Errorf("read the answer to be signed: %w", err)
	}
	plain.Data["iat"] = h.Now().Unix()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, plain.Data).SignedString([]byte(r.shop.SigningSecret))
	if err != nil {
		return answer, fmt.Errorf("sign the answer: %w", err)
	}
	answer.Body = api.Encode(success(signedData{Token: token}))
	return answer, nil
}
