package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// standbySuffix is what the folder of a standby's data has after its primary's.
const standbySuffix = "-standby"

// StartStandby copies p, which runs, into a server that follows it, and returns when p waits for
// that server with every commit. It is for tests: the caller ends it by Kill, and what it
// stores is deleted with p's folder. Docker is not used.
func (p *Postgres) StartStandby(ctx context.Context) (*Postgres, error) {
	if p.bin == "" {
		return nil, errors.New("a standby in Docker")
	}
	port, err := freePort(nil)
	if err != nil {
		return nil, err
	}
	s := &Postgres{Port: port, password: p.password, bin: p.bin, account: p.account}
	s.server = &server{
		name: "standby on " + hostPort(port), dir: p.dir + standbySuffix, logFile: strings.TrimSuffix(p.logFile, ".log") + standbySuffix + ".log",
		ping: s.ping, stopSignal: syscall.SIGINT, launch: s.startNative,
	}
	s.sweep = func() error { return endProcesses(s.dir) }
	if err := errors.Join(s.settleIn(s.dir), s.copyOf(ctx, p)); err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	if err := p.awaitStandby(ctx); err != nil {
		s.Kill()
		return nil, fmt.Errorf("%s follows %s: %w", s, p, err)
	}
	return s, nil
}

// copyOf takes over what another server has stored, and what it takes to follow it.
func (p *Postgres) copyOf(ctx context.Context, primary *Postgres) error {
	copying := p.program("pg_basebackup", "--pgdata", p.data(), "--host", "127.0.0.1", "--port", fmt.Sprint(primary.Port), "--username", "quittance",
		"--wal-method=stream", "--checkpoint=fast", "--write-recovery-conf", "--no-sync")
	copying.Env = append(copying.Env, "PGPASSWORD="+p.password)
	return run(ctx, copying)
}

// awaitStandby has commits wait for the standby from now on, and returns when they do.
func (p *Postgres) awaitStandby(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.URL("quittance"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	for waits := false; !waits; {
		const sql = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync')"
		if err := conn.QueryRow(ctx, sql).Scan(&waits); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// Promote makes a standby the primary.
func (p *Postgres) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL("quittance"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var promoted bool
	if err := conn.QueryRow(ctx, "SELECT pg_promote()").Scan(&promoted); err != nil {
		return err
	}
	if !promoted {
		return fmt.Errorf("%s: not promoted in time", p)
	}
	return nil
}
