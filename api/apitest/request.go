package apitest

import (
	"encoding/json"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"
)

// checkRequest reports a body that was accepted though the document forbids it. What is
// refused may be anything: tests send nonsense on purpose. A form's fields are texts, which
// say nothing that a schema could forbid.
func (e exchange) checkRequest(d document, o *openapi3.Operation) error {
	if o.RequestBody == nil || len(e.sent) == 0 || e.status >= 300 || e.refused() || !json.Valid(e.sent) {
		return nil
	}
	content := o.RequestBody.Value.Content["application/json"]
	if content == nil {
		return nil
	}
	if err := d.schemas.validateJSON(content.Schema, e.sent); err != nil {
		return fmt.Errorf("a request that is not as documented succeeds: %w", err)
	}
	return nil
}

// refused says that a body is a refusal whatever the status is.
func (e exchange) refused() bool {
	var envelope struct{ Status json.RawMessage }
	_ = json.Unmarshal(e.body, &envelope) // what is no object is no refusal either
	return string(envelope.Status) == `"error"` || string(envelope.Status) == "0"
}
