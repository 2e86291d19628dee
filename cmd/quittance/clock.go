package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
)

// errNotDevelopment wants QUITTANCE_ENV to say it: that nothing says otherwise is not
// enough, since the database may still be anybody's.
var errNotDevelopment = errors.New("the clock is for development: set QUITTANCE_ENV=development where the database is one of development")

// clock is how somebody who develops sees what happens tomorrow.
func (o *operator) clock() *cobra.Command {
	var ahead time.Duration
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Show or move the time that decides what has expired; in development only",
		Long: `Show the time that decides what has expired, or move it: it is the database's clock and, in
development, as much more as --ahead says. What has expired stays so when the clock
is moved back.

Refused unless QUITTANCE_ENV is development.`,
		Example: `  QUITTANCE_ENV=development quittance clock
  QUITTANCE_ENV=development quittance clock --ahead 25h
  QUITTANCE_ENV=development quittance clock --ahead 0
  QUITTANCE_ENV=development quittance clock run 8760h --within 1m`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.inDevelopment(); err != nil {
				return err
			}
			if ahead < 0 {
				return misused(errors.New("--ahead: the clock is never behind; 0 is the database's"))
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if cmd.Flags().Changed("ahead") {
					if err := s.SetClockAhead(cmd.Context(), ahead); err != nil {
						return err
					}
				}
				return showClock(cmd.Context(), cmd, s, format)
			})
		},
	}
	cmd.Flags().DurationVar(&ahead, "ahead", 0, "how far ahead of the database's clock, as 25h; 0 for not at all")
	format.flag(cmd)
	cmd.AddCommand(o.runClock())
	return cmd
}

func (o *operator) inDevelopment() error {
	if o.environ["QUITTANCE_ENV"] != "development" {
		return errNotDevelopment
	}
	return nil
}

func showClock(ctx context.Context, cmd *cobra.Command, s *store.Store, format outputFormat) error {
	now, ahead, err := s.DecidingTime(ctx)
	if err != nil {
		return err
	}
	where := "the database's clock"
	if ahead != 0 {
		where = shortDuration(ahead.Round(time.Second)) + " ahead of the database's clock"
	}
	return format.show(cmd, now.UTC().Format(time.RFC3339)+", "+where, struct {
		Decides time.Time `json:"decides"`
		Ahead   string    `json:"ahead"` // of the database's clock, as 25h
	}{now.UTC(), shortDuration(ahead)})
}
