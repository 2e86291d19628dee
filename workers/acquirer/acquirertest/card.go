package acquirertest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"time"
)

// sandboxKey encrypts the tokens. It protects nothing: there are no cards in a sandbox.
var sandboxKey = sha256.Sum256([]byte("the sandbox's cards are nobody's"))

const tokenPrefix = "sandbox_"

// card is what a token stands for.
type card struct {
	number string
	expiry string // YYYY-MM
}

// TokenOf returns the token of a card as any Acquirer of this package knows it, so that it
// can be stored before one runs.
func TokenOf(number, expiry string) string { return card{number, expiry}.token("") }

// token returns the card's token for a call: the same for the same call.
func (c card) token(id string) string {
	plain := []byte(c.number + " " + c.expiry)
	nonce := mac("token", id, string(plain))[:12]
	sealed := aead().Seal(nonce, nonce, plain, nil)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(sealed)
}

// cardOf returns the card that a token stands for, if it is one of ours.
func cardOf(token string) (card, bool) {
	text, ours := strings.CutPrefix(token, tokenPrefix)
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if !ours || err != nil || len(sealed) < 12 {
		return card{}, false
	}
	plain, err := aead().Open(nil, sealed[:12], sealed[12:], nil)
	if err != nil {
		return card{}, false
	}
	number, expiry, ok := strings.Cut(string(plain), " ")
	return card{number, expiry}, ok
}

func aead() cipher.AEAD {
	block, err := aes.NewCipher(sandboxKey[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

func mac(parts ...string) []byte {
	h := hmac.New(sha256.New, sandboxKey[:])
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum(nil)
}

var (
	numbers  = regexp.MustCompile(`^[0-9]{12,19}$`)
	expiries = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])$`)
)

// known says whether there can be such a card.
func (c card) known() bool {
	return numbers.MatchString(c.number) && luhn(c.number) && expiries.MatchString(c.expiry)
}

func luhn(number string) bool {
	sum := 0
	for i := range len(number) {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
			digit = digit/10 + digit%10
		}
		sum += digit
	}
	return sum%10 == 0
}

// expired says whether the card's last month is over everywhere.
func (c card) expired(now time.Time) bool {
	return now.UTC().Add(-12*time.Hour).Format("2006-01") > c.expiry
}

func (c card) mask() string { return c.number[:6] + c.number[len(c.number)-4:] }

func (c card) brand() string {
	first := c.number[:2]
	switch {
	case first[0] == '4':
		return "visa"
	case first >= "51" && first <= "55", c.number[:4] >= "2221" && c.number[:4] <= "2720":
		return "mastercard"
	case first == "34" || first == "37":
		return "amex"
	case c.number[:4] >= "2200" && c.number[:4] <= "2204":
		return "mir"
	case first == "50" || first >= "56" && first <= "58" || first[0] == '6':
		return "maestro"
	}
	return ""
}

// behaviour is what a card does when it is to pay.
type behaviour struct {
	refusal   string // why it is declined
	challenge string // what it asks for: 3DS or LOOKUP
	cutAfter  bool   // the first time
	cutBefore bool   // the first time
}

// behaviours are those of the test cards. Any other card is approved.
var behaviours = map[string]behaviour{
	"4000000000000002": {refusal: "declined"},
	"4000000000009995": {refusal: "insufficient_funds"},
	"4000000000003220": {challenge: "3DS"},
	"4000000000003063": {challenge: "LOOKUP"},
	"4000000000000119": {cutAfter: true},
	"4000000000000341": {refusal: "declined", cutBefore: true},
}
