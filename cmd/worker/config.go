package main

import (
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/quittance/quittance/store"
)

// config is all that the workers read from their environment.
type config struct {
	DatabaseURL string       `env:"DATABASE_URL,required,notEmpty"`         // postgres://…
	AMQPURL     string       `env:"AMQP_URL,required,notEmpty"`             // amqp://…
	SecretKey   store.Secret `env:"QUITTANCE_SECRET_KEY,required,notEmpty"` // 32 bytes in base64, the same for api and worker

	MonitorAddr   string        `env:"QUITTANCE_WORKER_MONITOR_ADDR" envDefault:"127.0.0.1:9102"` // metrics and health
	DatabaseConns int32         `env:"QUITTANCE_WORKER_DATABASE_CONNS" envDefault:"8"`            // at most
	MessageGrace  time.Duration `env:"QUITTANCE_MESSAGE_GRACE" envDefault:"30s"`                  // after which a message counts as lost
}

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	return env.ParseAsWithOptions[config](env.Options{Environment: environ})
}
