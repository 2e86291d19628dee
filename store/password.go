package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argonMemory is KiB. Only this package's own tests change it.
var argonMemory uint32 = 19 * 1024

// Secrets are kept as argon2id hashes with the parameters that OWASP recommends. A hash
// names its own parameters, so that they can be raised without touching old rows.
const (
	argonPasses = 2
	argonLanes  = 1
	saltLength  = 16
	hashLength  = 32
)

// hashers bounds what hashing takes of this process: 38 MiB, for 30 ms and more a secret.
var hashers = make(chan struct{}, 2)

// takeHasher waits for the right to hash one secret at a time, until giveBack.
func takeHasher(ctx context.Context) (giveBack func(), err error) {
	select {
	case hashers <- struct{}{}:
		return func() { <-hashers }, nil
	case <-ctx.Done():
		return nil, gaveUp(ctx)
	}
}

// secretKind keeps two secrets with the same text apart.
type secretKind string

const (
	clientSecret secretKind = "client secret"
	cardNumber   secretKind = "card"
	pinCode      secretKind = "PIN"
	userPassword secretKind = "password"
	givenName    secretKind = "name" // no secret, but what a stranger types may be one
)

// keyed is what is hashed or looked up in place of a secret: without the key a copy of the
// database is no place to try all PINs.
func (s *Store) keyed(kind secretKind, text string) []byte {
	return s.seal.fingerprint([]byte(kind), []byte(text))
}

// hashSecret returns what to store of a secret; "" for none.
func (s *Store) hashSecret(ctx context.Context, kind secretKind, secret string) (string, error) {
	if secret == "" {
		return "", nil
	}
	giveBack, err := takeHasher(ctx)
	if err != nil {
		return "", err
	}
	defer giveBack()
	return newHash(s.keyed(kind, secret)).String(), nil
}

// verifySecret says whether stored is the hash of a secret. "" is that of none: it costs as
// much, and nothing fits. The caller has taken a hasher.
func (s *Store) verifySecret(stored string, kind secretKind, secret string) (bool, error) {
	if stored == "" {
		newHash(s.keyed(kind, secret))
		return false, nil
	}
	h, err := parseHash(stored)
	if err != nil {
		return false, err
	}
	return h.fits(s.keyed(kind, secret)), nil
}

// argonHash is an argon2id hash, version 19, in its parts. Its text is a PHC string.
type argonHash struct {
	memory, passes uint32
	lanes          uint8
	salt, sum      []byte
}

func newHash(secret []byte) argonHash {
	h := argonHash{memory: argonMemory, passes: argonPasses, lanes: argonLanes, salt: randomBytes(saltLength)}
	h.sum = h.of(secret, hashLength)
	return h
}

func (h argonHash) of(secret []byte, length int) []byte {
	return argon2.IDKey(secret, h.salt, h.passes, h.memory, h.lanes, uint32(length))
}

func (h argonHash) fits(secret []byte) bool {
	return subtle.ConstantTimeCompare(h.of(secret, len(h.sum)), h.sum) == 1
}

var phcBase64 = base64.RawStdEncoding.Strict()

func (h argonHash) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes,
		phcBase64.EncodeToString(h.salt), phcBase64.EncodeToString(h.sum))
}

var errHashMalformed = errors.New("a stored hash cannot be read")

// parseHash reads a PHC string. Its parameters are bounded: a row that somebody changed
// must not take all memory.
func parseHash(text string) (h argonHash, err error) {
	parts := strings.Split(text, "$") // "", id, version, parameters, salt, sum
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHashMalformed
	}
	_, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes)
	if err != nil || h.memory < 8 || h.memory > 1<<17 || h.passes < 1 || h.passes > 16 || h.lanes < 1 {
		return h, errHashMalformed
	}
	h.salt, err = phcBase64.DecodeString(parts[4])
	if err != nil {
		return h, errHashMalformed
	}
	h.sum, err = phcBase64.DecodeString(parts[5])
	if err != nil || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errHashMalformed
	}
	return h, nil
}

// NewSecret makes a secret that nobody can guess: 256 random bits in base64url.
func NewSecret() string { return base64.RawURLEncoding.EncodeToString(randomBytes(32)) }

// NewPIN makes a PIN of six random digits.
func NewPIN() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // the kernel has no randomness: the runtime ends the process before
	}
	return fmt.Sprintf("%06d", n)
}
