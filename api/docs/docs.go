// Package docs shows the OpenAPI document: as it is at /openapi.yaml, and at /docs as a page on
// which calls can be tried.
//
// The page is Swagger UI. Nothing is loaded from elsewhere, nothing in the page's address
// configures it, and the browser is told so. Files are kept compressed; whoever does not
// accept that gets them plain.
package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
)

// swagger-ui-dist 5.35.0, of which the two large files are compressed with gzip -9n.
//
//go:embed docs.html docs.js docs.css swagger-ui-dist/*.gz
var files embed.FS

// New returns the document and the page, each below a prefix of its own.
func New() []api.API {
	page := []file{
		{"/docs", "text/html; charset=utf-8", compressed(embedded("docs.html"))},
		{"/docs/docs.js", "text/javascript; charset=utf-8", compressed(embedded("docs.js"))},
		{"/docs/docs.css", "text/css; charset=utf-8", compressed(embedded("docs.css"))},
		{"/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", embedded("swagger-ui-dist/swagger-ui-bundle.js.gz")},
		{"/docs/swagger-ui.css", "text/css; charset=utf-8", embedded("swagger-ui-dist/swagger-ui.css.gz")},
	}
	document := file{"/openapi.yaml", "application/yaml; charset=utf-8", compressed([]byte(api.Document))}
	return []api.API{below("/docs", page...), below("/openapi.yaml", document)}
}

func below(prefix string, files ...file) api.API {
	a := api.API{Prefix: prefix, Mistake: http.StatusBadRequest, Shape: api.PlainShape}
	for _, f := range files {
		a.Routes = append(a.Routes, api.Route{Method: http.MethodGet, Path: f.path, Who: "anyone", Handle: f.handler()})
	}
	return a
}

// file is what is served at a path.
type file struct {
	path, kind string
	zipped     []byte
}

func embedded(name string) []byte {
	content, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return content
}

func compressed(content []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that there is
	_, _ = w.Write(content)                               // a buffer takes all
	_ = w.Close()
	return b.Bytes()
}

// policy lets the page load its own files and ask its own server, and nothing else. Swagger
// UI has pictures in its style (data:) and shows those that a call is answered with (blob:).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// handler sends the file. A browser keeps it, and asks each time whether it has changed.
func (f file) handler() api.Handler {
	sum := sha256.Sum256(f.zipped)
	tag := `W/"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"` // weak: of both encodings
	return func(c *gin.Context) error {
		c.Header("Content-Security-Policy", policy)
		c.Header("X-Content-Type-Options", "nosniff")
		c.Header("Referrer-Policy", "no-referrer")
		c.Header("Cache-Control", "no-cache")
		c.Header("ETag", tag)
		c.Writer.Header().Add("Vary", "Accept-Encoding")
		if c.GetHeader("If-None-Match") == tag {
			c.Status(http.StatusNotModified)
			return nil
		}
		if acceptsGzip(c.Request) {
			c.Header("Content-Encoding", "gzip")
			c.Data(http.StatusOK, f.kind, f.zipped)
			return nil
		}
		plain, err := f.plain()
		if err != nil {
			return err
		}
		c.Data(http.StatusOK, f.kind, plain)
		return nil
	}
}

func (f file) plain() ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(f.zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// acceptsGzip says that gzip is named, and not with the weight 0 (RFC 9110, 12.5.3).
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		coding, parameter, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			continue
		}
		weight, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(parameter), "q="), 64)
		return err != nil || weight > 0
	}
	return false
}
