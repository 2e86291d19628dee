package store

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// A set fails while one of its callers gives up: that one's command is not begun, and
// nobody may be told that it was.
func TestWhoGaveUpIsNeverToldThatAllIsWell(t *testing.T) {
	t.Parallel()
	gone, giveUp := context.WithCancel(t.Context())
	var begun []string
	g := &group[string]{work: new(sync.WaitGroup), commit: func(_ context.Context, items []string) ([]int, error) {
		if len(items) > 1 {
			giveUp()
			return nil, errors.New("one of them cannot be stored")
		}
		begun = append(begun, items...)
		return nil, nil
	}}
	stays := member[string]{item: "stays", ctx: t.Context(), done: make(chan error, 1)}
	leaves := member[string]{item: "leaves", ctx: gone, done: make(chan error, 1)}
	g.settle([]member[string]{stays, leaves})

	if err := <-stays.done; err != nil {
		t.Errorf("who stayed is told %v", err)
	}
	if err := <-leaves.done; !errors.Is(err, ErrUnavailable) {
		t.Errorf("who gave up is told %v, want unavailable", err)
	}
	if len(begun) != 1 || begun[0] != "stays" {
		t.Errorf("begun: %v, want only the one that stayed", begun)
	}
}
