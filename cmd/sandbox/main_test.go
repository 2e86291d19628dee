package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
	"github.com/quittance/quittance/workers/push/fcmtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var browser = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a sandbox that keeps what it must in folder, and returns where, and how to end it.
func start(t *testing.T, folder string) (httpAddr, mailAddr string, end func()) {
	t.Helper()
	httpAddr, mailAddr = free(t), free(t)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, settings.Sandbox{Folder: settings.Path(folder), AcquirerKey: folder, HTTPAddr: httpAddr, MailAddr: mailAddr})
	}()
	for {
		if _, err := show(httpAddr, "/healthz", nil); err == nil {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("the sandbox ended: %v", err)
		default:
		}
	}
	return httpAddr, mailAddr, func() {
		t.Helper()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the sandbox ended with %v", err)
		}
	}
}

func show(addr, path string, into any) (status int, err error) {
	resp, err := browser.Get("http://" + addr + path)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || into == nil {
		return resp.StatusCode, err
	}
	return resp.StatusCode, json.Unmarshal(text, into)
}

func client(t *testing.T, addr, key string) *acquirer.Client {
	t.Helper()
	c, err := acquirer.New("http://"+addr+"/acquirer", key, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The folder's name stands for the acquirer's key as well.
func TestTheOutsideWorld(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "sandbox")
	ctx := context.Background()
	uah := money.Amount{Minor: 100, Currency: 980}

	addr, mailAddr, end := start(t, folder)
	c := client(t, addr, folder)
	if a, err := c.Authorise(ctx, "a", acquirer.Authorisation{
		Payment: "p", Amount: uah, Token: acquirertest.TokenOf("4111111111111111", "2099-12"),
	}); err != nil || a.Status != acquirer.Approved {
		t.Fatalf("authorise: %+v, %v", a, err)
	}
	if err := smtp.SendMail(mailAddr, nil, "a@example.org", []string{"b@example.org"}, []byte("Subject: hello\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	var mail []struct{ Subject string }
	if _, err := show(addr, "/mail/messages", &mail); err != nil || len(mail) != 1 || mail[0].Subject != "hello" {
		t.Errorf("the mail is shown as %+v, %v", mail, err)
	}
	resp, err := browser.Post("http://"+addr+"/v1/projects/sandbox/messages:send", "application/json", strings.NewReader(`{"message":{"token":"unreg-1"}}`))
	if err != nil || resp.Body.Close() != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("a push to a phone that has gone: %+v, %v", resp, err)
	}
	var pushes []fcmtest.Message
	if _, err := show(addr, "/fcm/messages", &pushes); err != nil || len(pushes) != 1 || pushes[0].Token != "unreg-1" {
		t.Errorf("the pushes are shown as %+v, %v", pushes, err)
	}
	var inbox []message
	if _, err := show(addr, "/inbox/shop", &inbox); err != nil || inbox == nil {
		t.Errorf("the partner's inbox is shown as %+v, %v", inbox, err)
	}
	end()

	addr, _, end = start(t, folder)
	defer end()
	if a, err := client(t, addr, folder).Capture(ctx, "c", acquirer.Movement{Payment: "p", Of: "a", Amount: uah}); err != nil || a.Status != acquirer.Approved {
		t.Errorf("what was held before the restart is captured: %+v, %v", a, err)
	}
	var done []acquirertest.Operation
	if _, err := show(addr, "/acquirer/operations?payment=p", &done); err != nil || len(done) != 2 || !done[1].Captured {
		t.Errorf("the acquirer did %+v, %v", done, err)
	}
}

func TestItDoesNotStartWithoutWhatItNeeds(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(context.Background(), settings.Sandbox{Folder: settings.Path(file), HTTPAddr: free(t), MailAddr: free(t)}); err == nil {
		t.Error("it runs with a folder that is a file")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := run(context.Background(), settings.Sandbox{HTTPAddr: free(t), MailAddr: l.Addr().String()}); err == nil {
		t.Error("it runs without its inbox")
	}
	if err := run(context.Background(), settings.Sandbox{HTTPAddr: l.Addr().String(), MailAddr: free(t)}); err == nil {
		t.Error("it runs where another listens")
	}
}
