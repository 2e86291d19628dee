package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/cmd/settings"
	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
	"github.com/quittance/quittance/workers/acquirer/acquirertest"
)

// operator holds what the commands share.
type operator struct {
	environ map[string]string
	as      string // who is doing it, by the flag --as
}

func newRoot(environ map[string]string) *cobra.Command {
	o := &operator{environ: environ}
	root := &cobra.Command{
		Use:           "quittance",
		Short:         "Operate Quittance: schema, demo, balances, clients, users, providers, vouchers, callbacks, dead letters, benchmark",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(o.migrate(), o.demo(), o.openBalance(), o.client(), o.user(), o.provider(), o.voucher(), o.recharge(), o.callback(), o.clock(),
		o.dead(), o.audit(), o.settings(), o.bench(), o.benchCeiling())
	root.PersistentFlags().StringVar(&o.as, "as", "", "who you are, in the audit log; default: QUITTANCE_OPERATOR, or the system's user@host")
	for _, group := range root.Commands() {
		refuseUnknown(group)
	}
	return root
}

// audit looks at what must not be wrong.
func (o *operator) audit() *cobra.Command {
	audit := &cobra.Command{Use: "audit", Short: "Look at what operators did"}
	audit.AddCommand(o.auditLog())
	return audit
}

// refuseUnknown has what only groups commands refuse one that is not there. Left alone it shows
// its help, and a script that misspells a command takes that for success.
func refuseUnknown(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		refuseUnknown(below)
	}
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args = cobra.NoArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
}

func (o *operator) config() (settings.Quittance, error) {
	return settings.Read[settings.Quittance](o.environ)
}

// actor is who the audit log says did it. It is never nobody.
func (o *operator) actor(cfg settings.Quittance) string {
	if name := cmp.Or(strings.TrimSpace(o.as), strings.TrimSpace(cfg.Operator)); name != "" {
		return name
	}
	name, host := "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}

// withStore opens the store for one command.
func (o *operator) withStore(ctx context.Context, f func(*store.Store) error) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{URL: string(cfg.DatabaseURL), Secret: cfg.SecretKey, Actor: o.actor(cfg)})
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

func (o *operator) demo() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Load the accounts, invoices, cards and balances of the documents' examples",
		Long:  "Load the accounts, sessions, invoices, cards, payments and balances that the examples of the original API documents name. What is there already is left alone.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.environ["QUITTANCE_ENV"] == string(settings.Production) {
				return errors.New("the demo's credentials are known to everybody: production must not have them")
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error { return s.LoadDemo(cmd.Context(), acquirertest.TokenOf) })
		},
	}
}

func (o *operator) openBalance() *cobra.Command {
	var account, reference string
	var amount, currency int64
	cmd := &cobra.Command{
		Use:     "open-balance",
		Short:   "Bring an account's balance from before Quittance into its wallet, once per reference",
		Example: "  quittance open-balance --account b29de584e7022238bb2d3c4d790e435cbc5faa59 --amount 100000 --currency 810 --reference $(uuidgen)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			once, err := uuid.Parse(reference)
			if err != nil {
				return fmt.Errorf("--reference: %w", err)
			}
			code, known := money.ParseCurrency(currency)
			if !known {
				return fmt.Errorf("--currency: %w", money.ErrUnknownCurrency)
			}
			opening, err := money.NewAmount(amount, code)
			if err != nil {
				return err
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				opened, err := s.OpenBalance(cmd.Context(), account, opening, once)
				if err != nil {
					return err
				}
				if !opened {
					cmd.Println("the reference was used before: nothing was done")
					return nil
				}
				cmd.Println("credited", strconv.FormatInt(amount, 10), "minor units:", opening)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "account number, 40 hex digits")
	cmd.Flags().Int64Var(&amount, "amount", 0, "minor units")
	cmd.Flags().Int64Var(&currency, "currency", 0, "ISO 4217 number, as 810")
	cmd.Flags().StringVar(&reference, "reference", "", "a UUID of the caller's choice")
	for _, name := range []string{"account", "amount", "currency", "reference"} {
		_ = cmd.MarkFlagRequired(name) // the flag is defined above
	}
	return cmd
}
