package paypage

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

const (
	maxForm   = 16 << 10 // of what a payer types
	maxReturn = 64 << 10 // of what a bank sends
)

// Why a form is not read. None of them repeats what was sent: it may have a card's number.
var (
	errForm      = &api.Refusal{Status: http.StatusBadRequest, Code: "malformed", Message: "The form cannot be read."}
	errFormLarge = &api.Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "The form is too large."}
)

// readForm reads a form that can be read in one way only: each field is sent once.
func readForm(c *gin.Context, limit int64) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, errForm
	}
	body, err := io.ReadAll(io.LimitReader(c.Request.Body, limit+1))
	if int64(len(body)) > limit || errors.As(err, new(*http.MaxBytesError)) {
		return nil, errFormLarge
	}
	form, parseErr := url.ParseQuery(string(body))
	if err != nil || parseErr != nil {
		return nil, errForm
	}
	for name, values := range form {
		if len(values) != 1 || !utf8.ValidString(name) || !utf8.ValidString(values[0]) || strings.Contains(values[0], "\x00") {
			return nil, errForm
		}
	}
	return form, nil
}

const (
	browserBytes = 32
	nonceBytes   = 16
)

// browserCookie is the name of the cookie that forms are bound to. With https the browser
// itself vouches that nobody but us has set it.
func (h *handlers) browserCookie() string {
	if h.secure() {
		return "__Host-quittance_page"
	}
	return "quittance_page"
}

func (h *handlers) secure() bool { return strings.HasPrefix(h.PublicURL, "https://") }

// browser is the secret that the payer's browser holds; "" where it holds none of ours.
func (h *handlers) browser(c *gin.Context) string {
	cookie, err := c.Request.Cookie(h.browserCookie())
	if err != nil {
		return ""
	}
	if secret, err := base64.RawURLEncoding.DecodeString(cookie.Value); err != nil || len(secret) != browserBytes {
		return ""
	}
	return cookie.Value
}

// newForm returns what a form carries to show that we made it, for this browser and this
// invoice. Its nonce becomes the idempotency key of what the form asks for.
func (h *handlers) newForm(c *gin.Context, invoice store.InvoiceNumber) string {
	browser := h.browser(c)
	if browser == "" {
		browser = base64.RawURLEncoding.EncodeToString(random(browserBytes))
		cookie := &http.Cookie{Name: h.browserCookie(), Value: browser, Path: "/", HttpOnly: true, Secure: h.secure(), SameSite: http.SameSiteLaxMode}
		http.SetCookie(c.Writer, cookie)
		c.Request.AddCookie(cookie) // for a second form on the same page
	}
	nonce := random(nonceBytes)
	return base64.RawURLEncoding.EncodeToString(append(nonce, h.sign(browser, invoice, nonce)...))
}

// key returns the idempotency key of a form that newForm made for this browser and invoice.
func (h *handlers) key(c *gin.Context, form url.Values, invoice store.InvoiceNumber) (string, bool) {
	browser := h.browser(c)
	signed, err := base64.RawURLEncoding.DecodeString(form.Get("form"))
	if err != nil || browser == "" || len(signed) != nonceBytes+sha256.Size {
		return "", false
	}
	nonce, signature := signed[:nonceBytes], signed[nonceBytes:]
	return base64.RawURLEncoding.EncodeToString(nonce), hmac.Equal(signature, h.sign(browser, invoice, nonce))
}

// sign has parts of fixed length only, so no two splits of the same bytes are the same.
func (h *handlers) sign(browser string, invoice store.InvoiceNumber, nonce []byte) []byte {
	mac := hmac.New(sha256.New, h.Key[:])
	mac.Write([]byte(browser))
	mac.Write(invoice[:])
	mac.Write(nonce)
	return mac.Sum(nil)
}

// random never fails: the runtime ends the process if the kernel has no randomness.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// once binds a form's key to what the form asks for.
func once(invoice store.InvoiceNumber, key, request, path string) store.Once {
	return store.Once{
		Scope: "page " + invoice.String(), Key: key, Request: request,
		Answer: store.Answer{Status: http.StatusSeeOther, Body: []byte(path)},
	}
}

const paymentCookie = "quittance_payment"

// remember lets the browser that pays find its payment again: whoever else has the invoice's
// address is told that it is being paid, and no more.
func (h *handlers) remember(c *gin.Context, invoice store.InvoiceNumber, payment string) {
	http.SetCookie(c.Writer, &http.Cookie{
		Name: paymentCookie, Value: payment, Path: invoicePath(invoice), HttpOnly: true, Secure: h.secure(), SameSite: http.SameSiteLaxMode,
	})
}

// remembered is the payment of the invoice that this browser made last, if any.
func remembered(c *gin.Context, in store.ShopInvoice) (store.CardPayment, bool) {
	cookie, err := c.Request.Cookie(paymentCookie)
	if err != nil {
		return store.CardPayment{}, false
	}
	for _, p := range in.Payments {
		if p.ID.String() == cookie.Value {
			return p, true
		}
	}
	return store.CardPayment{}, false
}
