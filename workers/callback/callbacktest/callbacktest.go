// Package callbacktest has receivers of callbacks that behave as badly as those of partners do,
// and a resolver whose names change what they stand for.
package callbacktest

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Receiver starts a server, which ends with its test, and returns its URL.
type Receiver func(testing.TB) string

// Handling answers as h does.
func Handling(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// Answering answers with a status, headers (a name, its value, and so on) and a short body.
func Answering(status int, headers ...string) Receiver {
	return func(t testing.TB) string {
		return Handling(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for i := 0; i+1 < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				fmt.Fprintf(w, "this is %d", status)
			}
		})
	}
}

// These read the request. Then they do what their names say: one hangs up without an answer,
// one answers 200 and never ends its body, one answers 101, which nobody asked for, and hangs.
var (
	Hanging   = onceRead(hangs)
	Resetting = onceRead(func(c *net.TCPConn) { _ = c.SetLinger(0) })
	HangingUp = Saying("")
	Trickling = onceRead(trickles)
	Endless   = onceRead(talks)
	Upgrading = onceRead(upgrades)
)

// Saying reads the request, writes text in place of an answer, and hangs up.
func Saying(text string) Receiver {
	return onceRead(func(c *net.TCPConn) { _, _ = io.WriteString(c, text) })
}

// onceRead reads a request and does as does with its connection.
func onceRead(does func(*net.TCPConn)) Receiver {
	return func(t testing.TB) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
						_, _ = io.Copy(io.Discard, r.Body)
						does(c.(*net.TCPConn))
					}
				}()
			}
		}()
		return "http://" + l.Addr().String()
	}
}

// hangs reads what comes until the sender gives up.
func hangs(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

func trickles(c *net.TCPConn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nslow")
	hangs(c)
}

func talks(c *net.TCPConn) {
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	for err := error(nil); err == nil; {
		_, err = io.WriteString(c, "and so on ")
	}
}

func upgrades(c *net.TCPConn) {
	_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
	hangs(c)
}

// HangingOnConnect listens, and lets nobody in: its line is full.
func HangingOnConnect(t testing.TB) string {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(socket, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	first, err := net.Dial("tcp", address) // a line of 0 takes one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	return "http://" + address
}

// NotListening is an address that nobody listens at.
func NotListening(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// BadlyCertified has a certificate that nobody knows.
func BadlyCertified(t testing.TB) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// NotTLS is asked for TLS and does not know it.
func NotTLS(t testing.TB) string { return "https" + Answering(200)(t)[len("http"):] }

// At is a URL as it stands.
func At(address string) Receiver { return func(testing.TB) string { return address } }

// ChangingNames returns a resolver that answers the first question about any name with an address of the public
// internet, and those after that with 127.0.0.1. The name unknown.example stands for nothing.
func ChangingNames() *net.Resolver {
	var asked atomic.Int32
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			for answerName(theirs, &asked) == nil {
			}
		}()
		return ours, nil
	}}
}

// answerName reads a question and answers it, both as DNS has them over a stream.
func answerName(c net.Conn, asked *atomic.Int32) error {
	var size uint16
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return err
	}
	packet := make([]byte, size)
	if _, err := io.ReadFull(c, packet); err != nil {
		return err
	}
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		return fmt.Errorf("not a question: %w", err)
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	switch {
	case q.Name.String() == "unknown.example.":
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		address := [4]byte{93, 184, 216, 34}
		if asked.Add(1) > 1 {
			address = [4]byte{127, 0, 0, 1}
		}
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: &dnsmessage.AResource{A: address},
		}}
	}
	packet, err := m.AppendPack([]byte{0, 0})
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint16(packet, uint16(len(packet)-2))
	_, err = c.Write(packet)
	return err
}
