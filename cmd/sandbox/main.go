// Command sandbox stands in for the outside world in development. Today it is a partner's
// server: POST /inbox/{name} keeps what it is sent, and GET /inbox/{name} shows it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/quittance/quittance/workers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := workers.Serve(ctx, "127.0.0.1:8090", newInbox()); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}
