// Package apitest holds what is sent to the OpenAPI document: each answer of a test's API,
// each callback that a test's partner gets. What the document does not say fails the test: a
// status, a header, a member too many or too few. So does a success that answers a request
// which the document forbids.
//
// An address that the document does not have is not looked at: that each route is there is a
// test of its own. Of a request only the body is held to it.
//
// openapi3filter would do most of this, and would compile each schema again for each answer,
// which takes the tests minutes.
package apitest

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/quittance/quittance/api"
)

// document is the OpenAPI document, and finds what it says about a request.
type document struct {
	*openapi3.T
	routes  routers.Router
	schemas *schemas
}

var load = sync.OnceValues(func() (document, error) {
	all, err := openapi3.NewLoader().LoadFromData([]byte(api.Document))
	if err != nil {
		return document{}, fmt.Errorf("load the document: %w", err)
	}
	for _, path := range all.Paths.Map() {
		if len(path.Servers) > 0 {
			path.Servers = openapi3.Servers{{URL: "/"}} // in tests everything is at some address of its own
		}
	}
	known, err := newSchemas(all)
	if err != nil {
		return document{}, err
	}
	routes, err := gorillamux.NewRouter(all)
	return document{all, routes, known}, err
})

// exchange is a request and what it was answered.
type exchange struct {
	request *http.Request
	sent    []byte
	status  int
	header  http.Header
	body    []byte
}

func (e exchange) String() string {
	return fmt.Sprintf("%s %s %.500s is answered %d %v %.2000s", e.request.Method, e.request.URL, e.sent, e.status, e.header, e.body)
}

// check returns what the document does not allow.
func (e exchange) check(d document) error {
	r := *e.request
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // whose twin it is
	}
	route, _, err := d.routes.FindRoute(&r)
	if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.status == http.StatusNotFound && len(route.PathItem.Servers) > 0 {
		return nil // it is another server's
	}
	documented := route.Operation.Responses.Status(e.status)
	if documented == nil {
		return fmt.Errorf("the status %d is not documented", e.status)
	}
	return errors.Join(e.checkHeader(d, documented.Value), e.checkBody(d, documented.Value), e.checkRequest(d, route.Operation))
}

// telling are the headers that tell a client something: each is documented wherever it is.
var telling = []string{
	"X-Request-Id", "Operation-Id", "Operation-Status", "Location", "Idempotent-Replayed", "Retry-After", "WWW-Authenticate", "ETag",
}

func (e exchange) checkHeader(d document, documented *openapi3.Response) error {
	for _, name := range telling {
		if _, known := documented.Headers[name]; !known && e.header.Get(name) != "" {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	for name, h := range documented.Headers {
		value := e.header.Get(name)
		if value == "" && !h.Value.Required {
			continue
		}
		if err := d.schemas.validate(h.Value.Schema, ofText(h.Value.Schema, value)); err != nil {
			return fmt.Errorf("the header %s: %w", name, err)
		}
	}
	return nil
}

func (e exchange) checkBody(d document, documented *openapi3.Response) error {
	switch {
	case e.request.Method == http.MethodHead:
		return nil
	case len(documented.Content) == 0 && len(e.body) > 0:
		return errors.New("a body is not documented")
	case len(documented.Content) == 0:
		return nil
	}
	kind, _, err := mime.ParseMediaType(e.header.Get("Content-Type"))
	content, known := documented.Content[kind]
	switch {
	case err != nil || !known:
		return fmt.Errorf("the Content-Type %q is not documented", e.header.Get("Content-Type"))
	case content.Schema == nil: // a page, a picture
		return nil
	case kind != "application/json":
		return d.schemas.validate(content.Schema, string(e.body))
	}
	return d.schemas.validateJSON(content.Schema, e.body)
}

// Operations are those of the document, as "GET /path/{id}", with their descriptions.
func Operations(t testing.TB) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for path, item := range open(t).Paths.Map() {
		for method, o := range item.Operations() {
			all[method+" "+path] = o.Description
		}
	}
	return all
}
