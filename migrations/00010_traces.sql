-- +goose Up

-- The span that an operation follows from, as a W3C traceparent; NULL where nothing was traced.
-- It is here, and not only in the operation's messages, since those can be lost. Not validated:
-- no row has one yet, and there is no need to look at all of them.
ALTER TABLE operations ADD COLUMN trace_parent text;
ALTER TABLE operations ADD CONSTRAINT trace_parent_is_w3c
    CHECK (trace_parent ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$') NOT VALID;
