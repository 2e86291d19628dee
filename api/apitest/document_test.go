package apitest

import (
	"context"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestTheDocumentIsValidAndItsExamplesAre(t *testing.T) {
	t.Parallel()
	d := open(t)
	if err := d.Validate(context.Background(), openapi3.EnableExamplesValidation(), openapi3.EnableSchemaPatternValidation(), openapi3.EnableMultiError()); err != nil {
		t.Error(err)
	}
	if !d.IsOpenAPI31OrLater() {
		t.Errorf("it is OpenAPI %s", d.OpenAPI)
	}
}

// Each operation can be read alone: what it is for, who may call it, what its numbers are.
func TestEachOperationSaysWhatItIs(t *testing.T) {
	t.Parallel()
	d := open(t)
	tags := map[string]bool{}
	for _, tag := range d.Tags {
		tags[tag.Name] = tag.Description != ""
	}
	seen := map[string]bool{}
	each(d, func(where string, o *openapi3.Operation) {
		if o.OperationID == "" || seen[o.OperationID] {
			t.Errorf("%s: the operationId %q is empty or another's", where, o.OperationID)
		}
		seen[o.OperationID] = true
		if o.Summary == "" || strings.HasSuffix(o.Summary, ".") {
			t.Errorf("%s: the summary is %q", where, o.Summary)
		}
		if len(o.Tags) != 1 || !tags[o.Tags[0]] {
			t.Errorf("%s: the tags %q are not one that is described", where, o.Tags)
		}
		if !says(o.Description, "amount", "money", "minor", "kopecks", "hryvnias") {
			t.Errorf("%s: the description says nothing about amounts", where)
		}
		if o.Security == nil {
			t.Errorf("%s: it does not say how a caller is known", where)
		}
	})
}

func each(d document, look func(where string, o *openapi3.Operation)) {
	for path, item := range d.Paths.Map() {
		for method, o := range item.Operations() {
			look(method+" "+path, o)
		}
	}
	for name, item := range d.Webhooks {
		for _, o := range item.Operations() {
			look("webhook "+name, o)
		}
	}
}

func says(text string, words ...string) bool {
	for _, word := range words {
		if strings.Contains(strings.ToLower(text), word) {
			return true
		}
	}
	return false
}
