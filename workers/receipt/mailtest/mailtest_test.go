package mailtest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const receipt = "From: shop@example.org\r\n" +
	"To: payer@example.org\r\n" +
	"Subject: =?UTF-8?B?0JrQstC40YLQsNC90YbRltGP?=\r\n" +
	"Message-ID: <1@example.org>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=a\r\n\r\n" +
	"--a\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"=D0=94=D1=8F=D0=BA=D1=83=D1=94=D0=BC=D0=BE=\r\n!\r\n" +
	"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Дякуємо!</p>\r\n--b--\r\n" +
	"--a\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=UTF-8''%D0%BA%D0%B2%D0%B8%D1%82%D0%BE%D0%BA.pdf\r\n" +
	"Content-Transfer-Encoding: base64\r\n\r\nJVBE\r\nRi0=\r\n--a--\r\n"

func TestMail(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name string
		raw  string
		want Message
	}{
		{
			name: "a receipt in two forms with a document",
			raw:  receipt,
			want: Message{
				Subject: "Квитанція", Text: "Дякуємо!", HTML: "<p>Дякуємо!</p>",
				Attachments: []Attachment{{Name: "квиток.pdf", Type: "application/pdf", Size: 5, Content: []byte("%PDF-")}},
			},
		},
		{
			name: "a plain line",
			raw:  "Subject: hello\r\n\r\nhello\r\n",
			want: Message{Subject: "hello", Text: "hello\n", Attachments: []Attachment{}},
		},
		{
			name: "a part that was cut off is shown as far as it goes",
			raw:  "Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\nhal",
			want: Message{Text: "hal", Attachments: []Attachment{}},
		},
		{
			name: "what is no mail is its own text",
			raw:  "no header at all",
			want: Message{Text: "no header at all", Attachments: []Attachment{}},
		},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			got := newMessage("shop@example.org", []string{"payer@example.org"}, []byte(r.raw))
			r.want.From, r.want.To = "shop@example.org", []string{"payer@example.org"}
			if diff := cmp.Diff(r.want, got, cmpopts.IgnoreFields(Message{}, "At", "Headers"), cmpopts.IgnoreUnexported(Message{})); diff != "" {
				t.Errorf("the message (-want +got):\n%s", diff)
			}
		})
	}
}

func send(i *Inbox, raw string) error {
	return smtp.SendMail(strings.TrimPrefix(i.URL(), "smtp://"), nil, "shop@example.org", []string{"payer@example.org"}, []byte(raw))
}

func get(i *Inbox, method string) (all []Message, status int) {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, httptest.NewRequest(method, "/mail/messages", nil))
	_ = json.Unmarshal(w.Body.Bytes(), &all)
	return all, w.Code
}

func TestWhatIsSentIsShown(t *testing.T) {
	t.Parallel()
	i := Start(t)
	if all, _ := get(i, http.MethodGet); all == nil || len(all) != 0 {
		t.Errorf("an empty inbox shows %v, want an empty array", all)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	waited := make(chan []Message)
	go func() {
		all, _ := i.Wait(ctx, 2)
		waited <- all
	}()
	for n := range 2 {
		if err := send(i, fmt.Sprintf("Subject: %d\r\n\r\n", n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-waited; len(got) != 2 {
		t.Fatalf("%d messages were waited for, want 2", len(got))
	}
	all, _ := get(i, http.MethodGet)
	if len(all) != 2 || all[0].Subject != "0" || all[1].Subject != "1" || all[0].To[0] != "payer@example.org" {
		t.Errorf("two messages are shown as %+v", all)
	}
	get(i, http.MethodDelete)
	if all, _ := get(i, http.MethodGet); len(all) != 0 {
		t.Errorf("%d messages are shown after they were forgotten", len(all))
	}
	if _, status := get(i, http.MethodPut); status != http.StatusMethodNotAllowed {
		t.Errorf("PUT is answered %d", status)
	}
}

func TestItFailsAsAsked(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name  string
		fault func(*Inbox)
		code  string // in the error
		taken int
	}{
		{"refused for now", func(i *Inbox) { i.Refuse(451, "come again") }, "451", 0},
		{"refused for good", func(i *Inbox) { i.Refuse(550, "nobody here") }, "550", 0},
		{"cut and not taken", (*Inbox).CutBefore, "", 0},
		{"cut and taken", (*Inbox).CutAfter, "", 1},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			i := Start(t)
			r.fault(i)
			if err := send(i, "Subject: 1\r\n\r\n"); err == nil || !strings.Contains(err.Error(), r.code) {
				t.Errorf("the first message: %v, want an error with %q", err, r.code)
			}
			if got := len(i.Messages()); got != r.taken {
				t.Errorf("%d messages were taken, want %d", got, r.taken)
			}
			if err := send(i, "Subject: 2\r\n\r\n"); err != nil {
				t.Errorf("the second message: %v", err)
			}
		})
	}
}

func TestAnInboxIsBounded(t *testing.T) {
	t.Parallel()
	i := Start(t)
	for n := range maxMessages + 3 {
		i.take(newMessage("", nil, fmt.Appendf(nil, "Subject: %d\r\n\r\n", n)))
	}
	if all := i.Messages(); len(all) != maxMessages || all[0].Subject != "3" {
		t.Errorf("%d messages are kept, the first is %q", len(all), all[0].Subject)
	}
	big := newMessage("", nil, nil)
	big.size = maxKept
	i.take(big)
	if all := i.Messages(); len(all) != 1 {
		t.Errorf("beside a message as large as may be kept there are %d", len(all)-1)
	}
}
