package fcmtest

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// T is what Start needs of testing.TB, which the sandbox need not link.
type T interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
}

// Server is an FCM that listens, on a port of its own.
type Server struct {
	*FCM
	URL string // without a slash at its end

	http    *http.Server
	serving sync.WaitGroup
}

// Listen starts one.
func Listen() (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{FCM: New(), URL: "http://" + l.Addr().String()}
	s.http = &http.Server{Handler: s.FCM, ReadHeaderTimeout: 10 * time.Second}
	s.serving.Go(func() { _ = s.http.Serve(l) }) // it ends with Close
	return s, nil
}

// Close cuts every connection.
func (s *Server) Close() {
	_ = s.http.Close() // its listener may be closed already
	s.serving.Wait()
}

// Start starts one that ends with the test.
func Start(t T) *Server {
	t.Helper()
	s, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
