package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer"
	"github.com/quittance/quittance/workers/callback"
	"github.com/quittance/quittance/workers/push"
	"github.com/quittance/quittance/workers/receipt"
)

// config is all that the workers read from their environment.
type config struct {
	DatabaseURL string       `env:"DATABASE_URL,required,notEmpty"`         // postgres://…
	AMQPURL     string       `env:"AMQP_URL,required,notEmpty"`             // amqp://…, or those of several nodes of a cluster with commas between them
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY,required,notEmpty"` // 32 bytes in base64, the same for api and worker

	MonitorAddr   string        `env:"QUITTANCE_WORKER_MONITOR_ADDR" envDefault:"127.0.0.1:9102"` // metrics and health
	DatabaseConns int32         `env:"QUITTANCE_WORKER_DATABASE_CONNS" envDefault:"12"`           // at most; about one for each thing that a worker does at the same time
	MessageGrace  time.Duration `env:"QUITTANCE_MESSAGE_GRACE" envDefault:"30s"`                  // after which a message counts as lost

	PublicURL       string        `env:"QUITTANCE_PUBLIC_URL" envDefault:"http://127.0.0.1:8000"`            // where the acquirer reaches the api
	AcquirerURL     string        `env:"QUITTANCE_ACQUIRER_URL" envDefault:"http://127.0.0.1:8090/acquirer"` // http or https
	AcquirerKey     string        `env:"QUITTANCE_ACQUIRER_KEY"`                                             // a bearer token; empty: none
	AcquirerTimeout time.Duration `env:"QUITTANCE_ACQUIRER_TIMEOUT" envDefault:"10s"`                        // of one call

	CallbackAllow   []netip.Prefix `env:"QUITTANCE_CALLBACK_ALLOW"`                    // private networks that callbacks may go to, as 10.1.0.0/16,10.2.0.0/16; empty: none
	CallbackTimeout time.Duration  `env:"QUITTANCE_CALLBACK_TIMEOUT" envDefault:"15s"` // of one attempt, from the lookup of its host to the end of the answer

	SMTPURL  string `env:"QUITTANCE_SMTP_URL"`                                          // smtp://user:password@host:port, or smtps://…; empty: mail is off
	MailFrom string `env:"QUITTANCE_MAIL_FROM" envDefault:"receipts@quittance.example"` // what receipts are sent from

	FCMCredentials string `env:"QUITTANCE_FCM_CREDENTIALS"` // a service account's or workload identity's file, or default: the machine's own; empty, with the next but one: pushes are off
	FCMProject     string `env:"QUITTANCE_FCM_PROJECT"`     // if the credentials do not say which
	FCMURL         string `env:"QUITTANCE_FCM_URL"`         // in place of Google's, as in development: then credentials are not needed

	FCMPatience time.Duration `env:"QUITTANCE_FCM_PATIENCE" envDefault:"30s"` // before FCM is asked again whether it takes the credentials
}

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	cfg, err := env.ParseAsWithOptions[config](env.Options{Environment: environ})
	_, badURL := cfg.notifyURL()
	_, badAcquirer := cfg.acquirer()
	_, badMailer := cfg.mailer()
	return cfg, errors.Join(err, badURL, badAcquirer, badMailer, cfg.fcm().Check())
}

// fcm is as whom phones are told, and by way of what.
func (c config) fcm() push.Config {
	return push.Config{Credentials: c.FCMCredentials, Project: c.FCMProject, URL: c.FCMURL, Patience: c.FCMPatience}
}

// pusher returns what phones are told with, or nil where pushes are off.
func (c config) pusher(ctx context.Context) (*push.Sender, error) {
	if c.fcm().Off() {
		return nil, nil
	}
	return push.NewSender(ctx, c.fcm())
}

// notifyURL is where the acquirer says that it has news.
func (c config) notifyURL() (string, error) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", errors.New("QUITTANCE_PUBLIC_URL: not an http or https URL")
	}
	return strings.TrimRight(c.PublicURL, "/") + "/api/acquiring/notifications", nil
}

// acquirer returns the client of the card acquirer.
func (c config) acquirer() (*acquirer.Client, error) {
	client, err := acquirer.New(c.AcquirerURL, c.AcquirerKey, c.AcquirerTimeout)
	if err != nil {
		return nil, fmt.Errorf("QUITTANCE_ACQUIRER_URL: %w", err)
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
