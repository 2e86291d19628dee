package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// splitTwins picks, of commands that arrived together, those that can be decided in one
// set: of two about the same thing, or with the same idempotency key, the first goes ahead,
// and the other finds later what it did. about says what a command is about; the zero value
// is nothing that another could be about.
func splitTwins[C any, Thing comparable](commands []C, about func(C) (Thing, Once)) (now []C, later []int) {
	things := make(map[Thing]bool)
	keys := make(map[keyID]bool)
	var nothing Thing
	for i, c := range commands {
		thing, once := about(c)
		twin := things[thing] && thing != nothing
		things[thing] = true
		if once.Key != "" {
			key := once.id()
			twin = twin || keys[key]
			keys[key] = true
		}
		if twin {
			later = append(later, i)
			continue
		}
		now = append(now, c)
	}
	return now, later
}

// claimDecided claims the keys of n commands that were decided on: command(i) is the key and
// the verdict of one, nil for accepted. Those of refused commands are looked up as well,
// since a repeat of what was accepted then may be refused now ("paid earlier"); a key that
// was not used before stays free.
func (s *Store) claimDecided(ctx context.Context, tx pgx.Tx, n int, command func(i int) (Once, *error)) error {
	onces := make([]Once, n)
	for i := range onces {
		onces[i], _ = command(i)
	}
	claimed, err := s.claimAll(ctx, tx, onces)
	if err != nil {
		return err
	}
	var free []Once
	for i, once := range onces {
		_, verdict := command(i)
		switch {
		case claimed[i] != nil:
			*verdict = claimed[i]
		case *verdict != nil && once.Key != "":
			free = append(free, once)
		}
	}
	return freeKeys(ctx, tx, free)
}
