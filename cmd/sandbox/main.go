// Command sandbox stands in for the outside world in development, on 127.0.0.1:8090, or where
// QUITTANCE_SANDBOX_HTTP_ADDR says: a card acquirer under /acquirer (package acquirertest tells
// what it can do), the inbox of a mail server that listens on 127.0.0.1:8091, or on
// QUITTANCE_SANDBOX_MAIL_ADDR, as GET /mail/messages, and a partner's server: POST
// /inbox/{name} keeps what it is sent, and GET /inbox/{name} shows it. A sender's
// ?status=503&times=2 has the first two messages with the same webhook-id answered so.
// Firebase Cloud Messaging is below /v1/projects/, and shows what it was sent at GET
// /fcm/messages (package fcmtest).
//
// With QUITTANCE_SANDBOX_DIR the acquirer remembers in that folder what it holds and took;
// QUITTANCE_ACQUIRER_KEY is what its calls must carry, if it is set. `sandbox ready` asks the
// one that runs here whether it serves.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/deploy/local"
	"github.com/quittance/quittance/workers"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
	"github.com/quittance/quittance/workers/push/fcmtest"
	"github.com/quittance/quittance/workers/receipt/mailtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	do := run
	switch args := os.Args[1:]; {
	case slices.Equal(args, []string{"ready"}): // the health check of an image that has no shell
		do = ready
	case len(args) > 0:
		fmt.Fprintln(os.Stderr, "usage: sandbox [ready]; what it reads from its environment is shown by quittance config")
		os.Exit(2)
	}
	cfg, err := readConfig(local.Environ(os.Environ()))
	if err == nil {
		err = do(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

// readConfig reports all problems at once. One of them is production, where a card that anybody
// may use must not be taken.
func readConfig(environ map[string]string) (settings.Sandbox, error) {
	cfg, err := settings.Read[settings.Sandbox](environ)
	return cfg, errors.Join(err, cfg.Refused())
}

// ready asks the sandbox of the same environment whether it serves.
func ready(ctx context.Context, cfg settings.Sandbox) error {
	return workers.Ask(ctx, cfg.HTTPAddr, "/healthz")
}

// run serves until ctx ends.
func run(ctx context.Context, cfg settings.Sandbox) (err error) {
	acquirer, err := acquirertest.New(acquirertest.Config{Folder: string(cfg.Folder), Key: cfg.AcquirerKey})
	if err != nil {
		return fmt.Errorf("acquirer: %w", err)
	}
	// Calls that it delays end with ctx: nobody waits for them then.
	defer context.AfterFunc(ctx, func() { _ = acquirer.Close() })()
	defer func() { err = errors.Join(err, acquirer.Close()) }()

	mail, err := mailtest.Listen(cfg.MailAddr)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	defer mail.Close()
	return workers.Serve(ctx, cfg.HTTPAddr, newSandbox(acquirer, mail))
}

// newSandbox joins what the sandbox serves over HTTP.
func newSandbox(acquirer, mail http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/acquirer/", acquirer)
	mux.Handle("/mail/", mail)
	phones := fcmtest.New()
	for _, path := range []string{"/v1/", "/fcm/", "/token"} {
		mux.Handle(path, phones)
	}
	mux.Handle("/", newInbox())
	return mux
}
