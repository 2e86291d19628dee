package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/quittance/quittance/deploy/local"
)

// clerk is a program such as ours: it answers with its process id, and refuses to end
// where STUBBORN is set.
const clerk = `package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if os.Getenv("DATABASE_URL") == "" || os.Getenv("QUITTANCE_SECRET_KEY") == "" || os.Getenv("QUITTANCE_ENV") != "development" {
		fmt.Println("no environment")
		os.Exit(1)
	}
	go http.ListenAndServe(os.Getenv("CLERK_ADDR"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, os.Getpid())
	}))
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	if os.Getenv("STUBBORN") != "" {
		fmt.Println("stubborn")
		select {}
	}
}
`

const quittance = `package main

func main() {}
`

func TestDevelopment(t *testing.T) {
	dev := startDevelopment(t, nil)

	t.Run("a program that is killed is started again", func(t *testing.T) {
		before := dev.pid(t)
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "another clerk", func() bool { pid := dev.pid(t); return pid != 0 && pid != before })
	})

	t.Run("other commands find the servers", func(t *testing.T) {
		env, err := local.ReadEnv(dev.root)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := pgx.Connect(t.Context(), env["DATABASE_URL"])
		if err != nil {
			t.Fatalf("connect with what .local/env says: %v", err)
		}
		defer conn.Close(context.Background())
		if env["QUITTANCE_SECRET_KEY"] == "" || env["AMQP_URL"] == "" {
			t.Errorf(".local/env holds %d variables; want the secret key and the broker's address as well", len(env))
		}
	})

	t.Run("reset refuses while it runs", func(t *testing.T) {
		if err := local.Remove(t.Context(), filepath.Join(dev.root, ".local")); !errors.Is(err, local.ErrInUse) {
			t.Errorf("reset: %v, want %v", err, local.ErrInUse)
		}
	})

	dev.interrupt()
	if err := dev.wait(t); err != nil {
		t.Errorf("dev run, interrupted: %v, want no error", err)
	}
	if dev.pid(t) != 0 {
		t.Error("the clerk still answers after dev run has ended")
	}
	if local.InUse(filepath.Join(dev.root, ".local", "run")) {
		t.Error("the servers' folder is still in use after dev run has ended")
	}
	if err := local.Remove(context.Background(), filepath.Join(dev.root, ".local")); err != nil {
		t.Errorf("reset: %v", err)
	}
}

// The first interrupt asks, the second one does not.
func TestSecondInterruptKills(t *testing.T) {
	dev := startDevelopment(t, map[string]string{"STUBBORN": "yes"})
	dev.interrupt()
	waitFor(t, "stubborn clerk", func() bool {
		log, err := os.ReadFile(filepath.Join(dev.root, ".local/log/clerk.log"))
		return err == nil && strings.Contains(string(log), "stubborn")
	})
	dev.interruptAgain()
	if err := dev.wait(t); err == nil {
		t.Error("dev run, interrupted twice: no error; want one that says what was killed")
	}
	if dev.pid(t) != 0 {
		t.Error("the clerk still answers after dev run has ended")
	}
}

// tested is a `dev run` in a checkout of the test's own.
type tested struct {
	root, address             string
	interrupt, interruptAgain context.CancelFunc
	ended                     chan error
}

func startDevelopment(t *testing.T, env map[string]string) *tested {
	t.Helper()
	dev := &tested{root: checkout(t), address: freeAddress(t), ended: make(chan error, 1)}
	caller := map[string]string{"CLERK_ADDR": dev.address}
	for name, value := range env {
		caller[name] = value
	}
	out, err := os.Create(filepath.Join(dev.root, "out"))
	if err != nil {
		t.Fatal(err)
	}
	var first, second context.Context
	first, dev.interrupt = context.WithCancel(context.Background())
	second, dev.interruptAgain = context.WithCancel(context.Background())
	d := &development{
		root:     dev.root,
		programs: []*program{{name: "clerk", health: "http://" + dev.address, addresses: []string{dev.address}}},
		caller:   caller,
		console:  newConsole(out),
	}
	go func() { dev.ended <- errors.Join(d.run(first, second), out.Close()) }()
	t.Cleanup(func() {
		dev.interrupt()
		dev.interruptAgain()
		_ = local.Remove(context.Background(), filepath.Join(dev.root, ".local")) // for root, some of it is elsewhere
	})
	waitFor(t, "welcome", func() bool {
		select {
		case err := <-dev.ended:
			t.Fatalf("dev run ended before it was ready: %v", err)
		default:
		}
		text, err := os.ReadFile(out.Name())
		return err == nil && strings.Contains(string(text), "Ctrl-C")
	})
	return dev
}

// wait returns how `dev run` ended.
func (dev *tested) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-dev.ended:
		return err
	case <-time.After(40 * time.Second):
		t.Fatal("dev run has not ended 40 seconds after it was asked to")
		return nil
	}
}

// pid is the clerk's process id; 0 where none answers.
func (dev *tested) pid(t *testing.T) int {
	t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + dev.address)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0 // it was killed while it answered
	}
	pid, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatalf("the clerk answers %q", body)
	}
	return pid
}

// checkout makes a module with the programs of the tests.
func checkout(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"go.mod":                "module example.com/clerk\n\ngo 1.26\n",
		"cmd/clerk/main.go":     clerk,
		"cmd/quittance/main.go": quittance,
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(l.Addr())
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after a minute", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
