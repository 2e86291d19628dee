package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/callback"
	"github.com/quittance/quittance/workers/push"
	"github.com/quittance/quittance/workers/receipt"
)

// config is all that the workers read from their environment.
type config struct{ settings.Worker }

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	read, err := settings.Read[settings.Worker](environ)
	cfg := config{read}
	_, badAcquirer := cfg.acquirer()
	_, badMailer := cfg.mailer()
	return cfg, errors.Join(err, badAcquirer, badMailer, cfg.fcm().Check(), cfg.Refused())
}

// outside is whom workers call.
type outside struct {
	bank   *acquirer.Client
	mailer *receipt.Mailer // nil: mail is off
	pusher *push.Sender    // nil: pushes are off
}

// outside makes the clients of whom workers call.
func (c config) outside(ctx context.Context) (o outside, err error) {
	if o.bank, err = c.acquirer(); err != nil {
		return o, err
	}
	if o.mailer, err = c.mailer(); err != nil {
		return o, err
	}
	o.pusher, err = c.pusher(ctx)
	return o, err
}

// fcm is as whom phones are told, and by way of what.
func (c config) fcm() push.Config {
	return push.Config{Credentials: string(c.FCMCredentials), Project: c.FCMProject, URL: c.FCMURL, Patience: c.FCMPatience}
}

// pusher returns what phones are told with, or nil where pushes are off.
func (c config) pusher(ctx context.Context) (*push.Sender, error) {
	if c.fcm().Off() {
		return nil, nil
	}
	return push.NewSender(ctx, c.fcm())
}

// notifyURL is where the acquirer says that it has news.
func (c config) notifyURL() string { return string(c.PublicURL) + "/api/acquiring/notifications" }

// acquirer returns the client of the card acquirer.
func (c config) acquirer() (*acquirer.Client, error) {
	client, err := acquirer.New(c.AcquirerURL, c.AcquirerKey, c.AcquirerTimeout)
	if err != nil {
		return nil, fmt.Errorf("QUITTANCE_ACQUIRER_URL, QUITTANCE_ACQUIRER_TIMEOUT: %w", err)
	}
	return client, nil
}

// callback says how partners are called.
func (c config) callback() callback.Config {
	return callback.Config{Timeout: c.CallbackTimeout, Version: version(), Allow: c.CallbackAllow}
}

// version is that of the program, as its build knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "devel"
}

// mailer returns what receipts are mailed with, or nil where mail is off.
func (c config) mailer() (*receipt.Mailer, error) {
	if c.SMTPURL == "" {
		return nil, nil
	}
	mailer, err := receipt.NewMailer(c.SMTPURL, c.MailFrom)
	if err != nil {
		return nil, fmt.Errorf("QUITTANCE_SMTP_URL, QUITTANCE_MAIL_FROM: %w", err)
	}
	return mailer, nil
}
