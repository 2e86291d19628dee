package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPercentile(t *testing.T) {
	t.Parallel()
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for name, tt := range map[string]struct {
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		"half of a hundred do not exceed the fiftieth":  {hundred, 50, 50},
		"99 of a hundred do not exceed the ninety-nine": {hundred, 99, 99},
		"of three, the second is the middle":            {hundred[:3], 50, 2},
		"of ten, the p99 is the longest":                {hundred[:10], 99, 10},
		"one is every percentile":                       {hundred[:1], 50, 1},
		"nothing was measured":                          {nil, 99, 0},
	} {
		if got := percentile(tt.sorted, tt.p); got != tt.want {
			t.Errorf("%s: percentile %d = %d, want %d", name, tt.p, got, tt.want)
		}
	}
}

func TestMedianRounds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rounds []figures
		want   float64
	}{
		"one round is the median":          {[]figures{{Ratio: .4}}, .4},
		"the middle of three":              {[]figures{{Ratio: .5}, {Ratio: .3}, {Ratio: .4}}, .4},
		"the lower one of two, to be fair": {[]figures{{Ratio: .5}, {Ratio: .3}}, .3},
	} {
		if got := medianRounds(map[string][]figures{"hot": tt.rounds})["hot"].Ratio; got != tt.want {
			t.Errorf("%s: ratio %v, want %v", name, got, tt.want)
		}
	}
}

// The keys that programs read.
func TestFiguresAreWrittenUnderTheirNames(t *testing.T) {
	t.Parallel()
	f := figures{Work: "recharge", SettledPerS: 1, CeilingPerS: 2, Ratio: .5, P50: 3, P99: 4}
	var got map[string]any
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"settled_per_s": 1.0, "ceiling_per_s": 2.0, "ratio": .5, "p50_ms": 3.0, "p99_ms": 4.0,
		"refused_503": 0.0, "work": "recharge", "payments": 0.0, "clients": 0.0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures as JSON (-want +got):\n%s", diff)
	}
}

func TestParseProcess(t *testing.T) {
	t.Parallel()
	const rest = " S 7 10 10 0 -1 4194560 900 80 0 0 12 30 5 6 20 0 1 0 100 2000 300"
	for name, tt := range map[string]struct {
		stat string
		want process
		ok   bool
	}{
		"a backend":                       {"10 (postgres)" + rest, process{name: "postgres", parent: 7, used: 420 * time.Millisecond, reaped: 110 * time.Millisecond}, true},
		"a name with spaces and brackets": {"10 (a (b) c)" + rest, process{name: "a (b) c", parent: 7, used: 420 * time.Millisecond, reaped: 110 * time.Millisecond}, true},
		"nothing":                         {"", process{}, false},
		"cut short":                       {"10 (postgres) S 7 10", process{}, false},
	} {
		got, ok := parseProcess(tt.stat)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: parseProcess = %+v, %v; want %+v, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseBusy(t *testing.T) {
	t.Parallel()
	const stat = "cpu  100 10 20 99999 99999 3 2 99999 0 0\ncpu0 100 10 20 99999 99999 3 2 99999 0 0\n"
	if got, want := parseBusy(stat), 1350*time.Millisecond; got != want {
		t.Errorf("parseBusy = %v, want %v: neither idle, nor waiting for the disk, nor for the host", got, want)
	}
}

func TestParsePeak(t *testing.T) {
	t.Parallel()
	const status = "Name:\tapi\nVmHWM:\t   50000 kB\nVmRSS:\t   40000 kB\n"
	if got := parsePeak(status); got != 51.2 {
		t.Errorf("parsePeak = %v, want 51.2: kernels count in 1,024 bytes", got)
	}
	if got := parsePeak("Name:\tkthreadd\n"); got != 0 {
		t.Errorf("parsePeak of a process without memory = %v, want 0", got)
	}
}

func TestDraw(t *testing.T) {
	t.Parallel()
	for _, recipients := range []string{"uniform", "hot"} {
		paid := map[int]bool{}
		for _, p := range draw(recipients, 5, 1000) {
			if p.from == p.to || p.from < 0 || p.from >= 5 || p.to < 0 || p.to >= 5 || p.amount < 1 {
				t.Fatalf("%s: a payment %+v among 5 accounts", recipients, p)
			}
			paid[p.to] = true
		}
		if want := map[string]int{"uniform": 5, "hot": 1}[recipients]; len(paid) != want {
			t.Errorf("%s: %d accounts are paid, want %d", recipients, len(paid), want)
		}
	}
}

func TestClientComesBackWhenItIsAskedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, again, err := converse(t, "503 Busy\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", "201 Created\r\nContent-Length: 2\r\n\r\nok")
		if string(body) != "ok" || again != 1 || err != nil {
			t.Errorf("answered %q after %d refusals, %v; want ok after 1", body, again, err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("it came back after %v, want 5s", waited)
		}
	})
}

func TestClientTakesNoOtherAnswer(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"another status":             "202 Accepted\r\nContent-Length: 2\r\n\r\nok",
		"another body":               "201 Created\r\nContent-Length: 2\r\n\r\nno",
		"busy without saying when":   "503 Busy\r\nContent-Length: 0\r\n\r\n",
		"a server that breaks it up": "201 Created\r\nContent-Length: 9\r\n\r\nok",
	} {
		if body, _, err := converse(t, answer); err == nil {
			t.Errorf("%s: taken for %q, want an error", name, body)
		}
	}
}

// converse has a client ask a server that gives these answers and then goes away.
func converse(t *testing.T, answers ...string) (body []byte, again int, err error) {
	t.Helper()
	c := clientOf(t, func(*http.Request) {}, answers...)
	defer c.Close()
	return c.insist(t.Context(), httpRequest("POST", "/pay", `{}`), answer{status: 201, body: "ok"})
}

// clientOf returns a client of a server that shows the requests to saw, gives these answers
// and then goes away.
func clientOf(t *testing.T, saw func(*http.Request), answers ...string) *client {
	t.Helper()
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		in := bufio.NewReader(far)
		for _, a := range answers {
			request, err := http.ReadRequest(in)
			if err != nil {
				t.Errorf("the server reads: %v", err)
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			saw(request)
			fmt.Fprint(far, "HTTP/1.1 ", a)
		}
	}()
	return &client{Conn: near, in: bufio.NewReader(near)}
}

func TestCeilingTransferSurvivesTheQueue(t *testing.T) {
	t.Parallel()
	want := ceilingTransfer{ID: uuid.New(), From: 1, To: 1 << 40, Amount: 100}
	got, ok := decodeCeilingTransfer(want.encode())
	if !ok || got != want {
		t.Errorf("decoded %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := decodeCeilingTransfer([]byte(strings.Repeat("x", 39))); ok {
		t.Error("39 bytes are taken for a transfer")
	}
}

func TestBenchOptions(t *testing.T) {
	t.Parallel()
	good := benchOptions{workName: "payment", payments: 1, clients: 1, accounts: 2, rounds: 1, rate: 1}
	if err := good.check(); err != nil {
		t.Errorf("%+v: %v", good, err)
	}
	for name, change := range map[string]func(*benchOptions){
		"nobody to be paid":       func(o *benchOptions) { o.accounts = 1 },
		"no clients":              func(o *benchOptions) { o.clients = 0 },
		"half of what is unknown": func(o *benchOptions) { o.only = "half" },
		"recipients not known":    func(o *benchOptions) { o.recipients = "cold" },
		"work not known":          func(o *benchOptions) { o.workName = "pull" },
	} {
		o := good
		change(&o)
		if o.check() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
