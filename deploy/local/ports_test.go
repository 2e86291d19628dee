package local

import (
	"net"
	"testing"
)

func TestChoosePorts(t *testing.T) {
	t.Parallel()
	busy := listen(t)
	dir := t.TempDir()
	choose := func(wanted int) map[string]int {
		t.Helper()
		ports, err := choosePorts(Options{Dir: dir, PostgresPort: wanted})
		if err != nil {
			t.Fatal(err)
		}
		return ports
	}

	first := choose(busy)
	if first["POSTGRES"] == busy {
		t.Fatalf("port %d was chosen, where somebody listens", busy)
	}
	seen := map[int]string{}
	for purpose, port := range first {
		if other, twice := seen[port]; twice {
			t.Errorf("port %d was chosen for %s and for %s", port, purpose, other)
		}
		seen[port] = purpose
	}
	if again := choose(0)["POSTGRES"]; again != first["POSTGRES"] {
		t.Errorf("the second run has port %d, want that of the first, %d", again, first["POSTGRES"])
	}
}

func TestFreePort(t *testing.T) {
	t.Parallel()
	busy := listen(t)
	free, err := freePort(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		taken  map[string]int
		wanted []int
		want   int // 0 for any other
	}{
		"the wanted port":                          {wanted: []int{free}, want: free},
		"the second, where somebody has the first": {wanted: []int{busy, free}, want: free},
		"another, where the wanted has a purpose":  {taken: map[string]int{"AMQP": free}, wanted: []int{free}},
		"any, where none is wanted":                {wanted: []int{0}},
	} {
		got, err := freePort(tt.taken, tt.wanted...)
		if err != nil {
			t.Fatal(err)
		}
		if tt.want != 0 && got != tt.want || tt.want == 0 && (got == free || got < firstPort || got >= lastPort) {
			t.Errorf("%s: freePort(%v, %v) = %d", name, tt.taken, tt.wanted, got)
		}
	}
}

// listen takes a port for the time of the test.
func listen(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}
