package docs_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/api/docs"
)

func open(t *testing.T) http.Handler {
	t.Helper()
	h, err := api.New(api.Config{Log: slog.New(slog.DiscardHandler), Metrics: api.NewMetrics()}, docs.New()...)
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Checked(t, h)
}

// get asks for a path; headers come in pairs.
func get(h http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheDocumentIsServedAsItIs(t *testing.T) {
	t.Parallel()
	w := get(open(t), "/openapi.yaml")
	if w.Code != 200 || w.Body.String() != api.Document || w.Header().Get("Content-Type") != "application/yaml; charset=utf-8" {
		t.Errorf("%d %v, %d bytes of %d", w.Code, w.Header(), w.Body.Len(), len(api.Document))
	}
}

func TestAFileIsCompressedForWhoeverAcceptsIt(t *testing.T) {
	t.Parallel()
	h := open(t)
	for accepted, want := range map[string]string{
		"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "deflate,gzip ; q=1": "gzip",
		"": "", "br": "", "gzip;q=0": "", "identity, gzip; q=0.0": "",
	} {
		w := get(h, "/docs/swagger-ui.css", "Accept-Encoding", accepted)
		if got := w.Header().Get("Content-Encoding"); got != want || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: the encoding is %q, want %q", accepted, got, want)
		}
	}
}

func TestWhatABrowserHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	h := open(t)
	for _, path := range []string{"/docs", "/docs/docs.js", "/docs/docs.css", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/openapi.yaml"} {
		first := get(h, path)
		again := get(h, path, "If-None-Match", first.Header().Get("ETag"))
		if first.Code != 200 || again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s: %d, then %d with %d bytes", path, first.Code, again.Code, again.Body.Len())
		}
		if csp := first.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
	}
	if w := get(h, "/docs/none"); w.Code != 404 || !strings.Contains(w.Body.String(), `"code":"not_found"`) {
		t.Errorf("another address: %d %s", w.Code, w.Body)
	}
}

// The sums are those of the files in the published package swagger-ui-dist 5.35.0.
func TestSwaggerUIIsThePublishedOne(t *testing.T) {
	t.Parallel()
	h := open(t)
	for path, want := range map[string]string{
		"/docs/swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
		"/docs/swagger-ui.css":       "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
	} {
		r, err := gzip.NewReader(get(h, path, "Accept-Encoding", "gzip").Body)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != want {
			t.Errorf("%s has the sum %s, want %s", path, got, want)
		}
	}
}
