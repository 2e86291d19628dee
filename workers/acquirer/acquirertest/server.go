package acquirertest

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// T is what a Server needs of testing.TB. The sandbox and the operator's command link this
// package, and need not link that one.
type T interface {
	Helper()
	Cleanup(func())
	Error(...any)
	Fatal(...any)
	Fatalf(string, ...any)
}

// Server is an Acquirer that listens, on a port of its own.
type Server struct {
	t      T
	addr   string
	config Config

	mu       sync.Mutex
	acquirer *Acquirer
	http     *http.Server
	serving  sync.WaitGroup
}

// Start starts an acquirer that ends with the test.
func Start(t T, c Config) *Server {
	t.Helper()
	s := &Server{t: t, addr: "127.0.0.1:0", config: c}
	s.open()
	s.Up()
	t.Cleanup(func() {
		s.Down()
		s.shut()
	})
	return s
}

// URL is what an acquirer.Client is to call.
func (s *Server) URL() string { return "http://" + s.addr + "/acquirer" }

// Acquirer is the one that serves now.
func (s *Server) Acquirer() *Acquirer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acquirer
}

// Fault makes calls fail that are still to come.
func (s *Server) Fault(f Fault) {
	s.t.Helper()
	if err := s.Acquirer().Fault(f); err != nil {
		s.t.Fatal(err)
	}
}

// Operations returns what was done for a payment, oldest first; "" is for any.
func (s *Server) Operations(payment string) []Operation { return s.Acquirer().Operations(payment) }

// Captured returns what was taken for a payment, and not what was given back since.
func (s *Server) Captured(payment string) (minor int64) {
	for _, o := range s.Operations(payment) {
		if o.Captured {
			minor += o.Amount
		}
	}
	return minor
}

// Down cuts every connection; nobody can dial until Up.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close() // its listener may be closed already
		s.http = nil
	}
	s.serving.Wait()
}

// Up listens where it did before.
func (s *Server) Up() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("the acquirer cannot listen: %v", err)
	}
	s.addr = l.Addr().String()
	server := &http.Server{Handler: s.acquirer, ReadHeaderTimeout: 10 * time.Second}
	s.http = server
	s.serving.Go(func() { _ = server.Serve(l) }) // it ends with Close
}

// Restart is the death of the acquirer's process and its next start: what is not in its
// Folder is gone, as are the faults that were still to come.
func (s *Server) Restart() {
	s.t.Helper()
	s.Down()
	s.shut()
	s.open()
	s.Up()
}

func (s *Server) open() {
	s.t.Helper()
	a, err := New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acquirer = a
}

func (s *Server) shut() {
	s.t.Helper()
	if err := s.Acquirer().Close(); err != nil {
		s.t.Error(err)
	}
}
