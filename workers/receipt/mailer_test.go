package receipt

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// script is what a mail server says to a command where that is not "250 ok". "connect" is
// the greeting, "." the end of a mail; cut ends the connection instead, and die the server.
type script map[string]string

const (
	cut = "cut"
	die = "die"
)

// post is a mail server that follows a script.
type post struct {
	address  string
	listener net.Listener
	script   script
	tls      *tls.Config // it offers STARTTLS

	mu        sync.Mutex
	heard     []string // commands, but for EHLO and QUIT
	mails     []string
	encrypted bool // the last mail
}

func newPost(t *testing.T, s script, c *tls.Config) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{address: l.Addr().String(), listener: l, script: s, tls: c}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(conn, false) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return p
}

func (p *post) serve(conn net.Conn, encrypted bool) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	say := func(command, usual string) (goesOn bool) {
		reply, known := p.script[command]
		if !known {
			reply = usual
		}
		if reply == die {
			_ = p.listener.Close()
		}
		if reply == cut || reply == die {
			return false
		}
		_, err := fmt.Fprintf(conn, "%s\r\n", reply)
		return err == nil && !strings.HasPrefix(reply, "221") && !strings.HasPrefix(reply, "421")
	}
	if !encrypted && !say("connect", "220 here") {
		return
	}
	for lines.Scan() {
		command, _, _ := strings.Cut(lines.Text(), " ")
		p.hear(command, lines.Text())
		usual := "250 ok"
		switch command {
		case "EHLO":
			usual = "250-here\r\n250-AUTH LOGIN PLAIN\r\n250 8BITMIME"
			if p.tls != nil && !encrypted {
				usual = "250-here\r\n250 STARTTLS"
			}
		case "AUTH":
			usual = "235 welcome"
		case "STARTTLS":
			fmt.Fprintf(conn, "220 go\r\n")
			p.serve(tls.Server(conn, p.tls), true)
			return
		case "DATA":
			usual = "354 go"
		case "QUIT":
			usual = "221 bye"
		}
		if !say(command, usual) {
			return
		}
		if command == "DATA" && p.script["DATA"] == "" {
			p.read(lines, encrypted)
			if !say(".", "250 taken") {
				return
			}
		}
	}
}

func (p *post) hear(command, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if command != "EHLO" && command != "QUIT" {
		p.heard = append(p.heard, line)
	}
}

