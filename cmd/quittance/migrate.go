package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/migrations"
	"github.com/quittance/quittance/store"
)

func (o *operator) migrate() *cobra.Command {
	var roles migrations.Roles
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
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.config()
			if err != nil {
				return err
			}
			applied, err := migrations.Up(cmd.Context(), string(cfg.DatabaseURL))
			if err != nil {
				return err
			}
			for _, name := range applied {
				cmd.Println("applied", name)
			}
			if len(applied) == 0 {
				cmd.Println("the schema is the newest")
			}
			if err := o.keepMigration(cmd.Context(), applied); err != nil {
				return err
			}
			if err := grant(cmd, string(cfg.DatabaseURL), roles); err != nil || cfg.Environment != settings.Production {
				return err
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error { return warn(cmd, s) })
		},
	}
	cmd.Flags().StringVar(&roles.Runtime, "runtime", "", "the role of api, worker and this command line")
	cmd.Flags().StringVar(&roles.Reader, "reader", "", "the role of audits and reports")
	return cmd
}

// keepMigration has the audit log say what was applied.
func (o *operator) keepMigration(ctx context.Context, applied []string) error {
	if len(applied) == 0 {
		return nil
	}
	return o.withStore(ctx, func(s *store.Store) error { return s.KeepMigration(ctx, applied) })
}

func grant(cmd *cobra.Command, database string, roles migrations.Roles) error {
	if roles == (migrations.Roles{}) {
		return nil
	}
	if err := migrations.Grant(cmd.Context(), database, roles); err != nil {
		return err
	}
	for _, role := range []string{roles.Runtime, roles.Reader} {
		if role != "" {
			cmd.Println("granted to", role)
		}
	}
	return nil
}

// warn says what is unsafe, where it does not spoil the output.
func warn(cmd *cobra.Command, s *store.Store) error {
	found, err := s.Unsafe(cmd.Context())
	for _, sentence := range found {
		cmd.PrintErrln("unsafe in production:", sentence)
	}
	return err
}
