// Package api is the HTTP side that the public APIs share: the router, limits, one place
// that turns an error into an answer, idempotency, waiting, and one log line per request.
//
// It validates and makes one call of the store, which commits the command or nothing. It
// never publishes: the relay finds what was committed. A client's mistake is answered in
// the shape of the API that it called and is never a 5xx; what is not listed as a refusal
// is ours, and the client learns nothing about it.
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/trace"
)

// Handler answers a request, or returns why it does not.
type Handler func(*gin.Context) error

// Route is one row of an API's table.
type Route struct {
	Method string
	Path   string
	Who    string // who may call it, for the reader
	Handle Handler
}

// API is one public API: its routes, and how it words what it refuses.
type API struct {
	Prefix   string // of its paths: unknown ones below it are answered in its shape
	Routes   []Route
	Mistake  int    // the status of a refusal that names no other
	Refusals []Case // errors of the store that are the client's
	Shape    func(Refusal) any
	Render   func(*gin.Context, Refusal) // instead of Shape, where refusals are pages
}

// Case says which refusal an error is.
type Case struct {
	Err     error
	Refusal Refusal
}

// Config is what all APIs share.
type Config struct {
	CORSOrigins    []string // "*" for any
	TrustedProxies []string // whose X-Forwarded-For is believed; none by default
	Log            *slog.Logger
	Metrics        *Metrics
	Traces         trace.TracerProvider // nil: nothing is traced
}

// requestTimeout is what a request may take, apart from waiting that it asked for.
const requestTimeout = 10 * time.Second

// New builds the router of the APIs.
func New(cfg Config, apis ...API) (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.HandleMethodNotAllowed = true
	engine.RedirectTrailingSlash = false
	if err := engine.SetTrustedProxies(cfg.TrustedProxies); err != nil {
		return nil, fmt.Errorf("trusted proxies: %w", err)
	}
	r := &router{cfg: cfg, apis: apis}
	if cfg.Traces != nil {
		engine.Use(newTracing(cfg.Traces, cfg.TrustedProxies).trace)
	}
	engine.Use(r.identify, r.observe, r.recover, r.cors, r.limit)
	for _, a := range apis {
		for _, route := range a.Routes {
			engine.Handle(route.Method, route.Path, r.adapt(a, route.Handle))
			if route.Method == http.MethodGet {
				engine.Handle(http.MethodHead, route.Path, r.adapt(a, route.Handle)) // the server leaves out the body
			}
			cfg.Metrics.show(route.Path)
		}
	}
	engine.NoRoute(r.unknown(http.StatusNotFound, "not_found", "There is nothing at this address."))
	engine.NoMethod(r.unknown(http.StatusMethodNotAllowed, "method_not_allowed", "This address does not take this method."))
	return engine, nil
}

type router struct {
	cfg  Config
	apis []API
}

func (r *router) adapt(a API, handle Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := handle(c); err != nil {
			answerError(c, a, err)
		}
	}
}

func (r *router) unknown(status int, code, message string) gin.HandlerFunc {
	return func(c *gin.Context) {
		answerError(c, r.apiOf(c.Request.URL.Path), &Refusal{Status: status, Code: code, Message: message})
	}
}

// apiOf finds whose address it is, or would be.
func (r *router) apiOf(path string) API {
	for _, a := range r.apis {
		if strings.HasPrefix(path, a.Prefix) {
			return a
		}
	}
	return API{Mistake: http.StatusBadRequest, Shape: PlainShape}
}
