package store

import (
	"strings"
	"testing"
)

// An id is read in its one form and shown in the same.
func FuzzParseID(f *testing.F) {
	f.Add("01a1fce5-6652-72e0-b462-1b467fc2739c")
	f.Add("{01a1fce5-6652-72e0-b462-1b467fc2739c}")
	f.Add("01A1FCE5665272e0b4621b467fc2739c")
	f.Add("")
	f.Add("00000000-0000-010X-0000-000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		id, ok := ParseOperationID(text)
		if ok && id.String() != strings.ToLower(text) {
			t.Errorf("%q is read as %s", text, id)
		}
		if !ok && !id.IsZero() {
			t.Errorf("%q is no id, and %s", text, id)
		}
	})
}
