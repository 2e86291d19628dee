-- +goose Up

-- In which language a phone is spoken to, and what is known about its token. token_refreshed_at
-- is when the phone last said what its token is; token_deactivated_at, when FCM said that there
-- is no such token, which may be wrong: the next refresh takes it back.
ALTER TABLE accounts
    ADD COLUMN locale               text        NOT NULL DEFAULT 'en',
    ADD COLUMN token_refreshed_at   timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN token_deactivated_at timestamptz,
    ADD COLUMN token_strikes        smallint    NOT NULL DEFAULT 0,
    ADD CONSTRAINT locale_is_known CHECK (locale IN ('en', 'ru', 'uk')),
    ADD CONSTRAINT deactivated_only_with_a_token CHECK (token_deactivated_at IS NULL OR push_token IS NOT NULL);

-- +goose StatementBegin
CREATE FUNCTION has_phone(a accounts) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT a.push_token IS NOT NULL AND a.token_deactivated_at IS NULL AND NOT a.deleted
$$;
-- +goose StatementEnd

-- That an invoice is made, or its payment refused, only its payer's phone is told.
ALTER TABLE events
    DROP CONSTRAINT type_is_known,
    ADD CONSTRAINT type_is_known CHECK (type IN ('payment.finished', 'payment.holded', 'payment.canceled', 'payment.rejected',
        'payment.reversed', 'payment.partly_reversed', 'subscription.ended', 'recharge.committed', 'recharge.rolled_back',
        'recharge.expired', 'invoice.paid', 'invoice.made', 'invoice.refused', 'callback.test'));

-- One event to be told to one account's phone. A push has the id of its operation, of the type
-- push.send, which knows how far it has come. Which token it goes to is decided when it is
-- sent. No foreign keys to events, which may be forgotten, nor to accounts, whose rows they
-- would lock at every insert: accounts are never deleted.
CREATE TABLE pushes (
    id         uuid   PRIMARY KEY REFERENCES operations (id),
    event_id   uuid   NOT NULL,
    account_id bigint NOT NULL,
    CONSTRAINT one_push_per_event_and_account UNIQUE (event_id, account_id)
);

ALTER TABLE operations
    DROP CONSTRAINT type_is_known,
    ADD CONSTRAINT type_is_known CHECK (type IN ('invoice.pay', 'recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late',
        'payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire', 'payment.reverse', 'receipt.send',
        'callback.send', 'push.send'));
