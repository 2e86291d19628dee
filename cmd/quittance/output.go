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

// outputFormat is how a command shows what it has to say: as text to people, or as one JSON
// value to programs.
type outputFormat string

// flag gives a command its -o.
func (f *outputFormat) flag(cmd *cobra.Command) {
	*f = "text"
	cmd.Flags().VarP(f, "output", "o", "text or json")
	formats := cobra.FixedCompletions([]cobra.Completion{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("output", formats) // the flag is defined above
}

// String, Type and Set make it a flag.
func (f *outputFormat) String() string { return string(*f) }

// Type names the value in the help.
func (f *outputFormat) Type() string { return "format" }

// Set takes text and json only.
func (f *outputFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("must be text or json")
	}
	*f = outputFormat(text)
	return nil
}

// show prints text, or value as JSON. A list is never nil.
func (f *outputFormat) show(cmd *cobra.Command, text string, value any) error {
	if *f != "json" {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(value)
}

func plainTable(head ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(head)
	return t
}

const shownTime = "2006-01-02 15:04:05Z"

// number is an amount in JSON: as the recharge API shows it.
func number(a money.Amount) json.Number { return json.Number(a.Decimal()) }

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
