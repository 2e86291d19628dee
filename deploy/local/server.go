package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startWithin is how long a server may take to answer: RabbitMQ takes five seconds on two
// cores, several times that while everything else compiles.
const startWithin = 90 * time.Second

// server is what PostgreSQL and RabbitMQ have in common: a process that is started, asked
// until it answers, and ended.
type server struct {
	name    string
	dir     string // its data, and the working directory of its processes
	logFile string

	launch     func(context.Context) (*Process, error)
	ping       func(context.Context) error
	stopSignal syscall.Signal
	sweep      func() error                // ends what is left of a process that died
	erase      func(context.Context) error // deletes what it stored; it does not run then

	mu   sync.Mutex
	proc *Process // of the last launch
}

// String is the server's name, version and address.
func (s *server) String() string { return s.name }

// Start starts a server that has ended, on the same port with the same data, and returns
// when it answers. Servers from this package's Start run already.
func (s *server) Start(ctx context.Context) error {
	if p := s.process(); p != nil && !ended(p) {
		return fmt.Errorf("%s: runs already", s)
	}
	if err := s.sweep(); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	p, err := s.launch(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	s.mu.Lock()
	s.proc = p
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// Ready returns nil as soon as the server answers; an error when it has ended instead, or
// when ctx is done.
func (s *server) Ready(ctx context.Context) error {
	for {
		err := s.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.Done():
			return fmt.Errorf("%s ended before it answered: %s (%s)", s, s.lastWords(), s.logFile)
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w: %w (%s)", s, ctx.Err(), err, s.logFile)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastWords returns the log's last line.
func (s *server) lastWords() string {
	log, err := os.ReadFile(s.logFile)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(log), 1)
}

// Done is closed when the server has ended, for whatever reason: by itself, or by Stop or
// Kill. Start makes another one.
func (s *server) Done() <-chan struct{} {
	if p := s.process(); p != nil {
		return p.Done()
	}
	return nil
}

// PID is the id of the server's main process; in Docker, that of its client.
func (s *server) PID() int { return s.process().PID() }

// Stop ends the server cleanly. When ctx is done first, it is killed and that is the
// error.
func (s *server) Stop(ctx context.Context) error {
	p := s.process()
	if p == nil {
		return s.sweep()
	}
	p.Signal(s.stopSignal)
	select {
	case <-p.Done():
		return s.sweep()
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("%s had to be killed: %w", s, ctx.Err())
	}
}

// Kill ends every process of the server at once. RabbitMQ 3.10 keeps what it has confirmed,
// but a quorum queue that was declared in the half second before stays without a leader:
// then it takes a Wipe.
func (s *server) Kill() {
	if p := s.process(); p != nil {
		p.Kill()
	}
	_ = s.sweep() // what survives SIGKILL fails the next Start, with a sentence
}

// Wipe kills the server, deletes what it stored and starts it empty.
func (s *server) Wipe(ctx context.Context) error {
	s.Kill()
	if err := s.clear(ctx); err != nil {
		return err
	}
	return s.Start(ctx)
}

// clear deletes what a server that does not run has stored.
func (s *server) clear(ctx context.Context) error {
	if err := errors.Join(s.sweep(), s.erase(ctx)); err != nil {
		return fmt.Errorf("%s: delete its data: %w", s, err)
	}
	return nil
}

func (s *server) process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func ended(p *Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// start starts cmd in the server's folder, writing to its log.
func (s *server) start(cmd *exec.Cmd, deathSignal syscall.Signal) (*Process, error) {
	log, err := os.OpenFile(s.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = log, log
	return startProcess(cmd, deathSignal)
}

// run runs a program to its end; the end of its output is the error's text when it fails.
func run(ctx context.Context, cmd *exec.Cmd) error {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	err := Run(ctx, cmd)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, lastLines(out.String(), 5))
	}
	return err
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// cleanEnv is all that a server sees of this process's environment, with the given
// variables added: a RABBITMQ_NODENAME or PGDATA that is meant for another server must
// not reach this one.
func cleanEnv(vars ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH") + ":/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"}
	for _, key := range []string{"LANG", "LC_ALL", "TMPDIR"} {
		if value := os.Getenv(key); value != "" {
			env = append(env, key+"="+value)
		}
	}
	return append(env, vars...)
}
