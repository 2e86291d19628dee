package local

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

//go:embed postgresql.conf
var postgresConf string

// Postgres is a private PostgreSQL with one superuser and one database, both named
// quittance.
type Postgres struct {
	*server
	Port     int
	password string
	bin      string              // folder of its programs
	account  *syscall.Credential // whom it runs as; nil for this process's user
}

// URL is how to connect to one of the server's databases.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword("quittance", p.password),
		Host:     hostPort(p.Port),
		Path:     database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func newPostgres(ctx context.Context, o Options, port int) (*Postgres, error) {
	p := &Postgres{Port: port}
	p.server = &server{
		dir:        filepath.Join(o.Dir, "postgres"),
		logFile:    filepath.Join(o.Dir, "postgresql.log"),
		ping:       p.ping,
		stopSignal: syscall.SIGINT, // "fast": connections are closed, nothing is lost
	}
	if err := p.settle(o); err != nil {
		return nil, err
	}
	if err := p.readPassword(); err != nil {
		return nil, err
	}
	bin, major, err := findPostgres(p.dataMajor())
	if errors.Is(err, errMissing) && dockerAnswers(ctx) {
		p.useDocker(o)
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.bin = bin
	p.name = fmt.Sprintf("postgresql %d on %s", major, hostPort(port))
	p.launch = p.startNative
	p.sweep = func() error { return endProcesses(p.dir) }
	p.erase = func(context.Context) error { return os.RemoveAll(p.data()) }
	return p, nil
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// dataMajor is the major version that made the data: only that one can read it. It is ""
// where there is no data yet.
func (p *Postgres) dataMajor() string {
	version, _ := os.ReadFile(filepath.Join(p.data(), "PG_VERSION")) // absent before the first start
	return strings.TrimSpace(string(version))
}

// settle makes the server's folder. PostgreSQL refuses to run as root; then it runs as
// the user postgres, who may not be able to reach a folder below root's home.
func (p *Postgres) settle(o Options) error {
	if os.Geteuid() != 0 {
		return os.MkdirAll(p.dir, 0o700)
	}
	if u, err := user.Lookup("postgres"); err == nil {
		uid, _ := strconv.ParseUint(u.Uid, 10, 32) // numbers, on every Unix
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		p.account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	} else {
		return os.MkdirAll(p.dir, 0o700) // without that user the programs are not there either: Docker
	}
	if !p.reaches(o.Dir) {
		p.dir = outside(o.Dir)
		o.step("postgresql's data is in " + p.dir + ": the user postgres cannot reach " + o.Dir)(nil)
	}
	return p.settleIn(p.dir)
}

// settleIn makes a folder that only the server's user can read.
func (p *Postgres) settleIn(dir string) error {
	if p.account == nil {
		return os.MkdirAll(dir, 0o700)
	}
	return p.own(dir)
}

// outside is where PostgreSQL's data goes when it cannot be in dir.
func outside(dir string) string { return "/var/tmp/quittance-" + id(dir) }

// reaches tells whether PostgreSQL's user can reach a folder. The kernel is asked, since
// modes alone do not tell.
func (p *Postgres) reaches(dir string) bool {
	cmd := exec.Command("test", "-x", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account}
	return cmd.Run() == nil
}

// own makes a folder for the user postgres, where this process is root. One that is there already must
// be that user's own: in /var/tmp, anybody could have made it.
func (p *Postgres) own(dir string) error {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return os.Chown(dir, int(p.account.Uid), int(p.account.Gid))
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || owner.Uid != p.account.Uid {
		return fmt.Errorf("%s is not a folder of the user postgres: delete it", dir)
	}
	return nil
}

// readPassword reads the superuser's password, made at the first start: on a machine with
// several users, whoever can log in as superuser can run programs as this one.
func (p *Postgres) readPassword() error {
	path := filepath.Join(p.dir, "password")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text = []byte(rand.Text())
		err = writeFile(path, string(text))
		if err == nil && p.account != nil {
			err = os.Chown(path, int(p.account.Uid), int(p.account.Gid))
		}
	}
	p.password = string(text)
	return err
}

func (p *Postgres) startNative(ctx context.Context) (*Process, error) {
	if p.dataMajor() == "" {
		if err := p.initialise(ctx); err != nil {
			return nil, err
		}
	}
	args := append([]string{"-D", p.data()}, settings(p.Port, "127.0.0.1")...)
	// SIGQUIT has the postmaster end its backends itself, at once.
	return p.start(p.program("postgres", args...), syscall.SIGQUIT)
}

// initialise makes the data folder and the database. Only a folder that is complete gets
// its final name, so that a start that was killed begins anew.
func (p *Postgres) initialise(ctx context.Context) error {
	unfinished := p.data() + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	initdb := p.program("initdb", "-D", unfinished, "-U", "quittance", "-E", "UTF8", "--locale=C", "--no-sync",
		"-A", "password", "--pwfile", filepath.Join(p.dir, "password"))
	if err := run(ctx, initdb); err != nil {
		return err
	}
	create := p.program("postgres", "--single", "-D", unfinished, "postgres")
	create.Stdin = strings.NewReader("CREATE DATABASE quittance;\n")
	if err := run(ctx, create); err != nil {
		return err
	}
	return os.Rename(unfinished, p.data())
}

// program is one of PostgreSQL's, run as the user it accepts.
func (p *Postgres) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = cleanEnv("LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account}
	return cmd
}

// settings are the arguments that set what postgresql.conf says, and where to listen.
func settings(port int, address string) []string {
	args := []string{"-c", "port=" + strconv.Itoa(port), "-c", "listen_addresses=" + address}
	for line := range strings.Lines(postgresConf) {
		key, value, ok := strings.Cut(line, "=")
		if ok && !strings.HasPrefix(line, "#") {
			args = append(args, "-c", strings.TrimSpace(key)+"="+strings.Trim(strings.TrimSuffix(strings.TrimLeft(value, " "), "\n"), "'"))
		}
	}
	return args
}

func (p *Postgres) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.URL("quittance"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
