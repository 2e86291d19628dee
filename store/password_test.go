package store

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// These tests hash a thousand secrets. Those of the API hash at full cost.
func init() { argonMemory = 64 }

func keyedStore(t *testing.T) *Store {
	t.Helper()
	sealer, err := newSeal(Secret{1})
	if err != nil {
		t.Fatal(err)
	}
	return &Store{seal: sealer}
}

func TestAHashFitsItsSecretOnly(t *testing.T) {
	t.Parallel()
	s := keyedStore(t)
	stored, err := s.hashSecret(t.Context(), userPassword, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=64,t=2,p=1$") {
		t.Errorf("the hash is %s", stored)
	}
	for _, story := range []struct {
		name   string
		stored string
		kind   secretKind
		secret string
		fits   bool
	}{
		{"the secret", stored, userPassword, "correct horse", true},
		{"another", stored, userPassword, "correct horsf", false},
		{"the same text as another kind of secret", stored, pinCode, "correct horse", false},
		{"nothing", stored, userPassword, "", false},
		{"a secret where none is stored", "", userPassword, "correct horse", false},
		{"nothing where nothing is stored", "", userPassword, "", false},
	} {
		fits, err := s.verifySecret(story.stored, story.kind, story.secret)
		if err != nil || fits != story.fits {
			t.Errorf("%s: %v, %v; want %v", story.name, fits, err, story.fits)
		}
	}
}

// The vector is of the reference implementation: "password", with the salt "somesalt".
func TestHashesAreThoseOfTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	const text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h, err := parseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if !h.fits([]byte("password")) || h.String() != text {
		t.Errorf("read as %s", h)
	}
}

func TestAHashThatSomebodyChangedIsNotTried(t *testing.T) {
	t.Parallel()
	const salt, sum = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for name, text := range map[string]string{
		"empty":                "",
		"another function":     "$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum,
		"another version":      "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum,
		"too much memory":      "$argon2id$v=19$m=4294967295,t=2,p=1$" + salt + "$" + sum,
		"too long":             "$argon2id$v=19$m=65536,t=4000,p=1$" + salt + "$" + sum,
		"no lanes":             "$argon2id$v=19$m=65536,t=2,p=0$" + salt + "$" + sum,
		"parameters missing":   "$argon2id$v=19$m=65536$" + salt + "$" + sum,
		"salt is not base64":   "$argon2id$v=19$m=65536,t=2,p=1$?$" + sum,
		"nothing to compare":   "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$",
		"one part more":        "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum + "$",
		"something in front":   "x$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum,
		"the sum is too short": "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum[:8],
	} {
		if _, err := parseHash(text); !errors.Is(err, errHashMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoGivesUpDoesNotWaitForAHasher(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * cap(hashers) { // a free hasher may be taken even so
		giveBack, err := takeHasher(ctx)
		if err != nil {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("gave up with %v", err)
			}
			return
		}
		defer giveBack()
	}
	t.Error("there are more hashers than there may be")
}

func FuzzParseHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=255$$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parseHash(text)
		if err != nil {
			return
		}
		again, err := parseHash(h.String())
		if err != nil || again.String() != h.String() {
			t.Errorf("%q is written as %q: %v", text, h, err)
		}
	})
}
