package store

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

const (
	maxEndpoints     = 20     // of a client, registered: each of its events is written so often, beside its money
	maxRateLimit     = 10_000 // callbacks a second
	oldSecretGoodFor = 24 * time.Hour
)

// choosable are the event types that an endpoint can be told of, the house's own last.
var choosable = []EventType{
	EventPaymentFinished, EventPaymentHolded, EventPaymentCanceled, EventPaymentRejected, EventPaymentReversed,
	EventPaymentPartlyReversed, EventSubscriptionEnded, EventRechargeCommitted, EventRechargeRolledBack, EventRechargeExpired,
	EventInvoicePaid,
}

// EventTypes names what an endpoint can be told of. The last, invoice.paid, only an operator chooses.
func EventTypes() []EventType { return slices.Clone(choosable) }

// EndpointSettings are what can be changed of an endpoint; nil leaves it as it is.
type EndpointSettings struct {
	URL         *string
	EventTypes  *[]EventType // none: all of the client's own
	Description *string
	RateLimit   *int // callbacks a second; 0: no limit
	Enabled     *bool
}

// EndpointCommand is who wants what done to an endpoint.
type EndpointCommand struct {
	ID        EndpointID
	Client    int64                 // whose it must be; 0: an operator wants it
	AllowHTTP bool                  // a URL may be plain http
	Answer    func(Endpoint) Answer // to what it then is; pure; nil where there is no Once
	Once      Once                  // its Answer is filled in here
}

// CreateEndpoint registers an endpoint of the client, with a secret of its own. by.ID is its id.
// Its errors are ErrClientNotFound, ErrEndpointsFull, *FieldError, *Replay and ErrKeyReused.
//
// Two that come at once may both be the last that the client may have.
func (s *Store) CreateEndpoint(ctx context.Context, client int64, settings EndpointSettings, by EndpointCommand) (Endpoint, error) {
	var made Endpoint
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		found, err := readForEndpoint(ctx, tx, client)
		if err != nil {
			return err
		}
		becomes, verdict := by.create(found, settings, randomBytes(secretSize))
		if err := s.claimEndpoint(ctx, tx, by, becomes, verdict); err != nil {
			return err
		}
		made = becomes.Endpoint
		if err := s.insertEndpoint(ctx, tx, becomes); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, becomes.act("endpoint.add"))
		// The commit point: a repeat with the same key is answered from the key's row, the secret
		// included.
	})
	if err != nil {
		return Endpoint{}, unavailable(wrap("create callback endpoint", err))
	}
	return made, nil
}

// claimEndpoint claims the command's key, or returns its verdict.
func (s *Store) claimEndpoint(ctx context.Context, tx pgx.Tx, by EndpointCommand, becomes storedEndpoint, verdict error) error {
	if verdict == nil && by.Answer != nil {
		by.Once.Answer = by.Answer(becomes.Endpoint)
	}
	err := s.claimDecided(ctx, tx, 1, func(int) (Once, *error) { return by.Once, &verdict })
	if err != nil {
		return err
	}
	return verdict
}

// foundForEndpoint is what a new endpoint meets in the database.
type foundForEndpoint struct {
	client   int64
	clientID string
	has      int // registered endpoints
	now      time.Time
}

const readForEndpointSQL = `
SELECT c.client_id, now(), (
	SELECT count(*)
	FROM callback_endpoints p
	WHERE p.client_id = c.id AND p.policy = 'standard' AND p.state <> 'deleted'
)
FROM clients c
WHERE c.id = @client`

func readForEndpoint(ctx context.Context, tx pgx.Tx, client int64) (foundForEndpoint, error) {
	found := foundForEndpoint{client: client}
	err := tx.QueryRow(ctx, readForEndpointSQL, pgx.NamedArgs{"client": client}).Scan(&found.clientID, &found.now, &found.has)
	if errors.Is(err, pgx.ErrNoRows) {
		return found, ErrClientNotFound
	}
	return found, err
}

// storedEndpoint is an endpoint with what nobody is shown.
type storedEndpoint struct {
	Endpoint
	secret, oldSecret []byte    // sealed
	newKey            []byte    // that is to be sealed as its secret; nil: the secret stays
	now, deciding     time.Time // by the two clocks
}

