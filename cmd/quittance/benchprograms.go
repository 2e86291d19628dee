package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/deploy/local"
)

const (
	readyWithin = 30 * time.Second
	drainWithin = 25 * time.Second
)

// contender is what is measured: the system or the ceiling, while it runs.
type contender struct {
	address  string // where it takes requests
	books    contenderSQL
	posted   int // commands, up to now
	programs []*child
	pids     map[string]int
}

// child is a program of ours that runs for as long as its contender does.
type child struct {
	*local.Process

	name string
	log  string
}

// startSystem starts api and worker, or those of them that are named, each on ports of its own.
func (b *bench) startSystem(ctx context.Context, names ...string) (*contender, error) {
	if names == nil {
		names = []string{"api", "worker"}
	}
	addresses, err := freeAddresses(3)
	if err != nil {
		return nil, err
	}
	public, apiMonitor, workerMonitor := addresses[0], addresses[1], addresses[2]
	env := map[string]string{
		"QUITTANCE_HTTP_ADDR":           public,
		"QUITTANCE_API_MONITOR_ADDR":    apiMonitor,
		"QUITTANCE_WORKER_MONITOR_ADDR": workerMonitor,
		"QUITTANCE_ACCOUNT_ADD_RATE":    "100000",
		"QUITTANCE_TOKEN_RATE":          "100000",
		"QUITTANCE_CALLBACK_ALLOW":      "127.0.0.0/8",
	}
	c := &contender{address: public, books: b.work.books, pids: map[string]int{}}
	var g errgroup.Group
	monitors := map[string]string{"api": apiMonitor, "worker": workerMonitor}
	for _, name := range names {
		monitor := monitors[name]
		p, err := b.startChild(name, env, filepath.Join(b.bin, name))
		if err != nil {
			return nil, errors.Join(err, c.stop(ctx))
		}
		c.add(p)
		g.Go(func() error { return p.ready(ctx, "http://"+monitor+"/readyz") })
	}
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, c.stop(ctx))
	}
	return c, nil
}

func (b *bench) startCeiling(ctx context.Context) (*contender, error) {
	addresses, err := freeAddresses(1)
	if err != nil {
		return nil, err
	}
	c := &contender{address: addresses[0], books: ceilingSQL, pids: map[string]int{}}
	p, err := b.startChild("ceiling", nil, filepath.Join(b.bin, "quittance"), "bench-ceiling",
		"--address", addresses[0], "--accounts", strconv.Itoa(b.benchOptions.accounts))
	if err != nil {
		return nil, err
	}
	c.add(p)
	if err := p.ready(ctx, "http://"+addresses[0]+"/readyz"); err != nil {
		return nil, errors.Join(err, c.stop(ctx))
	}
	return c, nil
}

func (c *contender) add(p *child) {
	c.programs = append(c.programs, p)
	c.pids[p.name] = p.PID()
}

// stop lets all programs finish what they are about, and kills what does not.
func (c *contender) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	var g errgroup.Group
	for _, p := range c.programs {
		g.Go(func() error { return p.stop(ctx) })
	}
	return g.Wait()
}

// startChild starts a program, whose output goes to a log of its own.
func (b *bench) startChild(name string, env map[string]string, command ...string) (*child, error) {
	p := &child{name: name, log: filepath.Join(b.root, ".local", "log", "bench-"+name+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	all := maps.Clone(b.environ)
	maps.Copy(all, env)
	for key, value := range all {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	p.Process, err = local.StartProcess(cmd)
	return p, err
}

// ready returns when the program says that it is ready.
func (p *child) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := ping(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done():
			return fmt.Errorf("%s ended before it was ready: %v (%s)", p.name, p.Err(), p.log)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w (%s)", p.name, err, p.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ping(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}

func (p *child) stop(ctx context.Context) error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done():
		if p.Err() != nil {
			return fmt.Errorf("%s: %w (%s)", p.name, p.Err(), p.log)
		}
		return nil
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s had to be killed: %w (%s)", p.name, ctx.Err(), p.log)
	}
}

// freeAddresses finds addresses on which nothing listens.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // at the end: no two are the same
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func newSecretKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return base64.StdEncoding.EncodeToString(key)
}
