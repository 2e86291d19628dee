package acquirer

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

// A body that was found not to have left never does: whoever reads it then gets nothing.
func TestABodyLeavesOrNever(t *testing.T) {
	t.Parallel()
	for range 2000 {
		var l latch
		var read string
		var err error
		var racing sync.WaitGroup
		racing.Go(func() {
			var all []byte
			all, err = io.ReadAll(latched{strings.NewReader("call"), &l})
			read = string(all)
		})
		unsent := l.shut()
		racing.Wait()
		if unsent != (read == "") || unsent != errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("found unsent: %v, and read: %q, %v", unsent, read, err)
		}
	}
}