// create is pure: it returns the endpoint as it is to be, or why there is none.
func (by EndpointCommand) create(found foundForEndpoint, settings EndpointSettings, key []byte) (storedEndpoint, error) {
	if found.has >= maxEndpoints {
		return storedEndpoint{}, ErrEndpointsFull
	}
	if settings.URL == nil {
		return storedEndpoint{}, &FieldError{"url", "is required"}
	}
	e := storedEndpoint{newKey: key, now: found.now, Endpoint: Endpoint{
		ID: by.ID, Client: found.client, ClientID: found.clientID, Policy: PolicyStandard, EventTypes: []EventType{}, State: EndpointEnabled,
		CreatedAt: found.now, UpdatedAt: found.now, Secret: secretText(key),
	}}
	err := by.change(&e, settings)
	return e, err
}

const insertEndpointSQL = `
INSERT INTO callback_endpoints (id, client_id, policy, origin, url, event_types, description, secret, rate_limit, state, state_reason, created_at, updated_at)
VALUES (@id, @client, 'standard', @origin, @url, @event_types, @description, @secret, nullif(@rate_limit::integer, 0), @state, @state_reason, @now, @now)`

func (s *Store) insertEndpoint(ctx context.Context, tx pgx.Tx, e storedEndpoint) error {
	_, err := tx.Exec(ctx, insertEndpointSQL, s.endpointColumnsOf(e))
	return err
}

func (s *Store) endpointColumnsOf(e storedEndpoint) pgx.NamedArgs {
	if e.newKey != nil {
		e.secret = s.sealKey(e.ID, e.newKey)
	}
	return pgx.NamedArgs{
		"id": e.ID, "client": e.Client, "origin": e.Origin, "url": e.URL, "event_types": e.EventTypes, "description": e.Description,
		"rate_limit": e.RateLimit, "state": e.State, "state_reason": e.StateReason, "failing_since": e.FailingSince, "failures": e.Failures,
		"secret": e.secret, "old_secret": e.oldSecret, "old_secret_until": e.OldSecretUntil, "now": e.now,
	}
}

// ChangeEndpoint changes the settings of an endpoint. Whoever enables it, or gives it another
// address, has it judged anew: what failed before does not count any more. What was held is
// released by the schedule worker.
//
// Its errors are ErrEndpointNotFound, ErrNotRegistered, ErrEndpointForbidden, *FieldError, *Replay
// and ErrKeyReused.
func (s *Store) ChangeEndpoint(ctx context.Context, settings EndpointSettings, by EndpointCommand) (Endpoint, error) {
	return s.changeEndpoint(ctx, settings.action(), by, func(e *storedEndpoint) error { return by.change(e, settings) })
}

// EnableEndpoint is ChangeEndpoint that enables.
func (s *Store) EnableEndpoint(ctx context.Context, by EndpointCommand) (Endpoint, error) {
	return s.ChangeEndpoint(ctx, EndpointSettings{Enabled: new(true)}, by)
}

// DisableEndpoint is ChangeEndpoint that disables.
func (s *Store) DisableEndpoint(ctx context.Context, by EndpointCommand) (Endpoint, error) {
	return s.ChangeEndpoint(ctx, EndpointSettings{Enabled: new(false)}, by)
}

// RotateSecret gives a registered endpoint a new secret. For 24 hours callbacks are signed with
// the one of before as well; but with no older one, so that a secret that is known to others is
// got rid of at once by rotating twice. Its errors are those of ChangeEndpoint.
func (s *Store) RotateSecret(ctx context.Context, by EndpointCommand) (Endpoint, error) {
	key := randomBytes(secretSize)
	return s.changeEndpoint(ctx, "endpoint.rotate", by, func(e *storedEndpoint) error { return e.rotate(key) })
}

// DeleteEndpoint ends a registered endpoint, and what is for it, as far as it was not sent yet.
// Its errors are ErrEndpointNotFound and ErrNotRegistered.
func (s *Store) DeleteEndpoint(ctx context.Context, by EndpointCommand) error {
	_, err := s.changeEndpoint(ctx, "endpoint.remove", by, func(e *storedEndpoint) error { return e.delete() })
	return err
}

