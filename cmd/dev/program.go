package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quittance/quittance/deploy/local"
)

// programs are what `dev run` runs.
var programs = []*program{
	{name: "sandbox", health: "http://127.0.0.1:8090/healthz", addresses: []string{"127.0.0.1:8090", "127.0.0.1:8091"}},
	{name: "api", health: "http://127.0.0.1:9101/readyz", addresses: []string{"127.0.0.1:8000", "127.0.0.1:9101"}},
	{name: "worker", health: "http://127.0.0.1:9102/readyz", addresses: []string{"127.0.0.1:9102"}},
}

// readyWithin is how long a program may take until it is ready.
const readyWithin = 60 * time.Second

// program is one of ours that runs for as long as `dev run` does.
type program struct {
	name      string
	health    string   // answers 200 when the program is ready
	addresses []string // where it listens; the first is shown

	path, log string
	env       []string

	mu   sync.Mutex
	proc *local.Process // of the last start
}

func (p *program) String() string { return p.name }

// checkAddresses tells who is in the way before the program does so in its log: most often
// a `dev run` in another checkout, whose answers would pass for ours.
func (p *program) checkAddresses() error {
	for _, address := range p.addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%s needs %s, where something else listens: %w", p, address, err)
		}
		if err := l.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Start starts a program that does not run. What it prints is added to its log.
func (p *program) Start(context.Context) error {
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the program has its own
	cmd := exec.Command(p.path)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	proc, err := local.StartProcess(cmd)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc = proc
	return nil
}

func (p *program) process() *local.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}

// Done is closed when the program has ended, for whatever reason.
func (p *program) Done() <-chan struct{} { return p.process().Done() }

// Ready returns when the program says that it is ready; an error when it ends instead, or
// takes too long.
func (p *program) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := p.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended (%v): %s", p, p.process().Err(), lastLines(p.log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w: %s", p, err, lastLines(p.log))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *program) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", p.health, resp.Status)
	}
	return nil
}

// Stop lets the program finish what it is about, and kills it when ctx is done first.
func (p *program) Stop(ctx context.Context) error {
	proc := p.process()
	if proc == nil {
		return nil
	}
	proc.Signal(syscall.SIGTERM)
	select {
	case <-proc.Done():
		return nil
	case <-ctx.Done():
		proc.Kill()
		return fmt.Errorf("%s had to be killed: %w", p, ctx.Err())
	}
}

// lastLines is the end of a log, for an error's text.
func lastLines(path string) string {
	log, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return filepath.Base(path) + ":\n  " + strings.Join(lines[max(0, len(lines)-5):], "\n  ")
}
