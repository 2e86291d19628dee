// Command quittance is the operator's command line.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/quittance/quittance/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(local.Environ(os.Environ()))
	root.SetOut(os.Stdout) // cobra would print to stderr
	root.SetArgs(spellWork(os.Args[1:]))
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "quittance:", err)
	}
	code := exitCode(err)
	if code == exitUsage {
		fmt.Fprintf(os.Stderr, "See %s --help.\n", cmd.CommandPath())
	}
	os.Exit(code)
}
