package api

import _ "embed"

// Document is the OpenAPI document of everything that is served, in YAML.
//
//go:embed openapi.yaml
var Document string
