package acquirertest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"regexp"
)

// call is what the acquirer is asked.
type call struct {
	Name string `json:"-"`
	ID   string `json:"id"`

	Payment  string `json:"payment,omitempty"`
	Of       string `json:"of,omitempty"`
	Amount   int64  `json:"amount,omitempty"`
	Currency uint16 `json:"currency,omitempty"`

	Token      string `json:"token,omitempty"`
	TokenTo    string `json:"token_to,omitempty"`
	Commission int64  `json:"commission,omitempty"`
	Capture    bool   `json:"capture,omitempty"`
	Unattended bool   `json:"unattended,omitempty"`
	NotifyURL  string `json:"notify_url,omitempty"`

	Code string `json:"code,omitempty"`

	Number       string `json:"number,omitempty"`
	Expiry       string `json:"expiry,omitempty"`
	SecurityCode string `json:"security_code,omitempty"`
}

// calls are the names of what can be asked.
var calls = []string{"tokenise", "authorise", "confirm", "capture", "void", "refund", "inquire"}

var (
	errNotJSON   = errors.New("not a JSON object of known keys")
	errMalformed = errors.New("malformed")
)

// decode reads a call. Its errors are errNotJSON and errMalformed.
func decode(name string, body []byte) (call, error) {
	c := call{Name: name}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if d.Decode(&c) != nil {
		return call{}, errNotJSON
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return call{}, errNotJSON
	}
	c.Name = name
	if !c.formed() {
		return call{}, errMalformed
	}
	return c, nil
}

var (
	ids           = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,100}$`)
	securityCodes = regexp.MustCompile(`^([0-9]{3,4})?$`)
)

// formed says whether the call has what a call of its name needs, and nothing else.
func (c call) formed() bool {
	if !ids.MatchString(c.ID) {
		return false
	}
	needs := call{Name: c.Name, ID: c.ID}
	switch c.Name {
	case "tokenise":
		needs.Number, needs.Expiry, needs.SecurityCode, needs.Token = c.Number, c.Expiry, c.SecurityCode, c.Token
		return needs == c && securityCodes.MatchString(c.SecurityCode) && (c.Token == "") != (c.Number == "")
	case "authorise":
		needs.Payment, needs.Amount, needs.Currency = c.Payment, c.Amount, c.Currency
		needs.Token, needs.TokenTo, needs.Commission, needs.NotifyURL = c.Token, c.TokenTo, c.Commission, c.NotifyURL
		needs.Capture, needs.Unattended = c.Capture, c.Unattended
		return needs == c && ids.MatchString(c.Payment) && c.Amount > 0 && c.Currency > 0 && c.Token != "" &&
			c.Commission >= 0 && c.Commission < c.Amount && (c.NotifyURL == "" || isWeb(c.NotifyURL))
	case "confirm":
		needs.Payment, needs.Of, needs.Code = c.Payment, c.Of, c.Code
		return needs == c && ids.MatchString(c.Payment) && ids.MatchString(c.Of)
	case "capture", "void", "refund":
		needs.Payment, needs.Of, needs.Amount, needs.Currency, needs.Commission = c.Payment, c.Of, c.Amount, c.Currency, c.Commission
		return needs == c && ids.MatchString(c.Payment) && ids.MatchString(c.Of) && c.Currency > 0 &&
			(c.Amount > 0 || c.Amount == 0 && c.Name == "void") && c.Commission >= 0 && c.Commission <= c.Amount
	}
	return c == needs
}

// isWeb says whether something can be posted to an address.
func isWeb(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// fingerprint tells two calls apart. Where to send the notification is no part of a call:
// whoever is configured anew between two tries means the same.
func (c call) fingerprint() string {
	c.NotifyURL = ""
	content, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and booleans
	}
	return base64.RawURLEncoding.EncodeToString(mac("call", c.Name, string(content))[:18])
}
