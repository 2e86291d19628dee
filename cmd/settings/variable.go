package settings

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// Variable is one that a command reads, or several do.
type Variable struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Default  string   `json:"default"`
	Meaning  string   `json:"meaning"`
	ReadBy   []string `json:"readBy"`
	NeededBy []string `json:"neededBy"` // these do not start without it
	File     bool     `json:"file"`     // its value may stand in a file, which NAME_FILE names
}

// Variables are all that there are, by name.
func Variables() []Variable {
	byName := map[string]*Variable{}
	for _, command := range Commands {
		for _, f := range variablesOf(command.Reads) {
			v := byName[f.variable]
			if v == nil {
				v = &Variable{Name: f.variable, Type: f.kind(), Default: f.otherwise, Meaning: f.doc, NeededBy: []string{}, File: f.fromFile()}
				byName[f.variable] = v
			}
			v.ReadBy = append(v.ReadBy, command.Name)
			if f.needed {
				v.NeededBy = append(v.NeededBy, command.Name)
			}
		}
	}
	var all []Variable
	for _, v := range byName {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Variable) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// field is a variable as one command's struct has it.
type field struct {
	name      string // in the struct
	of        reflect.Type
	variable  string
	needed    bool
	otherwise string
	doc       string
}

func variablesOf(settings any) []field {
	var all []field
	for _, f := range reflect.VisibleFields(reflect.TypeOf(settings)) {
		tag := f.Tag.Get("env")
		if tag == "" {
			continue
		}
		variable, options, _ := strings.Cut(tag, ",")
		all = append(all, field{
			name: f.Name, of: f.Type, variable: variable, needed: strings.Contains(options, "required"),
			otherwise: f.Tag.Get("envDefault"), doc: f.Tag.Get("doc"),
		})
	}
	return all
}

func (f field) fromFile() bool {
	return f.of != reflect.TypeFor[Path]() && f.of != reflect.TypeFor[Environment]()
}

// kinds says what a value is. A type that is not here has its kind's name.
var kinds = map[string]string{
	"settings.Environment": "environment",
	"settings.DatabaseURL": "PostgreSQL URL",
	"settings.AMQPURL":     "AMQP URL",
	"settings.PublicURL":   "URL",
	"settings.Path":        "path",
	"store.Secret":         "key of 32 bytes in base64",
	"time.Duration":        "duration",
	"[]netip.Prefix":       "list of networks",
	"[]string":             "list",
	"string":               "text",
	"bool":                 "true or false",
	"float64":              "number",
	"int32":                "whole number",
}

func (f field) kind() string { return kinds[f.of.String()] }
