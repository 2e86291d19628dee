package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnObjectIsReadInOneWayOrNot(t *testing.T) {
	t.Parallel()
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, story := range []struct{ name, text, wrong string }{
		{"an object", ` {"a":1,"A":2,"b":{"a":[{"a":1},{"a":1}]}} `, ""},
		{"an empty object", "{}", ""},
		{"a pair of surrogates", `{"a":"\ud83d\ude00"}`, ""},
		{"a backslash before what looks like an escape", `{"a":"\\u0000 \\\\ud800"}`, ""},
		{"20 levels", deep(20), ""},
		{"21 levels", deep(21), "is nested too deeply"},
		{"levels without end", strings.Repeat("[", 100_000), "must be a JSON object"},
		{"a list", "[{}]", "must be a JSON object"},
		{"null", "null", "must be a JSON object"},
		{"nothing", " ", "must be a JSON object"},
		{"two objects", "{} {}", "must be a JSON object"},
		{"a byte order mark", "\ufeff{}", "must be a JSON object"},
		{"bytes that are no text", "{\"a\":\"\xff\"}", "must be a JSON object"},
		{"a member twice", `{"a":1,"a":1}`, "has a member twice"},
		{"a member twice, written in two ways", `{"a":1,"\u0061":1}`, "has a member twice"},
		{"a member twice, within a list", `{"b":[[{"a":1,"a":2}]]}`, "has a member twice"},
		{"a NUL in a text", `{"a":"b\u0000"}`, "has text that is not valid"},
		{"a NUL in a name", `{"\u0000":1}`, "has text that is not valid"},
		{"a first half alone", `{"a":"\ud83d"}`, "has text that is not valid"},
		{"a first half before another escape", `{"a":"\ud83d\n"}`, "has text that is not valid"},
		{"a first half before a character", `{"a":"\ud83d\u0041"}`, "has text that is not valid"},
		{"a first half twice", `{"a":"\ud83d\ud83d"}`, "has text that is not valid"},
		{"a second half alone", `{"a":"\ude00"}`, "has text that is not valid"},
	} {
		o, wrong := ParseObject([]byte(story.text))
		if wrong != story.wrong || (o == nil) != (wrong != "") {
			t.Errorf("%s: %v, %q, want %q", story.name, o, wrong, story.wrong)
		}
	}
}

// What is read is what whoever keeps the first or the last of two members reads, and what
// a canonical spelling of it is read as.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"\u0062":"\ud83d\ude00"}`))
	f.Add([]byte(`{"a":1,"\u0061":2}`))
	f.Add([]byte(`{"a":"\\u0000"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		o, wrong := ParseObject(text)
		if wrong != "" {
			return
		}
		again, wrong := ParseObject(canonical(text))
		if wrong != "" || len(again) != len(o) {
			t.Fatalf("%q has %d members; its canonical form %s", text, len(o), wrong)
		}
		for name, member := range o {
			if !bytes.Equal(canonical(member), again[name]) {
				t.Errorf("%q: %q is %s, canonically %s", text, name, member, again[name])
			}
		}
		var all any
		if err := json.Unmarshal(text, &all); err == nil && hasNUL(all) || !utf8.Valid(text) {
			t.Errorf("%q passed", text)
		}
	})
}

func hasNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		for _, e := range v {
			if hasNUL(e) {
				return true
			}
		}
	case map[string]any:
		for name, e := range v {
			if strings.ContainsRune(name, 0) || hasNUL(e) {
				return true
			}
		}
	}
	return false
}
