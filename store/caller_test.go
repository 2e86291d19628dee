package store

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

func hashNumber(n int) [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

func TestACallerIsRememberedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c callerCache
		_, known, epoch := c.get(hashNumber(1))
		if known {
			t.Error("a stranger is known")
		}
		c.put(hashNumber(1), Caller{Client: 7}, time.Now().Add(rememberedFor), epoch)
		time.Sleep(rememberedFor - 1) // of the bubble's clock
		if caller, known, _ := c.get(hashNumber(1)); !known || caller.Client != 7 {
			t.Errorf("within the time: %+v, %v", caller, known)
		}
		time.Sleep(time.Nanosecond)
		if _, known, _ := c.get(hashNumber(1)); known {
			t.Error("remembered for longer")
		}
	})
}

func TestAnAnswerThatIsOlderThanARevocationIsNotRemembered(t *testing.T) {
	t.Parallel()
	var c callerCache
	_, _, epoch := c.get(hashNumber(1)) // and the database is asked,
	c.forget()                          // and meanwhile the token is revoked
	c.put(hashNumber(1), Caller{Client: 7}, time.Now().Add(time.Hour), epoch)
	if _, known, _ := c.get(hashNumber(1)); known {
		t.Error("it is remembered")
	}
}

func TestOnlySoManyCallersAreRemembered(t *testing.T) {
	t.Parallel()
	var c callerCache
	for n := range 3 * remembered {
		c.put(hashNumber(n), Caller{}, time.Now().Add(time.Hour), 0)
		if len(c.known) > remembered {
			t.Fatalf("%d are remembered", len(c.known))
		}
	}
}
