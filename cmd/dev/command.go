package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/quittance/quittance/deploy/local"
)

const usage = `usage:
  dev run                                                   everything, until Ctrl-C
  dev exec [-data name] [-fresh] [-management] [-tools] -- command
                                                            a command against PostgreSQL and RabbitMQ:
                                                            those of a running "dev run", or, with -data,
                                                            its own, with their data in .local/name;
                                                            -tools installs what the tests use
  dev reset                                                 delete .local, with all data`

// exitUsage is what a command line that makes no sense ends with.
const exitUsage = 2

// command runs what the arguments say and returns the exit code.
func command(args []string) (int, error) {
	root, err := local.Root()
	if err != nil {
		return 1, err
	}
	if len(args) == 0 {
		return exitUsage, errors.New(usage)
	}
	interrupts := watchInterrupts()
	defer interrupts.stop()

	switch name, rest := args[0], args[1:]; {
	case name == "run" && len(rest) == 0:
		d := &development{root: root, programs: programs, caller: environment(), console: newConsole(os.Stdout)}
		return exitCode(d.run(interrupts.first, interrupts.second))
	case name == "exec":
		e, err := parseExec(root, rest)
		if err != nil {
			return exitUsage, err
		}
		return e.run(interrupts)
	case name == "reset" && len(rest) == 0:
		return exitCode(local.Remove(interrupts.first, filepath.Join(root, ".local")))
	default:
		return exitUsage, errors.New(usage)
	}
}

func exitCode(err error) (int, error) {
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// parseExec reads the arguments of `dev exec`.
func parseExec(root string, args []string) (execution, error) {
	var data string
	var e execution
	flags := flag.NewFlagSet("exec", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&data, "data", "", "")
	flags.BoolVar(&e.options.Fresh, "fresh", false, "")
	flags.BoolVar(&e.options.Management, "management", false, "")
	flags.BoolVar(&e.tools, "tools", false, "")
	if err := flags.Parse(args); err != nil {
		return e, fmt.Errorf("%w\n%s", err, usage)
	}
	e.root, e.command = root, flags.Args()
	switch {
	case len(e.command) == 0:
		return e, errors.New(usage)
	case data == "" && (e.options.Fresh || e.options.Management || e.tools):
		return e, errors.New("-fresh, -management and -tools need -data: servers that run already stay as they are")
	case data == "run" || data != "" && (filepath.Base(data) != data || data == "." || data == ".."):
		return e, fmt.Errorf("-data %s: the name of a folder below .local, other than run", data)
	case data != "":
		e.options.Dir = filepath.Join(root, ".local", data)
	}
	return e, nil
}

// environment is this process's environment.
func environment() map[string]string {
	env := map[string]string{}
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		env[name] = value
	}
	return env
}
