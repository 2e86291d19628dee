// Command api serves the public APIs. It commits what it accepts, and relays what it
// committed to the broker. `api ready` asks the one that runs here whether it is ready.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/quittance/quittance/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := run
	if slices.Equal(os.Args[1:], []string{"ready"}) {
		do = ready
	}
	if err := do(ctx, local.Environ(os.Environ())); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}
