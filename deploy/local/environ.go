package local

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// envFile holds the addresses and the secret key of the development servers, below the
// checkout's root.
const envFile = ".local/env"

// Environ returns the environment as a map, completed with what the checkout's
// .local/env holds, so that `go run ./cmd/quittance demo` finds the servers of a running
// `make run` by itself. A variable that is set, even to nothing, wins; so does one whose value
// stands in a file.
//
// The checkout is the closest folder with a go.mod, from the working directory upwards.
// Where there is none, or where QUITTANCE_ENV is set to anything but development, the
// environment comes back as it is.
func Environ(environ []string) map[string]string {
	env := map[string]string{}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		env[key] = value
	}
	if e := env["QUITTANCE_ENV"]; e != "" && e != "development" {
		return env
	}
	root, err := Root()
	if err != nil {
		return env
	}
	stored, err := ReadEnv(root)
	if err != nil {
		return env // unreadable for this user: then it is not this user's development either
	}
	for name := range stored {
		if env[name+"_FILE"] != "" {
			delete(stored, name) // it is set, by another way
		}
	}
	maps.Copy(stored, env)
	return stored
}

// Root returns the closest folder with a go.mod, from the working directory upwards.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("there is no go.mod in this folder or above it")
		}
		dir = parent
	}
}

// ReadEnv returns what the .local/env of the checkout at root holds: nothing where there
// is none.
func ReadEnv(root string) (map[string]string, error) {
	return readVariables(filepath.Join(root, envFile))
}

// WriteEnv replaces the .local/env of the checkout at root. Only its owner can read it.
func WriteEnv(root string, env map[string]string) error {
	path := filepath.Join(root, envFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&text, "%s=%s\n", key, env[key])
	}
	// Renamed into place: whoever reads it meanwhile sees the old or the new one.
	if err := writeFile(path+".new", text.String()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readVariables reads lines of KEY=value, the value up to the end of the line.
func readVariables(path string) (map[string]string, error) {
	vars := map[string]string{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return vars, nil
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[key] = value
		}
	}
	return vars, err
}
