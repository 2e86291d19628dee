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
	switch args := os.Args[1:]; {
	case slices.Equal(args, []string{"ready"}):
		do = ready
	case len(args) > 0:
		fmt.Fprintln(os.Stderr, "usage: api [ready]; what it reads from its environment is shown by quittance config")
		os.Exit(2)
	}
	if err := do(ctx, local.Environ(os.Environ())); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}
