package apitest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Checked is an API whose answers are held to the document.
func Checked(t testing.TB, h http.Handler) http.Handler {
	t.Helper()
	d := open(t)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := exchange{request: r, sent: take(t, &r.Body)}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		e.status, e.header, e.body = answer.Code, answer.Header(), answer.Body.Bytes()
		report(t, d, e)

		for name, values := range e.header {
			w.Header()[name] = values
		}
		w.WriteHeader(e.status)
		_, _ = w.Write(e.body) // a reader that went away has nobody to be told
	})
}

// Transport is one whose answers are held to the document. What they are answered is read
// whole before they are given on.
func Transport(t testing.TB, around http.RoundTripper) http.RoundTripper {
	t.Helper()
	return &transport{t, open(t), around}
}

type transport struct {
	t      testing.TB
	d      document
	around http.RoundTripper
}

// RoundTrip leaves a request that is not answered, or not to its end, as it is: a test may
// have killed the server.
func (c *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	e := exchange{request: r, sent: take(c.t, &r.Body)}
	resp, err := c.around.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	e.status, e.header, e.body = resp.StatusCode, resp.Header, body
	report(c.t, c.d, e)
	return resp, nil
}

// CloseIdleConnections lets a client close those of the transport around which this is.
func (c *transport) CloseIdleConnections() {
	(&http.Client{Transport: c.around}).CloseIdleConnections()
}

func open(t testing.TB) document {
	t.Helper()
	d, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// take reads a body and puts it back.
func take(t testing.TB, body *io.ReadCloser) []byte {
	if *body == nil {
		return nil
	}
	sent, err := io.ReadAll(*body)
	if err != nil {
		t.Errorf("the request's body: %v", err)
	}
	*body = io.NopCloser(bytes.NewReader(sent))
	return sent
}

func report(t testing.TB, d document, e exchange) {
	t.Helper()
	if err := e.check(d); err != nil {
		t.Errorf("not as documented: %v\n%s", err, e)
	}
}
