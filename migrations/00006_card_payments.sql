-- +goose Up

-- What a client needs to be a shop: a name for payers, the secret that its requests are
-- signed with (encrypted: it must be read back), and what a payment costs on top.
-- Commission is amount * millipercents / 100,000 + fixed, half up to whole minor units.
ALTER TABLE clients
    ADD COLUMN name                     text     NOT NULL DEFAULT '',
    ADD COLUMN signing_secret           bytea,
    ADD COLUMN signature_required       boolean  NOT NULL DEFAULT true,
    ADD COLUMN commission_millipercents integer  NOT NULL DEFAULT 0,
    ADD COLUMN commission_fixed         bigint   NOT NULL DEFAULT 0,
    ADD COLUMN hold_for                 interval NOT NULL DEFAULT '7 days',
    ADD CONSTRAINT a_shop_has_a_number   CHECK (signing_secret IS NULL OR client_id ~ '^[1-9][0-9]{0,17}$'),
    ADD CONSTRAINT commission_is_sane    CHECK (commission_millipercents BETWEEN 0 AND 100000 AND commission_fixed BETWEEN 0 AND 1000000000000),
    ADD CONSTRAINT hold_ends_after_start CHECK (hold_for > interval '0');

-- What a shop calls with. A session id is a credential: it is known by its SHA-256.
CREATE TABLE client_sessions (
    hash       bytea       PRIMARY KEY,
    client_id  bigint      NOT NULL REFERENCES clients (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    CONSTRAINT hash_is_a_sha256 CHECK (octet_length(hash) = 32)
);

-- What can be forgotten.
CREATE INDEX client_sessions_by_expiry ON client_sessions (expires_at);

-- A card is known by the acquirer's token, which is encrypted here, and by what may be
-- shown of it: the first six and the last four digits.
CREATE TABLE cards (
    id         uuid        PRIMARY KEY,
    client_id  bigint      NOT NULL REFERENCES clients (id),
    token      bytea       NOT NULL,
    mask       text        NOT NULL,
    expiry     text        NOT NULL,
    brand      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mask_is_six_and_four_digits CHECK (mask ~ '^[0-9]{10}$'),
    CONSTRAINT expiry_is_a_month CHECK (expiry ~ '^[0-9]{4}-(0[1-9]|1[0-2])$')
);

-- An invoice is issued by a phone's session, to be paid from a wallet, or by a client, to
-- be paid by card. Of the latter none but updated_at ever changes.
ALTER TABLE invoices
    ALTER COLUMN session_id DROP NOT NULL,
    ALTER COLUMN payer_id DROP NOT NULL,
    ALTER COLUMN recipient_id DROP NOT NULL,
    ALTER COLUMN amount DROP NOT NULL,
    ALTER COLUMN name_cheque DROP NOT NULL,
    ALTER COLUMN date_pay_cheque DROP NOT NULL,
    ALTER COLUMN items DROP NOT NULL,
    ALTER COLUMN tx_id DROP NOT NULL,
    ADD COLUMN client_id      bigint REFERENCES clients (id),
    ADD COLUMN invoice_number bigint,
    ADD COLUMN external_id    text,
    ADD COLUMN system_type    text,
    ADD COLUMN type           text,
    ADD COLUMN reusable       boolean,
    ADD COLUMN services       jsonb,
    ADD COLUMN card_to_id     uuid REFERENCES cards (id),
    ADD COLUMN pay_expires_at timestamptz,
    ADD COLUMN redirect_url   text,
    ADD COLUMN callback_url   text,
    ADD COLUMN email          text,
    ADD COLUMN extra_info     jsonb,
    ADD CONSTRAINT issued_by_a_session_or_a_client CHECK (CASE WHEN client_id IS NULL
        THEN num_nulls(session_id, payer_id, recipient_id, amount, name_cheque, date_pay_cheque, items, tx_id) = 0
             AND num_nonnulls(invoice_number, external_id, system_type, type, reusable, services, card_to_id, pay_expires_at,
                              redirect_url, callback_url, email, extra_info) = 0
        ELSE num_nulls(invoice_number, external_id, system_type, type, reusable, services, extra_info) = 0
             AND num_nonnulls(session_id, payer_id, recipient_id, name_cheque, date_pay_cheque, items, tx_id) = 0
             AND state = 2 AND error_code = 0 END),
    ADD CONSTRAINT system_type_is_known CHECK (system_type IN ('ECOM', 'P2P', 'BILLER')),
    ADD CONSTRAINT type_is_known        CHECK (type IN ('PAY', 'HOLD', 'SUBSCRIBE')),
    ADD CONSTRAINT p2p_names_its_card   CHECK ((card_to_id IS NOT NULL) = (system_type = 'P2P')),
    ADD CONSTRAINT services_are_a_list  CHECK (jsonb_typeof(services) = 'array'),
    ADD CONSTRAINT extra_info_is_an_object     CHECK (jsonb_typeof(extra_info) = 'object'),
    ADD CONSTRAINT a_subscription_is_for_one_payer CHECK (type <> 'SUBSCRIBE' OR NOT reusable AND amount IS NOT NULL);

-- Those of shops have no session: none of them is in the list of one.
DROP INDEX invoices_by_session;
CREATE INDEX invoices_by_session ON invoices (session_id, created_at, number) WHERE session_id IS NOT NULL;

CREATE SEQUENCE invoice_numbers START 10001;

-- show/list by externalId, which need not be unique; newest first.
CREATE INDEX invoices_by_external_id ON invoices (client_id, external_id, created_at) WHERE client_id IS NOT NULL;

-- A payment by card. amount is what the shop gets, commission comes on top; both follow
-- what was completed. A one-time invoice has one payment that is not CANCELED, and a
-- subscription one for each due date and no second one while one is open.
CREATE TABLE payments (
    id                       uuid        PRIMARY KEY,
    number                   bigint      GENERATED BY DEFAULT AS IDENTITY (START WITH 10001),
    invoice_id               uuid        NOT NULL REFERENCES invoices (number),
    client_id                bigint      NOT NULL REFERENCES clients (id),
    system_type              text        NOT NULL,
    type                     text        NOT NULL,
    one_time                 boolean     NOT NULL, -- the invoice is, and this is not a subscription's later charge
    charge_due_at            timestamptz,          -- of a subscription's later charge
    amount                   bigint      NOT NULL,
    commission               bigint      NOT NULL,
    commission_millipercents integer     NOT NULL, -- the tariff that commission follows
    commission_fixed         bigint      NOT NULL,
    itemised                 boolean     NOT NULL, -- commission is a sum over services; a part of amount takes its part of it
    held                     bigint      NOT NULL DEFAULT 0,
    completed                bigint      NOT NULL DEFAULT 0,
    reversed                 bigint      NOT NULL DEFAULT 0,
    reversing                bigint      NOT NULL DEFAULT 0, -- by reversals that are open
    commission_reversed      bigint      NOT NULL DEFAULT 0,
    commission_reversing     bigint      NOT NULL DEFAULT 0,
    currency                 smallint    NOT NULL,
    status                   text        NOT NULL DEFAULT 'NEW',
    payment_status           text        NOT NULL DEFAULT 'OPEN',
    card_from_id             uuid        NOT NULL REFERENCES cards (id),
    card_to_id               uuid        REFERENCES cards (id),
    email                    text,
    receipt_id               text        NOT NULL,
    send_operation_id        text        NOT NULL DEFAULT '',
    receive_operation_id     text        NOT NULL DEFAULT '',
    confirmation             jsonb,                -- what the payer must do, exactly while NEEDS_CONFIRMATION
    refusal_code             text        NOT NULL DEFAULT '',
    refusal_message          text        NOT NULL DEFAULT '',
    expires_at               timestamptz,          -- unless confirmed, or completed, by then
    created_at               timestamptz NOT NULL,
    updated_at               timestamptz NOT NULL,
    paid_at                  timestamptz,
    finished_at              timestamptz,
    reversed_at              timestamptz,
    canceled_at              timestamptz,
    CONSTRAINT amount_is_positive   CHECK (amount > 0 AND amount <= 1000000000000),
    CONSTRAINT commission_is_not_negative CHECK (commission >= 0),
    CONSTRAINT system_type_is_known CHECK (system_type IN ('ECOM', 'P2P', 'BILLER')),
    CONSTRAINT type_is_known        CHECK (type IN ('PAY', 'HOLD', 'SUBSCRIBE')),
    CONSTRAINT status_is_known      CHECK ((status, payment_status) IN (('NEW', 'OPEN'), ('NEW', 'NEEDS_CONFIRMATION'), ('NEW', 'PENDING'),
        ('PAID', 'HOLDED'), ('FINISHED', 'FINISHED'), ('REVERSED', 'REVERSED'), ('CANCELED', 'CANCELED'), ('CANCELED', 'REJECTED'))),
    CONSTRAINT never_completed_beyond_held      CHECK (completed <= held),
    CONSTRAINT completed_exactly_if_finished    CHECK ((completed > 0) = (status IN ('FINISHED', 'REVERSED'))),
    CONSTRAINT finished_with_what_was_completed CHECK (completed IN (0, amount)),
    CONSTRAINT held_if_paid                     CHECK ((held > 0) >= (status IN ('PAID', 'FINISHED', 'REVERSED'))),
    CONSTRAINT never_reversed_beyond_completed  CHECK (reversed >= 0 AND reversing >= 0 AND reversed + reversing <= completed),
    CONSTRAINT commission_never_reversed_beyond CHECK (commission_reversed >= 0 AND commission_reversing >= 0
        AND commission_reversed + commission_reversing <= commission),
    CONSTRAINT reversed_exactly_if_whole        CHECK ((status = 'REVERSED') = (completed > 0 AND reversed = completed)),
    CONSTRAINT confirmation_exactly_if_needed   CHECK ((confirmation IS NOT NULL) = (payment_status = 'NEEDS_CONFIRMATION'))
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX one_payment_per_one_time_invoice ON payments (invoice_id) WHERE one_time AND status <> 'CANCELED';
CREATE UNIQUE INDEX one_charge_per_subscription_and_due_date ON payments (invoice_id, charge_due_at)
    WHERE charge_due_at IS NOT NULL AND status <> 'CANCELED';
CREATE UNIQUE INDEX one_open_payment_per_subscription ON payments (invoice_id) WHERE type = 'SUBSCRIBE' AND status = 'NEW';

-- The payments of an invoice, newest first.
CREATE INDEX payments_by_invoice ON payments (invoice_id, number);

-- What expires next. IS TRUE keeps the index for the one question that says the same.
CREATE INDEX payments_to_expire ON payments (expires_at) WHERE (expires_at IS NOT NULL) IS TRUE;

-- One call of the acquirer: written before it goes out, under an id that is the acquirer's
-- idempotency key. Nobody calls or inquires while somebody has the lease. secret is what the
-- call needs and nothing else: the card's token, what the payer confirms with; it is gone once
-- the outcome is known.
CREATE TABLE acquirer_intents (
    id           uuid        PRIMARY KEY,
    operation_id uuid        NOT NULL REFERENCES operations (id),
    payment_id   uuid        NOT NULL REFERENCES payments (id),
    call         text        NOT NULL,
    amount       bigint      NOT NULL,
    commission   bigint      NOT NULL,
    secret       bytea,
    state        text        NOT NULL DEFAULT 'intended',
    leased_until timestamptz,
    inquiries    integer     NOT NULL DEFAULT 0,
    error        text        NOT NULL DEFAULT '', -- why the outcome is unknown
    reference    text        NOT NULL DEFAULT '', -- the acquirer's
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    CONSTRAINT one_intent_per_operation UNIQUE (operation_id),
    CONSTRAINT call_is_known  CHECK (call IN ('authorise', 'confirm', 'capture', 'void', 'refund')),
    CONSTRAINT state_is_known CHECK (state IN ('intended', 'called', 'unknown', 'approved', 'refused')),
    CONSTRAINT finished_exactly_if_known CHECK ((finished_at IS NOT NULL) = (state IN ('approved', 'refused'))),
    CONSTRAINT secret_is_gone_once_known CHECK (finished_at IS NULL OR secret IS NULL),
    CONSTRAINT leased_once_called CHECK (state IN ('intended', 'refused') OR leased_until IS NOT NULL) -- some are refused before they are called
) WITH (fillfactor = 70);

-- The authorisation that a capture, a void or a refund acts upon.
CREATE INDEX acquirer_intents_by_payment ON acquirer_intents (payment_id);

-- What the schedule worker charges. due_at is the next payment's date, charge_at when it
-- is tried next: then, or 1, 3 or 5 days later; both are NULL until the first payment.
CREATE TABLE subscriptions (
    invoice_id    uuid        PRIMARY KEY REFERENCES invoices (number),
    interval_days smallint    NOT NULL,
    expires_at    timestamptz NOT NULL,
    active        boolean     NOT NULL DEFAULT true,
    card_id       uuid        REFERENCES cards (id),
    tries         smallint    NOT NULL DEFAULT 0, -- of the next payment that were declined
    paid_at       timestamptz,
    due_at        timestamptz,
    charge_at     timestamptz,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT interval_is_up_to_366_days CHECK (interval_days BETWEEN 1 AND 366),
    CONSTRAINT begun_by_a_payment CHECK (num_nulls(card_id, paid_at, due_at, charge_at) IN (0, 4))
);

CREATE INDEX subscriptions_to_charge ON subscriptions (charge_at) WHERE (active AND charge_at IS NOT NULL) IS TRUE;
CREATE INDEX subscriptions_to_end ON subscriptions (expires_at) WHERE active IS TRUE;

-- Who calls the acquirer before its command can commit holds its key for a while. Who takes
-- over a key that was given up calls under the same intent.
CREATE TABLE idempotency_leases (
    scope        bytea       NOT NULL,
    key          text        NOT NULL,
    fingerprint  bytea       NOT NULL,
    intent_id    uuid        NOT NULL,
    leased_until timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);

ALTER TABLE operations
    DROP CONSTRAINT type_is_known,
    ADD CONSTRAINT type_is_known CHECK (type IN ('invoice.pay', 'recharge.commit', 'recharge.rollback', 'recharge.expire', 'recharge.late',
        'payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire', 'payment.reverse', 'receipt.send'));

-- Whoever is to be asked again only in a while may wait without a message: the schedule
-- worker enqueues what waits in its row as soon as it is due, and whatever else is late only
-- where no backlog explains it.
ALTER TABLE operations
    ADD COLUMN waits boolean NOT NULL DEFAULT false;

CREATE UNIQUE INDEX one_open_step_per_payment ON operations (resource)
    WHERE type IN ('payment.authorise', 'payment.confirm', 'payment.complete', 'payment.cancel', 'payment.expire') AND finished_at IS NULL;

CREATE UNIQUE INDEX one_receipt_per_payment ON operations (resource) WHERE type = 'receipt.send';

ALTER TABLE transfers
    DROP CONSTRAINT kind_is_known,
    ADD CONSTRAINT kind_is_known CHECK (kind IN ('opening', 'payment', 'recharge', 'late_recharge',
        'card_payment', 'card_commission', 'card_reversal', 'commission_reversal'));
