package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// seal encrypts what must be read back, and fingerprints what must only be compared. Both
// keys are derived from the one secret of the configuration.
type seal struct {
	aead cipher.AEAD
	mac  []byte
}

// Secret is the key of the configuration. Its text is base64.
type Secret [32]byte

// UnmarshalText reads a key from the environment.
func (s *Secret) UnmarshalText(text []byte) error {
	b, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return fmt.Errorf("the secret key is not base64: %w", err)
	}
	if len(b) != len(s) {
		return fmt.Errorf("the secret key has %d bytes, %d are needed", len(b), len(s))
	}
	*s = Secret(b)
	return nil
}

func newSeal(secret Secret) (seal, error) {
	enc, err := hkdf.Key(sha256.New, secret[:], nil, "quittance seal", 32)
	if err != nil {
		return seal{}, err
	}
	mac, err := hkdf.Key(sha256.New, secret[:], nil, "quittance fingerprint", 32)
	if err != nil {
		return seal{}, err
	}
	block, err := aes.NewCipher(enc)
	if err != nil {
		return seal{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return seal{aead: aead, mac: mac}, err
}

// close encrypts plain for one use: context keeps a sealed value from being moved to
// another row or column.
func (s seal) close(plain []byte, context string) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(context))
}

var errSealBroken = errors.New("a sealed value cannot be opened: the secret key is another one, or the row was changed")

func (s seal) open(sealed []byte, context string) ([]byte, error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, errSealBroken
	}
	return plain, nil
}

// fingerprint is a keyed hash: without the key nobody can test a guess against it.
func (s seal) fingerprint(parts ...[]byte) []byte {
	h := hmac.New(sha256.New, s.mac)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p)) // lengths, so that two splits of the same bytes differ
		h.Write(p)
	}
	return h.Sum(nil)
}

// randomBytes never fails: the runtime ends the process if the kernel has no randomness.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
