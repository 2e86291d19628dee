-- +goose NO TRANSACTION
-- +goose Up

-- To make an index of all operations takes longer than anybody waits to write one, so this one is
-- made beside them. It waits for whoever has begun before; nobody waits for it.
SET lock_timeout = 0;

-- What an attempt that was cut short has left is not used by anybody.
DROP INDEX CONCURRENTLY IF EXISTS open_reversals;

-- The reversals that are open, or dead: how much money waits to be given back, and since when.
-- Any number may be open on one payment, so that no index of the slots has them.
CREATE INDEX CONCURRENTLY open_reversals ON operations (resource)
    WHERE type = 'payment.reverse' AND finished_at IS NULL;

RESET lock_timeout;
