package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/quittance/quittance/deploy/local"
)

// execution is one `dev exec`: a command that runs against servers.
type execution struct {
	root    string
	command []string
	options local.Options // of the command's own servers; without Dir, those of `dev run`
	tools   bool          // the command is a test, which uses a browser and a reader of PDFs
}

// run runs the command and returns its exit code. Signals go to the command; the servers
// stop after it.
func (e execution) run(i *interrupts) (int, error) {
	if e.options.Dir == "" {
		env, err := runningEnv(e.root)
		if err != nil {
			return 1, err
		}
		return e.execute(i, env)
	}

	console := newConsole(os.Stderr) // the command has stdout to itself
	e.options.Step = console.step
	if e.tools {
		if err := local.InstallTools(i.first, e.options); err != nil {
			console.say("Tests that need what could not be installed are skipped: " + err.Error() + "\n")
		}
	}
	servers, err := e.start(i.first)
	console.close()
	if err != nil {
		return 1, err
	}
	code, err := e.execute(i, append(os.Environ(), servers.Env()...))
	if stopErr := e.stop(i.second, servers); stopErr != nil {
		return max(code, 1), errors.Join(err, stopErr)
	}
	return code, err
}

// stop ends the servers. Data that the next run deletes needs no clean end, which takes
// RabbitMQ six seconds with its management.
func (e execution) stop(ctx context.Context, servers *local.Servers) error {
	if e.options.Fresh {
		return servers.Kill()
	}
	return servers.Stop(ctx)
}

func (e execution) start(ctx context.Context) (*local.Servers, error) {
	if err := os.MkdirAll(e.options.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := local.Install(ctx, e.options); err != nil {
		return nil, err
	}
	return local.Start(ctx, e.options)
}

// runningEnv is the environment with the addresses of the running `dev run`.
func runningEnv(root string) ([]string, error) {
	if !local.InUse(filepath.Join(root, ".local", "run")) {
		return nil, errors.New("nothing runs: start `make run`, or give the command servers of its own with -data")
	}
	var env []string
	for key, value := range local.Environ(os.Environ()) {
		env = append(env, key+"="+value)
	}
	return env, nil
}

func (e execution) execute(i *interrupts, env []string) (int, error) {
	cmd := exec.Command(e.command[0], e.command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr

	interactive := foreground(os.Stdin)
	start := local.StartProcess
	if interactive {
		start = local.StartInForeground
	}
	p, err := start(cmd)
	if err != nil {
		return 127, err // as a shell answers for a command that it cannot run
	}
	for {
		select {
		case <-p.Done():
			return codeOf(p.Err())
		case sig := <-i.signals:
			if interactive && (sig == syscall.SIGINT || sig == syscall.SIGQUIT) {
				continue // from the keyboard, which has told the command as well
			}
			p.Signal(sig)
		}
	}
}

// codeOf is the exit code that tells how a command ended; for a signal, as a shell tells
// it. That a command failed is not an error of ours.
func codeOf(err error) (int, error) {
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return exitCode(err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), fmt.Errorf("the command ended: %w", err)
	}
	return exit.ExitCode(), nil
}
