package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// provider keeps those who bring money in.
func (o *operator) provider() *cobra.Command {
	provider := &cobra.Command{Use: "provider", Short: "Keep the providers by which accounts are recharged"}
	provider.AddCommand(o.addProvider(), o.listProviders(),
		o.switchProvider("disable", "Let no recharges of a provider be created; those that are there can be ended", false),
		o.switchProvider("enable", "Let a provider's recharges be created again", true))
	return provider
}

// providerFlags are a provider as its flags say it.
type providerFlags struct {
	name, description, currency string
	perPayment, perDay          string
	params                      []string
	expiresAfter                time.Duration
}

func (o *operator) addProvider() *cobra.Command {
	var f providerFlags
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "add REFERENCE",
		Short: "Add a provider, or change what the flags say of one that is there",
		Long: `Add a provider, or change what the flags say of one that is there: what no flag names
stays as it is. A new one needs a name and a currency, and is enabled.

REFERENCE is its name in paths: 1 to 64 letters, digits, dashes and underscores.`,
		Example: `  quittance provider add external --name "External Payment Providers" --currency RUR
  quittance provider add voucher --name Vouchers --param code --currency RUR --expires-after 1h
  quittance provider add external --limit-per-payment 15000 --limit-per-day 1000000.50`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			reference := args[0]
			if !referenceForm.MatchString(reference) {
				return misused(fmt.Errorf("%q is no reference: 1 to 64 letters, digits, dashes and underscores", reference))
			}
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				done := "changed"
				p, err := findProvider(cmd.Context(), s, reference)
				if errors.Is(err, store.ErrProviderNotFound) {
					done, err = "added", nil
					p = store.NewProvider{Provider: store.Provider{Reference: reference}, ExpiresAfter: f.expiresAfter, Enabled: true}
				}
				if err != nil {
					return err
				}
				if err := f.apply(&p, cmd.Flags().Changed); err != nil {
					return misused(fmt.Errorf("provider %s: %w", reference, err))
				}
				if err := s.PutProvider(cmd.Context(), p); err != nil {
					return err
				}
				return format.show(cmd, done+" "+reference, struct {
					Reference string `json:"reference"`
					Done      string `json:"done"` // added or changed
				}{reference, done})
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "what people call it")
	flags.StringVar(&f.description, "description", "", "a sentence about it")
	flags.StringArrayVar(&f.params, "param", nil, "a parameter that its recharges have, as code; may be repeated")
	flags.StringVar(&f.currency, "currency", "", "what it brings in where a recharge does not say, as RUR")
	flags.StringVar(&f.perPayment, "limit-per-payment", "0", "the largest recharge, in its currency; 0 for no limit")
	flags.StringVar(&f.perDay, "limit-per-day", "0", "all recharges of a UTC day, in its currency; 0 for no limit")
	flags.DurationVar(&f.expiresAfter, "expires-after", 24*time.Hour, "how long a recharge may wait for its commit")
	format.flag(cmd)
	return cmd
}

var referenceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// apply puts into p what the given flags say.
func (f providerFlags) apply(p *store.NewProvider, given func(flag string) bool) error {
	for flag, set := range map[string]func(){
		"name":          func() { p.Name = f.name },
		"description":   func() { p.Description = f.description },
		"param":         func() { p.Params = f.params },
		"expires-after": func() { p.ExpiresAfter = f.expiresAfter },
	} {
		if given(flag) {
			set()
		}
	}
	switch {
	case p.Name == "":
		return errors.New("--name: a new provider needs one")
	case p.ExpiresAfter <= 0:
		return errors.New("--expires-after: a recharge expires after its creation")
	}
	return f.applyMoney(p, given)
}

