package api

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

const (
	requestIDHeader = "X-Request-Id"
	refusedKey      = "refused" // under which the log line finds why
)

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identify gives the request the id by which its log line is found: the caller's where it
// sent a sane one.
func (r *router) identify(c *gin.Context) {
	id := c.GetHeader(requestIDHeader)
	if !saneRequestID.MatchString(id) {
		id = uuid.NewString()
	}
	c.Header(requestIDHeader, id)
	c.Next()
}

// observe writes the request's log line and counts it. The path is that of the route: the
// real one may hold a session id, which is a credential.
func (r *router) observe(c *gin.Context) {
	started := time.Now()
	c.Next()
	took := time.Since(started)
	route := c.FullPath()
	if route == "" {
		route = "unknown"
	}
	status := c.Writer.Status()
	r.cfg.Metrics.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	r.cfg.Metrics.seconds.WithLabelValues(route).Observe(took.Seconds())

	line := []any{
		"request", c.Writer.Header().Get(requestIDHeader), "method", c.Request.Method, "route", route,
		"status", status, "took_ms", took.Milliseconds(), "bytes", c.Writer.Size(), "from", c.ClientIP(),
		"operation", c.Writer.Header().Get(operationHeader), "refused", c.GetString(refusedKey),
	}
	if s := trace.SpanContextFromContext(c.Request.Context()); s.IsValid() {
		line = append(line, "trace", s.TraceID().String())
	}
	if ours := c.Errors.Last(); ours != nil {
		r.cfg.Log.Error("request", append(line, "error", ours.Err)...)
		return
	}
	r.cfg.Log.Info("request", line...)
}

// recover answers a panic of ours as what it is.
func (r *router) recover(c *gin.Context) {
	defer func() {
		if p := recover(); p != nil {
			answerError(c, r.apiOf(c.Request.URL.Path), fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			c.Abort()
		}
	}()
	c.Next()
}

// cors allows browsers what the original allowed them.
func (r *router) cors(c *gin.Context) {
	origin := c.GetHeader("Origin")
	switch {
	case slices.Contains(r.cfg.CORSOrigins, "*"):
		c.Header("Access-Control-Allow-Origin", "*")
	case slices.Contains(r.cfg.CORSOrigins, origin):
		c.Header("Access-Control-Allow-Origin", origin)
		c.Header("Vary", "Origin")
	}
	c.Header("Access-Control-Expose-Headers", "Operation-Id, Operation-Status, Location, Idempotent-Replayed, Retry-After, X-Request-Id")
	if c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != "" {
		c.Header("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS")
		c.Header("Access-Control-Allow-Headers", "*, Authorization") // which the star does not stand for (Fetch, 4.9)
		c.Header("Access-Control-Max-Age", "3600")
		c.AbortWithStatus(http.StatusNoContent)
		return
	}
	c.Next()
}

// maxBody is 1 MiB.
const maxBody = 1 << 20

// limit bounds the body and the time.
func (r *router) limit(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, maxBody)
	ctx, cancel := context.WithTimeout(c.Request.Context(), requestTimeout+PreferredWait(c))
	defer cancel()
	c.Request = c.Request.WithContext(ctx)
	c.Next()
}
