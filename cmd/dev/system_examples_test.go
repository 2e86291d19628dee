package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/quittance/quittance/deploy/local"
)

// httpFile sends the requests of a file that editors can send, one after the other. It knows
// what our files use: variables, names of requests, and members and headers of their answers.
type httpFile struct {
	*tour
	variables map[string]string
	answers   map[string]answer
}

var (
	httpVariable  = regexp.MustCompile(`(?m)^@(\w+) = (.*)$`)
	httpName      = regexp.MustCompile(`(?m)^# @name (\w+)$`)
	httpComment   = regexp.MustCompile(`(?m)^(#|@).*\n`)
	httpReference = regexp.MustCompile(`\{\{(.+?)\}\}`)
)

func TestSystemTheExamplesForEditors(t *testing.T) {
	t.Parallel()
	root, err := local.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "deploy/examples/*.http"))
	if err != nil || len(files) < 4 {
		t.Fatalf("examples: %v, %v; want one for each API", files, err)
	}
	o := startTour(t)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := &httpFile{tour: o, variables: make(map[string]string), answers: make(map[string]answer)}
			for _, v := range httpVariable.FindAllStringSubmatch(string(text), -1) {
				h.variables[v[1]] = o.elsewhere(v[2])
			}
			for _, request := range strings.Split(string(text), "\n###")[1:] {
				h.send(t, request)
			}
		})
	}
}

// send sends one request, which must be answered with what was asked for.
func (h *httpFile) send(t *testing.T, text string) {
	t.Helper()
	title, text, _ := strings.Cut(text, "\n")
	name := httpName.FindStringSubmatch(text)
	text = h.fill(t, httpComment.ReplaceAllString(text, ""))
	head, body, _ := strings.Cut(strings.TrimLeft(text, "\n"), "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	method, url, ok := strings.Cut(lines[0], " ")
	if !ok {
		t.Fatalf("%s: %q is no request", title, lines[0])
	}
	var headers []string
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		headers = append(headers, name, value)
	}
	var a answer
	eventually(t, patience, "an answer that has something", func() bool {
		var err error
		if a, err = h.callAt(method, url, body, headers...); err != nil {
			t.Fatal(err)
		}
		return method != http.MethodGet || strings.TrimSpace(a.body) != "[]" // of what comes in by and by
	})
	if a.status >= 300 || a.says("error") || fmt.Sprint(a.object()["status"]) == "0" || fmt.Sprint(a.object()["status"]) == "failed" {
		t.Errorf("%s: %s %s %s: %s", title, method, url, body, a)
	}
	if name != nil {
		h.answers[name[1]] = a
	}
}

// fill puts what is known in the place of references.
func (h *httpFile) fill(t *testing.T, text string) string {
	t.Helper()
	return httpReference.ReplaceAllStringFunc(text, func(reference string) string {
		path := strings.Trim(reference, "{}")
		if value, ok := h.variables[path]; ok {
			return value
		}
		request, what, _ := strings.Cut(path, ".response.")
		a := h.answers[request]
		if header, ok := strings.CutPrefix(what, "headers."); ok {
			return a.header.Get(header)
		}
		var value any = a.object()
		for member := range strings.SplitSeq(strings.TrimPrefix(what, "body.$."), ".") {
			object, _ := value.(map[string]any)
			value = object[member]
		}
		if value == nil {
			t.Fatalf("%s: nothing in %s", reference, a)
		}
		return fmt.Sprint(value)
	})
}
