package workers

import (
	"fmt"
	"time"

	"github.com/quittance/quittance/queue"
	"github.com/quittance/quittance/store"
)

// Ladder names the rungs on which a worker's retries wait. It panics where the broker has
// no such rung: a mistake of ours that the first start shows.
func Ladder(waits ...time.Duration) []store.Delay {
	ladder := make([]store.Delay, len(waits))
	for i, wait := range waits {
		name, ok := queue.RungName(wait)
		if !ok {
			panic(fmt.Sprintf("the retry ladder has no rung of %s", wait))
		}
		ladder[i] = store.Delay{Name: name, Wait: wait}
	}
	return ladder
}

// MoneyLadder is that of the workers that move money between rows, where an attempt fails
// only through a fault of ours.
var MoneyLadder = Ladder(time.Second, 5*time.Second, 30*time.Second, 2*time.Minute)
