package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	dialTimeout   = 5 * time.Second
	headerTimeout = 10 * time.Second // most of what FCM does itself has 10 s
	tokenTimeout  = 8 * time.Second  // of one call of a token endpoint
	// sendTimeout is longer than a token, a connection and an answer may take together, so
	// that whatever went wrong is known by its own name.
	sendTimeout = 25 * time.Second
)

// The transport leaves word of itself in these headers.
const (
	originalRetryAfter = "X-Original-Retry-After"
	transportError     = "X-Transport-Error"
)

// maxAnswer is far beyond what FCM answers, in bytes.
const maxAnswer = 64 << 10

// once is the outermost transport of the SDK, with the credentials inside it. The SDK calls
// five times where it gets a 503, or no answer, the second time at once: FCM knows no
// idempotency key, so each of them may be a notification more, and ours is the queue that
// tries again. A 503 whose Retry-After is longer than two minutes, and any other answer, it
// takes as it is: so that is what it gets.
type once struct{ base http.RoundTripper }

// RoundTrip makes one call. Its error says that the caller has given up; whatever else happens
// is an answer.
func (o once) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := o.base.RoundTrip(r)
	if err == nil {
		err = readAll(resp) // here: a connection that is cut within the body is one more reason to call again
	}
	_, refused := errors.AsType[*credentialError](err)
	switch {
	case err != nil && errors.Is(r.Context().Err(), context.Canceled):
		return nil, r.Context().Err()
	case refused: // even if that took all of the call's time: the message is not to blame
		return substitute(r, http.StatusUnauthorized, "UNAUTHENTICATED", err), nil
	case err != nil && r.Context().Err() != nil:
		return nil, err
	case err != nil:
		return substitute(r, http.StatusBadGateway, "UNAVAILABLE", err), nil
	case resp.StatusCode == http.StatusServiceUnavailable:
		resp.Header.Set(originalRetryAfter, resp.Header.Get("Retry-After"))
		resp.Header.Set("Retry-After", strconv.Itoa(int((24 * time.Hour).Seconds())))
	}
	return resp, nil
}

// readAll reads the answer's body. Success that does not name the message, and any redirect,
// come from somebody else than FCM.
func readAll(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close() // everything of interest has been read
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if resp.StatusCode >= http.StatusBadRequest {
		return nil
	}
	var sent struct{ Name string }
	if resp.StatusCode >= http.StatusMultipleChoices || json.Unmarshal(body, &sent) != nil || sent.Name == "" {
		return fmt.Errorf("an answer with status %d that is not FCM's", resp.StatusCode)
	}
	return nil
}

// substitute answers in FCM's place.
func substitute(r *http.Request, status int, code string, err error) *http.Response {
	body, _ := json.Marshal(map[string]any{ // strings and a number
		"error": map[string]any{"code": status, "status": code, "message": err.Error()},
	})
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}, transportError: {"1"}},
		Body:   io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}
}

// newTransport holds as many connections as there are calls at once.
func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	t.TLSHandshakeTimeout = dialTimeout
	t.ResponseHeaderTimeout = headerTimeout
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 2*atOnce, 2*atOnce
	return t
}