func (f providerFlags) applyMoney(p *store.NewProvider, given func(flag string) bool) error {
	old := p.Currency
	switch {
	case given("currency"):
		c, err := parseCurrency(f.currency)
		if err != nil {
			return err
		}
		p.Currency = c
	case old == 0:
		return errors.New("--currency: a new provider needs one")
	}
	for _, limit := range []struct {
		flag, text string
		to         *int64
	}{
		{"limit-per-payment", f.perPayment, &p.LimitPerPayment},
		{"limit-per-day", f.perDay, &p.LimitPerDay},
	} {
		switch {
		case given(limit.flag):
			minor, err := parseLimit(p.Currency, "--"+limit.flag, limit.text)
			if err != nil {
				return err
			}
			*limit.to = minor
		case *limit.to != 0 && p.Currency != old:
			return fmt.Errorf("--currency: say --%s in %s as well (0 for none)", limit.flag, p.Currency.Alpha())
		}
	}
	return nil
}

func parseLimit(c money.Currency, flag, text string) (minor int64, err error) {
	if text == "0" {
		return 0, nil
	}
	a, err := parseAmountIn(c, flag, text)
	return a.Minor, err
}

func findProvider(ctx context.Context, s *store.Store, reference string) (store.NewProvider, error) {
	all, err := s.AllProviders(ctx)
	if err != nil {
		return store.NewProvider{}, err
	}
	for _, p := range all {
		if p.Reference == reference {
			return p, nil
		}
	}
	return store.NewProvider{}, fmt.Errorf("provider %q: %w", reference, store.ErrProviderNotFound)
}

func (o *operator) switchProvider(name, short string, enabled bool) *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     name + " REFERENCE",
		Short:   short,
		Example: "  quittance provider " + name + " external",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				if err := s.SetProviderEnabled(cmd.Context(), args[0], enabled); err != nil {
					return fmt.Errorf("provider %q: %w", args[0], err)
				}
				return format.show(cmd, name+"d "+args[0], struct {
					Reference string `json:"reference"`
					Enabled   bool   `json:"enabled"`
				}{args[0], enabled})
			})
		},
	}
	format.flag(cmd)
	return cmd
}

func (o *operator) listProviders() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List all providers, the disabled ones too",
		Example: "  quittance provider list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.withStore(cmd.Context(), func(s *store.Store) error {
				all, err := s.AllProviders(cmd.Context())
				if err != nil {
					return err
				}
				listed := providerList(all)
				return format.show(cmd, providerTable(listed), listed)
			})
		},
	}
	format.flag(cmd)
	return cmd
}

// listedProvider is a provider in the list. A limit that is not there is none.
type listedProvider struct {
	Reference       string      `json:"reference"`
	Name            string      `json:"name"`
	Description     string      `json:"description"`
	Params          []string    `json:"params"`
	Currency        string      `json:"currency"`
	LimitPerPayment json.Number `json:"limitPerPayment,omitempty"`
	LimitPerDay     json.Number `json:"limitPerDay,omitempty"`
	ExpiresAfter    string      `json:"expiresAfter"`
	Enabled         bool        `json:"enabled"`
}

func providerList(all []store.NewProvider) []listedProvider {
	listed := make([]listedProvider, len(all))
	for i, p := range all {
		listed[i] = listedProvider{
			Reference: p.Reference, Name: p.Name, Description: p.Description, Params: append([]string{}, p.Params...),
			Currency: p.Currency.Alpha(), LimitPerPayment: limitNumber(p.LimitPerPayment, p.Currency),
			LimitPerDay: limitNumber(p.LimitPerDay, p.Currency), ExpiresAfter: shortDuration(p.ExpiresAfter), Enabled: p.Enabled,
		}
	}
	return listed
}

func limitNumber(minor int64, c money.Currency) json.Number {
	if minor == 0 {
		return ""
	}
	return number(money.Amount{Minor: minor, Currency: c})
}

func providerTable(all []listedProvider) string {
	t := plainTable("reference", "name", "params", "currency", "per payment", "per day", "expires after", "enabled")
	for _, p := range all {
		t.AppendRow(table.Row{
			p.Reference, p.Name, strings.Join(p.Params, ", "), p.Currency, p.LimitPerPayment, p.LimitPerDay, p.ExpiresAfter, p.Enabled,
		})
	}
	return t.Render()
}
