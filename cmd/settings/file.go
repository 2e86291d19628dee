package settings

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
)

// suffix makes of a variable's name that of the variable that names a file with its value.
const suffix = "_FILE"

// fromFiles returns the environment with the values that stand in files. An empty variable is
// one that is not set: templates of deployments leave them behind.
func fromFiles(environ map[string]string, known []field) (map[string]string, error) {
	values := maps.Clone(environ)
	var problems []error
	for _, f := range known {
		path := environ[f.variable+suffix]
		if path == "" || !f.fromFile() {
			continue
		}
		if environ[f.variable] != "" {
			problems = append(problems, fmt.Errorf("%s and %s%s are both set", f.variable, f.variable, suffix))
			continue
		}
		content, err := os.ReadFile(path)
		values[f.variable] = strings.TrimRight(string(content), "\r\n")
		if err == nil && values[f.variable] == "" {
			err = fmt.Errorf("%s is empty", path)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s: %w", f.variable, suffix, err))
		}
	}
	return values, errors.Join(problems...)
}
