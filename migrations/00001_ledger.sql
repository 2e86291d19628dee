-- +goose Up

-- Amounts are minor units of their currency (ISO 4217 numeric code) everywhere.

-- One balance per kind, owner and currency. A wallet's owner is its account; the owner of
-- what belongs to the house is 0. Only the balance changes, and it is in no index: every
-- update stays on its page (HOT), which the free space of the fillfactor is for.
CREATE TABLE ledger_accounts (
    id              bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            text     NOT NULL,
    owner           bigint   NOT NULL,
    currency        smallint NOT NULL,
    balance         bigint   NOT NULL DEFAULT 0,
    may_go_negative boolean  NOT NULL DEFAULT false,
    CONSTRAINT one_ledger_account_per_kind_owner_and_currency UNIQUE (kind, owner, currency),
    CONSTRAINT kind_is_known CHECK (kind IN ('wallet', 'merchant', 'commission', 'acquirer_clearing', 'provider_clearing', 'suspense')),
    CONSTRAINT balance_is_not_negative_unless_it_may CHECK (balance >= 0 OR may_go_negative),
    CONSTRAINT no_wallet_may_go_negative CHECK (NOT (kind = 'wallet' AND may_go_negative))
) WITH (fillfactor = 70);

-- A transfer moves amount from the debited account to the credited one. reference is what
-- it was made for: the invoice paid from a wallet, the acquirer intent, the recharge.
CREATE TABLE transfers (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text        NOT NULL,
    reference    uuid        NOT NULL,
    debit        bigint      NOT NULL,
    credit       bigint      NOT NULL,
    amount       bigint      NOT NULL,
    currency     smallint    NOT NULL,
    operation_id uuid,
    tx_id        bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT one_transfer_per_reference_and_kind UNIQUE (reference, kind),
    CONSTRAINT kind_is_known           CHECK (kind IN ('opening', 'payment')),
    CONSTRAINT amount_is_positive      CHECK (amount > 0),
    CONSTRAINT debit_and_credit_differ CHECK (debit <> credit),
    CONSTRAINT tx_id_is_a_sha256       CHECK (octet_length(tx_id) = 32),
    CONSTRAINT only_an_opening_has_no_operation CHECK ((operation_id IS NULL) = (kind = 'opening'))
);

-- A wallet's statement, newest first, from either side.
CREATE INDEX transfers_by_debit  ON transfers (debit, id);
CREATE INDEX transfers_by_credit ON transfers (credit, id);

-- +goose StatementBegin
CREATE FUNCTION refuse_to_change_a_transfer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a transfer is never changed or deleted: book another one';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER transfers_are_never_changed
    BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_a_transfer();

-- Both accounts exist and have the transfer's currency. Two foreign keys say the same, but
-- with two queries and two row locks for each row; this is one query for a whole set. It
-- holds because a ledger account never goes away and never changes what it is. OFFSET 0
-- keeps it at two looks into an index for each row, however few accounts the planner
-- remembers.
-- +goose StatementBegin
CREATE FUNCTION check_accounts_of_transfers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong record;
BEGIN
    SELECT t.id, t.debit, t.credit, t.currency INTO wrong
    FROM added t
    WHERE NOT EXISTS (SELECT FROM ledger_accounts d WHERE d.id = t.debit  AND d.currency = t.currency OFFSET 0)
       OR NOT EXISTS (SELECT FROM ledger_accounts c WHERE c.id = t.credit AND c.currency = t.currency OFFSET 0)
    LIMIT 1;
    IF FOUND THEN
        RAISE foreign_key_violation USING
            CONSTRAINT = 'both_accounts_have_the_currency',
            MESSAGE = format('transfer %s: ledger accounts %s and %s do not both have currency %s', wrong.id, wrong.debit, wrong.credit, wrong.currency);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_to_change_a_ledger_account() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'of a ledger account only the balance changes';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER both_accounts_have_the_currency
    AFTER INSERT ON transfers REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION check_accounts_of_transfers();

CREATE TRIGGER of_ledger_accounts_only_the_balance_changes
    BEFORE UPDATE OF id, kind, owner, currency, may_go_negative OR DELETE OR TRUNCATE ON ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_a_ledger_account();

-- Double entry, as accountants read it.
CREATE VIEW entries AS
    SELECT t.id AS transfer, t.debit AS ledger_account, -t.amount AS amount, t.currency, t.created_at FROM transfers t
    UNION ALL
    SELECT t.id, t.credit, t.amount, t.currency, t.created_at FROM transfers t;
