// Package mailtest is an SMTP inbox to test against. It takes mail for anybody, shows what it
// took, and fails as it is asked to. The sandbox serves it; tests start one of their own.
//
// GET /mail/messages is a JSON array, oldest first, of {"at", "from", "to", "subject",
// "headers", "text", "html", "attachments": [{"name", "type", "size", "content"}]}: from and to
// are the envelope's, content is base64, html is absent where there is none. DELETE forgets
// them.
package mailtest

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// What is kept at most; the oldest make room.
const (
	maxMessages = 500
	maxMessage  = 5 << 20  // bytes
	maxKept     = 64 << 20 // bytes
)

// Inbox takes mail until it is closed.
type Inbox struct {
	listener *listener
	server   *smtp.Server
	serving  sync.WaitGroup

	mu      sync.Mutex
	kept    []Message
	size    int
	faults  []fault
	arrived chan struct{} // closed at the next arrival
}

// Listen starts an inbox at a TCP address.
func Listen(addr string) (*Inbox, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	i := &Inbox{listener: &listener{Listener: l, conns: make(map[net.Conn]bool)}, arrived: make(chan struct{})}
	i.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &session{inbox: i, conn: c}, nil
	}))
	i.server.Domain = "sandbox"
	i.server.MaxMessageBytes, i.server.MaxRecipients = maxMessage, 50
	i.server.ReadTimeout, i.server.WriteTimeout = time.Minute, time.Minute
	i.server.EnableSMTPUTF8 = true
	i.server.ErrorLog = log.New(io.Discard, "", 0) // a client that goes away is no news
	i.serving.Go(func() { _ = i.server.Serve(i.listener) })
	return i, nil
}

// T is what Start needs of testing.TB, which the sandbox need not link.
type T interface {
	Helper()
	Cleanup(func())
	Fatal(...any)
}

// Start starts an inbox that ends with the test, on a port of its own.
func Start(t T) *Inbox {
	t.Helper()
	i, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// Close cuts every connection.
func (i *Inbox) Close() {
	_ = i.server.Close() // its error is the listener's, which is closed in any case
	i.listener.cut()
	i.serving.Wait()
}

// URL is smtp://host:port.
func (i *Inbox) URL() string { return "smtp://" + i.listener.Addr().String() }

// Messages returns what was taken, oldest first.
func (i *Inbox) Messages() []Message {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]Message{}, i.kept...)
}

// Clear forgets what was taken.
func (i *Inbox) Clear() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kept, i.size = nil, 0
}

// Wait returns the messages once there are n of them, or more.
func (i *Inbox) Wait(ctx context.Context, n int) ([]Message, error) {
	for {
		i.mu.Lock()
		kept, arrived := append([]Message{}, i.kept...), i.arrived
		i.mu.Unlock()
		if len(kept) >= n {
			return kept, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return kept, ctx.Err()
		}
	}
}

// fault is what goes wrong with a message.
type fault struct {
	refusal             *smtp.SMTPError
	cutBefore, cutAfter bool
}

// Refuse answers the next message with an SMTP code: 4xx for now, 5xx for good.
func (i *Inbox) Refuse(code int, sentence string) {
	i.addFault(fault{refusal: &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 0, 0}, Message: sentence}})
}

// CutBefore cuts the connection of the next message, which is not taken.
func (i *Inbox) CutBefore() { i.addFault(fault{cutBefore: true}) }

// CutAfter cuts the connection of the next message, which is taken, before it says so.
func (i *Inbox) CutAfter() { i.addFault(fault{cutAfter: true}) }

func (i *Inbox) addFault(f fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = append(i.faults, f)
}

func (i *Inbox) nextFault() (f fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.faults) > 0 {
		f, i.faults = i.faults[0], i.faults[1:]
	}
	return f
}

func (i *Inbox) take(m Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kept = append(i.kept, m)
	i.size += m.size
	for len(i.kept) > maxMessages || i.size > maxKept {
		i.size -= i.kept[0].size
		i.kept = i.kept[1:]
	}
	close(i.arrived)
	i.arrived = make(chan struct{})
}

// ServeHTTP serves /mail/messages.
func (i *Inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/mail/messages":
		http.NotFound(w, r)
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(i.Messages()) // a reader that went away has nobody to be told
	case r.Method == http.MethodDelete:
		i.Clear()
	default:
		w.Header().Set("Allow", "GET, DELETE")
		http.Error(w, "GET shows the messages, DELETE forgets them", http.StatusMethodNotAllowed)
	}
}

// session is one client's connection.
type session struct {
	inbox *Inbox
	conn  *smtp.Conn
	from  string
	to    []string
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	f := s.inbox.nextFault()
	switch {
	case f.refusal != nil:
		return f.refusal
	case f.cutBefore:
		return s.conn.Conn().Close()
	}
	s.inbox.take(newMessage(s.from, s.to, raw))
	if f.cutAfter {
		return s.conn.Conn().Close()
	}
	return nil
}

// listener knows its connections, so that none outlives it: the server's Close sees neither
// one that is just being accepted, nor a listener that it has not begun to serve.
type listener struct {
	net.Listener
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = c.Close()
	}
	l.conns[c] = true
	return conn{c, l}, nil
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = l.Listener.Close()
	for c := range l.conns {
		_ = c.Close()
	}
}

// conn is forgotten when it is closed.
type conn struct {
	net.Conn
	of *listener
}

func (c conn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
