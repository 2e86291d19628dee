package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/quittance/quittance/deploy/local"
)

// The ports of a development's servers, unless something else has them.
const (
	postgresPort = 54329
	rabbitPort   = 56729
)

// drainWithin is how long our programs may take to finish what they are about.
const drainWithin = 25 * time.Second

// development is one `dev run`: the servers, and our programs on top of them.
type development struct {
	root     string // of the checkout
	programs []*program
	caller   map[string]string // the environment that `dev run` was started with; it wins
	console  *console

	servers *local.Servers
	env     map[string]string // of our programs
}

// in returns a path below .local.
func (d *development) in(elements ...string) string {
	return filepath.Join(append([]string{d.root, ".local"}, elements...)...)
}

// run runs everything until ctx is done, and then stops it: our programs first, since
// they need the servers to finish. When patient is done as well, what is left is killed.
func (d *development) run(ctx, patient context.Context) error {
	defer d.console.close()
	if dir := d.in("run"); local.InUse(dir) {
		return fmt.Errorf("it runs already, from another terminal: %s: %w", dir, local.ErrInUse)
	}
	err := d.start(ctx)
	if err == nil {
		d.console.say(welcome(d.env))
		d.keepAll(ctx)
	}
	if ctx.Err() != nil {
		err = nil // what was interrupted has not failed
	}
	return errors.Join(err, d.stop(patient))
}

