package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store/money"
)

// listFormat is how a list is shown: as text to people, or as one JSON array to programs.
type listFormat string

// flag gives a command that shows a list its -o.
func (f *listFormat) flag(cmd *cobra.Command) {
	*f = "text"
	cmd.Flags().VarP(f, "output", "o", "text or json")
}

// String, Type and Set make it a flag.
func (f *listFormat) String() string { return string(*f) }

// Type names the value in the help.
func (f *listFormat) Type() string { return "format" }

// Set takes text and json only.
func (f *listFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("must be text or json")
	}
	*f = listFormat(text)
	return nil
}

// show prints a list on the standard output. rows are its JSON form, never nil.
func (f *listFormat) show(cmd *cobra.Command, shown string, rows any) error {
	if *f != "json" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), shown)
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(rows)
}

func plainTable(head ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(head)
	return t
}

const listedTime = "2006-01-02 15:04:05Z"

// number is an amount in a JSON list: as the recharge API shows it.
func number(a money.Amount) json.Number { return json.Number(a.Decimal()) }

// parseAmount reads a decimal of the currency that these letters name.
func parseAmount(amount, letters string) (money.Amount, error) {
	c, err := parseCurrency(letters)
	if err != nil {
		return money.Amount{}, err
	}
	return parseAmountIn(c, "--amount", amount)
}

func parseCurrency(letters string) (money.Currency, error) {
	c, known := money.ParseAlpha(strings.ToUpper(letters))
	if !known {
		return 0, fmt.Errorf("--currency %q: %w", letters, money.ErrUnknownCurrency)
	}
	return c, nil
}

func parseAmountIn(c money.Currency, flag, text string) (money.Amount, error) {
	d, err := money.ParseDecimal(text)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%s %q: %w", flag, text, err)
	}
	a, err := d.In(c)
	if err != nil {
		return money.Amount{}, fmt.Errorf("%s %s %s: %w", flag, text, c.Alpha(), err)
	}
	return a, nil
}

// shortDuration is a duration without the zeros at its end: 24h, not 24h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
