package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Caller is whom an access token stands for. Its lists are shared: they are only read.
type Caller struct {
	Client int64
	User   int64 // 0: none is logged in
	Scopes []string
	Rights []string // of the user where one is logged in, else of the client
}

// ErrTokenInvalid says that an access token is unknown, expired or revoked, or that its
// client or user is disabled.
var ErrTokenInvalid = errors.New("the access token is invalid")

const authorizeSQL = `
SELECT g.client_id, coalesce(g.user_id, 0), t.scopes, coalesce(u.rights, c.rights), t.expires_at - now()
FROM tokens t
JOIN grants g     ON g.id = t.grant_id
JOIN clients c    ON c.id = g.client_id
LEFT JOIN users u ON u.id = g.user_id
WHERE t.hash = @hash AND t.kind = 'access' AND t.expires_at > now()
  AND NOT g.revoked AND g.created_at >= c.grants_from AND g.created_at >= coalesce(u.grants_from, '-infinity')
  AND NOT c.disabled AND u.disabled IS NOT TRUE`

// Authorize returns whom an access token stands for, or ErrTokenInvalid.
//
// A good answer is remembered for two seconds: that long a token, a client or a user may
// live on that was revoked or disabled by another process. What this process revokes it
// forgets at once.
func (s *Store) Authorize(ctx context.Context, token string) (Caller, error) {
	hash := sha256.Sum256([]byte(token))
	caller, known, epoch := s.callers.get(hash)
	if known {
		return caller, nil
	}
	asked := time.Now()
	ctx, cancel := reading(ctx)
	defer cancel()
	var left time.Duration
	err := s.pool.QueryRow(ctx, authorizeSQL, pgx.NamedArgs{"hash": hash[:]}).
		Scan(&caller.Client, &caller.User, &caller.Scopes, &caller.Rights, &left)
	if errors.Is(err, pgx.ErrNoRows) {
		return Caller{}, ErrTokenInvalid
	}
	if err != nil {
		return Caller{}, unavailable(wrap("authorize", err))
	}
	s.callers.put(hash, caller, asked.Add(min(left, rememberedFor)), epoch)
	return caller, nil
}

const (
	rememberedFor = 2 * time.Second
	remembered    = 10_000 // callers, at most: a few megabytes
)

// callerCache remembers whom tokens stand for. The zero value is ready.
type callerCache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]rememberedCaller
	epoch int // how often all were forgotten
}

type rememberedCaller struct {
	Caller
	until time.Time
}

// get returns a caller that is remembered, or the epoch in which the database is asked.
func (c *callerCache) get(hash [sha256.Size]byte) (caller Caller, known bool, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, known := c.known[hash]
	return r.Caller, known && time.Now().Before(r.until), c.epoch
}

// put remembers an answer, unless all were forgotten since the database was asked: it may
// be older than the revocation.
func (c *callerCache) put(hash [sha256.Size]byte, caller Caller, until time.Time, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if c.known == nil || len(c.known) >= remembered { // all of them are soon forgotten anyway
		c.known = make(map[[sha256.Size]byte]rememberedCaller)
	}
	c.known[hash] = rememberedCaller{Caller: caller, until: until}
}

// forget is called after a commit that revoked something, or may have.
func (c *callerCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = nil
	c.epoch++
}
