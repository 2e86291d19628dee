package storetest

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// Faults stands between a store and its database, and cuts connections where a test says.
type Faults struct {
	URL string // of the database, by way of here

	server string
	mu     sync.Mutex
	commit Cut
	down   bool
	conns  map[net.Conn]bool
}

// Cut is what happens to the next commit.
type Cut int

const (
	// CommitNotDone cuts before the commit reaches the database: failed and not done.
	CommitNotDone Cut = iota + 1
	// CommitDone cuts after the database has committed, before its answer: failed but done.
	CommitDone
)

// NewFaults starts a proxy to the database at address.
func NewFaults(t testing.TB, address string) *Faults {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Faults{server: u.Host, conns: make(map[net.Conn]bool)}
	u.Host = l.Addr().String()
	f.URL = u.String()
	var running sync.WaitGroup
	running.Go(func() { f.accept(l, &running) })
	t.Cleanup(func() {
		_ = l.Close()
		f.Down()
		running.Wait()
	})
	return f
}

// CutNextCommit cuts the connection of whoever commits next, once.
func (f *Faults) CutNextCommit(c Cut) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = c
}

// Down cuts all connections and refuses new ones until Up.
func (f *Faults) Down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for c := range f.conns {
		_ = c.Close()
	}
}

// Up lets connections through again.
func (f *Faults) Up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = false
}

func (f *Faults) accept(l net.Listener, running *sync.WaitGroup) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() { f.carry(client) })
	}
}

func (f *Faults) carry(client net.Conn) {
	defer client.Close()
	if !f.hold(client) {
		return
	}
	defer f.release(client)
	server, err := net.Dial("tcp", f.server)
	if err != nil {
		return
	}
	defer server.Close()

	var swallow atomic.Bool
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer client.Close()
		answer(client, server, &swallow)
	}()
	f.forward(client, server, &swallow, answered)
	_ = server.Close()
	<-answered
}

// answer carries what the database says, until an answer is to be swallowed.
func answer(client, server net.Conn, swallow *atomic.Bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if err != nil || swallow.Load() {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// forward carries what the client says, and cuts at the commit that it was told to cut.
// A client that commits has read all answers before, and waits for just this one.
func (f *Faults) forward(client, server net.Conn, swallow *atomic.Bool, answered <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		cut := Cut(0)
		if bytes.Contains(buf[:n], commitMessage) {
			cut = f.takeCut()
		}
		swallow.Store(cut != 0)
		if cut == CommitNotDone {
			_ = server.(*net.TCPConn).CloseWrite()
			<-answered // the database has rolled back, and hung up
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if cut == CommitDone {
			<-answered // the database has said that it is done, to nobody
			return
		}
	}
}

// commitMessage is the simple query "commit" as it goes over the wire. A value may end in
// the same word.
var commitMessage = []byte("Q\x00\x00\x00\x0bcommit\x00")

func (f *Faults) takeCut() Cut {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.commit
	f.commit = 0
	return c
}

func (f *Faults) hold(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return false
	}
	f.conns[c] = true
	return true
}

func (f *Faults) release(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}
