// Command worker does what the API accepted: it runs all workers, or those that its arguments
// name (worker payment deadletter). `worker ready` asks the one that runs here whether it is ready.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/quittance/quittance/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	environ, names := local.Environ(os.Environ()), os.Args[1:]
	if len(names) > 0 && strings.HasPrefix(names[0], "-") {
		fmt.Fprintln(os.Stderr, "usage: worker [kind ...], or worker ready; what it reads from its environment is shown by quittance config")
		os.Exit(2)
	}
	var err error
	if slices.Equal(names, []string{"ready"}) {
		err = ready(ctx, environ)
	} else {
		err = run(ctx, names, environ)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}
