-- +goose Up

-- The time that decides what has expired: the database's clock, which only development moves.
CREATE TABLE deciding_clock (
    only_row boolean  PRIMARY KEY DEFAULT true CHECK (only_row),
    ahead    interval NOT NULL DEFAULT '0'
);
INSERT INTO deciding_clock DEFAULT VALUES;

-- +goose StatementBegin
CREATE FUNCTION deciding_time() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT now() + c.ahead FROM deciding_clock c
$$;
-- +goose StatementEnd

-- Who brings money in. Limits are minor units of the currency; NULL is none. A provider
-- with a limit takes its own currency only.
CREATE TABLE providers (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reference         text        NOT NULL,
    name              text        NOT NULL,
    description       text        NOT NULL DEFAULT '',
    params            text[]      NOT NULL DEFAULT '{}',
    currency          smallint    NOT NULL,
    limit_per_payment bigint,
    limit_per_day     bigint,
    expires_after     interval    NOT NULL DEFAULT '24 hours',
    enabled           boolean     NOT NULL DEFAULT true,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT provider_reference_is_unique UNIQUE (reference),
    CONSTRAINT reference_fits_a_path  CHECK (reference ~ '^[A-Za-z0-9_-]{1,64}$'),
    CONSTRAINT limits_are_positive    CHECK (coalesce(limit_per_payment, 1) > 0 AND coalesce(limit_per_day, 1) > 0),
    CONSTRAINT expires_after_creation CHECK (expires_after > interval '0')
);

-- What a provider with a limit per day has taken on, by UTC day; less what was rolled back
-- or expired.
CREATE TABLE provider_days (
    provider_id bigint   NOT NULL REFERENCES providers (id),
    currency    smallint NOT NULL,
    day         date     NOT NULL,
    total       bigint   NOT NULL,
    PRIMARY KEY (provider_id, currency, day),
    CONSTRAINT total_is_not_negative CHECK (total >= 0)
) WITH (fillfactor = 70);

-- A top-up of an account's wallet. While it is being committed or rolled back it is a
-- created one with an open operation: nothing is stored twice.
CREATE TABLE recharges (
    id          uuid        PRIMARY KEY,
    payment_no  bigint      GENERATED ALWAYS AS IDENTITY,
    provider_id bigint      NOT NULL,
    account_id  bigint      NOT NULL,
    amount      bigint      NOT NULL,
    currency    smallint    NOT NULL,
    description text        NOT NULL,
    params      jsonb       NOT NULL,
    client_id   bigint      NOT NULL,
    user_id     bigint,
    state       text        NOT NULL DEFAULT 'created',
    reason      text        NOT NULL DEFAULT '',
    limited_day date,
    voucher_id  bigint,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    CONSTRAINT amount_is_positive   CHECK (amount > 0),
    CONSTRAINT params_are_an_object CHECK (jsonb_typeof(params) = 'object'),
    CONSTRAINT state_is_known       CHECK (state IN ('created', 'committed', 'rolled_back', 'expired'))
) WITH (fillfactor = 85);

-- The list of a provider, newest first: of one state, or of all four merged.
CREATE INDEX recharges_by_provider ON recharges (provider_id, state, created_at, id);

-- The same of one account.
CREATE INDEX recharges_by_account ON recharges (account_id, created_at, id);

-- What expires next. IS TRUE keeps the index for the one question that says the same: to
-- others the planner would offer it whenever it remembers few that are created.
CREATE INDEX recharges_to_expire ON recharges (expires_at) WHERE (state = 'created') IS TRUE;

-- Foreign keys would lock the provider and the client, the same rows for almost everybody,
-- at every insert. As with transfers, one query checks a whole set, and it holds because
-- those rows never go away.
-- +goose StatementBegin
CREATE FUNCTION check_what_recharges_refer_to() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT r.id INTO wrong
    FROM added r
    WHERE NOT EXISTS (SELECT FROM providers p WHERE p.id = r.provider_id OFFSET 0)
       OR NOT EXISTS (SELECT FROM accounts a  WHERE a.id = r.account_id OFFSET 0)
       OR NOT EXISTS (SELECT FROM clients c   WHERE c.id = r.client_id OFFSET 0)
       OR r.user_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = r.user_id OFFSET 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE foreign_key_violation USING
            CONSTRAINT = 'recharge_refers_to_what_exists',
            MESSAGE = format('recharge %s: its provider, account, client or user does not exist', wrong.id);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_to_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never deleted, since recharges refer to them: disable or close', TG_TABLE_NAME;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER recharge_refers_to_what_exists
    AFTER INSERT ON recharges REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_what_recharges_refer_to();
CREATE TRIGGER providers_are_never_deleted BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON providers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_delete();
CREATE TRIGGER accounts_are_never_deleted BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_delete();
CREATE TRIGGER clients_are_never_deleted BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON clients
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_delete();
CREATE TRIGGER users_are_never_deleted BEFORE UPDATE OF id OR DELETE OR TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_delete();

-- A voucher's code is money until it is redeemed: it is known by a keyed fingerprint only.
-- A recharge holds its voucher from its creation on; rolled back or expired, it lets go.
CREATE TABLE vouchers (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    amount      bigint      NOT NULL,
    currency    smallint    NOT NULL,
    recharge_id uuid        REFERENCES recharges (id),
    redeemed_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT voucher_is_unique UNIQUE (fingerprint),
    CONSTRAINT one_voucher_per_recharge UNIQUE (recharge_id),
    CONSTRAINT amount_is_positive CHECK (amount > 0),
    CONSTRAINT redeemed_by_a_recharge CHECK (redeemed_at IS NULL OR recharge_id IS NOT NULL)
);

-- Money that came in and could be credited to nobody, and what an operator has to know
-- about it.
CREATE TABLE suspense_notes (
    operation_id uuid        PRIMARY KEY REFERENCES operations (id),
    note         text        NOT NULL,
    author       text        NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE operations
    DROP CONSTRAINT type_is_known,
    ADD CONSTRAINT type_is_known CHECK (type IN ('invoice.pay', 'recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late'));

CREATE UNIQUE INDEX one_open_operation_per_recharge ON operations (resource)
    WHERE type IN ('recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late') AND finished_at IS NULL;

ALTER TABLE transfers
    DROP CONSTRAINT kind_is_known,
    ADD CONSTRAINT kind_is_known CHECK (kind IN ('opening', 'payment', 'recharge', 'late_recharge'));
