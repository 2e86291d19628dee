// Package settings is what the commands read from their environment: one struct for each, whose
// tags say the variable, its default and its meaning. The page of all variables is made from
// them, so it is as true as the code.
//
// Read reports all problems at once. A variable of the name QUITTANCE_… that no command knows is
// one of them: a setting that is misspelt must not be a setting that is missing. One environment
// may serve all commands, so what another command knows is passed over.
//
// NAME_FILE, for any variable but those that are paths, names a file with its value. Neither a
// file's content nor a secret is ever part of an error.
package settings

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Read returns the settings of one command: T is its struct.
func Read[T any](environ map[string]string) (T, error) {
	var none T
	known := variablesOf(none)
	values, unread := fromFiles(environ, known)
	cfg, err := env.ParseAsWithOptions[T](env.Options{Environment: values})
	return cfg, errors.Join(unknown(environ), unread, inWords(err, environ, known), outOfRange(reflect.ValueOf(cfg), known, environ, err))
}

// outOfRange finds what is a number or an address, and can be none that anybody means. What could
// not even be read has been reported.
func outOfRange(settings reflect.Value, known []field, environ map[string]string, unread error) error {
	var problems []error
	for _, f := range known {
		value := settings.FieldByName(f.name).Interface()
		switch {
		case !f.impossible(value) || isAbout(unread, f):
		case environ[f.variable+suffix] != "":
			problems = append(problems, fmt.Errorf("%s%s: what the file holds is out of range", f.variable, suffix))
		default:
			problems = append(problems, fmt.Errorf("%s: %v is out of range", f.variable, value))
		}
	}
	return errors.Join(problems...)
}

func (f field) impossible(value any) bool {
	switch v := value.(type) {
	case time.Duration:
		return v <= 0
	case float64:
		return !(v > 0 && v <= math.MaxFloat64) // not NaN either
	case int32:
		return v < 1
	case string:
		_, _, err := net.SplitHostPort(v)
		return strings.HasSuffix(f.variable, "_ADDR") && err != nil
	}
	return false
}

func isAbout(unread error, f field) bool {
	var all env.AggregateError
	return errors.As(unread, &all) && slices.ContainsFunc(all.Errors, func(err error) bool {
		var wrong env.ParseError
		return errors.As(err, &wrong) && wrong.Name == f.name
	})
}

// inWords names variables where env names fields, and says nothing of what came from a file.
func inWords(err error, environ map[string]string, known []field) error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return err
	}
	var problems []error
	for _, problem := range all.Errors {
		problems = append(problems, problemInWords(problem, environ, known))
	}
	return errors.Join(problems...)
}

func problemInWords(problem error, environ map[string]string, known []field) error {
	var unset env.VarIsNotSetError
	var empty env.EmptyVarError
	var wrong env.ParseError
	switch {
	case errors.As(problem, &unset):
		return fmt.Errorf("%s is not set", unset.Key)
	case errors.As(problem, &empty) && environ[empty.Key+suffix] != "":
		return nil // whoever read the file has said it
	case errors.As(problem, &empty):
		return fmt.Errorf("%s is empty", empty.Key)
	case errors.As(problem, &wrong):
		f := known[slices.IndexFunc(known, func(f field) bool { return f.name == wrong.Name })]
		if environ[f.variable+suffix] != "" {
			return fmt.Errorf("%s%s: what the file holds is no %s", f.variable, suffix, f.kind())
		}
		return fmt.Errorf("%s: no %s: %w", f.variable, f.kind(), wrong.Err)
	}
	return problem
}

// unknown has a line for every variable of ours that no command knows.
func unknown(environ map[string]string) error {
	names := map[string]bool{}
	for _, v := range Variables() {
		names[v.Name] = true
		if v.File {
			names[v.Name+suffix] = true
		}
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		if ours(name, environ[name]) && !names[name] {
			problems = append(problems, fmt.Errorf("%s is no setting: is it %s?", name, nearest(name, names)))
		}
	}
	return errors.Join(problems...)
}
