package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/getkin/kin-openapi/openapi3filter"
)

// checkRequest reports a request that succeeded though the document forbids it. What is
// refused may be anything: tests send nonsense on purpose.
func (e exchange) checkRequest(asked *openapi3filter.RequestValidationInput) error {
	if e.status >= 400 || e.refused() {
		return nil
	}
	r := asked.Request
	r.Body = io.NopCloser(bytes.NewReader(e.sent))
	if body := asked.Route.Operation.RequestBody; body != nil && len(body.Value.Content) == 1 && body.Value.Content.Get("application/json") != nil {
		r.Header.Set("Content-Type", "application/json") // which nobody must say where there is nothing else
	}
	if err := openapi3filter.ValidateRequest(context.Background(), asked); err != nil {
		return fmt.Errorf("a request that is not as documented succeeds: %w", err)
	}
	return nil
}

// refused says that a body is a refusal whatever the status is.
func (e exchange) refused() bool {
	var envelope struct{ Status, Error json.RawMessage }
	_ = json.Unmarshal(e.body, &envelope) // what is no object is no refusal either
	return string(envelope.Status) == `"error"` || string(envelope.Status) == "0"
}
