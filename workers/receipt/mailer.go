package receipt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Mailer sends mail by way of one server.
type Mailer struct {
	from     mail.Address
	host     string
	address  string // host:port
	user     *url.Userinfo
	implicit bool // TLS from the first byte
	tls      *tls.Config
}

// sendTimeout is what one mail may take, from the first packet to the last.
const sendTimeout = 20 * time.Second

// NewMailer returns a mailer for a server given as smtp://host, smtp://user:password@host:port
// or smtps://…, and an address to send from. Without a port it is 587, or 465 for smtps. The
// connection is encrypted, except with a server on this machine that does not offer it.
func NewMailer(server, from string) (*Mailer, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" {
		return nil, errors.New("the mail server is not smtp://host or smtps://host") // the rest may hold a password
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fmt.Errorf("the address to send mail from: %w", err)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme]
	}
	return &Mailer{
		from: *sender, host: u.Hostname(), address: net.JoinHostPort(u.Hostname(), port), user: u.User, implicit: u.Scheme == "smtps",
		tls: &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12},
	}, nil
}

// errDown says that the server cannot be reached, or does not serve us at the moment.
var errDown = errors.New("the mail server is down")

// refusal is the server's word that it will never take this mail.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// Send hands a mail to the server. Its errors are errDown, *refusal and, where the server is
// there and this mail did not get through, any other.
func (m *Mailer) Send(ctx context.Context, letter *gomail.Msg) error {
	err := m.converse(ctx, func(c *smtp.Client) error { return m.deliver(c, letter) })
	if _, refused := errors.AsType[*refusal](err); err == nil || refused || errors.Is(err, errDown) {
		return err
	}
	// Did the server go away, or does it not like this one mail?
	if m.Ping(ctx) != nil {
		return fmt.Errorf("%w: %w", errDown, err)
	}
	return err
}

// Ping returns nil where the server would take mail from us.
func (m *Mailer) Ping(ctx context.Context) error {
	return m.converse(ctx, func(*smtp.Client) error { return nil })
}

// converse connects, does f, and takes its leave: whatever the server says to that, f is
// done.
func (m *Mailer) converse(ctx context.Context, f func(*smtp.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	c, end, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer end()
	err = f(c)
	_ = c.Quit()
	return err
}

// connect returns a connection over which mail can be sent, and what ends it.
func (m *Mailer) connect(ctx context.Context) (c *smtp.Client, end func(), err error) {
	conn, err := m.dial(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errDown, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // whoever reads from it hears of it
	end = func() {
		stop()
		_ = conn.Close()
	}
	c, err = smtp.NewClient(conn, m.host)
	if err == nil {
		err = m.greet(c)
	}
	if err != nil {
		end()
		return nil, nil, fmt.Errorf("%w: %w", errDown, err)
	}
	return c, end, nil
}

func (m *Mailer) dial(ctx context.Context) (net.Conn, error) {
	if m.implicit {
		return (&tls.Dialer{Config: m.tls}).DialContext(ctx, "tcp", m.address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", m.address)
}

// greet says who we are, once nobody else can read it.
func (m *Mailer) greet(c *smtp.Client) error {
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	if err := c.Hello(name); err != nil {
		return err
	}
	offered, _ := c.Extension("STARTTLS")
	switch {
	case m.implicit:
	case offered:
		if err := c.StartTLS(m.tls); err != nil {
			return err
		}
	case !m.isHere():
		return errors.New("it does not offer STARTTLS, and is not on this machine")
	}
	return m.authenticate(c)
}

func (m *Mailer) isHere() bool {
	ip := net.ParseIP(m.host)
	return m.host == "localhost" || (ip != nil && ip.IsLoopback())
}

func (m *Mailer) authenticate(c *smtp.Client) error {
	if m.user == nil {
		return nil
	}
	password, _ := m.user.Password()
	_, ways := c.Extension("AUTH")
	if strings.Contains(ways, "LOGIN") && !strings.Contains(ways, "PLAIN") {
		return c.Auth(smtp.LoginAuth(m.user.Username(), password, m.host, m.isHere()))
	}
	return c.Auth(smtp.PlainAuth("", m.user.Username(), password, m.host, m.isHere()))
}

// deliver is the transaction of one mail. A refusal of its recipient or of its content is
// for good where the server says so; one of us, the sender, may be mended.
func (m *Mailer) deliver(c *smtp.Client, letter *gomail.Msg) error {
	to := letter.GetTo()[0].Address
	c.SkipSMTPUTF8(isASCII(to)) // asked for without need, it is a reason to refuse further on
	if err := c.Mail("<" + m.from.Address + ">"); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	if err := c.Rcpt("<" + to + ">"); err != nil {
		return refusalOf("recipient", err)
	}
	content, err := c.Data()
	if err != nil {
		return refusalOf("mail", err)
	}
	if _, err := letter.WriteTo(content); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return refusalOf("mail", content.Close()) // the commit point
}

// refusalOf is a *refusal where the server has said no for good, and err otherwise.
func refusalOf(what string, err error) error {
	if err == nil {
		return nil
	}
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code >= 500 {
		return &refusal{fmt.Sprintf("the mail server refuses the %s: %d %s", what, said.Code, said.Msg)}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
