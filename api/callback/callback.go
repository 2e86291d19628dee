// Package callback is where clients say where callbacks go, and see what became of them:
// endpoints, which they register, change and test; and the log, from which they have
// callbacks sent again.
//
// It is for a client's own token, with the scope callbacks: a user who is logged in by way of
// a client has no business here. A client sees its own, and nothing tells it whether what it
// asks for is somebody else's. The secret of an endpoint is shown when it is made, and in the
// stored answer to that request; never again. A body is refused unless it can be read in one
// way only, and where it has a member that is not known: a misspelt eventTypes would have
// everything sent.
//
// What is sent, and how it is checked, is in README.md.
package callback

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/quittance/quittance/api"
	"github.com/quittance/quittance/store"
)

// books is what this API needs of the store.
type books interface {
	Endpoint(ctx context.Context, client int64, id store.EndpointID) (store.Endpoint, error)
	Endpoints(ctx context.Context, client int64, page store.Page[store.EndpointID]) ([]store.Endpoint, error)
	CreateEndpoint(ctx context.Context, client int64, settings store.EndpointSettings, by store.EndpointCommand) (store.Endpoint, error)
	ChangeEndpoint(context.Context, store.EndpointSettings, store.EndpointCommand) (store.Endpoint, error)
	RotateSecret(context.Context, store.EndpointCommand) (store.Endpoint, error)
	DeleteEndpoint(context.Context, store.EndpointCommand) error
	TestEndpoint(context.Context, store.EndpointTest) (store.Answer, error)

	Callback(ctx context.Context, client int64, id store.OperationID) (store.CallbackStory, error)
	Callbacks(context.Context, store.CallbackFilter) ([]store.CallbackRecord, error)
	ReplayCallback(context.Context, store.CallbackReplay) (store.Answer, error)
}

// callers says who calls: somebody who may use this API, or an error.
type callers interface {
	Allowed(c *gin.Context, rights ...string) (store.Caller, error)
}

// Config is what the API is built from.
type Config struct {
	Books     books
	Waiter    *api.Waiter
	Callers   callers
	AllowHTTP bool // endpoints may be plain http; for development
}

// New returns the API.
func New(cfg Config) api.API {
	const (
		endpoints = "/v1/callback-endpoints"
		endpoint  = endpoints + "/:id"
		callbacks = "/v1/callbacks"
		callback  = callbacks + "/:id"
		client    = "a client, scope callbacks"
	)
	h := &handlers{Config: cfg}
	route := func(method, path string, handle func(*gin.Context, store.Caller) error) api.Route {
		return api.Route{Method: method, Path: path, Who: client, Handle: h.by(handle)}
	}
	return api.API{
		Prefix:   "/v1/callback",
		Mistake:  http.StatusBadRequest,
		Shape:    api.PlainShape,
		Refusals: refusals,
		Routes: []api.Route{
			route(http.MethodGet, endpoints, h.listEndpoints),
			route(http.MethodPost, endpoints, h.createEndpoint),
			route(http.MethodGet, endpoint, h.showEndpoint),
			route(http.MethodPatch, endpoint, h.changeEndpoint),
			route(http.MethodDelete, endpoint, h.deleteEndpoint),
			route(http.MethodPost, endpoint+"/rotate-secret", h.rotateSecret),
			route(http.MethodPost, endpoint+"/test", h.testEndpoint),
			route(http.MethodGet, callbacks, h.listCallbacks),
			route(http.MethodGet, callback, h.showCallback),
			route(http.MethodPost, callback+"/replay", h.replayCallback),
		},
	}
}

type handlers struct{ Config }

var errUserToken = &api.Refusal{Status: http.StatusForbidden, Code: "client_token_needed", Message: "This is for the client's own token, without a user."}

// by lets a handler answer clients.
func (h *handlers) by(handle func(*gin.Context, store.Caller) error) api.Handler {
	return func(c *gin.Context) error {
		caller, err := h.Callers.Allowed(c)
		if err != nil {
			return err
		}
		if caller.User != 0 {
			return errUserToken
		}
		c.Header("Cache-Control", "no-store") // an answer may hold a secret
		return named(handle(c, caller))
	}
}

// named says which field the store does not accept.
func named(err error) error {
	var wrong *store.FieldError
	if errors.As(err, &wrong) {
		return invalid(api.Problems{wrong.Field: wrong.Problem})
	}
	return err
}

func invalid(problems api.Problems) error {
	if len(problems) == 0 {
		return nil
	}
	return &api.Refusal{Code: "invalid", Message: "The request is not as documented: see fields.", Fields: problems}
}

// refusals are the store's errors that are the client's.
var refusals = []api.Case{
	{Err: store.ErrEndpointNotFound, Refusal: api.Refusal{Status: http.StatusNotFound, Code: "endpoint_not_found", Message: "There is no endpoint with this id."}},
	{Err: store.ErrCallbackNotFound, Refusal: api.Refusal{Status: http.StatusNotFound, Code: "callback_not_found", Message: "There is no callback with this id."}},
	{Err: store.ErrEndpointsFull, Refusal: api.Refusal{Status: http.StatusConflict, Code: "too_many_endpoints", Message: "There are 20 endpoints: delete one first."}},
	{Err: store.ErrNotRegistered, Refusal: api.Refusal{Status: http.StatusConflict, Code: "not_registered", Message: "This endpoint was made by an invoice's callbackUrl: it can be enabled, disabled and limited."}},
	{Err: store.ErrEndpointForbidden, Refusal: api.Refusal{Status: http.StatusConflict, Code: "disabled_by_operator", Message: "An operator disabled this endpoint, and only an operator enables it."}},
	{Err: store.ErrCallbackHeld, Refusal: api.Refusal{Status: http.StatusConflict, Code: "endpoint_disabled", Message: "The endpoint is disabled: what is held is sent once it is enabled."}},
	{Err: store.ErrCallbackUnwanted, Refusal: api.Refusal{Status: http.StatusConflict, Code: "unwanted", Message: "The endpoint is deleted, or the invoice's callbackUrl answered 410 Gone."}},
	api.TooLarge,
}

// once reads the Idempotency-Key. A key belongs to the client.
func once(c *gin.Context, by store.Caller, body []byte, answer store.Answer) (store.Once, error) {
	return api.Once(c, fmt.Sprintf("client %d user 0", by.Client), body, answer)
}

// object reads a body that is a JSON object with no members but these.
func object(c *gin.Context, known ...string) (api.Object, []byte, error) {
	text, err := api.Body(c)
	if err != nil {
		return nil, nil, err
	}
	o, wrong := api.ParseObject(text)
	if wrong != "" {
		return nil, nil, invalid(api.Problems{"body": wrong})
	}
	problems := api.Problems{}
	for name := range o {
		problems.Check(name, slices.Contains(known, name), "is not known")
	}
	return o, text, invalid(problems)
}

// nothingIn accepts a body that says nothing: none, white space, or an empty object.
func nothingIn(c *gin.Context) error {
	text, err := api.Body(c)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	o, wrong := api.ParseObject(text)
	problems := api.Problems{}
	problems.Check("body", wrong == "" && len(o) == 0, "must be empty")
	return invalid(problems)
}