func (d *development) start(ctx context.Context) error {
	if err := os.MkdirAll(d.in("log"), 0o755); err != nil {
		return err
	}
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error { return d.build(both) })
	g.Go(func() error { return d.startServers(both) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := d.settleEnv(); err != nil {
		return err
	}
	for _, command := range []string{"migrate", "demo"} {
		if err := d.prepare(ctx, command); err != nil {
			return err
		}
	}
	return d.startPrograms(ctx)
}

// build builds our programs into .local/bin.
func (d *development) build(ctx context.Context) error {
	// Without a codec of gin's that nobody uses, and without debug symbols: half the size.
	args := []string{"build", "-trimpath", "-tags=nomsgpack", "-ldflags=-s -w", "-o", d.in("bin") + "/", "./cmd/quittance"}
	for _, p := range d.programs {
		args = append(args, "./cmd/"+p.name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = d.root
	return d.runLogged(ctx, "build", "build", cmd)
}

// startServers starts the servers for which the caller has not named others.
func (d *development) startServers(ctx context.Context) error {
	o := local.Options{
		Dir:             d.in("run"),
		WithoutPostgres: d.caller["DATABASE_URL"] != "",
		WithoutRabbitMQ: d.caller["AMQP_URL"] != "",
		PostgresPort:    postgresPort,
		RabbitMQPort:    rabbitPort,
		Step:            d.console.step,
	}
	if err := local.Install(ctx, o); err != nil {
		return err
	}
	var err error
	d.servers, err = local.Start(ctx, o)
	return err
}

// settleEnv decides the environment of our programs, and stores what other commands need
// to find this development.
func (d *development) settleEnv() error {
	stored, err := local.ReadEnv(d.root)
	if err != nil {
		return err
	}
	key := stored["QUITTANCE_SECRET_KEY"]
	if key == "" {
		random := make([]byte, 32)
		_, _ = rand.Read(random) // never fails
		key = base64.StdEncoding.EncodeToString(random)
	}
	stored = map[string]string{"QUITTANCE_SECRET_KEY": key}
	for _, kv := range d.servers.Env() {
		name, value, _ := strings.Cut(kv, "=")
		stored[name] = value
	}
	for _, name := range []string{"DATABASE_URL", "AMQP_URL", "QUITTANCE_SECRET_KEY"} {
		if value := d.caller[name]; value != "" {
			stored[name] = value
		}
	}

	d.env = map[string]string{
		"QUITTANCE_ENV":              "development",
		"QUITTANCE_MOBILE_OPEN_LIST": "true",
		"QUITTANCE_ACCOUNT_ADD_RATE": "1000",
		"QUITTANCE_TOKEN_RATE":       "100000",
		"QUITTANCE_SESSION_RATE":     "100000",
		"QUITTANCE_PAGE_RATE":        "100000",
		"QUITTANCE_ACQUIRER_TIMEOUT": "3s", // so that an unknown outcome is known in seconds
		"QUITTANCE_SMTP_URL":         "smtp://127.0.0.1:8091",
		"QUITTANCE_CALLBACK_ALLOW":   "127.0.0.0/8",
		"QUITTANCE_CALLBACK_HTTP":    "true",
		"QUITTANCE_FCM_URL":          "http://127.0.0.1:8090",
		"QUITTANCE_SANDBOX_DIR":      d.in("sandbox"), // the acquirer's memory is as old as the database's
	}
	maps.Copy(d.env, d.caller)
	maps.Copy(d.env, stored)
	return local.WriteEnv(d.root, stored)
}

// environ is the environment of our programs as exec takes it.
func (d *development) environ() []string {
	var environ []string
	for name, value := range d.env {
		environ = append(environ, name+"="+value)
	}
	return environ
}

// prepare runs a command of ./cmd/quittance that must have been done before our programs
// start.
func (d *development) prepare(ctx context.Context, command string) error {
	cmd := exec.Command(d.in("bin", "quittance"), command)
	cmd.Dir = d.root
	cmd.Env = d.environ()
	return d.runLogged(ctx, command, "quittance "+command, cmd)
}

// runLogged runs a command as a step. What it prints goes to a log, and into the error.
func (d *development) runLogged(ctx context.Context, name, step string, cmd *exec.Cmd) error {
	path := d.in("log", name+".log")
	log, err := os.Create(path)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	done := d.console.step(step)
	err = local.Run(ctx, cmd)
	done(err)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", step, err, lastLines(path))
	}
	return nil
}

// startPrograms starts our programs, and returns when all are ready.
func (d *development) startPrograms(ctx context.Context) error {
	for _, p := range d.programs {
		if err := p.checkAddresses(); err != nil {
			return err
		}
	}
	var g errgroup.Group
	for _, p := range d.programs {
		p.path, p.log, p.env = d.in("bin", p.name), d.in("log", p.name+".log"), d.environ()
		if err := os.RemoveAll(p.log); err != nil {
			return err
		}
		if err := p.Start(ctx); err != nil {
			return err
		}
		g.Go(func() error {
			done := d.console.step(p.name + " on " + p.addresses[0])
			err := p.Ready(ctx)
			done(err)
			return err
		})
	}
	return g.Wait()
}

// keepAll starts again whatever ends, until ctx is done.
func (d *development) keepAll(ctx context.Context) {
	var all []kept
	if d.servers.Postgres != nil {
		all = append(all, d.servers.Postgres)
	}
	if d.servers.RabbitMQ != nil {
		all = append(all, d.servers.RabbitMQ)
	}
	for _, p := range d.programs {
		all = append(all, p)
	}
	var keepers sync.WaitGroup
	for _, k := range all {
		keepers.Go(func() { keep(ctx, k, d.console.say) })
	}
	keepers.Wait()
}

// stop stops whatever has been started.
func (d *development) stop(patient context.Context) error {
	drain, cancel := context.WithTimeout(patient, drainWithin)
	defer cancel()
	err := d.stopping("sandbox, api and worker", func() error {
		var g errgroup.Group
		for _, p := range d.programs {
			g.Go(func() error { return p.Stop(drain) })
		}
		return g.Wait()
	})
	if d.servers == nil {
		return err
	}
	return errors.Join(err, d.stopping("servers", func() error { return d.servers.Stop(patient) }))
}

func (d *development) stopping(what string, stop func() error) error {
	done := d.console.step("stop " + what)
	err := stop()
	done(err)
	return err
}
