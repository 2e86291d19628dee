package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/workers/push/fcmtest"
)

// benchOptions are the flags of the benchmark.
type benchOptions struct {
	workName string

	payments, clients, accounts, rounds int

	rate  int           // commands a second of the paced phase
	paced time.Duration // how long that lasts; 0 for none

	only       string // system or ceiling; "" for both
	recipients string // uniform or hot; "" for both
	format     outputFormat
}

// warmUp is how many commands go ahead of each clock: connections are opened, statements
// prepared and heaps grown then, for the system and for the ceiling alike.
const warmUp = 500

func (o *operator) bench() *cobra.Command {
	var options benchOptions
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure settled commands per second, against a ceiling on the same servers",
		Long: `Send commands over HTTP with many clients, and stop the clock when the last one is final
in the ledger; then check the books. The same number of transfers goes through the
ceiling: the shortest way from an HTTP request through the broker into the database,
without domain and books. Only the ratio of the two says something, since both depend on
the machine and on the hour.

Three kinds of work can be measured. A payment pays an invoice that was issued beforehand. A
recharge is two requests, both inside the clock: it is created, then committed. A push tells
the payer's phone of a new invoice: all are held up by a Firebase that takes nothing, until
all invoices are made, and are then sent as fast as they go. The ceiling is the same for all.

A callback is no command, and has no ceiling: --work callback shows how many events a second
one receiver is told of, every attempt stored, and how long healthy receivers wait for theirs
while two others hang.

Two distributions are measured: payers and recipients at random, and one recipient that
everybody pays or tops up. A paced phase at a fixed rate shows the time from acceptance to
settlement; a recharge is accepted when its commit is.

The database must be new: use make bench ARGS="…", which brings servers of its own. The
last line of the output, and with -o json all of it, is one JSON object, which is also written
to .local/bench.json.`,
		Example: `  make bench
  make bench ARGS="-work recharge"
  make bench ARGS="--work recharge --payments 50000 --recipients hot --rounds 3"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.check(); err != nil {
				return misused(err)
			}
			return runBench(cmd.Context(), options, o.environ)
		},
	}
	f := cmd.Flags()
	f.StringVar(&options.workName, "work", works[0].name, "what to measure: "+workNames())
	f.IntVarP(&options.payments, "payments", "n", 20_000, "payments, or recharges, of each saturated phase")
	f.IntVarP(&options.clients, "clients", "c", 64, "clients, each with one request under way at a time")
	f.IntVar(&options.accounts, "accounts", 1000, "accounts that pay and are paid")
	f.IntVar(&options.rounds, "rounds", 1, "how often to measure; the round with the median ratio is shown")
	f.IntVar(&options.rate, "rate", 500, "payments, or recharges, per second of the paced phase")
	f.DurationVar(&options.paced, "paced", 10*time.Second, "length of the paced phase; 0 for none")
	f.StringVar(&options.only, "only", "", "measure only the system or only the ceiling")
	f.StringVar(&options.recipients, "recipients", "", "measure only uniform or only hot recipients")
	options.format.flag(cmd)
	return cmd
}

func (o benchOptions) check() error {
	if _, err := findWork(o.workName); err != nil {
		return err
	}
	switch {
	case o.payments < 1 || o.clients < 1 || o.rounds < 1 || o.rate < 1 || o.paced < 0:
		return errors.New("payments, clients, rounds and rate must be positive")
	case o.accounts < 2:
		return errors.New("--accounts: it takes two to pay")
	case o.only != "" && o.only != "system" && o.only != "ceiling":
		return errors.New("--only: system or ceiling")
	case o.recipients != "" && o.recipients != "uniform" && o.recipients != "hot":
		return errors.New("--recipients: uniform or hot")
	}
	return nil
}

// tables is where people look.
func (o benchOptions) tables() io.Writer {
	if o.format == "json" {
		return io.Discard
	}
	return os.Stdout
}

// pacedCommands is how many commands the paced phase has.
func (o benchOptions) pacedCommands() int { return int(o.paced.Seconds() * float64(o.rate)) }

// bench is one run of the benchmark.
type bench struct {
	benchOptions
	work    work
	environ map[string]string // of the children
	root    string            // of the checkout
	bin     string            // where the binaries are
	books   *pgx.Conn
	servers servers
	show    *progressDisplay

	fcm      *fcmtest.Server // where pushes are measured
	accounts []benchAccount  // made when the API first runs
	accepted int             // commands that the system has accepted so far, which its books must show
}

func runBench(ctx context.Context, options benchOptions, environ map[string]string) (err error) {
	b, err := newBench(ctx, options, environ)
	if err != nil {
		return err
	}
	defer b.books.Close(context.WithoutCancel(ctx))
	defer b.show.close()
	if b.work.run != nil {
		return b.work.run(b, ctx)
	}
	if b.work.outside != nil {
		end, err := b.work.outside(b)
		if err != nil {
			return err
		}
		defer end()
	}

	rounds := map[string][]figures{}
	for range b.rounds {
		for _, recipients := range []string{"uniform", "hot"} {
			if b.recipients != "" && b.recipients != recipients {
				continue
			}
			f, err := b.measure(ctx, recipients)
			if err != nil {
				return fmt.Errorf("%s: %w", recipients, err)
			}
			rounds[recipients] = append(rounds[recipients], f)
		}
	}
	b.show.close() // what follows is on stdout
	return report(b.tables(), os.Stdout, filepath.Join(b.root, ".local", "bench.json"), medianRounds(rounds))
}

// newBench prepares a database that is new.
func newBench(ctx context.Context, options benchOptions, environ map[string]string) (*bench, error) {
	w, err := findWork(options.workName)
	if err != nil {
		return nil, err
	}
	root, err := local.Root()
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(root, ".local", "log"), 0o755); err != nil {
		return nil, err
	}
	b := &bench{
		benchOptions: options, work: w, environ: maps.Clone(environ), root: root, bin: filepath.Dir(executable),
		show: newProgressDisplay(os.Stderr),
	}
	b.environ["QUITTANCE_SECRET_KEY"] = newSecretKey()
	if b.books, err = openNewBooks(ctx, environ["DATABASE_URL"]); err != nil {
		return nil, err
	}
	b.servers = findServers(ctx, b.books, environ["RABBITMQCTL"])
	if _, err := migrations.Up(ctx, environ["DATABASE_URL"]); err != nil {
		return nil, errors.Join(err, b.books.Close(ctx))
	}
	return b, nil
}

// measure measures the system and then the ceiling. One does not run while the other is
// measured.
func (b *bench) measure(ctx context.Context, recipients string) (figures, error) {
	f := figures{Work: b.work.name, Payments: b.payments, Clients: b.clients}
	if b.only != "ceiling" {
		if err := b.measureSystem(ctx, recipients, &f); err != nil {
			return f, fmt.Errorf("system: %w", err)
		}
	}
	if b.only != "system" {
		if err := b.measureCeiling(ctx, recipients, &f); err != nil {
			return f, fmt.Errorf("ceiling: %w", err)
		}
	}
	f.compare()
	return f, nil
}

func (b *bench) measureSystem(ctx context.Context, recipients string, f *figures) (err error) {
	c, err := b.startSystem(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop(ctx)) }()

	if b.accounts == nil {
		if err := b.work.setUp(b, ctx, c); err != nil {
			return err
		}
	}
	name := recipients + ": system"
	all, err := b.work.prepare(b, ctx, c, name, recipients, warmUp+b.payments+b.pacedCommands())
	if err != nil {
		return err
	}
	full, err := b.work.saturate(b, ctx, c, name, all.upTo(warmUp+b.payments))
	if err != nil {
		return err
	}
	f.saturated(full)
	f.PreparedPerS = all.preparedPerS
	if b.paced > 0 {
		at := fmt.Sprintf("%s: %s %d/s", name, b.work.doing, b.rate)
		paced, err := b.phase(ctx, c, at, all.from(warmUp+b.payments), b.rate)
		if err != nil {
			return err
		}
		f.paced(paced)
	}
	f.APIMB, f.WorkerMB = peakMemory(c.pids["api"]), peakMemory(c.pids["worker"])
	b.accepted += len(all.requests)
	return b.check(ctx, name, b.work.promises, b.accepted)
}

func (b *bench) measureCeiling(ctx context.Context, recipients string, f *figures) (err error) {
	c, err := b.startCeiling(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop(ctx)) }()

	name := recipients + ": ceiling"
	if err := b.tidy(ctx); err != nil {
		return err
	}
	full, err := b.saturate(ctx, c, name, b.ceilingCommands(recipients, warmUp+b.payments))
	if err != nil {
		return err
	}
	f.ceiling(full)
	return b.check(ctx, name, ceilingBooks, c.posted)
}

// phase is what was measured of one load.
type phase struct {
	settledPerS, acceptedPerS float64
	settle                    []time.Duration // accept → settled, sorted
	accept                    []time.Duration // due → answered, sorted
	refused                   int             // answers that said to come back later
	cpu                       map[string]time.Duration
}

// saturate sends what comes after the warm-up as fast as it is answered.
func (b *bench) saturate(ctx context.Context, c *contender, name string, all commands) (phase, error) {
	if _, err := b.phase(ctx, c, name+": warming up", all.upTo(warmUp), 0); err != nil {
		return phase{}, err
	}
	return b.phase(ctx, c, name+": "+b.work.doing, all.from(warmUp), 0)
}

// phase puts a load on c and waits until the last of it is final. The clock runs on the
// database, from before the first request to the last commit.
func (b *bench) phase(ctx context.Context, c *contender, name string, all commands, rate int) (phase, error) {
	tick, done := b.show.begin(name, len(all.requests))
	p, err := b.load(ctx, c, all, rate, tick)
	done(err)
	if err != nil {
		return phase{}, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func (b *bench) load(ctx context.Context, c *contender, all commands, rate int, tick func()) (phase, error) {
	since, err := b.now(ctx)
	if err != nil {
		return phase{}, err
	}
	before := b.servers.usage(c.pids)
	load := load{address: c.address, clients: b.clients, rate: rate, tick: tick}
	t, err := load.run(ctx, all)
	if err != nil {
		return phase{}, err
	}
	c.posted += len(all.requests)
	if err := b.awaitSettled(ctx, c); err != nil {
		return phase{}, err
	}
	cpu := used(before, b.servers.usage(c.pids))
	settled, err := b.settledSince(ctx, c, since)
	if err != nil {
		return phase{}, err
	}
	n := len(all.requests)
	if len(settled.waited) != n {
		return phase{}, fmt.Errorf("%d were accepted, and %d settled", n, len(settled.waited))
	}
	return phase{
		settledPerS:  float64(n) / settled.last.Sub(since).Seconds(),
		acceptedPerS: float64(n) / t.last.Sub(t.first).Seconds(),
		settle:       settled.waited,
		accept:       t.took,
		refused:      t.refused,
		cpu:          cpu,
	}, nil
}

// check checks the books, after the clock was stopped.
func (b *bench) check(ctx context.Context, name string, promises []promise, accepted int) error {
	_, done := b.show.begin(name+": checking the books", 0)
	err := b.checkBooks(ctx, promises, accepted)
	done(err)
	return err
}
