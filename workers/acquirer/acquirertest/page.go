package acquirertest

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"regexp"

	"golang.org/x/text/language"

	"github.com/quittance/quittance/store/money"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Parse(pageSource))

// page3DS is what the page of 3-D Secure shows. Its form goes straight back to whoever sent
// the payer here.
type page3DS struct {
	Language string
	Text     map[string]string
	Style    template.CSS
	TermURL  string
	MD       string
	Amount   string // "" where the payment is not known
	Mask     string
	GivenUp  string
}

var (
	languages = []language.Tag{language.English, language.Ukrainian}
	matcher   = language.NewMatcher(languages)
)

// texts are what the page says. The code stands on it: a sandbox has nobody to send it to.
var texts = map[string]map[string]string{
	"en": {
		"title": "Confirm the payment", "bank": "Sandbox bank", "amount": "Amount", "card": "Card", "code": "Code from the message",
		"hint": "This is a sandbox: the code is 1234.", "confirm": "Confirm", "cancel": "Cancel",
	},
	"uk": {
		"title": "Підтвердьте платіж", "bank": "Тестовий банк", "amount": "Сума", "card": "Картка", "code": "Код із повідомлення",
		"hint": "Це пісочниця: код 1234.", "confirm": "Підтвердити", "cancel": "Скасувати",
	},
}

// show3DS shows the bank's page: PaReq is of which authorisation, TermUrl where to go on, MD
// what to say there.
func (a *Acquirer) show3DS(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form is not understood", http.StatusBadRequest)
		return
	}
	term, ok := termURL(r.Form.Get("TermUrl"))
	if !ok {
		http.Error(w, "TermUrl is not an http or https URL", http.StatusBadRequest)
		return
	}
	tag, _ := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	base, _ := tag.Base()
	shown := page3DS{
		Language: base.String(), Text: texts[base.String()], Style: template.CSS(pageStyle),
		TermURL: term.String(), MD: r.Form.Get("MD"), GivenUp: givenUp,
	}
	if auth, ok := a.authorisation(r.Form.Get("PaReq")); ok {
		shown.Amount = money.Amount{Minor: auth.Amount, Currency: money.Currency(auth.Currency)}.String()
		shown.Mask = auth.Mask[:6] + " •••• " + auth.Mask[6:]
	}
	var html bytes.Buffer
	if err := page.Execute(&html, shown); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", shown.Language)
	h.Set("Vary", "Accept-Language")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash+"'; form-action "+term.Scheme+"://"+term.Host+
		"; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = html.WriteTo(w) // a reader that went away has nobody to be told
}

var styleHash = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return base64.StdEncoding.EncodeToString(sum[:])
}()

// hosts are those that can stand in a policy: a semicolon, which a URL's host may have, would
// begin another directive.
var hosts = regexp.MustCompile(`^[A-Za-z0-9.\-]+(:[0-9]+)?$|^\[[0-9A-Fa-f:.]+\](:[0-9]+)?$`)

func termURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && hosts.MatchString(u.Host) && u.User == nil
}

// authorisation is what a payer is asked to confirm.
func (a *Acquirer) authorisation(id string) (authorisation, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.book.authorisations[id]
	return found, ok && found.Challenge == askedBy3DS
}