func (p *post) read(lines *bufio.Scanner, encrypted bool) {
	var text strings.Builder
	for lines.Scan() && lines.Text() != "." {
		text.WriteString(strings.TrimPrefix(lines.Text(), ".") + "\r\n")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mails = append(p.mails, text.String())
	p.encrypted = encrypted
}

// paid is a receipt to be mailed.
func paid() store.ReceiptMail {
	return store.ReceiptMail{
		Receipt: store.Receipt{
			CardPayment: store.CardPayment{
				Number: 2175, ReceiptID: "E76EZFQFK2FE", Amount: money.Amount{Minor: 50000, Currency: store.Hryvnia}, Commission: 1100,
				CardFrom: store.Card{Mask: "5269615505"},
			},
			ClientName: "Крамниця «Їжак»",
		},
		To: "payer@example.com", Operation: store.OperationID{15: 9},
	}
}

func mailerTo(t *testing.T, address string) *Mailer {
	t.Helper()
	m, err := NewMailer(address, "Quittance <receipts@quittance.example>")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func send(t *testing.T, m *Mailer, r store.ReceiptMail) error {
	t.Helper()
	letter, err := m.Letter(r, []byte("a PDF"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Send(t.Context(), letter)
}

func TestWhatTheMailServerSays(t *testing.T) {
	t.Parallel()
	for _, story := range []struct {
		name   string
		script script
		want   string
	}{
		{"it takes the mail", nil, "taken"},
		{"it hangs up right after", script{"QUIT": cut}, "taken"},
		{"nobody has that address", script{"RCPT": "550 5.1.1 no such user"}, "refused: the mail server refuses the recipient: 550 5.1.1 no such user"},
		{"it takes no such content", script{".": "554 no"}, "refused: the mail server refuses the mail: 554 no"},
		{"it takes no content at all", script{"DATA": "554 no"}, "refused: the mail server refuses the mail: 554 no"},
		{"the mailbox is busy", script{"RCPT": "450 later"}, "later"},
		{"it is short of space", script{".": "452 later"}, "later"},
		{"it does not take mail from us", script{"MAIL": "550 not you"}, "later"},
		{"it cuts this one short", script{".": cut}, "later"},
		{"it dies with the mail", script{".": die}, "down"},
		{"it is about to stop", script{"connect": "421 stopping"}, "down"},
		{"it stops meanwhile", script{"connect": cut}, "down"},
		{"it does not know our password", script{"AUTH": "535 wrong"}, "down"},
	} {
		p := newPost(t, story.script, nil)
		got := wordOf(send(t, mailerTo(t, "smtp://us:secret@"+p.address), paid()))
		if got != story.want {
			t.Errorf("%s: %s, want %s", story.name, got, story.want)
		}
	}
	if got := wordOf(send(t, mailerTo(t, "smtp://127.0.0.1:1"), paid())); got != "down" {
		t.Errorf("there is none: %s, want down", got)
	}
}

func wordOf(err error) string {
	if said, is := errors.AsType[*refusal](err); is {
		return "refused: " + said.Error()
	}
	switch {
	case err == nil:
		return "taken"
	case errors.Is(err, errDown):
		return "down"
	}
	return "later"
}

func TestTheConversationIsEncrypted(t *testing.T) {
	t.Parallel()
	web := httptest.NewTLSServer(nil) // it has a certificate
	defer web.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())

	p := newPost(t, nil, &tls.Config{Certificates: web.TLS.Certificates})
	m := mailerTo(t, "smtp://"+p.address)
	if err := send(t, m, paid()); !errors.Is(err, errDown) {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	m.tls.RootCAs = trusted
	if err := send(t, m, paid()); err != nil || !p.encrypted {
		t.Errorf("where it is offered: %v, encrypted %t", err, p.encrypted)
	}

	open := newPost(t, nil, nil)
	m = mailerTo(t, "smtp://"+open.address)
	m.host = "mail.example" // as if it were elsewhere
	if err := send(t, m, paid()); !errors.Is(err, errDown) || len(open.heard) != 0 {
		t.Errorf("elsewhere, and not offered: %v; it was told %q", err, open.heard)
	}
}

func TestALetterHasTheReceipt(t *testing.T) {
	t.Parallel()
	p := newPost(t, nil, nil)
	m := mailerTo(t, "smtp://us:secret@"+p.address)
	for range 2 {
		if err := send(t, m, paid()); err != nil {
			t.Fatal(err)
		}
	}
	const auth = "AUTH PLAIN AHVzAHNlY3JldA==" // NUL us NUL secret
	one := []string{auth, "MAIL FROM:<receipts@quittance.example> BODY=8BITMIME", "RCPT TO:<payer@example.com>", "DATA"}
	if diff := cmp.Diff(append(one, one...), p.heard); diff != "" {
		t.Errorf("what the server was told, -want +got\n%s", diff)
	}
	first, second := read(t, p.mails[0]), read(t, p.mails[1])
	want := map[string]string{
		"From": `"Quittance" <receipts@quittance.example>`, "To": "<payer@example.com>", "Auto-Submitted": "auto-generated",
		"Message-Id": "<00000000-0000-0000-0000-000000000009@quittance.example>",
		"Subject":    "Квитанція / Receipt E76EZFQFK2FE, Крамниця «Їжак»",
	}
	if diff := cmp.Diff(want, first.headers(want)); diff != "" {
		t.Errorf("its headers, -want +got\n%s", diff)
	}
	if first.header.Get("Message-Id") != second.header.Get("Message-Id") {
		t.Errorf("sent twice it is %s and %s", first.header.Get("Message-Id"), second.header.Get("Message-Id"))
	}
	for _, fact := range []string{"Отримувач: Крамниця «Їжак»", "Сплачено: 511,00\u00a0грн", "Card: 526961******5505", "Payment: No. 2175"} {
		if !strings.Contains(first.text, fact) {
			t.Errorf("its text does not say %q:\n%s", fact, first.text)
		}
	}
	if first.file != "receipt-E76EZFQFK2FE.pdf" || first.pdf != "a PDF" {
		t.Errorf("attached is %s: %q", first.file, first.pdf)
	}
}

// letter is a mail as it is read.
type letter struct {
	header          mail.Header
	text, file, pdf string
}

func (l letter) headers(of map[string]string) map[string]string {
	got := make(map[string]string)
	for name := range of {
		value, err := new(mime.WordDecoder).DecodeHeader(l.header.Get(name))
		if err != nil {
			value = err.Error()
		}
		got[name] = value
	}
	return got
}

func read(t *testing.T, raw string) (l letter) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	l.header = m.Header
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		if part.FileName() == "" {
			l.text = decoded(t, part)
			continue
		}
		l.file, l.pdf = part.FileName(), decoded(t, part)
	}
}

func decoded(t *testing.T, part *multipart.Part) string {
	t.Helper()
	var r io.Reader = part
	switch part.Header.Get("Content-Transfer-Encoding") {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, part)
	case "quoted-printable":
		r = quotedprintable.NewReader(part)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// What somebody typed as an address or a name says nothing to a mail server.
func TestNothingIsSlippedIntoALetter(t *testing.T) {
	t.Parallel()
	p := newPost(t, nil, nil)
	m := mailerTo(t, "smtp://"+p.address)
	for _, to := range []string{
		"", "nobody", "a@example.com, b@example.com", "A <a@example.com>", "a@example.com\r\nBcc: b@example.com", "a@example.com>\r\nDATA",
		"a@example.com ", "\"a\r\n\"@example.com", "a@example.com\x00",
	} {
		r := paid()
		r.To = to
		if _, err := m.Letter(r, nil); wordOf(err) != "refused: the receipt's address is not one" {
			t.Errorf("to %q: %v, want that it is refused", to, err)
		}
	}
	for _, name := range []string{"Shop\r\nBcc: b@example.com", "Shop\nBcc: b@example.com", "Крамниця\r\nBcc: b@example.com", "Shop\u2028Bcc: b@example.com", "Shop\r\n\r\nBcc: b@example.com"} {
		r := paid()
		r.ClientName = name
		if err := send(t, m, r); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		l := read(t, p.mails[len(p.mails)-1])
		subject := l.headers(map[string]string{"Subject": ""})["Subject"]
		if l.header.Get("Bcc") != "" || !strings.HasSuffix(subject, " Bcc: b@example.com") {
			t.Errorf("%q: Bcc is %q, the subject %q", name, l.header.Get("Bcc"), subject)
		}
	}
}

func TestAMailServersAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"smtp://127.0.0.1:8091":             "127.0.0.1:8091",
		"smtp://mail.example":               "mail.example:587",
		"smtps://us:secret@mail.example":    "mail.example:465",
		"smtps://[::1]:2465":                "[::1]:2465",
		"http://us:secret@mail.example":     "",
		"smtp://us:secret@":                 "",
		"smtp://us:secret@mail.example:x\n": "",
	} {
		m, err := NewMailer(text, "a@example.com")
		if (err == nil) != (want != "") || (err == nil && m.address != want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	if _, err := NewMailer("smtp://mail.example", "nobody"); err == nil {
		t.Error("mail from nobody is sent")
	}
}