// changeEndpoint has decide, which is pure, change an endpoint as it was read, and stores what
// it becomes unless it has changed meanwhile.
func (s *Store) changeEndpoint(ctx context.Context, action string, by EndpointCommand, decide func(*storedEndpoint) error) (Endpoint, error) {
	var changed Endpoint
	err := s.inTxAgain(ctx, func(tx pgx.Tx) error {
		was, verdict := readForChange(ctx, tx, by)
		if verdict != nil && !errors.Is(verdict, ErrEndpointNotFound) {
			return verdict
		}
		becomes := was
		if verdict == nil {
			verdict = decide(&becomes)
		}
		becomes.UpdatedAt = was.now
		if err := s.claimEndpoint(ctx, tx, by, becomes, verdict); err != nil {
			return err
		}
		changed = becomes.Endpoint
		if err := s.writeEndpoint(ctx, tx, was, becomes); err != nil {
			return err
		}
		return s.keepActs(ctx, tx, becomes.act(action))
		// The commit point: a repeat with the same key is answered from the key's row.
	})
	if err != nil {
		return Endpoint{}, unavailable(wrap("change callback endpoint "+by.ID.String(), err))
	}
	return changed, nil
}

// act is what the audit log keeps of a change: what the endpoint became, without its secrets.
func (e storedEndpoint) act(action string) act {
	return act{action, e.ID.String(), map[string]any{
		"client": e.ClientID, "url": e.URL, "origin": e.Origin, "eventTypes": e.EventTypes, "description": e.Description,
		"rateLimit": e.RateLimit, "state": e.State,
	}}
}

// action is what changing these settings is called in the audit log.
func (settings EndpointSettings) action() string {
	if settings.Enabled != nil {
		return "endpoint." + switched(!*settings.Enabled)
	}
	return "endpoint.change"
}

const readForChangeSQL = `
SELECT ` + endpointColumns + `, p.secret, p.old_secret, now(), deciding_time()
FROM callback_endpoints p
JOIN clients c ON c.id = p.client_id
WHERE p.id = @id AND p.state <> 'deleted' AND (@client::bigint = 0 OR p.client_id = @client)`

func readForChange(ctx context.Context, tx pgx.Tx, by EndpointCommand) (e storedEndpoint, err error) {
	err = tx.QueryRow(ctx, readForChangeSQL, pgx.NamedArgs{"id": by.ID, "client": by.Client}).Scan(
		&e.ID, &e.Client, &e.ClientID, &e.Policy, &e.Origin, &e.URL, &e.EventTypes, &e.Description,
		&e.RateLimit, &e.State, &e.StateReason, &e.FailingSince, &e.Failures, &e.OldSecretUntil, &e.CreatedAt, &e.UpdatedAt,
		&e.secret, &e.oldSecret, &e.now, &e.deciding)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, ErrEndpointNotFound
	}
	if e.OldSecretUntil == nil {
		e.oldSecret = nil // it is over
	}
	return e, err
}

// change is pure.
func (by EndpointCommand) change(e *storedEndpoint, settings EndpointSettings) error {
	for _, set := range []func(*storedEndpoint, EndpointSettings) error{by.setURL, by.setEventTypes, setDescription, setRateLimit, by.setState} {
		if err := set(e, settings); err != nil {
			return err
		}
	}
	return nil
}

func (by EndpointCommand) setURL(e *storedEndpoint, settings EndpointSettings) error {
	switch {
	case settings.URL == nil, *settings.URL == e.URL && e.URL != "":
		return nil
	case e.Policy != PolicyStandard:
		return ErrNotRegistered
	}
	u, wrong := readCallbackURL(*settings.URL)
	if wrong == "" && u.Scheme != "https" && !by.AllowHTTP {
		wrong = "must be an https address"
	}
	if wrong != "" {
		return &FieldError{"url", wrong}
	}
	e.URL, e.Origin = *settings.URL, originOf(*settings.URL)
	e.judgeAnew()
	return nil
}

