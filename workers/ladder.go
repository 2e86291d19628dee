package workers

import (
	"fmt"
	"slices"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Ladder names the rungs on which a worker's retries wait. What is longer than the longest
// rung has no name: it waits in its row. Ladder panics where the broker has no such rung: a
// mistake of ours that the first start shows.
func Ladder(waits ...time.Duration) []store.Delay {
	longest := slices.Max(queue.Rungs())
	ladder := make([]store.Delay, len(waits))
	for i, wait := range waits {
		name, ok := queue.RungName(wait)
		if !ok && wait <= longest {
			panic(fmt.Sprintf("the retry ladder has no rung of %s", wait))
		}
		ladder[i] = store.Delay{Name: name, Wait: wait}
	}
	return ladder
}

// MoneyLadder is that of the workers that move money between rows, where an attempt fails
// only through a fault of ours.
var MoneyLadder = Ladder(time.Second, 5*time.Second, 30*time.Second, 2*time.Minute)
