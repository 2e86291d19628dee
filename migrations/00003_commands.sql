-- +goose Up

-- One command, from acceptance to its end. A message names (id, seq) and is believed only
-- while seq stands; due_at is when the schedule worker looks at what is not final.
CREATE TABLE operations (
    id            uuid        PRIMARY KEY,
    type          text        NOT NULL,
    resource      uuid        NOT NULL,
    status        text        NOT NULL DEFAULT 'accepted',
    seq           bigint      NOT NULL DEFAULT 1,
    attempts      integer     NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL,
    error_code    text,
    error_message text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    CONSTRAINT type_is_known   CHECK (type IN ('invoice.pay')),
    CONSTRAINT status_is_known CHECK (status IN ('accepted', 'running', 'succeeded', 'failed', 'dead')),
    CONSTRAINT finished_exactly_if_final CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed'))),
    CONSTRAINT error_exactly_if_failed_or_dead CHECK ((error_code IS NOT NULL) = (status IN ('failed', 'dead'))),
    CONSTRAINT seq_is_positive CHECK (seq > 0)
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02);

-- Competing commands are settled here: whoever comes second inserts nothing. A dead
-- operation keeps its slot until an operator replays or drops it.
CREATE UNIQUE INDEX one_open_payment_per_invoice ON operations (resource)
    WHERE type = 'invoice.pay' AND finished_at IS NULL;

-- The schedule worker's question, and admission's: what is not final, most overdue first.
CREATE INDEX operations_due ON operations (due_at)
    WHERE status IN ('accepted', 'running');

-- Every attempt that failed. What succeeded says so in its operation.
CREATE TABLE attempts (
    operation_id uuid        NOT NULL REFERENCES operations (id),
    seq          bigint      NOT NULL,
    attempt      integer     NOT NULL,
    error        text        NOT NULL,
    failed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (operation_id, seq)
);

-- What must still be published. A row lives for milliseconds: it is claimed by its
-- primary key, in the order in which it may go, and deleted once the broker has confirmed.
CREATE TABLE outbox (
    publish_at timestamptz NOT NULL DEFAULT now(),
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    queue      text        NOT NULL,
    delay      text        NOT NULL DEFAULT '',
    message_id uuid        NOT NULL,
    seq        bigint      NOT NULL,
    type       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    postponed  integer     NOT NULL DEFAULT 0,
    error      text        NOT NULL DEFAULT '',
    PRIMARY KEY (publish_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- A key commits with its command. fingerprint is a keyed HMAC of method, path and body;
-- the answer is encrypted, since it may hold a credential. Kept for good.
CREATE TABLE idempotency_keys (
    scope        bytea       NOT NULL,
    key          text        NOT NULL,
    fingerprint  bytea       NOT NULL,
    status       smallint    NOT NULL,
    answer       bytea       NOT NULL,
    operation_id uuid,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);

-- What the broker gave up on, until an operator replays or drops it. The body is bytes:
-- it may be anything. One row per message, however often the broker delivers it.
CREATE TABLE dead_letters (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      text        NOT NULL,
    message_id text        NOT NULL,
    seq        bigint      NOT NULL,
    type       text        NOT NULL,
    reason     text        NOT NULL,
    error      text        NOT NULL,
    attempts   jsonb       NOT NULL,
    headers    jsonb       NOT NULL,
    body       bytea       NOT NULL,
    trace_id   text        NOT NULL,
    died_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_dead_letter_per_message_and_seq UNIQUE (message_id, seq)
);
