// Package apitest holds what is sent to the OpenAPI document: each answer of a test's API,
// each callback that a test's partner gets. What the document does not say fails the test: a
// status, a header, a member too many or too few. So does a success that answers a request
// which the document forbids.
//
// An address that the document does not have is not looked at: that each route is there is a
// test of its own.
package apitest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/quittance/quittance/api"
)

// document is the OpenAPI document, and finds what it says about a request.
type document struct {
	*openapi3.T
	routes routers.Router
}

var load = sync.OnceValues(func() (document, error) {
	all, err := openapi3.NewLoader().LoadFromData([]byte(api.Document))
	if err != nil {
		return document{}, fmt.Errorf("load the document: %w", err)
	}
	for _, path := range all.Paths.Map() {
		path.Servers = nil // in tests everything is at some address of its own
	}
	routes, err := gorillamux.NewRouter(all)
	return document{all, routes}, err
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
	asked, err := e.asked(d)
	if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) {
		return nil
	}
	if err != nil {
		return err
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: asked, Status: e.status, Header: e.header, Options: asked.Options,
	}
	if e.request.Method != http.MethodHead {
		answer.SetBodyBytes(e.body)
		if err := openapi3filter.ValidateResponse(context.Background(), answer); err != nil {
			return err
		}
	}
	if err := e.checkUndocumented(asked.Route.Operation.Responses.Status(e.status)); err != nil {
		return err
	}
	return e.checkRequest(asked)
}

// asked finds what the document says about the request.
func (e exchange) asked(d document) (*openapi3filter.RequestValidationInput, error) {
	r := e.request.Clone(context.Background())
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // whose twin it is
	}
	route, params, err := d.routes.FindRoute(r)
	return &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}, err
}

// telling are the headers that tell a client something: each is documented wherever it is.
var telling = []string{
	"X-Request-Id", "Operation-Id", "Operation-Status", "Location", "Idempotent-Replayed", "Retry-After", "WWW-Authenticate", "ETag",
}

// checkUndocumented reports what is in an answer and not in the document.
func (e exchange) checkUndocumented(documented *openapi3.ResponseRef) error {
	if documented == nil {
		return fmt.Errorf("the status %d is not documented", e.status)
	}
	for _, name := range telling {
		if _, known := documented.Value.Headers[name]; !known && e.header.Get(name) != "" {
			return fmt.Errorf("the header %s is not documented", name)
		}
	}
	if len(documented.Value.Content) == 0 && len(e.body) > 0 {
		return errors.New("a body is not documented")
	}
	return nil
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
