package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is a program that runs in a process group of its own, so that a Ctrl-C in the
// terminal does not reach it, and that ends with this process: on Linux the kernel kills
// it when this process dies, however it dies.
type Process struct {
	cmd    *exec.Cmd
	target int // of signals: the process, or minus its group
	done   chan struct{}
	err    error // how it ended; read after done
}

// StartProcess starts cmd. Whoever starts a process ends it or waits for Done.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	return startProcess(cmd, syscall.SIGKILL)
}

// StartInForeground is StartProcess for a command that the user works with: it stays in
// this process's group, where the terminal's input and its Ctrl-C reach it. Signal and
// Kill reach the process alone.
func StartInForeground(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	dieWithParent(cmd.SysProcAttr, syscall.SIGKILL)
	p, err := launch(cmd)
	if err == nil {
		p.target = p.PID()
	}
	return p, err
}

// startProcess starts cmd so that it receives deathSignal when this process dies.
func startProcess(cmd *exec.Cmd, deathSignal syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	dieWithParent(cmd.SysProcAttr, deathSignal)
	p, err := launch(cmd)
	if err == nil {
		p.target = -p.PID()
	}
	return p, err
}

func launch(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

// run starts the command and waits for it on one and the same thread: to the kernel, the
// parent whose death ends the child is the thread that made it.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID is the process's id, which is also its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended, for whatever reason.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err tells how the process ended: nil for exit code 0. It is known once Done is closed.
func (p *Process) Err() error { return p.err }

// Signal sends sig to the process's group. A process that has ended gets nothing.
func (p *Process) Signal(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.target, sig) // it may end meanwhile, which is what Done is for
	}
}

// Kill ends the process's group at once and waits until the process has ended.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Run runs cmd to its end, or until ctx is done: then its whole group is killed.
func Run(ctx context.Context, cmd *exec.Cmd) error {
	p, err := StartProcess(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
}

// servers are the names of the programs that endProcesses may end: whoever reads a log
// or has a shell in a server's folder is left alone.
var servers = []string{"postgres", "beam.smp", "epmd", "erl_child_setup", "inet_gethost"}

// diskMonitor ends the command line of a shell that is RabbitMQ's own: it outlives a killed
// node by the moment until it reads the end of its input.
const diskMonitor = "-s rabbit_disk_monitor"

// running is a process of this machine.
type running struct {
	pid     int
	name    string // of its program
	command string // its command line
	dir     string // its working directory, where that can be known
}

// serverOf tells whether r is a process of a server whose folder is dir.
func (r running) serverOf(dir string) bool {
	within := r.dir == dir || strings.HasPrefix(r.dir, dir+"/") || strings.Contains(r.command, dir+"/") || strings.Contains(r.command, dir+" ")
	return within && (slices.Contains(servers, r.name) || strings.HasSuffix(strings.TrimSpace(r.command), diskMonitor))
}

// endProcesses kills every process of the servers whose folder is dir, and waits until
// they are gone. Their children need it too: an orphaned backend keeps PostgreSQL's
// shared memory, and PostgreSQL does not start again until it has gone.
func endProcesses(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		left, err := processesOf(dir)
		if err != nil || len(left) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d of %s survives being killed", left[0].pid, dir)
		}
		for _, r := range left {
			if err := syscall.Kill(r.pid, syscall.SIGKILL); errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("process %d uses %s and belongs to somebody else", r.pid, dir)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func processesOf(dir string) ([]running, error) {
	all, err := processes()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(r running) bool { return !r.serverOf(dir) }), nil
}
