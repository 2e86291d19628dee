package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/store"
)

func (o *operator) migrate() *cobra.Command {
	var roles migrations.Roles
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to the newest schema, and let roles use it",
		Long: `Bring the database to the newest schema. DATABASE_URL names the role that owns the schema.

With --runtime and --reader these roles, which exist already, hold exactly the privileges that
they need afterwards: the runtime's is for api, worker and this command line, which read and
write, but change and delete nothing that has happened; the reader's is for audits and reports.
Name them at every migration: a new table is nobody's but its owner's.

In production it says what the database holds that only development should.`,
		Example: `  quittance migrate
  quittance migrate --runtime quittance_runtime --reader quittance_reader`,
		Args:    cobra.NoArgs,
		PreRunE: nothingEmpty, // a role that is not named is granted nothing
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return err
			}
			done, err := o.bringUp(cmd.Context(), cfg, roles)
			if err != nil {
				return err
			}
			if cfg.Environment == settings.Production {
				if err := o.warn(cmd); err != nil {
					return err
				}
			}
			return format.show(cmd, done.text(), done)
		},
	}
	cmd.Flags().StringVar(&roles.Runtime, "runtime", "", "the role of api, worker and this command line")
	cmd.Flags().StringVar(&roles.Reader, "reader", "", "the role of audits and reports")
	format.flag(cmd)
	return cmd
}

// migrated names the migrations that were applied, and whom the schema was granted to.
type migrated struct {
	Applied []string `json:"applied"`
	Granted []string `json:"granted"`
}

func (m migrated) text() string {
	lines := []string{"the schema is the newest"}
	if len(m.Applied) > 0 {
		lines = []string{"applied " + strings.Join(m.Applied, "\napplied ")}
	}
	for _, role := range m.Granted {
		lines = append(lines, "granted to "+role)
	}
	return strings.Join(lines, "\n")
}

// bringUp applies what is missing, which the audit log then says, and grants.
func (o *operator) bringUp(ctx context.Context, cfg settings.Quittance, roles migrations.Roles) (done migrated, err error) {
	applied, err := migrations.Up(ctx, string(cfg.DatabaseURL))
	if err != nil {
		return done, err
	}
	done = migrated{Applied: append([]string{}, applied...), Granted: []string{}}
	if len(applied) > 0 {
		if err := o.withStore(ctx, func(s *store.Store) error { return s.KeepMigration(ctx, applied) }); err != nil {
			return done, err
		}
	}
	if roles == (migrations.Roles{}) {
		return done, nil
	}
	if err := migrations.Grant(ctx, string(cfg.DatabaseURL), roles); err != nil {
		return done, err
	}
	for _, role := range []string{roles.Runtime, roles.Reader} {
		if role != "" {
			done.Granted = append(done.Granted, role)
		}
	}
	return done, nil
}

// warn says what is unsafe, where it does not spoil the output.
func (o *operator) warn(cmd *cobra.Command) error {
	return o.withStore(cmd.Context(), func(s *store.Store) error {
		found, err := s.Unsafe(cmd.Context())
		for _, sentence := range found {
			cmd.PrintErrln("unsafe in production:", sentence)
		}
		return err
	})
}
