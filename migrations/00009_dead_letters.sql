-- +goose Up

-- A dead letter is resolved by an operator, and its row is kept for good. property_id is the
-- message-id that the message came with: it may say what a body was about that says nothing.
ALTER TABLE dead_letters
    ADD COLUMN property_id  text NOT NULL DEFAULT '',
    ADD COLUMN operation_id uuid GENERATED ALWAYS AS (CASE
        WHEN message_id  ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN message_id::uuid
        WHEN property_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN property_id::uuid END) STORED,
    ADD COLUMN resolved_at  timestamptz,
    ADD COLUMN resolution   text,
    ADD COLUMN resolved_by  text,
    ADD COLUMN note         text NOT NULL DEFAULT '', -- why it was dropped, or what made it moot
    ADD CONSTRAINT resolution_is_known CHECK (resolution IN ('replayed', 'dropped', 'moot')),
    ADD CONSTRAINT resolved_by_somebody_and_somehow CHECK (num_nonnulls(resolved_at, resolution, resolved_by) IN (0, 3));

-- What waits for an operator: few, however many were resolved. By operation, so that whoever
-- has one go on finds its letters.
CREATE INDEX dead_letters_unresolved ON dead_letters (operation_id) WHERE resolved_at IS NULL;

-- What operators did, written in the transaction in which they did it. details has no secrets.
CREATE TABLE audit_log (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text        NOT NULL,
    action  text        NOT NULL,
    subject text        NOT NULL,
    details jsonb       NOT NULL,
    CONSTRAINT somebody_did_something CHECK (actor <> '' AND action <> ''),
    CONSTRAINT details_are_an_object  CHECK (jsonb_typeof(details) = 'object')
);

CREATE TRIGGER the_audit_log_never_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change();
