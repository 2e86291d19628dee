package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// shopFlags are a shop's terms as the flags of client add say them.
type shopFlags struct {
	store.ShopTerms
	percents percents
}

func (f *shopFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Name, "shop", "", "make it a shop, of this name: payers see it")
	flags.Var(&f.percents, "percents", "a shop's commission: percents of a payment, as 2.5; at most three decimals")
	flags.Int64Var(&f.Tariff.Fixed, "fixed", 0, "a shop's commission: kopecks for each payment")
	flags.BoolVar(&f.AllowUnsigned, "allow-unsigned", false, "let a shop's requests come unsigned")
	flags.DurationVar(&f.HoldFor, "hold-for", 7*24*time.Hour, "how long a shop's payments of type HOLD may wait to be completed")
}

// terms are nil where there is no --shop, and then nothing else of a shop may be given.
func (f *shopFlags) terms(given func(flag string) bool) (*store.ShopTerms, error) {
	if given("shop") {
		f.Tariff.Millipercents = int64(f.percents)
		return &f.ShopTerms, f.check()
	}
	for _, flag := range []string{"percents", "fixed", "allow-unsigned", "hold-for"} {
		if given(flag) {
			return nil, fmt.Errorf("--%s is of a shop: give --shop as well", flag)
		}
	}
	return nil, nil
}

// check refuses what the store would take for nothing given.
func (f *shopFlags) check() error {
	if f.HoldFor <= 0 {
		return errors.New("--hold-for: money is held for a time that is positive")
	}
	return nil
}

// percents are thousandths of a percent, written as percents: 2.5 is 2500.
type percents int64

// String, Type and Set make it a flag.
func (p *percents) String() string { return store.Tariff{Millipercents: int64(*p)}.Percents() }

// Type names the value in the help.
func (p *percents) Type() string { return "decimal" }

// Set takes a decimal with at most three places, exactly.
func (p *percents) Set(text string) error {
	d, err := money.ParseDecimal(text)
	if err != nil {
		return err
	}
	milli, err := d.Scaled(3)
	switch {
	case errors.Is(err, money.ErrTooPrecise):
		return errors.New("it has more than three decimals")
	case err != nil || milli < 0 || milli > 100_000:
		return errors.New("it is not from 0 to 100")
	}
	*p = percents(milli)
	return nil
}

// termsShown are a shop's columns in the list of clients.
func termsShown(t store.ShopTerms) []any {
	tariff := t.Tariff.Percents() + " %"
	if t.Tariff.Fixed > 0 {
		tariff += " + " + money.Amount{Minor: t.Tariff.Fixed, Currency: store.Hryvnia}.String()
	}
	requests := "signed"
	if t.AllowUnsigned {
		requests = "may be unsigned"
	}
	return []any{t.Name, tariff, shortDuration(t.HoldFor), requests}
}

// shownShop is a shop's terms in JSON.
type shownShop struct {
	Name          string      `json:"name"`
	Percents      json.Number `json:"percents"`
	Fixed         int64       `json:"fixed"` // kopecks
	AllowUnsigned bool        `json:"allow_unsigned"`
	HoldFor       string      `json:"hold_for"`
}

func shopInJSON(t *store.ShopTerms) *shownShop {
	if t == nil {
		return nil
	}
	return &shownShop{
		Name: t.Name, Percents: json.Number(t.Tariff.Percents()), Fixed: t.Tariff.Fixed,
		AllowUnsigned: t.AllowUnsigned, HoldFor: shortDuration(t.HoldFor),
	}
}
