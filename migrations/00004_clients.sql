-- +goose Up

-- Programs that call for a business: back offices, shops. A client's secret is shown once
-- and kept as an argon2id hash.
CREATE TABLE clients (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id   text        NOT NULL,
    secret_hash text        NOT NULL,
    scopes      text[]      NOT NULL,
    rights      text[]      NOT NULL,
    disabled    boolean     NOT NULL DEFAULT false,
    grants_from timestamptz NOT NULL DEFAULT '-infinity',
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT client_id_is_unique UNIQUE (client_id),
    CONSTRAINT rights_are_known CHECK (rights <@ ARRAY['manage_payments'])
);

-- People who log in by way of a client. A card and a PIN name their user by themselves, so
-- each is found by a keyed fingerprint, and nobody shares one; PIN and password are
-- verified by their argon2id hashes.
CREATE TABLE users (
    id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name             text        NOT NULL,
    card_fingerprint bytea,
    pin_fingerprint  bytea,
    pin_hash         text,
    password_hash    text,
    rights           text[]      NOT NULL,
    disabled         boolean     NOT NULL DEFAULT false,
    grants_from      timestamptz NOT NULL DEFAULT '-infinity',
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT user_name_is_unique UNIQUE (name),
    CONSTRAINT card_is_unique UNIQUE (card_fingerprint),
    CONSTRAINT pin_is_unique UNIQUE (pin_fingerprint),
    CONSTRAINT pin_is_found_and_verified CHECK ((pin_hash IS NULL) = (pin_fingerprint IS NULL)),
    CONSTRAINT rights_are_known CHECK (rights <@ ARRAY['manage_payments'])
);

-- What follows from one login is revoked together, by one row however much it is; and all
-- grants of a client or a user by its row: those from before grants_from are worth nothing.
CREATE TABLE grants (
    id         uuid        PRIMARY KEY,
    client_id  bigint      NOT NULL REFERENCES clients (id),
    user_id    bigint      REFERENCES users (id),
    revoked    boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);

-- Bearer tokens are random and looked up by their SHA-256.
CREATE TABLE tokens (
    hash       bytea       PRIMARY KEY,
    grant_id   uuid        NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    kind       text        NOT NULL,
    scopes     text[]      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT hash_is_a_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT kind_is_known CHECK (kind IN ('access', 'refresh')),
    CONSTRAINT only_a_refresh_token_is_used_up CHECK (kind = 'refresh' OR used_at IS NULL)
);

-- What goes with its grant.
CREATE INDEX tokens_by_grant ON tokens (grant_id);

-- What can be forgotten.
CREATE INDEX tokens_by_expiry ON tokens (expires_at);
CREATE INDEX grants_by_expiry ON grants (expires_at);

-- How often somebody failed to log in. An attempt is counted before its secret is looked
-- at, so that many at once are no more than one after the other.
CREATE TABLE login_attempts (
    subject        text        PRIMARY KEY,
    failures       integer     NOT NULL,
    last_failed_at timestamptz NOT NULL DEFAULT now(),
    locked_until   timestamptz
);
