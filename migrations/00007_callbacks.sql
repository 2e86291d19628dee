-- +goose Up

-- A UUID of version 7, as the program makes them: ordered by time, which keeps the index of a
-- growing table dense.
-- +goose StatementBegin
CREATE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
$$;
-- +goose StatementEnd

-- What somebody outside is to be told: written in the transaction that caused it, with the
-- exact bytes that are sent, and never changed. client_id is whose it is; NULL: nobody's but
-- the house's own. No foreign key, which would lock the client's row at every insert: clients
-- are never deleted.
CREATE TABLE events (
    id         uuid        PRIMARY KEY,
    type       text        NOT NULL,
    client_id  bigint,
    resource   uuid        NOT NULL,
    body       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT type_is_known CHECK (type IN ('payment.finished', 'payment.holded', 'payment.canceled', 'payment.rejected',
        'payment.reversed', 'payment.partly_reversed', 'subscription.ended', 'recharge.committed', 'recharge.rolled_back',
        'recharge.expired', 'invoice.paid', 'callback.test'))
);

-- What was told about a payment, a recharge, an invoice.
CREATE INDEX events_by_resource ON events (resource);

-- +goose StatementBegin
CREATE FUNCTION refuse_to_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % never change', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER events_never_change BEFORE UPDATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change();

-- Where a client is told. Under the policy invoicer it is a scheme, host and port, made by the
-- first event of an invoice whose callbackUrl is there, and what is sent is signed with the
-- shop's own secret. Under the policy standard the client, or an operator, registered a URL and
-- chose event types (none: all of the client's own), and it has a secret of its own, encrypted:
-- it must be read back. Never deleted, since callbacks refer to it.
CREATE TABLE callback_endpoints (
    id               uuid        PRIMARY KEY,
    client_id        bigint      NOT NULL REFERENCES clients (id),
    policy           text        NOT NULL,
    origin           text        NOT NULL, -- scheme://host:port, in lower case, the port always said
    url              text,
    event_types      text[]      NOT NULL DEFAULT '{}',
    description      text        NOT NULL DEFAULT '',
    secret           bytea,
    old_secret       bytea,                -- signed with as well until old_secret_until
    old_secret_until timestamptz,
    rate_limit       integer,              -- callbacks a second; NULL: no limit
    state            text        NOT NULL DEFAULT 'enabled',
    state_reason     text        NOT NULL DEFAULT '', -- why it is disabled: gone, failing, client, operator
    failing_since    timestamptz,          -- the first failed attempt since the last success
    failures         integer     NOT NULL DEFAULT 0, -- failed attempts since then
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT policy_is_known CHECK (policy IN ('invoicer', 'standard')),
    CONSTRAINT state_is_known  CHECK (state IN ('enabled', 'disabled', 'deleted')),
    CONSTRAINT reason_exactly_if_disabled CHECK ((state_reason <> '') = (state = 'disabled')),
    CONSTRAINT registered_with_url_and_secret CHECK (CASE policy WHEN 'standard' THEN num_nulls(url, secret) = 0
        ELSE num_nonnulls(url, secret, old_secret) = 0 AND event_types = '{}' AND state <> 'deleted' END),
    CONSTRAINT old_secret_has_an_end CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CONSTRAINT rate_limit_is_positive CHECK (rate_limit > 0),
    CONSTRAINT failing_exactly_if_failed CHECK ((failing_since IS NOT NULL) = (failures > 0))
);

CREATE UNIQUE INDEX one_endpoint_per_client_and_origin ON callback_endpoints (client_id, origin) WHERE policy = 'invoicer';

-- A client's registered endpoints.
CREATE INDEX callback_endpoints_by_client ON callback_endpoints (client_id) WHERE policy = 'standard' AND state <> 'deleted';

-- Who is told of events that are nobody's.
CREATE INDEX callback_endpoints_of_the_house ON callback_endpoints (id)
    WHERE policy = 'standard' AND state <> 'deleted' AND 'invoice.paid' = ANY(event_types);

-- One event to be sent to one endpoint. A callback has the id of its operation, of the type
-- callback.send, which knows how far it has come; what is here is what only callbacks have.
-- While it is held its operation waits until infinity.
CREATE TABLE callbacks (
    id          uuid        PRIMARY KEY REFERENCES operations (id),
    event_id    uuid        NOT NULL REFERENCES events (id),
    endpoint_id uuid        NOT NULL, -- no foreign key, which would lock the endpoint's row
    client_id   bigint      NOT NULL, -- the endpoint's
    url         text,                 -- the invoice's callbackUrl; NULL: the endpoint's
    invoice_id  uuid,                 -- whose callbackUrl it is
    parks       smallint    NOT NULL DEFAULT 0,     -- since the last attempt
    held        boolean     NOT NULL DEFAULT false, -- its endpoint is disabled
    replaying   boolean     NOT NULL DEFAULT false, -- the attempt that is due is an operator's, or the client's, and is not counted
    CONSTRAINT one_callback_per_event_and_endpoint UNIQUE (event_id, endpoint_id),
    CONSTRAINT url_exactly_if_of_an_invoice CHECK ((url IS NULL) = (invoice_id IS NULL))
) WITH (fillfactor = 85);

-- What may be released once its endpoint is enabled.
CREATE INDEX callbacks_held ON callbacks (endpoint_id) WHERE held;

-- The log of a client, newest first, and that of an endpoint.
CREATE INDEX callbacks_by_client ON callbacks (client_id, id);
CREATE INDEX callbacks_by_endpoint ON callbacks (endpoint_id, id);

-- Every attempt, failed or not.
CREATE TABLE callback_attempts (
    callback_id uuid        NOT NULL REFERENCES callbacks (id) ON DELETE CASCADE,
    started_at  timestamptz NOT NULL,
    seq         bigint      NOT NULL, -- of the message that it was made for
    attempt     integer     NOT NULL, -- which of the policy's, from 1; 0: a replay
    outcome     text        NOT NULL, -- delivered, or what kind of failure it was
    status      smallint,             -- of the answer; NULL: there was none
    reason      text        NOT NULL, -- in plain words; '' where it was delivered
    answer      bytea       NOT NULL, -- the first 16 KiB of its body
    duration    interval    NOT NULL,
    PRIMARY KEY (callback_id, started_at)
);

-- An invoice whose callbackUrl answered 410 Gone is told no more.
CREATE TABLE callback_urls_gone (
    invoice_id uuid        PRIMARY KEY,
    gone_at    timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE operations
    DROP CONSTRAINT type_is_known,
    ADD CONSTRAINT type_is_known CHECK (type IN ('invoice.pay', 'recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late',
        'payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire', 'payment.reverse', 'receipt.send',
        'callback.send'));

-- What an operator looks for in the log: little beside what was delivered.
CREATE INDEX callbacks_not_delivered ON operations (id)
    WHERE type = 'callback.send' AND status IN ('failed', 'dead');

-- What can be forgotten. IS TRUE keeps the index for the one question that says the same.
CREATE INDEX callbacks_to_forget ON operations (finished_at)
    WHERE (type = 'callback.send' AND finished_at IS NOT NULL) IS TRUE;
