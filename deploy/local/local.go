// Package local runs a private PostgreSQL and a private RabbitMQ on this machine: own
// ports on 127.0.0.1, own data in one folder, nothing of the system's touched.
//
// Both are children of the process that started them and do not outlive it: on Linux
// the kernel ends them with it, even when it is killed; elsewhere the next Start in the
// same folder ends what was left. Both write durably (fsync, synchronous commit, quorum
// queues), so that what is measured or killed here behaves as it would in production.
//
// It serves development and tests. Nothing that runs in production depends on it but
// Environ, which changes nothing outside a checkout.
package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopWithin is how long a server may take to end cleanly: RabbitMQ takes about a
// second, PostgreSQL as long as its checkpoint.
const stopWithin = 20 * time.Second

// Step announces a piece of work and returns what ends it, with its error. It is called
// from several goroutines at once.
type Step func(name string) (done func(error))

// Options say which servers Start starts, and where. Only Dir is required.
type Options struct {
	Dir   string // holds everything that the servers write; made if missing, one Start at a time
	Fresh bool   // delete what an earlier run left in Dir

	Management      bool // with RabbitMQ's management API
	WithoutPostgres bool
	WithoutRabbitMQ bool

	// Ports that are wanted; 0 for any. The port of the last run in Dir comes first, so that
	// addresses are stable; where neither is free, another one is taken.
	PostgresPort int
	RabbitMQPort int

	Step Step // told what happens; may be nil
}

func (o Options) step(name string) func(error) {
	if o.Step == nil {
		return func(error) {}
	}
	return o.Step(name)
}

// Servers are the running servers. One that was not asked for is nil.
type Servers struct {
	Postgres *Postgres
	RabbitMQ *RabbitMQ

	lock *lock
}

// Start starts the servers, both at once, and returns when they answer. What an earlier
// run left running in the same folder is ended first. ErrInUse means that another
// process runs servers there.
//
// The programs must be there: see Install.
func Start(ctx context.Context, o Options) (*Servers, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}

	s, err := start(ctx, o)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	s.lock = lock
	return s, nil
}

func start(ctx context.Context, o Options) (*Servers, error) {
	s, err := prepare(ctx, o)
	if err != nil {
		return nil, err
	}
	var g errgroup.Group // not WithContext: a server that is half started is ended by Stop, not by the other's failure
	for _, srv := range s.all() {
		g.Go(func() error {
			if o.Fresh {
				if err := srv.clear(ctx); err != nil {
					return err
				}
			}
			done := o.step(srv.String())
			err := srv.Start(ctx)
			done(err)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.kill()
		return nil, err
	}
	return s, nil
}

// prepare finds the programs and chooses folders and ports.
func prepare(ctx context.Context, o Options) (*Servers, error) {
	ports, err := choosePorts(o)
	if err != nil {
		return nil, err
	}
	var s Servers
	if !o.WithoutPostgres {
		if s.Postgres, err = newPostgres(ctx, o, ports["POSTGRES"]); err != nil {
			return nil, err
		}
	}
	if !o.WithoutRabbitMQ {
		if s.RabbitMQ, err = newRabbitMQ(ctx, o, ports); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

// Env is what a program needs to find the servers, as "KEY=value": DATABASE_URL,
// AMQP_URL, RABBITMQCTL (a script that runs rabbitmqctl against this node) and, with
// management, RABBITMQ_MANAGEMENT_URL.
func (s *Servers) Env() []string {
	var env []string
	if s.Postgres != nil {
		env = append(env, "DATABASE_URL="+s.Postgres.URL("quittance"))
	}
	if s.RabbitMQ != nil {
		env = append(env, "AMQP_URL="+s.RabbitMQ.URL(), "RABBITMQCTL="+s.RabbitMQ.ctl)
		if url := s.RabbitMQ.ManagementURL(); url != "" {
			env = append(env, "RABBITMQ_MANAGEMENT_URL="+url)
		}
	}
	return env
}

// Stop ends both servers cleanly; what has not ended after 20 seconds, or when ctx does,
// is killed and reported. The data stays. Afterwards the folder is free for another
// Start.
func (s *Servers) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	var g errgroup.Group
	for _, srv := range s.all() {
		g.Go(func() error { return srv.Stop(ctx) })
	}
	return errors.Join(g.Wait(), s.lock.release())
}

// Kill ends both servers at once, for data that nobody will read again. Afterwards the
// folder is free for another Start.
func (s *Servers) Kill() error {
	s.kill()
	return s.lock.release()
}

func (s *Servers) kill() {
	for _, srv := range s.all() {
		srv.Kill()
	}
}

func (s *Servers) all() []*server {
	var all []*server
	if s.Postgres != nil {
		all = append(all, s.Postgres.server)
	}
	if s.RabbitMQ != nil {
		all = append(all, s.RabbitMQ.server)
	}
	return all
}

// Remove deletes dir with all that servers which ran in folders below it have stored,
// wherever that is. ErrInUse means that some still run; then nothing is deleted.
func Remove(ctx context.Context, dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*", lockName))
	if err != nil {
		return err
	}
	for _, path := range locks {
		l, err := takeLock(filepath.Dir(path))
		if err != nil {
			return err
		}
		defer l.release()
	}
	for _, path := range locks {
		if err := removeElsewhere(ctx, filepath.Dir(path)); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// removeElsewhere deletes what the servers of dir store outside of it.
func removeElsewhere(ctx context.Context, dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(outside(abs)), os.RemoveAll(outside(abs)+standbySuffix), removeVolumes(ctx, abs))
}

// id tells the folders of one machine apart, in names that must be short.
func id(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

func hostPort(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// writeFile writes a file that only its owner reads.
func writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
