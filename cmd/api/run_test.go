package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/quittance/quittance/api/apitest"
	"github.com/quittance/quittance/queue/queuetest"
	"github.com/quittance/quittance/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the API on a free port until stop; ended gets what run returned. settings come
// on top of what it needs.
func start(t *testing.T, db *storetest.DB, settings map[string]string) (address string, stop func(), ended <-chan error) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	result := make(chan error, 1)
	environ := map[string]string{
		"DATABASE_URL":               db.URL,
		"AMQP_URL":                   queuetest.New(t),
		"QUITTANCE_SECRET_KEY":       base64.StdEncoding.EncodeToString(storetest.Secret[:]),
		"QUITTANCE_HTTP_ADDR":        address,
		"QUITTANCE_API_MONITOR_ADDR": "127.0.0.1:0",
	}
	maps.Copy(environ, settings)
	go func() { result <- run(ctx, environ) }()
	return address, stop, result
}

func TestAProcessThatEndsAnswersWhoWaits(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	payment := db.Invoice(db.Account(100), db.Account(0), 5)
	address, stop, ended := start(t, db, nil)
	defer stop()

	client := &http.Client{Transport: apitest.Transport(t, &http.Transport{DisableKeepAlives: true})}
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		body := fmt.Sprintf(`{"amount":5,"currencyCode":810,"description":"","number":"%s","recipient":"%s","sessionId":"%s"}`,
			payment.Number, payment.Recipient, payment.Session)
		for { // until it listens
			r, err := http.NewRequest(http.MethodPost, "http://"+address+"/mobile-api/invoice/pay", bytes.NewBufferString(body))
			if err != nil {
				answered <- answer{err: err}
				return
			}
			r.Header.Set("Prefer", "wait=30")
			resp, err := client.Do(r)
			if err != nil && db.Count("SELECT count(*) FROM operations") == 0 {
				continue
			}
			if err != nil {
				answered <- answer{err: err}
				return
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			answered <- answer{resp.StatusCode, string(text), err}
			return
		}
	}()
	db.Eventually("the accepted payment", 1, "SELECT count(*) FROM operations") // accepted, and nobody settles it
	stopped := time.Now()
	stop()
	if a := <-answered; a.err != nil || a.status != http.StatusCreated {
		t.Errorf("who waited was answered %+v, want the 201 of what was accepted", a)
	}
	if err := <-ended; err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if took := time.Since(stopped); took > 15*time.Second {
		t.Errorf("it took %s to end", took)
	}
	db.CheckInvariants()
}

func TestAllProblemsOfAConfigurationAreSaidAtOnce(t *testing.T) {
	t.Parallel()
	_, err := readConfig(map[string]string{"QUITTANCE_SECRET_KEY": "c2hvcnQ=", "QUITTANCE_ADMISSION_AGE": "soon", "QUITTANCE_PUBLIC_URL": "ftp://x", "QUITTANCE_ACQUIRER_URL": "there"})
	if err == nil {
		t.Fatal("a configuration without addresses was read")
	}
	for _, problem := range []string{"DATABASE_URL", "AMQP_URL", "the secret key has 5 bytes", "soon", "the public URL", "QUITTANCE_ACQUIRER_URL"} {
		if !bytes.Contains([]byte(err.Error()), []byte(problem)) {
			t.Errorf("%q does not say %q", err, problem)
		}
	}
}
