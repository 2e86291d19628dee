package acquirer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 64 << 10

// What went wrong with an answer, without a word of it: it may repeat what was sent.
var (
	errNotUnderstood = errors.New("the answer is not understood")
	errCut           = errors.New("the connection was cut, or the answer is not HTTP")
	errTooLong       = errors.New("the answer is too long")
)

func (c *Client) post(ctx context.Context, call, id string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %w", call, id, ErrNotSent, err)
	}
	if err := c.exchange(ctx, http.MethodPost, call, content, answer); err != nil {
		return fmt.Errorf("%s %s: %w", call, id, err)
	}
	return nil
}

// exchange makes one request, once.
func (c *Client) exchange(ctx context.Context, method, path string, content []byte, answer any) (err error) {
	ctx, span := c.beginSpan(ctx, method, path)
	defer func() { endSpan(span, err) }()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var body latch
	req, err := c.request(ctx, method, path, content, &body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unanswered(err, body.shut())
	}
	defer resp.Body.Close()
	span.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return refused(resp.StatusCode, said)
	case err != nil:
		return withoutContent(err)
	case len(said) > maxAnswer:
		return errTooLong
	case answer != nil && json.Unmarshal(said, answer) != nil:
		return errNotUnderstood
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, content []byte, body *latch) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if content == nil {
		return req, nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = int64(len(content))
	req.Body = io.NopCloser(latched{bytes.NewReader(content), body})
	return req, nil
}

// latch knows whether a request's body has begun to leave, and can keep it from ever doing
// so: a request that was given up may still be on its way to the transport's writer.
type latch struct{ state atomic.Int32 }

const (
	begun = iota + 1
	shut
)

// shut returns true if nothing of the body has left, nor ever will.
func (l *latch) shut() bool { return l.state.CompareAndSwap(0, shut) }

// latched is a body behind its latch.
type latched struct {
	io.Reader
	latch *latch
}

func (b latched) Read(p []byte) (int, error) {
	if !b.latch.state.CompareAndSwap(0, begun) && b.latch.state.Load() == shut {
		return 0, io.ErrClosedPipe
	}
	return b.Reader.Read(p)
}

// unanswered is the error of a request that got no answer. Nobody acts upon a call without its
// body: if that did not leave, nothing was done.
func unanswered(err error, unsent bool) error {
	if unsent {
		return fmt.Errorf("%w: %w", ErrNotSent, withoutContent(err))
	}
	return withoutContent(err)
}

// withoutContent keeps of an error what cannot repeat what was sent, by this call or another.
func withoutContent(err error) error {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &certificate):
		return certificate
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	default:
		return errCut
	}
}

// codes are what errors show of a refusal.
var codes = regexp.MustCompile(`^[a-z_]{1,40}$`)

// refused is the error of an answer other than 200. A 422 is about the call's form only where
// it says so: the acquirer also refuses another call under an id that it knows, and what the
// first did must be inquired about.
func refused(status int, said []byte) error {
	var body struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(said, &body) != nil || !codes.MatchString(body.Code) {
		body.Code = "no code"
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return fmt.Errorf("%w: status %d, %s", ErrRefused, status, body.Code)
	case http.StatusUnprocessableEntity:
		if body.Code == "malformed" {
			return fmt.Errorf("%w: status %d, %s", ErrRefused, status, body.Code)
		}
	}
	return fmt.Errorf("status %d, %s", status, body.Code)
}
