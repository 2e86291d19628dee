-- +goose Up

-- The reversals that are open, or dead: how much money waits to be given back, and since when.
-- Any number may be open on one payment, so that no index of the slots has them.
CREATE INDEX open_reversals ON operations (resource)
    WHERE type = 'payment.reverse' AND finished_at IS NULL;
