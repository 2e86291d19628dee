package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// What the command line exits with, as its help says.
const (
	exitFailed = 1
	exitUsage  = 2
	exitFound  = 3
)

const exitCodes = `Exit codes:
  0  done
  1  failed: refused, not found, or a server is out of reach
  2  the command line was not understood: nothing was done
  3  an audit found something wrong`

// errFound says that an audit has done what it should, and something is wrong.
var errFound = errors.New("the books are wrong")

// usageError is one of the command line itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// misused marks an error of a flag's value that only the command itself can see.
func misused(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// workError is one of a command that had begun.
type workError struct{ error }

func (e workError) Unwrap() error { return e.error }

// tellWorkFromUsage has a command mark its errors: what cobra refuses before it is begun, an
// unknown flag or a missing one, is all usage.
func tellWorkFromUsage(cmd *cobra.Command) {
	run := cmd.RunE
	if run == nil {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err == nil || errors.As(err, new(usageError)) {
			return err
		}
		return workError{err}
	}
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(usageError)) || !errors.As(err, new(workError)):
		return exitUsage
	case errors.Is(err, errFound):
		return exitFound
	}
	return exitFailed
}
