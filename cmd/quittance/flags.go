package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/quittance/quittance/store"
	"github.com/quittance/quittance/store/money"
)

// pageFlags adds what bounds a list.
func pageFlags(cmd *cobra.Command, page *store.Page[int64]) {
	limitFlag(cmd, &page.Limit)
	cmd.Flags().Int64Var(&page.Before, "before", 0, "only those with a smaller id")
}

func limitFlag(cmd *cobra.Command, limit *int) {
	*limit = 50
	cmd.Flags().Var((*positive)(limit), "limit", "how many")
}

// positive is a flag's number of 1 or more.
type positive int

// String, Type and Set make it a flag.
func (p *positive) String() string { return strconv.Itoa(int(*p)) }

// Type names the value in the help.
func (p *positive) Type() string { return "int" }

// Set refuses what there is nothing of.
func (p *positive) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return errors.New("must be a number, and at least 1")
	}
	*p = positive(n)
	return nil
}

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
