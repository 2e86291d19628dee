package settings

import (
	"fmt"
	"strings"
)

// others are the variables that are read by what Quittance is built on.
const others = "`OTEL_EXPORTER_OTLP_ENDPOINT` and the other standard `OTEL_*` variables are those of OpenTelemetry, as [tracing](tracing.md) has them, `PG*` those of PostgreSQL's clients, and " +
	"`GOOGLE_APPLICATION_CREDENTIALS` is Google's: see their own documentation."

const head = `# Configuration

<!-- Made by: quittance config -o markdown > deploy/docs/configuration.md -->

All settings come from the environment. One environment may serve all commands: each reads its own variables. A variable
` + "`QUITTANCE_…`" + ` that no command knows is an error, and all problems are reported at once, before anything is opened.

The value of any variable below, but for paths and ` + "`QUITTANCE_ENV`" + `, may stand in a file: ` + "`NAME_FILE`" + ` names it, and line
ends at its end are dropped. To set both is an error. That is how secrets are mounted:

` + "```sh" + `
QUITTANCE_SECRET_KEY_FILE=/run/secrets/secret_key DATABASE_URL_FILE=/run/secrets/database_url api
` + "```" + `

Durations are written as 250ms, 10s or 2m30s, lists with commas. [Production](production.md) has a checklist.

| variable | type | default | meaning | read by |
|---|---|---|---|---|
`

// Markdown is the page of all variables.
func Markdown() string {
	var page strings.Builder
	page.WriteString(head)
	for _, v := range Variables() {
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s | %s |\n", v.Name, v.Type, v.otherwise(), v.Meaning, v.readers())
	}
	page.WriteString("\n" + others + "\n")
	return page.String()
}

// otherwise is what holds when the variable is not set.
func (v Variable) otherwise() string {
	switch {
	case v.Default != "":
		return "`" + v.Default + "`"
	case len(v.NeededBy) == len(v.ReadBy):
		return "**needed**"
	case len(v.NeededBy) > 0:
		return "**needed** by " + strings.Join(v.NeededBy, ", ")
	}
	return ""
}

func (v Variable) readers() string { return strings.Join(v.ReadBy, ", ") }
