package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are those of the document, each compiled once: that takes much longer than to
// validate by it.
type schemas struct {
	components any // what they refer to

	mu       sync.Mutex
	compiled map[*openapi3.SchemaRef]*jsonschema.Schema
}

func newSchemas(all *openapi3.T) (*schemas, error) {
	components, err := decoded(all.Components)
	return &schemas{components: components, compiled: make(map[*openapi3.SchemaRef]*jsonschema.Schema)}, err
}

// decoded is a value as JSON Schema sees it.
func decoded(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

func (s *schemas) compile(ref *openapi3.SchemaRef) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.compiled[ref]; ok {
		return known, nil
	}
	schema, err := decoded(ref)
	if err != nil {
		return nil, err
	}
	const here = "document.json"
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(here, map[string]any{"allOf": []any{schema}, "components": s.components}); err != nil {
		return nil, err
	}
	if s.compiled[ref], err = c.Compile(here); err != nil {
		return nil, fmt.Errorf("compile a schema of the document: %w", err)
	}
	return s.compiled[ref], nil
}

func (s *schemas) validate(ref *openapi3.SchemaRef, value any) error {
	schema, err := s.compile(ref)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

func (s *schemas) validateJSON(ref *openapi3.SchemaRef, text []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("the body is not JSON: %w", err)
	}
	return s.validate(ref, value)
}

// ofText is what the text of a header stands for.
func ofText(ref *openapi3.SchemaRef, text string) any {
	if n, err := strconv.Atoi(text); err == nil && ref.Value.Type.Is("integer") {
		return n
	}
	return text
}
