package acquirertest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// browse sends a payer to the bank.
func browse(s *acquirertest.Server, method, language string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/acquirer/3ds?"+form.Encode(), nil)
	if method == http.MethodPost {
		r = httptest.NewRequest(method, "/acquirer/3ds", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	s.Acquirer().ServeHTTP(w, r)
	return w
}

func TestTheBanksPage(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	got, err := client(t, s).Authorise(t.Context(), "a", pay(secure, 12345))
	if err != nil || got.Challenge == nil || got.Challenge.URL != s.URL()+"/3ds" {
		t.Fatalf("%+v, %v", got, err)
	}
	form := url.Values{"PaReq": {got.Challenge.Form["PaReq"]}, "TermUrl": {"http://127.0.0.1:8000/i/1?x=1&y=2"}, "MD": {`"><script>alert(1)</script>`}}
	for _, r := range []struct{ name, method, language, lang, title string }{
		{"English", http.MethodPost, "en-GB,en;q=0.8", "en", "Confirm the payment"},
		{"Ukrainian", http.MethodPost, "uk,en;q=0.8", "uk", "Підтвердьте платіж"},
		{"Ukrainian before English", http.MethodPost, "de, en;q=0.5, uk-UA;q=0.9", "uk", "Підтвердьте платіж"},
		{"neither", http.MethodPost, "de", "en", "Confirm the payment"},
		{"by a link", http.MethodGet, "", "en", "Confirm the payment"},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := browse(s, r.method, r.language, form)
			page := w.Body.String()
			if w.Code != http.StatusOK || w.Header().Get("Content-Language") != r.lang {
				t.Errorf("%d, in %q", w.Code, w.Header().Get("Content-Language"))
			}
			for _, want := range []string{
				`lang="` + r.lang + `"`, r.title, "123.45 UAH", "400000 •••• 3220", `name="PaRes"`, `value="CANCELED"`,
				`action="http://127.0.0.1:8000/i/1?x=1&amp;y=2"`, `value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"`, `<label for="code">`,
			} {
				if !strings.Contains(page, want) {
					t.Errorf("the page has no %s:\n%s", want, page)
				}
			}
			policy := w.Header().Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "form-action http://127.0.0.1:8000;", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("the policy has no %s: %s", want, policy)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(page, "<script") || strings.Contains(page, "style=") {
				t.Errorf("the page can be made to run something: %s\n%s", policy, page)
			}
		})
	}
}

func TestTheBankKnowsWhereToGo(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	for _, term := range []string{
		"", "/i/1", "javascript:alert(1)", "ftp://127.0.0.1/", "http://", "http://a;script-src *", "http://a;b/", "http://a,b/", "http://user@a/", "data:text/html,x",
	} {
		if w := browse(s, http.MethodPost, "", url.Values{"TermUrl": {term}}); w.Code != http.StatusBadRequest {
			t.Errorf("%q: %d, want %d", term, w.Code, http.StatusBadRequest)
		}
	}
	for _, term := range []string{"https://pay.example.org/i/1", "http://[::1]:8000/i/1"} {
		w := browse(s, http.MethodPost, "", url.Values{"TermUrl": {term}, "PaReq": {"nobody's"}})
		if w.Code != http.StatusOK || strings.Contains(w.Body.String(), "<dl>") {
			t.Errorf("%q: %d\n%s", term, w.Code, w.Body)
		}
	}
}

// The code that the page posts as PaRes is what confirms.
func TestWhatThePagePostsConfirms(t *testing.T) {
	t.Parallel()
	s := acquirertest.Start(t, acquirertest.Config{})
	c := client(t, s)
	told(authorise("a", pay(secure, 1))(t.Context(), c))
	if got := told(c.Confirm(t.Context(), "f", acquirer.Confirmation{Payment: payment, Of: "a", Code: "1234"})); got != "approved" {
		t.Errorf("the page's code: %s", got)
	}
}
