package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
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
		Short:         "Operate Quittance: schema, demo, balances, clients, users, providers, vouchers, callbacks, dead letters, audit, benchmark",
		Long:          "Operate Quittance. Each command says more with --help; -o json has it answer with one JSON value.\n\n" + exitCodes,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(o.migrate(), o.demo(), o.openBalance(), o.client(), o.user(), o.provider(), o.voucher(), o.recharge(), o.callback(), o.clock(),
		o.dead(), o.audit(), o.settings(), o.completion(), o.version(), o.bench(), o.benchCeiling())
	root.PersistentFlags().StringVar(&o.as, "as", "", "who you are, in the audit log; default: QUITTANCE_OPERATOR, or the system's user@host")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp) // no command reads a file
	root.CompletionOptions.DisableDefaultCmd = true                                         // there is a completion of our own
	for _, group := range root.Commands() {
		finish(group)
	}
	return root
}

// group marks a command that is there for those below it, and only shows its help.
const group = "group"

// finish gives a command, and those below it, what all have in common.
func finish(cmd *cobra.Command) {
	for _, below := range cmd.Commands() {
		finish(below)
	}
	if !cmd.HasSubCommands() {
		tellWorkFromUsage(cmd)
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = refuseUnknown
	if !cmd.Runnable() {
		cmd.Annotations = map[string]string{group: "yes"}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	tellWorkFromUsage(cmd)
}

// refuseUnknown has what has commands below it refuse one that is not there. Left alone a group
// shows its help, and a script that misspells a command takes that for success.
func refuseUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if meant := cmd.SuggestionsFor(args[0]); len(meant) > 0 {
		text += "; did you mean " + strings.Join(meant, " or ") + "?"
	}
	return errors.New(text)
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
	s, err := store.Open(ctx, store.Config{URL: string(cfg.DatabaseURL), Secret: cfg.SecretKey, PublicURL: string(cfg.ToldURL()), Actor: o.actor(cfg)})
	if err != nil {
		return err
	}
	defer s.Close()
	return f(s)
}

func (o *operator) demo() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Load the accounts, invoices, cards and balances of the documents' examples",
		Long:    "Load the accounts, sessions, invoices, cards, payments and balances that the examples of the original API documents name. What is there already is left alone.",
		Example: "  quittance demo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.environ["QUITTANCE_ENV"] == string(settings.Production) {
				return errors.New("the demo's credentials are known to everybody: production must not have them")
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := s.LoadDemo(cmd.Context(), acquirertest.TokenOf); err != nil {
					return err
				}
				return format.show(cmd, "the demo is there", struct {
					Loaded bool `json:"loaded"`
				}{true})
			})
		},
	}
	format.flag(cmd)
	return cmd
}

// balanceFlags say what was on an account before Quittance.
type balanceFlags struct {
	account, reference string
	amount, currency   int64
}

func (f balanceFlags) parse() (once uuid.UUID, opening money.Amount, err error) {
	if once, err = uuid.Parse(f.reference); err != nil {
		return once, opening, fmt.Errorf("--reference: %w", err)
	}
	code, known := money.ParseCurrency(f.currency)
	if !known {
		return once, opening, fmt.Errorf("--currency: %w", money.ErrUnknownCurrency)
	}
	if opening, err = money.NewAmount(f.amount, code); err != nil {
		return once, opening, fmt.Errorf("--amount: %w", err)
	}
	return once, opening, nil
}

func (o *operator) openBalance() *cobra.Command {
	var f balanceFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "open-balance",
		Short:   "Bring an account's balance from before Quittance into its wallet, once per reference",
		Example: "  quittance open-balance --account b29de584e7022238bb2d3c4d790e435cbc5faa59 --amount 100000 --currency 810 --reference $(uuidgen)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			once, opening, err := f.parse()
			if err != nil {
				return misused(err)
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				opened, err := s.OpenBalance(cmd.Context(), f.account, opening, once)
				if err != nil {
					return err
				}
				done := openedBalance{Credited: opened, Account: f.account, Amount: number(opening), Currency: opening.Currency.Alpha(), opening: opening}
				return format.show(cmd, done.text(), done)
			})
		},
	}
	cmd.Flags().StringVar(&f.account, "account", "", "account number, 40 hex digits")
	cmd.Flags().Int64Var(&f.amount, "amount", 0, "minor units")
	cmd.Flags().Int64Var(&f.currency, "currency", 0, "ISO 4217 number, as 810")
	cmd.Flags().StringVar(&f.reference, "reference", "", "a UUID of the caller's choice")
	for _, name := range []string{"account", "amount", "currency", "reference"} {
		_ = cmd.MarkFlagRequired(name) // the flag is defined above
	}
	format.flag(cmd)
	return cmd
}

// openedBalance says whether this time, or an earlier one, brought a balance in.
type openedBalance struct {
	Credited bool        `json:"credited"` // false: the reference was used before
	Account  string      `json:"account"`
	Amount   json.Number `json:"amount"`
	Currency string      `json:"currency"`
	opening  money.Amount
}

func (b openedBalance) text() string {
	if !b.Credited {
		return "the reference was used before: nothing was done"
	}
	return fmt.Sprintf("credited %s to %s", b.opening, b.Account)
}
