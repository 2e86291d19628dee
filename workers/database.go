package workers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Database shows whether this process can use the database.
type Database struct {
	ready func(context.Context) error
	up    prometheus.Gauge
}

const (
	databaseInterval = 2 * time.Second
	databasePatience = 3 * time.Second
)

// WatchDatabase returns a gauge at 0, which follows ready while Run runs. The caller registers
// Collectors.
func WatchDatabase(ready func(context.Context) error) *Database {
	return &Database{ready: ready, up: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "quittance_database_up",
		Help: "Whether this process can use the database, of which its last look is at most 5 s ago.",
	})}
}

// Collectors is what to register.
func (d *Database) Collectors() []prometheus.Collector { return []prometheus.Collector{d.up} }

// Run looks until ctx ends.
func (d *Database) Run(ctx context.Context) error {
	tick := time.NewTicker(databaseInterval)
	defer tick.Stop()
	for {
		d.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (d *Database) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, databasePatience)
	defer cancel()
	switch err := d.ready(bounded); {
	case err == nil:
		d.up.Set(1)
	case ctx.Err() == nil:
		d.up.Set(0)
	}
}
