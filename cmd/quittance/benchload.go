package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is a number of clients that send prebuilt commands, each over one connection that
// stays open, one request after the other. The system and the ceiling get the same, and it
// shares their processors: so a request is one write, and nothing is built while the clock
// runs.
type load struct {
	address string
	clients int
	rate    int                      // commands a second, however slow the answers; 0 for as fast as they come
	got     func(i int, body []byte) // told of the answer to command i, by one of many goroutines; may be nil
	tick    func()                   // told of each command that is answered
}

// answer is a status and how the body begins.
type answer struct {
	status int
	body   string
}

// tally is what a load came to.
type tally struct {
	first, last time.Time       // the first request, the last answer
	took        []time.Duration // from when a command was due to its answer, sorted
	refused     int             // answers 503, which were asked again when they said
}

// httpRequest is a request as it goes over the wire.
func httpRequest(method, path, body string, headers ...string) []byte {
	headers = append([]string{"Host: quittance", "Content-Type: application/json"}, headers...)
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\n%s\r\nContent-Length: %d\r\n\r\n%s",
		method, path, strings.Join(headers, "\r\n"), len(body), body)
}

// run sends each command once and returns when all are answered as they should be.
func (l load) run(whole context.Context, all commands) (tally, error) {
	clients, err := l.connect(whole)
	if err != nil {
		return tally{}, err
	}
	t := tally{took: make([]time.Duration, len(all.requests)), first: time.Now()}
	var next, refused atomic.Int64
	g, ctx := errgroup.WithContext(whole)
	for _, c := range clients {
		g.Go(func() error {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { _ = c.Close() })() // ends a read or write
			for i := int(next.Add(1) - 1); i < len(all.requests); i = int(next.Add(1) - 1) {
				due := l.await(ctx, t.first, i)
				body, again, err := c.insist(ctx, all.requests[i], all.want)
				if err != nil {
					return err
				}
				t.took[i] = time.Since(due)
				refused.Add(int64(again))
				if l.got != nil {
					l.got(i, body)
				}
				l.tick()
			}
			return nil
		})
	}
	err = g.Wait()
	if whole.Err() != nil {
		err = context.Cause(whole) // not that connections were closed, which it did
	}
	t.last, t.refused = time.Now(), int(refused.Load())
	slices.Sort(t.took)
	return t, err
}

func (l load) connect(ctx context.Context) ([]*client, error) {
	clients := make([]*client, l.clients)
	for i := range clients {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.address)
		if err != nil {
			return nil, err
		}
		clients[i] = &client{Conn: conn, in: bufio.NewReaderSize(conn, 2048)}
	}
	return clients, nil
}

// await waits until request i is due and returns when that was. The schedule does not
// wait for answers: what is sent late, because all clients were waiting, was due in time.
func (l load) await(ctx context.Context, first time.Time, i int) time.Time {
	if l.rate == 0 {
		return time.Now()
	}
	due := first.Add(time.Duration(i) * time.Second / time.Duration(l.rate))
	pause(ctx, time.Until(due))
	return due
}

// client is one connection.
type client struct {
	net.Conn

	in   *bufio.Reader
	body bytes.Buffer
}

// insist sends a request until it is not refused with 503 any more, as far apart as the
// answers ask for. The body is good until the next call.
func (c *client) insist(ctx context.Context, request []byte, want answer) (body []byte, again int, err error) {
	for {
		status, retryAfter, err := c.send(request)
		if err != nil {
			return nil, again, err
		}
		body := c.body.Bytes()
		switch {
		case status == want.status && bytes.HasPrefix(body, []byte(want.body)):
			return body, again, nil
		case status != http.StatusServiceUnavailable || retryAfter <= 0:
			return nil, again, fmt.Errorf("%s is answered %d %s", firstLine(request), status, body)
		}
		again++
		pause(ctx, retryAfter)
	}
}

func (c *client) send(request []byte) (status int, retryAfter time.Duration, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, 0, err
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, 0, err
	}
	c.body.Reset()
	if _, err := c.body.ReadFrom(response.Body); err != nil {
		return 0, 0, err
	}
	seconds, _ := strconv.Atoi(response.Header.Get("Retry-After")) // none, or not a number: 0
	return response.StatusCode, time.Duration(seconds) * time.Second, nil
}

func firstLine(request []byte) string {
	line, _, _ := strings.Cut(string(request), " HTTP/")
	return line
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
