package api

import (
	"bytes"
	"testing"
)

// The canonical form of a canonical form is itself, and nothing that a client sends makes
// it panic or lose a number's digits.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,2.50,1e400],"a":{"y":null,"x":"ж\u0000"}}`))
	f.Add([]byte(`12345678901234567890.00`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, body []byte) {
		once := canonical(body)
		if twice := canonical(once); !bytes.Equal(once, twice) {
			t.Errorf("%q becomes %q, then %q", body, once, twice)
		}
	})
}
