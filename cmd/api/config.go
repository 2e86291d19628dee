package main

import (
	"errors"
	"fmt"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/workers/acquirer"
)

// config is all that the API reads from its environment.
type config struct{ settings.API }

// readConfig reports all problems at once.
func readConfig(environ map[string]string) (config, error) {
	read, err := settings.Read[settings.API](environ)
	cfg := config{read}
	_, badAcquirer := cfg.acquirer()
	return cfg, errors.Join(err, badAcquirer, cfg.Refused())
}

// acquirer returns the client of the card acquirer.
func (c config) acquirer() (*acquirer.Client, error) {
	client, err := acquirer.New(c.AcquirerURL, c.AcquirerKey, c.AcquirerTimeout)
	if err != nil {
		return nil, fmt.Errorf("QUITTANCE_ACQUIRER_URL, QUITTANCE_ACQUIRER_TIMEOUT: %w", err)
	}
	return client, nil
}
