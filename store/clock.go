package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const readDecidingTimeSQL = `
SELECT deciding_time(), c.ahead
FROM deciding_clock c`

// DecidingTime returns the time that decides what has expired, and how far it is ahead of
// the database's clock: not at all, but in development.
func (s *Store) DecidingTime(ctx context.Context) (now time.Time, ahead time.Duration, err error) {
	ctx, cancel := reading(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, readDecidingTimeSQL).Scan(&now, &ahead)
	return now, ahead, unavailable(wrap("read the deciding time", err))
}

const setClockAheadSQL = `
UPDATE deciding_clock
SET ahead = @ahead`

// SetClockAhead moves the time that decides what has expired. It is for development only:
// the caller sees to that.
func (s *Store) SetClockAhead(ctx context.Context, ahead time.Duration) error {
	_, err := s.execAct(ctx, act{"clock.set", "", map[string]any{"ahead": ahead.String()}}, setClockAheadSQL, pgx.NamedArgs{"ahead": ahead})
	return unavailable(wrap("set the deciding clock", err))
}
