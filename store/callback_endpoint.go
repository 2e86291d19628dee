package store

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// EndpointState says whether callbacks go to an endpoint.
type EndpointState string

// What is for a disabled endpoint is held until it is enabled; what is for a deleted one ends.
const (
	EndpointEnabled  EndpointState = "enabled"
	EndpointDisabled EndpointState = "disabled"
	EndpointDeleted  EndpointState = "deleted"
)

// DisabledReason says why an endpoint is disabled: it answered 410 Gone, it has failed for days, or
// somebody wanted it.
type DisabledReason string

// What an operator disabled only an operator enables.
const (
	DisabledGone       DisabledReason = "gone"
	DisabledFailing    DisabledReason = "failing"
	DisabledByClient   DisabledReason = "client"
	DisabledByOperator DisabledReason = "operator"
)

// Endpoint is where a client is told.
type Endpoint struct {
	ID             EndpointID
	Client         int64
	ClientID       string // the client's name
	Policy         CallbackPolicy
	Origin         string      // scheme://host:port
	URL            string      // "" under the invoicer policy, where each invoice has its own
	EventTypes     []EventType // none: all of the client's own
	Description    string
	RateLimit      int // callbacks a second; 0: no limit
	State          EndpointState
	StateReason    DisabledReason // "" unless disabled
	FailingSince   *time.Time     // the first failed attempt since the last success
	Failures       int            // since then
	OldSecretUntil *time.Time     // the secret of before is signed with as well until then; nil for none
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Secret         string `db:"-"` // whsec_…, where it was made just now: nobody can read it again
}

// Why an endpoint is not made or changed. Nothing was done.
var (
	ErrEndpointNotFound = errors.New("callback endpoint not found")
	// ErrEndpointsFull says that the client has as many as it may have.
	ErrEndpointsFull = errors.New("the client has 20 callback endpoints")
	// ErrNotRegistered is of what invoices' callbackUrls made: it has no URL and no secret of its
	// own, and cannot be deleted.
	ErrNotRegistered = errors.New("the callback endpoint is not a registered one")
	// ErrEndpointForbidden says that an operator disabled it: a client cannot enable it.
	ErrEndpointForbidden = errors.New("the callback endpoint was disabled by an operator")
)

// secretPrefix begins the text of an endpoint's secret (Standard Webhooks); the key that is
// signed with follows in base64.
const (
	secretPrefix = "whsec_"
	secretSize   = 32 // bytes
)

// secretText is a key as receivers are given it.
func secretText(key []byte) string { return secretPrefix + base64.StdEncoding.EncodeToString(key) }

// sealKey encrypts what callbacks to an endpoint are signed with. It opens for that endpoint
// alone.
func (s *Store) sealKey(id EndpointID, key []byte) []byte {
	return s.seal.close(key, "callback endpoint "+id.String())
}

func (s *Store) openKey(id EndpointID, sealed []byte) ([]byte, error) {
	return s.seal.open(sealed, "callback endpoint "+id.String())
}

const maxCallbackURL = 2000 // bytes

// readCallbackURL reads where callbacks are to go. wrong says why they cannot.
func readCallbackURL(text string) (u *url.URL, wrong string) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, "is no address: it must be one as https://partner.example/callbacks"
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "must be an https address"
	case u.Hostname() == "" || strings.Contains(u.Hostname(), "%") || !utf8.ValidString(text):
		return nil, "is no address: it must be one as https://partner.example/callbacks"
	case len(text) > maxCallbackURL:
		return nil, "must have at most 2000 bytes"
	case u.User != nil:
		return nil, "must have no user and no password"
	case strings.Contains(text, "#"):
		return nil, "must have no fragment"
	case !sanePort(u):
		return nil, "must have a port from 1 to 65535, or none"
	}
	return u, ""
}

func sanePort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

// maxOrigin is more than any name has, and less than an index can hold: shops' addresses have
// characters of several bytes, and nobody's money waits for one that leads nowhere.
const maxOrigin = 2000 // bytes

// originOf is the scheme, host and port of an http or https URL, in lower case, the port
// always said; "" of anything else, and of what is too long to be one.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	origin := scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	if len(origin) > maxOrigin {
		return ""
	}
	return origin
}

const endpointColumns = `
p.id, p.client_id AS client, c.client_id, p.policy, p.origin, coalesce(p.url, '') AS url, p.event_types, p.description,
coalesce(p.rate_limit, 0) AS rate_limit, p.state, p.state_reason, p.failing_since, p.failures,
CASE WHEN p.old_secret_until > deciding_time() THEN p.old_secret_until END AS old_secret_until, p.created_at, p.updated_at`

const readEndpointSQL = `
SELECT ` + endpointColumns + `
FROM callback_endpoints p
JOIN clients c ON c.id = p.client_id
WHERE p.id = @id AND p.state <> 'deleted' AND (@client::bigint = 0 OR p.client_id = @client)`

// Endpoint returns an endpoint of the client, or of any where client is 0; or
// ErrEndpointNotFound. Those of its invoices' callbackUrls are among them, deleted ones are not.
func (s *Store) Endpoint(ctx context.Context, client int64, id EndpointID) (Endpoint, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	rows, _ := s.pool.Query(ctx, readEndpointSQL, pgx.NamedArgs{"client": client, "id": id})
	e, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Endpoint])
	if errors.Is(err, pgx.ErrNoRows) {
		return Endpoint{}, ErrEndpointNotFound
	}
	return e, unavailable(wrap("read callback endpoint "+id.String(), err))
}

// beforeUUID is true of the ids that come after the cursor in a list, newest first.
const beforeUUID = `< coalesce(@before, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)`

const listEndpointsSQL = `
SELECT ` + endpointColumns + `
FROM callback_endpoints p
JOIN clients c ON c.id = p.client_id
WHERE p.state <> 'deleted' AND p.id ` + beforeUUID + `
ORDER BY p.id DESC
LIMIT @limit`

// Each kind has an index of its own.
const listEndpointsOfClientSQL = `
SELECT ` + endpointColumns + `
FROM (
	SELECT r.id
	FROM callback_endpoints r
	WHERE r.client_id = @client AND r.policy = 'standard' AND r.state <> 'deleted'
	UNION ALL
	SELECT i.id
	FROM callback_endpoints i
	WHERE i.client_id = @client AND i.policy = 'invoicer'
) own
JOIN callback_endpoints p ON p.id = own.id
JOIN clients c ON c.id = p.client_id
WHERE p.id ` + beforeUUID + `
ORDER BY p.id DESC
LIMIT @limit`

// Endpoints lists the endpoints of a client, or of all where client is 0, newest first. Those of
// its invoices' callbackUrls are among them, deleted ones are not.
func (s *Store) Endpoints(ctx context.Context, client int64, page Page[EndpointID]) ([]Endpoint, error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	sql := listEndpointsSQL
	if client != 0 {
		sql = listEndpointsOfClientSQL
	}
	rows, _ := s.pool.Query(ctx, sql, pgx.NamedArgs{"client": client, "before": page.Before, "limit": page.Limit})
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[Endpoint])
	return found, unavailable(wrap("list callback endpoints", err))
}
