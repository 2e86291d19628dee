package main

import (
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/quittance/quittance/store"
)

// config is all that the API reads from its environment.
type config struct {
	DatabaseURL string       `env:"DATABASE_URL,required,notEmpty"`         // postgres://…
	AMQPURL     string       `env:"AMQP_URL,required,notEmpty"`             // amqp://…
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY,required,notEmpty"` // 32 bytes in base64, the same for api and worker

	HTTPAddr    string `env:"QUITTANCE_HTTP_ADDR" envDefault:"127.0.0.1:8000"`        // the public APIs
	MonitorAddr string `env:"QUITTANCE_API_MONITOR_ADDR" envDefault:"127.0.0.1:9101"` // metrics and health

	DatabaseConns  int32    `env:"QUITTANCE_API_DATABASE_CONNS" envDefault:"8"` // at most
	CORSOrigins    []string `env:"QUITTANCE_CORS_ORIGINS" envDefault:"*"`       // whose pages may call; * for any
	TrustedProxies []string `env:"QUITTANCE_TRUSTED_PROXIES"`                   // whose X-Forwarded-For is believed

	AccountAddRate float64       `env:"QUITTANCE_ACCOUNT_ADD_RATE" envDefault:"5"`     // new accounts a second and address
	TokenRate      float64       `env:"QUITTANCE_TOKEN_RATE" envDefault:"10"`          // requests for tokens a second and address
	MobileOpenList bool          `env:"QUITTANCE_MOBILE_OPEN_LIST" envDefault:"false"` // accounts/list shows every session id
	AdmissionAge   time.Duration `env:"QUITTANCE_ADMISSION_AGE" envDefault:"15s"`      // of the oldest untried command; past it 503
	MessageGrace   time.Duration `env:"QUITTANCE_MESSAGE_GRACE" envDefault:"30s"`      // after which a message counts as lost
}

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	return env.ParseAsWithOptions[config](env.Options{Environment: environ})
}
