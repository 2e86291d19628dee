package workers_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/quittance/quittance/workers"
)

func TestAProcessIsAskedWhetherItIsReady(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, host string
		missing    error
		want       string // in the error; empty: it is ready
	}{
		{"it is ready", "127.0.0.1", nil, ""},
		{"it listens on all interfaces", "0.0.0.0", nil, ""},
		{"something is missing", "127.0.0.1", errors.New("no route to host"), "/readyz answers 503 Service Unavailable: {\"missing\":{\"postgresql\":\"no route to host\"}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := monitored(t, c.host, workers.Check{Name: "postgresql", Test: func(context.Context) error { return c.missing }})
			err := workers.Ask(t.Context(), addr, "/readyz")
			if (err == nil) != (c.want == "") || (err != nil && !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("asked at %s: %v, want %q", addr, err, c.want)
			}
		})
	}
}

func TestNobodyThereIsNotReady(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{free(t, "127.0.0.1"), "no port"} {
		if err := workers.Ask(t.Context(), addr, "/readyz"); err == nil {
			t.Errorf("%s is ready", addr)
		}
	}
}

// monitored runs a monitor until the test ends, and returns where it listens.
func monitored(t *testing.T, host string, checks ...workers.Check) string {
	t.Helper()
	addr := free(t, host)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- workers.Monitor(ctx, addr, prometheus.NewRegistry(), checks...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for workers.Ask(ctx, addr, "/healthz") != nil {
		select {
		case err := <-ended:
			t.Fatalf("the monitor ended: %v", err)
		default:
		}
	}
	return addr
}

// free is an address that nobody listens on.
func free(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
