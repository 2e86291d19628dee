package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Object is a JSON object whose members are still as they were sent. It can be read in one
// way only, by us, by whoever compares two requests and by PostgreSQL: no object within it
// has two members of the same name, and names are told apart by case.
type Object map[string]json.RawMessage

// maxDepth is how many objects and lists may be within each other.
const maxDepth = 20

// ParseObject reads one JSON object and nothing after it; wrong says why it is refused. Its
// texts have neither NUL nor half a character, which cannot be stored.
func ParseObject(text []byte) (o Object, wrong string) {
	if json.Unmarshal(text, &o) != nil || o == nil || !utf8.Valid(text) {
		return nil, "must be a JSON object"
	}
	if !sound(text) {
		return nil, "has text that is not valid"
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if wrong := ambiguous(d, 0); wrong != "" {
		return nil, wrong
	}
	return o, ""
}

// Read gives a member to the field that it is for. The field of a member that was not sent
// stays as it is.
func (o Object) Read(name string, into json.Unmarshaler) {
	if member, sent := o[name]; sent {
		_ = into.UnmarshalJSON(member) // fields report what is wrong by Problems
	}
}

const (
	maxNumber   = 100 // characters
	maxExponent = 308 // that of a double, which is all that most programs can read
)

// Storable says that PostgreSQL can store the numbers of a JSON value, and does not make
// hundreds of digits out of a few.
func Storable(value []byte) bool {
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			return true // its end: it is known to be JSON
		}
		if n, is := token.(json.Number); is && !modest(n.String()) {
			return false
		}
	}
}

func modest(number string) bool {
	_, exponent, has := strings.Cut(strings.ToLower(number), "e")
	if !has {
		return len(number) <= maxNumber
	}
	n, err := strconv.Atoi(exponent)
	return len(number) <= maxNumber && err == nil && -maxExponent <= n && n <= maxExponent
}

// ambiguous reads one value of what is known to be JSON, and says what is wrong in it.
func ambiguous(d *json.Decoder, depth int) (wrong string) {
	token, _ := d.Token()
	bracket, nested := token.(json.Delim)
	if !nested {
		return ""
	}
	if depth++; depth > maxDepth {
		return "is nested too deeply"
	}
	names := make(map[json.Token]bool)
	for d.More() {
		if bracket == '{' {
			name, _ := d.Token()
			if names[name] {
				return "has a member twice"
			}
			names[name] = true
		}
		if wrong := ambiguous(d, depth); wrong != "" {
			return wrong
		}
	}
	_, _ = d.Token() // the closing bracket
	return ""
}

// sound says that no text in valid JSON has an escaped NUL or half of a surrogate pair.
// Elsewhere than in texts JSON has no backslash.
func sound(text []byte) bool {
	for {
		_, escape, found := bytes.Cut(text, []byte(`\`))
		if !found {
			return true
		}
		if escape[0] != 'u' {
			text = escape[1:]
			continue
		}
		r := escaped(escape)
		text = escape[5:]
		switch {
		case r == 0:
			return false
		case utf16.IsSurrogate(r):
			if !bytes.HasPrefix(text, []byte(`\u`)) || utf16.DecodeRune(r, escaped(text[1:])) == unicode.ReplacementChar {
				return false
			}
			text = text[6:]
		}
	}
}

// escaped is the code of an escape, which begins with its u.
func escaped(escape []byte) rune {
	code, _ := strconv.ParseUint(string(escape[1:5]), 16, 16)
	return rune(code)
}
