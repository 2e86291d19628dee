package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The servers' whole life: started, in use, killed, started again with what they stored,
// wiped, stopped. Afterwards no process is left.
func TestServers(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	s := startServers(t, Options{Dir: dir, Management: true})
	t.Logf("first start: %v", time.Since(began))
	t.Cleanup(func() { _ = os.RemoveAll(outside(dir)) })

	t.Run("a second start in the folder is refused", func(t *testing.T) {
		if _, err := Start(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrInUse) {
			t.Fatalf("Start where servers run: %v, want ErrInUse", err)
		}
		if !InUse(dir) {
			t.Fatal("InUse says that nothing runs there")
		}
	})

	execute(t, s, "CREATE TABLE kept (id int)")
	publish(t, s, "kept")
	waitFor(t, "entry of the queue on disk", func() bool { return registered(t, s, "kept") })

	t.Run("killed servers are done, and start again with their data", func(t *testing.T) {
		for _, srv := range s.all() {
			began := srv.PID()
			if err := syscall.Kill(srv.PID(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			waitDone(t, srv)
			restart(t, srv)
			if srv.PID() == began {
				t.Fatalf("%s: still process %d after it was killed", srv, began)
			}
		}
		execute(t, s, "INSERT INTO kept VALUES (1)")
		if ok, err := get(t, s, "kept"); !ok || err != nil {
			t.Fatalf("get after the broker was killed: a message: %v, %v; want the one that was confirmed", ok, err)
		}
	})

	t.Run("Kill leaves nothing of a server", func(t *testing.T) {
		for _, srv := range s.all() {
			srv.Kill()
			waitDone(t, srv)
			noProcesses(t, srv)
			restart(t, srv)
		}
	})

	t.Run("rabbitmqctl reaches the node", func(t *testing.T) {
		out, err := s.RabbitMQ.Ctl(t.Context(), "list_queues", "name")
		if err != nil || !strings.Contains(out, "kept") {
			t.Fatalf("rabbitmqctl list_queues: %q, %v; want the queue kept", out, err)
		}
	})

	t.Run("a wiped broker is empty", func(t *testing.T) {
		if err := s.RabbitMQ.Wipe(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t, s, "kept"); !errors.Is(err, errNoQueue) {
			t.Fatalf("get after a wipe: %v, want %v", err, errNoQueue)
		}
	})

	all := s.all()
	began = time.Now()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	t.Logf("stop: %v", time.Since(began))
	for _, srv := range all {
		noProcesses(t, srv)
	}
	if InUse(dir) {
		t.Error("the folder is still locked after Stop")
	}
}

func startServers(t *testing.T, o Options) *Servers {
	t.Helper()
	if err := errors.Join(lookups()...); err != nil {
		t.Fatalf("%v: `make test` installs them", err)
	}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(s.kill)
	return s
}

func lookups() []error {
	_, _, postgres := findPostgres("")
	_, rabbit := findRabbitMQ()
	return []error{postgres, rabbit}
}

func waitDone(t *testing.T, srv *server) {
	t.Helper()
	select {
	case <-srv.Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s was killed, and Done is not closed", srv)
	}
}

func restart(t *testing.T, srv *server) {
	t.Helper()
	if err := srv.Start(t.Context()); err != nil {
		t.Fatalf("start again: %v", err)
	}
}

func noProcesses(t *testing.T, srv *server) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // only there are working directories known
	}
	all, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if strings.HasPrefix(r.dir, srv.dir) || strings.Contains(r.command, srv.dir) {
			t.Errorf("%s has ended, and process %d is left: %s", srv, r.pid, r.command)
		}
	}
}

func execute(t *testing.T, s *Servers, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Postgres.URL("quittance"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// publish makes a quorum queue and stores one message in it.
func publish(t *testing.T, s *Servers, queue string) {
	t.Helper()
	ch := channel(t, s)
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirm, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), "", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := confirm.WaitContext(t.Context()); !ok || err != nil {
		t.Fatalf("publish: confirmed %v, %v", ok, err)
	}
}

// registered tells whether a quorum queue would survive a kill: RabbitMQ writes down within
// half a second which queues have a log, and forgets the log of one that it has not.
func registered(t *testing.T, s *Servers, queue string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.RabbitMQ.dir, "mnesia/*/quorum/*/names.dets"))
	if err != nil || len(files) != 1 {
		t.Fatalf("registers of quorum queues: %v, %v; want one", files, err)
	}
	register, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(register, []byte("_"+queue))
}

// errNoQueue says that there is no such queue.
var errNoQueue = errors.New("no queue")

// get takes a message from a queue and tells whether there was one.
func get(t *testing.T, s *Servers, queue string) (bool, error) {
	t.Helper()
	_, ok, err := channel(t, s).Get(queue, false)
	if notFound := (*amqp.Error)(nil); errors.As(err, &notFound) && notFound.Code == amqp.NotFound {
		return false, errNoQueue
	}
	return ok, err
}

func channel(t *testing.T, s *Servers) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(s.RabbitMQ.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// A child must not outlive a parent that is killed: the test runs itself as that parent.
func TestProcessDiesWithItsParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	if os.Getenv("LOCAL_TEST_PARENT") != "" {
		beParent()
	}
	dir := t.TempDir()
	parent := startParent(t, dir)
	child := filepath.Join(dir, "child")
	waitFor(t, "the child's pid", func() bool { _, err := os.Stat(child); return err == nil })
	parent.Kill()
	waitFor(t, "the child's end", func() bool { return !lives(child) })
}

func startParent(t *testing.T, dir string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestProcessDiesWithItsParent$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LOCAL_TEST_PARENT=1")
	p, err := StartProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// beParent starts a child that would live for long, writes its id, and waits for its own
// end.
func beParent() {
	p, err := StartProcess(exec.Command("sleep", "600"))
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile("child.new", []byte(strconv.Itoa(p.PID())), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename("child.new", "child"); err != nil {
		panic(err)
	}
	<-p.Done()
}

// lives tells whether the process whose id is in a file runs.
func lives(file string) bool {
	pid, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	_, err = os.Readlink("/proc/" + string(pid) + "/cwd") // a zombie has none
	return err == nil
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 10 seconds", what)
		}
		time.Sleep(time.Millisecond)
	}
}
