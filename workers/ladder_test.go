package workers_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers"
)

// What waits longer than the broker can hold it waits in its row; a rung that is not there
// is a mistake.
func TestALadderNamesItsRungs(t *testing.T) {
	t.Parallel()
	want := []store.Delay{{Name: "30s", Wait: 30 * time.Second}, {Name: "10m", Wait: 10 * time.Minute}, {Wait: time.Hour}}
	if diff := cmp.Diff(want, workers.Ladder(30*time.Second, 10*time.Minute, time.Hour)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	defer func() {
		if recover() == nil {
			t.Error("a ladder with a rung of 3 s was made")
		}
	}()
	workers.Ladder(3 * time.Second)
}

// The store names rungs that it may not import from the queue.
func TestTheStoreKnowsTheRungs(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(workers.Ladder(queue.Rungs()...), store.Rungs()); diff != "" {
		t.Errorf("the broker's rungs and the store's, -want +got\n%s", diff)
	}
}
