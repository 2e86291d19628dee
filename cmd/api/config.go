package main

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/workers/acquirer"
)

// config is all that the API reads from its environment.
type config struct {
	DatabaseURL string       `env:"DATABASE_URL,required,notEmpty"`         // postgres://…
	AMQPURL     string       `env:"AMQP_URL,required,notEmpty"`             // amqp://…, or those of several nodes of a cluster with commas between them
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY,required,notEmpty"` // 32 bytes in base64, the same for api and worker

	HTTPAddr    string `env:"QUITTANCE_HTTP_ADDR" envDefault:"127.0.0.1:8000"`        // the public APIs
	MonitorAddr string `env:"QUITTANCE_API_MONITOR_ADDR" envDefault:"127.0.0.1:9101"` // metrics and health

	PublicURL       publicURL     `env:"QUITTANCE_PUBLIC_URL" envDefault:"http://127.0.0.1:8000"`            // of this server, as payers and the acquirer reach it
	AcquirerURL     string        `env:"QUITTANCE_ACQUIRER_URL" envDefault:"http://127.0.0.1:8090/acquirer"` // of the card acquirer
	AcquirerKey     string        `env:"QUITTANCE_ACQUIRER_KEY"`                                             // that its calls carry; none by default
	AcquirerTimeout time.Duration `env:"QUITTANCE_ACQUIRER_TIMEOUT" envDefault:"10s"`                        // of a call

	DatabaseConns  int32    `env:"QUITTANCE_API_DATABASE_CONNS" envDefault:"8"` // at most
	CORSOrigins    []string `env:"QUITTANCE_CORS_ORIGINS" envDefault:"*"`       // whose pages may call; * for any
	TrustedProxies []string `env:"QUITTANCE_TRUSTED_PROXIES"`                   // whose X-Forwarded-For is believed

	AccountAddRate float64       `env:"QUITTANCE_ACCOUNT_ADD_RATE" envDefault:"5"`     // new accounts a second and address
	TokenRate      float64       `env:"QUITTANCE_TOKEN_RATE" envDefault:"10"`          // requests for tokens a second and address
	SessionRate    float64       `env:"QUITTANCE_SESSION_RATE" envDefault:"10"`        // new sessions of shops a second and address
	PageRate       float64       `env:"QUITTANCE_PAGE_RATE" envDefault:"1"`            // card forms a second and address
	MobileOpenList bool          `env:"QUITTANCE_MOBILE_OPEN_LIST" envDefault:"false"` // accounts/list shows every session id
	CallbackHTTP   bool          `env:"QUITTANCE_CALLBACK_HTTP" envDefault:"false"`    // callback endpoints may be plain http; in development
	AdmissionAge   time.Duration `env:"QUITTANCE_ADMISSION_AGE" envDefault:"15s"`      // of the oldest untried command; past it 503
	MessageGrace   time.Duration `env:"QUITTANCE_MESSAGE_GRACE" envDefault:"30s"`      // after which a message counts as lost
}

// publicURL is what the addresses that we give away begin with.
type publicURL string

// UnmarshalText accepts where a browser may be sent to. What it is followed by begins with a
// slash, so it ends without.
func (p *publicURL) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(string(text), "?#") || strings.HasSuffix(string(text), "/") {
		return errors.New("the public URL is not an http or https URL of a host, without a slash at its end")
	}
	*p = publicURL(text)
	return nil
}

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	cfg, err := env.ParseAsWithOptions[config](env.Options{Environment: environ})
	_, badAcquirer := cfg.acquirer()
	return cfg, errors.Join(err, badAcquirer)
}

// acquirer returns the client of the card acquirer.
func (c config) acquirer() (*acquirer.Client, error) {
	client, err := acquirer.New(c.AcquirerURL, c.AcquirerKey, c.AcquirerTimeout)
	if err != nil {
		return nil, fmt.Errorf("QUITTANCE_ACQUIRER_URL, QUITTANCE_ACQUIRER_TIMEOUT: %w", err)
	}
	return client, nil
}
