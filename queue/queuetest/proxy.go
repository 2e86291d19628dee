package queuetest

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy stands between a client and the broker, and breaks what is between them at a
// chosen moment.
type Proxy struct {
	listener net.Listener
	broker   string

	mu      sync.Mutex
	pairs   map[net.Conn]net.Conn
	flowing map[direction]chan struct{} // closed while bytes flow
	closed  bool
	running sync.WaitGroup
}

type direction bool

const (
	toBroker direction = true
	toClient direction = false
)

// NewProxy starts a proxy to the broker at amqpURL that ends with the test, and
// returns it with the AMQP URL that goes through it.
func NewProxy(t testing.TB, amqpURL string) (*Proxy, string) {
	t.Helper()
	through, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal("the AMQP URL is not a URL")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	p := &Proxy{
		listener: listener,
		broker:   through.Host,
		pairs:    make(map[net.Conn]net.Conn),
		flowing:  map[direction]chan struct{}{toBroker: flow(), toClient: flow()},
	}
	p.running.Go(p.accept)
	t.Cleanup(p.Close)
	through.Host = listener.Addr().String()
	return p, through.String()
}

// Cut closes every connection, at once and without a word. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client, broker := range p.pairs {
		_ = client.Close()
		_ = broker.Close()
	}
}

// Hold keeps what the broker says from the client: confirms, deliveries, all of it.
func (p *Proxy) Hold() { p.stop(toClient) }

// Deafen keeps what the client says from the broker, as a broker that is short of
// memory does.
func (p *Proxy) Deafen() { p.stop(toBroker) }

// Release lets everything flow again, what was kept first.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range []direction{toBroker, toClient} {
		select {
		case <-p.flowing[d]:
		default:
			close(p.flowing[d])
		}
	}
}

// Block tells every client what a broker that is short of memory tells those that publish; such
// a one is short of it for everybody. The clients must be quiet: it goes between two frames.
func (p *Proxy) Block(t testing.TB) { p.say(t, "\x00\x0a\x00\x3c\x03low") }

// Unblock tells them that it is over.
func (p *Proxy) Unblock(t testing.TB) { p.say(t, "\x00\x0a\x00\x3d") }

// say sends the method, as AMQP 0-9-1 has it in section 4.2: a frame of type 1, on channel 0.
func (p *Proxy) say(t testing.TB, method string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for client := range p.pairs {
		frame := append([]byte{1, 0, 0, 0, 0, 0, byte(len(method))}, method+"\xce"...)
		if _, err := client.Write(frame); err != nil {
			t.Errorf("say it to the client: %v", err)
		}
	}
}

func (p *Proxy) stop(d direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flowing[d]:
		p.flowing[d] = make(chan struct{})
	default:
	}
}

func flow() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.broker)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.join(client, broker)
	}
}

func (p *Proxy) join(client, broker net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = client.Close()
		_ = broker.Close()
		return
	}
	p.pairs[client] = broker
	p.running.Go(func() { p.copy(broker, client, toBroker) })
	p.running.Go(func() { p.copy(client, broker, toClient) })
}

// copy ends, and ends its counterpart, with either connection.
func (p *Proxy) copy(to, from net.Conn, d direction) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		flowing := p.flowing[d]
		p.mu.Unlock()
		<-flowing
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// Used tells whether anybody has reached the broker by way of p.
func (p *Proxy) Used() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pairs) > 0
}

// Close ends the proxy for good: whoever was connected is cut off, and nobody gets in.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Release()
	p.Cut()
	p.running.Wait()
}