func (by EndpointCommand) setEventTypes(e *storedEndpoint, settings EndpointSettings) error {
	if settings.EventTypes == nil {
		return nil
	}
	if e.Policy != PolicyStandard {
		return ErrNotRegistered
	}
	chosen := []EventType{}
	for _, t := range *settings.EventTypes {
		switch {
		case t == EventCallbackTest:
			return &FieldError{"eventTypes", "has callback.test, which comes to whoever asks for it and is not chosen"}
		case !slices.Contains(choosable, t):
			return &FieldError{"eventTypes", "has a type that is none: " + strconv.Quote(clip(string(t), 50))}
		case t == EventInvoicePaid && by.Client != 0 && !slices.Contains(e.EventTypes, t):
			return &FieldError{"eventTypes", "has a type that only an operator can choose: " + string(t)}
		case !slices.Contains(chosen, t):
			chosen = append(chosen, t)
		}
	}
	e.EventTypes = chosen
	return nil
}

const maxDescription = 1000 // characters

func setDescription(e *storedEndpoint, settings EndpointSettings) error {
	if settings.Description == nil {
		return nil
	}
	text := *settings.Description
	if utf8.RuneCountInString(text) > maxDescription || clip(text, math.MaxInt) != text {
		return &FieldError{"description", "must have at most 1000 characters"}
	}
	e.Description = text
	return nil
}

func setRateLimit(e *storedEndpoint, settings EndpointSettings) error {
	if settings.RateLimit == nil {
		return nil
	}
	if *settings.RateLimit < 0 || *settings.RateLimit > maxRateLimit {
		return &FieldError{"rateLimit", "must be 1 to 10000 a second, or none"}
	}
	e.RateLimit = *settings.RateLimit
	return nil
}

func (by EndpointCommand) setState(e *storedEndpoint, settings EndpointSettings) error {
	switch {
	case settings.Enabled == nil:
	case !*settings.Enabled && by.Client == 0:
		e.State, e.StateReason = EndpointDisabled, DisabledByOperator
	case !*settings.Enabled && e.State == EndpointEnabled:
		e.State, e.StateReason = EndpointDisabled, DisabledByClient
	case *settings.Enabled && e.State == EndpointDisabled:
		if e.StateReason == DisabledByOperator && by.Client != 0 {
			return ErrEndpointForbidden
		}
		e.State, e.StateReason = EndpointEnabled, ""
		e.judgeAnew()
	}
	return nil
}

// judgeAnew forgets what failed.
func (e *storedEndpoint) judgeAnew() { e.FailingSince, e.Failures = nil, 0 }

// rotate is pure.
func (e *storedEndpoint) rotate(key []byte) error {
	if e.Policy != PolicyStandard {
		return ErrNotRegistered
	}
	until := e.deciding.Add(oldSecretGoodFor)
	e.oldSecret, e.OldSecretUntil = e.secret, &until
	e.newKey, e.Secret = key, secretText(key)
	return nil
}

// delete is pure.
func (e *storedEndpoint) delete() error {
	if e.Policy != PolicyStandard {
		return ErrNotRegistered
	}
	e.State, e.StateReason = EndpointDeleted, ""
	return nil
}

// Whoever changes settings, or the state, moves updated_at: what was decided on what is no longer
// so is decided again. The health, which attempts change all the time, is not part of that, and
// is left alone unless it is forgotten.
const updateEndpointSQL = `
UPDATE callback_endpoints
SET origin = @origin, url = nullif(@url, ''), event_types = @event_types, description = @description,
    rate_limit = nullif(@rate_limit::integer, 0), state = @state, state_reason = @state_reason,
    failing_since = CASE WHEN @judge_anew THEN NULL ELSE failing_since END,
    failures = CASE WHEN @judge_anew THEN 0 ELSE failures END,
    secret = @secret, old_secret = @old_secret, old_secret_until = @old_secret_until, updated_at = @now
WHERE id = @id AND state = @was_state AND state_reason = @was_reason AND updated_at = @was_updated_at`

func (s *Store) writeEndpoint(ctx context.Context, tx pgx.Tx, was, becomes storedEndpoint) error {
	args := s.endpointColumnsOf(becomes)
	args["judge_anew"] = was.Failures > 0 && becomes.Failures == 0
	args["was_state"], args["was_reason"], args["was_updated_at"] = was.State, was.StateReason, was.UpdatedAt
	tag, err := tx.Exec(ctx, updateEndpointSQL, args)
	if err != nil {
		return err
	}
	return affects(1)(tag)
}
